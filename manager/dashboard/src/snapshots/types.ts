/** Written by hand until the manager's OpenAPI document has them; then they become aliases like those in `@/api/types`. */
import type { Engine } from '@/api/types'
import type { Restore } from '@/restores/types'

export type SnapshotKind = 'manual' | 'auto' | 'before-restore'

export interface Module {
  name: string
  version: string
}

export interface Snapshot {
  id: string
  instanceId: string
  projectId: string
  kind: SnapshotKind
  name?: string | null
  description?: string | null
  author?: string | null
  engine: Engine
  engineVersion: string
  nodes: number
  tabs: number
  modules: Module[]
  env: { name: string; secret: boolean; value?: string | null }[]
  /** How many nodes have credentials. */
  credentials: number
  sizeBytes: number
  createdAt: string
}

/** A node of a flow file; tabs and subflows are nodes too. */
export interface FlowNode {
  id: string
  type: string
  z?: string
  name?: string
  label?: string
}
export type SnapshotDetail = Snapshot & { flows: FlowNode[] }

/** A side is null where the field is absent. */
export interface FieldChange {
  field: string
  from?: unknown
  to?: unknown
}
export interface TabRef {
  id: string
  label?: string | null
}
export interface NodeRef {
  id: string
  type: string
  name?: string | null
  /** The id of the tab or subflow that it is on; none for configuration nodes. */
  tab?: string | null
  tabLabel?: string | null
}
export type ChangedNode = NodeRef & {
  fields: FieldChange[]
  /** Nothing but its place on the canvas changed. */
  moved?: boolean
}
export interface Wire {
  from: string
  port: number
  to: string
}
interface Side {
  id?: string | null
  name?: string | null
  createdAt?: string | null
}

export interface Diff {
  from: Side
  to: Side
  tabs: { added: TabRef[]; removed: TabRef[]; changed: (TabRef & { fields: FieldChange[] })[] }
  nodes: { added: NodeRef[]; removed: NodeRef[]; changed: ChangedNode[] }
  wires: { added: Wire[]; removed: Wire[] }
  modules: { added: Module[]; removed: Module[]; changed: { name: string; from: string; to: string }[] }
  env: { added: string[]; removed: string[]; changed: string[] }
  /** Ids of the nodes whose credentials differ. */
  credentials: { changed: string[] }
  identical: boolean
}

export type CredentialChoice = 'snapshot' | 'keep'
export interface RestoreRequest {
  instanceId?: string
  credentials?: CredentialChoice
  addEnv?: boolean
}

/** What a restore would do. */
export interface Plan {
  instanceId: string
  diff: Diff
  modules: { install: Module[]; differ: { name: string; here: string; snapshot: string }[] }
  env: { missing: { name: string; secret: boolean }[]; differ: string[] }
  credentials: { carried: number; kept: number; missing: NodeRef[] }
  engine: { here: string; snapshot: string; compatible: boolean }
  /** Why it would be refused. */
  blockers: string[]
  /** What hinders nothing and is worth knowing. */
  warnings: string[]
}

export interface Stage {
  instanceId: string
  instanceName: string
  subdomain: string
  needsOwner: boolean
}
export interface Pipeline {
  id: string
  projectId: string
  name: string
  stages: Stage[]
  createdAt: string
  updatedAt: string
}
export interface PipelineBody {
  name: string
  stages: { instanceId: string; needsOwner: boolean }[]
}
export interface Promotion {
  snapshot: Snapshot
  restore: Restore
}
