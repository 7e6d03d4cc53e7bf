// Serves `dist/` with the manager's security headers, and the mock API.
import { createServer } from 'node:http'
import { readFile } from 'node:fs/promises'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildApi } from './api.mjs'
import { makeState } from './state.mjs'

const DIST = fileURLToPath(new URL('../dist/', import.meta.url))
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }
const CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'"

/** @returns {Promise<{origin: string, state: object, close: () => Promise<void>}>} */
export async function startMock({ port = 0, empty = false, setup = false } = {}) {
  const state = makeState({ empty, setup })
  const api = buildApi(state)
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost')
    if (url.pathname.startsWith('/api/v1/')) void api.handle(request, response, url)
    else void serveFile(url.pathname, response)
  })
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    origin: `http://localhost:${server.address().port}`,
    state,
    setStatus: api.setStatus,
    /** `(projectId, topic, payload, {encoding, qos, retain, truncated, bytes}?)` */
    publish: api.publish,
    /** Ends the event streams, as a restart of the manager does. */
    dropStreams: () => server.closeAllConnections(),
    close: async () => {
      api.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function serveFile(path, response) {
  const file = join(DIST, normalize(path))
  const headers = { 'content-security-policy': CSP, 'x-content-type-options': 'nosniff' }
  const known = extname(path) in TYPES
  try {
    const body = await readFile(known ? file : join(DIST, 'index.html'))
    response.writeHead(200, { ...headers, 'content-type': TYPES[extname(path)] ?? TYPES['.html'] }).end(body)
  } catch {
    response.writeHead(404, headers).end('not found; run `npm run build` first')
  }
}
