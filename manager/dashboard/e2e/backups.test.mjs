// Backups of an instance and of a project, as smoke.test.mjs.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { signIn } from '../mock/browser.mjs'
import { begin, button, finish, go, mock, page, visible } from './support.mjs'

const byName = (name) => mock.state.instances.find((one) => one.name === name)
const line1 = () => byName('Line 1 telemetry')
const dialog = () => page.getByRole('dialog')
const rows = () => page.getByTestId('backup')
const protection = () => page.getByTestId('protection')
const openList = (instance = line1()) => go(`/instances/${instance.id}/backups`)
async function choose(action, which = rows().first()) {
  await which.getByRole('button', { name: /^More for/ }).click()
  await page.getByRole('menuitem', { name: action }).click()
}
async function enter(email) {
  await begin()
  await go('/login')
  await signIn(page, email)
  await visible(page.getByRole('heading', { name: 'Projects' }))
}
const archive = (bytes, size = 4) => ({ name: 'line1.tar.gz', mimeType: 'application/gzip', buffer: Buffer.concat([Buffer.from(bytes, 'hex'), Buffer.alloc(size)]) })

describe('an instance’s backups', () => {
  beforeEach(() => enter())
  afterEach(finish)

  test('the list tells the state and the proof of each', async () => {
    await openList()
    await visible(protection().getByText('The last good backup is from', { exact: false }))
    await visible(protection().getByText('Backed up every day between 02:30 and 04:30 UTC (the installation’s schedule)', { exact: false }))
    await visible(rows().nth(1).getByText('Rehearsed 2 days ago'))
    await visible(rows().nth(2).getByText('2 files skipped'))
    await visible(rows().nth(2).getByText('Upload failed'))
    await visible(rows().nth(3).getByText('There was not enough space: 48 MB needed, 12 MB free.'))
    assert.equal(await rows().nth(3).getByRole('button', { name: /^Restore/ }).count(), 0)
    await choose('Details', rows().nth(2))
    await visible(dialog().getByText('projects/private/id_rsa'))
    await visible(dialog().getByText('240 ms', { exact: false }))
  })

  test('a failed verification is a warning of the instance', async () => {
    await openList(byName('Line 2 telemetry'))
    await visible(protection().getByText('The last backup did not pass its verification.'))
    await visible(protection().getByText('The credentials could not be decrypted', { exact: false }))
  })

  test('an instance without one says the next step, and a backup is made once with its progress', async () => {
    await openList(byName('Alarm router'))
    await visible(page.getByRole('heading', { name: 'No backups yet' }))
    let posts = 0
    page.on('request', (request) => (posts += request.method() === 'POST' && request.url().endsWith('/backups') ? 1 : 0))
    await page.locator('.empty').getByRole('button', { name: 'Back up now' }).dblclick()
    await visible(rows().first().getByRole('progressbar'))
    await visible(button('Backing up'))
    await visible(rows().first().getByText('Good', { exact: true }))
    await visible(rows().first().getByText('Read back', { exact: false }))
    assert.equal(posts, 1)
    await visible(button('Back up now'))
  })

  test('one is verified, downloaded and deleted', async () => {
    await openList()
    await choose('Verify now')
    await visible(rows().first().getByText('Verifying'))
    await visible(rows().first().getByText('Rehearsed just now'))
    const [download] = await Promise.all([page.waitForEvent('download'), choose('Download')])
    assert.equal((await readFile(await download.path())).toString('hex'), '1f8b0800')
    const before = await rows().count()
    await choose('Delete…')
    await visible(dialog().getByText('its copy offsite too', { exact: false }))
    await button('Delete backup', dialog()).click()
    await dialog().waitFor({ state: 'detached' })
    await page.waitForFunction((count) => document.querySelectorAll('[data-testid=backup]').length === count, before - 1)
  })

  test('a damaged one is fetched back from its copy, once and with its progress, and can be restored again', async () => {
    await openList()
    const damaged = rows().nth(4)
    await visible(damaged.getByText('The archive is damaged', { exact: false }))
    await visible(damaged.getByText('Copied'))
    assert.equal(await damaged.getByRole('button', { name: /^Restore/ }).count(), 0)
    let posts = 0
    page.on('request', (request) => (posts += request.method() === 'POST' && request.url().endsWith('/fetch') ? 1 : 0))
    await damaged.getByRole('button', { name: /^Fetch back/ }).dblclick()
    await visible(damaged.getByRole('progressbar', { name: 'Fetching the backup of Line 1 telemetry' }))
    await visible(damaged.getByText('Good', { exact: true }))
    await visible(damaged.getByText('Read back just now'))
    await visible(damaged.getByRole('button', { name: /^Restore/ }))
    assert.equal(await damaged.getByRole('button', { name: /^Fetch back/ }).count(), 0)
    assert.equal(posts, 1)
  })

  test('a file that is gone says so; a fetch that fails or is refused says why', async () => {
    mock.state.fetchEnds = 'The copy in the bucket is not the file that was brought there.'
    await openList()
    const gone = rows().nth(5)
    await visible(gone.getByText('Its file is gone from here.'))
    const fetchBack = gone.getByRole('button', { name: /^Fetch back/ })
    await fetchBack.click()
    await visible(gone.getByRole('progressbar'))
    await visible(gone.getByText('It could not be fetched: The copy in the bucket is not the file', { exact: false }))
    const refusal = { status: 409, code: 'backup.copy_encrypted', title: 'Conflict', detail: 'The copy is encrypted, and the key to it is kept elsewhere.' }
    await page.route('**/fetch', (route) => route.fulfill({ status: 409, contentType: 'application/problem+json', body: JSON.stringify(refusal) }))
    await fetchBack.click()
    await visible(page.getByText('The copy is encrypted, and the key to it is kept elsewhere.'))
    await page.unroute('**/fetch')
    mock.state.fetchEnds = null
    await fetchBack.click()
    await visible(gone.getByRole('button', { name: /^Restore/ }))
    assert.equal(await gone.getByText('Its file is gone from here.').count(), 0)
  })

  test('a late backup is a warning of the instance', async () => {
    mock.state.late.set(line1().id, new Date(Date.now() - 3 * 3_600_000).toISOString())
    await openList()
    await visible(protection().getByText('No good backup since 3 hours ago, when one was due.'))
  })

  test('a restore says what is lost and needs the name typed', async () => {
    await openList()
    await rows().nth(1).getByRole('button', { name: /^Restore/ }).click()
    await visible(dialog().getByText(/Everything that changed since .* is lost/))
    const confirm = button('Replace the data', dialog())
    assert.equal(await confirm.isDisabled(), true)
    await dialog().getByRole('textbox').fill('Line 1 telemetry')
    await confirm.dblclick()
    await visible(page.getByTestId('restore').getByText('Restoring the backup', { exact: false }))
    await visible(page.getByTestId('restore').getByText('Restored the backup', { exact: false }))
    assert.equal(mock.state.restores.filter(({ state }) => state === 'done' && state).length, 2)
    await visible(page.getByTestId('past-restore').first().getByText('Done'))
  })

  test('a restore into a new instance tells a taken address at its field, then leads there', async () => {
    await openList()
    await rows().first().getByRole('button', { name: /^Restore/ }).click()
    await dialog().getByLabel('Into a new instance').check()
    assert.equal(await dialog().getByLabel('Subdomain').inputValue(), 'line-1-telemetry-restored')
    await dialog().getByLabel('Subdomain').fill('telemetry')
    await button('Make the instance', dialog()).click()
    await visible(dialog().getByText('This name is taken.'))
    await dialog().getByLabel('Subdomain').fill('line1-again')
    await button('Make the instance', dialog()).click()
    await visible(page.getByRole('heading', { name: 'Line 1 telemetry (restored)' }))
    await visible(page.getByTestId('restore'))
  })

  test('a new instance whose data do not come goes again, and the reason is told', async () => {
    mock.state.restoreEnds = 'nothing'
    await openList()
    await rows().first().getByRole('button', { name: /^Restore/ }).click()
    await dialog().getByLabel('Into a new instance').check()
    await button('Make the instance', dialog()).click()
    await visible(page.getByText('was deleted: the data that it was made for did not come: the archive is damaged', { exact: false }))
    await page.waitForURL('**/projects/p-plant')
  })

  test('a restore goes into another project, as a new instance or in the place of another', async () => {
    await openList()
    await rows().first().getByRole('button', { name: /^Restore/ }).click()
    await dialog().getByLabel('Into a new instance').check()
    await dialog().getByLabel('Project').selectOption({ label: 'Lab' })
    await button('Make the instance', dialog()).click()
    await visible(page.getByRole('link', { name: 'Lab', exact: true }))
    assert.equal(byName('Line 1 telemetry (restored)').projectId, 'p-lab')

    await openList()
    await rows().first().getByRole('button', { name: /^Restore/ }).click()
    await dialog().getByLabel('Into another instance').check()
    const confirm = button('Replace the data', dialog())
    assert.equal(await confirm.isDisabled(), true)
    await dialog().getByRole('combobox', { name: 'Instance', exact: true }).selectOption({ label: 'Line 2 telemetry (line2)' })
    await visible(dialog().getByText('Everything that is in it now is lost', { exact: false }))
    await dialog().getByLabel('Type “Line 2 telemetry” to confirm').fill('Line 2 telemetry')
    await confirm.click()
    await page.waitForURL(`**/instances/${byName('Line 2 telemetry').id}/backups`)
    await visible(page.getByTestId('restore'))
  })

  test('an archive is uploaded; what is none is refused', async () => {
    await openList()
    await button('Upload…').click()
    await dialog().getByLabel('Archive').setInputFiles(archive('504b'))
    await button('Upload', dialog()).click()
    await visible(dialog().getByText('This is no archive of Openflow', { exact: false }))
    await dialog().getByLabel('Archive').setInputFiles(archive('1f8b', 3_000_000))
    await button('Upload', dialog()).click()
    await dialog().waitFor({ state: 'detached' })
    await visible(rows().first().getByText('uploaded', { exact: true }))
    assert.equal(mock.state.backups[0].sizeBytes, 3_000_002)
  })

  test('an upload under way can be cancelled', async () => {
    await openList()
    await page.route('**/backups/upload', () => {}) // Never answered.
    await button('Upload…').click()
    await dialog().getByLabel('Archive').setInputFiles(archive('1f8b', 1_000_000))
    await button('Upload', dialog()).click()
    await visible(dialog().getByRole('progressbar', { name: 'Upload' }))
    await button('Cancel', dialog()).click()
    await dialog().getByRole('progressbar').waitFor({ state: 'detached' })
    assert.equal(await dialog().getByRole('alert').count(), 0)
    await button('Cancel', dialog()).click()
    await dialog().waitFor({ state: 'detached' })
  })

  test('an own schedule is read out, checked, saved, switched off and given up', async () => {
    await openList()
    await button('Schedule…').click()
    await dialog().getByLabel('Its own schedule').check()
    const cron = dialog().getByLabel('Cron expression')
    await cron.fill('0 25 * * *')
    await button('Save', dialog()).click()
    await visible(dialog().getByText('“25” is no hour', { exact: false }))
    await cron.fill('0 3,15 * * 1-5')
    await visible(dialog().getByText('Runs every weekday at 03:00 and 15:00 UTC. The next run:', { exact: false }))
    await dialog().getByLabel('Keep daily').fill('14')
    await button('Save', dialog()).click()
    await visible(protection().getByText('Backed up every weekday at 03:00 and 15:00 UTC; kept: 14 daily, 4 weekly, 6 monthly.', { exact: false }))
    assert.deepEqual(mock.state.policies.get(line1().id), { enabled: true, schedule: '0 3,15 * * 1-5', keep: { daily: 14, weekly: 4, monthly: 6 } })

    await button('Schedule…').click()
    assert.equal(await dialog().getByLabel('Its own schedule').isChecked(), true)
    await dialog().getByLabel('Off', { exact: true }).check()
    await button('Save', dialog()).click()
    await visible(protection().getByText('Scheduled backups are off.'))
    await button('Schedule…').click()
    await dialog().getByLabel('As the installation').check()
    await button('Save', dialog()).click()
    await visible(protection().getByText('Backed up every day between 02:30 and 04:30 UTC (the installation’s schedule)', { exact: false }))
    assert.equal(mock.state.policies.size, 0)
  })
})

