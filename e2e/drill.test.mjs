// The bare-machine drill: everything is lost but one file (and the keys), and everything comes back.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { connect, refused, stopClients } from './mqtt-clients.mjs'
import { Openflow, curl, docker, until } from './support.mjs'

const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'root@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const NAMES = ['one', 'two', 'rests'].map((it) => `drill-${it}-${process.pid}`)
const [ONE, TWO, RESTS] = NAMES
const ALIAS = `drill-alias-${process.pid}`
const MOMENTS_MS = 20_000

let openflow
let project
let device // MQTT credentials
let shelf // the other disk: the backup and the keys
const instances = {} // by subdomain
const cookies = {} // editor cookies by subdomain

before(async () => {
  openflow = await Openflow.create('drill')
  shelf = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-e2e-shelf-'))
  await openflow.start(ADMIN)
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  await until('the stack', async () => (await openflow.api('GET', '/stacks')).items.find((it) => it.status === 'ready'))
  project = await openflow.api('POST', '/projects', { name: 'Plant' })
  for (const subdomain of NAMES) {
    instances[subdomain] = await openflow.api('POST', `/projects/${project.id}/instances`, { name: subdomain, subdomain })
  }
  for (const subdomain of NAMES) await openflow.running(instances[subdomain].id)
})

after(async () => {
  stopClients()
  for (const { id } of Object.values(instances)) {
    await openflow.api('DELETE', `/instances/${id}`).catch(() => {})
    await openflow.gone(id).catch(() => {})
  }
  await openflow?.destroy()
  fs.rmSync(shelf, { recursive: true, force: true })
})

/** A command of the program on this installation: `{status, out}`. */
function command(...args) {
  const { DATABASE_URL: _, ...env } = process.env
  const done = spawnSync(process.env.OPENFLOW_TEST_BIN, [...args, `--data-dir=${openflow.data}`, `--proxy-listen=127.0.0.1:${openflow.proxyPort}`],
    { env, encoding: 'utf8', timeout: 300_000 })
  return { status: done.status, out: `${done.stdout}\n${done.stderr}` }
}

function commandFails(pattern, ...args) {
  const { status, out } = command(...args)
  assert.equal(status, 1, out)
  assert.match(out, pattern)
}

/** A signed-in editor, as its cookie. */
async function openEditor(subdomain) {
  const { url } = await openflow.api('POST', `/instances/${instances[subdomain].id}/launch`)
  const answer = await until('the editor', () => {
    const it = curl(url, '-i')
    return it.status === 303 && it
  })
  cookies[subdomain] = /openflow_token=[^;]+/.exec(answer.body)[0]
}

const editor = (subdomain, address, ...args) => curl(`${openflow.host(subdomain)}${address}`, '-H', `cookie: ${cookies[subdomain]}`, ...args)

/** /hello reads a file of the data folder, /secret needs the flow's credential. */
function deploy(subdomain) {
  const at = { z: 'tab', x: 100, y: 100 }
  const flows = [
    { id: 'tab', type: 'tab', label: 'Drill' },
    { ...at, id: 'hello', type: 'http in', url: '/hello', method: 'get', wires: [['file']] },
    { ...at, id: 'file', type: 'file in', filename: '/data/work/mark.txt', filenameType: 'str', format: 'utf8', allProps: false, sendError: true, wires: [['answer']] },
    { ...at, id: 'secret', type: 'http in', url: '/secret', method: 'get', wires: [['ask']] },
    { ...at, id: 'ask', type: 'http request', method: 'GET', ret: 'txt', paytoqs: 'ignore', url: 'http://127.0.0.1:1880/api/echo', authType: 'basic', senderr: false, headers: [],
      credentials: { user: 'ada', password: `lovelace ${subdomain}` }, wires: [['answer']] },
    { ...at, id: 'echo', type: 'http in', url: '/echo', method: 'get', wires: [['tell']] },
    { ...at, id: 'tell', type: 'function', outputs: 1, func: 'msg.payload = msg.req.headers.authorization ?? "none"; return msg;', wires: [['answer']] },
    { ...at, id: 'answer', type: 'http response', wires: [] },
  ]
  const file = path.join(shelf, 'flows.json')
  fs.writeFileSync(file, JSON.stringify(flows))
  const done = editor(subdomain, '/flows', '-X', 'POST', '-H', 'content-type: application/json', '-H', 'Node-RED-API-Version: v1', '--data-binary', `@${file}`)
  assert.equal(done.status, 204, done.body)
}

/** Its webhook tells what is in its file, and its credential opens. */
async function works(subdomain, host = subdomain) {
  await until(`${host} to answer`, () => {
    const { status, body } = curl(`${openflow.host(host)}/hello`)
    return status === 200 && body === `mark of ${subdomain}\n` || assert.fail(`${status} ${body}`)
  })
  const { body } = curl(`${openflow.host(host)}/secret`)
  assert.equal(Buffer.from(body.replace('Basic ', ''), 'base64').toString(), `ada:lovelace ${subdomain}`)
}

/** Containers, data folder and the private PostgreSQL: nothing is left. */
async function wipe() {
  await openflow.stop()
  for (const subdomain of NAMES) docker('rm', '-f', `nodered-${subdomain}`)
  for (const name of fs.readdirSync(openflow.data)) fs.rmSync(path.join(openflow.data, name), { recursive: true })
  assert.deepEqual(fs.readdirSync(openflow.data), [])
}

async function retained() {
  const where = { over: 'tcp', ports: { tcp: openflow.mqttPort } }
  await until('the device to be let in', async () => !(await refused('mqtt.js', where, device)), MOMENTS_MS, 250)
  const client = await connect('mqtt.js', where, { ...device, filters: ['line/#'] })
  await until('the retained message', () => client.messages().find((it) => it.topic === 'line/kept' && it.payload === 'from before' && it.retain))
  client.kill()
}

