import { useQuery, type QueryClient } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ok } from '@/api/client'
import { listAll, type Listing } from '@/api/paging'
import type { CreateInstance, EnvVar, Instance, PatchInstance } from '@/api/types'
import type { Command } from './model'

export const instancesKey = (projectId: string) => ['projects', projectId, 'instances'] as const
export const instanceKey = (id: string) => ['instances', id] as const
export const envKey = (id: string) => ['instances', id, 'env'] as const
export const aliasesKey = (id: string) => ['instances', id, 'aliases'] as const
export const statsKey = (id: string) => ['instances', id, 'stats'] as const

/** Polling is the safety net while events arrive, and the only source while they do not. */
export const POLL_LIVE_MS = 30_000
export const POLL_ALONE_MS = 4_000
const STATS_MS = 5_000

const at = (id: string) => ({ params: { path: { id } } })

export const fetchInstances = (projectId: string): Promise<Listing<Instance>> =>
  listAll((query) => ok(api.GET('/api/v1/projects/{id}/instances', { params: { path: { id: projectId }, query } })))
export const fetchInstance = (id: string): Promise<Instance> => ok(api.GET('/api/v1/instances/{id}', at(id)))

export const useInstances = (projectId: MaybeRefOrGetter<string>, pollMs: MaybeRefOrGetter<number>) =>
  useQuery({
    queryKey: computed(() => instancesKey(toValue(projectId))),
    queryFn: () => fetchInstances(toValue(projectId)),
    refetchInterval: computed(() => toValue(pollMs)),
  })

export const useInstance = (id: MaybeRefOrGetter<string>, pollMs: MaybeRefOrGetter<number>) =>
  useQuery({
    queryKey: computed(() => instanceKey(toValue(id))),
    queryFn: () => fetchInstance(toValue(id)),
    refetchInterval: computed(() => toValue(pollMs)),
  })

/** Puts a newer state of an instance wherever it is shown. */
export function putInstance(client: QueryClient, instance: Instance): void {
  client.setQueryData(instanceKey(instance.id), instance)
  client.setQueryData<Listing<Instance>>(instancesKey(instance.projectId), (listing) => {
    if (!listing) return undefined
    const known = listing.items.some((item) => item.id === instance.id)
    const items = known
      ? listing.items.map((item) => (item.id === instance.id ? instance : item))
      : [...listing.items, instance]
    return { ...listing, items }
  })
}

/** Takes a deleted instance out of its project's list. */
export function dropInstance(client: QueryClient, projectId: string, id: string): void {
  client.setQueryData<Listing<Instance>>(
    instancesKey(projectId),
    (listing) => listing && { ...listing, items: listing.items.filter((item) => item.id !== id) },
  )
}

export const createInstance = (projectId: string, body: CreateInstance) =>
  ok(api.POST('/api/v1/projects/{id}/instances', { ...at(projectId), body }))
export const patchInstance = (id: string, body: PatchInstance) => ok(api.PATCH('/api/v1/instances/{id}', { ...at(id), body }))
export const deleteInstance = (id: string) => ok(api.DELETE('/api/v1/instances/{id}', at(id)))

export function commandInstance(id: string, command: Command): Promise<Instance> {
  if (command === 'start') return ok(api.POST('/api/v1/instances/{id}/start', at(id)))
  if (command === 'stop') return ok(api.POST('/api/v1/instances/{id}/stop', at(id)))
  return ok(api.POST('/api/v1/instances/{id}/restart', at(id)))
}

export const useStats = (id: MaybeRefOrGetter<string>, enabled: MaybeRefOrGetter<boolean>) =>
  useQuery({
    queryKey: computed(() => statsKey(toValue(id))),
    queryFn: () => ok(api.GET('/api/v1/instances/{id}/stats', at(toValue(id)))),
    enabled: computed(() => toValue(enabled)),
    refetchInterval: STATS_MS,
  })

export const useEnv = (id: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => envKey(toValue(id))),
    queryFn: () => ok(api.GET('/api/v1/instances/{id}/env', at(toValue(id)))),
    // A refetch behind the user's back would fight with what is being typed.
    refetchOnWindowFocus: false,
  })
export const putEnv = (id: string, items: EnvVar[]) => ok(api.PUT('/api/v1/instances/{id}/env', { ...at(id), body: { items } }))

export const useAliases = (id: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => aliasesKey(toValue(id))),
    queryFn: () => ok(api.GET('/api/v1/instances/{id}/aliases', at(toValue(id)))),
  })
export const addAlias = (id: string, name: string) => ok(api.POST('/api/v1/instances/{id}/aliases', { ...at(id), body: { name } }))
export const removeAlias = (id: string, name: string) =>
  ok(api.DELETE('/api/v1/instances/{id}/aliases/{name}', { params: { path: { id, name } } }))
