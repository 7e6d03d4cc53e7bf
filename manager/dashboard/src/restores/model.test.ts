import { expect, it } from 'vitest'
import { noteworthy } from './model'
import type { Restore } from './types'

const now = new Date('2026-03-11T12:00:00Z')
const restore = (id: string, state: Restore['state'], finishedAt: string | null = null): Restore => ({
  id, state, finishedAt, instanceId: 'i', kind: 'snapshot', sourceId: 's', sourceName: 'S', requestedBy: 'Ada', createdAt: '2026-03-11T11:00:00Z',
})

it('tells of what is under way before any result', () => {
  expect(noteworthy([restore('b', 'failed', '2026-03-11T11:59:00Z'), restore('a', 'starting')], now, new Set())?.id).toBe('a')
})
it('tells of a result while it is news, and not again once dismissed', () => {
  const fresh = restore('a', 'undone', '2026-03-11T11:55:00Z')
  expect(noteworthy([fresh], now, new Set())?.id).toBe('a')
  expect(noteworthy([fresh], now, new Set(['a']))).toBeNull()
  expect(noteworthy([restore('a', 'done', '2026-03-11T11:00:00Z'), fresh], now, new Set())).toBeNull()
  expect(noteworthy([], now, new Set())).toBeNull()
})
