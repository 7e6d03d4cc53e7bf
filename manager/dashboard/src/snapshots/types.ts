import type { Body, Item, Reply } from '@/api/types'
import type { paths } from '@/api/schema'

export type Snapshot = Item<'/api/v1/instances/{id}/snapshots'>
export type SnapshotKind = Snapshot['kind']
export type Module = Snapshot['modules'][number]

/** A node of a flow file; tabs and subflows are nodes too. The document leaves them open. */
export interface FlowNode {
  id: string
  type: string
  z?: string
  name?: string
  label?: string
}
export type SnapshotDetail = Snapshot & { flows: FlowNode[] }

export type Diff = Reply<'/api/v1/snapshots/{id}/diff', 'get'>
export type TabRef = Diff['tabs']['added'][number]
export type NodeRef = Diff['nodes']['added'][number]
export type ChangedNode = Diff['nodes']['changed'][number]
export type FieldChange = ChangedNode['fields'][number]
export type Wire = Diff['wires']['added'][number]

export type RestoreRequest = NonNullable<Body<'/api/v1/snapshots/{id}/restore', 'post'>>
export type CredentialChoice = NonNullable<RestoreRequest['credentials']>
/** Which workflows run afterwards; only n8n's are switched on and off. */
export type ActiveChoice = NonNullable<RestoreRequest['active']>
/** What a restore would do: the answer to a dry run. */
export type Plan = paths['/api/v1/snapshots/{id}/restore']['post']['responses'][200]['content']['application/json']

export type Pipeline = Item<'/api/v1/projects/{id}/pipelines'>
export type Stage = Pipeline['stages'][number]
export type PipelineBody = Body<'/api/v1/projects/{id}/pipelines', 'post'>
export type Promotion = paths['/api/v1/pipelines/{id}/promote']['post']['responses'][202]['content']['application/json']
