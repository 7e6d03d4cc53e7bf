/** Follows a project's event stream and keeps the cached instances in step with it. */
import { useQueryClient } from '@tanstack/vue-query'
import { computed, ref, toValue, watch, type ComputedRef, type MaybeRefOrGetter, type Ref } from 'vue'
import { followEvents } from '@/api/eventStream'
import type { Listing } from '@/api/paging'
import type { Instance } from '@/api/types'
import { announce } from '@/ui/announce'
import { useVisible } from '@/ui/visible'
import { dropInstance, instancesKey, POLL_ALONE_MS, POLL_LIVE_MS, putInstance } from './api'
import { statusInfo } from './model'

interface EventOptions {
  /** Tell screen readers of each change of status; for lists, where no single status is a live region. */
  announceChanges?: boolean
  onDeleted?: (id: string) => void
}

/**
 * Connects while the page is visible: a browser allows few connections to one host over HTTP/1.1, and
 * forgotten tabs would use them up. `pollMs` is how often to ask besides, depending on whether events arrive.
 */
export function useProjectEvents(
  projectId: MaybeRefOrGetter<string>,
  { announceChanges = false, onDeleted = () => {} }: EventOptions = {},
): { live: Ref<boolean>; pollMs: ComputedRef<number> } {
  const client = useQueryClient()
  const live = ref(false)
  const visible = useVisible()

  function refresh(id: string): void {
    void client.invalidateQueries({ queryKey: instancesKey(id) })
    void client.invalidateQueries({ queryKey: ['instances'], predicate: (query) => query.queryKey.length === 2 })
  }

  function onInstance(data: string): void {
    const instance = JSON.parse(data) as Instance
    const before = client
      .getQueryData<Listing<Instance>>(instancesKey(instance.projectId))
      ?.items.find((item) => item.id === instance.id)
    putInstance(client, instance)
    if (announceChanges && before && before.status !== instance.status) {
      void announce(`${instance.name}: ${statusInfo(instance.status).label}`)
    }
  }

  function connect(id: string): () => void {
    const close = followEvents(`/api/v1/projects/${encodeURIComponent(id)}/events`, {
      onOpen: () => {
        live.value = true
        // Whatever happened while nobody listened.
        refresh(id)
      },
      onDown: () => {
        live.value = false
      },
      events: {
        instance: onInstance,
        deleted: (data) => {
          const gone = JSON.parse(data) as { id: string }
          dropInstance(client, id, gone.id)
          onDeleted(gone.id)
        },
      },
    })
    return () => {
      close()
      live.value = false
    }
  }

  watch(
    () => [toValue(projectId), visible.value] as const,
    ([id, shown], _before, onCleanup) => {
      if (id && shown) onCleanup(connect(id))
    },
    { immediate: true },
  )

  return { live, pollMs: computed(() => (live.value ? POLL_LIVE_MS : POLL_ALONE_MS)) }
}
