/** What a restore does at the moment, in words. Pure. */
import type { Tone } from '@/ui/StatusBadge.vue'
import type { Restore, RestoreState } from './types'

interface StateInfo {
  label: string
  tone: Tone
  meaning: string
}

const STATES: Record<RestoreState, StateInfo> = {
  preparing: { label: 'Preparing', tone: 'busy', meaning: 'The data is being made ready beside the running instance.' },
  stopping: { label: 'Stopping', tone: 'busy', meaning: 'The instance is being stopped to swap its data.' },
  applying: { label: 'Applying', tone: 'busy', meaning: 'It is being handed to the running engine.' },
  starting: { label: 'Starting', tone: 'busy', meaning: 'The data is swapped; the instance starts with it and is checked.' },
  undoing: { label: 'Undoing', tone: 'busy', meaning: 'It did not come up; what was there before is being put back.' },
  done: { label: 'Done', tone: 'ok', meaning: 'The instance has the restored data.' },
  undone: { label: 'Undone', tone: 'bad', meaning: 'What was there before runs again.' },
  failed: { label: 'Failed', tone: 'bad', meaning: 'Nothing of the instance was changed.' },
}

export const stateInfo = (state: RestoreState): StateInfo => STATES[state] ?? { label: state, tone: 'off', meaning: '' }

export const isOpen = ({ state }: Pick<Restore, 'state'>): boolean => !['done', 'undone', 'failed'].includes(state)

/** A result is news for this long. */
const NEWS_MS = 600_000

/** The restore to tell about on the instance's pages: one under way, else a result that is fresh and was not dismissed. */
export function noteworthy(restores: readonly Restore[], now: Date, dismissed: ReadonlySet<string>): Restore | null {
  const open = restores.find(isOpen)
  if (open) return open
  const [latest] = restores
  if (!latest?.finishedAt || dismissed.has(latest.id)) return null
  return now.getTime() - new Date(latest.finishedAt).getTime() < NEWS_MS ? latest : null
}

/** `the snapshot “Before the fair”`. */
export const sourceInWords = ({ kind, sourceName }: Pick<Restore, 'kind' | 'sourceName'>): string =>
  `the ${kind}${sourceName ? ` “${sourceName}”` : ''}`
