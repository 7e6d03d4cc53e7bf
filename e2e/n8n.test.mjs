// n8n as people meet it: one click to its editor, a webhook that answers, who gets in and who does not, what passes the proxy.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { Session, ask, container, pieces, returning, saying, says, startedAt, streaming } from './n8n.mjs'
import { Openflow, arrives, curl, docker, launchBrowser, loaded, newPerson, shot, until, visit } from './support.mjs'

const SUB = `e2e-n8n-${process.pid}`
const ADA = { email: 'ada@example.com', name: 'Ada', password: 'correct horse battery' }
const VIC = { email: 'vic@example.com', name: 'Vic', password: 'staple battery horse' }
const MIA = { email: 'mia@example.com', name: 'Mia', password: 'horse staple correct' }
const UPLOAD_BYTES = 50 << 20
const OUT_MS = 30_000

let openflow
let browser
let project
let instance
let ada
let session
let workflowId

before(async () => {
  openflow = await Openflow.create('n8n')
  await openflow.start({ OPENFLOW_ADMIN_EMAIL: ADA.email, OPENFLOW_ADMIN_PASSWORD: ADA.password })
  openflow.token = await openflow.signInForToken(ADA.email, ADA.password)
  const stack = await until('the stack', async () => (await openflow.api('GET', '/stacks')).items.find((it) => it.engine === 'n8n' && it.status === 'ready'))
  assert.equal(stack.isDefault, true)
  project = (await openflow.api('GET', '/projects')).items[0]
  instance = await openflow.api('POST', `/projects/${project.id}/instances`, { name: 'Shop', subdomain: SUB, stack: stack.id })
  browser = await launchBrowser()
  await openflow.running(instance.id)
})

after(async () => {
  if (instance) {
    await openflow.api('DELETE', `/instances/${instance.id}`).catch(() => {})
    await openflow.gone(instance.id).catch(() => {})
  }
  await browser?.close()
  await openflow?.destroy()
})

/** A browser of their own, which remembers its sockets. */
async function person() {
  const it = await newPerson(browser)
  it.sockets = []
  it.page.on('websocket', (socket) => {
    const state = { url: socket.url(), closed: false, frames: [] }
    it.sockets.push(state)
    socket.on('framereceived', ({ payload }) => state.frames.push(String(payload)))
    socket.on('close', () => { state.closed = true })
  })
  it.isLive = () => it.sockets.some((socket) => socket.url.includes('/rest/push') && !socket.closed)
  return it
}

/** From the dashboard's sign-in page, where the instance's own address leads strangers. */
async function comeIn(page, { email, password }) {
  await visit(page, openflow.host(SUB))
  await arrives(page, /\/login/)
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
}

/** What the person's page sends along, to ask without the page. */
async function headersOf({ context }) {
  const { name, value } = (await context.cookies(openflow.host(SUB))).find((it) => it.name === 'openflow_token')
  return { cookie: `${name}=${value}`, origin: openflow.host(SUB) }
}

/** n8n's editor as it is used, on its first page or on a workflow's. */
const editorReady = (page, sign = '[data-test-id="project-home-menu-item"]') => loaded(page, sign, 'n8n')

const openWorkflow = async (page) => {
  await visit(page, `${openflow.host(SUB)}/workflow/${workflowId}`)
  await editorReady(page, '[data-test-id="canvas-node"]')
}

test('the launch link leads into the editor, signed in, with nothing typed', async () => {
  ada = await person()
  const { url } = await openflow.api('POST', `/instances/${instance.id}/launch`, {})
  await visit(ada.page, url)
  await editorReady(ada.page)
  assert.equal(await ada.page.locator('#openflow-person').innerText(), 'ada')
  assert.equal(await ada.page.locator('input[type=password]').count(), 0)
  assert.ok(!ada.page.url().includes('access_token'), ada.page.url())
  const names = (await ada.context.cookies(openflow.host(SUB))).map((it) => it.name)
  assert.ok(names.includes('openflow_token') && !names.includes('n8n-auth'), String(names))
  await shot(ada.page, 'n8n-editor')
})

