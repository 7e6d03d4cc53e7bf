/** Follows a project's event stream and keeps the cached instances in step with it. */
import { useQueryClient } from '@tanstack/vue-query'
import { computed, onBeforeUnmount, ref, toValue, watch, type ComputedRef, type MaybeRefOrGetter, type Ref } from 'vue'
import type { Listing } from '@/api/paging'
import type { Instance } from '@/api/types'
import { announce } from '@/ui/announce'
import { dropInstance, instancesKey, POLL_ALONE_MS, POLL_LIVE_MS, putInstance } from './api'
import { statusInfo } from './model'

interface EventOptions {
  /** Tell screen readers of each change of status; for lists, where no single status is a live region. */
  announceChanges?: boolean
  onDeleted?: (id: string) => void
}

const RETRY_MIN_MS = 2_000
const RETRY_MAX_MS = 30_000

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
    let source: EventSource | undefined
    let timer: ReturnType<typeof setTimeout> | undefined
    let retryMs = RETRY_MIN_MS

    const open = (): void => {
      source = new EventSource(`/api/v1/projects/${encodeURIComponent(id)}/events`)
      source.addEventListener('open', () => {
        live.value = true
        retryMs = RETRY_MIN_MS
        // Whatever happened while nobody listened.
        refresh(id)
      })
      source.addEventListener('instance', (event) => onInstance(event.data as string))
      source.addEventListener('deleted', (event) => {
        const gone = JSON.parse(event.data as string) as { id: string }
        dropInstance(client, id, gone.id)
        onDeleted(gone.id)
      })
      source.addEventListener('error', () => {
        live.value = false
        // The browser reconnects by itself after a broken stream, but gives up on a refusal.
        if (source?.readyState !== EventSource.CLOSED) return
        timer = setTimeout(open, retryMs)
        retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)
      })
    }

    open()
    return () => {
      clearTimeout(timer)
      source?.close()
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

/** Whether the page can be seen. */
export function useVisible(): Ref<boolean> {
  const visible = ref(!document.hidden)
  const update = (): void => {
    visible.value = !document.hidden
  }
  document.addEventListener('visibilitychange', update)
  onBeforeUnmount(() => document.removeEventListener('visibilitychange', update))
  return visible
}
