// Snapshots on the real stack: a deploy is kept, and flows go from dev to prod in another project, where they use their
// credential under another secret.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { Openflow, curl, docker, until } from './support.mjs'

const ADA = { OPENFLOW_ADMIN_EMAIL: 'ada@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const DEV = `e2e-dev-${process.pid}`
const PROD = `e2e-prod-${process.pid}`
const PASSWORD = `secret-${randomUUID()}`

let openflow
let dev
let prod

before(async () => {
  openflow = await Openflow.create('snapshots')
  await openflow.start(ADA)
  openflow.token = await openflow.signInForToken(ADA.OPENFLOW_ADMIN_EMAIL, ADA.OPENFLOW_ADMIN_PASSWORD)
  await until('a stack to be ready', async () => {
    const stacks = await openflow.api('GET', '/stacks')
    return stacks.items.some((it) => it.status === 'ready')
  })
})

after(async () => {
  for (const it of [dev, prod].filter(Boolean)) {
    await openflow.api('DELETE', `/instances/${it.id}`).catch(() => {})
    await openflow.gone(it.id).catch(() => {})
  }
  await openflow?.destroy()
})

/** Calls a webhook that asks itself with basic authentication, and says what it was told. */
const flows = (answer) => [
  { id: 'tab1', type: 'tab', label: 'Line' },
  { id: 'in1', type: 'http in', z: 'tab1', url: '/ask', method: 'get', wires: [['fn1']] },
  { id: 'fn1', type: 'function', z: 'tab1', func: "msg.url = 'http://127.0.0.1:1880/api/whoami'; return msg;", outputs: 1, wires: [['rq1']] },
  { id: 'rq1', type: 'http request', z: 'tab1', method: 'GET', ret: 'txt', url: '', authType: 'basic', wires: [['out1']] },
  { id: 'out1', type: 'http response', z: 'tab1', wires: [] },
  { id: 'in2', type: 'http in', z: 'tab1', url: '/whoami', method: 'get', wires: [['fn2']] },
  { id: 'fn2', type: 'function', z: 'tab1', outputs: 1, wires: [['out1']],
    func: `msg.payload = '${answer} ' + Buffer.from(msg.req.headers.authorization.split(' ')[1], 'base64').toString(); return msg;` },
]

async function deploy(it, name, answer) {
  const magic = docker('inspect', '-f', '{{range .Config.Env}}{{println .}}{{end}}', `nodered-${name}`)
    .split('\n').find((line) => line.startsWith('OPENFLOW_MAGIC_TOKEN=')).split('=').slice(1).join('=')
  const address = docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', `nodered-${name}`).trim()
  const nodes = flows(answer).map((node) => node.id === 'rq1' ? { ...node, credentials: { user: 'ada', password: PASSWORD } } : node)
  const status = await new Promise((resolve, reject) => {
    const request = http.request(`http://${address}:1880/flows`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${magic}` },
    }, (response) => { response.resume(); resolve(response.statusCode) })
    request.on('error', reject)
    request.end(JSON.stringify(nodes))
  })
  assert.equal(status, 204)
}

const ask = async (name) => (await curl(openflow.host(name) + '/ask')).body

async function over(restore) {
  return until('the restore to be over', async () => {
    const seen = await openflow.api('GET', `/restores/${restore.id}`)
    return seen.finishedAt && seen
  })
}

test('dev and prod run, in two projects', async () => {
  const [home] = (await openflow.api('GET', '/projects')).items
  const other = await openflow.api('POST', '/projects', { name: 'Production' })
  dev = await openflow.api('POST', `/projects/${home.id}/instances`, { name: 'dev', subdomain: DEV })
  prod = await openflow.api('POST', `/projects/${other.id}/instances`, { name: 'prod', subdomain: PROD })
  await openflow.running(dev.id)
  await openflow.running(prod.id)
  await deploy(dev, DEV, 'one')
  await until('the flow to answer', async () => (await ask(DEV)) === `one ada:${PASSWORD}`)
})

test('the deploy was kept by itself', async () => {
  const [kept] = await until('an automatic snapshot', async () => {
    const { items } = await openflow.api('GET', `/instances/${dev.id}/snapshots?kind=auto`)
    return items.some((it) => it.credentials > 0) && items
  })
  assert.equal(kept.tabs, 1)
})

test('promoted to prod, the flow answers there and uses its credential', async () => {
  const snapshot = await openflow.api('POST', `/instances/${dev.id}/snapshots`, { name: 'release' })
  assert.ok(!JSON.stringify(await openflow.api('GET', `/snapshots/${snapshot.id}`)).includes(PASSWORD))
  const body = { instanceId: prod.id }
  const plan = await openflow.api('POST', `/snapshots/${snapshot.id}/restore?dryRun=true`, body)
  assert.deepEqual(plan.blockers, [])
  assert.equal(plan.diff.tabs.added[0].label, 'Line')
  const restore = await openflow.api('POST', `/snapshots/${snapshot.id}/restore`, body)
  assert.equal((await over(restore)).state, 'done')
  await openflow.running(prod.id)
  await until('the promoted flow to answer', async () => (await ask(PROD)) === `one ada:${PASSWORD}`)
})

test('what was there before a restore is kept', async () => {
  const snapshot = await openflow.api('POST', `/instances/${dev.id}/snapshots`, { name: 'again' })
  await deploy(prod, PROD, 'changed')
  await until('the changed flow to answer', async () => (await ask(PROD)) === `changed ada:${PASSWORD}`)
  const restore = await openflow.api('POST', `/snapshots/${snapshot.id}/restore`, { instanceId: prod.id })
  assert.equal((await over(restore)).state, 'done')
  await until('what was promoted to answer again', async () => (await ask(PROD)) === `one ada:${PASSWORD}`)
  const { items } = await openflow.api('GET', `/instances/${prod.id}/snapshots?kind=before-restore`)
  assert.equal(items.length, 2)
})