describe('a project’s backups', () => {
  beforeEach(() => enter())
  afterEach(finish)

  test('those of a deleted instance are there and become a new one', async () => {
    await go('/projects/p-plant')
    await page.getByRole('link', { name: 'Backups', exact: true }).click()
    await page.getByLabel('Filter by instance').selectOption({ label: 'Press 3 (retired) (deleted)' })
    await page.waitForURL('**instance=i-gone')
    assert.equal(await rows().count(), 1)
    await rows().first().getByRole('button', { name: /^Restore/ }).click()
    await visible(dialog().getByText('The instance “Press 3 (retired)” was deleted.'))
    assert.equal(await dialog().getByRole('radio').count(), 2)
    assert.equal(await dialog().getByLabel('Into a new instance').isChecked(), true)
    await dialog().getByLabel('Name', { exact: true }).fill('Press 3')
    await button('Make the instance', dialog()).click()
    await visible(page.getByRole('heading', { name: 'Press 3', exact: true }))
    assert.equal(byName('Press 3').projectId, 'p-plant')
  })
})

describe('a viewer', () => {
  beforeEach(() => enter('cleo@example.com'))
  afterEach(finish)

  test('sees backups and their proof, and cannot act', async () => {
    await openList()
    await visible(rows().first())
    assert.equal(await page.getByRole('button', { name: /^(Restore|Fetch|Back up|Upload|Schedule)/ }).count(), 0)
    await rows().first().getByRole('button', { name: /^More for/ }).click()
    assert.deepEqual(await page.getByRole('menuitem').filter({ visible: true }).allInnerTexts(), ['Details'])
    await go('/projects/p-plant/backups')
    await visible(rows().first())
    assert.equal(await page.getByRole('button', { name: /^Restore/ }).count(), 0)
  })
})
