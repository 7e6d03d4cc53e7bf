'use strict';
// n8n's editor as a person meets it, in a real browser.
const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { shoot, startBrowser } = require('./chromium');
const { JSON_TYPE, echoWorkflow, startManager, startN8n, until } = require('../n8n/support');

const EDITOR_TIMEOUT_MS = 90_000;
const HOME = '[data-test-id="project-home-menu-item"]';

let browser;
let manager;
let n8n;
let base;
const tokens = {};
before(async () => {
  manager = await startManager(tokens);
  n8n = await startN8n({ env: { OPENFLOW_MANAGER_URL: manager.url, OPENFLOW_LAUNCH_URL: `${manager.url}/launch/wf1`, OPENFLOW_URL: '' } });
  base = `http://127.0.0.1:${n8n.port}`;
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await n8n?.stop();
  manager?.stop();
});

async function launch(person) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 850 } });
  const page = await context.newPage();
  const seen = { sockets: [], refused: [], errors: [] };
  page.on('websocket', (socket) => {
    const state = { url: socket.url(), open: true, received: [] };
    seen.sockets.push(state);
    socket.on('framereceived', ({ payload }) => state.received.push(String(payload)));
    socket.on('close', () => { state.open = false; });
  });
  page.on('response', (response) => { if (response.status() >= 400 && response.url().startsWith(base)) seen.refused.push(`${response.status()} ${response.request().method()} ${response.url()}`); });
  page.on('pageerror', (error) => seen.errors.push(error.message));
  tokens.link = person;
  const answer = await page.goto(`${base}/?access_token=link`);
  return { context, page, seen, answer };
}

/** Asks as the page does, with its cookie and origin. */
const fetchJson = (page, method, path, body) => page.evaluate(async ([how, where, what]) => {
  const answer = await fetch(where, { method: how, headers: { 'content-type': 'application/json' }, body: what && JSON.stringify(what) });
  return { status: answer.status, value: await answer.json().catch(() => null) };
}, [method, path, body]);

test('a member lands in the editor with nothing typed, is named, builds a webhook that answers, and signs out', async () => {
  const { context, page, seen, answer } = await launch({ userId: 'u1', name: 'Ada Lovelace', role: 'member' });
  assert.equal(answer.status(), 200);
  await page.waitForURL(/\/home\/workflows|\/workflow\//, { timeout: EDITOR_TIMEOUT_MS });
  assert.ok(!page.url().includes('access_token'));
  await page.waitForSelector(HOME, { timeout: EDITOR_TIMEOUT_MS });
  assert.equal(await page.locator('#openflow-person').innerText({ timeout: EDITOR_TIMEOUT_MS }), 'Ada Lovelace');
  assert.equal((await fetchJson(page, 'GET', '/rest/login')).value.data.firstName, 'Ada Lovelace');
  assert.equal(await page.locator('input[type=password]').count(), 0);

  const made = await fetchJson(page, 'POST', '/rest/workflows', echoWorkflow('browser'));
  assert.equal(made.status, 200);
  const { id, versionId } = made.value.data;
  await page.goto(`${base}/workflow/${id}`);
  await page.waitForSelector('[data-test-id="canvas-node"]', { timeout: EDITOR_TIMEOUT_MS });
  await until(() => seen.sockets.some(({ url, open }) => url.includes('/rest/push') && open));
  await shoot(page, 'n8n-member');

  assert.equal((await fetchJson(page, 'POST', `/rest/workflows/${id}/activate`, { versionId })).status, 200);
  const call = () => n8n.ask({ method: 'POST', path: '/webhook/browser', headers: JSON_TYPE, body: {} });
  await until(async () => (await call()).status === 200);
  // The push connection is live: the editor hears of what is activated.
  await until(() => seen.sockets.some(({ open, received }) => open && received.some((frame) => frame.includes(id))));
  assert.deepEqual([seen.refused.filter((line) => !/ai|templates/.test(line)), seen.errors], [[], []]);
  assert.ok(!(await context.cookies()).some(({ name }) => name === 'n8n-auth'));

  // By n8n's own way: its editor asks n8n to forget the session and goes on to n8n's sign-in page.
  assert.equal((await fetchJson(page, 'POST', '/rest/logout')).status, 200);
  await page.goto(`${base}/signin`);
  await page.waitForURL(`${manager.url}/`, { timeout: EDITOR_TIMEOUT_MS });
  assert.deepEqual(await context.cookies(base), []);
  await page.goto(base);
  assert.equal(page.url(), `${manager.url}/launch/wf1?next=%2F`);
  await context.close();
});

test('when Openflow’s session is over, the editor leads to Openflow and not to n8n’s sign-in form', async () => {
  const { context, page } = await launch({ userId: 'u1', name: 'Ada Lovelace', role: 'member' });
  await page.waitForSelector('#openflow-person', { timeout: EDITOR_TIMEOUT_MS });
  await context.clearCookies();
  await page.evaluate(() => history.pushState({}, '', '/signin?redirect=%252Fhome')).catch(() => {}); // the page goes away meanwhile
  // One redirect may overtake another here, which waitForURL takes for an abort: where the page ends up is what counts.
  await until(() => /\/launch\/wf1\?next=/.test(page.url()), EDITOR_TIMEOUT_MS);
  await context.close();
});

test('a page that stayed blank because a script did not come is loaded once more, and no more than once', async () => {
  const { context, page } = await launch({ userId: 'u1', name: 'Ada Lovelace', role: 'member' });
  await page.waitForSelector(HOME, { timeout: EDITOR_TIMEOUT_MS });
  const entry = /\/assets\/index-[^/]+\.js$/;
  let loads = 0;
  let fails = 1;
  await page.route(entry, (route) => {
    loads += 1;
    return loads <= fails ? route.abort('failed') : route.continue();
  });
  await page.reload({ waitUntil: 'commit' });
  await page.waitForSelector(HOME, { timeout: EDITOR_TIMEOUT_MS });
  assert.equal(loads, 2);

  await page.evaluate(() => sessionStorage.clear());
  [loads, fails] = [0, Infinity];
  await page.reload({ waitUntil: 'commit' });
  await until(() => loads === 2, EDITOR_TIMEOUT_MS);
  await page.waitForTimeout(8000); // longer than it takes to load it a third time
  assert.equal(loads, 2);
  await context.close();
});

test('a viewer reads why the editor is closed to them', async () => {
  const { context, page, answer } = await launch({ userId: 'u2', name: 'Zoë', role: 'viewer' });
  assert.equal(answer.status(), 403);
  assert.match(await page.locator('body').innerText(), /Your role here is viewer/);
  await shoot(page, 'n8n-viewer');
  await context.close();
});
