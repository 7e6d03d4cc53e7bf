// The dashboard on the real stack, as people use it: a snapshot and its file, a promotion, a backup and where it goes,
// and what a viewer finds.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Openflow, arrives, curl, docker, launchBrowser, newPerson, shot, until, visit } from './support.mjs'

const WORK_MS = 240_000 // a container is made, started and tried
const PASSWORD = 'correct horse battery'
const ADA = { OPENFLOW_ADMIN_EMAIL: 'ada@example.com', OPENFLOW_ADMIN_PASSWORD: PASSWORD }
const [DEV, PROD, COPY] = ['dev', 'prod', 'copy'].map((it) => `e2e-dash-${it}-${process.pid}`)

let openflow
let browser
let ada
let plant
let lab
let dev
let prod
/** Script errors, and what the Content-Security-Policy refused. */
const complaints = []

before(async () => {
  openflow = await Openflow.create('dashboard')
  await openflow.start(ADA)
  openflow.token = await openflow.signInForToken(ADA.OPENFLOW_ADMIN_EMAIL, PASSWORD)
  plant = await openflow.api('POST', '/projects', { name: 'Plant' })
  lab = await openflow.api('POST', '/projects', { name: 'Lab' })
  await openflow.api('POST', '/users', { email: 'cleo@example.com', name: 'Cleo', password: PASSWORD })
  await openflow.api('POST', `/projects/${plant.id}/members`, { email: 'cleo@example.com', role: 'viewer' })
  await until('the stack to be ready', async () => {
    const stacks = await openflow.api('GET', '/stacks')
    return stacks.items.some((it) => it.status === 'ready' && it.isDefault && it.engine === 'node-red')
  })
  const templates = await openflow.api('GET', '/templates')
  const webhook = templates.items.find((it) => it.name === 'Webhook').id
  const made = await Promise.all([
    openflow.api('POST', `/projects/${plant.id}/instances`, { name: 'Development', subdomain: DEV, template: webhook }),
    openflow.api('POST', `/projects/${plant.id}/instances`, { name: 'Production', subdomain: PROD }),
  ])
  ;[dev, prod] = await Promise.all(made.map((it) => openflow.running(it.id)))
  browser = await launchBrowser()
  ada = await signedIn('ada@example.com')
})

after(async () => {
  await browser?.close()
  for (const name of [DEV, PROD, COPY]) docker('rm', '-f', `nodered-${name}`)
  await openflow?.destroy()
})

async function signedIn(email) {
  const { page } = await newPerson(browser)
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => /Content Security Policy/i.test(message.text()) && complaints.push(message.text()))
  await visit(page, `${openflow.origin}/login`)
  await page.getByLabel('Email').or(page.getByLabel('E-mail')).fill(email)
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'Projects', exact: true }).waitFor()
  return page
}

const go = (page, path) => visit(page, openflow.origin + path)
const button = (scope, name) => scope.getByRole('button', { name, exact: true })
const row = (name) => ada.getByTestId('snapshot').filter({ hasText: name })
const dialog = () => ada.getByRole('dialog')
const visible = (locator, timeout) => locator.waitFor({ state: 'visible', timeout })
/** So many of them, and no more: they come by requests of their own. */
const counts = (number, locator) => until(`${number} of ${locator}`, async () => (await locator.count()) === number)
const answers = (subdomain) => until(`${subdomain} to answer`, () => curl(`${openflow.host(subdomain)}/api/hello`).status === 200)

async function choose(scope, action) {
  await scope.getByRole('button', { name: /^More for/ }).click()
  await ada.getByRole('menuitem', { name: action }).click()
}

/** A test whose failure leaves a picture. */
const see = (name, perform) =>
  test(name, async () => {
    try {
      await perform()
    } catch (error) {
      await shot(ada, 'dashboard-failed')
      throw error
    }
  })

