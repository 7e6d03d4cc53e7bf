// The few lines of HTTP that the mock needs.

export class Refusal extends Error {
  constructor(status, code, detail, errors) {
    super(detail)
    Object.assign(this, { status, code, detail, errors })
  }
}

const TITLES = { 400: 'Bad request', 401: 'Not signed in', 403: 'Not allowed', 404: 'Not found', 409: 'Conflict', 422: 'Some fields are not valid' }
const MAX_BODY = 1024 * 1024

export async function readBody(request) {
  const chunks = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > MAX_BODY) throw new Refusal(413, 'too_large', 'The body is larger than 1 MB.')
    chunks.push(chunk)
  }
  return size === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString())
}

export function sendJson(response, status, body) {
  if (body === undefined) return response.writeHead(status).end()
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

export function sendProblem(response, error) {
  const status = error.status ?? 500
  if (status === 500) console.error(error)
  const body = {
    type: 'about:blank',
    title: TITLES[status] ?? 'Something went wrong',
    status,
    detail: error.detail ?? String(error),
    code: error.code ?? 'internal',
    requestId: `req-${Math.random().toString(36).slice(2, 10)}`,
    ...(error.errors ? { errors: error.errors } : {}),
  }
  response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(body))
}

/** Routes like `GET /projects/:id`; the first that matches wins. */
export function makeRouter() {
  const routes = []
  return {
    on(method, path, handler) {
      const names = []
      const source = path.replace(/:(\w+)/g, (_, name) => (names.push(name), '([^/]+)'))
      routes.push({ method, pattern: new RegExp(`^${source}$`), names, handler })
    },
    find(method, path) {
      for (const route of routes) {
        const match = route.method === method && route.pattern.exec(path)
        if (match) {
          const params = Object.fromEntries(route.names.map((name, i) => [name, decodeURIComponent(match[i + 1])]))
          return { handler: route.handler, params }
        }
      }
      return null
    },
  }
}
