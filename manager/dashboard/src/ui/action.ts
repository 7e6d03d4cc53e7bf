import { readonly, ref, type DeepReadonly, type Ref } from 'vue'
import { problemOf, type Problem } from '@/api/problem'

export interface Action<Args extends unknown[]> {
  busy: DeepReadonly<Ref<boolean>>
  problem: Ref<Problem | null>
  /** Runs unless it is running; answers whether it ran and succeeded. */
  run: (...args: Args) => Promise<boolean>
  /** Messages for a field of the last refusal. */
  errors: (field: string) => string[]
  reset: () => void
}

/** One user action at a time: a second click while the first is under way does nothing. */
export function useAction<Args extends unknown[]>(perform: (...args: Args) => Promise<unknown>): Action<Args> {
  const busy = ref(false)
  const problem = ref<Problem | null>(null)

  async function run(...args: Args): Promise<boolean> {
    if (busy.value) return false
    busy.value = true
    problem.value = null
    try {
      await perform(...args)
      return true
    } catch (error) {
      problem.value = problemOf(error)
      return false
    } finally {
      busy.value = false
    }
  }

  return {
    busy: readonly(busy),
    problem,
    run,
    errors: (field) => problem.value?.errors[field] ?? [],
    reset: () => {
      problem.value = null
    },
  }
}
