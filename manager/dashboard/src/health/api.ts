import { useQuery } from '@tanstack/vue-query'
import type { Ready } from '@/api/types'
import { troubles } from './model'

const POLL_MS = 30_000
const TIMEOUT_MS = 10_000

/** The state of the dependencies; the manager answers 503 with the same body when one is away. */
async function fetchReady(): Promise<Ready> {
  const response = await fetch('/api/v1/health/ready', { signal: AbortSignal.timeout(TIMEOUT_MS) })
  return (await response.json()) as Ready
}

export const useTroubles = () =>
  useQuery({ queryKey: ['health'], queryFn: fetchReady, refetchInterval: POLL_MS, retry: 1, select: troubles })
