/** Written by hand until the manager's OpenAPI document has them; then they become aliases like those in `@/api/types`. */
import type { Engine } from '@/api/types'
import type { Progress } from '@/restores/types'

export type BackupStatus = 'pending' | 'running' | 'good' | 'partial' | 'failed'

export interface Verification {
  status: 'none' | 'pending' | 'running' | 'good' | 'failed'
  /** `read`: read back against its manifest; `rehearsed`: restored into a container that came up. */
  level?: 'read' | 'rehearsed' | null
  detail?: string | null
  at?: string | null
}
export interface Offsite {
  status: 'off' | 'pending' | 'uploading' | 'done' | 'failed'
  detail?: string | null
  at?: string | null
}

export interface Backup {
  id: string
  instanceId: string
  instanceName: string
  instanceExists: boolean
  projectId: string
  trigger: 'schedule' | 'manual' | 'upload'
  status: BackupStatus
  detail?: string | null
  progress?: Progress | null
  /** Of the archive. */
  sizeBytes?: number | null
  /** Of the files in it. */
  dataBytes?: number | null
  files?: number | null
  /** How long the instance stood still. */
  freezeMs?: number | null
  skipped: { path: string; reason: string }[]
  engine: Engine
  engineVersion: string
  sha256?: string | null
  createdAt: string
  startedAt?: string | null
  finishedAt?: string | null
  verification: Verification
  offsite: Offsite
}

export interface Keep {
  daily: number
  weekly: number
  monthly: number
}
export interface BackupPolicy {
  enabled: boolean
  /** Five fields of cron, in UTC. */
  schedule?: string | null
  keep?: Keep | null
  /** The installation's, not the instance's own. */
  inherited: boolean
  nextAt?: string | null
}
export type PutBackupPolicy = Pick<BackupPolicy, 'enabled' | 'schedule' | 'keep'>

export type BackupRestoreRequest = { instanceId?: string } | { newInstance: { name: string; subdomain: string; projectId?: string } }
