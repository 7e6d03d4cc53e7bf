/** The typed client: one instance, same-origin, signed in by the HttpOnly session cookie. */
import createClient from 'openapi-fetch'
import { ApiError, parseProblem } from './problem'
import type { paths } from './schema'

const TIMEOUT_MS = 30_000

export const api = createClient<paths>({
  baseUrl: window.location.origin,
  credentials: 'same-origin',
  headers: { Accept: 'application/json' },
  fetch: (request) =>
    fetch(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(TIMEOUT_MS)]) }),
})

type Listener = () => void
let signedOutListener: Listener = () => {}

/** Called whenever a call that needs a session was answered with 401. */
export function onSignedOut(listener: Listener): void {
  signedOutListener = listener
}

/** Tells the application that the session is gone. */
export function reportSignedOut(): void {
  signedOutListener()
}

/** These answer 401 about what was typed or asked, not about a session that ended. */
const ABOUT_CREDENTIALS = ['/api/v1/auth/', '/api/v1/setup', '/api/v1/me/password']

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

/** The body of a successful answer; throws {@link ApiError} for any other. */
export async function ok<T>(call: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await call
  if (response.ok) return data as T
  if (response.status === 401) {
    const { pathname } = new URL(response.url, window.location.origin)
    if (!ABOUT_CREDENTIALS.some((prefix) => pathname.startsWith(prefix))) reportSignedOut()
  }
  throw new ApiError(parseProblem(response.status, error))
}
