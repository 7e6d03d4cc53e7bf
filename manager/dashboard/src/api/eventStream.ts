const RETRY_MIN_MS = 2_000
const RETRY_MAX_MS = 30_000

export interface EventStream {
  onOpen: () => void
  /** The stream broke or was refused; it is tried again until closed. */
  onDown: () => void
  /** By the event's name, with its data. */
  events: Record<string, (data: string) => void>
}

/** Follows server-sent events, over breaks and refusals, until the returned function is called. */
export function followEvents(path: string, { onOpen, onDown, events }: EventStream): () => void {
  let source: EventSource | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let retryMs = RETRY_MIN_MS

  const open = (): void => {
    source = new EventSource(path)
    source.addEventListener('open', () => {
      retryMs = RETRY_MIN_MS
      onOpen()
    })
    for (const [name, take] of Object.entries(events)) {
      source.addEventListener(name, (event: MessageEvent<string>) => take(event.data))
    }
    source.addEventListener('error', () => {
      onDown()
      // The browser reconnects by itself after a broken stream, but gives up on a refusal.
      if (source?.readyState !== EventSource.CLOSED) return
      timer = setTimeout(open, retryMs)
      retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)
    })
  }

  open()
  return () => {
    clearTimeout(timer)
    source?.close()
  }
}
