// How long it takes from the wish for an instance to its editor; what the measurements of both engines share.
import http from 'node:http'
import { sleep, until } from '../e2e/support.mjs'

export const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'root@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const LIMIT_MS = 60_000

export const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]
export const seconds = (ms) => (ms / 1000).toFixed(2)

/** Status of one request on a connection of its own; 0 when there is no answer. */
function status(host, port, path, headers) {
  return new Promise((resolve) => {
    const request = http.get({ host, port, path, headers, agent: false, timeout: 2000 }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode)).once('error', () => resolve(0))
    })
    request.once('error', () => resolve(0)).once('timeout', () => request.destroy())
  })
}

export async function until200(host, port, path, headers) {
  const end = performance.now() + LIMIT_MS
  while ((await status(host, port, path, headers)) !== 200) {
    if (performance.now() > end) throw new Error(`no 200 from ${host}:${port} within ${LIMIT_MS} ms`)
    await sleep(5)
  }
}

/** Milliseconds from `POST …/instances` with `body` to the editor's 200 through the proxy, signed in; and the instance. */
export async function createToEditor(openflow, project, body) {
  const begun = performance.now()
  const { id } = await openflow.api('POST', `/projects/${project}/instances`, body)
  const { url } = await openflow.api('POST', `/instances/${id}/launch`)
  const { pathname, search, host } = new URL(url)
  const land = () => new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: openflow.proxyPort, path: pathname + search, headers: { host }, agent: false }
    http.get(options, (response) => { response.resume(); resolve(response.headers['set-cookie']?.[0]) }).once('error', reject)
  })
  // Until the instance runs, the proxy answers with a page that says so, and the link stays unused.
  const cookie = (await until('the landing', land, LIMIT_MS, 5)).split(';')[0]
  await until200('127.0.0.1', openflow.proxyPort, '/', { host, cookie, accept: 'text/html' })
  return { id, took: performance.now() - begun }
}
