import { expect, it, test } from 'vitest'
import { contentInWords, exportName, moved, promotions, readExport, snapshotName } from './model'

test('a snapshot without a name is called by its kind and time', () => {
  expect(snapshotName({ name: 'Fair', kind: 'manual' })).toBe('Fair')
  expect(snapshotName({ name: '', kind: 'before-restore', createdAt: '2026-03-11T12:00:00Z' })).toMatch(/^Before restore, .*2026/)
})
test('content in words', () => {
  expect(contentInWords({ nodes: 1, tabs: 2, credentials: 0, engine: 'node-red' })).toBe('1 node on 2 tabs')
  expect(contentInWords({ nodes: 12, tabs: 1, credentials: 3, engine: 'node-red' })).toBe('12 nodes on 1 tab, 3 with credentials')
  expect(contentInWords({ nodes: 12, tabs: 1, credentials: 3, engine: 'n8n' })).toBe('12 nodes in 1 workflow, 3 credentials')
})
it.each([
  ['Vor der Größenänderung!', 'vor-der-gro-enanderung.openflow-snapshot.json'],
  ['../../etc', 'etc.openflow-snapshot.json'],
  ['日本', 'snapshot.openflow-snapshot.json'],
])('the file of “%s” is %s', (name, expected) => expect(exportName({ name })).toBe(expected))

test('a file that is no export is refused with the reason', () => {
  expect(readExport('{"format":"openflow-snapshot","version":1}')).toEqual({ format: 'openflow-snapshot', version: 1 })
  for (const text of ['', '[]', 'null', '{"format":"other"}']) expect(readExport(text)).toMatch(/^This is no exported snapshot/)
})

const stage = (instanceId: string) => ({ instanceId, instanceName: instanceId, subdomain: instanceId, needsOwner: false })
test('each stage is promoted to the next', () => {
  const pairs = promotions({ stages: [stage('dev'), stage('staging'), stage('prod')] })
  expect(pairs.map(({ from, to }) => `${from.instanceId}>${to.instanceId}`)).toEqual(['dev>staging', 'staging>prod'])
  expect(promotions({ stages: [] })).toEqual([])
})
test('moving', () => {
  expect([moved('abc'.split(''), 2, -1), moved('abc'.split(''), 0, -1), moved('abc'.split(''), 0, 1)].map((list) => list.join(''))).toEqual(['acb', 'abc', 'bac'])
})
