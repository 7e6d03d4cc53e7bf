/** What an instance's status means to a person, and what may be done in it. Pure. */
import type { InstanceStatus } from '@/api/types'
import type { Tone } from '@/ui/StatusBadge.vue'

interface StatusInfo {
  label: string
  tone: Tone
  /** One sentence for the instance's page. */
  meaning: string
}

const STATUS: Record<InstanceStatus, StatusInfo> = {
  creating: { label: 'Creating', tone: 'busy', meaning: 'The container is being made.' },
  starting: { label: 'Starting', tone: 'busy', meaning: 'The container runs; its flows are not up yet.' },
  running: { label: 'Running', tone: 'ok', meaning: 'The editor and the webhooks answer.' },
  unhealthy: { label: 'Unhealthy', tone: 'warn', meaning: 'The container runs but does not answer its health check. See the logs.' },
  crashed: { label: 'Crashed', tone: 'bad', meaning: 'The engine ended by itself; it is started again with growing pauses. See the logs.' },
  safe_mode: {
    label: 'Safe mode',
    tone: 'warn',
    meaning: 'After repeated crashes the editor runs with the flows stopped. Mend the flow, deploy, then restart.',
  },
  sleeping: { label: 'Sleeping', tone: 'off', meaning: 'Put to rest while idle; the next request wakes it.' },
  stopping: { label: 'Stopping', tone: 'busy', meaning: 'The engine is being stopped.' },
  stopped: { label: 'Stopped', tone: 'off', meaning: 'Nothing runs. Callers get “503 Service Unavailable”.' },
  failed: { label: 'Failed', tone: 'bad', meaning: 'It could not be started. The reason stands below; start it again after mending it.' },
  deleting: { label: 'Deleting', tone: 'busy', meaning: 'The container and its data are being removed.' },
}

/** A status that this version of the dashboard does not know is shown as it is. */
export function statusInfo(status: InstanceStatus): StatusInfo {
  return STATUS[status] ?? { label: status, tone: 'off', meaning: '' }
}

export type Command = 'start' | 'stop' | 'restart'

const COMMANDS: Partial<Record<InstanceStatus, Command[]>> = {
  creating: ['stop'],
  starting: ['restart', 'stop'],
  running: ['restart', 'stop'],
  unhealthy: ['restart', 'stop'],
  safe_mode: ['restart', 'stop'],
  crashed: ['restart', 'stop'],
  sleeping: ['start', 'stop'],
  stopped: ['start'],
  failed: ['start'],
}

/** The commands that make sense in a status. */
export function commandsFor(status: InstanceStatus): Command[] {
  return COMMANDS[status] ?? []
}

/** Whether Launch can succeed: the proxy forwards these, and wakes a sleeping one. */
export function canOpen(status: InstanceStatus): boolean {
  return ['running', 'unhealthy', 'safe_mode', 'sleeping'].includes(status)
}

/** Whether there is a live container to measure. */
export function hasStats(status: InstanceStatus): boolean {
  return ['running', 'unhealthy', 'safe_mode'].includes(status)
}

const LABEL_MAX = 63

/** A DNS label made from a name: `Müller's Shop #2` → `muller-s-shop-2`; empty when nothing is left. */
export function suggestSubdomain(name: string): string {
  return name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, LABEL_MAX)
    .replace(/^-+|-+$/g, '')
}

/** For the `pattern` attribute of an input. */
export const SUBDOMAIN_PATTERN = '[a-z0-9]([a-z0-9\\-]{0,61}[a-z0-9])?'
export const SUBDOMAIN_TITLE = 'Lower-case letters, digits and hyphens; at most 63; no hyphen at either end'
