import { onBeforeUnmount, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue'
import { problemOf, type Problem } from '@/api/problem'
import { useVisible } from '@/ui/visible'
import { LogBuffer, type LogLine } from './logs'
import { readLogs } from './logStream'

export type LogState = 'loading' | 'following' | 'ended' | 'failed' | 'paused'

const RETRY_MS = 3_000

export interface LogOptions {
  instanceId: () => string
  tail: () => number
  follow: () => boolean
}

/**
 * The lines of an instance's log. A followed stream that ends (a restart, a lost connection) is asked for again
 * from its tail; while the page is hidden nothing is read.
 */
export function useLogs(options: LogOptions): {
  lines: ShallowRef<LogLine[]>
  state: Ref<LogState>
  problem: Ref<Problem | null>
  reload: () => void
} {
  const lines = shallowRef<LogLine[]>([])
  const state = ref<LogState>('loading')
  const problem = ref<Problem | null>(null)
  const round = ref(0)
  const visible = useVisible()
  let frame = 0

  async function read(signal: AbortSignal): Promise<void> {
    const buffer = new LogBuffer()
    const follow = options.follow()
    // Many chunks may arrive within one frame; the list is drawn once for all of them.
    const draw = (): void => {
      frame = 0
      if (!signal.aborted) lines.value = buffer.lines()
    }
    state.value = 'loading'
    try {
      await readLogs({
        instanceId: options.instanceId(),
        tail: options.tail(),
        follow,
        signal,
        onOpen: () => {
          problem.value = null
          if (follow) state.value = 'following'
        },
        onText: (chunk) => {
          buffer.push(chunk)
          frame ||= requestAnimationFrame(draw)
        },
      })
      buffer.end()
      draw()
      state.value = 'ended'
    } catch (error) {
      if (signal.aborted) return
      problem.value = problemOf(error)
      state.value = 'failed'
    }
  }

  watch(
    () => [options.instanceId(), options.tail(), options.follow(), visible.value, round.value] as const,
    ([, , follow, shown], _before, onCleanup) => {
      if (!shown) {
        state.value = 'paused'
        return
      }
      const abort = new AbortController()
      let timer: ReturnType<typeof setTimeout> | undefined
      onCleanup(() => {
        abort.abort()
        clearTimeout(timer)
      })
      void read(abort.signal).then(() => {
        // A refusal (4xx) would be the same again.
        const refused = problem.value !== null && problem.value.status >= 400 && problem.value.status < 500
        if (follow && !refused && !abort.signal.aborted) timer = setTimeout(() => (round.value += 1), RETRY_MS)
      })
    },
    { immediate: true },
  )
  onBeforeUnmount(() => cancelAnimationFrame(frame))

  return { lines, state, problem, reload: () => (round.value += 1) }
}
