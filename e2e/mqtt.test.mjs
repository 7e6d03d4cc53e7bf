// MQTT on the real stack: what one project says, its own instances and devices hear, and nobody else.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { Openflow, docker, freePort, sleep, until } from './support.mjs'
import { WAYS, connect, refused, stopClients } from './mqtt-clients.mjs'

const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'root@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const [ONE, TWO, STRANGER] = ['one', 'two', 'stranger'].map((it) => `e2e-${it}-${process.pid}`)
const EVERYTHING = ['#', '+/#', '$share/x/#', 'ff/#', '/#', '$SYS/#']
const BROKER = 'openflow-broker'
const MOMENTS_MS = 20_000

let openflow
let projects // {ours, theirs}
let where // over TCP
const instances = {} // by subdomain

before(async () => {
  openflow = await Openflow.create('mqtt')
  const tls = await freePort()
  const folder = path.join(openflow.data, 'tls')
  await openflow.start({ ...ADMIN, OPENFLOW_MQTT_LISTEN_TLS: `127.0.0.1:${tls}`, OPENFLOW_TLS_SELF_SIGNED: folder })
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  where = { over: 'tcp', ports: { tcp: openflow.mqttPort, tls, ws: openflow.mqttWsPort }, ca: path.join(folder, 'ca.crt') }
  const stack = await until('the stack', async () => (await openflow.api('GET', '/stacks')).items.find((it) => it.status === 'ready'))
  projects = {
    ours: await openflow.api('POST', '/projects', { name: 'ours' }),
    theirs: await openflow.api('POST', '/projects', { name: 'theirs' }),
  }
  const ours = await template(stack, 'Ours', ['line/+', 'late/#'])
  const theirs = await template(stack, 'Theirs', EVERYTHING)
  await Promise.all([
    instance(ONE, projects.ours, ours),
    instance(TWO, projects.ours, ours),
    instance(STRANGER, projects.theirs, theirs),
  ])
})

after(async () => {
  stopClients()
  for (const { id } of Object.values(instances)) {
    await openflow.api('DELETE', `/instances/${id}`).catch(() => {})
    await openflow.gone(id).catch(() => {})
  }
  await openflow?.destroy()
})

/** A template whose flow keeps what it hears under `filters` (GET /api/heard) and says what it is told (GET /api/say). */
async function template(stack, name, filters) {
  const at = { z: 'tab', x: 100, y: 100 }
  const flows = [
    { id: 'tab', type: 'tab', label: 'Relay' },
    ...filters.flatMap((topic, i) => [
      { ...at, id: `in${i}`, type: 'mqtt in', topic, qos: '1', datatype: 'utf8', broker: BROKER, nl: false, rap: true, rh: 0, inputs: 0, wires: [[`keep${i}`]] },
      { ...at, id: `keep${i}`, type: 'function', outputs: 0, wires: [],
        func: `const heard = flow.get('heard', 'memory') ?? []; heard.push({ filter: ${JSON.stringify(topic)}, topic: msg.topic, payload: msg.payload, retain: msg.retain }); flow.set('heard', heard, 'memory');` },
    ]),
    { ...at, id: 'heard', type: 'http in', url: '/heard', method: 'get', wires: [['tell']] },
    { ...at, id: 'tell', type: 'function', outputs: 1, wires: [['answer']], func: "msg.payload = flow.get('heard', 'memory') ?? []; return msg;" },
    { ...at, id: 'say', type: 'http in', url: '/say', method: 'get', wires: [['make']] },
    { ...at, id: 'make', type: 'function', outputs: 2, wires: [['out'], ['answer']],
      func: 'const { topic, text, retain } = msg.req.query; return [{ topic, payload: text, retain: retain === "true", qos: 1 }, { ...msg, payload: {} }];' },
    { ...at, id: 'out', type: 'mqtt out', topic: '', qos: '', retain: '', broker: BROKER, wires: [] },
    { ...at, id: 'answer', type: 'http response', wires: [] },
  ]
  return openflow.api('POST', '/templates', { name, stackId: stack.id, flows })
}

