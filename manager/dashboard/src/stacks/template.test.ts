import { describe, expect, it } from 'vitest'
import { describeResources, describeTemplate, formatModules, parseFlows, parseModules } from './template'

describe('parseFlows', () => {
  const workflow = { name: 'Orders', nodes: [], connections: {} }
  it('reads an export', () => expect(parseFlows('[{"id":"a"}]', 'node-red')).toEqual({ ok: true, value: [{ id: 'a' }] }))
  it('takes empty text for no flows', () => expect(parseFlows(' \n', 'n8n')).toEqual({ ok: true, value: null }))
  it.each(['{', '{"id":"a"}', '[1]', '[null]', '"x"', '[[]]'])('refuses %s', (text) => expect(parseFlows(text, 'node-red').ok).toBe(false))
  it('reads one workflow of n8n, or several', () => {
    expect(parseFlows(JSON.stringify(workflow), 'n8n')).toEqual({ ok: true, value: workflow })
    expect(parseFlows(JSON.stringify([workflow, workflow]), 'n8n').ok).toBe(true)
  })
  it.each(['[{"id":"a","type":"tab"}]', '{"name":"x"}', '[null]', '{"name":"x","nodes":[],"connections":[]}'])('refuses %s for n8n', (text) =>
    expect(parseFlows(text, 'n8n').ok).toBe(false),
  )
  it('says whose a workflow of n8n is', () => expect(parseFlows(JSON.stringify(workflow), 'node-red')).toMatchObject({ error: expect.stringContaining('n8n') }))
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
  expect(describeTemplate({ flows: null, modules: [], env: [] }, 'node-red')).toBe('nothing')
  expect(describeTemplate({ flows: [{}, {}], modules: [{ name: 'a', version: '1' }], env: [] }, 'node-red')).toBe('2 nodes, 1 module')
  expect(describeTemplate({ flows: {}, modules: [], env: [] }, 'n8n')).toBe('1 workflow')
})

it('says which limits a template sets', () => {
  expect(describeResources({ memoryMb: 384, cpus: 0.5 })).toBe('384 MB, 0.5 CPU')
  expect(describeResources({ memoryMb: null, cpus: 2 })).toBe('2 CPU')
  expect(describeResources({})).toBe('default')
})
