// What keeps n8n from starting, on the real stack: the instance says which it is and what to do, is not started in a loop, and
// nothing of its data is changed. Mended, it runs again.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { Session, container, says, saying } from './n8n.mjs'
import { Openflow, docker, until } from './support.mjs'

const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'root@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const SUB = `e2e-n8n-t-${process.pid}`
const IMAGE = process.env.OPENFLOW_N8N_IMAGE ?? 'openflow/n8n:2'
const BROKEN = `openflow-e2e-n8n-broken:${process.pid}`
const PAGE = 4096

let openflow
let project
let stack
let id
let data

before(async () => {
  openflow = await Openflow.create('n8n-trouble')
  await openflow.start(ADMIN)
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  stack = await until('the stack', async () => (await openflow.api('GET', '/stacks')).items.find((it) => it.engine === 'n8n' && it.status === 'ready'))
  project = (await openflow.api('GET', '/projects')).items[0]
})

after(async () => {
  if (id) {
    await openflow.api('DELETE', `/instances/${id}`).catch(() => {})
    await openflow.gone(id).catch(() => {})
  }
  docker('rmi', '-f', BROKEN)
  await openflow?.destroy()
})

const stopped = () => until('it to stop', async () => (await openflow.instance(id)).status === 'stopped')
const n8nFile = (name) => path.join(data, '.n8n', name)

/** Which files there are, and what is in them; the log of events and n8n's own cache may grow. */
const fingerprint = () => Object.fromEntries(['config', 'database.sqlite'].map((name) =>
  [name, createHash('sha256').update(fs.readFileSync(n8nFile(name))).digest('hex')]))

function sqlite(sql) {
  execFileSync('python3', ['-c', 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.execute("pragma wal_checkpoint(truncate)")',
    n8nFile('database.sqlite'), sql])
}

test('with too little memory it is not made, and not changed to it', async () => {
  const create = (memoryMb) => openflow.api('POST', `/projects/${project.id}/instances`, { name: 'small', subdomain: SUB, stack: stack.id, resources: { memoryMb } })
  await assert.rejects(create(512), /422 .*instance\.too_little_memory/)
  id = (await create(640)).id
  data = path.join(openflow.data, 'instances', id)
  await openflow.running(id)
  await assert.rejects(openflow.api('PATCH', `/instances/${id}`, { resources: { memoryMb: 512 } }), /422 .*instance\.too_little_memory/)
  const session = await Session.open(openflow, id)
  await session.publish(saying('hello', 'still here'))
  await says(openflow, SUB, 'hello', 'still here')
})

// [what, what is done to the data of the stopped instance, what it says]
const troubles = [
  ['a damaged database', () => {
    const file = fs.openSync(n8nFile('database.sqlite'), 'r+')
    for (let page = 1; page < 40; page += 1) fs.writeSync(file, Buffer.alloc(PAGE, 0xab), 0, PAGE, PAGE * page)
    fs.closeSync(file)
  }, /^The database of n8n \(\.n8n\/database\.sqlite\) is damaged\. Nothing was changed\. Restore a backup/],
  ['a file that is no database', () => fs.writeFileSync(n8nFile('database.sqlite'), 'nothing'), /^The database of n8n .* is damaged/],
  ['a lost database', () => {
    fs.writeFileSync(`${n8nFile('database.sqlite')}-wal`, 'what a journal had')
    fs.writeFileSync(n8nFile('config'), fs.readFileSync(n8nFile('config')))
    fs.rmSync(n8nFile('database.sqlite'))
  }, /^The database of n8n .* is missing, but its journal .* is there/],
  ['another encryption key', () => {
    const config = JSON.parse(fs.readFileSync(n8nFile('config'), 'utf8'))
    fs.writeFileSync(n8nFile('config'), JSON.stringify({ ...config, encryptionKey: 'the-key-of-somebody-else-0123456789' }))
  }, /^The encryption key of this instance is not the one that its data was made with .* Nothing was changed/],
  ['data of a newer n8n', () => sqlite(`insert into migrations (timestamp, name) values (9999999999999, 'OfTheFuture9999999999999')`),
    /^The data of this instance was used by a newer n8n than the 2\.\S+ of this image\. n8n cannot go back\. Nothing was changed/],
]
for (const [what, harm, says] of troubles) {
  test(`${what} is told, not tried in a loop, and left as it is`, async () => {
    await openflow.api('POST', `/instances/${id}/stop`)
    await stopped()
    sqlite('select 1')
    const good = fs.mkdtempSync(`${openflow.data}/good-`)
    fs.cpSync(path.join(data, '.n8n'), good, { recursive: true, preserveTimestamps: true })
    harm()
    const files = () => (fs.existsSync(n8nFile('database.sqlite')) ? fingerprint() : 'no database')
    const harmed = files()
    await openflow.api('POST', `/instances/${id}/start`)
    const failed = await until('it to say why', async () => {
      const it = await openflow.instance(id)
      return it.status === 'failed' && it
    })
    assert.match(failed.statusDetail, says)
    assert.ok(!failed.statusDetail.includes('Last lines'), failed.statusDetail)
    // Between two tries, which come further and further apart.
    await until('it to rest', () => docker('inspect', '-f', '{{.State.Running}} {{.State.Restarting}}', container(SUB)) === 'false false')
    assert.deepEqual(files(), harmed)
    await openflow.api('POST', `/instances/${id}/stop`)
    await stopped()
    fs.rmSync(`${n8nFile('database.sqlite')}-wal`, { force: true })
    for (const name of ['config', 'database.sqlite']) {
      fs.copyFileSync(path.join(good, name), n8nFile(name))
      fs.chownSync(n8nFile(name), fs.statSync(data).uid, fs.statSync(data).gid)
    }
    fs.rmSync(good, { recursive: true })
  })
}

test('mended, it runs with all that it had', async () => {
  await openflow.api('POST', `/instances/${id}/start`)
  const it = await openflow.running(id)
  assert.equal(it.statusDetail, null)
  await says(openflow, SUB, 'hello', 'still here')
})

test('an upgrade to an n8n that our part does not fit is undone, and says so', async () => {
  execFileSync('docker', ['build', '-q', '-t', BROKEN, '-'], {
    // As after a change inside n8n: our hook does not find what it looks for.
    input: `FROM ${IMAGE}\nUSER root\nRUN sed -i "s/slug: 'global:owner'/slug: 'nobody'/" /opt/openflow/n8n/engine.js && grep -q nobody /opt/openflow/n8n/engine.js\nUSER 1000:1000\n`,
    env: { ...process.env, DOCKER_BUILDKIT: '0' },
  })
  const broken = await openflow.api('POST', '/stacks', { name: 'Broken', engine: 'n8n', image: BROKEN })
  await until('the broken stack', async () => (await openflow.api('GET', `/stacks/${broken.id}`)).status === 'ready')
  await openflow.api('PATCH', `/instances/${id}`, { stackId: broken.id })
  const back = await until('the way back', async () => {
    const it = await openflow.instance(id)
    return it.status === 'running' && it.stackId === stack.id && it.statusDetail && it
  }, 180_000)
  assert.match(back.statusDetail, /^The upgrade to Broken was undone: The part of Openflow that runs inside n8n failed/)
  await says(openflow, SUB, 'hello', 'still here')
})
