// Snapshots, their comparison, restores and pipelines, as smoke.test.mjs.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { signIn } from '../mock/browser.mjs'
import { begin, button, finish, go, mock, page, visible } from './support.mjs'

const byName = (name) => mock.state.instances.find((one) => one.name === name)
const line1 = () => byName('Line 1 telemetry')
const dialog = () => page.getByRole('dialog')
const row = (name) => page.getByTestId('snapshot').filter({ hasText: name })
const openList = (instance = line1()) => go(`/instances/${instance.id}/snapshots`)
const FAIR = 'Before the trade fair'

async function enter(email) {
  await begin()
  await go('/login')
  await signIn(page, email)
  await visible(page.getByRole('heading', { name: 'Projects' }))
}
async function choose(action, name = FAIR) {
  await page.getByRole('button', { name: `More for ${name}` }).click()
  await page.getByRole('menuitem', { name: action }).click()
}

describe('snapshots', () => {
  beforeEach(() => enter())
  afterEach(finish)

  test('one is taken once, even by a double click, renamed and deleted', async () => {
    let posts = 0
    page.on('request', (request) => (posts += request.method() === 'POST' && request.url().endsWith('/snapshots') ? 1 : 0))
    await go(`/instances/${line1().id}`)
    await page.getByRole('link', { name: 'Snapshots', exact: true }).click()
    await button('Take snapshot').click()
    await dialog().getByLabel('Name').fill('Press 5 added')
    await dialog().getByLabel('Description').fill('Ready for the acceptance test')
    await button('Take snapshot', dialog()).dblclick()
    await visible(row('Press 5 added').getByText('Ready for the acceptance test'))
    assert.equal(posts, 1)

    await choose('Rename…', 'Press 5 added')
    await dialog().getByLabel('Name').fill('Press 5 accepted')
    await button('Save', dialog()).click()
    await visible(row('Press 5 accepted'))

    await choose('Delete…', 'Press 5 accepted')
    await button('Delete snapshot', dialog()).click()
    await row('Press 5 accepted').waitFor({ state: 'detached' })
    assert.equal(mock.state.snapshots.some(({ name }) => name === 'Press 5 accepted'), false)
  })

  test('the kind filters the list and stands in the address', async () => {
    await openList()
    await visible(row(FAIR))
    await page.getByLabel('Filter by kind').selectOption('auto')
    await page.waitForURL('**kind=auto')
    await row(FAIR).waitFor({ state: 'detached' })
    assert.equal(await page.getByTestId('snapshot').count(), 2)
    await page.reload()
    await visible(page.getByTestId('snapshot').first())
    assert.equal(await page.getByLabel('Filter by kind').inputValue(), 'auto')
  })

  test('a long list goes on where it ended', async () => {
    const [first] = mock.state.snapshots
    mock.state.snapshots.push(...Array.from({ length: 40 }, (_, index) => ({ ...first, id: `more-${index}`, name: `Older ${index}` })))
    await openList()
    await button('Show older').click()
    await visible(row('Older 39'))
    assert.equal(await page.getByTestId('snapshot').count(), 44)
  })

  test('a comparison tells what differs, down to the line of a function', async () => {
    await openList()
    await page.getByRole('link', { name: `Compare ${FAIR}` }).click()
    await visible(page.getByText('1 tab added, 1 tab removed, 2 nodes added', { exact: false }))
    await visible(page.getByText("node.warn('not a number: ' + msg.payload)"))
    const pressure = page.getByTestId('node-change').filter({ hasText: 'Pressure' })
    await visible(pressure.getByText('line1/press/+/raw'))
    await visible(page.getByText('Scale to bar (output 2) → To alarms'))
    await visible(page.getByText('node-red-contrib-cron-plus 2.1.0 → 2.2.4'))
    const moved = page.getByTestId('moved')
    assert.equal(await moved.getByText('Mind the offset').isVisible(), false)
    await moved.getByText('2 nodes only moved').click()
    await visible(moved.getByText('Mind the offset'))

    // With itself, and by the address.
    await page.getByRole('combobox', { name: 'To', exact: true }).selectOption(mock.state.snapshots[1].id)
    await visible(page.getByText('Both are the same.'))
    await page.reload()
    await visible(page.getByText('Both are the same.'))
  })

  test('a large difference is shown in parts', async () => {
    const now = mock.state.deployed.get(line1().id)
    now.flows.push(...Array.from({ length: 300 }, (_, index) => ({ id: `many-${index}`, type: 'debug', z: 't-alarm', name: `Debug ${index}`, x: 0, y: 0, wires: [] })))
    await go(`/instances/${line1().id}/snapshots/compare?from=${mock.state.snapshots[1].id}`)
    await visible(page.getByText('302 nodes added', { exact: false }))
    const alarms = page.getByTestId('tab-changes').filter({ hasText: 'New tab' })
    await visible(alarms.getByText('301 changes'))
    assert.equal(await alarms.getByTestId('node-change').count(), 50)
    await button('Show 50 more of 251', alarms).click()
    await visible(alarms.getByTestId('node-change').nth(99))
  })

  test('a restore shows what it will do first, and is seen through on every page of the instance', async () => {
    await openList()
    await button(`Restore ${FAIR}`).click()
    const plan = dialog().getByTestId('plan')
    await visible(plan.getByText('1 tab added, 1 tab removed', { exact: false }))
    await visible(plan.getByText('2 nodes with the snapshot’s.'))
    await dialog().getByLabel('Those that are there').check()
    await visible(plan.getByText('0 nodes with the snapshot’s, 2 with the present ones.'))
    await button('Restore', dialog()).dblclick()
    assert.equal(mock.state.restores.length, 3)
    assert.deepEqual(mock.state.lastRestore, { credentials: 'keep', addEnv: true })
    const banner = page.getByTestId('restore')
    await visible(banner.getByText(`Restoring the snapshot “${FAIR}”: preparing.`))
    await visible(banner.getByRole('progressbar', { name: 'Restore' }))
    await page.getByRole('link', { name: 'Overview' }).click()
    // It is asked for every other second, so one of its states may be missed.
    await visible(banner.getByText(/: (preparing|stopping|starting)\./))
    await visible(banner.getByText(`Restored the snapshot “${FAIR}”.`))
    await visible(page.getByTestId('status').getByText('Running'))
    await button('Dismiss', banner).click()
    await banner.waitFor({ state: 'detached' })
    await page.reload()
    await page.getByRole('link', { name: 'Snapshots', exact: true }).click()
    await visible(page.getByTestId('past-restore').filter({ hasText: FAIR }).getByText('Done'))
    assert.equal(await page.getByTestId('restore').count(), 0)
    await page.getByRole('link', { name: `Compare ${FAIR}` }).click()
    await visible(page.getByText('Both are the same.'))
  })

  test('a restore that does not come up says so, and that the old state runs again', async () => {
    mock.state.restoreEnds = 'undone'
    await openList()
    await button(`Restore ${FAIR}`).click()
    await button('Restore', dialog()).click()
    const banner = page.getByTestId('restore')
    await visible(banner.getByText(`The snapshot “${FAIR}” was not restored.`))
    await visible(banner.getByText('What was there before runs again.'))
    await visible(banner.getByText('did not answer its health check', { exact: false }))
  })

  test('two at once: the second is refused in the dialog', async () => {
    await openList()
    mock.state.restores.unshift({ ...mock.state.restores[0], id: 'open', state: 'preparing', finishedAt: null })
    await button(`Restore ${FAIR}`).click()
    await button('Restore', dialog()).click()
    await visible(dialog().getByText('is being restored already', { exact: false }))
  })

  test('promotion asks where to, tells what the target lacks, and leads there', async () => {
    await openList()
    await choose('Promote…')
    assert.equal(await button('Promote', dialog()).isDisabled(), true)
    const target = dialog().getByRole('combobox', { name: 'Instance', exact: true })
    await target.selectOption({ label: 'Line 2 telemetry (line2)' })
    await visible(dialog().getByText('node-red-contrib-cron-plus 2.1.0'))
    await visible(dialog().getByText('Secret variables that the instance lacks:'))
    await dialog().getByLabel('Add the missing variables: PLC_HOST').uncheck()
    await button('Promote', dialog()).click()
    await page.waitForURL(`**/instances/${byName('Line 2 telemetry').id}/snapshots`)
    await visible(page.getByTestId('restore'))
    assert.deepEqual(mock.state.lastRestore, { credentials: 'snapshot', addEnv: false, instanceId: byName('Line 2 telemetry').id })
  })

  test('what stands in the way of a promotion is told, and it cannot be confirmed', async () => {
    await openList()
    await choose('Promote…')
    await dialog().getByRole('combobox', { name: 'Instance', exact: true }).selectOption({ label: 'New line (line3)' })
    await visible(dialog().getByText('The instance could not be started; mend it first.'))
    assert.equal(await button('Promote', dialog()).isDisabled(), true)
    // A project of n8n only has no target for Node-RED's flows.
    await dialog().getByLabel('Project').selectOption({ label: 'Web shop' })
    await dialog().getByText('None with this engine').waitFor({ state: 'attached' })
  })

  test('an export goes out under a passphrase and comes back with it only', async () => {
    await openList()
    await choose('Export…')
    await dialog().getByLabel('Passphrase').fill('a long passphrase')
    await dialog().getByLabel('The same again').fill('another one')
    await button('Export', dialog()).click()
    await visible(dialog().getByText('The two differ.'))
    await dialog().getByLabel('The same again').fill('a long passphrase')
    const [download] = await Promise.all([page.waitForEvent('download'), button('Export', dialog()).click()])
    assert.equal(download.suggestedFilename(), 'before-the-trade-fair.openflow-snapshot.json')
    const file = { name: 'x.json', mimeType: 'application/json', buffer: await readFile(await download.path()) }
    await dialog().waitFor({ state: 'detached' })

    await openList(byName('Alarm router'))
    await button('Import…').click()
    await dialog().getByLabel('File').setInputFiles({ name: 'x.json', mimeType: 'application/json', buffer: Buffer.from('[]') })
    await dialog().getByLabel('Its passphrase').fill('wrong')
    await button('Import', dialog()).click()
    await visible(dialog().getByText('This is no exported snapshot.', { exact: false }))
    await dialog().getByLabel('File').setInputFiles(file)
    await button('Import', dialog()).click()
    await visible(dialog().getByText('This passphrase does not open the file.'))
    await dialog().getByLabel('Its passphrase').fill('a long passphrase')
    await button('Import', dialog()).click()
    await visible(row(FAIR))
  })

  test('a row’s menu works by the keyboard, and gives the focus back', async () => {
    await openList()
    await page.getByRole('button', { name: `More for ${FAIR}` }).focus()
    await page.keyboard.press('Enter')
    await page.waitForFunction(() => document.activeElement?.textContent?.trim() === 'Promote…')
    await page.keyboard.press('ArrowUp')
    await page.waitForFunction(() => document.activeElement?.textContent?.trim() === 'Delete…')
    await page.keyboard.press('ArrowUp')
    await page.keyboard.press('Enter')
    await visible(dialog().getByRole('heading', { name: `Rename “${FAIR}”` }))
    await page.keyboard.press('Escape')
    await page.waitForFunction(() => document.activeElement?.getAttribute('aria-label')?.startsWith('More for'))
  })
})

