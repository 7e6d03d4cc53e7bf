'use strict';
// Snapshots as a person meets them in the editor: the button, the list, the way back. The manager is one of the test's own
// that keeps copies of the instance's files and restarts it, as the real one does.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, beforeEach, test } = require('node:test');
const { shoot, startBrowser } = require('./chromium');
const { BEARER, deploy, newUserDir, startManager, startNodeRed, until } = require('../support');

const EDITOR_TIMEOUT_MS = 60_000;
const ADA = { userId: '0198f0a0-0000-7000-8000-0000000000aa', name: 'Ada Lovelace', role: 'member' };
const MARKUP = '<img src=x onerror="document.title=\'owned\'"> & co';
const FILES = ['flows.json', 'flows_cred.json'];
const uuid = (n) => `0198f0a0-0000-7000-8000-${String(n).padStart(12, '0')}`;

let browser;
let manager;
let red;
let store; // what the manager knows: snapshots newest first, restores by id
const tokens = {};
const env = {};
const userDir = newUserDir();

/** The manager's side of snapshots; `store.refuse` is answered to the next change, `store.fails` is why a restore is undone. */
function answer(method, url, body) {
  const [, id] = /([0-9a-f-]{36})/.exec(url) ?? [];
  if (url === '/shim/v1/deployed') return [202, ''];
  if (method === 'GET' && url.startsWith('/shim/v1/snapshots')) return [200, { items: store.snapshots.map((it) => it.item) }];
  if (method === 'GET') return [200, store.restores[id]];
  if (store.refuse) return [store.refuse.status, store.refuse];
  if (url === '/shim/v1/snapshots') return [201, take('manual', body.name ?? null)];
  const { files } = store.snapshots.find((it) => it.item.id === id);
  const restore = { id: uuid(900 + Object.keys(store.restores).length), state: 'preparing', detail: null };
  store.restores[restore.id] = restore;
  take('before-restore', null);
  store.restoring = putBack(files, restore);
  return [202, { id: restore.id, state: restore.state }];
}

function take(kind, name) {
  const files = Object.fromEntries(FILES.map((file) => [file, fs.readFileSync(path.join(userDir, file))]));
  const nodes = JSON.parse(files['flows.json']).length;
  const item = { id: uuid(store.snapshots.length + 1), kind, name, author: ADA.name, nodes, createdAt: new Date().toISOString() };
  store.snapshots.unshift({ item, files });
  return item;
}

async function putBack(files, restore) {
  await pause(500);
  restore.state = 'stopping';
  await red.stop();
  if (!store.fails) for (const file of FILES) fs.writeFileSync(path.join(userDir, file), files[file]);
  await pause(1500); // long enough for somebody to ask while nobody is there
  restore.state = 'starting';
  red = await startNodeRed({ env, userDir, port: red.port });
  await pause(1500);
  Object.assign(restore, store.fails ? { state: 'undone', detail: store.fails } : { state: 'done' });
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** /api/back answers with what a server says that is asked with a password. */
const FLOWS = [
  { id: 'tab', type: 'tab', label: 'Orders' },
  { id: 'in', type: 'http in', z: 'tab', x: 200, y: 100, name: 'the first', url: '/back', method: 'get', wires: [['ask']] },
  { id: 'ask', type: 'http request', z: 'tab', x: 400, y: 100, method: 'GET', ret: 'txt', url: '', authType: 'basic', wires: [['out']], credentials: { user: 'u', password: 'p' } },
  { id: 'out', type: 'http response', z: 'tab', x: 600, y: 100, wires: [] },
];
const BASIC = `Basic ${Buffer.from('u:p').toString('base64')}`;

before(async () => {
  manager = await startManager(tokens, answer);
  Object.assign(env, { OPENFLOW_MANAGER_URL: manager.url, OPENFLOW_LAUNCH_URL: `${manager.url}/launch/wf1` });
  FLOWS[2].url = `${manager.url}/behind-a-password`;
  red = await startNodeRed({ env, userDir });
  await deploy(red, FLOWS);
  browser = await startBrowser();
});
beforeEach(() => {
  store = { snapshots: [], restores: {} };
  manager.calls.length = 0;
});
after(async () => {
  await browser?.close();
  await red?.stop();
  manager?.stop();
});

async function open(person) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 850 } });
  const page = await context.newPage();
  const seen = { errors: [], dialogs: [] };
  page.on('pageerror', (error) => seen.errors.push(error.message));
  page.on('dialog', (dialog) => { seen.dialogs.push(dialog.message()); dialog.accept(); });
  tokens.link = person;
  await page.goto(`http://127.0.0.1:${red.port}/?access_token=link`);
  await ready(page);
  return { context, page, seen };
}

