import { expect, it } from 'vitest'
import { troubles } from './model'

it('names what is away, and nothing while all is well', () => {
  const well = { database: { status: 'up' }, docker: { status: 'up', detail: '28.0' }, mqtt: { status: 'disabled', detail: 'none' } }
  expect(troubles({ status: 'ok', dependencies: well })).toEqual([])
  const [docker, other] = troubles({
    status: 'degraded',
    dependencies: { docker: { status: 'down', detail: 'connection refused' }, somethingNew: { status: 'down' } },
  })
  expect(docker).toMatchObject({ title: 'Docker cannot be reached.', detail: 'connection refused' })
  expect(other).toMatchObject({ title: 'somethingNew: trouble.', detail: '' })
})
