import { describe, expect, it } from 'vitest'
import { ApiError, parseProblem, problemOf } from './problem'

describe('parseProblem', () => {
  it('takes the members of a problem document apart', () => {
    const problem = parseProblem(422, {
      type: 'about:blank',
      title: 'Some fields are not valid',
      status: 422,
      detail: 'Mend the marked fields.',
      code: 'invalid',
      requestId: 'req-1',
      errors: { name: ['Too long.'], 'resources.memoryMb': 'At least 128.' },
      instanceId: 'i-1',
    })
    expect(problem).toEqual({
      status: 422,
      title: 'Some fields are not valid',
      detail: 'Mend the marked fields.',
      code: 'invalid',
      requestId: 'req-1',
      errors: { name: ['Too long.'], 'resources.memoryMb': ['At least 128.'] },
      extra: { instanceId: 'i-1' },
    })
  })

  it('says something better than the bare phrase of the status', () => {
    expect(parseProblem(422, { title: 'Unprocessable Entity' }).title).toBe('Something is not right yet')
    expect(parseProblem(404, { title: 'Not Found' }).title).toBe('Not found')
  })

  it.each([undefined, null, '', '<html>502 Bad Gateway</html>', 7, [], { errors: 'x', title: 3 }])(
    'makes something to show of the body %j',
    (body) => {
      const problem = parseProblem(502, body)
      expect(problem.title).toBe('The server could not answer')
      expect(problem.errors).toEqual({})
    },
  )
})

describe('problemOf', () => {
  it('gives back the problem of an API error', () => {
    const problem = parseProblem(403, { title: 'No' })
    expect(problemOf(new ApiError(problem))).toBe(problem)
  })
  it('tells a lost connection from a slow server', () => {
    expect(problemOf(new TypeError('Failed to fetch')).title).toBe('The server cannot be reached')
    expect(problemOf(new DOMException('slow', 'TimeoutError')).title).toBe('The server took too long')
  })
})
