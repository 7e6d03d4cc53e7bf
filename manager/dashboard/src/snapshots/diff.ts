/** A diff put in order for reading: by tab, what only moved apart, names in place of ids. Pure. */
import type { Engine } from '@/api/types'
import { engineWords } from '@/stacks/engines'
import { plural } from '@/ui/format'
import type { ChangedNode, Diff, FieldChange, FlowNode, NodeRef, Wire } from './types'

export type Change = { what: 'added' | 'removed'; node: NodeRef } | { what: 'changed'; node: ChangedNode }

export interface TabChanges {
  /** Empty for what is on no tab, such as configuration nodes. */
  id: string
  label: string
  state: 'same' | 'added' | 'removed' | 'changed'
  /** Of the tab itself. */
  fields: FieldChange[]
  changes: Change[]
  moved: ChangedNode[]
}

/** Names by id, of every node that a diff or a flow file tells of. */
export function namesOf(diff: Diff, flows: readonly FlowNode[] = []): Map<string, string> {
  const names = new Map(flows.map((node) => [node.id, node.label || node.name || node.type]))
  for (const node of [...diff.nodes.added, ...diff.nodes.removed, ...diff.nodes.changed]) {
    names.set(node.id, node.name || node.type)
    if (node.tab && node.tabLabel) names.set(node.tab, node.tabLabel)
  }
  for (const tab of [...diff.tabs.added, ...diff.tabs.removed, ...diff.tabs.changed]) if (tab.label) names.set(tab.id, tab.label)
  return names
}

/** Tabs in the order in which the diff names them, what is on none last. */
export function byTab(diff: Diff, names: ReadonlyMap<string, string>, engine: Engine): TabChanges[] {
  const { noTab } = engineWords(engine)
  const tabs = new Map<string, TabChanges>()
  const at = (id: string): TabChanges => {
    const known = tabs.get(id)
    if (known) return known
    const made: TabChanges = { id, label: id === '' ? noTab : (names.get(id) ?? id), state: 'same', fields: [], changes: [], moved: [] }
    tabs.set(id, made)
    return made
  }
  for (const { id } of diff.tabs.added) at(id).state = 'added'
  for (const { id } of diff.tabs.removed) at(id).state = 'removed'
  for (const { id, fields } of diff.tabs.changed) Object.assign(at(id), { state: 'changed', fields })
  for (const node of diff.nodes.added) at(node.tab ?? '').changes.push({ what: 'added', node })
  for (const node of diff.nodes.removed) at(node.tab ?? '').changes.push({ what: 'removed', node })
  for (const node of diff.nodes.changed) {
    if (node.moved) at(node.tab ?? '').moved.push(node)
    else at(node.tab ?? '').changes.push({ what: 'changed', node })
  }
  return [...tabs.values()].sort((a, b) => Number(a.id === '') - Number(b.id === ''))
}

/** What a node is called: n8n's credentials, tags and variables are nodes on no tab. */
function nounOf({ tab, type }: NodeRef, engine: Engine): string {
  if (engine !== 'n8n' || tab) return 'node'
  return type === 'tag' ? 'tag' : type === 'variable' ? 'n8n variable' : 'credential'
}

/** `2 nodes added`, `1 wire removed`, …; empty when nothing differs. */
export function summary(diff: Diff, engine: Engine): string[] {
  const { tab, wire } = engineWords(engine)
  const counted = (nodes: readonly NodeRef[], what: string): [number, string, string][] => {
    const nouns = nodes.map((node) => nounOf(node, engine))
    return [...new Set(nouns)].map((noun) => [nouns.filter((one) => one === noun).length, noun, what])
  }
  const counts: [number, string, string][] = [
    [diff.tabs.added.length, tab, 'added'],
    [diff.tabs.removed.length, tab, 'removed'],
    [diff.tabs.changed.length, tab, 'changed'],
    ...counted(diff.nodes.added, 'added'),
    ...counted(diff.nodes.removed, 'removed'),
    ...counted(diff.nodes.changed.filter((node) => !node.moved), 'changed'),
    ...counted(diff.nodes.changed.filter((node) => node.moved), 'only moved'),
    [diff.wires.added.length, wire, 'added'],
    [diff.wires.removed.length, wire, 'removed'],
    [diff.modules.added.length, 'module', 'added'],
    [diff.modules.removed.length, 'module', 'removed'],
    [diff.modules.changed.length, 'module', 'changed'],
    [diff.env.added.length, 'variable', 'added'],
    [diff.env.removed.length, 'variable', 'removed'],
    [diff.env.changed.length, 'variable', 'changed'],
  ]
  const words = counts.filter(([count]) => count > 0).map(([count, noun, what]) => `${plural(count, noun)} ${what}`)
  const secrets = diff.credentials.changed.length
  if (secrets === 0) return words
  const noun = engine === 'n8n' ? 'secrets of' : 'credentials of'
  return [...words, `${noun} ${plural(secrets, engine === 'n8n' ? 'credential' : 'node')} changed`]
}

/** `Button → 1 of Switch` with names for ids; an output is counted from 1, and told only when there is a choice. */
export function wireInWords({ from, port, to }: Wire, names: ReadonlyMap<string, string>): string {
  const name = (id: string): string => names.get(id) ?? id
  return `${name(from)}${port > 0 ? ` (output ${port + 1})` : ''} → ${name(to)}`
}

const LONG = 60

/** A value as text: strings as they are, the rest as JSON, `undefined` for what is not there or null. */
export function valueText(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  return typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? undefined)
}

/** Whether a change is better read as a diff of lines than side by side. */
export function isLong({ from, to }: FieldChange): boolean {
  return [from, to].some((value) => {
    const text = valueText(value) ?? ''
    return text.includes('\n') || text.length > LONG
  })
}
