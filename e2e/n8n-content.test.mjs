// n8n's workflows and credentials on the real stack: from dev to prod under another key, compared, read while it is stopped;
// backed up while executions are written, put back, and made a new instance.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { Session, ask, asking, says, saying, startedAt, whoami } from './n8n.mjs'
import { Openflow, docker, sleep, until } from './support.mjs'

const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'ada@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const [DEV, PROD, COPY] = ['dev', 'prod', 'copy'].map((it) => `e2e-n8n-${it}-${process.pid}`)
const SECRET = `secret-${randomUUID()}`
const ITSELF = 'http://127.0.0.1:5678/webhook/whoami' // of whichever instance asks
const CALLERS = 4

let openflow
let home
let dev
let prod
let snapshot
let backup
let session
const ids = {}
const made = []

before(async () => {
  openflow = await Openflow.create('n8n-content')
  await openflow.start(ADMIN)
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  const stack = await until('the stack', async () => (await openflow.api('GET', '/stacks')).items.find((it) => it.engine === 'n8n' && it.status === 'ready'))
  home = (await openflow.api('GET', '/projects')).items[0]
  const other = await openflow.api('POST', '/projects', { name: 'Production' })
  const create = async (project, name, subdomain) => {
    const it = await openflow.api('POST', `/projects/${project.id}/instances`, { name, subdomain, stack: stack.id })
    made.push(it.id)
    return it
  }
  dev = await create(home, 'dev', DEV)
  prod = await create(other, 'prod', PROD)
  for (const it of [dev, prod]) await openflow.running(it.id)
})

after(async () => {
  for (const id of made) {
    await openflow.api('DELETE', `/instances/${id}`).catch(() => {})
    await openflow.gone(id).catch(() => {})
  }
  await openflow?.destroy()
})

const folder = (id) => path.join(openflow.data, 'instances', id)

/** What SQLite itself says of a stopped or running instance's database. */
function database(id) {
  const script = `
import sqlite3, sys, json
c = sqlite3.connect(sys.argv[1])
one = lambda sql: c.execute(sql).fetchone()[0]
print(json.dumps({"check": one("pragma integrity_check"), "executions": one("select count(*) from execution_entity"),
  "workflows": [it[0] for it in c.execute("select name from workflow_entity order by name")],
  "credentials": [it[0] for it in c.execute("select data from credentials_entity order by id")]}))`
  return JSON.parse(execFileSync('python3', ['-c', script, path.join(folder(id), '.n8n/database.sqlite')], { encoding: 'utf8' }))
}

async function over(restore) {
  return until('the restore to be over', async () => {
    const seen = await openflow.api('GET', `/restores/${restore.id}`)
    return seen.finishedAt && seen
  }, 180_000)
}

const hears = (subdomain) => until(`${subdomain} to use its credential`, async () => {
  const answer = await ask(openflow, subdomain, '/webhook/ask')
  if (answer.status !== 200 || JSON.parse(answer.body).key !== SECRET) throw new Error(`${answer.status} ${answer.body.slice(0, 300)}`)
  return true
})

const stopped = async (id) => {
  await openflow.api('POST', `/instances/${id}/stop`)
  await until('it to stop', async () => (await openflow.instance(id)).status === 'stopped')
}

test('a workflow uses a credential in dev', async () => {
  session = await Session.open(openflow, dev.id)
  const { id, name } = await session.rest('POST', '/credentials', { name: 'Shop', type: 'httpHeaderAuth', data: { name: 'x-key', value: SECRET } })
  await session.publish(whoami('whoami'))
  ids.hello = await session.publish(saying('hello', 'one'))
  ids.ask = await session.publish(asking('ask', ITSELF, { id, name }))
  await hears(DEV)
})

test('publishing was kept by itself', async () => {
  await until('an automatic snapshot', async () => {
    const { items } = await openflow.api('GET', `/instances/${dev.id}/snapshots?kind=auto`)
    return items.some((it) => it.credentials === 1 && it.tabs === 3)
  })
})

test('promoted to another project’s instance, it runs there and uses its credential, under another key', async () => {
  snapshot = await openflow.api('POST', `/instances/${dev.id}/snapshots`, { name: 'release' })
  assert.deepEqual([snapshot.tabs, snapshot.credentials, snapshot.engine], [3, 1, 'n8n'])
  assert.ok(!JSON.stringify(await openflow.api('GET', `/snapshots/${snapshot.id}`)).includes(SECRET))
  const plan = await openflow.api('POST', `/snapshots/${snapshot.id}/restore?dryRun=true`, { instanceId: prod.id })
  assert.deepEqual(plan.blockers, [])
  assert.equal(plan.diff.tabs.added.length, 3)
  const before = startedAt(PROD)
  const seen = await over(await openflow.api('POST', `/snapshots/${snapshot.id}/restore`, { instanceId: prod.id }))
  assert.equal(seen.state, 'done', JSON.stringify(seen))
  await hears(PROD)
  assert.equal(startedAt(PROD), before)
  const [here, there] = [dev.id, prod.id].map((id) => database(id).credentials)
  assert.equal(there.length, 1)
  assert.notEqual(here[0], there[0])
})

