// n8n with its data on a PostgreSQL server, on the real stack: kept apart, backed up with a dump, tried out, put back, made a new
// instance, and brought back on a bare machine beside the server of before.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { Session, ask, asking, container, says, saying, whoami } from './n8n.mjs'
import { Postgres, databaseOf } from './postgres.mjs'
import { Openflow, docker, sleep, until } from './support.mjs'

const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'ada@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const [SHOP, PLAIN, COPY] = ['shop', 'plain', 'copy'].map((it) => `e2e-n8npg-${it}-${process.pid}`)
const SECRET = `secret-${randomUUID()}`
const ITSELF = 'http://127.0.0.1:5678/webhook/whoami' // of whichever instance asks

let postgres
let openflow
let environment
let shelf // another disk
let project
let stacks
let shop
let copy
let backup
let session
const ids = {}
const made = []

before(async () => {
  postgres = await Postgres.start()
  environment = { OPENFLOW_INSTANCE_DATABASE_URL: postgres.url }
  shelf = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-e2e-shelf-'))
  openflow = await Openflow.create('n8n-postgres')
  await openflow.start({ ...ADMIN, ...environment })
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  const ready = (storage) => until(`a stack with ${storage}`, async () => (await openflow.api('GET', '/stacks')).items
    .find((it) => it.engine === 'n8n' && it.storage === storage && it.status === 'ready'))
  stacks = { files: await ready('files') }
  await openflow.api('POST', '/stacks', { name: 'n8n on PostgreSQL', engine: 'n8n', image: stacks.files.image, storage: 'postgres' })
  stacks.postgres = await ready('postgres')
  project = (await openflow.api('GET', '/projects')).items[0]
  shop = await create('shop', SHOP, stacks.postgres)
  await openflow.running(shop.id)
})

after(async () => {
  for (const id of made) {
    await openflow.api('DELETE', `/instances/${id}`).catch(() => {})
    await openflow.gone(id).catch(() => {})
  }
  await openflow?.destroy()
  postgres?.stop()
  if (shelf) fs.rmSync(shelf, { recursive: true, force: true })
})

async function create(name, subdomain, stack) {
  const it = await openflow.api('POST', `/projects/${project.id}/instances`, { name, subdomain, stack: stack.id })
  made.push(it.id)
  return it
}

/** A command of the program on this installation: `{status, out}`. */
function command(...args) {
  const { DATABASE_URL: _, ...env } = process.env
  const done = spawnSync(process.env.OPENFLOW_TEST_BIN, [...args, `--data-dir=${openflow.data}`], { env: { ...env, ...environment }, encoding: 'utf8', timeout: 300_000 })
  return { status: done.status, out: `${done.stdout}\n${done.stderr}` }
}

const folder = (id) => path.join(openflow.data, 'instances', id)
const schemaOf = (id) => JSON.parse(fs.readFileSync(path.join(folder(id), '.n8n/database.json'), 'utf8')).schema
const count = (id, table) => Number(postgres.sql(databaseOf(id), `select count(*) from "${schemaOf(id)}"."${table}"`))

async function over(restore) {
  const seen = await until('the restore to be over', async () => {
    const it = await openflow.api('GET', `/restores/${restore.id}`)
    return it.finishedAt && it
  }, 180_000)
  assert.equal(seen.state, 'done', JSON.stringify(seen))
}

const hears = (subdomain) => until(`${subdomain} to use its credential`, async () => {
  const answer = await ask(openflow, subdomain, '/webhook/ask')
  if (answer.status !== 200 || JSON.parse(answer.body).key !== SECRET) throw new Error(`${answer.status} ${answer.body.slice(0, 300)}`)
  return true
})

/** What a tenant can do by itself: a query with whatever its instance has at hand. */
function asTenant(subdomain, database) {
  const script = `
    const { Client } = require('/opt/n8n/node_modules/pg');
    const url = require('fs').readFileSync('/run/openflow/database_url', 'utf8').trim().replace(/\\/[^/]*$/, '/${database}');
    const client = new Client({ connectionString: url });
    client.connect().then(() => client.query('select current_database()')).then((it) => { console.log(it.rows[0].current_database); process.exit(0); },
      (error) => { console.log('refused: ' + error.message); process.exit(0); });`
  return docker('exec', container(subdomain), 'node', '-e', script)
}