async function instance(subdomain, project, { id }) {
  const it = await openflow.api('POST', `/projects/${project.id}/instances`, { name: subdomain, subdomain, template: id })
  instances[subdomain] = it
  await openflow.running(it.id)
  await connected(subdomain)
}

const connections = async (project) => (await openflow.api('GET', `/projects/${project.id}/mqtt/connections`)).items

async function connected(subdomain) {
  const { id, projectId } = instances[subdomain]
  return until(`${subdomain} to be connected`, async () => (await connections({ id: projectId })).find((it) => it.instanceId === id))
}

/** One of the instances' own routes, past the proxy; one that has just started may not have it yet. */
const call = (subdomain, target) => until(`${subdomain} to answer ${target}`, async () => {
  const address = docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', `nodered-${subdomain}`)
  const response = await fetch(`http://${address}:1880/api${target}`, { signal: AbortSignal.timeout(20_000) })
  assert.equal(response.status, 200, target)
  return response.json()
}, MOMENTS_MS)

const heard = (subdomain) => call(subdomain, '/heard')
const say = (subdomain, topic, text, retain = false) => call(subdomain, `/say?${new URLSearchParams({ topic, text, retain })}`)
const hears = (subdomain, topic, text) => until(`${subdomain} to hear ${text}`, async () =>
  (await heard(subdomain)).find((it) => it.topic === topic && it.payload === text), MOMENTS_MS)

/** Says it until it is heard: whoever has just connected is not subscribed yet, and would miss it. */
const tells = (from, topic, text, to) => until(`${to} to hear ${text}`, async () => {
  await say(from, topic, text)
  await sleep(200)
  return (await heard(to)).find((it) => it.topic === topic && it.payload === text)
}, MOMENTS_MS)

/** Credentials that work: every manager knows them within moments. */
async function device(project, name, rules = {}) {
  const { id, username, password } = await openflow.api('POST', `/projects/${project.id}/mqtt-clients`, { name, ...rules })
  await until(`${name} to be let in`, async () => !(await refused('mqtt.js', where, { username, password })), MOMENTS_MS, 250)
  return { id, username, password }
}

const receives = (client, topic, payload) => until(`${payload} under ${topic}`, () =>
  client.messages().find((it) => it.topic === topic && it.payload === payload), MOMENTS_MS)

/**
 * What reached the stranger must be its own project's. Says something of its own after, so that all before has come. Of
 * `$share/x/#` the node itself makes nothing (only of `$share/x/a/#`); what came by it would be seen under `#`.
 */
async function strangerHeardNothing(mark) {
  for (const topic of ['own/thing', 'ff/own', '/own']) await tells(STRANGER, topic, `theirs ${mark}`, STRANGER)
  for (const [filter, topic] of [['#', 'own/thing'], ['+/#', 'own/thing'], ['ff/#', 'ff/own'], ['/#', '/own']]) {
    await until(`the stranger's own message under ${filter}`, async () => {
      const found = (await heard(STRANGER)).find((it) => it.filter === filter && it.topic === topic && it.payload === `theirs ${mark}`)
      if (!found) await say(STRANGER, topic, `theirs ${mark}`)
      return found
    }, MOMENTS_MS)
  }
  const foreign = (await heard(STRANGER)).filter((it) => !it.payload.startsWith('theirs '))
  assert.deepEqual(foreign, [])
}