test('a workflow with a webhook, made and activated, answers; the editor hears of it', async () => {
  session = await Session.open(openflow, instance.id)
  const made = await session.rest('POST', '/workflows', saying('x', 'one'))
  workflowId = made.id
  await openWorkflow(ada.page)
  await until('the push connection', ada.isLive)
  await session.rest('POST', `/workflows/${workflowId}/activate`, { versionId: made.versionId })
  await says(openflow, SUB, 'x', 'one')
  await until('the editor to hear of it', () => ada.sockets.some((it) => it.frames.some((frame) => frame.includes(workflowId))))
  assert.equal(curl(`${openflow.host(SUB)}/webhook/x`).status, 200)
  assert.equal(curl(`${openflow.host(SUB)}/webhook/nothing`).status, 404)
})

test('webhooks, links and the editor are named by the public address', async () => {
  const settings = await session.rest('GET', '/settings')
  assert.equal(settings.urlBaseWebhook, `${openflow.host(SUB)}/`)
  assert.equal(settings.urlBaseEditor.replace(/\/$/, ''), openflow.host(SUB))
})

test('strangers reach webhooks, and neither the editor, its API, n8n’s own sign-in form nor its figures', async () => {
  const page = await ask(openflow, SUB, '/', { headers: { accept: 'text/html' } })
  assert.match(`${page.status} ${page.headers.location}`, /^30\d .*\/launch\//)
  for (const path of ['/rest/workflows', '/rest/settings', '/rest/push?pushRef=a', '/types/nodes.json']) {
    assert.equal((await ask(openflow, SUB, path)).status, 401, path)
  }
  const login = await ask(openflow, SUB, '/rest/login', { method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ emailOrLdapLoginId: 'owner@openflow.invalid', password: 'x' }) })
  assert.ok([401, 403].includes(login.status), String(login.status))
  const form = await ask(openflow, SUB, '/signin', { headers: { accept: 'text/html' } })
  assert.match(`${form.status} ${form.headers.location}`, /^30\d .*\/launch\//)
  for (const path of ['/metrics', '/Metrics/', '/openflow/content', '/openflow/awake']) {
    assert.ok([401, 404].includes((await ask(openflow, SUB, path)).status), path)
    assert.equal((await session.ask('GET', path)).status, 404, path)
  }
  assert.equal((await session.ask('POST', '/rest/login', { emailOrLdapLoginId: 'a', password: 'b' })).status, 403)
  assert.equal((await session.ask('POST', '/rest/owner/setup', {})).status, 403)
  assert.match((await session.ask('GET', '/signin', undefined, { accept: 'text/html' })).headers.location, /\/openflow\/logout/)
})

test('the container’s description shows no encryption key', async () => {
  const inspected = docker('inspect', container(SUB))
  const key = docker('exec', container(SUB), 'cat', '/run/openflow/encryption_key')
  assert.ok(key.length > 30 && !key.startsWith('error'), 'control: it is in the secret file')
  assert.ok(!inspected.includes(key) && !inspected.includes('N8N_ENCRYPTION_KEY'), inspected)
})

test('50 MB go up and come back; an answer that streams comes in pieces', async () => {
  await session.publish(returning('file'))
  await session.publish(streaming('stream'))
  const bytes = randomBytes(UPLOAD_BYTES)
  const send = () => ask(openflow, SUB, '/webhook/file', { method: 'POST', headers: { 'content-type': 'application/octet-stream' }, body: bytes })
  const back = await until('the file', async () => {
    const answer = await send()
    return answer.status !== 404 && answer
  })
  assert.equal(back.status, 200, back.body.slice(0, 300))
  assert.ok(back.bytes.equals(bytes), `${back.bytes.length} bytes came back`)
  const parts = await until('the stream', () => pieces(openflow, SUB, '/webhook/stream'))
  const partWith = (text) => parts.findIndex((it) => it.text.includes(text))
  assert.ok(partWith('first') >= 0 && partWith('first') < partWith('second'), JSON.stringify(parts))
  assert.equal((await openflow.instance(instance.id)).status, 'running')
})

