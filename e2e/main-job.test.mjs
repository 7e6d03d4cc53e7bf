// The main job: from a bare installation to a signed-in editor on its own subdomain, and everything around it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Openflow, arrives, curl, docker, editorReady, launchBrowser, newPerson, reload, shot, until, visit } from './support.mjs'

const SUB = `e2e-${process.pid}`
const ALIAS = `e2e-shop-${process.pid}`
const ADA = { email: 'ada@example.com', name: 'Ada', password: 'correct horse battery' }
const VIC = { email: 'vic@example.com', name: 'Vic', password: 'staple battery horse' }
const MIA = { email: 'mia@example.com', name: 'Mia', password: 'horse staple correct' }

let openflow
let browser
let ada
let editor
let instance
let project
const sockets = []

before(async () => {
  openflow = await Openflow.create('main-job')
  await openflow.start()
  browser = await launchBrowser()
})

after(async () => {
  if (instance && openflow.token) {
    await openflow.api('DELETE', `/instances/${instance.id}`).catch(() => {})
    await openflow.gone(instance.id).catch(() => {})
  }
  await browser?.close()
  await openflow?.destroy()
})

const MOMENTS_MS = 30_000 // what people are promised within a second or so
const button = (page, name) => page.getByRole('button', { name, exact: true })

async function signIn(page, person) {
  await page.getByLabel('Email').fill(person.email)
  await page.getByLabel('Password').fill(person.password)
  await button(page, 'Sign in').click()
}

function watchSockets(context) {
  context.on('page', (page) => page.on('websocket', (socket) => {
    const state = { url: socket.url(), received: 0, closed: false }
    sockets.push(state)
    socket.on('framereceived', () => { state.received += 1 })
    socket.on('close', () => { state.closed = true })
  }))
}

