// The broker as the dashboard sees it: clients, connections, events, and topics that live while somebody watches.
import { randomBytes, randomUUID } from 'node:crypto'
import { Refusal } from './http.mjs'
import { makeTopics } from './topics.mjs'

const WRITE = ['owner', 'member']
const FILTER = /^(?:[^+#]*|\+)(?:\/(?:[^+#]*|\+))*(?:\/#)?$|^#$/

export function addMqtt({ state, router, page, find, need, record }) {
  const { mqtt } = state
  const topics = makeTopics()
  const now = () => new Date().toISOString()
  const happened = (projectId, kind, client, reason = null) =>
    mqtt.events.unshift({ projectId, at: now(), kind, username: client.username, name: client.name, clientId: 'device', address: '192.0.2.40', reason })

  function get(user, id, ...roles) {
    const client = find(mqtt.clients, id, 'mqtt_client')
    need(user, client.projectId, ...roles)
    return client
  }
  /** Ends the live connections of a client. */
  function kick(client, reason) {
    const before = mqtt.connections.length
    mqtt.connections = mqtt.connections.filter(({ mqttClientId }) => mqttClientId !== client.id)
    if (mqtt.connections.length < before) happened(client.projectId, 'kicked', client, reason)
  }
  function check(body, except) {
    const errors = {}
    if (body.name !== undefined && mqtt.clients.some((one) => one.id !== except && one.name === body.name)) errors.name = ['A client of this project has this name.']
    for (const field of ['publish', 'subscribe']) {
      const bad = (body[field] ?? []).filter((filter) => !FILTER.test(filter))
      if (bad.length > 0) errors[field] = bad.map((filter) => `“${filter}” is no topic filter.`)
    }
    if (Object.keys(errors).length > 0) throw new Refusal(422, 'invalid', 'The client was not saved.', errors)
  }
  const password = () => randomBytes(32).toString('base64url')
  const list = (items) => items.map(({ projectId: _, ...item }) => item)
  const of = (items, projectId) => items.filter((item) => item.projectId === projectId)

  router.on('GET', '/projects/:id/mqtt', ({ user, params }) => {
    need(user, params.id)
    return [200, { ...mqtt.broker, connected: of(mqtt.connections, params.id).length }]
  })
  router.on('GET', '/projects/:id/mqtt-clients', ({ user, params }) => {
    need(user, params.id)
    return [200, page(of(mqtt.clients, params.id))]
  })
  router.on('POST', '/projects/:id/mqtt-clients', ({ user, params, body }) => {
    need(user, params.id, ...WRITE)
    check(body)
    const id = randomUUID()
    const client = { id, projectId: params.id, name: body.name, username: id, publish: body.publish ?? null, subscribe: body.subscribe ?? null, disabled: false, lastSeenAt: null, createdAt: now(), updatedAt: now() }
    mqtt.clients.push(client)
    record(user, 'mqtt_client.create', params.id, { type: 'mqtt_client', id, name: client.name })
    return [201, { ...client, password: password() }]
  })
  router.on('GET', '/mqtt-clients/:id', ({ user, params }) => [200, get(user, params.id)])
  router.on('PATCH', '/mqtt-clients/:id', ({ user, params, body }) => {
    const client = get(user, params.id, ...WRITE)
    check(body, client.id)
    Object.assign(client, body, { updatedAt: now() })
    if (client.disabled) kick(client, 'The client was disabled, or the instance stopped.')
    return [200, client]
  })
  router.on('DELETE', '/mqtt-clients/:id', ({ user, params }) => {
    const client = get(user, params.id, ...WRITE)
    mqtt.clients = mqtt.clients.filter((one) => one !== client)
    kick(client, 'Its credentials were deleted.')
    return [204]
  })
  router.on('POST', '/mqtt-clients/:id/rotate', ({ user, params }) => {
    const client = get(user, params.id, ...WRITE)
    kick(client, 'Its password was replaced.')
    return [200, { ...client, password: password() }]
  })

  router.on('GET', '/projects/:id/mqtt/connections', ({ user, params }) => {
    need(user, params.id)
    return [200, page(list(of(mqtt.connections, params.id)))]
  })
  router.on('GET', '/projects/:id/mqtt/events', ({ user, params, query }) => {
    need(user, params.id)
    const all = of(mqtt.events, params.id)
    const start = Number(query.get('cursor') ?? 0)
    const end = start + Number(query.get('limit') ?? 50)
    return [200, { items: list(all.slice(start, end)), nextCursor: end < all.length ? String(end) : null }]
  })
  router.on('GET', '/projects/:id/mqtt/topics', ({ user, params, response, request }) => {
    need(user, params.id)
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    const stop = topics.watch(params.id, (batch) => response.write(`event: topics\ndata: ${JSON.stringify(batch)}\n\n`))
    request.on('close', stop)
  })
  router.on('POST', '/projects/:id/mqtt/publish', ({ user, params, body }) => {
    need(user, params.id, ...WRITE)
    if (mqtt.broker.state === 'down') throw new Refusal(503, 'mqtt.down', 'The broker is down; nothing was published.')
    if (body.topic.startsWith('$')) throw new Refusal(422, 'invalid', 'The message was not published.', { topic: ['Topics that begin with $ are the broker’s own.'] })
    topics.publish(params.id, body.topic, body.payload, body)
    return [204]
  })

  return { publish: topics.publish, close: topics.close }
}
