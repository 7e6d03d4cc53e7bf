/** The engines in words: what people call the same thing in each. Pure. */
import type { Engine, Stack, Storage } from '@/api/types'

export interface EngineWords {
  title: string
  /** What holds nodes. */
  tab: 'tab' | 'workflow'
  /** All that people build in it. */
  flows: 'flows' | 'workflows'
  wire: 'wire' | 'connection'
  /** What a snapshot of now is of. */
  now: string
  /** What stands on no tab. */
  noTab: string
  /** When snapshots are taken by themselves. */
  automatic: string
  /** What a backup has beside snapshots' content. */
  dataFolder: string
  /** Where a stack's instances can keep their data, if there is a choice. */
  storage?: { value: Storage; label: string; hint: string }[]
}

const WORDS: Record<Engine, EngineWords> = {
  'node-red': {
    title: 'Node-RED',
    tab: 'tab',
    flows: 'flows',
    wire: 'wire',
    now: 'What runs now',
    noTab: 'Configuration nodes',
    automatic: 'on each deploy and before each restore',
    dataFolder: 'flows, credentials, context, modules and files',
  },
  n8n: {
    title: 'n8n',
    tab: 'workflow',
    flows: 'workflows',
    wire: 'connection',
    now: 'What is there now',
    noTab: 'Credentials, tags and variables',
    automatic: 'when a workflow is published, some minutes after other changes were saved, and before each restore',
    dataFolder: 'workflows, credentials, executions, modules and files',
    storage: [
      { value: 'files', label: 'SQLite', hint: 'A file in each instance’s data folder. The first start is faster, and it is enough for most.' },
      {
        value: 'postgres',
        label: 'PostgreSQL',
        hint: 'A database of its own for each instance, on the server of OPENFLOW_INSTANCE_DATABASE_URL: for many executions at once. It cannot be changed later.',
      },
    ],
  },
}

/** An engine that this version of the dashboard does not know is called by its name, and spoken of in Node-RED's terms. */
export const engineWords = (engine: Engine): EngineWords => WORDS[engine] ?? { ...WORDS['node-red'], title: engine }
export const engineName = (engine: Engine): string => engineWords(engine).title

/** Why an instance of this stack cannot have so much memory; empty when it can. An empty input is the default. */
export function memoryProblem(stack: Pick<Stack, 'engine' | 'memoryMbMin'> | undefined, memoryMb: string | number): string {
  if (!stack || memoryMb === '' || Number(memoryMb) >= stack.memoryMbMin) return ''
  return `${engineName(stack.engine)} does not start with less than ${stack.memoryMbMin} MB.`
}

/** What to know before memory is entered; empty when any amount will do. */
export function memoryHint(stack: Pick<Stack, 'engine' | 'memoryMbMin' | 'memoryMbDefault'> | undefined): string {
  if (!stack || stack.memoryMbDefault === 0) return ''
  return `${engineName(stack.engine)} needs at least ${stack.memoryMbMin} MB, and gets ${stack.memoryMbDefault} MB or more when nothing is entered.`
}