test('its data is in a database of its own, and a workflow uses a credential', async () => {
  session = await Session.open(openflow, shop.id)
  const { id, name } = await session.rest('POST', '/credentials', { name: 'Shop', type: 'httpHeaderAuth', data: { name: 'x-key', value: SECRET } })
  await session.publish(whoami('whoami'))
  ids.hello = await session.publish(saying('hello', 'one'))
  await session.publish(asking('ask', ITSELF, { id, name }))
  await hears(SHOP)
  await says(openflow, SHOP, 'hello', 'one')
  assert.deepEqual(postgres.databases(), [databaseOf(shop.id)])
  assert.equal(count(shop.id, 'workflow_entity'), 3)
  assert.ok(!fs.existsSync(path.join(folder(shop.id), '.n8n/database.sqlite')))
  const password = new URL(fs.readFileSync(path.join(openflow.data, 'secrets', shop.id, 'database_url'), 'utf8').trim()).password
  assert.ok(password.length > 30 && !docker('inspect', container(SHOP)).includes(password))
  const log = postgres.log()
  assert.ok(log.includes(`create role "${databaseOf(shop.id)}"`) && !log.includes(password))
})

test('a tenant gets into its own database and no other, once the operator did what doctor says', async () => {
  assert.equal(asTenant(SHOP, databaseOf(shop.id)), databaseOf(shop.id))
  const { out } = command('doctor')
  const advice = out.match(/revoke connect on database "[^"]+" from public;/g)
  assert.deepEqual(advice.map((it) => it.split('"')[1]), ['openflow_admin', 'postgres', 'template1'])
  for (const it of advice) postgres.sql('postgres', it)
  assert.match(command('doctor').out, /ok\s+databases\s+PostgreSQL \d+/)
  for (const other of ['postgres', 'template1', 'openflow_admin']) assert.match(asTenant(SHOP, other), /refused: permission denied/)
  // Another tenant's: what the manager makes is closed from the beginning.
  postgres.sql('postgres', 'create role other')
  postgres.sql('postgres', `revoke all on database ${databaseOf(shop.id)} from other`)
  assert.equal(postgres.sql('postgres', `select has_database_privilege('other', '${databaseOf(shop.id)}', 'connect')`), 'f')
  assert.equal(postgres.sql('postgres', `select count(*) from pg_roles where rolname = '${databaseOf(shop.id)}' and (rolsuper or rolcreatedb or rolcreaterole or rolbypassrls or rolreplication)`), '0')
})

test('a snapshot moves between an instance in files and one on PostgreSQL; a stopped one is read, too', async () => {
  const plain = await create('plain', PLAIN, stacks.files)
  await openflow.running(plain.id)
  const snapshot = await openflow.api('POST', `/instances/${shop.id}/snapshots`, { name: 'release' })
  assert.deepEqual([snapshot.tabs, snapshot.credentials], [3, 1])
  await over(await openflow.api('POST', `/snapshots/${snapshot.id}/restore`, { instanceId: plain.id }))
  await hears(PLAIN)
  await assert.rejects(openflow.api('PATCH', `/instances/${plain.id}`, { stackId: stacks.postgres.id }), /422 .*instance\.other_storage/)
  await session.change(ids.hello, saying('hello', 'two'))
  await says(openflow, SHOP, 'hello', 'two')
  await over(await openflow.api('POST', `/snapshots/${snapshot.id}/restore`, { instanceId: shop.id }))
  await says(openflow, SHOP, 'hello', 'one')
  await openflow.api('POST', `/instances/${shop.id}/stop`)
  await until('it to stop', async () => (await openflow.instance(shop.id)).status === 'stopped')
  const asleep = await openflow.api('POST', `/instances/${shop.id}/snapshots`, { name: 'asleep' })
  assert.deepEqual([asleep.tabs, asleep.credentials], [3, 1])
  await openflow.api('POST', `/instances/${shop.id}/start`)
  await openflow.running(shop.id)
  await openflow.api('DELETE', `/instances/${plain.id}`)
})

test('a backup while executions are written has a dump, is good, and passes a rehearsal', async () => {
  await says(openflow, SHOP, 'hello', 'one')
  let calling = true
  const calls = (async () => {
    while (calling) await ask(openflow, SHOP, '/webhook/hello').catch(() => sleep(50))
  })()
  const asked = await openflow.api('POST', `/instances/${shop.id}/backups`)
  backup = await until('the backup', async () => {
    const it = await openflow.api('GET', `/backups/${asked.id}`)
    return ['good', 'partial', 'failed'].includes(it.status) && it
  })
  calling = false
  await calls
  assert.equal(backup.status, 'good', JSON.stringify(backup))
  assert.ok(!fs.existsSync(path.join(folder(shop.id), '.n8n/database.dump')), 'the dump is in the archive alone')
  await openflow.api('POST', `/backups/${backup.id}/verify`)
  const { verification } = await until('the rehearsal', async () => {
    const it = await openflow.api('GET', `/backups/${backup.id}`)
    return it.verification.level === 'rehearsed' && !['pending', 'running'].includes(it.verification.status) && it
  }, 180_000)
  assert.equal(verification.status, 'good', JSON.stringify(verification))
  assert.ok(!postgres.databases().some((it) => it.includes('trial')), 'nothing is left of it')
  assert.ok(!postgres.roles().some((it) => it.includes('trial')))
})

