import { Refusal } from './http.mjs'
import { instance as makeInstance, ofEngine } from './state.mjs'

const RESERVED = new Set(['www', 'api', 'admin', 'mqtt', 'docs'])
const STEP_MS = Number(process.env.MOCK_STEP_MS ?? 1_200)

export function addInstances({ state, router, page, find, need, record }) {
  /** Open event streams and log followers. */
  const streams = new Set()
  const timers = new Set()

  function later(ms, work) {
    const timer = setTimeout(() => (timers.delete(timer), work()), ms)
    timers.add(timer)
  }
  function send(projectId, event, data) {
    for (const stream of streams) {
      if (stream.projectId === projectId) stream.response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    }
  }
  function setStatus(instance, status, extra = {}) {
    Object.assign(instance, { status, statusDetail: null, updatedAt: new Date().toISOString(), ...extra })
    send(instance.projectId, 'instance', instance)
  }
  /** Walks through the states one after the other, as the reconciler would report them. */
  function walk(instance, [status, ...rest]) {
    const running = status === 'running'
    setStatus(instance, status, running ? { startedAt: new Date().toISOString(), restartNeeded: false } : {})
    if (rest.length > 0) later(STEP_MS, () => walk(instance, rest))
  }
  function get(user, id, ...roles) {
    const instance = find(state.instances, id, 'instance')
    need(user, instance.projectId, ...roles)
    return instance
  }
  const WRITE = ['owner', 'member']

  function checkName(name, field, except) {
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) {
      throw new Refusal(422, 'invalid', 'The name is not valid.', { [field]: ['Use lower-case letters, digits and hyphens.'] })
    }
    if (RESERVED.has(name)) throw new Refusal(422, 'invalid', 'The name is reserved.', { [field]: [`“${name}” is reserved.`] })
    if (state.instances.some((item) => item.id !== except && (item.subdomain === name || item.aliases.includes(name)))) {
      throw new Refusal(409, 'subdomain.taken', `“${name}” is taken. Choose another.`, { [field]: ['This name is taken.'] })
    }
  }

  function checkMemory(resources, engine) {
    const { memoryMbMin } = ofEngine(engine)
    if (resources?.memoryMb < memoryMbMin) {
      throw new Refusal(422, 'instance.too_little_memory', 'The limits are not valid.', { resources: [`${engine} needs at least ${memoryMbMin} MiB of memory.`] })
    }
  }

  router.on('GET', '/projects/:id/instances', ({ user, params }) => {
    need(user, params.id)
    return [200, page(state.instances.filter(({ projectId }) => projectId === params.id))]
  })
  router.on('POST', '/projects/:id/instances', ({ user, params, body }) => {
    need(user, params.id, ...WRITE)
    checkName(body.subdomain, 'subdomain')
    const template = state.templates.find(({ id }) => id === body.template)
    const stack = find(state.stacks, template?.stackId ?? body.stack, 'stack')
    checkMemory(body.resources, stack.engine)
    const instance = makeInstance(params.id, body.name, body.subdomain, {
      engine: stack.engine,
      stackId: stack.id,
      status: 'creating',
      startedAt: null,
      createdAt: new Date().toISOString(),
      resources: { memoryMb: 512, cpus: 1, ...template?.resources, ...body.resources },
    })
    state.instances.push(instance)
    state.env.set(instance.id, [...(template?.env ?? []), ...(body.env ?? [])])
    record(user, 'instance.create', params.id, { type: 'instance', id: instance.id, name: instance.name })
    later(STEP_MS, () => walk(instance, ['starting', 'running']))
    return [201, instance]
  })
  router.on('GET', '/instances/:id', ({ user, params }) => [200, get(user, params.id)])
  router.on('PATCH', '/instances/:id', ({ user, params, body }) => {
    const instance = get(user, params.id, ...WRITE)
    if (body.subdomain) checkName(body.subdomain, 'subdomain', instance.id)
    if (body.resources?.memoryMb < 128) {
      throw new Refusal(422, 'invalid', 'The limits are not valid.', { resources: ['At least 128 MB.'] })
    }
    checkMemory(body.resources, instance.engine)
    const { webhookAccess, ...rest } = body
    Object.assign(instance, rest)
    if (webhookAccess) instance.webhookAccess = { mode: webhookAccess.mode, username: webhookAccess.username ?? null }
    if (body.resources || body.stackId) instance.restartNeeded = true
    setStatus(instance, instance.status)
    return [200, instance]
  })
  router.on('DELETE', '/instances/:id', ({ user, params }) => {
    const instance = get(user, params.id, ...WRITE)
    setStatus(instance, 'deleting')
    later(STEP_MS, () => {
      state.instances = state.instances.filter(({ id }) => id !== instance.id)
      send(instance.projectId, 'deleted', { id: instance.id })
    })
    return [202]
  })
  const COMMANDS = { start: ['starting', 'running'], stop: ['stopping', 'stopped'], restart: ['stopping', 'starting', 'running'] }
  for (const [command, states] of Object.entries(COMMANDS)) {
    router.on('POST', `/instances/:id/${command}`, ({ user, params }) => {
      const instance = get(user, params.id, ...WRITE)
      walk(instance, states)
      record(user, `instance.${command}`, instance.projectId, { type: 'instance', id: instance.id, name: instance.name })
      return [202, instance]
    })
  }
  router.on('POST', '/launch', ({ user, body, request }) => {
    const instance = state.instances.find(({ subdomain, aliases }) => subdomain === body.subdomain || aliases.includes(body.subdomain))
    if (!instance) throw new Refusal(404, 'instance.not_found', 'There is no such instance.')
    need(user, instance.projectId)
    if (!['running', 'unhealthy', 'safe_mode', 'sleeping'].includes(instance.status)) {
      throw new Refusal(409, 'instance.not_running', `${instance.name} is ${instance.status}. Start it first.`)
    }
    // The mock has no proxy; the favicon stands for an editor.
    const url = `http://${request.headers.host}/favicon.svg?access_token=once&next=${encodeURIComponent(body.next ?? '/')}`
    return [200, { url, expiresAt: new Date(Date.now() + 60_000).toISOString(), instanceId: instance.id }]
  })

  router.on('GET', '/instances/:id/stats', ({ user, params }) => {
    const { resources } = get(user, params.id)
    const wave = (Math.sin(Date.now() / 9_000) + 1) / 2
    return [
      200,
      {
        cpuPercent: 4 + wave * 30,
        memoryBytes: Math.round(resources.memoryMb * 1_048_576 * (0.3 + wave * 0.1)),
        memoryLimitBytes: resources.memoryMb * 1_048_576,
        diskBytes: 48_300_000,
        networkRxBytes: 1_234_567,
        networkTxBytes: 345_678,
        pids: 23,
        at: new Date().toISOString(),
      },
    ]
  })
  router.on('GET', '/instances/:id/logs', ({ user, params, query, response, request }) => {
    const instance = get(user, params.id)
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
    const line = (n) => `${new Date().toISOString()} - \u001b[32m[info]\u001b[39m [mqtt-broker:${instance.subdomain}] message ${n}\n`
    const tail = Math.min(2_000, Number(query.get('tail') ?? 200))
    response.write('Welcome to Node-RED\n===================\n' + Array.from({ length: tail - 2 }, (_, n) => line(n)).join(''))
    if (query.get('follow') !== 'true') return void response.end()
    let n = tail
    const timer = setInterval(() => response.write(line(n++)), 700)
    timers.add(timer)
    request.on('close', () => (clearInterval(timer), timers.delete(timer)))
  })

  const masked = (items) => ({ items: items.map((item) => (item.secret ? { ...item, value: null } : item)) })
  router.on('GET', '/instances/:id/env', ({ user, params }) => {
    get(user, params.id)
    return [200, masked(state.env.get(params.id) ?? [])]
  })
  router.on('PUT', '/instances/:id/env', ({ user, params, body }) => {
    const instance = get(user, params.id, ...WRITE)
    const before = state.env.get(params.id) ?? []
    const items = body.items.map((item) => ({
      ...item,
      secret: !!item.secret,
      value: item.value ?? before.find(({ name }) => name === item.name)?.value ?? '',
    }))
    state.env.set(params.id, items)
    instance.restartNeeded = true
    setStatus(instance, instance.status)
    return [200, masked(items)]
  })
  const alias = (name) => ({ name, url: `http://${name}.localhost:8080`, restartNeeded: false })
  router.on('GET', '/instances/:id/aliases', ({ user, params }) => [200, page(get(user, params.id).aliases.map(alias))])
  router.on('POST', '/instances/:id/aliases', ({ user, params, body }) => {
    const instance = get(user, params.id, ...WRITE)
    checkName(body.name, 'name')
    instance.aliases.push(body.name)
    return [201, alias(body.name)]
  })
  router.on('DELETE', '/instances/:id/aliases/:name', ({ user, params }) => {
    const instance = get(user, params.id, ...WRITE)
    instance.aliases = instance.aliases.filter((name) => name !== params.name)
    return [204]
  })
  router.on('GET', '/projects/:id/events', ({ user, params, response, request }) => {
    need(user, params.id)
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.write(': connected\n\n')
    const stream = { projectId: params.id, response }
    streams.add(stream)
    const heartbeat = setInterval(() => response.write(': heartbeat\n\n'), 15_000)
    timers.add(heartbeat)
    request.on('close', () => {
      streams.delete(stream)
      clearInterval(heartbeat)
      timers.delete(heartbeat)
    })
  })

  function close() {
    for (const timer of timers) clearTimeout(timer)
    for (const { response } of streams) response.end()
  }
  return { send, setStatus, later, STEP_MS, checkName, close }
}
