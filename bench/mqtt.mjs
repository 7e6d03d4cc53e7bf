// The MQTT hook beside a bare axum handler, and the built-in broker beside Mosquitto, in turn on the same machine.
//   node bench/mqtt.mjs            ROUNDS=3 CLIENTS=10000 MESSAGES=200000
// Needs wrk, mosquitto, a running Docker Engine, and in TARGET (target/release): openflow, examples/load,
// examples/bare_hook. The broker runs as in production: inside `openflow up`, asking for real credentials, with files.
import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { Openflow, sleep, until } from '../e2e/support.mjs'

const TARGET = process.env.TARGET ?? 'target/release'
process.env.OPENFLOW_TEST_BIN ??= path.join(TARGET, 'openflow')
const ROUNDS = Number(process.env.ROUNDS ?? 3)
const CLIENTS = Number(process.env.CLIENTS ?? 10_000)
const MESSAGES = Number(process.env.MESSAGES ?? 200_000)
const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'root@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const LIMIT_MS = 180_000
const children = []

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]

async function freePort() {
  const server = net.createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function start(program, args, port) {
  const child = spawn(program, args, { stdio: 'ignore' })
  children.push(child)
  await until(program, () => new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) }).once('error', () => resolve(false))
  }), 20_000)
  return child.pid
}

function wrk(port, env) {
  const out = execFileSync('wrk', ['-t1', '-c16', '-d5s', '--latency', '-s', 'bench/hook.lua', `http://127.0.0.1:${port}/mqtt/auth`],
    { encoding: 'utf8', timeout: LIMIT_MS, env: { ...process.env, ...env } })
  if (/Non-2xx/.test(out)) throw new Error(out)
  const [, p99, unit] = /99%\s+([\d.]+)(us|ms|s)/.exec(out)
  return { perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(out)[1]), p99Ms: Number(p99) * { us: 0.001, ms: 1, s: 1000 }[unit] }
}

function load(what, address, args, env) {
  const out = execFileSync(path.join(TARGET, 'examples', 'load'), [what, address, ...args.map(String)],
    { encoding: 'utf8', timeout: LIMIT_MS, env: { ...process.env, ...env } })
  return JSON.parse(out)
}

async function hook(openflow, client, bare) {
  const secret = fs.readFileSync(path.join(openflow.data, 'keys', 'hook.secret'), 'utf8').trim()
  const body = { username: client.username, password: client.password, clientid: `${client.username}:bench`, peerhost: '127.0.0.1' }
  const env = { HOOK_SECRET: secret, HOOK_BODY: JSON.stringify(body) }
  const ours = [], theirs = []
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(wrk(openflow.managerPort, env))
    theirs.push(wrk(bare, env))
    console.log(`hook: ours ${JSON.stringify(ours.at(-1))}, bare axum ${JSON.stringify(theirs.at(-1))}`)
  }
  const [our, their] = [ours, theirs].map((list) => median(list.map((it) => it.perSecond)))
  console.log(`HOOK  ${our.toFixed(0)}/s, bare axum ${their.toFixed(0)}/s: ${(our / their).toFixed(2)} x; p99 ${median(ours.map((it) => it.p99Ms))} ms, bare ${median(theirs.map((it) => it.p99Ms))} ms`)
}

/** One sort of load on both brokers, in turn; `figure` of each result is compared. */
function compare(name, what, args, figure, rounds, places) {
  const results = places.map(() => [])
  for (let round = 0; round < rounds; round++) {
    places.forEach((place, i) => {
      const own = args.map((it) => (it === 'PID' ? place.pid : it))
      results[i].push(load(what, place.address, own, place.env))
      console.log(`${name}: ${place.name} ${JSON.stringify(results[i].at(-1))}`)
    })
  }
  const [our, their] = results.map((list) => median(list.map((it) => it[figure])))
  console.log(`${name.toUpperCase()}  ${figure}: ours ${our}, mosquitto ${their}: ${(our / their).toFixed(2)} x`)
}

const openflow = await Openflow.create('bench-mqtt')
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-bench-mqtt-'))
try {
  const limits = { OPENFLOW_MQTT_MAX_CONNECTIONS: '50000', OPENFLOW_MQTT_MAX_RATE: '10000000' }
  await openflow.start({ ...ADMIN, ...limits })
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  const client = async (name) => {
    const project = await openflow.api('POST', '/projects', { name })
    return openflow.api('POST', `/projects/${project.id}/mqtt-clients`, { name: 'bench' })
  }
  const [one, two] = [await client('one'), await client('two')]
  const bare = await freePort()
  await start(path.join(TARGET, 'examples', 'bare_hook'), [`127.0.0.1:${bare}`], bare)
  const port = await freePort()
  const config = path.join(folder, 'mosquitto.conf')
  fs.writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n`)
  const mosquitto = await start('mosquitto', ['-c', config], port)
  const env = { MQTT_USER: one.username, MQTT_PASSWORD: one.password, FLOOD_USER: two.username, FLOOD_PASSWORD: two.password }
  const places = [
    { name: 'ours', address: `127.0.0.1:${openflow.mqttPort}`, pid: openflow.process.pid, env },
    { name: 'mosquitto', address: `127.0.0.1:${port}`, pid: mosquitto, env: {} },
  ]
  await hook(openflow, one, bare)
  compare('idle memory', 'idle', [5000, 'PID'], 'kibEach', 1, places)
  await sleep(2000)
  // Twice at the most: each leaves its ports in TIME_WAIT.
  compare('connects', 'storm', [CLIENTS, 200], 'perSecond', Math.min(ROUNDS, 2), places)
  compare('QoS 0, one pair', 'pairs', [1, 0, MESSAGES], 'perSecond', ROUNDS, places)
  compare('QoS 0, ten pairs', 'pairs', [10, 0, MESSAGES / 10], 'perSecond', ROUNDS, places)
  compare('QoS 1, one pair', 'pairs', [1, 1, MESSAGES / 4], 'perSecond', ROUNDS, places)
  compare('QoS 1, ten pairs', 'pairs', [10, 1, MESSAGES / 20], 'perSecond', ROUNDS, places)
  compare('fan-out to 100', 'fan-out', [100, MESSAGES / 100], 'perSecond', ROUNDS, places)
  // With the default rate, as a tenant would have it.
  await openflow.stop()
  await openflow.start(ADMIN)
  console.log(`BESIDE A FLOOD  ${JSON.stringify(load('beside', places[0].address, [300, 4], env))}`)
} finally {
  for (const child of children) child.kill()
  await openflow.destroy()
  fs.rmSync(folder, { recursive: true, force: true })
}