test('after a restart the session holds, and the webhook answers', async () => {
  const before = startedAt(SUB)
  await openflow.api('POST', `/instances/${instance.id}/restart`)
  await until('the restart', async () => startedAt(SUB) !== before && (await openflow.instance(instance.id)).status === 'running')
  await says(openflow, SUB, 'x', 'one')
  await openWorkflow(ada.page)
  await until('the push connection', ada.isLive)
  assert.equal((await session.rest('GET', '/workflows')).length, 3)
})

test('the editor’s button Snapshot: kept, changed, rolled back from the list, without a restart', async () => {
  const before = startedAt(SUB)
  const { page } = ada
  await page.click('#openflow-snapshot-button')
  await page.fill('#openflow-snapshot-name', 'First state')
  await page.click('#openflow-snapshot-take')
  const row = page.locator('#openflow-snapshot-list li', { hasText: 'First state' })
  await row.waitFor()
  const { items: [kept] } = await openflow.api('GET', `/instances/${instance.id}/snapshots?kind=manual`)
  assert.deepEqual([kept.name, kept.author, kept.tabs], ['First state', 'ada', 3])
  await session.change(workflowId, saying('x', 'two'))
  await says(openflow, SUB, 'x', 'two')
  await shot(page, 'n8n-snapshots')
  await row.getByRole('button', { name: 'Roll back' }).click()
  await page.click('#openflow-rollback-confirm')
  await says(openflow, SUB, 'x', 'one')
  await until('the rollback to be on record', async () => (await openflow.api('GET', `/audit?projectId=${project.id}&action=instance.restored`)).items.length === 1)
  const workflow = await session.rest('GET', `/workflows/${workflowId}`)
  assert.equal(workflow.active, true)
  assert.equal(startedAt(SUB), before)
})

test('a viewer reads why the editor is closed to them', async () => {
  await openflow.api('POST', '/users', { ...VIC })
  await openflow.api('POST', `/projects/${project.id}/members`, { email: VIC.email, role: 'viewer' })
  const vic = await person()
  await comeIn(vic.page, VIC)
  await vic.page.getByText('Your role here is viewer').waitFor()
  const headers = await headersOf(vic)
  for (const path of ['/rest/workflows', '/rest/login', '/rest/push?pushRef=a']) {
    assert.equal((await ask(openflow, SUB, path, { headers })).status, 403, path)
  }
  await shot(vic.page, 'n8n-viewer')
  await vic.context.close()
})

test('a removed member is out, with the socket', async () => {
  await openflow.api('POST', '/users', { ...MIA })
  const { userId } = await openflow.api('POST', `/projects/${project.id}/members`, { email: MIA.email, role: 'member' })
  const mia = await person()
  await comeIn(mia.page, MIA)
  await editorReady(mia.page)
  assert.equal(await mia.page.locator('#openflow-person').innerText(), MIA.name)
  await openWorkflow(mia.page)
  await until('the push connection', mia.isLive)
  const headers = await headersOf(mia)
  assert.equal((await ask(openflow, SUB, '/rest/workflows', { headers })).status, 200)
  await openflow.api('DELETE', `/projects/${project.id}/members/${userId}`)
  await until('the socket to close', () => !mia.isLive(), OUT_MS)
  await until('the API to be closed', async () => (await ask(openflow, SUB, '/rest/workflows', { headers })).status === 401, OUT_MS)
  await visit(mia.page, openflow.host(SUB))
  await arrives(mia.page, /\/launch\//)
  await mia.context.close()
})
