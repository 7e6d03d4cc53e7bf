import { useInfiniteQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ok } from '@/api/client'

export interface AuditFilter {
  projectId?: string
  actor?: string
  action?: string
}

const PAGE_LIMIT = 50

/** Newest first. */
export const useAudit = (filter: MaybeRefOrGetter<AuditFilter>) =>
  useInfiniteQuery({
    queryKey: computed(() => ['audit', toValue(filter)] as const),
    queryFn: ({ pageParam }) =>
      ok(
        api.GET('/api/v1/audit', {
          params: { query: { ...toValue(filter), limit: PAGE_LIMIT, ...(pageParam ? { cursor: pageParam } : {}) } },
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.nextCursor ?? undefined,
  })
