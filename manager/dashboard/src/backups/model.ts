/** Backups in words, and whether an instance is protected. Pure. */
import { engineWords } from '@/stacks/engines'
import { formatBytes, formatDateTime, formatRelative, plural } from '@/ui/format'
import type { Tone } from '@/ui/StatusBadge.vue'
import type { Backup, BackupPolicy, BackupStatus } from './types'

interface Words {
  label: string
  tone: Tone
}

const STATUS: Record<BackupStatus, Words> = {
  pending: { label: 'Waiting', tone: 'busy' },
  running: { label: 'Running', tone: 'busy' },
  good: { label: 'Good', tone: 'ok' },
  partial: { label: 'Partial', tone: 'warn' },
  failed: { label: 'Failed', tone: 'bad' },
}
export const statusWords = (status: BackupStatus): Words => STATUS[status] ?? { label: status, tone: 'off' }

const TRIGGERS: Record<Backup['trigger'], string> = { schedule: 'by schedule', manual: 'by hand', upload: 'uploaded' }
export const triggerWords = (trigger: Backup['trigger']): string => TRIGGERS[trigger] ?? trigger

/** The proof that it restores, and how old the proof is: `Verified 2 days ago`. */
export function verificationWords({ verification: { status, level, at } }: Pick<Backup, 'verification'>, now: Date): Words {
  const age = at ? ` ${formatRelative(new Date(at), now)}` : ''
  if (status === 'good') return { label: `${level === 'rehearsed' ? 'Rehearsed' : 'Read back'}${age}`, tone: 'ok' }
  if (status === 'failed') return { label: `Failed${age}`, tone: 'bad' }
  if (status === 'none') return { label: 'Never verified', tone: 'off' }
  return { label: status === 'running' ? 'Verifying' : 'Waiting to be verified', tone: 'busy' }
}

const OFFSITE: Record<Backup['offsite']['status'], Words> = {
  off: { label: 'Only here', tone: 'off' },
  pending: { label: 'Waiting', tone: 'busy' },
  uploading: { label: 'Uploading', tone: 'busy' },
  done: { label: 'Copied', tone: 'ok' },
  failed: { label: 'Upload failed', tone: 'bad' },
}
export const offsiteWords = ({ offsite }: Pick<Backup, 'offsite'>): Words => OFFSITE[offsite.status] ?? { label: offsite.status, tone: 'off' }

/** Whether it changes by itself, so that it is worth asking often. */
export const isMoving = ({ status, verification, offsite }: Backup): boolean =>
  ['pending', 'running'].includes(status) ||
  ['pending', 'running'].includes(verification.status) ||
  ['pending', 'uploading'].includes(offsite.status) ||
  offsite.fetching

/** Whether it came to something that is worth a proof. */
export const isUsable = ({ status }: Pick<Backup, 'status'>): boolean => status === 'good' || status === 'partial'

/** Whether there is a finished archive to restore, verify or download. */
export const isRestorable = (backup: Pick<Backup, 'status' | 'archive'>): boolean => isUsable(backup) && backup.archive === 'here'

/** Whether the archive is missed here, and there is a copy of it. */
export const isFetchable = ({ archive, offsite }: Pick<Backup, 'archive' | 'offsite'>): boolean =>
  offsite.status === 'done' && !offsite.fetching && (archive === 'gone' || archive === 'damaged')

/** What there is to say of the copy beside its status. */
export function offsiteHint({ offsite }: Pick<Backup, 'offsite'>): string {
  if (!offsite.detail || offsite.fetching) return ''
  if (offsite.status === 'done') return `It could not be fetched: ${offsite.detail}`
  return offsite.status === 'failed' ? offsite.detail : ''
}

export const backupName = ({ createdAt }: Pick<Backup, 'createdAt'>): string => `the backup of ${formatDateTime(new Date(createdAt))}`

/** `12 MB of 48 MB in 1,204 files`; empty while nothing is known. */
export function sizeWords({ sizeBytes, dataBytes, files }: Pick<Backup, 'sizeBytes' | 'dataBytes' | 'files'>): string {
  if (dataBytes === null || dataBytes === undefined) return sizeBytes ? formatBytes(sizeBytes) : ''
  return `${formatBytes(dataBytes)}${files ? ` in ${new Intl.NumberFormat('en').format(files)} ${files === 1 ? 'file' : 'files'}` : ''}`
}

/** How long the instance stood still: `240 ms`, `1.2 s`. */
export function freezeWords(freezeMs: number): string {
  return freezeMs < 1_000 ? `${Math.round(freezeMs)} ms` : `${Number((freezeMs / 1_000).toFixed(1))} s`
}

export interface Protection {
  tone: 'ok' | 'warn' | 'bad'
  title: string
  detail: string
}

/**
 * How well the instance is protected by the backups that are listed, newest first. A partial backup counts for nothing: it is not
 * listed as good. A warning comes before a lesser one.
 */
export function protection(backups: readonly Backup[], policy: BackupPolicy | undefined, now: Date): Protection {
  // What somebody uploaded says nothing of how old the data are.
  const good = backups.find(({ status, trigger, archive, offsite }) =>
    status === 'good' && trigger !== 'upload' && (archive === 'here' || offsite.status === 'done'))
  const refuted = good?.verification.status === 'failed'
  if (refuted) {
    return { tone: 'bad', title: 'The last backup did not pass its verification.', detail: good.verification.detail || 'Make a new one and verify it.' }
  }
  const age = good ? `The last good one is from ${formatRelative(new Date(good.createdAt), now)}.` : 'There is no good one.'
  if (policy?.lateSince) {
    const [latest] = backups
    const reason = latest?.status === 'failed' && latest.detail ? ` The last try failed: ${latest.detail}` : ''
    return { tone: 'bad', title: `No good backup since ${formatRelative(new Date(policy.lateSince), now)}, when one was due.`, detail: `${age}${reason}` }
  }
  if (policy && !policy.enabled) return { tone: 'warn', title: 'Scheduled backups are off.', detail: good ? age : 'There is no backup.' }
  if (!good) return { tone: 'warn', title: 'There is no backup yet.', detail: 'Make one now, or wait for the schedule.' }
  return { tone: 'ok', title: age.replace('The last good one', 'The last good backup'), detail: '' }
}

/** `7 daily, 4 weekly, 6 monthly`. */
export function keepWords({ keep }: Pick<BackupPolicy, 'keep'>): string {
  return keep ? `${keep.daily} daily, ${keep.weekly} weekly, ${keep.monthly} monthly` : 'as the installation does'
}

/** What is lost when this is put in the place of what runs, in the instance that it is of or in another one. */
export function lossWords(backup: Pick<Backup, 'createdAt' | 'skipped' | 'engine'>, now: Date, inAnother = false): string {
  const skipped = backup.skipped.length > 0 ? ` ${plural(backup.skipped.length, 'file')} could not be read then and will be missing.` : ''
  const made = `${formatDateTime(new Date(backup.createdAt))} (${formatRelative(new Date(backup.createdAt), now)})`
  const lost = inAnother ? 'Everything that is in it now is lost' : `Everything that changed since ${made} is lost`
  return `${lost}: ${engineWords(backup.engine).dataFolder}.${skipped}`
}
