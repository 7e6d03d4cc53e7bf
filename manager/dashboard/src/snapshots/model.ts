/** Snapshots and plans of restores in words. Pure. */
import { engineName, engineWords } from '@/stacks/engines'
import { formatDateTime, plural } from '@/ui/format'
import type { Tone } from '@/ui/StatusBadge.vue'
import type { Engine } from '@/api/types'
import type { Pipeline, Plan, Snapshot, SnapshotKind, Stage } from './types'

export const KINDS: Record<SnapshotKind, { label: string; tone: Tone; meaning: string }> = {
  manual: { label: 'Manual', tone: 'ok', meaning: 'Taken by a person; kept until it is deleted.' },
  auto: { label: 'Automatic', tone: 'off', meaning: 'Taken by itself after changes or before an upgrade; the last ten are kept.' },
  'before-restore': { label: 'Before restore', tone: 'warn', meaning: 'Taken before a restore, to go back.' },
}

export const kindInfo = (kind: SnapshotKind): { label: string; tone: Tone; meaning: string } =>
  KINDS[kind] ?? { label: kind, tone: 'off', meaning: '' }

type Named = Partial<Pick<Snapshot, 'name' | 'kind' | 'createdAt'>>

/** Its name, or what stands for one. */
export function snapshotName({ name, kind, createdAt }: Named): string {
  if (name) return name
  const label = kind ? kindInfo(kind).label : 'Snapshot'
  return createdAt ? `${label}, ${formatDateTime(new Date(createdAt))}` : label
}

/** `12 nodes on 3 tabs, 2 with credentials`; of n8n `12 nodes in 3 workflows, 2 credentials`. */
export function contentInWords({ nodes, tabs, credentials, engine }: Pick<Snapshot, 'nodes' | 'tabs' | 'credentials' | 'engine'>): string {
  const { tab } = engineWords(engine)
  const own = engine === 'n8n' ? plural(credentials, 'credential') : `${credentials} with credentials`
  return `${plural(nodes, 'node')} ${tab === 'tab' ? 'on' : 'in'} ${plural(tabs, tab)}${credentials > 0 ? `, ${own}` : ''}`
}

/** A file name that every system takes: `line-1-before-the-fair.openflow-snapshot.json`. */
export function exportName(snapshot: Named): string {
  const base = snapshotName(snapshot)
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return `${base.slice(0, 80) || 'snapshot'}.openflow-snapshot.json`
}

/** The parsed file of an export, or a sentence that says why it is none. */
export function readExport(text: string): Record<string, unknown> | string {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return 'This is no exported snapshot: it is not JSON.'
  }
  if (typeof parsed !== 'object' || parsed === null || (parsed as { format?: unknown }).format !== 'openflow-snapshot') {
    return 'This is no exported snapshot. Exports of Openflow end in .openflow-snapshot.json.'
  }
  return parsed as Record<string, unknown>
}

/** Why a plan cannot be carried out; empty when it can. */
export function blockersOf(plan: Plan, engine: Engine): string[] {
  const own = plan.engine.compatible || plan.blockers.length > 0
  return own ? plan.blockers : [versionsInWords(plan, engine)]
}

/** The versions of the engine on both sides. */
export function versionsInWords({ engine: { snapshot, here } }: Pick<Plan, 'engine'>, engine: Engine): string {
  return `The snapshot is of ${engineName(engine)} ${snapshot || 'of an unknown version'}, the instance runs ${here || 'an unknown version'}.`
}

/** The stage after each but the last, as what can be promoted. */
export function promotions({ stages }: Pick<Pipeline, 'stages'>): { from: Stage; to: Stage }[] {
  return stages.slice(1).flatMap((to, index) => {
    const from = stages[index]
    return from ? [{ from, to }] : []
  })
}

/** An item moved by one place; out of bounds it stays. */
export function moved<T>(items: readonly T[], index: number, by: -1 | 1): T[] {
  const target = index + by
  const copy = [...items]
  if (index < 0 || index >= items.length || target < 0 || target >= items.length) return copy
  copy.splice(target, 0, ...copy.splice(index, 1))
  return copy
}

/** What the manager takes, told before it is sent. */
export const PASSPHRASE_MIN = 12
export const EXPORT_MAX_BYTES = 16 * 1024 * 1024
