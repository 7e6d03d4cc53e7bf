'use strict';
// An mqtt node as a person puts it down: the instance's own broker is chosen already, and only the topic is typed in.
const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { shoot, startBrowser } = require('./chromium');
const { seeded, startBroker } = require('../mosquitto');
const { BEARER, MAGIC, startNodeRed, until } = require('../support');
const { node: BROKER } = require('../../node-red/broker.json');

let broker;
let browser;
let red;
let page;
before(async () => {
  broker = await startBroker();
  red = await startNodeRed({ userDir: seeded([]), env: broker.env });
  browser = await startBrowser();
  const url = `http://127.0.0.1:${red.port}`;
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  await context.addCookies([{ name: 'openflow_token', value: MAGIC, url }]);
  page = await context.newPage();
  await page.goto(url);
  await page.waitForSelector('.red-ui-palette-node[data-palette-type="mqtt in"]');
  await page.waitForSelector('#red-ui-loading-progress', { state: 'hidden' });
});
after(async () => {
  await browser?.close();
  await red?.stop();
  await broker?.stop();
});

const nodes = (type) => page.evaluate((wanted) => RED.nodes.filterNodes({ type: wanted }).map(({ id, broker: it, valid }) => ({ id, broker: it, valid })), type);

async function deployByButton() {
  await page.click('#red-ui-header-button-deploy');
  await page.waitForFunction(() => !RED.nodes.dirty());
}

/** From the palette to a place on the canvas. */
async function drag(type, x, y) {
  const item = page.locator(`.red-ui-palette-node[data-palette-type="${type}"]`);
  await item.scrollIntoViewIfNeeded();
  await item.hover();
  await page.mouse.down();
  await page.mouse.move(x - 20, y - 20, { steps: 5 });
  await page.mouse.move(x, y, { steps: 5 });
  await page.mouse.up();
}

/** Opens the dialog of a node, types the topic and closes it. */
async function setTopic({ id }, topic, shot) {
  await page.evaluate((it) => RED.editor.edit(RED.nodes.node(it)), id);
  await page.waitForSelector('#node-input-topic');
  await until(async () => await page.locator('#node-input-broker option:checked').innerText() === 'Openflow');
  await page.fill('#node-input-topic', topic);
  await shoot(page, shot);
  await page.click('#node-dialog-ok');
  await page.waitForSelector('#node-input-topic', { state: 'detached' });
}

test('a fresh editor has a tab, is clean, and does not complain of a broker that no flow uses', async () => {
  assert.equal(await page.evaluate(() => [RED.workspaces.count(), RED.nodes.dirty()].join()), '1,false');
  await drag('inject', 500, 600);
  await page.click('#red-ui-header-button-deploy');
  const told = page.locator('.red-ui-notification-success');
  await told.waitFor();
  assert.doesNotMatch(await told.innerText(), /unused/i);
  await page.waitForFunction(() => !RED.nodes.dirty());
});

test('mqtt nodes that are dragged in pass messages as soon as they have a topic', async () => {
  await drag('mqtt in', 500, 300);
  await drag('mqtt out', 900, 300);
  const [input] = await nodes('mqtt in');
  const [output] = await nodes('mqtt out');
  assert.deepEqual([input.broker, output.broker], [BROKER.id, BROKER.id]);
  await setTopic(input, 'line/in', 'mqtt-in');
  await setTopic(output, 'line/out', 'mqtt-out');
  await page.evaluate(([from, to]) => {
    RED.nodes.addLink({ source: RED.nodes.node(from), sourcePort: 0, target: RED.nodes.node(to) });
    RED.view.redraw(true);
  }, [input.id, output.id]);
  await deployByButton();
  const answers = broker.subscribe('line/out');
  await until(() => {
    broker.publish('line/in', 'by hand');
    return answers.messages().includes('line/out by hand');
  });
  assert.equal(await page.evaluate((id) => RED.nodes.node(id).users.length, BROKER.id), 2);
});

test('its dialog shows no password, and saving it unchanged keeps it working', async () => {
  await page.evaluate((id) => RED.editor.editConfig('', 'mqtt-broker', id), BROKER.id);
  await page.waitForSelector('#node-config-input-broker');
  await page.waitForFunction(() => document.querySelector('#node-config-input-password').value !== '');
  assert.equal(await page.inputValue('#node-config-input-user'), '${OPENFLOW_MQTT_USERNAME}');
  assert.equal(await page.inputValue('#node-config-input-password'), '__PWRD__');
  assert.equal(await page.locator('.input-error').count(), 0);
  await shoot(page, 'mqtt-broker');
  await page.fill('#node-config-input-keepalive', '61');
  await page.click('#node-config-dialog-ok');
  await deployByButton();
  const { flows } = (await red.ask({ path: '/flows', headers: { ...BEARER, 'node-red-api-version': 'v2' } })).json();
  const saved = flows.find(({ id }) => id === BROKER.id);
  assert.deepEqual({ ...saved, keepalive: BROKER.keepalive }, BROKER);
  const answers = broker.subscribe('line/out');
  await until(() => {
    broker.publish('line/in', 'after a change');
    return answers.messages().includes('line/out after a change');
  });
});

test('once it is removed it stays removed, and new nodes name no broker', async () => {
  await page.evaluate((id) => {
    RED.nodes.remove(id);
    RED.nodes.dirty(true);
  }, BROKER.id);
  await drag('mqtt in', 500, 450);
  assert.equal((await nodes('mqtt in')).at(-1).broker, '');
  await page.click('#red-ui-header-button-deploy');
  await page.getByRole('button', { name: 'Confirm deploy' }).click();
  await page.waitForFunction(() => !RED.nodes.dirty());
  await page.reload();
  await page.waitForSelector('.red-ui-palette-node[data-palette-type="mqtt in"]');
  await page.waitForSelector('#red-ui-loading-progress', { state: 'hidden' });
  assert.equal(await page.evaluate((id) => Boolean(RED.nodes.node(id)), BROKER.id), false);
});
