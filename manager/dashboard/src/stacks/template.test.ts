import { describe, expect, it } from 'vitest'
import { describeResources, describeTemplate, formatModules, parseFlows, parseModules } from './template'

describe('parseFlows', () => {
  it('reads an export', () => expect(parseFlows('[{"id":"a"}]')).toEqual({ ok: true, value: [{ id: 'a' }] }))
  it('takes empty text for no flows', () => expect(parseFlows(' \n')).toEqual({ ok: true, value: null }))
  it.each(['{', '{"id":"a"}', '[1]', '[null]', '"x"'])('refuses %s', (text) => expect(parseFlows(text).ok).toBe(false))
})

describe('parseModules', () => {
  it('reads names, scopes and versions, and writes them back', () => {
    const text = 'node-red-contrib-cron-plus@2.2.4\n@flowfuse/node-red-dashboard@1.2.0\n@scope/newest'
    const parsed = parseModules(`${text}\n\n`)
    expect(parsed).toEqual({
      ok: true,
      value: [
        { name: 'node-red-contrib-cron-plus', version: '2.2.4' },
        { name: '@flowfuse/node-red-dashboard', version: '1.2.0' },
        { name: '@scope/newest' },
      ],
    })
    expect(parsed.ok && formatModules(parsed.value)).toBe(text)
  })
  it.each(['two words', 'name@'])('refuses %s', (text) => expect(parseModules(text).ok).toBe(false))
})

it('says what a template brings', () => {
  expect(describeTemplate({ flows: null, modules: [], env: [] })).toBe('nothing')
  expect(describeTemplate({ flows: [{}, {}], modules: [{ name: 'a', version: '1' }], env: [] })).toBe('2 nodes, 1 module')
})

it('says which limits a template sets', () => {
  expect(describeResources({ memoryMb: 384, cpus: 0.5 })).toBe('384 MB, 0.5 CPU')
  expect(describeResources({ memoryMb: null, cpus: 2 })).toBe('2 CPU')
  expect(describeResources({})).toBe('default')
})