see('a snapshot is taken once by a double click, and its file comes back by its passphrase alone', async () => {
  await go(ada, `/instances/${dev.id}/snapshots`)
  await button(ada, 'Take snapshot').first().click()
  await dialog().getByLabel('Name').fill('Ready')
  await button(dialog(), 'Take snapshot').dblclick()
  await visible(row('Ready').getByText(/\d nodes on 1 tab/))
  await counts(1, row('Ready'))

  await choose(row('Ready'), 'Export…')
  for (const label of ['Passphrase', 'The same again']) await dialog().getByLabel(label).fill('a long passphrase')
  const [download] = await Promise.all([ada.waitForEvent('download'), button(dialog(), 'Export').click()])
  await button(ada, 'Import…').click()
  await dialog().getByLabel('File').setInputFiles(await download.path())
  await dialog().getByLabel('Its passphrase').fill('another passphrase')
  await button(dialog(), 'Import').click()
  await visible(dialog().getByText('The passphrase is wrong, or somebody changed the file.'))
  await dialog().getByLabel('Its passphrase').fill('a long passphrase')
  await dialog().getByLabel('Name').fill('From the file')
  await button(dialog(), 'Import').click()
  await visible(row('From the file'))
  await ada.getByRole('link', { name: 'Compare From the file' }).click()
  await visible(ada.getByText('Both are the same.'))
})

see('a stage is promoted to the next, and its webhook answers there', async () => {
  await go(ada, `/projects/${plant.id}/pipelines?new=1`)
  await dialog().getByLabel('Name').fill('Line')
  for (const label of [`Development (${DEV})`, `Production (${PROD})`]) await dialog().getByLabel('Add a stage').selectOption({ label })
  await button(dialog(), 'Create pipeline').dblclick()
  await button(ada, 'Promote Development to Production').click()
  await visible(dialog().getByTestId('plan').getByText('1 tab added', { exact: false }))
  await button(dialog(), 'Promote').dblclick()
  await arrives(ada, new RegExp(`/instances/${prod.id}/snapshots$`))
  await visible(ada.getByTestId('restore').getByText('Restored the snapshot', { exact: false }), WORK_MS)
  await counts(1, ada.getByTestId('past-restore'))
  await answers(PROD)
})

see('a backup is made, tried, and becomes an instance of another project', async () => {
  await go(ada, `/instances/${dev.id}/backups`)
  await button(ada, 'Back up now').first().dblclick()
  const backup = ada.getByTestId('backup')
  await visible(backup.getByText('Read back', { exact: false }), WORK_MS)
  await counts(1, backup)
  await choose(backup, 'Verify now')
  await visible(backup.getByText('Rehearsed', { exact: false }), WORK_MS)

  await backup.getByRole('button', { name: /^Restore/ }).click()
  await dialog().getByLabel('Into a new instance').check()
  await dialog().getByLabel('Project').selectOption({ label: 'Lab' })
  await dialog().getByLabel('Subdomain').fill(PROD)
  await button(dialog(), 'Make the instance').click()
  await visible(dialog().getByText(`${PROD} is taken`, { exact: false }))
  await dialog().getByLabel('Subdomain').fill(COPY)
  await button(dialog(), 'Make the instance').dblclick()
  await visible(ada.getByRole('heading', { name: 'Development (restored)' }))
  await visible(ada.getByRole('link', { name: 'Lab', exact: true }))
  await visible(ada.getByTestId('restore').getByText('Restored the backup', { exact: false }), WORK_MS)
  await answers(COPY)
  const { items } = await openflow.api('GET', `/projects/${lab.id}/instances`)
  assert.deepEqual(items.map((it) => it.subdomain), [COPY])
})

test('a viewer looks and compares, and is offered nothing that would be refused', async () => {
  const page = await signedIn('cleo@example.com')
  const refused = []
  page.on('response', (response) => response.status() === 403 && refused.push(response.url()))
  for (const [path, there] of [
    [`/instances/${dev.id}/snapshots`, 'snapshot'],
    [`/instances/${dev.id}/backups`, 'backup'],
    [`/projects/${plant.id}/pipelines`, 'pipeline'],
    [`/projects/${plant.id}/backups`, 'backup'],
  ]) {
    await go(page, path)
    await visible(page.getByTestId(there).first())
    const offered = /^(Take|Import|Restore |Promote|New|Edit|Delete|Back up|Upload|Schedule)/
    assert.equal(await page.getByRole('main').getByRole('button', { name: offered }).count(), 0, path)
  }
  await go(page, `/instances/${dev.id}/snapshots`)
  await page.getByRole('link', { name: 'Compare Ready' }).click()
  await visible(page.getByText('Both are the same.'))
  assert.deepEqual(refused, [])
  assert.deepEqual(complaints, [])
})
