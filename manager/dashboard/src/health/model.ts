import type { Ready } from '@/api/types'

export interface Trouble {
  /** What is wrong, as a sentence. */
  title: string
  detail: string
  /** What people cannot do meanwhile. */
  effect: string
}

const GOOD = new Set(['up', 'disabled', 'unknown'])

const KNOWN: Record<string, Pick<Trouble, 'title' | 'effect'>> = {
  docker: {
    title: 'Docker cannot be reached.',
    effect: 'Instances cannot be created, started or stopped until it is back. Those that run go on running.',
  },
  database: {
    title: 'The database cannot be reached.',
    effect: 'Nothing can be changed until it is back. Running instances go on running.',
  },
  isolation: {
    title: 'Instances are not kept off this host’s services.',
    effect: 'Their flows can reach what listens on all of its addresses.',
  },
  mqtt: {
    title: 'The MQTT broker cannot be reached.',
    effect: 'Devices and flows cannot exchange messages until it is back.',
  },
}

/** The dependencies that are away, in words for the people who use the dashboard. */
export function troubles(ready: Ready): Trouble[] {
  return Object.entries(ready.dependencies ?? {})
    .filter(([, { status }]) => !GOOD.has(status))
    .map(([key, { detail }]) => ({ ...(KNOWN[key] ?? { title: `${key}: trouble.`, effect: '' }), detail: detail ?? '' }))
}
