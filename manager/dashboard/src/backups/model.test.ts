import { expect, it, test } from 'vitest'
import { freezeWords, isMoving, lossWords, protection, sizeWords, verificationWords } from './model'
import type { Backup, BackupPolicy } from './types'

const now = new Date('2026-03-11T12:00:00Z')
const long = new Date('2026-01-01T00:00:00Z')
const backup = (createdAt: string, extra: Partial<Backup> = {}): Backup => ({
  id: createdAt,
  instanceId: 'i',
  instanceName: 'Line 1',
  instanceExists: true,
  projectId: 'p',
  trigger: 'schedule',
  status: 'good',
  skipped: [],
  engine: 'node-red',
  engineVersion: '5.0.0',
  requestedBy: 'schedule',
  createdAt,
  verification: { status: 'none' },
  offsite: { status: 'off' },
  ...extra,
})
const nightly: BackupPolicy = { enabled: true, schedule: '30 2 * * *', keep: null, inherited: true }

test('a backup of the last due run protects', () => {
  expect(protection([backup('2026-03-11T02:31:00Z')], nightly, long, now)).toMatchObject({ tone: 'ok', title: 'The last good backup is from 9 hours ago.' })
})
test('a missed run warns, and tells why the last try failed', () => {
  const tried = backup('2026-03-11T02:31:00Z', { status: 'failed', detail: 'the disk is full' })
  const { tone, title, detail } = protection([tried, backup('2026-03-10T02:31:00Z')], nightly, long, now)
  expect([tone, title]).toEqual(['bad', 'No good backup since 9 hours ago, when one was due.'])
  expect(detail).toBe('The last good one is from yesterday. The last try failed: the disk is full')
})
test('a run has its time before it is late, and a new instance owes none', () => {
  const soon = new Date('2026-03-11T08:00:00Z')
  expect(protection([backup('2026-03-10T02:31:00Z')], nightly, long, soon).tone).toBe('ok')
  expect(protection([], nightly, new Date('2026-03-11T09:00:00Z'), now)).toMatchObject({ tone: 'warn', title: 'There is no backup yet.' })
})
test('a failed verification outweighs a fresh backup; a partial one is none', () => {
  const failed = backup('2026-03-11T02:31:00Z', { verification: { status: 'failed', detail: 'flows_cred.json cannot be opened', at: null } })
  expect(protection([failed], nightly, long, now)).toMatchObject({ tone: 'bad', detail: 'flows_cred.json cannot be opened' })
  expect(protection([backup('2026-03-11T02:31:00Z', { status: 'partial' })], nightly, long, now).tone).toBe('bad')
})
test('schedules that are off are said, and unknown ones claim nothing', () => {
  expect(protection([backup('2026-03-11T02:31:00Z')], { ...nightly, enabled: false }, long, now).title).toBe('Scheduled backups are off.')
  expect(protection([backup('2026-01-11T02:31:00Z')], { ...nightly, schedule: null }, long, now).tone).toBe('ok')
  expect(protection([], undefined, long, now).tone).toBe('warn')
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
  expect(isMoving(backup('', { offsite: { status: 'uploading' } }))).toBe(true)
})
