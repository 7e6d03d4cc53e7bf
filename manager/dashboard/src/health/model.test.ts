import { expect, it } from 'vitest'
import { troubles } from './model'

it('names what is away, and nothing while all is well', () => {
  expect(troubles({ status: 'ok', dependencies: { database: { status: 'ok' }, docker: { status: 'ok', detail: null } } })).toEqual([])
  const [docker, other] = troubles({
    status: 'degraded',
    dependencies: { docker: { status: 'down', detail: 'connection refused' }, somethingNew: { status: 'down' } },
  })
  expect(docker).toMatchObject({ name: 'Docker', detail: 'connection refused' })
  expect(other).toMatchObject({ name: 'somethingNew', detail: '' })
})
