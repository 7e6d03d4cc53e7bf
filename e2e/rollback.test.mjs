// Snapshots as a flow builder meets them: the editor's button, and the way back to what ran before.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Openflow, curl, editorReady, launchBrowser, newPerson, reload, shot, until, visit } from './support.mjs'

const SUB = `e2e-back-${process.pid}`
const ADA = { email: 'ada@example.com', password: 'correct horse battery' }
const RESTORE_MS = 180_000
const BASIC = `Basic ${Buffer.from('u:p').toString('base64')}`

let openflow
let browser
let editor
let instance

/** `/hello` says which version it is; `/secret` what a node sends that has a password. */
const flows = (version) => [
  { id: 'tab', type: 'tab', label: 'Orders' },
  { id: 'in', type: 'http in', z: 'tab', x: 150, y: 100, name: version, url: '/hello', method: 'get', wires: [['say']] },
  { id: 'say', type: 'template', z: 'tab', x: 350, y: 100, field: 'payload', template: version, wires: [['out']] },
  { id: 'out', type: 'http response', z: 'tab', x: 550, y: 100, wires: [] },
  { id: 'in2', type: 'http in', z: 'tab', x: 150, y: 200, url: '/secret', method: 'get', wires: [['ask']] },
  { id: 'ask', type: 'http request', z: 'tab', x: 350, y: 200, method: 'GET', ret: 'txt', url: 'http://127.0.0.1:1880/api/echo', authType: 'basic', wires: [['out2']] },
  { id: 'out2', type: 'http response', z: 'tab', x: 550, y: 200, wires: [] },
  { id: 'in3', type: 'http in', z: 'tab', x: 150, y: 300, url: '/echo', method: 'get', wires: [['f3']] },
  { id: 'f3', type: 'function', z: 'tab', x: 350, y: 300, outputs: 1, func: 'msg.payload = msg.req.headers.authorization ?? "nothing"; return msg', wires: [['out3']] },
  { id: 'out3', type: 'http response', z: 'tab', x: 550, y: 300, wires: [] },
]

const body = (path) => {
  const { status, body } = curl(`${openflow.host(SUB)}${path}`)
  return status === 200 ? body : `status ${status}`
}

before(async () => {
  openflow = await Openflow.create('rollback')
  await openflow.start({ OPENFLOW_ADMIN_EMAIL: ADA.email, OPENFLOW_ADMIN_PASSWORD: ADA.password })
  openflow.token = await openflow.signInForToken(ADA.email, ADA.password)
  const project = await openflow.api('POST', '/projects', { name: 'Orders' })
  instance = await openflow.api('POST', `/projects/${project.id}/instances`, { name: 'Orders', subdomain: SUB })
  await openflow.running(instance.id)
  browser = await launchBrowser()
  editor = (await newPerson(browser)).page
  const { url } = await openflow.api('POST', `/instances/${instance.id}/launch`, {})
  await visit(editor, url)
  await editorReady(editor)
})

after(async () => {
  await shot(editor, 'rollback-end').catch(() => {})
  if (instance) {
    await openflow.api('DELETE', `/instances/${instance.id}`).catch(() => {})
    await openflow.gone(instance.id).catch(() => {})
  }
  await browser?.close()
  await openflow?.destroy()
})

/** As the editor deploys, with its sign-in. */
async function deploy(nodes) {
  const status = await editor.evaluate(async (nodes) => {
    const { rev } = await (await fetch('flows', { headers: { 'Node-RED-API-Version': 'v2' } })).json()
    const response = await fetch('flows', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'Node-RED-API-Version': 'v2' },
      body: JSON.stringify({ flows: nodes, rev }),
    })
    return response.status
  }, nodes)
  assert.equal(status, 200)
}

test('a deployed flow uses a credential', async () => {
  const nodes = flows('first').map((node) => (node.id === 'ask' ? { ...node, credentials: { user: 'u', password: 'p' } } : node))
  await deploy(nodes)
  await until('the flow', () => body('/hello') === 'first')
  assert.equal(body('/secret'), BASIC)
})

test('the deploy was kept by itself', async () => {
  const auto = await until('the automatic snapshot', async () => {
    const { items } = await openflow.api('GET', `/instances/${instance.id}/snapshots`)
    return items.find((it) => it.kind === 'auto')
  })
  assert.equal(auto.credentials >= 1, true, JSON.stringify(auto))
})

test('the button takes a snapshot', async () => {
  await reload(editor)
  await editorReady(editor)
  await editor.click('#openflow-snapshot-button')
  await editor.fill('#openflow-snapshot-name', 'Monday')
  await editor.click('#openflow-snapshot-take')
  await editor.locator('#openflow-snapshot-list li', { hasText: 'Monday' }).waitFor()
  await shot(editor, 'snapshot-taken')
  const { items } = await openflow.api('GET', `/instances/${instance.id}/snapshots?kind=manual`)
  assert.equal(items[0].name, 'Monday')
  await editor.keyboard.press('Escape')
})

test('rolled back, the first change is back and its credential works', async () => {
  // Another flow, and the password gone for good.
  const changed = flows('second').map((node) => (node.id === 'ask' ? { ...node, credentials: { user: '', password: '' } } : node))
  await deploy(changed)
  await until('the change', () => body('/hello') === 'second')
  assert.notEqual(body('/secret'), BASIC)
  await reload(editor)
  await editorReady(editor)
  await editor.click('#openflow-snapshot-button')
  await editor.locator('#openflow-snapshot-list li', { hasText: 'Monday' }).getByRole('button').click()
  await shot(editor, 'rollback-confirm')
  const reloaded = editor.waitForEvent('load', { timeout: RESTORE_MS })
  await editor.click('#openflow-rollback-confirm')
  await reloaded
  await editorReady(editor)
  await until('the first flow', () => body('/hello') === 'first')
  assert.equal(body('/secret'), BASIC)
  await until('the editor to show it', () => editor.evaluate(() => RED.nodes.node('in')?.name === 'first'))
  await shot(editor, 'rolled-back')
  const { items } = await openflow.api('GET', `/instances/${instance.id}/restores`)
  assert.equal(items[0].state, 'done')
  const kept = await openflow.api('GET', `/instances/${instance.id}/snapshots?kind=before-restore`)
  assert.equal(kept.items.length, 1, 'the way back to the second')
})
