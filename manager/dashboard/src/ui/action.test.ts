import { describe, expect, it } from 'vitest'
import { ApiError, parseProblem } from '@/api/problem'
import { useAction } from './action'

describe('useAction', () => {
  it('performs once for two clicks', async () => {
    let calls = 0
    let finish = (): void => {}
    const action = useAction(() => {
      calls += 1
      return new Promise<void>((resolve) => (finish = resolve))
    })
    const first = action.run()
    expect(action.busy.value).toBe(true)
    expect(await action.run()).toBe(false)
    finish()
    expect(await first).toBe(true)
    expect(calls).toBe(1)
    expect(action.busy.value).toBe(false)
  })

  it('keeps the refusal with its fields until the next run', async () => {
    let refuse = true
    const action = useAction(async () => {
      if (refuse) throw new ApiError(parseProblem(422, { title: 'No', errors: { name: ['Taken.'] } }))
    })
    expect(await action.run()).toBe(false)
    expect(action.errors('name')).toEqual(['Taken.'])
    expect(action.errors('other')).toEqual([])
    refuse = false
    expect(await action.run()).toBe(true)
    expect(action.problem.value).toBeNull()
  })
})
