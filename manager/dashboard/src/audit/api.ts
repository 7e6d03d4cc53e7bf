import { useInfiniteQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ok } from '@/api/client'

export interface AuditFilter {
  projectId?: string
  actor?: string
  action?: string
}

const PAGE_LIMIT = 50

/** Newest first; each page's cursor is the `before` of the next. */
export const useAudit = (filter: MaybeRefOrGetter<AuditFilter>) =>
  useInfiniteQuery({
    queryKey: computed(() => ['audit', toValue(filter)] as const),
    queryFn: ({ pageParam }) =>
      ok(
        api.GET('/api/v1/audit', {
          params: { query: { ...toValue(filter), limit: PAGE_LIMIT, ...(pageParam ? { before: pageParam } : {}) } },
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.nextCursor ?? undefined,
  })
