/** How a payload is shown. Pure. */
import { formatBytes } from '@/ui/format'
import type { TopicMessage } from './topicTree'

const PREVIEW_CHARS = 120
const INDENT = '  '
const DEPTH_MAX = 40

type Payload = Pick<TopicMessage, 'payload' | 'encoding' | 'truncated' | 'bytes'>

export interface ShownPayload {
  /** `JSON`, `Text`, `Binary`, `Empty` */
  kind: string
  text: string
  /** What has to be said about it. */
  notes: string[]
}

export function showPayload({ payload, encoding, truncated, bytes }: Payload): ShownPayload {
  if (bytes === 0) return { kind: 'Empty', text: '', notes: ['No payload. Sent with “retain”, such a message removes the retained one.'] }
  const notes = truncated ? [`Only the beginning of ${formatBytes(bytes)} is shown.`] : []
  if (encoding === 'base64') return { kind: 'Binary', text: payload, notes: ['Not text, so shown as base64.', ...notes] }
  const json = truncated ? null : indentJson(payload)
  return json === null ? { kind: 'Text', text: payload, notes } : { kind: 'JSON', text: json, notes }
}

/** One line for a list. */
export function preview({ payload, encoding, bytes }: Payload): string {
  if (bytes === 0) return '(empty)'
  if (encoding === 'base64') return `(binary, ${formatBytes(bytes)})`
  return payload.slice(0, PREVIEW_CHARS).replace(/\s+/g, ' ')
}

/**
 * A JSON object or array with line breaks and indents; null for anything else. Only white space is changed: parsing
 * and printing would round large numbers and drop repeated names, and here one looks for such things.
 */
export function indentJson(source: string): string | null {
  if (!/^\s*[[{]/.test(source) || !isJson(source)) return null
  let out = ''
  let depth = 0
  const newLine = (): string => `\n${INDENT.repeat(depth)}`
  // Strings, punctuation, and everything else between white space.
  for (const [token] of source.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s"[\]{}:,]+/g)) {
    if (token === '{' || token === '[') {
      depth += 1
      if (depth > DEPTH_MAX) return null
      out += token + newLine()
    } else if (token === '}' || token === ']') {
      depth -= 1
      out = /[[{]\s*$/.test(out.slice(-2 - INDENT.length * DEPTH_MAX)) ? out.trimEnd() + token : out + newLine() + token
    } else if (token === ',') out += token + newLine()
    else out += token === ':' ? ': ' : token
  }
  return out
}

function isJson(source: string): boolean {
  try {
    JSON.parse(source)
    return true
  } catch {
    return false
  }
}
