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

const RECENT = 20

/** Why Openflow itself deleted an instance, such as a new one whose data did not come; empty when a person did, or when it is not known. */
export async function whyDeleted(projectId: string, instanceId: string): Promise<string> {
  try {
    const { items } = await ok(api.GET('/api/v1/audit', { params: { query: { projectId, action: 'instance.delete', limit: RECENT } } }))
    const entry = items.find(({ target, actor }) => target.id === instanceId && actor.kind === 'system')
    const { why } = (entry?.detail ?? {}) as { why?: unknown }
    return typeof why === 'string' ? why : ''
  } catch {
    return '' // The deletion itself is told all the same.
  }
}
