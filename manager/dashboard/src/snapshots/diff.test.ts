import { expect, test } from 'vitest'
import { byTab, isLong, namesOf, summary, valueText, wireInWords } from './diff'
import type { Diff } from './types'

const empty = (): Diff => ({
  from: { id: 'a', name: 'Monday' },
  to: { name: 'Now' },
  tabs: { added: [], removed: [], changed: [] },
  nodes: { added: [], removed: [], changed: [] },
  wires: { added: [], removed: [] },
  modules: { added: [], removed: [], changed: [] },
  env: { added: [], removed: [], changed: [] },
  credentials: { changed: [] },
  identical: false,
})
const diff: Diff = {
  ...empty(),
  tabs: { added: [{ id: 't2', label: 'Alarms' }], removed: [], changed: [{ id: 't1', label: 'Main', fields: [{ field: 'disabled', from: false, to: true }] }] },
  nodes: {
    added: [{ id: 'n1', type: 'debug', name: '', tab: 't2' }],
    removed: [{ id: 'n2', type: 'inject', name: 'Tick', tab: 't1' }],
    changed: [
      { id: 'b1', type: 'mqtt-broker', name: 'Plant', tab: null, moved: false, fields: [{ field: 'broker', from: 'a', to: 'b' }] },
      { id: 'n3', type: 'function', name: 'Scale', tab: 't1', moved: true, fields: [{ field: 'x', from: 1, to: 2 }] },
      { id: 'n4', type: 'change', name: '', tab: 't3', tabLabel: 'Unchanged tab', moved: false, fields: [{ field: 'rules', from: null, to: [] }] },
    ],
  },
  wires: { added: [{ from: 'n3', port: 1, to: 'n9' }], removed: [] },
  credentials: { changed: ['b1'] },
}

test('the summary counts what differs, and nothing else', () => {
  expect(summary(diff, 'node-red')).toEqual([
    '1 tab added', '1 tab changed', '1 node added', '1 node removed', '2 nodes changed', '1 node only moved', '1 wire added', 'credentials of 1 node changed',
  ])
  expect(summary(empty(), 'node-red')).toEqual([])
})

test('of n8n it speaks of workflows, and of what stands in none of them', () => {
  const n8n: Diff = {
    ...diff,
    nodes: {
      added: [{ id: 'w/1', type: 'n8n-nodes-base.webhook', name: 'In', tab: 'w' }, { id: 'c', type: 'httpHeaderAuth', name: 'ERP' }],
      removed: [{ id: 'g', type: 'tag', name: 'old' }],
      changed: [],
    },
  }
  expect(summary(n8n, 'n8n')).toEqual([
    '1 workflow added', '1 workflow changed', '1 node added', '1 credential added', '1 tag removed', '1 connection added', 'secrets of 1 credential changed',
  ])
  expect(byTab(n8n, namesOf(n8n), 'n8n').at(-1)?.label).toBe('Credentials, tags and variables')
})

test('changes are put under their tab, configuration nodes last, moves apart', () => {
  const tabs = byTab(diff, namesOf(diff), 'node-red')
  expect(tabs.map(({ label, state }) => [label, state])).toEqual([['Alarms', 'added'], ['Main', 'changed'], ['Unchanged tab', 'same'], ['Configuration nodes', 'same']])
  expect(tabs[1]?.fields).toHaveLength(1)
  expect(tabs[1]?.changes.map(({ what, node }) => [what, node.name])).toEqual([['removed', 'Tick']])
  expect(tabs[1]?.moved.map(({ name }) => name)).toEqual(['Scale'])
})

test('names come from the diff, then from the flows, then the id stands for itself', () => {
  const names = namesOf(diff, [{ id: 'n3', type: 'function', name: 'old' }, { id: 'n9', type: 'mqtt out' }])
  expect(wireInWords({ from: 'n3', port: 1, to: 'n9' }, names)).toBe('Scale (output 2) → mqtt out')
  expect(wireInWords({ from: 'n1', port: 0, to: 'gone' }, names)).toBe('debug → gone')
})

test('long values are read by lines', () => {
  expect(isLong({ field: 'func', from: 'a', to: 'a\nb' })).toBe(true)
  expect(isLong({ field: 'name', from: null, to: 'short' })).toBe(false)
  expect(isLong({ field: 'rules', from: [], to: [{ t: 'set' }] })).toBe(true)
  expect([valueText(undefined), valueText(''), valueText(0), valueText(null)]).toEqual([undefined, '', '0', undefined])
})
