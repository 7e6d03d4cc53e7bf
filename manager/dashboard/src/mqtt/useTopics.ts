import { onBeforeUnmount, ref, toValue, watch, type MaybeRefOrGetter, type Ref } from 'vue'
import { followEvents } from '@/api/eventStream'
import { useVisible } from '@/ui/visible'
import { topicsPath } from './api'
import { TopicTree, type TopicBatch, type TopicMessage } from './topicTree'

const TICK_MS = 2_000

export type TopicState = 'connecting' | 'live' | 'lost' | 'hidden'

export interface Topics {
  /** Changed in place; whoever draws it depends on `drawnMs`. */
  tree: TopicTree
  /** When the tree was last worth drawing anew. */
  drawnMs: Ref<number>
  state: Ref<TopicState>
  /** Something came, be it that there are no topics. */
  heard: Ref<boolean>
  /** What the manager could not show, over all watches. */
  lost: Ref<number>
  paused: Ref<boolean>
}

/**
 * Follows a project's topics while the page is visible. While paused, what comes is kept aside: the tree stays as it
 * is, and nothing is missing afterwards.
 */
export function useTopics(projectId: MaybeRefOrGetter<string>): Topics {
  const tree = new TopicTree()
  const drawnMs = ref(Date.now())
  const state = ref<TopicState>('connecting')
  const heard = ref(false)
  const lost = ref(0)
  const paused = ref(false)
  const visible = useVisible()
  /** The last message per topic; the manager sends a bounded number of topics. */
  const held = new Map<string, TopicMessage>()
  let lostBefore = 0

  function release(): void {
    tree.apply([...held.values()], Date.now())
    held.clear()
  }
  function take(data: string): void {
    const batch = JSON.parse(data) as TopicBatch
    lost.value = lostBefore + batch.lost
    for (const message of batch.topics) held.set(message.topic, message)
    if (paused.value && heard.value) return
    release()
    heard.value = true
    drawnMs.value = Date.now()
  }

  watch(
    () => [toValue(projectId), visible.value] as const,
    ([id, shown], _before, onCleanup) => {
      if (!shown) {
        state.value = 'hidden'
        return
      }
      state.value = 'connecting'
      onCleanup(
        followEvents(topicsPath(id), {
          onOpen: () => {
            release()
            tree.begin()
            lostBefore = lost.value
            state.value = 'live'
          },
          onDown: () => {
            state.value = 'lost'
          },
          events: { topics: take },
        }),
      )
    },
    { immediate: true },
  )

  watch(paused, (on) => {
    if (on) return
    release()
    drawnMs.value = Date.now()
  })
  // Rates fall to nothing by themselves, and where nothing is retained and nobody speaks nothing comes.
  const timer = setInterval(() => {
    if (state.value === 'live') heard.value = true
    if (!paused.value) drawnMs.value = Date.now()
  }, TICK_MS)
  onBeforeUnmount(() => clearInterval(timer))

  return { tree, drawnMs, state, heard, lost, paused }
}