test('put back, everything is there', async () => {
  const [before, executions] = [schemaOf(shop.id), count(shop.id, 'execution_entity')]
  await session.change(ids.hello, saying('hello', 'three'))
  await says(openflow, SHOP, 'hello', 'three')
  await over(await openflow.api('POST', `/backups/${backup.id}/restore`, {}))
  await openflow.running(shop.id)
  await says(openflow, SHOP, 'hello', 'one')
  await hears(SHOP)
  assert.notEqual(schemaOf(shop.id), before)
  assert.equal(count(shop.id, 'workflow_entity'), 3)
  assert.ok(count(shop.id, 'execution_entity') > 0 && executions > 0)
})

test('a new instance made of it has its own database and its own key', async () => {
  await assert.rejects(openflow.api('POST', `/backups/${backup.id}/restore`, { instanceId: (await create('plain', `${PLAIN}-2`, stacks.files)).id }), /backup\.other_storage/)
  const restore = await openflow.api('POST', `/backups/${backup.id}/restore`, { newInstance: { name: 'Copy', subdomain: COPY } })
  made.push(restore.instanceId)
  copy = restore.instanceId
  await over(restore)
  await openflow.running(copy)
  await says(openflow, COPY, 'hello', 'one')
  await hears(COPY)
  const [here, there] = [shop.id, copy].map((id) => postgres.sql(databaseOf(id), `select data from "${schemaOf(id)}".credentials_entity`))
  assert.ok(here && there && here !== there)
  assert.match(asTenant(COPY, databaseOf(shop.id)), /refused: permission denied/)
})

test('while the server is away n8n says so, and goes on when it is back', async () => {
  postgres.halt()
  await openflow.api('POST', `/instances/${copy}/restart`)
  const seen = await until('the reason', async () => {
    const it = await openflow.instance(copy)
    return /PostgreSQL/.test(it.statusDetail ?? '') && it
  })
  assert.notEqual(seen.status, 'running')
  postgres.begin()
  await openflow.api('POST', `/instances/${copy}/restart`)
  await openflow.running(copy)
  await hears(COPY)
})

test('a database that the operator closed is left alone, and its instance says so', async () => {
  postgres.sql('postgres', `alter database ${databaseOf(copy)} allow_connections false`)
  await openflow.api('POST', `/instances/${copy}/restart`)
  await until('the reason', async () => /allow_connections/.test((await openflow.instance(copy)).statusDetail ?? ''))
  postgres.sql('postgres', `alter database ${databaseOf(copy)} allow_connections true`)
  await openflow.api('POST', `/instances/${copy}/restart`)
  await openflow.running(copy)
  await hears(COPY)
})

test('deleted, its database and its role are gone, even one that another tenant holds on to', async () => {
  postgres.sql(databaseOf(shop.id), `set role ${databaseOf(shop.id)}; grant temporary on database ${databaseOf(shop.id)} to ${databaseOf(copy)}`)
  await openflow.api('DELETE', `/instances/${copy}`)
  await openflow.gone(copy)
  assert.ok(!postgres.databases().includes(databaseOf(copy)))
  assert.equal(postgres.sql('postgres', `select rolcanlogin from pg_roles where rolname = '${databaseOf(copy)}'`), 'f')
})

test('an installation that lost its machine is brought back from one file, as it was then', async () => {
  const file = path.join(shelf, 'all.tar')
  const saved = command('backup', '--all', '--with-keys', `--output=${file}`)
  assert.equal(saved.status, 0, saved.out)
  await (await Session.open(openflow, shop.id)).change(ids.hello, saying('hello', 'later'))
  await says(openflow, SHOP, 'hello', 'later')
  await openflow.stop()
  docker('rm', '-f', ...openflowContainers())
  for (const name of fs.readdirSync(openflow.data)) fs.rmSync(path.join(openflow.data, name), { recursive: true })
  const restored = command('restore', file)
  assert.equal(restored.status, 0, restored.out)
  await openflow.start(environment)
  await openflow.running(shop.id)
  await says(openflow, SHOP, 'hello', 'one')
  await hears(SHOP)
  assert.equal(count(shop.id, 'workflow_entity'), 3)
})

const openflowContainers = () => [SHOP, `${PLAIN}-2`].map(container)
