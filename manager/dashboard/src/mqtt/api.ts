import { useInfiniteQuery, useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ok } from '@/api/client'
import { listAll } from '@/api/paging'
import type { CreateMqttClient, MqttMessage, PatchMqttClient } from '@/api/types'

export const mqttKey = (projectId: string) => ['projects', projectId, 'mqtt'] as const
export const clientsKey = (projectId: string) => [...mqttKey(projectId), 'clients'] as const

const POLL_MS = 5_000
const EVENTS_LIMIT = 20

const at = (id: string) => ({ params: { path: { id } } })

export const useBroker = (projectId: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => [...mqttKey(toValue(projectId)), 'broker'] as const),
    queryFn: () => ok(api.GET('/api/v1/projects/{id}/mqtt', at(toValue(projectId)))),
    refetchInterval: POLL_MS,
  })

export const useClients = (projectId: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => clientsKey(toValue(projectId))),
    queryFn: () =>
      listAll((query) =>
        ok(api.GET('/api/v1/projects/{id}/mqtt-clients', { params: { path: { id: toValue(projectId) }, query } })),
      ),
    refetchInterval: POLL_MS,
  })

export const useConnections = (projectId: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => [...mqttKey(toValue(projectId)), 'connections'] as const),
    queryFn: () => ok(api.GET('/api/v1/projects/{id}/mqtt/connections', at(toValue(projectId)))),
    refetchInterval: POLL_MS,
  })

/** Newest first. Refreshed while only the newest are shown: further back one reads. */
export const useEvents = (projectId: MaybeRefOrGetter<string>) =>
  useInfiniteQuery({
    queryKey: computed(() => [...mqttKey(toValue(projectId)), 'events'] as const),
    queryFn: ({ pageParam }) =>
      ok(
        api.GET('/api/v1/projects/{id}/mqtt/events', {
          params: { path: { id: toValue(projectId) }, query: { limit: EVENTS_LIMIT, ...(pageParam ? { cursor: pageParam } : {}) } },
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.nextCursor ?? undefined,
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) > 1 ? false : POLL_MS),
  })

export const createClient = (projectId: string, body: CreateMqttClient) =>
  ok(api.POST('/api/v1/projects/{id}/mqtt-clients', { ...at(projectId), body }))
export const patchClient = (id: string, body: PatchMqttClient) => ok(api.PATCH('/api/v1/mqtt-clients/{id}', { ...at(id), body }))
export const deleteClient = (id: string) => ok(api.DELETE('/api/v1/mqtt-clients/{id}', at(id)))
export const rotateClient = (id: string) => ok(api.POST('/api/v1/mqtt-clients/{id}/rotate', at(id)))

export const publish = (projectId: string, body: MqttMessage) =>
  ok(api.POST('/api/v1/projects/{id}/mqtt/publish', { ...at(projectId), body }))
export const topicsPath = (projectId: string): string => `/api/v1/projects/${encodeURIComponent(projectId)}/mqtt/topics`