test('two instances exchange on flat topics, from a template, with nothing typed in', async () => {
  await tells(ONE, 'line/one', 'ours from one', TWO)
  await tells(TWO, 'line/two', 'ours from two', ONE)
  const password = /OPENFLOW_MQTT_PASSWORD=([^"]+)/.exec(docker('inspect', '-f', '{{json .Config.Env}}', `nodered-${ONE}`))[1]
  for (const file of ['flows.json', 'flows_cred.json']) {
    const text = fs.readFileSync(path.join(openflow.data, 'instances', instances[ONE].id, file), 'utf8')
    assert.ok(!text.includes(password), file)
  }
})

test('an instance of another project hears nothing of it under any filter', async () => {
  const { id } = projects.ours
  for (const topic of ['line/three', 'ff/x', `ff/${id}/line/x`, '/x', 'own/thing', '$SYS/x']) {
    await say(ONE, topic, 'ours, for nobody else')
  }
  await hears(TWO, 'line/three', 'ours, for nobody else')
  await strangerHeardNothing('after flat topics')
})

test('a shared subscription has only its own project, in both versions of the protocol', async () => {
  const who = { ours: await device(projects.ours, 'sharing'), theirs: await device(projects.theirs, 'sharing') }
  for (const version of [3, 5]) {
    const own = await connect('mqtt.js', where, { ...who.ours, version, filters: ['$share/y/#'] })
    const foreign = await connect('mqtt.js', where, { ...who.theirs, version, filters: ['$share/y/#'] })
    await say(ONE, 'line/shared', `ours ${version}`)
    await say(STRANGER, 'own/shared', `theirs ${version}`)
    await receives(own, 'line/shared', `ours ${version}`)
    await receives(foreign, 'own/shared', `theirs ${version}`)
    assert.deepEqual([...own.messages(), ...foreign.messages()].map((it) => it.payload), [`ours ${version}`, `theirs ${version}`])
    own.kill()
    foreign.kill()
  }
})

test('retained messages and wills stay in their project', async () => {
  await say(ONE, 'late/kept', 'ours, retained', true)
  await hears(TWO, 'late/kept', 'ours, retained')
  const dying = await connect('paho', where, { ...await device(projects.ours, 'dying'), will: { topic: 'late/will', payload: 'ours, a will' } })
  dying.kill()
  await hears(TWO, 'late/will', 'ours, a will')

  const own = await connect('mosquitto', where, { ...await device(projects.ours, 'late comer'), filters: ['#'] })
  assert.equal((await receives(own, 'late/kept', 'ours, retained')).retain, true)
  const foreign = await connect('mosquitto', where, { ...await device(projects.theirs, 'late comer'), filters: EVERYTHING })
  const before = (await openflow.instance(instances[STRANGER].id)).startedAt
  await openflow.api('POST', `/instances/${instances[STRANGER].id}/restart`)
  await until('the restart', async () => {
    const it = await openflow.instance(instances[STRANGER].id)
    return it.status === 'running' && it.startedAt !== before
  })
  await connected(STRANGER)
  await strangerHeardNothing('after a restart')
  await receives(foreign, 'own/thing', 'theirs after a restart')
  assert.deepEqual(foreign.messages().filter((it) => !it.payload.startsWith('theirs ')), [])
})

test('nobody outside can publish into a project', async () => {
  const { id } = projects.ours
  const stranger = await device(projects.theirs, 'loud')
  const own = await connect('mqtt.js', where, { ...await device(projects.ours, 'listener'), filters: ['#', '$share/x/#'] })
  for (const topic of ['line/one', `ff/${id}/line/one`, `/ff/${id}/line/one`, `../${id}/line/one`]) {
    await say(STRANGER, topic, 'theirs, intruding')
    const client = await connect('mqtt.js', where, stranger)
    await client.publish(topic, 'theirs, intruding').catch(() => {})
    client.kill()
  }
  await say(TWO, 'line/one', 'ours, last')
  await hears(ONE, 'line/one', 'ours, last')
  await receives(own, 'line/one', 'ours, last')
  for (const list of [await heard(ONE), await heard(TWO), own.messages()]) {
    assert.deepEqual(list.filter((it) => it.payload.startsWith('theirs')), [])
  }
})

for (const [kind, over] of WAYS) {
  for (const version of [3, 5]) {
    test(`a device talks with the instances: ${kind} over ${over}, MQTT ${version === 5 ? '5' : '3.1.1'}`, async () => {
      const mark = `${kind} ${over} ${version}`
      const who = { version, clientId: 'the-same-in-both' }
      const [mine, theirs] = [await device(projects.ours, mark), await device(projects.theirs, mark)]
      const stranger = await connect(kind, { ...where, over }, { ...theirs, ...who, filters: ['#', '+/#'] })
      const client = await connect(kind, { ...where, over }, { ...mine, ...who, filters: ['to/#'] })
      await client.publish('line/device', `ours from ${mark}`)
      await hears(ONE, 'line/device', `ours from ${mark}`)
      await say(ONE, 'to/device', `ours to ${mark}`)
      await receives(client, 'to/device', `ours to ${mark}`)
      await stranger.publish('own/thing', `theirs from ${mark}`)
      await receives(stranger, 'own/thing', `theirs from ${mark}`)
      assert.deepEqual(stranger.messages().filter((it) => it.payload.startsWith('ours')), [])
      assert.equal(stranger.ended() || client.ended(), false, 'the same client id in two projects is two sessions')
      assert.ok(await refused(kind, { ...where, over }, { ...mine, ...who, clientId: 'wrong', password: 'wrong' }))
      client.kill()
      stranger.kill()
    })
  }
}

test('rotating, disabling and deleting a client end its connections', async () => {
  const { id, ...who } = await device(projects.ours, 'revoked')
  const live = await connect('mosquitto', where, { ...who, filters: ['#'] })
  const { password } = await openflow.api('POST', `/mqtt-clients/${id}/rotate`)
  await until('the rotated one to end', live.ended, MOMENTS_MS)
  assert.ok(await refused('mqtt.js', where, who), 'the old password')
  const fresh = { ...who, password }

  const rotated = await connect('mqtt.js', where, fresh)
  await openflow.api('PATCH', `/mqtt-clients/${id}`, { disabled: true })
  await until('the disabled one to end', rotated.ended, MOMENTS_MS)
  assert.ok(await refused('mqtt.js', where, fresh), 'while disabled')

  await openflow.api('PATCH', `/mqtt-clients/${id}`, { disabled: false })
  const again = await until('it to be let in again', () => connect('paho', where, fresh).catch(() => null), MOMENTS_MS, 1000)
  await until('it to be seen', async () => (await openflow.api('GET', `/mqtt-clients/${id}`)).lastSeenAt, MOMENTS_MS)
  await openflow.api('DELETE', `/mqtt-clients/${id}`)
  await until('the deleted one to end', again.ended, MOMENTS_MS)
  assert.ok(await refused('mqtt.js', where, fresh), 'when deleted')
  await until('all of it to be on record', async () => {
    const events = (await openflow.api('GET', `/projects/${projects.ours.id}/mqtt/events`)).items.map((it) => it.kind)
    for (const kind of ['connected', 'disconnected', 'denied', 'kicked']) assert.ok(events.includes(kind), `${kind} in ${events}`)
    return true
  }, MOMENTS_MS)
})

test('stopping an instance ends what uses its account; it is back after a start', async () => {
  const { id } = instances[TWO]
  const password = /OPENFLOW_MQTT_PASSWORD=([^"]+)/.exec(docker('inspect', '-f', '{{json .Config.Env}}', `nodered-${TWO}`))[1]
  const who = { username: id, password }
  const live = await connect('mosquitto', where, { ...who, filters: ['#'] })
  await openflow.api('POST', `/instances/${id}/stop`)
  await until('its connection to end', live.ended, MOMENTS_MS)
  await until('it to stop', async () => (await openflow.instance(id)).status === 'stopped')
  assert.ok(await refused('mqtt.js', where, who))
  await until('its own connection to end', async () => !(await connections(projects.ours)).some((it) => it.instanceId === id), MOMENTS_MS)
  await openflow.api('POST', `/instances/${id}/start`)
  await openflow.running(id)
  await connected(TWO)
  await tells(ONE, 'line/one', 'ours after a stop', TWO)
})

test('topic rules hold', async () => {
  const rules = { publish: ['line/+'], subscribe: ['to/#'] }
  const held = await connect('mqtt.js', where, { ...await device(projects.ours, 'held', rules), version: 5 })
  const free = await connect('mqtt.js', where, { ...await device(projects.ours, 'free'), filters: ['#'] })
  for (const filter of ['#', '+/#', 'line/#', 'line/one', '$share/x/#']) assert.equal(await held.subscribe(filter), false, filter)
  for (const filter of ['to/#', 'to/me', '$share/x/to/#']) assert.equal(await held.subscribe(filter), true, filter)
  for (const topic of ['to/me', 'line/a/b', 'late/rule']) await held.publish(topic, 'forbidden').catch(() => {})
  await held.publish('line/rule', 'allowed')
  await receives(free, 'line/rule', 'allowed')
  assert.deepEqual(free.messages().filter((it) => it.payload === 'forbidden'), [])
  await free.publish('to/me', 'ours to the held one')
  await receives(held, 'to/me', 'ours to the held one')

  const mute = await connect('mqtt.js', where, { ...await device(projects.ours, 'mute', { publish: [], subscribe: [] }), version: 5 })
  assert.equal(await mute.subscribe('to/me'), false)
})

/** The topic browser's stream: `topics()` are those that were shown so far, by name. */
async function browse(project) {
  const abort = new AbortController()
  const response = await fetch(`${openflow.origin}/api/v1/projects/${project.id}/mqtt/topics`, {
    headers: { authorization: `Bearer ${openflow.token}`, accept: 'text/event-stream' }, signal: abort.signal,
  })
  assert.equal(response.status, 200)
  const shown = new Map()
  const read = async () => {
    let text = ''
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk
      const frames = text.split('\n\n')
      text = frames.pop()
      for (const frame of frames) {
        const data = frame.split('\n').filter((it) => it.startsWith('data:')).map((it) => it.slice(5)).join('\n')
        if (data) for (const it of JSON.parse(data).topics) shown.set(it.topic, it)
      }
    }
  }
  read().catch(() => {})
  return { topics: () => shown, stop: () => abort.abort() }
}

test('what is published by the API arrives, and the topic browser shows the project alone', async () => {
  const ours = await browse(projects.ours)
  const theirs = await browse(projects.theirs)
  await until('the retained topic', () => ours.topics().get('late/kept')?.payload === 'ours, retained')
  const publish = (project, body) => openflow.api('POST', `/projects/${project.id}/mqtt/publish`, body)
  await publish(projects.ours, { topic: 'line/api', payload: 'ours from the API', qos: 1 })
  await publish(projects.theirs, { topic: 'own/api', payload: 'theirs from the API' })
  await hears(ONE, 'line/api', 'ours from the API')
  await until('it in the browser', () => ours.topics().get('line/api')?.payload === 'ours from the API')
  await until('theirs in their browser', () => theirs.topics().get('own/api')?.payload === 'theirs from the API')
  assert.equal(ours.topics().has('own/api'), false)
  assert.deepEqual([...theirs.topics().values()].filter((it) => it.payload.startsWith('ours')), [])
  ours.stop()
  theirs.stop()
})

test('the project knows its broker and who is connected', async () => {
  const { broker, state, urls, connected: count } = await openflow.api('GET', `/projects/${projects.ours.id}/mqtt`)
  assert.deepEqual([broker, state], ['built-in', 'up'])
  assert.match(urls.mqtt, new RegExp(`^mqtt://.*:${where.ports.tcp}`))
  assert.match(urls.mqtts, new RegExp(`^mqtts://.*:${where.ports.tls}`))
  assert.match(urls.websocket, new RegExp(`^ws://.*:${where.ports.ws}/mqtt`))
  assert.ok(count >= 2)
  const one = await connected(ONE)
  const list = await connections(projects.ours)
  assert.ok(list.length >= 2)
  assert.deepEqual([one.kind, one.name, one.username, one.protocol], ['instance', ONE, instances[ONE].id, '3.1.1'])
  assert.equal(list.some((it) => it.instanceId === instances[STRANGER].id), false)
})

test('after a restart of Openflow the instances are back, and what was retained is kept', async () => {
  await openflow.stop()
  await openflow.start({ OPENFLOW_MQTT_LISTEN_TLS: `127.0.0.1:${where.ports.tls}`, OPENFLOW_TLS_SELF_SIGNED: path.dirname(where.ca) })
  await Promise.all([ONE, TWO].map(connected))
  await tells(ONE, 'line/one', 'ours after a restart', TWO)
  const late = await connect('paho', where, { ...await device(projects.ours, 'after the restart'), filters: ['late/kept'] })
  await receives(late, 'late/kept', 'ours, retained')
})
