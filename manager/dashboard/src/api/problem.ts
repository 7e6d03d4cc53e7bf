/** RFC 9457 problem documents, as the manager sends them, and what stands in for one when it cannot be reached. */

export interface Problem {
  /** HTTP status, or 0 when no answer came. */
  status: number
  title: string
  detail: string
  /** Stable machine-readable reason, such as `instance.not_running`; empty when unknown. */
  code: string
  requestId: string
  /** Messages by field name (`name`, `resources.memoryMb`). */
  errors: Record<string, string[]>
  /** Extension members of the document. */
  extra: Record<string, unknown>
}

/** A refused or failed API call. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail || problem.title)
    this.name = 'ApiError'
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Reads the body of a refusal; a body that is no problem document still gives a useful one. */
export function parseProblem(status: number, body: unknown): Problem {
  const { type: _type, status: _status, title, detail, code, requestId, errors, ...extra } =
    typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {}
  return {
    status,
    title: isBareReason(text(title)) ? titleOf(status) : text(title),
    detail: text(detail),
    code: text(code),
    requestId: text(requestId),
    errors: parseErrors(errors),
    extra,
  }
}

/** Whatever was thrown, as a problem that can be shown. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ApiError) return error.problem
  const timedOut = error instanceof DOMException && error.name === 'TimeoutError'
  const unreachable = error instanceof TypeError
  return {
    ...parseProblem(0, null),
    title: timedOut ? 'The server took too long' : unreachable ? 'The server cannot be reached' : 'Something went wrong',
    detail:
      timedOut || unreachable
        ? 'Check your connection and try again.'
        : error instanceof Error
          ? error.message
          : String(error),
  }
}

function parseErrors(value: unknown): Record<string, string[]> {
  const fields: Record<string, string[]> = {}
  if (typeof value !== 'object' || value === null) return fields
  for (const [field, messages] of Object.entries(value)) {
    const list = (Array.isArray(messages) ? messages : [messages]).filter((message) => typeof message === 'string')
    if (list.length > 0) fields[field] = list
  }
  return fields
}

/** HTTP's own phrases (`Unprocessable Entity`) tell a person nothing. */
const BARE_REASONS = new Set([
  '', 'Problem', 'Bad Request', 'Unauthorized', 'Forbidden', 'Not Found', 'Conflict', 'Gone', 'Payload Too Large',
  'Unprocessable Entity', 'Unprocessable Content', 'Too Many Requests', 'Internal Server Error', 'Bad Gateway',
  'Service Unavailable', 'Gateway Timeout',
])
const isBareReason = (title: string): boolean => BARE_REASONS.has(title)

function titleOf(status: number): string {
  if (status === 401) return 'Not signed in'
  if (status === 403) return 'You may not do this'
  if (status === 404) return 'Not found'
  if (status === 409) return 'This conflicts with what is already there'
  if (status === 410) return 'This is gone'
  if (status === 413) return 'This is too large'
  if (status === 422) return 'Something is not right yet'
  if (status === 429) return 'Too many requests; wait a moment'
  if (status >= 500) return 'The server could not answer'
  return `The server refused (${status})`
}
