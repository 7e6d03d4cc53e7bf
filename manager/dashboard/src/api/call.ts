/**
 * Calls that the typed client of client.ts does not fit: bodies that are files, and paths with several kinds of answers.
 * Refusals and a session that ended are told as there.
 */
import { api, ok, reportSignedOut } from './client'
import { ApiError, parseProblem } from './problem'

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
type Query = Record<string, string | number | boolean | undefined>

/** `/api/v1/` and the segments, each escaped. */
export function apiPath(...segments: string[]): string {
  return `/api/v1/${segments.map(encodeURIComponent).join('/')}`
}

/** The JSON body of a successful answer; undefined for 204. */
export function call<T>(method: Method, path: string, { body, query }: { body?: unknown; query?: Query } = {}): Promise<T> {
  // The client's types end here: the caller names the answer's.
  const untyped = api as unknown as { request: (method: string, path: string, init: object) => Promise<{ data?: T; response: Response }> }
  return ok<T>(untyped.request(method.toLowerCase(), path, { ...(body === undefined ? {} : { body }), params: { query: query ?? {} } }))
}

/** Fetches a file by POST and gives it to the browser to save, under the name that the server gives it. */
export async function saveFile(path: string, body: unknown, fallbackName: string): Promise<void> {
  const response = await fetch(path, {
    method: 'POST',
    credentials: 'same-origin',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(FILE_TIMEOUT_MS),
  })
  if (!response.ok) throw refusal(response.status, await response.text())
  const name = /filename="([^"]+)"/.exec(response.headers.get('content-disposition') ?? '')?.[1] ?? fallbackName
  const link = document.createElement('a')
  link.href = URL.createObjectURL(await response.blob())
  link.download = name
  link.click()
  // Some browsers read the address only after the click returned.
  setTimeout(() => URL.revokeObjectURL(link.href), REVOKE_MS)
}

const FILE_TIMEOUT_MS = 60_000
const REVOKE_MS = 10_000

export interface Upload {
  file: File
  type: string
  onProgress: (done: number, total: number) => void
  signal: AbortSignal
}

/** Sends a file as the raw body; `fetch` does not tell how much of a body was sent, XMLHttpRequest does. */
export function sendFile<T>(path: string, { file, type, onProgress, signal }: Upload): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', path)
    request.setRequestHeader('Content-Type', type)
    request.setRequestHeader('Accept', 'application/json')
    request.upload.onprogress = (event) => onProgress(event.loaded, event.lengthComputable ? event.total : file.size)
    request.onload = () =>
      request.status >= 200 && request.status < 300
        ? resolve(parseJson(request.responseText) as T)
        : reject(refusal(request.status, request.responseText))
    // As fetch does when no answer came.
    request.onerror = () => reject(new TypeError('the upload broke'))
    request.onabort = () => reject(new DOMException('The upload was cancelled.', 'AbortError'))
    signal.addEventListener('abort', () => request.abort(), { once: true })
    request.send(file)
  })
}

function refusal(status: number, text: string): ApiError {
  if (status === 401) reportSignedOut()
  return new ApiError(parseProblem(status, parseJson(text)))
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
