'use strict';
// Snapshots as a person meets them in n8n's editor. The manager is one of the test's own that keeps the instance's content
// and writes it back while n8n runs, as the real one does.
const assert = require('node:assert/strict');
const { after, before, beforeEach, test } = require('node:test');
const { shoot, startBrowser } = require('./chromium');
const { BEARER, startManager, startN8n, until } = require('../n8n/support');
const { answering, contentOf } = require('../n8n/workflows');

const EDITOR_TIMEOUT_MS = 45_000;
const ADA = { userId: '0198f0a0-0000-7000-8000-0000000000aa', name: 'Ada Lovelace', role: 'member' };
const MARKUP = '<img src=x onerror="document.title=\'owned\'"> & co';
const uuid = (n) => `0198f0a0-0000-7000-8000-${String(n).padStart(12, '0')}`;

let browser;
let manager;
let n8n;
let store; // what the manager knows: snapshots newest first, restores by id
const tokens = {};

async function answer(method, url, body) {
  const [, id] = /([0-9a-f-]{36})/.exec(url) ?? [];
  if (url === '/shim/v1/deployed') return [202, ''];
  if (method === 'GET' && url.startsWith('/shim/v1/snapshots')) return [200, { items: store.snapshots.map((it) => it.item) }];
  if (method === 'GET') return [200, store.restores[id]];
  if (store.refuse) return [store.refuse.status, store.refuse];
  if (url === '/shim/v1/snapshots') return [201, await take('manual', body.name ?? null)];
  const { content } = store.snapshots.find((it) => it.item.id === id);
  const restore = { id: uuid(900), state: 'preparing', detail: null };
  store.restores[restore.id] = restore;
  await take('before-restore', null);
  store.restoring = put(content).then(() => { restore.state = 'done'; });
  return [202, { id: restore.id, state: restore.state }];
}

async function take(kind, name) {
  const content = (await n8n.ask({ path: '/openflow/content', headers: BEARER })).json();
  const nodes = content.workflows.reduce((sum, it) => sum + it.nodes.length, 0);
  const item = { id: uuid(store.snapshots.length + 1), kind, name, author: ADA.name, nodes, createdAt: new Date().toISOString() };
  store.snapshots.unshift({ item, content });
  return item;
}

async function put(content) {
  const result = await n8n.ask({ method: 'PUT', path: '/openflow/content', headers: { ...BEARER, 'content-type': 'application/json' }, body: content });
  assert.equal(result.status, 200, result.body);
}

before(async () => {
  manager = await startManager(tokens, answer);
  n8n = await startN8n({ env: { OPENFLOW_MANAGER_URL: manager.url, OPENFLOW_LAUNCH_URL: `${manager.url}/launch/shop`, N8N_WORKFLOWS_AUTOSAVE_DISABLED: 'true' } });
  browser = await startBrowser();
});
beforeEach(async () => {
  store = { snapshots: [], restores: {} };
  await put(contentOf({ workflows: [answering('wfHello', 'hello', 'the first')] }));
  manager.calls.length = 0;
});
after(async () => {
  await browser?.close();
  await n8n?.stop();
  manager?.stop();
});

async function open(person) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 850 } });
  const page = await context.newPage();
  const seen = { errors: [], dialogs: [] };
  page.on('pageerror', (error) => seen.errors.push(error.message));
  page.on('dialog', (dialog) => { seen.dialogs.push(dialog.message()); dialog.accept(); });
  tokens.link = person;
  await page.goto(`http://127.0.0.1:${n8n.port}/workflow/wfHello?access_token=link`);
  return { context, page, seen };
}

const NODE = '[data-test-id="canvas-node"] >> nth=0';

/** Chromium gives up what it is loading when an interface of the machine comes or goes, as with each container; then once more. */
async function ready(page) {
  for (let left = 4; ; left -= 1) {
    try {
      await page.waitForSelector(NODE, { timeout: EDITOR_TIMEOUT_MS });
      return void await page.waitForSelector('#openflow-snapshot-button', { timeout: EDITOR_TIMEOUT_MS });
    } catch (error) {
      if (left === 0) throw error;
      await shot(page, 'not-ready');
      await page.reload();
    }
  }
}

const shot = (page, name) => shoot(page, `n8n-snapshots-${name}`);
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const label = (page, selector) => page.locator(selector).innerText();
const focused = (page) => page.evaluate(() => document.activeElement.innerText || document.activeElement.id);
const says = async () => { const it = await n8n.ask({ path: '/webhook/hello' }); return it.status === 200 ? it.json().says : it.status; };
const changes = () => manager.calls.filter(({ method, url }) => method === 'POST' && url.startsWith('/shim/v1/snapshots'))
  .map(({ url, body }) => [url, JSON.parse(body)]);

async function openPanel(page) {
  await page.click('#openflow-snapshot-button');
  await page.waitForSelector('#openflow-snapshot-panel', { state: 'visible' });
}

async function moveNode(page) {
  let box;
  await until(async () => { box = await page.locator(NODE).boundingBox(); return box; }); // it may be drawn anew just now
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  for (let i = 1; i <= 5; i += 1) await page.mouse.move(x + 20 * i, y + 20 * i);
  await page.mouse.up();
}

