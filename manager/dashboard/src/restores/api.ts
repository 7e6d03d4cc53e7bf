import { useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ok } from '@/api/client'
import { isOpen } from './model'

export const restoresKey = (instanceId: string) => ['instances', instanceId, 'restores'] as const

const OPEN_MS = 1_500
/** Somebody else, or the editor, may begin one. */
const IDLE_MS = 15_000
const LIMIT = 20

/** The last restores of an instance, newest first; asked for often while one is under way. */
export const useRestores = (instanceId: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => restoresKey(toValue(instanceId))),
    queryFn: () => ok(api.GET('/api/v1/instances/{id}/restores', { params: { path: { id: toValue(instanceId) }, query: { limit: LIMIT } } })),
    refetchInterval: (query) => (query.state.data?.items.some(isOpen) ? OPEN_MS : IDLE_MS),
  })
