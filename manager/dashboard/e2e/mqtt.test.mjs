// A project's MQTT pages, as smoke.test.mjs.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { signIn } from '../mock/browser.mjs'
import { begin, button, finish, go, mock, page, visible } from './support.mjs'

const CLIENTS = '/projects/p-plant/mqtt'
const TOPICS = '/projects/p-plant/mqtt/topics'
/** Here nobody speaks but the test. */
const SILENT = '/projects/p-lab/mqtt/topics'
const client = (name) => page.getByTestId('client').filter({ hasText: name })
const dialog = () => page.getByRole('dialog')
const item = (name) => page.getByRole('treeitem', { name })
const say = (topic, payload, options) => mock.publish('p-lab', topic, payload, options)
const stored = (name) => mock.state.mqtt.clients.find((one) => one.name === name)

async function enter(email) {
  await begin()
  await go('/login')
  await signIn(page, email)
  await visible(page.getByRole('heading', { name: 'Projects' }))
}
/** Opens the silent project's topics and waits until whatever is said is heard. */
async function listen(query = '') {
  await go(SILENT + query)
  await visible(page.getByText('No topics yet'))
}

describe('the MQTT page', () => {
  beforeEach(() => enter())
  afterEach(finish)

  test('tells where devices connect, and that the broker is down when it is', async () => {
    await go('/projects/p-plant')
    await page.getByRole('link', { name: 'MQTT', exact: true }).click()
    await page.waitForURL(`**${CLIENTS}`)
    await visible(page.getByText('Built-in broker up'))
    await button('Copy mqtts://openflow.example.com:8883').click()
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'mqtts://openflow.example.com:8883')
    await visible(page.getByText('3 of 1,000'))
    Object.assign(mock.state.mqtt.broker, { state: 'down', detail: 'port 1883 is taken' })
    await visible(page.getByRole('alert').getByText('port 1883 is taken'))
  })

  test('a client: made, its password shown once, replaced, disabled, enabled, deleted', async () => {
    await go(CLIENTS)
    await button('New client').click()
    await dialog().getByLabel('Name', { exact: true }).fill('Press 5')
    await dialog().getByLabel('May subscribe to').selectOption('none')
    await button('Create client', dialog()).click()
    const password = page.getByTestId('new-password')
    await visible(password)
    const { id } = stored('Press 5')
    const first = await password.innerText()
    assert.match(await page.getByTestId('try-line').innerText(), /^mosquitto_pub -h openflow\.example\.com -p 1883 -u /)
    assert.ok((await page.getByTestId('try-line').innerText()).includes(first))
    await button('Copy password').click()
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), first)
    await page.reload()
    await visible(client('Press 5').getByText('never seen'))
    await visible(client('Press 5').getByText('Subscribes nothing'))
    assert.equal(await page.getByText(first).count(), 0)

    await button('New password for Press 4 gateway').click()
    await visible(dialog().getByText(/live connections end/))
    await button('Make new password', dialog()).click()
    await visible(page.getByText('Copy the password of “Press 4 gateway” now.'))
    assert.notEqual(await password.innerText(), first)
    await visible(client('Press 4 gateway').getByText('Not connected'))
    await button('I have copied it').click()
    assert.equal(await password.count(), 0)

    await button('Disable Press 5').click()
    await button('Disable client', dialog()).click()
    await visible(client('Press 5').getByText('Disabled'))
    assert.equal(stored('Press 5').disabled, true)
    await button('Enable Press 5').click()
    await visible(client('Press 5').getByText('Not connected'))

    await button('Delete Press 5').click()
    assert.equal(await button('Delete client', dialog()).isDisabled(), true)
    await dialog().getByRole('textbox').fill('Press 5')
    await button('Delete client', dialog()).click()
    await client('Press 5').waitFor({ state: 'detached' })
    assert.equal(mock.state.mqtt.clients.some((one) => one.id === id), false)
  })

  test('rules are checked at their field, here and by the manager, and can be taken back', async () => {
    await go(`${CLIENTS}?new=1`)
    await dialog().getByLabel('Name', { exact: true }).fill('Energy meter')
    await dialog().getByLabel('May publish to').selectOption('some')
    const filters = dialog().getByLabel('Topics to publish to')
    await button('Create client', dialog()).click()
    await visible(dialog().getByText(/Enter at least one topic/))
    await filters.fill('line1/#\nline2#')
    await visible(dialog().getByText(/“line2#”: # stands alone/))
    assert.equal(await filters.getAttribute('aria-invalid'), 'true')
    await filters.fill('line1/#\nline2/+/state')
    await button('Create client', dialog()).click()
    await visible(dialog().getByText('A client of this project has this name.')) // The manager's.
    await dialog().getByLabel('Name', { exact: true }).fill('Other meter')
    await button('Create client', dialog()).click()
    await dialog().waitFor({ state: 'detached' })
    assert.deepEqual(stored('Other meter').publish, ['line1/#', 'line2/+/state'])

    await button('Edit Other meter').click()
    assert.equal(await filters.inputValue(), 'line1/#\nline2/+/state')
    await dialog().getByLabel('May publish to').selectOption('all')
    await button('Save', dialog()).click()
    await visible(client('Other meter').getByText('All topics of the project'))
    assert.equal(stored('Other meter').publish, null)
  })

  test('connections lead to their instance, and events say why', async () => {
    await go(`${CLIENTS}/connections`)
    const rows = page.getByTestId('connection')
    await visible(rows.filter({ hasText: 'press-4' }).getByText('MQTT 5'))
    await visible(page.getByTestId('event').getByText('The password is wrong.').first())
    const before = await page.getByTestId('event').count()
    await button('Show older').click()
    await visible(page.getByTestId('event').nth(before))
    await page.getByLabel('Filter connections').fill('press')
    await rows.filter({ hasText: 'Line 1' }).waitFor({ state: 'detached' })
    await page.getByLabel('Filter connections').fill('')
    await page.getByRole('link', { name: 'Line 1 telemetry' }).click()
    await page.waitForURL('**/instances/**')
  })

  test('connections refresh by themselves', async () => {
    await go(`${CLIENTS}/connections`)
    await visible(page.getByTestId('connection').first())
    mock.state.mqtt.connections = []
    await visible(page.getByText('Nothing is connected'))
  })
})

