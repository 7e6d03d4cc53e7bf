import type { Ready } from '@/api/types'

export interface Trouble {
  name: string
  detail: string
  /** What people cannot do meanwhile. */
  effect: string
}

const GOOD = new Set(['ok', 'up', 'ready', 'disabled'])

const NAMES: Record<string, { name: string; effect: string }> = {
  docker: {
    name: 'Docker',
    effect: 'Instances cannot be created, started or stopped until it is back. Those that run go on running.',
  },
  database: { name: 'The database', effect: 'Nothing can be changed until it is back. Running instances go on running.' },
  mqtt: { name: 'The MQTT broker', effect: 'Devices and flows cannot exchange messages until it is back.' },
}

/** The dependencies that are away, in words for the people who use the dashboard. */
export function troubles(ready: Ready): Trouble[] {
  return Object.entries(ready.dependencies ?? {})
    .filter(([, { status }]) => !GOOD.has(status))
    .map(([key, { detail }]) => ({ ...(NAMES[key] ?? { name: key, effect: '' }), detail: detail ?? '' }))
}
