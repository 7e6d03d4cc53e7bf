import { useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { apiPath, call, sendFile, type Upload } from '@/api/call'
import { listAll, type Page } from '@/api/paging'
import type { Restore } from '@/restores/types'
import { isMoving } from './model'
import type { Backup, BackupPolicy, BackupRestoreRequest, PutBackupPolicy } from './types'

export const backupsKey = (instanceId: string) => ['instances', instanceId, 'backups'] as const
export const projectBackupsKey = (projectId: string) => ['projects', projectId, 'backups'] as const
export const policyKey = (instanceId: string) => ['instances', instanceId, 'backup-policy'] as const

/** While one runs, is verified or uploaded. */
const MOVING_MS = 1_500
const IDLE_MS = 30_000

function useList(key: () => readonly string[], path: () => string) {
  return useQuery({
    queryKey: computed(key),
    queryFn: () => listAll((query) => call<Page<Backup>>('GET', path(), { query })),
    refetchInterval: (query) => (query.state.data?.items.some(isMoving) ? MOVING_MS : IDLE_MS),
  })
}
/** Newest first. */
export const useBackups = (instanceId: MaybeRefOrGetter<string>) =>
  useList(() => backupsKey(toValue(instanceId)), () => apiPath('instances', toValue(instanceId), 'backups'))
/** Also those of instances that are deleted. */
export const useProjectBackups = (projectId: MaybeRefOrGetter<string>) =>
  useList(() => projectBackupsKey(toValue(projectId)), () => apiPath('projects', toValue(projectId), 'backups'))

export const makeBackup = (instanceId: string) => call<Backup>('POST', apiPath('instances', instanceId, 'backups'))
export const verifyBackup = (id: string) => call<Backup>('POST', apiPath('backups', id, 'verify'))
/** The copy offsite takes the place of the file that is gone or damaged. */
export const fetchBackup = (id: string) => call<Backup>('POST', apiPath('backups', id, 'fetch'))
export const deleteBackup = (id: string) => call<undefined>('DELETE', apiPath('backups', id))
export const restoreBackup = (id: string, body: BackupRestoreRequest) => call<Restore>('POST', apiPath('backups', id, 'restore'), { body })
/** A link, so that the browser streams it to the disk. */
export const downloadPath = (id: string): string => apiPath('backups', id, 'download')
export const uploadBackup = (instanceId: string, upload: Omit<Upload, 'type'>) =>
  sendFile<Backup>(apiPath('instances', instanceId, 'backups', 'upload'), { ...upload, type: 'application/gzip' })

const policyPath = (instanceId: string): string => apiPath('instances', instanceId, 'backup-policy')
export const usePolicy = (instanceId: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => policyKey(toValue(instanceId))),
    queryFn: () => call<BackupPolicy>('GET', policyPath(toValue(instanceId))),
    // A refetch behind the user's back would fight with what is being typed.
    refetchOnWindowFocus: false,
  })
export const putPolicy = (instanceId: string, body: PutBackupPolicy) => call<BackupPolicy>('PUT', policyPath(instanceId), { body })
export const inheritPolicy = (instanceId: string) => call<undefined>('DELETE', policyPath(instanceId))