test('snapshot, change, roll back: what was is there again and runs', async () => {
  const { context, page, seen } = await open(ADA);
  await ready(page);
  await openPanel(page);
  await page.waitForSelector('text=There are no snapshots yet');
  await page.fill('#openflow-snapshot-name', `  ${MARKUP}  `);
  await page.click('#openflow-snapshot-take');
  await page.waitForSelector('#openflow-snapshot-list li');
  assert.equal(await label(page, '#openflow-snapshot-list li div'), `${MARKUP}\nAda Lovelace · just now · 2 nodes`);
  assert.deepEqual(changes(), [['/shim/v1/snapshots', { name: MARKUP, person: { userId: ADA.userId } }]]);
  await shot(page, 'list');
  await page.keyboard.press('Escape');
  assert.equal(await focused(page), 'Snapshot');

  await moveNode(page);
  await put(contentOf({ workflows: [answering('wfHello', 'hello', 'the second'), answering('wfNew', 'new', 'new')] }));
  assert.equal(await says(), 'the second');
  await openPanel(page);
  await page.waitForSelector('text=You have changes that are not saved');
  await page.click('#openflow-snapshot-list button:has-text("Roll back")');
  await page.waitForSelector('#openflow-rollback-confirm');
  const question = await label(page, '.openflow-dialog');
  for (const part of [MARKUP, 'A snapshot of the present state is taken before', 'are archived', 'they are lost']) assert.ok(question.includes(part), question);
  await shot(page, 'confirm');
  assert.equal(changes().length, 1); // nothing happens before the answer
  const reloaded = page.waitForEvent('load', { timeout: EDITOR_TIMEOUT_MS });
  await page.click('#openflow-rollback-confirm');
  await reloaded;
  await ready(page);
  await store.restoring;
  assert.equal(await says(), 'the first');
  assert.equal((await n8n.ask({ path: '/webhook/new' })).status, 404);
  assert.deepEqual([seen.dialogs, seen.errors], [[], []]);
  assert.notEqual(await page.title(), 'owned');

  await openPanel(page);
  await page.waitForSelector('#openflow-snapshot-list li >> nth=1');
  assert.match(await label(page, '#openflow-snapshot-list li >> nth=0'), /^Before a rollback/);
  await context.close();
});

test('with the keyboard alone; Escape leaves everything as it is', async () => {
  await take('manual', 'by key');
  const { context, page, seen } = await open(ADA);
  await ready(page);
  await page.focus('#openflow-snapshot-button');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#openflow-snapshot-list li');
  assert.equal(await focused(page), 'openflow-snapshot-name');
  for (const key of ['Tab', 'Tab']) await page.keyboard.press(key);
  assert.equal(await focused(page), 'Roll back');
  await page.keyboard.press('Delete'); // a shortcut of the editor
  await page.keyboard.press('Enter');
  await page.waitForSelector('#openflow-rollback-confirm');
  assert.equal(await focused(page), 'Cancel');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#openflow-rollback-confirm', { state: 'detached' });
  assert.equal(await focused(page), 'Snapshot');
  assert.equal(await page.locator('[data-test-id="canvas-node"]').count(), 2);
  assert.deepEqual([changes(), seen.errors], [[], []]);
  await context.close();
});

test('refusals and an absent manager are told in words, on every page of the editor', async () => {
  await take('auto', null);
  const { context, page, seen } = await open(ADA);
  await ready(page);
  store.refuse = { title: 'Conflict', status: 409, detail: 'Another restore of this instance is running. Wait until it is done.' };
  await openPanel(page);
  await page.click('#openflow-snapshot-list button:has-text("Roll back")');
  await page.click('#openflow-rollback-confirm');
  await page.waitForSelector('text=Another restore of this instance is running.');
  await page.click('.openflow-dialog button:has-text("Close")');
  store.refuse = { title: 'Forbidden', status: 403, detail: MARKUP };
  await openPanel(page);
  await page.click('#openflow-snapshot-take');
  await page.waitForFunction((text) => document.querySelector('#openflow-snapshot-panel .openflow-error')?.textContent === text, MARKUP);
  await page.keyboard.press('Escape');

  await page.goto(`http://127.0.0.1:${n8n.port}/home/workflows`);
  await page.waitForSelector('#openflow-snapshot-button', { timeout: EDITOR_TIMEOUT_MS });
  await page.waitForSelector('[data-test-id="resources-list-item-workflow"]', { timeout: EDITOR_TIMEOUT_MS });
  await page.waitForLoadState('networkidle'); // a page that is still being drawn takes the focus, which closes the panel
  manager.down = true;
  await openPanel(page);
  await page.waitForSelector('text=Openflow could not be asked just now.');
  manager.down = false;
  await page.click('button:has-text("Try again")');
  await page.waitForSelector('#openflow-snapshot-list li');
  assert.match(await label(page, '#openflow-snapshot-list li div'), /^Automatic/);
  assert.notEqual(await page.title(), 'owned');
  await pause(200);
  assert.deepEqual(seen.errors, []);
  await context.close();
});

test('a viewer has no editor, and no button', async () => {
  const { context, page } = await open({ userId: 'u2', name: 'Zoë', role: 'viewer' });
  await page.waitForSelector('text=Your role here is viewer');
  assert.equal(await page.locator('#openflow-snapshot-button').count(), 0);
  await context.close();
});