async function ready(page) {
  await page.waitForSelector('.red-ui-palette-node', { timeout: EDITOR_TIMEOUT_MS });
  await page.waitForSelector('#red-ui-loading-progress', { state: 'hidden', timeout: EDITOR_TIMEOUT_MS });
  await page.waitForSelector('#openflow-role', { state: 'attached', timeout: EDITOR_TIMEOUT_MS });
}

const shot = (page, name) => shoot(page, `snapshots-${name}`);
const rename = (page, name) => page.evaluate((it) => {
  const node = RED.nodes.node('in');
  node.name = it;
  node.changed = node.dirty = true;
  RED.nodes.dirty(true);
  RED.view.redraw();
}, name);
const nameNow = async () => (await red.ask({ path: '/flows', headers: BEARER })).json().find(({ id }) => id === 'in').name;
const changes = () => manager.calls.filter(({ method, url }) => method === 'POST' && url.startsWith('/shim/v1/snapshots'))
  .map(({ url, body }) => [url, JSON.parse(body)]);
const label = (page, selector) => page.locator(selector).innerText();
const focused = (page) => page.evaluate(() => document.activeElement.innerText || document.activeElement.id);

async function deployByButton(page) {
  await page.click('#red-ui-header-button-deploy');
  await page.waitForFunction(() => !RED.nodes.dirty());
}

test('snapshot, change, roll back: what was is there again, and its credentials work', async () => {
  const { context, page, seen } = await open(ADA);
  await page.click('#openflow-snapshot-button');
  await page.waitForSelector('text=There are no snapshots yet');
  await shot(page, 'empty');
  await page.fill('#openflow-snapshot-name', `  ${MARKUP}  `);
  await page.click('#openflow-snapshot-take');
  await page.waitForSelector('#openflow-snapshot-list li');
  assert.equal(await label(page, '#openflow-snapshot-list li div'), `${MARKUP}\nAda Lovelace · just now · 4 nodes`);
  assert.deepEqual(changes(), [['/shim/v1/snapshots', { name: MARKUP, person: { userId: ADA.userId } }]]);
  await shot(page, 'list');
  await page.keyboard.press('Escape');
  assert.equal(await focused(page), 'Snapshot');

  await rename(page, 'the second');
  await deployByButton(page);
  assert.equal(await nameNow(), 'the second');
  await until(() => manager.calls.some(({ url, body }) => url === '/shim/v1/deployed' && body.includes(ADA.userId)));
  await rename(page, 'never deployed');

  await page.click('#openflow-snapshot-button');
  await page.waitForSelector('text=You have changes that are not deployed');
  await page.click('#openflow-snapshot-list button:has-text("Roll back")');
  await page.waitForSelector('#openflow-rollback-confirm');
  const question = await label(page, '.openflow-dialog');
  for (const part of [MARKUP, 'flows and credentials replace', 'snapshot of the present state', 'restarts', 'they are lost']) assert.ok(question.includes(part), question);
  await pause(400); // the dialog slides in
  await shot(page, 'confirm');
  assert.equal(changes().length, 1); // nothing happens before the answer
  const reloaded = page.waitForEvent('load', { timeout: EDITOR_TIMEOUT_MS });
  await page.click('#openflow-rollback-confirm');
  await page.waitForSelector('text=The instance restarts…');
  await pause(400);
  await shot(page, 'progress');
  await reloaded;
  await ready(page);
  await store.restoring;

  assert.equal(await page.evaluate(() => RED.nodes.node('in').name), 'the first');
  assert.equal(await page.evaluate(() => RED.nodes.dirty()), false);
  assert.equal(await nameNow(), 'the first');
  manager.calls.length = 0;
  assert.equal((await red.ask({ path: '/api/back' })).body, 'the dashboard');
  assert.deepEqual(manager.calls.map(({ url, authorization }) => [url, authorization]), [['/behind-a-password', BASIC]]);
  assert.deepEqual([seen.dialogs, seen.errors], [[], []]);
  assert.notEqual(await page.title(), 'owned');

  await page.click('#openflow-snapshot-button');
  await page.waitForSelector('#openflow-snapshot-list li >> nth=1');
  assert.match(await label(page, '#openflow-snapshot-list li >> nth=0'), /^Before a rollback/);
  await context.close();
});

