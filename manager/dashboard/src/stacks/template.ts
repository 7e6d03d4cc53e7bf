/** Reading and writing a template's parts as text. Pure. */
import type { Engine, Template } from '@/api/types'
import { plural } from '@/ui/format'

type Flows = Template['flows']

/** Nodes of Node-RED; workflows of n8n, as one object or a list. */
const flowList = (flows: Flows): unknown[] => (Array.isArray(flows) ? flows : flows ? [flows] : [])

/** `3 nodes, 1 module, 2 variables`, or `nothing`. */
export function describeTemplate({ flows, modules, env }: Pick<Template, 'flows' | 'modules' | 'env'>, engine: Engine): string {
  const { length } = flowList(flows)
  const parts = [
    length ? plural(length, engine === 'n8n' ? 'workflow' : 'node') : '',
    modules.length ? plural(modules.length, 'module') : '',
    env.length ? plural(env.length, 'variable') : '',
  ].filter(Boolean)
  return parts.join(', ') || 'nothing'
}

/** `384 MB, 0.5 CPU`; what a template leaves open is the default of the installation. */
export function describeResources({ memoryMb, cpus }: Template['resources']): string {
  const parts = [memoryMb == null ? '' : `${memoryMb} MB`, cpus == null ? '' : `${cpus} CPU`].filter(Boolean)
  return parts.join(', ') || 'default'
}

export type Parsed<T> = { ok: true; value: T } | { ok: false; error: string }

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
const isWorkflow = (value: unknown): boolean =>
  isObject(value) && typeof value.name === 'string' && Array.isArray(value.nodes) && isObject(value.connections)

/** What an engine's editor exports: Node-RED's array of nodes, n8n's workflow or several in an array. Empty text is no flows. */
export function parseFlows(text: string, engine: Engine): Parsed<Flows> {
  if (text.trim() === '') return { ok: true, value: null }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return { ok: false, error: `This is not JSON: ${error instanceof Error ? error.message : String(error)}` }
  }
  const workflows = Array.isArray(value) ? value.every(isWorkflow) : isWorkflow(value)
  if (engine === 'n8n' && !workflows) {
    return { ok: false, error: 'These are no workflows of n8n: its editor exports one as {"name": …, "nodes": […], "connections": {…}}; several stand in an array.' }
  }
  if (engine !== 'n8n' && (!Array.isArray(value) || !value.every(isObject))) {
    const hint = isWorkflow(value) ? ' This is a workflow of n8n: choose a stack of n8n for it.' : ''
    return { ok: false, error: `Flows are a JSON array of nodes, as the editor exports them: […].${hint}` }
  }
  return { ok: true, value: value as Flows }
}

export const formatFlows = (flows: Flows): string => (flows ? JSON.stringify(flows, null, 2) : '')

/** One module a line, `name` or `name@version`; a scope may stand in front (`@scope/name@1.2.3`). */
export function parseModules(text: string): Parsed<Template['modules']> {
  const modules: Template['modules'] = []
  for (const line of text.split('\n').map((part) => part.trim())) {
    if (!line) continue
    const at = line.lastIndexOf('@')
    if (at === line.length - 1 || /\s/.test(line)) {
      return { ok: false, error: `“${line}” is not a module: write name or name@version.` }
    }
    modules.push(at <= 0 ? { name: line } : { name: line.slice(0, at), version: line.slice(at + 1) })
  }
  return { ok: true, value: modules }
}

export const formatModules = (modules: Template['modules']): string =>
  modules.map(({ name, version }) => (version ? `${name}@${version}` : name)).join('\n')
