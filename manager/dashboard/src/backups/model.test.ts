import { expect, it, test } from 'vitest'
import { freezeWords, isFetchable, isMoving, isRestorable, lossWords, offsiteHint, protection, sizeWords, verificationWords } from './model'
import type { Backup, BackupPolicy } from './types'

const now = new Date('2026-03-11T12:00:00Z')
const backup = (createdAt: string, extra: Partial<Backup> = {}): Backup => ({
  id: createdAt,
  instanceId: 'i',
  instanceName: 'Line 1',
  instanceExists: true,
  projectId: 'p',
  trigger: 'schedule',
  status: 'good',
  archive: 'here',
  skipped: [],
  engine: 'node-red',
  engineVersion: '5.0.0',
  requestedBy: 'schedule',
  createdAt,
  verification: { status: 'none' },
  offsite: { status: 'off', fetching: false },
  ...extra,
})
const nightly: BackupPolicy = { enabled: true, schedule: '30 2 * * *', keep: null, inherited: true, windowMinutes: 0 }
const late: BackupPolicy = { ...nightly, lateSince: '2026-03-11T02:30:00Z' }

test('a backup of the last due run protects', () => {
  expect(protection([backup('2026-03-11T02:31:00Z')], nightly, now)).toMatchObject({ tone: 'ok', title: 'The last good backup is from 9 hours ago.' })
})
test('a late one warns, and tells why the last try failed', () => {
  const tried = backup('2026-03-11T02:31:00Z', { status: 'failed', detail: 'the disk is full' })
  const { tone, title, detail } = protection([tried, backup('2026-03-10T02:31:00Z')], late, now)
  expect([tone, title]).toEqual(['bad', 'No good backup since 9 hours ago, when one was due.'])
  expect(detail).toBe('The last good one is from yesterday. The last try failed: the disk is full')
})
test('what the server does not call late is not', () => {
  expect(protection([backup('2026-03-10T02:31:00Z')], nightly, now).tone).toBe('ok')
  expect(protection([], nightly, now)).toMatchObject({ tone: 'warn', title: 'There is no backup yet.' })
})
test('a failed verification outweighs a fresh backup; a partial one is none', () => {
  const failed = backup('2026-03-11T02:31:00Z', { verification: { status: 'failed', detail: 'flows_cred.json cannot be opened', at: null } })
  expect(protection([failed], nightly, now)).toMatchObject({ tone: 'bad', detail: 'flows_cred.json cannot be opened' })
  expect(protection([backup('2026-03-11T02:31:00Z', { status: 'partial' })], late, now).tone).toBe('bad')
})
test('schedules that are off are said, and unknown ones claim nothing', () => {
  expect(protection([backup('2026-03-11T02:31:00Z')], { ...nightly, enabled: false }, now).title).toBe('Scheduled backups are off.')
  expect(protection([backup('2026-01-11T02:31:00Z')], { ...nightly, schedule: null }, now).tone).toBe('ok')
  expect(protection([], undefined, now).tone).toBe('warn')
})

it.each([
  [{ status: 'none' }, 'Never verified'],
  [{ status: 'good', level: 'rehearsed', at: '2026-03-09T12:00:00Z' }, 'Rehearsed 2 days ago'],
  [{ status: 'good', level: 'read', at: '2026-03-11T11:00:00Z' }, 'Read back 1 hour ago'],
  [{ status: 'failed', at: '2026-03-11T11:00:00Z' }, 'Failed 1 hour ago'],
  [{ status: 'running' }, 'Verifying'],
] as [Backup['verification'], string][])('verification %#', (verification, label) =>
  expect(verificationWords({ verification }, now).label).toBe(label),
)
test('sizes, freezes, losses', () => {
  expect(sizeWords({ sizeBytes: 1024, dataBytes: null, files: null })).toBe('1 kB')
  expect(sizeWords({ sizeBytes: 1024, dataBytes: 2048, files: 1204 })).toBe('2 kB in 1,204 files')
  expect([freezeWords(240), freezeWords(1234)]).toEqual(['240 ms', '1.2 s'])
  expect(lossWords(backup('2026-03-09T12:00:00Z', { skipped: [{ path: 'a', reason: 'b' }] }), now)).toMatch(/\(2 days ago\) is lost.* 1 file could not be read/)
})
test('what moves by itself', () => {
  expect(isMoving(backup(''))).toBe(false)
  expect(isMoving(backup('', { status: 'running' }))).toBe(true)
  expect(isMoving(backup('', { offsite: { status: 'uploading', fetching: false } }))).toBe(true)
  expect(isMoving(backup('', { offsite: { status: 'done', fetching: true } }))).toBe(true)
})
it.each([
  ['here', 'done', false, true, false],
  ['gone', 'done', false, false, true],
  ['damaged', 'done', false, false, true],
  ['gone', 'done', true, false, false],
  ['gone', 'off', false, false, false],
  ['none', 'off', false, false, false],
] as const)('an archive that is %s and copied: %s, fetching: %s', (archive, status, fetching, restorable, fetchable) => {
  const one = backup('', { archive, offsite: { status, fetching } })
  expect([isRestorable(one), isFetchable(one)]).toEqual([restorable, fetchable])
})
test('what is said of a copy', () => {
  const hint = (offsite: Backup['offsite']) => offsiteHint({ offsite })
  expect(hint({ status: 'failed', fetching: false, detail: 'the bucket answered 403' })).toBe('the bucket answered 403')
  expect(hint({ status: 'done', fetching: false, detail: 'no room' })).toBe('It could not be fetched: no room')
  expect(hint({ status: 'done', fetching: true, detail: 'no room' })).toBe('')
  expect(hint({ status: 'done', fetching: false, detail: null })).toBe('')
})
