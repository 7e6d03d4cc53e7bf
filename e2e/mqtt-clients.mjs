// Devices as they are met in the field: mosquitto's programs, mqtt.js and Python's paho, over TCP, TLS and WebSocket.
import { execFile, spawn } from 'node:child_process'
import path from 'node:path'
import readline from 'node:readline'
import { promisify } from 'node:util'
import mqtt from 'mqtt'
import { ROOT } from './support.mjs'

/** All that can be had: Debian's mosquitto programs speak no WebSocket. */
export const WAYS = [
  ['mosquitto', 'tcp'], ['mosquitto', 'tls'],
  ['mqtt.js', 'tcp'], ['mqtt.js', 'tls'], ['mqtt.js', 'ws'],
  ['paho', 'tcp'], ['paho', 'tls'], ['paho', 'ws'],
]

const open = new Set()

/** Ends every client that still is there. */
export function stopClients() {
  for (const client of open) client.kill()
}

/**
 * Connects and subscribes. Resolves when the broker has granted that, fails when it refuses.
 * @param {'mosquitto' | 'mqtt.js' | 'paho'} kind
 * @param {{over: 'tcp' | 'tls' | 'ws', ports: {tcp, tls, ws}, ca: string}} where on this host
 * @param {{username: string, password: string, clientId?: string, filters?: string[], version?: 3 | 5, will?: {topic, payload}}} who
 * @returns `messages()` ({topic, payload, retain}), `publish(topic, payload, {retain, qos})`, `ended()` once the
 *   connection is gone (none of them connects again), `kill()` without a DISCONNECT
 */
export async function connect(kind, where, who) {
  const client = await { mosquitto, 'mqtt.js': mqttJs, paho }[kind](where, { filters: [], version: 3, ...who })
  open.add(client)
  return client
}

/** Whether the broker refuses a connection. */
export async function refused(kind, where, who) {
  try {
    const client = await connect(kind, where, who)
    client.kill()
    return false
  } catch (error) {
    if (/refused|not authori[sz]ed|bad user|code [45]\b/i.test(error.message)) return true
    throw error
  }
}

async function mosquitto(where, who) {
  const login = ['-h', 'localhost', '-p', String(where.ports[where.over]), '-u', who.username, '-P', who.password,
    '-V', who.version === 5 ? '5' : '311', ...(where.over === 'tls' ? ['--cafile', where.ca] : [])]
  const filters = who.filters.length > 0 ? who.filters : [`nobody/${who.username}`]
  const named = who.clientId ? ['-i', who.clientId] : []
  const will = who.will ? ['--will-topic', who.will.topic, '--will-payload', who.will.payload] : []
  // With -d it tells when it is subscribed; unbuffered, or a pipe would hold that back.
  const child = spawn('stdbuf', ['-oL', 'mosquitto_sub', ...login, ...named, ...will, '-q', '1', '-d', '-F', 'message %j', ...filters.flatMap((it) => ['-t', it])])
  const state = { ended: false, said: '', messages: [] }
  child.once('exit', () => { state.ended = true })
  child.stderr.on('data', (data) => { state.said += data })
  await new Promise((resolve, reject) => {
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('message ')) {
        const { topic, payload, retain } = JSON.parse(line.slice('message '.length))
        state.messages.push({ topic, payload: String(payload), retain: retain === 1 })
      } else if (line.startsWith('Subscribed (')) {
        resolve()
      }
    })
    child.once('exit', (code) => reject(new Error(`mosquitto_sub ended with ${code}: ${state.said}`)))
  })
  return {
    messages: () => state.messages,
    publish: (topic, payload, { retain = false, qos = 1 } = {}) =>
      promisify(execFile)('mosquitto_pub', [...login, '-t', topic, '-q', String(qos), ...(retain ? ['-r'] : []), ...(payload ? ['-m', payload] : ['-n'])]),
    ended: () => state.ended,
    kill: () => child.kill('SIGKILL'),
  }
}

async function mqttJs(where, who) {
  const scheme = { tcp: 'mqtt', tls: 'mqtts', ws: 'ws' }[where.over]
  const address = `${scheme}://localhost:${where.ports[where.over]}${where.over === 'ws' ? '/mqtt' : ''}`
  const { default: fs } = await import('node:fs')
  const client = await mqtt.connectAsync(address, {
    username: who.username, password: who.password, protocolVersion: who.version === 5 ? 5 : 4, reconnectPeriod: 0,
    ...(who.clientId ? { clientId: who.clientId } : {}),
    ...(where.over === 'tls' ? { ca: fs.readFileSync(where.ca) } : {}),
    ...(who.will ? { will: { ...who.will, qos: 1, retain: false } } : {}),
  }, false)
  const state = { ended: false, messages: [] }
  client.on('close', () => { state.ended = true })
  client.on('error', () => {})
  client.on('message', (topic, payload, packet) => state.messages.push({ topic, payload: String(payload), retain: packet.retain }))
  if (who.filters.length > 0) await client.subscribeAsync(who.filters, { qos: 1 })
  return {
    messages: () => state.messages,
    publish: (topic, payload, { retain = false, qos = 1 } = {}) => client.publishAsync(topic, payload, { retain, qos }),
    /** Whether the broker grants it. */
    subscribe: (filter) => client.subscribeAsync(filter, { qos: 1 }).then((granted) => granted.every((it) => it.qos < 128), () => false),
    ended: () => state.ended,
    kill: () => client.stream.destroy(),
  }
}

async function paho(where, who) {
  const child = spawn('/usr/bin/python3', [path.join(ROOT, 'e2e/paho_client.py')])
  const state = { ended: false, said: '', messages: [], published: 0 }
  child.once('exit', () => { state.ended = true })
  child.stderr.on('data', (data) => { state.said += data })
  child.stdin.on('error', () => {})
  const tell = (what) => child.stdin.write(`${JSON.stringify(what)}\n`)
  const waiting = []
  const ready = new Promise((resolve, reject) => {
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      const event = JSON.parse(line)
      if (event.message) state.messages.push(event.message)
      if (event.subscribed) resolve()
      if (event.published) waiting.shift()?.()
      if (event.refused) reject(new Error(`refused with code ${event.refused}`))
    })
    child.once('exit', (code) => reject(new Error(`paho ended with ${code}: ${state.said}`)))
  })
  tell({ ...who, over: where.over, port: where.ports[where.over], ca: where.ca })
  await ready
  return {
    messages: () => state.messages,
    publish(topic, payload, { retain = false, qos = 1 } = {}) {
      tell({ topic, payload, retain, qos })
      return new Promise((resolve) => { waiting.push(resolve) })
    },
    ended: () => state.ended,
    kill: () => child.kill('SIGKILL'),
  }
}
