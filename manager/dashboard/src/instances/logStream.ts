import { reportSignedOut } from '@/api/client'
import { ApiError, parseProblem } from '@/api/problem'

const MAX_BODY_CHARS = 64 * 1024

export interface LogRequest {
  instanceId: string
  tail: number
  follow: boolean
  signal: AbortSignal
  /** The server has answered; text may take its time. */
  onOpen: () => void
  onText: (chunk: string) => void
}

/** Reads until the stream ends, which with `follow` is when the container stops or the connection breaks. */
export async function readLogs({ instanceId, tail, follow, signal, onOpen, onText }: LogRequest): Promise<void> {
  const query = new URLSearchParams({ tail: String(tail), follow: String(follow) })
  const response = await fetch(`/api/v1/instances/${encodeURIComponent(instanceId)}/logs?${query}`, {
    credentials: 'same-origin',
    signal,
  })
  if (!response.ok || !response.body) {
    if (response.status === 401) reportSignedOut()
    throw new ApiError(parseProblem(response.status, parseJson((await response.text()).slice(0, MAX_BODY_CHARS))))
  }
  onOpen()
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    onText(value)
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
