// Backups on the real stack: copied while it runs, tried in a throwaway container, put back, put into a new instance.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { Openflow, curl, docker, until } from './support.mjs'

const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'root@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const [SUB, COPY] = ['one', 'copy'].map((it) => `e2e-bak-${it}-${process.pid}`)
const BASIC = `Basic ${Buffer.from('u:p').toString('base64')}`

let openflow
let project
let instance
let backup
const made = []

/** `/hello` says which version it is; `/secret` what a node sends that has a password. */
const flows = (version) => [
  { id: 'tab', type: 'tab', label: 'Orders' },
  { id: 'in', type: 'http in', z: 'tab', url: '/hello', method: 'get', wires: [['say']] },
  { id: 'say', type: 'template', z: 'tab', field: 'payload', template: version, wires: [['out']] },
  { id: 'out', type: 'http response', z: 'tab', wires: [] },
  { id: 'in2', type: 'http in', z: 'tab', url: '/secret', method: 'get', wires: [['ask']] },
  { id: 'ask', type: 'http request', z: 'tab', method: 'GET', ret: 'txt', url: 'http://127.0.0.1:1880/api/echo', authType: 'basic', wires: [['out2']], credentials: { user: 'u', password: 'p' } },
  { id: 'out2', type: 'http response', z: 'tab', wires: [] },
  { id: 'in3', type: 'http in', z: 'tab', url: '/echo', method: 'get', wires: [['f3']] },
  { id: 'f3', type: 'function', z: 'tab', outputs: 1, func: 'msg.payload = msg.req.headers.authorization ?? "nothing"; return msg', wires: [['out3']] },
  { id: 'out3', type: 'http response', z: 'tab', wires: [] },
]

const body = (sub, at) => {
  const { status, body } = curl(`${openflow.host(sub)}${at}`)
  return status === 200 ? body : `status ${status}`
}
const folder = (id) => path.join(openflow.data, 'instances', id)

async function create(subdomain) {
  const it = await openflow.api('POST', `/projects/${project.id}/instances`, { name: subdomain, subdomain })
  made.push(it.id)
  return openflow.running(it.id)
}

/** Through the admin API, with the instance's own token. */
async function deploy(subdomain, nodes) {
  const magic = /OPENFLOW_MAGIC_TOKEN=([^"\s]+)/.exec(docker('inspect', `nodered-${subdomain}`))[1]
  const address = docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', `nodered-${subdomain}`)
  const response = await fetch(`http://${address}:1880/flows`, {
    method: 'POST',
    headers: { authorization: `Bearer ${magic}`, 'content-type': 'application/json' },
    body: JSON.stringify(nodes),
  })
  assert.equal(response.status, 204, await response.text())
}

async function over(restore) {
  const it = await until('the restore to end', async () => {
    const now = await openflow.api('GET', `/restores/${restore.id}`)
    return now.finishedAt && now
  }, 120_000)
  assert.equal(it.state, 'done', JSON.stringify(it))
}

before(async () => {
  openflow = await Openflow.create('backups')
  await openflow.start(ADMIN)
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  project = await openflow.api('POST', '/projects', { name: 'Insured' })
  instance = await create(SUB)
  await deploy(SUB, flows('first'))
  await until('the flow', () => body(SUB, '/hello') === 'first')
  fs.writeFileSync(path.join(folder(instance.id), 'kept.txt'), 'kept')
  execFileSync('python3', ['-c', 'import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute("pragma journal_mode=wal"); c.execute("create table t(a)"); c.executemany("insert into t values(?)",[(i,) for i in range(1000)]); c.commit()', path.join(folder(instance.id), 'orders.db')])
})

after(async () => {
  for (const id of made) {
    await openflow.api('DELETE', `/instances/${id}`).catch(() => {})
    await openflow.gone(id).catch(() => {})
  }
  await openflow?.destroy()
})

test('a running instance is copied and runs on', async () => {
  const begun = docker('inspect', '-f', '{{.State.StartedAt}}', `nodered-${SUB}`)
  const asked = await openflow.api('POST', `/instances/${instance.id}/backups`)
  backup = await until('the backup', async () => {
    const it = await openflow.api('GET', `/backups/${asked.id}`)
    return ['good', 'partial', 'failed'].includes(it.status) && it
  })
  assert.equal(backup.status, 'good', JSON.stringify(backup))
  assert.ok(Number.isInteger(backup.freezeMs), JSON.stringify(backup))
  assert.equal(docker('inspect', '-f', '{{.State.StartedAt}}', `nodered-${SUB}`), begun)
  assert.equal(docker('inspect', '-f', '{{.State.Status}}', `nodered-${SUB}`), 'running')
  assert.equal(body(SUB, '/hello'), 'first')
})

test('its file is a tar that any tar reads', async () => {
  const files = fs.readdirSync(path.join(openflow.data, 'backups', instance.id)).filter((it) => it.endsWith('.tar.gz'))
  assert.equal(files.length, 1, String(files))
  assert.match(files[0], /^\d{8}T\d{6}Z\.tar\.gz$/)
  const names = execFileSync('tar', ['-tzf', path.join(openflow.data, 'backups', instance.id, files[0])], { encoding: 'utf8' }).split('\n')
  for (const name of ['data/flows.json', 'data/flows_cred.json', 'data/kept.txt', 'data/orders.db', 'manifest.json']) {
    assert.ok(names.includes(name), `${name} in ${names}`)
  }
})

test('it is tried in a throwaway container without network', async () => {
  await openflow.api('POST', `/backups/${backup.id}/verify`)
  const { verification } = await until('the rehearsal', async () => {
    const it = await openflow.api('GET', `/backups/${backup.id}`)
    return it.verification.level === 'rehearsed' && !['pending', 'running'].includes(it.verification.status) && it
  }, 180_000)
  assert.equal(verification.status, 'good', JSON.stringify(verification))
  assert.equal(docker('ps', '-aq', '--filter', `label=openflow.rehearsal=${backup.id}`), '', 'nothing is left of it')
})

test('put back, the instance is as it was', async () => {
  await deploy(SUB, flows('second').map((node) => ({ ...node, credentials: node.id === 'ask' ? { user: '', password: '' } : undefined })))
  fs.rmSync(path.join(folder(instance.id), 'kept.txt'))
  await until('the change', () => body(SUB, '/hello') === 'second')
  await over(await openflow.api('POST', `/backups/${backup.id}/restore`, {}))
  await openflow.running(instance.id)
  await until('the first flow', () => body(SUB, '/hello') === 'first')
  assert.equal(body(SUB, '/secret'), BASIC)
  assert.equal(fs.readFileSync(path.join(folder(instance.id), 'kept.txt'), 'utf8'), 'kept')
  const check = 'import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); print(c.execute("pragma integrity_check").fetchone()[0], c.execute("select count(*) from t").fetchone()[0])'
  assert.equal(execFileSync('python3', ['-c', check, path.join(folder(instance.id), 'orders.db')], { encoding: 'utf8' }).trim(), 'ok 1000')
})

test('a new instance made of it has its credential, under its own secret', async () => {
  const restore = await openflow.api('POST', `/backups/${backup.id}/restore`, { newInstance: { name: 'Copy', subdomain: COPY } })
  made.push(restore.instanceId)
  await over(restore)
  await openflow.running(restore.instanceId)
  await until('the flow', () => body(COPY, '/hello') === 'first')
  assert.equal(body(COPY, '/secret'), BASIC)
  const file = (id) => fs.readFileSync(path.join(folder(id), 'flows_cred.json'), 'utf8')
  assert.notEqual(file(instance.id), file(restore.instanceId))
})