describe('the topic browser', () => {
  beforeEach(() => enter())
  afterEach(finish)

  test('follows the stream, and the filter stands in the address', async () => {
    await go(TOPICS)
    await visible(item(/^temperature, \d/).first())
    await visible(item('site, 2 topics'))
    await page.getByLabel('Filter topics').fill('+/press/vibration')
    await page.waitForURL('**q=**')
    await item('site, 2 topics').waitFor({ state: 'detached' })
    assert.equal(await item(/^vibration/).count(), 2)
    await visible(page.getByText('2 topics found'))
    await page.reload()
    await visible(item(/^vibration/).first())
    assert.equal(await item(/^alarms/).count(), 0)
    await page.getByLabel('Filter topics').fill('nothing like that')
    await visible(page.getByText('No topic matches “nothing like that”.'))
  })

  test('shows what a payload is: JSON as it came, text, binary, and the beginning of a long one', async () => {
    await listen()
    say('a/json', '{"id":9007199254740993,"ok":[true]}', { qos: 1, retain: true })
    say('a/binary', 'AAEC', { encoding: 'base64' })
    say('a/long', '{"half', { truncated: true, bytes: 10_240 })
    const payload = page.getByTestId('payload')
    await item(/^json/).click()
    await visible(page.getByText('JSON, 35 B'))
    assert.equal(await payload.innerText(), '{\n  "id": 9007199254740993,\n  "ok": [\n    true\n  ]\n}')
    await visible(page.getByText('1, retained'))
    await item(/^binary/).click()
    await visible(page.getByText('Not text, so shown as base64.'))
    await item(/^long/).click()
    await visible(page.getByText('Only the beginning of 10 kB is shown.'))
    // A last message that changes while one looks.
    say('a/long', 'short')
    await visible(payload.getByText('short'))
    await page.waitForURL('**topic=a/long**')
  })

  test('nothing is missing after a pause', async () => {
    await page.addInitScript(() => {
      window.heard = 0
      window.EventSource = class extends EventSource {
        constructor(url) {
          super(url)
          this.addEventListener('topics', () => (window.heard += 1))
        }
      }
    })
    await listen()
    say('door', 'open')
    await visible(item('door, open'))
    await button('Pause').click()
    say('door', 'closed')
    say('window', 'open')
    const before = await page.evaluate(() => window.heard)
    await page.waitForFunction((count) => window.heard >= count, before + 3)
    await visible(item('door, open'))
    assert.equal(await item(/^window/).count(), 0)
    await button('Go on').click()
    await visible(item('door, closed'))
    await visible(item('window, open'))
  })

  test('goes on after a break, with what was counted', async () => {
    await listen()
    say('door', 'one')
    await item('door, one').click()
    await visible(page.getByText(/^1 while you watch/))
    mock.dropStreams()
    await visible(page.getByText('Not connected, trying again'))
    await visible(page.getByText('Live', { exact: true }))
    say('door', 'two')
    await visible(item('door, two'))
    await visible(page.getByText(/^2 while you watch/))
  })

  test('thousands of topics: only open branches are drawn, long ones in steps, and what is lost is told', async () => {
    await listen()
    for (let n = 0; n < 6_000; n += 1) say(`fleet/truck${n}`, '{"speed":80}')
    await visible(page.getByTestId('lost').getByText('1000 not shown'))
    assert.equal(await page.getByRole('treeitem').count(), 1)
    await item(/^fleet/).click()
    await visible(item(/^truck99,/))
    assert.equal(await page.getByRole('treeitem').count(), 102)
    await item('and 4900 more…').click()
    await visible(item('and 4800 more…'))
    await page.getByLabel('Filter topics').fill('truck4321')
    await visible(page.getByText('1 topic found'))
    await visible(item(/^truck4321/))
  })

  test('is a tree for the keyboard too', async () => {
    await listen()
    for (let n = 0; n < 30; n += 1) say(`plant/line${n}`, String(n))
    await item('plant, 30 topics').focus()
    const focused = (name) => page.waitForFunction((text) => document.activeElement?.getAttribute('aria-label')?.startsWith(text), name)
    await page.keyboard.press('ArrowRight')
    await visible(item('line0, 0'))
    await page.keyboard.press('ArrowRight')
    await focused('line0')
    await page.keyboard.press('ArrowDown')
    await focused('line1')
    await page.keyboard.press('Enter')
    await page.waitForURL('**topic=plant/line1')
    assert.equal(await item('line1, 1').getAttribute('aria-selected'), 'true')
    await page.keyboard.press('End')
    await focused('line29')
    await page.keyboard.press('ArrowLeft')
    await focused('plant')
    await page.keyboard.press('ArrowLeft')
    await item('line0, 0').waitFor({ state: 'detached' })
  })

  test('a test message goes to the selected topic and comes back in the tree', async () => {
    await listen()
    const topic = page.getByLabel('Topic', { exact: true })
    await button('Publish').click()
    await visible(page.getByText('Enter a topic.'))
    await topic.fill('lamp/+')
    await visible(page.getByText(/A message goes to one topic/))
    assert.equal(await topic.getAttribute('aria-invalid'), 'true')
    await topic.fill('$SYS/x')
    await button('Publish').click()
    await visible(page.getByText('Topics that begin with $ are the broker’s own.')) // The manager's.

    say('lamp/state', 'off', { retain: true })
    await item(/^state/).click()
    assert.equal(await topic.inputValue(), '$SYS/x') // Somebody typed it.
    await button('Publish here…').click()
    assert.equal(await topic.inputValue(), 'lamp/state')
    await page.waitForFunction(() => document.activeElement?.matches('textarea'))
    await page.keyboard.type('on')
    await page.getByLabel('QoS').selectOption('1')
    await page.getByLabel('Retain').check()
    await button('Publish').click()
    await visible(page.getByText(/^Published to lamp\/state at /))
    await visible(item('state, on'))
    await visible(page.getByText('1, retained'))

    Object.assign(mock.state.mqtt.broker, { state: 'down' })
    await button('Publish').click()
    await visible(page.getByText('The broker is down; nothing was published.'))
  })
})

describe('a viewer', () => {
  beforeEach(() => enter('bob@example.com'))
  afterEach(finish)

  test('sees clients and topics, and may change nothing', async () => {
    mock.state.members['p-plant']['u-bob'] = 'viewer'
    await go(`${CLIENTS}?new=1`)
    await visible(client('Energy meter').getByText('Subscribes nothing'))
    for (const name of [/New client/, /^Edit/, /^New password/, /^Disable/, /^Enable/, /^Delete/]) {
      assert.equal(await page.getByRole('button', { name }).count(), 0, String(name))
    }
    assert.equal(await dialog().count(), 0)
    await go('/projects/p-lab/mqtt')
    await visible(page.getByText(/A member or owner of the project can make one/))
    await go(TOPICS)
    await item(/^temperature/).first().click()
    await visible(page.getByTestId('payload'))
    assert.equal(await page.getByRole('button', { name: /Publish/ }).count(), 0)
  })
})
