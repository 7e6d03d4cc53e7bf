'use strict';
// The editor as a person meets it, in a real browser.
const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { shoot, startBrowser } = require('./chromium');
const { ECHO_FLOW, MAGIC, deploy, startManager, startNodeRed, until } = require('../support');

const EDITOR_TIMEOUT_MS = 60_000;

let browser;
let manager;
let red;
let base;
const tokens = {};
before(async () => {
  manager = await startManager(tokens);
  red = await startNodeRed({ env: { OPENFLOW_MANAGER_URL: manager.url, OPENFLOW_LAUNCH_URL: `${manager.url}/launch/wf1` } });
  base = `http://127.0.0.1:${red.port}`;
  await deploy(red, ECHO_FLOW);
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await red?.stop();
  manager?.stop();
});

/** Opens a launch link in a fresh profile and waits until the editor can be used. */
async function launch(person, { stale = false } = {}) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 850 } });
  const page = await context.newPage();
  const seen = { sockets: [], refused: [], errors: [] };
  page.on('websocket', (socket) => {
    const state = { url: socket.url(), sent: [], received: 0 };
    seen.sockets.push(state);
    socket.on('framesent', ({ payload }) => state.sent.push(String(payload)));
    socket.on('framereceived', () => { state.received += 1; });
  });
  page.on('response', (response) => { if (response.status() >= 400) seen.refused.push(`${response.status()} ${response.request().method()} ${response.url()}`); });
  page.on('pageerror', (error) => seen.errors.push(error.message));
  if (stale) {
    await page.goto(`${base}/openflow/health`);
    await page.evaluate(() => localStorage.setItem('auth-tokens', JSON.stringify({ access_token: 'stale' })));
  }
  tokens.link = person;
  const answer = await page.goto(`${base}/?access_token=link`);
  assert.equal(answer.status(), 200);
  // The token is gone from the address; the editor may already have named the open tab in its fragment.
  assert.equal(page.url().split('#')[0], `${base}/`);
  await page.waitForSelector('.red-ui-palette-node', { timeout: EDITOR_TIMEOUT_MS });
  await page.waitForSelector('#openflow-role', { state: 'attached', timeout: EDITOR_TIMEOUT_MS });
  await until(() => seen.sockets.some(({ url, received }) => url.endsWith('/comms') && received > 0));
  return { context, page, seen };
}

test('a member lands signed in, is named, and deploys; a stale token of the editor does not matter', async () => {
  const { context, page, seen } = await launch({ userId: 'u1', name: 'Ada Lovelace', role: 'member' }, { stale: true });
  assert.equal(await page.locator('#node-dialog-login').count(), 0);
  assert.equal(await page.title(), 'Workflow one · Openflow : Echo');
  await page.click('#red-ui-header-button-user');
  assert.equal(await page.locator('#usermenu-item-username').innerText(), 'Ada Lovelace\nmember');
  await shoot(page, 'member');
  await page.keyboard.press('Escape');

  await page.evaluate(() => {
    const node = { id: 'late', type: 'http in', z: RED.workspaces.active(), url: '/late', method: 'get', x: 200, y: 300, wires: [['answer']] };
    RED.view.importNodes(JSON.stringify([node]), { addFlow: false, touchImport: true, generateIds: false });
    RED.nodes.dirty(true);
  });
  await page.mouse.move(700, 500);
  await page.mouse.click(700, 500); // puts the imported node down
  await page.click('#red-ui-header-button-deploy');
  await until(async () => (await red.ask({ path: '/flows', headers: { authorization: `Bearer ${MAGIC}` } })).body.includes('"late"'));
  await until(() => page.evaluate(() => !RED.nodes.dirty()));
  assert.deepEqual([seen.refused, seen.errors], [[], []]);
  assert.ok(!seen.sockets.some(({ sent }) => sent.some((frame) => frame.includes('"auth"'))));
  const cookies = await context.cookies();
  assert.ok(cookies.every(({ httpOnly, sameSite }) => httpOnly && sameSite === 'Lax'));
  await context.close();
});

test('a viewer looks but cannot deploy', async () => {
  const { context, page, seen } = await launch({ userId: 'u2', name: 'Zoë', role: 'viewer' });
  assert.equal(await page.locator('#openflow-viewer').innerText(), 'View only');
  await page.evaluate(() => RED.nodes.dirty(true));
  await shoot(page, 'viewer');
  const status = await page.evaluate(async () => (await fetch('flows', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '[]' })).status);
  assert.equal(status, 403);
  const before403 = seen.refused.filter((line) => !line.startsWith('403 POST')).length;
  assert.equal(before403, 0, String(seen.refused));
  assert.ok(!(await context.cookies()).some(({ value }) => value === MAGIC));
  await page.click('#red-ui-header-button-deploy', { force: true });
  await page.waitForTimeout(500);
  await shoot(page, 'viewer-deploy');
  assert.ok((await red.ask({ path: '/flows', headers: { authorization: `Bearer ${MAGIC}` } })).body.includes('"Echo"'));
  await context.close();
});

test('signing out leaves no way back in without a new launch', async () => {
  const { context, page } = await launch({ userId: 'u1', name: '<img src=x onerror=document.title="owned">', role: 'owner' });
  await page.click('#red-ui-header-button-user');
  assert.match(await page.locator('#usermenu-item-username').innerText(), /‹img/);
  assert.notEqual(await page.title(), 'owned');
  await page.click('#usermenu-item-logout');
  await page.waitForURL(`${manager.url}/`);
  assert.deepEqual((await context.cookies(base)), []);
  await page.goto(base);
  assert.equal(page.url(), `${manager.url}/launch/wf1?next=%2F`);
  await context.close();
});

test('an old link offers to launch again', async () => {
  const page = await browser.newPage();
  const answer = await page.goto(`${base}/?access_token=long-gone`);
  assert.equal(answer.status(), 401);
  assert.equal(await page.locator('a').innerText(), 'Launch again');
  await shoot(page, 'old-link');
  await page.close();
});
