/** Written by hand until the manager's OpenAPI document has them; then they become aliases like those in `@/api/types`. */

export type RestoreState = 'preparing' | 'stopping' | 'starting' | 'undoing' | 'done' | 'undone' | 'failed'

export interface Progress {
  doneBytes: number
  totalBytes: number
}

/** One replacement of an instance's data by a snapshot's or a backup's. */
export interface Restore {
  id: string
  instanceId: string
  kind: 'snapshot' | 'backup'
  sourceId: string
  sourceName: string
  state: RestoreState
  detail?: string | null
  progress?: Progress | null
  requestedBy?: string | null
  createdAt: string
  finishedAt?: string | null
}