test('with active: clear nothing of it runs', async () => {
  await over(await openflow.api('POST', `/snapshots/${snapshot.id}/restore`, { instanceId: prod.id, active: 'clear' }))
  const there = await Session.open(openflow, prod.id)
  const workflows = await there.rest('GET', '/workflows')
  assert.deepEqual(workflows.map((it) => it.active), [false, false, false])
  await until('the webhook to be gone', async () => (await ask(openflow, PROD, '/webhook/hello')).status === 404)
})

test('two snapshots are compared node by node', async () => {
  const { versionId, nodes, ...workflow } = await session.rest('GET', `/workflows/${ids.hello}`)
  const changed = nodes.map((it) => it.name === 'Say' ? { ...it, parameters: { ...it.parameters, jsonOutput: '{"says":"two"}' } } : it)
  const saved = await session.rest('PATCH', `/workflows/${ids.hello}`, { name: workflow.name, nodes: changed, connections: workflow.connections, versionId })
  await session.rest('POST', `/workflows/${ids.hello}/activate`, { versionId: saved.versionId })
  await says(openflow, DEV, 'hello', 'two')
  const later = await openflow.api('POST', `/instances/${dev.id}/snapshots`, { name: 'later' })
  const diff = await openflow.api('GET', `/snapshots/${snapshot.id}/diff?to=${later.id}`)
  const text = JSON.stringify(diff)
  assert.match(text, /jsonOutput/)
  assert.match(text, /"Say"/)
  assert.ok(!text.includes('"Ask"'), text)
  assert.ok(!text.includes(SECRET))
})

test('a stopped instance is kept too, and refuses to be restored into, with the reason', async () => {
  await stopped(prod.id)
  const kept = await openflow.api('POST', `/instances/${prod.id}/snapshots`, { name: 'asleep' })
  assert.deepEqual([kept.tabs, kept.credentials], [3, 1])
  const plan = await openflow.api('POST', `/snapshots/${snapshot.id}/restore?dryRun=true`, { instanceId: prod.id })
  assert.ok(plan.blockers.length > 0, JSON.stringify(plan))
  await assert.rejects(openflow.api('POST', `/snapshots/${snapshot.id}/restore`, { instanceId: prod.id }), /4\d\d .*(start|run)/i)
  assert.deepEqual(fs.readdirSync(folder(prod.id)).filter((it) => it.startsWith('.openflow')), [])
})

test('a backup while executions are written is good, and passes a rehearsal', async () => {
  await until('executions', async () => (await ask(openflow, DEV, '/webhook/hello')).status === 200)
  let calling = true
  let calls = 0
  const callers = Array.from({ length: CALLERS }, async () => {
    while (calling) {
      const answer = await ask(openflow, DEV, '/webhook/hello').catch(() => ({ status: 0 }))
      if (answer.status === 200) calls += 1
      else await sleep(50)
    }
  })
  const asked = await openflow.api('POST', `/instances/${dev.id}/backups`)
  backup = await until('the backup', async () => {
    const it = await openflow.api('GET', `/backups/${asked.id}`)
    return ['good', 'partial', 'failed'].includes(it.status) && it
  })
  const during = calls
  await until('it to be called on', () => calls > during + CALLERS)
  calling = false
  await Promise.all(callers)
  assert.equal(backup.status, 'good', JSON.stringify(backup))
  await openflow.api('POST', `/backups/${backup.id}/verify`)
  const { verification } = await until('the rehearsal', async () => {
    const it = await openflow.api('GET', `/backups/${backup.id}`)
    return it.verification.level === 'rehearsed' && !['pending', 'running'].includes(it.verification.status) && it
  }, 180_000)
  assert.equal(verification.status, 'good', JSON.stringify(verification))
  assert.equal(docker('ps', '-aq', '--filter', `label=openflow.rehearsal=${backup.id}`), '', 'nothing is left of it')
})

test('put back, everything is there', async () => {
  const before = database(dev.id)
  await session.change(ids.hello, saying('hello', 'three'))
  await says(openflow, DEV, 'hello', 'three')
  const seen = await over(await openflow.api('POST', `/backups/${backup.id}/restore`, {}))
  assert.equal(seen.state, 'done', JSON.stringify(seen))
  await openflow.running(dev.id)
  await says(openflow, DEV, 'hello', 'two')
  await hears(DEV)
  const now = database(dev.id)
  assert.deepEqual([now.check, now.workflows, now.credentials], ['ok', before.workflows, before.credentials])
  assert.ok(now.executions > 0)
})

test('a new instance made of it has every workflow and credential, under its own key', async () => {
  const restore = await openflow.api('POST', `/backups/${backup.id}/restore`, { newInstance: { name: 'Copy', subdomain: COPY } })
  made.push(restore.instanceId)
  const seen = await over(restore)
  assert.equal(seen.state, 'done', JSON.stringify(seen))
  await openflow.running(restore.instanceId)
  await says(openflow, COPY, 'hello', 'two')
  await hears(COPY)
  const [here, there] = [dev.id, restore.instanceId].map(database)
  assert.equal(there.check, 'ok')
  assert.deepEqual(there.workflows, here.workflows)
  assert.equal(there.credentials.length, 1)
  assert.notEqual(there.credentials[0], here.credentials[0])
  // A folder that starts again finds the key that it was left with.
  const again = startedAt(COPY)
  await openflow.api('POST', `/instances/${restore.instanceId}/restart`)
  await until('the restart', async () => startedAt(COPY) !== again && (await openflow.instance(restore.instanceId)).status === 'running')
  await hears(COPY)
})