describe('snapshots of n8n', () => {
  beforeEach(() => enter())
  afterEach(finish)

  test('they are told in workflows, and a restore says what stays and which of them run', async () => {
    await openList(byName('Orders'))
    await visible(row('Before the sale').getByText('2 nodes in 1 workflow, 1 credential'))
    await page.getByRole('link', { name: 'Compare Before the sale' }).click()
    await visible(page.getByText('1 workflow added, 1 node added, 1 tag added, 1 node changed'))
    await visible(page.getByTestId('tab-changes').filter({ hasText: 'Weekly report' }).getByText('New workflow'))
    await visible(page.getByText('Credentials, tags and variables'))

    await page.goBack()
    await button('Restore Before the sale').click()
    await visible(dialog().getByText('Workflows that this one does not have are archived', { exact: false }))
    await dialog().getByLabel('All switched off').check()
    await button('Restore', dialog()).click()
    await visible(page.getByTestId('restore').getByText('It is being handed to the running engine.'))
    await visible(page.getByTestId('restore').getByText('Restored the snapshot “Before the sale”.'))
    assert.deepEqual(mock.state.lastRestore, { credentials: 'snapshot', addEnv: true, active: 'clear' })
  })

  test('a pipeline has stages of one engine', async () => {
    await go('/projects/p-plant/pipelines')
    await button('New pipeline').click()
    const stage = dialog().getByLabel('Add a stage')
    assert.equal(await stage.getByText('ERP bridge', { exact: false }).count(), 1)
    await stage.selectOption({ label: 'Alarm router (alarms)' })
    assert.equal(await stage.getByText('ERP bridge', { exact: false }).count(), 0)
  })
})