test('with the keyboard alone; Escape leaves everything as it is', async () => {
  take('manual', 'by key');
  const { context, page, seen } = await open(ADA);
  await page.focus('#openflow-snapshot-button');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#openflow-snapshot-list li');
  assert.equal(await focused(page), 'openflow-snapshot-name');
  for (const key of ['Tab', 'Tab']) await page.keyboard.press(key);
  assert.equal(await focused(page), 'Roll back');
  await page.keyboard.press('Delete'); // a shortcut of the editor
  await page.keyboard.press('Enter');
  await page.waitForSelector('#openflow-rollback-confirm');
  await until(async () => await focused(page) === 'Cancel');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#openflow-rollback-confirm', { state: 'detached' });
  assert.equal(await focused(page), 'Snapshot');
  assert.equal(await page.locator('#openflow-snapshot-panel').isVisible(), false);

  await page.keyboard.press('Enter');
  await page.waitForSelector('#openflow-snapshot-panel', { state: 'visible' });
  await page.keyboard.type('named by key');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#openflow-snapshot-list li >> nth=1');
  await page.mouse.click(600, 600);
  await page.waitForSelector('#openflow-snapshot-panel', { state: 'hidden' });
  assert.deepEqual(changes(), [['/shim/v1/snapshots', { name: 'named by key', person: { userId: ADA.userId } }]]);
  assert.deepEqual([seen.errors, await page.evaluate(() => RED.nodes.dirty())], [[], false]);
  await context.close();
});

test('a rollback that is undone says why, and the edits are still there', async () => {
  take('manual', 'does not start');
  store.fails = 'The instance was not healthy within 60 s: a module is missing.';
  const { context, page, seen } = await open(ADA);
  await rename(page, 'still here');
  await page.click('#openflow-snapshot-button');
  await page.click('#openflow-snapshot-list button:has-text("Roll back")');
  await page.click('#openflow-rollback-confirm');
  await page.waitForSelector('text=a module is missing. What was there before runs again.', { timeout: EDITOR_TIMEOUT_MS });
  await pause(400);
  await shot(page, 'undone');
  await page.click('.openflow-dialog button:has-text("Close")');
  await store.restoring;
  assert.deepEqual(await page.evaluate(() => [RED.nodes.node('in').name, RED.nodes.dirty()]), ['still here', true]);
  assert.deepEqual([seen.dialogs, seen.errors], [[], []]);
  await context.close();
});

test('refusals and an absent manager are told in words, and can be tried again', async () => {
  take('auto', null);
  const { context, page, seen } = await open(ADA);
  store.refuse = { title: 'Conflict', status: 409, detail: 'Another restore of this instance is running. Wait until it is done.' };
  await page.click('#openflow-snapshot-button');
  await page.click('#openflow-snapshot-list button:has-text("Roll back")');
  await page.click('#openflow-rollback-confirm');
  await page.waitForSelector('text=Another restore of this instance is running.');
  await page.click('.openflow-dialog button:has-text("Close")');
  await page.waitForSelector('.openflow-dialog', { state: 'detached' });

  store.refuse = { title: 'Forbidden', status: 403, detail: MARKUP };
  await page.click('#openflow-snapshot-button');
  await page.click('#openflow-snapshot-take');
  await page.waitForFunction((text) => document.querySelector('#openflow-snapshot-panel .openflow-error')?.textContent === text, MARKUP);
  await page.keyboard.press('Escape');

  manager.down = true;
  await page.click('#openflow-snapshot-button');
  await page.waitForSelector('text=Openflow could not be asked just now.');
  await shot(page, 'away');
  manager.down = false;
  await page.click('button:has-text("Try again")');
  await page.waitForSelector('#openflow-snapshot-list li');
  assert.match(await label(page, '#openflow-snapshot-list li div'), /^Automatic, after a deploy/);
  assert.notEqual(await page.title(), 'owned');
  assert.deepEqual(seen.errors, []);
  await context.close();
});

test('a viewer has no button', async () => {
  const { context, page } = await open({ userId: 'u2', name: 'Zoë', role: 'viewer' });
  assert.equal(await page.locator('#openflow-viewer').count(), 1);
  assert.equal(await page.locator('#openflow-snapshot-button').count(), 0);
  const status = await page.evaluate(async () => (await fetch('openflow/snapshots', { method: 'POST' })).status);
  assert.equal(status, 403);
  await context.close();
});
