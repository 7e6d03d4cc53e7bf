import { useInfiniteQuery, useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { apiPath, call, saveFile } from '@/api/call'
import { listAll, type Page } from '@/api/paging'
import type { Restore } from '@/restores/types'
import { exportName } from './model'
import type { Diff, Pipeline, PipelineBody, Plan, Promotion, RestoreRequest, Snapshot, SnapshotDetail, SnapshotKind } from './types'

export const snapshotsKey = (instanceId: string) => ['instances', instanceId, 'snapshots'] as const
export const pipelinesKey = (projectId: string) => ['projects', projectId, 'pipelines'] as const

const PAGE_LIMIT = 30
/** The editor and deploys take snapshots too. */
const POLL_MS = 15_000
/** In the place of an id: what runs now. */
export const CURRENT = 'current'

const snapshotsPath = (instanceId: string): string => apiPath('instances', instanceId, 'snapshots')
const snapshotPath = (id: string): string => apiPath('snapshots', id)

/** Newest first, page by page; refreshed while only the first page is shown. */
export const useSnapshots = (instanceId: MaybeRefOrGetter<string>, kind: MaybeRefOrGetter<SnapshotKind | ''>) =>
  useInfiniteQuery({
    queryKey: computed(() => [...snapshotsKey(toValue(instanceId)), toValue(kind)] as const),
    queryFn: ({ pageParam }) =>
      call<Page<Snapshot>>('GET', snapshotsPath(toValue(instanceId)), {
        query: { limit: PAGE_LIMIT, kind: toValue(kind) || undefined, cursor: pageParam || undefined },
      }),
    initialPageParam: '',
    getNextPageParam: (page) => page.nextCursor ?? undefined,
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) > 1 ? false : POLL_MS),
  })

/** All of them, to choose from. */
export const useAllSnapshots = (instanceId: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => [...snapshotsKey(toValue(instanceId)), 'all'] as const),
    queryFn: () => listAll((query) => call<Page<Snapshot>>('GET', snapshotsPath(toValue(instanceId)), { query })),
  })

/** With its flows; a snapshot's content never changes. */
export const useSnapshot = (id: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => ['snapshots', toValue(id)] as const),
    queryFn: () => call<SnapshotDetail>('GET', snapshotPath(toValue(id))),
    enabled: computed(() => toValue(id) !== '' && toValue(id) !== CURRENT),
    staleTime: Infinity,
  })

export const useDiff = (from: MaybeRefOrGetter<string>, to: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => ['snapshots', toValue(from), 'diff', toValue(to)] as const),
    queryFn: () => call<Diff>('GET', `${snapshotPath(toValue(from))}/diff`, { query: { to: toValue(to) } }),
    enabled: computed(() => toValue(from) !== '' && toValue(to) !== ''),
  })

export const takeSnapshot = (instanceId: string, body: { name?: string; description?: string }) =>
  call<Snapshot>('POST', snapshotsPath(instanceId), { body })
export const patchSnapshot = (id: string, body: { name: string; description: string }) =>
  call<Snapshot>('PATCH', snapshotPath(id), { body })
export const deleteSnapshot = (id: string) => call<undefined>('DELETE', snapshotPath(id))

export const planRestore = (id: string, body: RestoreRequest) =>
  call<Plan>('POST', `${snapshotPath(id)}/restore`, { body, query: { dryRun: true } })
export const restoreSnapshot = (id: string, body: RestoreRequest) => call<Restore>('POST', `${snapshotPath(id)}/restore`, { body })

export const exportSnapshot = (snapshot: Snapshot, passphrase: string) =>
  saveFile(`${snapshotPath(snapshot.id)}/export`, { passphrase }, exportName(snapshot))
export const importSnapshot = (instanceId: string, body: { passphrase: string; snapshot: object; name?: string }) =>
  call<Snapshot>('POST', `${snapshotsPath(instanceId)}/import`, { body })

export const usePipelines = (projectId: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => pipelinesKey(toValue(projectId))),
    queryFn: () => listAll((query) => call<Page<Pipeline>>('GET', apiPath('projects', toValue(projectId), 'pipelines'), { query })),
  })
export const createPipeline = (projectId: string, body: PipelineBody) =>
  call<Pipeline>('POST', apiPath('projects', projectId, 'pipelines'), { body })
export const putPipeline = (id: string, body: PipelineBody) => call<Pipeline>('PUT', apiPath('pipelines', id), { body })
export const deletePipeline = (id: string) => call<undefined>('DELETE', apiPath('pipelines', id))

export const planPromotion = (id: string, body: RestoreRequest) =>
  call<Plan>('POST', `${apiPath('pipelines', id)}/promote`, { body, query: { dryRun: true } })
export const promote = (id: string, body: RestoreRequest) => call<Promotion>('POST', `${apiPath('pipelines', id)}/promote`, { body })