/** All as it was before the loss. */
async function everythingIsBack() {
  for (const subdomain of [ONE, TWO]) {
    assert.equal((await openflow.running(instances[subdomain].id)).subdomain, subdomain) // with the token of before
    await works(subdomain)
    assert.equal(editor(subdomain, '/flows').status, 200, 'the editor cookie of before')
  }
  await works(ONE, ALIAS)
  const resting = await openflow.instance(instances[RESTS].id)
  assert.equal(resting.status, 'stopped')
  assert.match(docker('inspect', `nodered-${RESTS}`), /No such/)
  await retained()
  assert.equal((await openflow.api('GET', `/projects/${project.id}/instances`)).items.length, 3)
}

test('an installation with three instances, their work, and people signed in', async () => {
  for (const subdomain of NAMES) {
    const folder = path.join(openflow.data, 'instances', instances[subdomain].id, 'work')
    fs.mkdirSync(folder)
    fs.writeFileSync(path.join(folder, 'mark.txt'), `mark of ${subdomain}\n`)
    fs.chownSync(folder, 1000, 1000)
    await openEditor(subdomain)
    deploy(subdomain)
    await works(subdomain)
  }
  await openflow.api('POST', `/instances/${instances[ONE].id}/aliases`, { name: ALIAS })
  device = await openflow.api('POST', `/projects/${project.id}/mqtt-clients`, { name: 'sensor' })
  await openflow.api('POST', `/projects/${project.id}/mqtt/publish`, { topic: 'line/kept', payload: 'from before', retain: true, qos: 1 })
  await retained()
  await openflow.api('POST', `/instances/${instances[RESTS].id}/stop`)
  await until('it to stop', async () => (await openflow.instance(instances[RESTS].id)).status === 'stopped')
})

test('a backup of all of it while it runs, with the keys; the webhooks answer meanwhile', async () => {
  const file = path.join(shelf, 'all.tar')
  const { status, out } = command('backup', '--all', '--with-keys', `--output=${file}`)
  assert.equal(status, 0, out)
  assert.match(out, /3 instances \(2 running\)/)
  assert.match(out, /THE KEYS ARE IN IT/)
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  await works(ONE)
  for (const subdomain of [ONE, TWO]) assert.equal(docker('inspect', '-f', '{{.State.Paused}}', `nodered-${subdomain}`), 'false')
})

test('a restore onto what is still there is refused', async () => {
  commandFails(/another openflow \(pid \d+\) uses the data folder/, 'restore', path.join(shelf, 'all.tar'))
  await openflow.stop()
  commandFails(/is in use: it holds/, 'restore', path.join(shelf, 'all.tar'))
  await openflow.start()
  await works(ONE)
})

test('a restore that is killed starts nothing, and the next one begins anew', async () => {
  await wipe()
  const { DATABASE_URL: _, ...env } = process.env
  const child = spawn(process.env.OPENFLOW_TEST_BIN, ['restore', path.join(shelf, 'all.tar'), `--data-dir=${openflow.data}`], { env, stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await until('the database to be there', () => fs.existsSync(path.join(openflow.data, 'postgres', 'cluster')), MOMENTS_MS, 5)
  child.kill('SIGKILL')
  await ended
  assert.ok(fs.existsSync(path.join(openflow.data, 'restore.unfinished')), 'it was killed in the middle')
  commandFails(/was cut short/, 'up')
  const { status, out } = command('restore', path.join(shelf, 'all.tar'))
  assert.equal(status, 0, out)
  assert.ok(!fs.existsSync(path.join(openflow.data, 'restore.unfinished')))
})

test('after it everything is back as it was', async () => {
  await openflow.start()
  await everythingIsBack()
  await openflow.api('POST', `/instances/${instances[RESTS].id}/start`)
  await openflow.running(instances[RESTS].id)
  await works(RESTS)
  assert.equal(editor(RESTS, '/flows').status, 200)
  await openflow.api('POST', `/instances/${instances[RESTS].id}/stop`)
  await until('it to stop', async () => (await openflow.instance(instances[RESTS].id)).status === 'stopped')
})

test('without the keys it says so loudly, and with them put back by hand all is back again', async () => {
  const file = path.join(shelf, 'sealed.tar')
  const { status, out } = command('backup', '--all', `--output=${file}`)
  assert.equal(status, 0, out)
  assert.match(out, /WORTHLESS WITHOUT THE KEYS/)
  fs.cpSync(path.join(openflow.data, 'keys'), path.join(shelf, 'keys'), { recursive: true })
  await wipe()
  commandFails(/made without keys/, 'restore', file)
  fs.writeFileSync(path.join(shelf, 'wrong.keys'), `${'A'.repeat(43)}\n`)
  commandFails(/not the keys of this archive/, 'restore', file, `--keys=${path.join(shelf, 'wrong.keys')}`)
  assert.deepEqual(fs.readdirSync(openflow.data), [], 'nothing was touched')
  fs.cpSync(path.join(shelf, 'keys'), path.join(openflow.data, 'keys'), { recursive: true })
  const restored = command('restore', file)
  assert.equal(restored.status, 0, restored.out)
  await openflow.start()
  await everythingIsBack()
})

test('it is backed up when nothing runs, too', async () => {
  await openflow.stop()
  const { status, out } = command('backup', '--all', `--output=${path.join(shelf, 'cold.tar')}`)
  assert.equal(status, 0, out)
  await openflow.start()
  await works(TWO)
})