test('the setup link makes the first administrator and signs them in', async () => {
  assert.ok(openflow.setupUrl, 'a setup link was printed')
  ada = await newPerson(browser)
  watchSockets(ada.context)
  await visit(ada.page, openflow.setupUrl)
  await ada.page.getByLabel('Your name').fill(ADA.name)
  await ada.page.getByLabel('Email').fill(ADA.email)
  await ada.page.getByLabel('Password').fill(ADA.password)
  await button(ada.page, 'Create administrator').click()
  await ada.page.getByRole('heading', { name: 'Projects', exact: true }).waitFor()
  await shot(ada.page, 'projects')
  // The link works once.
  const again = await fetch(`${openflow.origin}/api/v1/setup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token: new URL(openflow.setupUrl).searchParams.get('token'), ...VIC }),
  })
  assert.ok(again.status >= 400, String(again.status))
})

test('signing in again leads to the same place', async () => {
  await ada.context.clearCookies()
  await visit(ada.page, `${openflow.origin}/`)
  await arrives(ada.page, /\/login/)
  await signIn(ada.page, ADA)
  await ada.page.getByRole('heading', { name: 'Projects', exact: true }).waitFor()
  openflow.token = await openflow.signInForToken(ADA.email, ADA.password)
  project = (await openflow.api('GET', '/projects')).items[0]
})

test('an instance is created from a template and runs', async () => {
  await ada.page.getByRole('link', { name: new RegExp(project.name) }).first().click()
  await ada.page.getByRole('button', { name: /New instance|Create.*instance/ }).first().click()
  await ada.page.getByLabel('Name', { exact: true }).fill('Workflow one')
  await ada.page.getByLabel('Subdomain').fill(SUB)
  await ada.page.getByLabel('Start from').selectOption({ label: 'Blank Node-RED' })
  await button(ada.page, 'Create instance').click()
  await ada.page.getByText('Running', { exact: true }).first().waitFor()
  await shot(ada.page, 'instance')
  instance = (await openflow.api('GET', `/projects/${project.id}/instances`)).items[0]
  assert.equal(instance.url, openflow.host(SUB))
})

test('one click opens the editor, signed in, its socket connected', async () => {
  const opening = ada.context.waitForEvent('page')
  await ada.page.getByRole('link', { name: /Open editor/ }).first().click()
  editor = await opening
  await editorReady(editor)
  await until('the socket', () => sockets.some((it) => it.url.endsWith('/comms') && it.received > 0))
  assert.equal(editor.url().split('#')[0], `${openflow.host(SUB)}/`)
  await editor.click('#red-ui-header-button-user')
  await editor.getByText('Ada').first().waitFor()
  await editor.keyboard.press('Escape')
  const cookies = await ada.context.cookies(openflow.host(SUB))
  const cookie = cookies.find((it) => it.name === 'openflow_token')
  assert.ok(cookie?.httpOnly && cookie.sameSite === 'Lax', JSON.stringify(cookies))
  const magic = /OPENFLOW_MAGIC_TOKEN=(\S+)/.exec(docker('inspect', `nodered-${SUB}`))[1].replace(/",?$/, '')
  assert.ok(magic.length > 30 && !cookie.value.includes(magic), 'the magic token stays behind')
  await shot(editor, 'editor')
})

test('a deployed flow answers at both addresses', async () => {
  await editor.evaluate(() => {
    const tab = RED.workspaces.active()
    RED.view.importNodes(JSON.stringify([
      { id: 'h1', type: 'http in', z: tab, name: '', url: '/hello', method: 'get', x: 200, y: 160, wires: [['f1']] },
      { id: 'f1', type: 'function', z: tab, name: 'fn', outputs: 1, x: 400, y: 160, wires: [['r1']],
        func: 'msg.payload={hello:"world",magic:env.get("OPENFLOW_MAGIC_TOKEN")||null,cookie:msg.req.headers.cookie||null,identity:msg.req.headers["x-openflow-identity"]||null};return msg;' },
      { id: 'r1', type: 'http response', z: tab, name: '', x: 600, y: 160, wires: [] },
    ]), { addFlow: false, touchImport: true, generateIds: false })
    RED.nodes.dirty(true)
  })
  await editor.mouse.move(800, 500)
  await editor.mouse.click(800, 500) // puts the imported nodes down
  await editor.click('#red-ui-header-button-deploy')
  const answer = await until('the flow', () => {
    const it = curl(`${openflow.host(SUB)}/hello`)
    return it.status === 200 && it
  })
  assert.deepEqual(JSON.parse(answer.body), { hello: 'world', magic: null, cookie: null, identity: null })
  assert.equal(curl(`${openflow.host(SUB)}/api/hello`).status, 200)
  assert.equal(curl(`${openflow.host(SUB)}/api/nothing`).status, 404)
  assert.equal(curl(`${openflow.host(SUB)}/flows`).status, 401, 'the editor is closed to strangers')
})

test('an alias answers at once and restarts nothing', async () => {
  const before = docker('inspect', '-f', '{{.State.StartedAt}}', `nodered-${SUB}`)
  const made = await openflow.api('POST', `/instances/${instance.id}/aliases`, { name: ALIAS })
  assert.equal(made.restartNeeded, false)
  const answer = await until('the alias', () => {
    const it = curl(`${openflow.host(ALIAS)}/hello`)
    return it.status === 200 && it
  }, MOMENTS_MS)
  assert.equal(answer.status, 200)
  assert.equal(docker('inspect', '-f', '{{.State.StartedAt}}', `nodered-${SUB}`), before)
})

test('after a restart the editor session still works', async () => {
  const before = (await openflow.instance(instance.id)).startedAt
  await openflow.api('POST', `/instances/${instance.id}/restart`)
  await until('the restart', async () => {
    const it = await openflow.instance(instance.id)
    return it.status === 'running' && it.startedAt !== before
  })
  await until('the route', () => curl(`${openflow.host(SUB)}/hello`).status === 200) // it follows the status within moments
  await reload(editor)
  await editorReady(editor)
  assert.equal(editor.url().split('#')[0], `${openflow.host(SUB)}/`)
  assert.equal(curl(`${openflow.host(SUB)}/hello`).status, 200)
})

test('after Ctrl-C and another start everything is adopted', async () => {
  const before = docker('inspect', '-f', '{{.State.StartedAt}}', `nodered-${SUB}`)
  const ended = await openflow.stop('SIGINT')
  assert.equal(ended.code, 0)
  assert.equal(docker('inspect', '-f', '{{.State.Running}}', `nodered-${SUB}`), 'true')
  await openflow.start()
  await openflow.running(instance.id)
  assert.equal(docker('inspect', '-f', '{{.State.StartedAt}}', `nodered-${SUB}`), before)
  await until('the route', () => curl(`${openflow.host(SUB)}/hello`).status === 200)
  await reload(editor)
  await editorReady(editor)
})

test('a viewer looks and cannot deploy', async () => {
  await openflow.api('POST', '/users', { ...VIC })
  await openflow.api('POST', `/projects/${project.id}/members`, { email: VIC.email, role: 'viewer' })
  const { context, page } = await newPerson(browser)
  await visit(page, openflow.host(SUB)) // without a session: sent to the dashboard, and back after signing in
  await arrives(page, /\/login/)
  await signIn(page, VIC)
  await editorReady(page)
  assert.equal(page.url().split('#')[0], `${openflow.host(SUB)}/`)
  const status = await page.evaluate(async () => (await fetch('/flows', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '[]' })).status)
  assert.ok(status === 401 || status === 403, String(status))
  await shot(page, 'viewer')
  assert.equal(curl(`${openflow.host(SUB)}/hello`).status, 200)
  await context.close()
})

test('a removed member is out, with the socket', async () => {
  await openflow.api('POST', '/users', { ...MIA })
  const mia = (await openflow.api('POST', `/projects/${project.id}/members`, { email: MIA.email, role: 'member' })).userId
  const { context, page } = await newPerson(browser)
  const own = []
  page.on('websocket', (socket) => {
    const state = { closed: false }
    own.push(state)
    socket.on('close', () => { state.closed = true })
  })
  await visit(page, openflow.host(SUB))
  await arrives(page, /\/login/)
  await signIn(page, MIA)
  await editorReady(page)
  await until('the socket', () => own.length > 0)
  await openflow.api('DELETE', `/projects/${project.id}/members/${mia}`)
  await until('the socket to close', () => own.every((it) => it.closed), MOMENTS_MS)
  // The editor tries to connect again, and may go elsewhere by itself.
  await until('the editor’s API to be closed', () => page.evaluate(async () => (await fetch('/flows')).status === 401), MOMENTS_MS)
  await visit(page, openflow.host(SUB))
  await arrives(page, /\/launch\//)
  await page.getByText(/no such instance|not found|does not exist|no access/i).first().waitFor()
  await shot(page, 'removed')
  await context.close()
})

test('deleting asks for the name, and leaves nothing', async () => {
  await visit(ada.page, `${openflow.origin}/instances/${instance.id}/settings`)
  await ada.page.getByRole('button', { name: /Delete instance…/ }).click()
  const confirm = ada.page.getByRole('dialog').getByRole('button', { name: 'Delete instance' })
  await ada.page.getByRole('dialog').getByRole('textbox').fill('Workflow one')
  await shot(ada.page, 'delete')
  await confirm.click()
  await openflow.gone(instance.id)
  assert.match(docker('inspect', `nodered-${SUB}`), /No such/)
  await until('the route to be gone', () => curl(`${openflow.host(SUB)}/hello`).status === 404, MOMENTS_MS)
  const audit = (await openflow.api('GET', `/audit?projectId=${project.id}&limit=200`)).items.map((it) => it.action)
  for (const action of ['instance.create', 'editor.open', 'instance.alias_add', 'instance.restart', 'instance.delete']) {
    assert.ok(audit.includes(action), `${action} in ${audit}`)
  }
  instance = undefined
})
