// What the tests of n8n share: a person's session with an n8n instance through the proxy, and workflows to try.
import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { docker, until } from './support.mjs'

/** The container's address is asked for each time: a new container may have another. */
export const container = (subdomain) => `n8n-${subdomain}`
export const startedAt = (subdomain) => docker('inspect', '-f', '{{.Id}} {{.State.StartedAt}}', container(subdomain))

/** One request to an instance through the proxy, as curl would: *.localhost is this machine. */
export function ask(openflow, subdomain, path, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const own = { host: `${subdomain}.localhost:${openflow.proxyPort}`, ...headers }
    const request = http.request({ host: '127.0.0.1', port: openflow.proxyPort, method, path, headers: own, agent: false, timeout: 60_000 }, (response) => {
      const parts = []
      response.on('data', (part) => parts.push(part))
      response.once('error', reject).once('end', () => {
        const bytes = Buffer.concat(parts)
        resolve({ status: response.statusCode, headers: response.headers, bytes, body: bytes.toString() })
      })
    })
    request.once('error', reject).once('timeout', () => request.destroy(new Error('no answer within 60 s')))
    request.end(body)
  })
}

/** A person's session in an instance's editor: what the page's own scripts could ask. */
export class Session {
  /** With the token of `openflow`, or another. */
  static async open(openflow, id, token = openflow.token) {
    const { url } = await openflow.api('POST', `/instances/${id}/launch`, {}, token)
    const { hostname, pathname, search } = new URL(url)
    const it = new Session()
    Object.assign(it, { openflow, subdomain: hostname.split('.')[0] })
    const landed = await until('the launch link', async () => {
      const answer = await ask(openflow, it.subdomain, pathname + search)
      return answer.headers['set-cookie'] && answer
    }, 20_000)
    it.cookie = landed.headers['set-cookie'][0].split(';')[0]
    return it
  }

  ask(method, path, body, headers = {}) {
    const own = { cookie: this.cookie, origin: this.openflow.host(this.subdomain), ...(body && { 'content-type': 'application/json' }), ...headers }
    return ask(this.openflow, this.subdomain, path, { method, headers: own, body: body && JSON.stringify(body) })
  }

  /** What n8n's own API answers; fails with its words. */
  async rest(method, path, body) {
    const answer = await this.ask(method, `/rest${path}`, body)
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${answer.body.slice(0, 500)}`)
    return JSON.parse(answer.body).data
  }

  /** Makes a workflow and publishes it. */
  async publish(workflow) {
    const made = await this.rest('POST', '/workflows', workflow)
    await this.rest('POST', `/workflows/${made.id}/activate`, { versionId: made.versionId })
    return made.id
  }

  /** Changes a workflow and publishes the change. */
  async change(id, workflow) {
    const { versionId } = await this.rest('GET', `/workflows/${id}`)
    const changed = await this.rest('PATCH', `/workflows/${id}`, { ...workflow, versionId })
    await this.rest('POST', `/workflows/${id}/activate`, { versionId: changed.versionId })
  }
}

const node = (name, type, typeVersion, parameters, more = {}) =>
  ({ id: randomUUID(), name, type: `n8n-nodes-base.${type}`, typeVersion, position: [0, 0], parameters, ...more })

function workflow(name, nodes) {
  const placed = nodes.map((it, at) => ({ ...it, position: [220 * at, 0] }))
  const links = placed.slice(1).map((to, at) => [placed[at].name, { main: [[{ node: to.name, type: 'main', index: 0 }]] }])
  return { name, nodes: placed, connections: Object.fromEntries(links), settings: { executionOrder: 'v1' } }
}

const hook = (path, parameters = {}) => node('Webhook', 'webhook', 2, { path, responseMode: 'lastNode', options: {}, ...parameters }, { webhookId: randomUUID() })

/** `GET /webhook/<path>` answers `{"says": text}`. */
export const saying = (path, text) =>
  workflow(`Says ${path}`, [hook(path), node('Say', 'set', 3.4, { mode: 'raw', jsonOutput: JSON.stringify({ says: text }), options: {} })])

/** `GET /webhook/<path>` answers with the header `x-key` that it was called with. */
export const whoami = (path) =>
  workflow(`Hears ${path}`, [hook(path), node('Say', 'set', 3.4, { mode: 'raw', jsonOutput: '={{ JSON.stringify({ key: $json.headers["x-key"] ?? null }) }}', options: {} })])

/** `GET /webhook/<path>` answers with what `url` says to a Header Auth credential. */
export const asking = (path, url, credential) => workflow(`Asks for ${path}`, [hook(path),
  node('Ask', 'httpRequest', 4.2, { url, authentication: 'genericCredentialType', genericAuthType: 'httpHeaderAuth', options: {} },
    { credentials: { httpHeaderAuth: credential } })])

/** `POST /webhook/<path>` gives a file back as it came. */
export const returning = (path) => workflow(`Returns ${path}`, [
  hook(path, { httpMethod: 'POST', responseMode: 'responseNode', options: {} }),
  node('Give', 'respondToWebhook', 1.1, { respondWith: 'binary', options: {} })])

/** `GET /webhook/<path>` answers with a piece, waits, and answers with another, as a chat model would. */
export const streaming = (path) => workflow(`Streams ${path}`, [
  hook(path, { responseMode: 'streaming' }),
  node('First', 'respondToWebhook', 1.5, { respondWith: 'text', responseBody: 'first', options: { enableStreaming: true } }),
  node('Wait', 'wait', 1.1, { resume: 'timeInterval', amount: 2, unit: 'seconds' }),
  node('Second', 'respondToWebhook', 1.5, { respondWith: 'text', responseBody: 'second', options: { enableStreaming: true } })])

/** The pieces of an answer and when they came, in ms; none when it is not 200. */
export function pieces(openflow, subdomain, path) {
  return new Promise((resolve, reject) => {
    const begun = Date.now()
    const headers = { host: `${subdomain}.localhost:${openflow.proxyPort}` }
    http.get({ host: '127.0.0.1', port: openflow.proxyPort, path, headers, agent: false, timeout: 30_000 }, (response) => {
      const parts = []
      response.on('data', (part) => parts.push({ at: Date.now() - begun, text: part.toString() }))
      response.once('error', reject).once('end', () => resolve(response.statusCode === 200 ? parts : null))
    }).once('error', reject)
  })
}

/** Until `GET /webhook/<path>` of an instance answers `{"says": text}`. */
export const says = (openflow, subdomain, path, text) => until(`${path} of ${subdomain} to say ${text}`, async () => {
  const answer = await ask(openflow, subdomain, `/webhook/${path}`)
  return (answer.status === 200 && JSON.parse(answer.body).says === text) || (() => { throw new Error(`${answer.status} ${answer.body.slice(0, 300)}`) })()
})
