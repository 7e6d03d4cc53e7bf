import type { Item } from '@/api/types'

/** One replacement of an instance's data by a snapshot's or a backup's. */
export type Restore = Item<'/api/v1/instances/{id}/restores'>
export type RestoreState = Restore['state']
export type Progress = NonNullable<Restore['progress']>
