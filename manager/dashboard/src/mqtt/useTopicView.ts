import { computed, ref, shallowRef, watch, type ComputedRef, type Ref } from 'vue'
import { matcher } from './topics'
import { BRANCH_ROWS, pathsOf, type Drawing } from './topicTree'
import type { Topics } from './useTopics'

const FIRST_ROWS = 24
const NONE: ReadonlySet<string> = new Set()

export interface TopicView {
  drawing: ComputedRef<Drawing>
  toggle: (path: string) => void
  /** Draws more children of a branch. */
  more: (path: string) => void
}

/** Which branches are open. With a filter all are that lead to a match, but for those that were closed since. */
export function useTopicView({ tree, drawnMs, heard }: Topics, filter: Ref<string>, selected: Ref<string>): TopicView {
  const open = shallowRef(NONE)
  const closed = shallowRef(NONE)
  const limits = ref(new Map<string, number>())
  const matches = computed(() => matcher(filter.value))
  const filtered = computed(() => filter.value.trim() !== '')

  watch(filter, () => {
    closed.value = NONE
    limits.value.clear()
  })
  // At the first topics, so that a small project needs no click; later ones must not move what one reads.
  const stop = watch([heard, drawnMs], () => {
    if (tree.size === 0) return
    stop()
    open.value = new Set([...open.value, ...tree.firstOpen(FIRST_ROWS)])
  })
  // A selected topic is seen, also one that stands in the address.
  watch(selected, (topic) => (open.value = new Set([...open.value, ...pathsOf(topic).slice(0, -1)])), { immediate: true })

  const limit = (path: string): number => limits.value.get(path) ?? BRANCH_ROWS
  const toggled = (set: ReadonlySet<string>, path: string): ReadonlySet<string> => {
    const other = new Set(set)
    if (!other.delete(path)) other.add(path)
    return other
  }

  return {
    drawing: computed(() =>
      tree.draw({
        isOpen: (path) => (filtered.value ? !closed.value.has(path) : open.value.has(path)),
        matches: matches.value,
        limit,
        nowMs: drawnMs.value,
      }),
    ),
    toggle(path) {
      if (filtered.value) closed.value = toggled(closed.value, path)
      else open.value = toggled(open.value, path)
    },
    more: (path) => limits.value.set(path, limit(path) + BRANCH_ROWS),
  }
}