describe('pipelines', () => {
  beforeEach(() => enter())
  afterEach(finish)

  test('stages are added, ordered, guarded and saved', async () => {
    await go('/projects/p-plant/pipelines')
    await button('New pipeline').click()
    await dialog().getByLabel('Name').fill('Alarms')
    assert.equal(await button('Create pipeline', dialog()).isDisabled(), true)
    for (const label of ['Alarm router (alarms)', 'Camera experiments (cam)']) await dialog().getByLabel('Add a stage').selectOption({ label })
    await dialog().getByRole('button', { name: 'Move Camera experiments up' }).click()
    await dialog().getByTestId('stage').nth(1).getByRole('checkbox').check()
    await button('Create pipeline', dialog()).click()
    await visible(page.getByTestId('pipeline').filter({ hasText: 'Alarms' }).getByText('Needs an owner'))
    const saved = mock.state.pipelines.find(({ name }) => name === 'Alarms')
    assert.deepEqual(saved.stages, [
      { instanceId: byName('Camera experiments').id, needsOwner: false },
      { instanceId: byName('Alarm router').id, needsOwner: true },
    ])
    await button('Edit Alarms').click()
    await dialog().getByLabel('Name').fill('Line telemetry')
    await button('Save', dialog()).click()
    await visible(dialog().getByText('This name is taken.'))
    await page.keyboard.press('Escape')
    await button('Delete Alarms').click()
    await button('Delete pipeline', dialog()).click()
    await page.getByTestId('pipeline').filter({ hasText: 'Camera experiments' }).waitFor({ state: 'detached' })
  })

  test('a stage is promoted to the next after its changes were shown', async () => {
    await go('/projects/p-plant/pipelines')
    await button('Promote Line 1 telemetry to Line 2 telemetry').click()
    await visible(dialog().getByTestId('plan'))
    await button('Promote', dialog()).click()
    await page.waitForURL(`**/instances/${byName('Line 2 telemetry').id}/snapshots`)
    await visible(page.getByTestId('restore').getByText('Promoted to Line 2 telemetry', { exact: false }))
  })

  test('an empty list explains what a pipeline is', async () => {
    await go('/projects/p-lab/pipelines')
    await visible(page.getByText('A pipeline is an order of instances', { exact: false }))
  })
})

describe('members and viewers', () => {
  afterEach(finish)

  test('a member may not promote to a guarded stage, nor change a pipeline', async () => {
    await enter('bob@example.com')
    await go('/projects/p-plant/pipelines')
    await visible(page.getByTestId('pipeline'))
    assert.equal(await button('Promote Old prototype to Line 1 telemetry').isEnabled(), true)
    assert.equal(await button('Promote Line 1 telemetry to Line 2 telemetry').isDisabled(), true)
    assert.equal(await button('Edit Line telemetry').count(), 0)
  })

  test('a viewer sees and compares, and that is all', async () => {
    await enter('cleo@example.com')
    await openList()
    await visible(row(FAIR))
    assert.equal(await page.getByRole('button', { name: /^(Restore|More for|Take|Import)/ }).count(), 0)
    await page.getByRole('link', { name: `Compare ${FAIR}` }).click()
    await visible(page.getByText('1 tab added', { exact: false }))
    await go('/projects/p-plant/pipelines')
    await visible(page.getByTestId('pipeline'))
    assert.equal(await page.getByRole('button', { name: /Promote/ }).count(), 0)
  })
})
