import type { Body, Item, Reply } from '@/api/types'

export type Backup = Item<'/api/v1/instances/{id}/backups'>
export type BackupStatus = Backup['status']
export type Verification = Backup['verification']
export type Offsite = Backup['offsite']

export type BackupPolicy = Reply<'/api/v1/instances/{id}/backup-policy', 'get'>
export type Keep = NonNullable<BackupPolicy['keep']>
export type PutBackupPolicy = Body<'/api/v1/instances/{id}/backup-policy', 'put'>
export type BackupRestoreRequest = Body<'/api/v1/backups/{id}/restore', 'post'>
