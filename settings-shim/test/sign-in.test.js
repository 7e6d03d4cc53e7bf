'use strict';
// Who gets in and who does not, asked of a real Node-RED as a browser, a program or an attacker would.
const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { BEARER, ECHO_FLOW, INSTANCE_ID, LAUNCH_URL, MAGIC, deploy, identity, startManager, startNodeRed } = require('./support');
const { identityKey, signSession } = require('../common/identity');

const HOST = 'wf1.test';
const OWN = { host: HOST, origin: `http://${HOST}` };
const SIBLING = { host: HOST, origin: 'http://wf2.test' };
const COOKIE = { cookie: `openflow_token=${MAGIC}` };
const JSON_TYPE = { 'content-type': 'application/json' };
const launch = (next) => `${LAUNCH_URL}?next=${encodeURIComponent(next)}`;
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600;
const session = (role, userId = 'user-9') => signSession({ userId, name: 'Grace', role }, identityKey(MAGIC), INSTANCE_ID, inAnHour());

let red;
let manager;
const tokens = {};
before(async () => {
  manager = await startManager(tokens);
  red = await startNodeRed({ env: { OPENFLOW_MANAGER_URL: manager.url } });
  await deploy(red, ECHO_FLOW);
});
after(async () => {
  await red?.stop();
  manager?.stop();
});

test('health is open and tells that flows run', async () => {
  const answer = await red.ask({ path: '/openflow/health' });
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json(), { ok: true, flows: true });
});

const waysIn = {
  'the magic token as bearer': BEARER,
  'the magic token as bearer, spelled in lower case': { authorization: `bearer ${MAGIC}` },
  'the magic token as cookie': COOKIE,
  'the magic token as cookie behind one that a sibling planted': { cookie: `openflow_token=planted; openflow_token=${MAGIC}` },
  'the magic token as cookie although the editor sends a stale bearer': { ...COOKIE, authorization: 'Bearer stale' },
  "the proxy's identity header": identity('member'),
  "the proxy's identity header although the editor sends a stale bearer": { ...identity('owner'), authorization: 'Bearer stale' },
  'a session cookie of the shim': { cookie: `openflow_token=${session('viewer')}` },
};
for (const [way, headers] of Object.entries(waysIn)) {
  test(`in comes ${way}`, async () => {
    const answer = await red.ask({ path: '/flows', headers });
    assert.equal(answer.status, 200);
    assert.ok(answer.json().some(({ label }) => label === 'Echo'));
    assert.equal((await red.ask({ path: '/', headers })).status, 200);
  });
}

// [who, request, expected status, expected Location]
const refusals = [
  ['nobody, the page', { path: '/' }, 302, launch('/')],
  ['nobody, the page with a query', { path: '/?a=%20b' }, 302, launch('/?a=%20b')],
  ['nobody, the page by HEAD', { path: '/', method: 'HEAD' }, 302, launch('/')],
  ['nobody, the page, tricky slashes', { path: '//evil.test/..%2f' }, 400],
  ['nobody, another host smuggled into the path', { path: '//evil.test' }, 404],
  ['nobody, the page as JSON', { path: '/', headers: { accept: 'application/json' } }, 401],
  ['nobody, the API', { path: '/flows' }, 401],
  ['nobody, the API as a browser', { path: '/flows', headers: { accept: 'text/html' } }, 401],
  ['nobody, the API in capitals', { path: '/FLOWS' }, 401],
  ['nobody, the settings', { path: '/settings' }, 401],
  ['nobody, a deploy', { method: 'POST', path: '/flows', headers: JSON_TYPE, body: [] }, 401],
  ['nobody, a palette install', { method: 'POST', path: '/nodes', headers: JSON_TYPE, body: { module: 'x' } }, 401],
  ['nobody, an inject', { method: 'POST', path: '/inject/x' }, 401],
  ['nobody, who they are', { path: '/openflow/me' }, 401],
  ['nobody, a path that only a flow might have', { path: '/hello' }, 404],
  ['nobody, the editor’s code', { path: '/red/red.min.js' }, 404],
  ['a wrong bearer', { path: '/flows', headers: { authorization: 'Bearer wrong' } }, 401],
  ['the magic token as basic auth', { path: '/flows', headers: { authorization: `Basic ${Buffer.from(`x:${MAGIC}`).toString('base64')}` } }, 401],
  ['a wrong cookie', { path: '/flows', headers: { cookie: 'openflow_token=wrong' } }, 401],
  ['an empty cookie', { path: '/flows', headers: { cookie: 'openflow_token=' } }, 401],
  ['the magic token under another cookie', { path: '/flows', headers: { cookie: `openflow_person=${MAGIC}` } }, 401],
  ['an expired identity', { path: '/flows', headers: identity('owner', { seconds: -1 }) }, 401],
  ['an identity for another instance', { path: '/flows', headers: identity('owner', { instanceId: 'other' }) }, 401],
  ['an identity under another magic token', { path: '/flows', headers: identity('owner', { magic: 'another-magic-token-1234' }) }, 401],
  ['an identity with an unknown role', { path: '/flows', headers: identity('root') }, 401],
  ['a garbled identity', { path: '/flows', headers: { 'x-openflow-identity': 'a.b' } }, 401],
  ['two identities', { path: '/flows', headers: { 'x-openflow-identity': Array(2).fill(identity('owner')['x-openflow-identity']) } }, 401],
  ['the internal header, invented', { path: '/flows', headers: { 'x-openflow-session': 'x.y' } }, 401],
  ['the magic token in the internal header', { path: '/flows', headers: { 'x-openflow-session': MAGIC } }, 401],
  ['the magic token in the URL', { method: 'DELETE', path: `/flow/x?access_token=${MAGIC}` }, 401],
  ['a deploy from a sibling’s page with the cookie', { method: 'POST', path: '/flows', headers: { ...COOKIE, ...SIBLING, ...JSON_TYPE }, body: [] }, 401],
  ['a deploy from a sibling’s page through the proxy', { method: 'POST', path: '/flows', headers: { ...identity('owner'), ...SIBLING, ...JSON_TYPE }, body: [] }, 401],
  ['a deploy from a page without origin', { method: 'POST', path: '/flows', headers: { ...COOKIE, host: HOST, origin: 'null', ...JSON_TYPE }, body: [] }, 401],
  ['a deploy that the browser calls same-site', { method: 'POST', path: '/flows', headers: { ...COOKIE, host: HOST, 'sec-fetch-site': 'same-site', ...JSON_TYPE }, body: [] }, 401],
  ['a password', { method: 'POST', path: '/auth/token', headers: JSON_TYPE, body: { client_id: 'node-red-editor', grant_type: 'password', username: 'openflow', password: MAGIC, scope: '*' } }, 401],
];
for (const [who, request, status, location] of refusals) {
  test(`refused: ${who}`, async () => {
    const answer = await red.ask(request);
    assert.deepEqual([answer.status, answer.headers.location, answer.cookies], [status, location, []]);
  });
}

test('a password is no way in for somebody who is signed in either', async () => {
  const body = { client_id: 'node-red-editor', grant_type: 'password', username: 'openflow', password: MAGIC, scope: '*' };
  const answer = await red.ask({ method: 'POST', path: '/auth/token', headers: { ...BEARER, ...JSON_TYPE }, body });
  assert.equal(answer.status, 400);
  assert.deepEqual((await red.ask({ path: '/auth/login', headers: BEARER })).json(), {});
});

test('a member deploys from the editor’s own page; the editor cannot be framed', async () => {
  const headers = { ...identity('member'), ...OWN, ...JSON_TYPE };
  assert.equal((await red.ask({ method: 'POST', path: '/flows', headers, body: ECHO_FLOW })).status, 204);
  assert.equal((await red.ask({ path: '/', headers: COOKIE })).headers['x-frame-options'], 'SAMEORIGIN');
});

test('the editor learns name and rights, without markup in the name', async () => {
  const user = async (headers) => (await red.ask({ path: '/settings', headers })).json().user;
  assert.deepEqual(await user(identity('owner', { name: 'Ada <b>' })), { username: 'Ada ‹b›', permissions: '*' });
  assert.deepEqual(await user(identity('viewer')), { username: 'Ada Lovelace', permissions: 'read' });
  assert.deepEqual(await user(BEARER), { username: 'openflow', permissions: '*' });
  assert.deepEqual((await red.ask({ path: '/openflow/me', headers: identity('viewer') })).json(), { name: 'Ada Lovelace', role: 'viewer' });
});

const viewerMayNot = [
  ['POST', '/flows', []], ['POST', '/flow', { nodes: [] }], ['PUT', '/flow/tab', { nodes: [] }], ['DELETE', '/flow/tab'],
  ['POST', '/flows/state', { state: 'stop' }], ['POST', '/nodes', { module: 'x' }], ['POST', '/inject/get'],
  ['POST', '/debug/d/disable'], ['DELETE', '/context/global/x'], ['POST', '/library/local/flows/x', {}], ['PUT', '/nodes/node-red', { enabled: false }],
];
for (const [method, path, body] of viewerMayNot) {
  test(`a viewer may not ${method} ${path}`, async () => {
    const headers = { ...identity('viewer'), ...OWN, ...JSON_TYPE };
    assert.equal((await red.ask({ method, path, headers, body })).status, 403);
    const inCookie = { cookie: `openflow_token=${session('viewer')}`, ...OWN, ...JSON_TYPE };
    assert.equal((await red.ask({ method, path, headers: inCookie, body })).status, 403);
  });
}

test('Node-RED itself also knows that a viewer may not deploy', async () => {
  const { policy, userOfToken, SESSION_HEADER } = require('../node-red/policy');
  const req = { headers: {}, rawHeaders: [] };
  policy.admit(req, { userId: 'u', name: 'Zoë', role: 'viewer' });
  assert.deepEqual(await userOfToken(req.headers[SESSION_HEADER]), { username: 'Zoë', permissions: 'read' });
  assert.equal(await userOfToken(`${req.headers[SESSION_HEADER]}x`), null);
  for (const wrong of [undefined, null, {}, '', '.', 'a.b', MAGIC]) assert.equal(await userOfToken(wrong), null);
});

test('a flow sees nothing of ours, in whatever way it is asked', async () => {
  const ours = {
    ...identity('owner'), cookie: `mine=1; openflow_token=${MAGIC}; openflow_person=x`, authorization: `Bearer ${MAGIC}`,
    'X-Openflow-Session': 'x', X_Openflow_Identity: 'y', 'X-Openflow-Anything': 'z',
  };
  for (const path of ['/api/echo', '/API/echo', '//api/echo']) {
    const answer = await red.ask({ path: `${path}?access_token=the-callers-own`, headers: ours });
    assert.equal(answer.status, 200, path);
    assert.ok(!/openflow_|x.openflow/i.test(answer.body.replaceAll('"env"', '')), answer.body);
    assert.ok(!answer.body.includes(MAGIC));
    assert.equal(answer.json().headers.cookie, 'mine=1');
    assert.ok(answer.json().url.includes('access_token=the-callers-own'));
  }
});

test('a flow keeps the caller’s own authorization and body', async () => {
  const headers = { authorization: 'Bearer the-callers-own', ...JSON_TYPE };
  const { headers: seen, body } = (await red.ask({ method: 'POST', path: '/api/echo', headers, body: { a: 1 } })).json();
  assert.deepEqual([seen.authorization, body], ['Bearer the-callers-own', { a: 1 }]);
});

test('a flow’s environment has what is meant for it and no secret', async () => {
  assert.deepEqual((await red.ask({ path: '/api/echo' })).json().env, {
    MAGIC_TOKEN: null, CREDENTIAL_SECRET: null, MANAGER_URL: null, LAUNCH_URL: null,
    INSTANCE_ID, SUBDOMAIN: 'wf1', NAME: 'Workflow one', URL: 'http://wf1.test', MQTT_USERNAME: 'mqtt-user',
  });
});

test('a launch link becomes a cookie once, and the browser is sent to the clean address', async () => {
  tokens['t-member'] = { userId: 'user-1', name: 'Ada Lovelace', role: 'member' };
  const answer = await red.ask({ path: '/?x=%2F1&access_token=t-member&y' });
  assert.deepEqual([answer.status, answer.headers.location], [303, '/?x=%2F1&y']);
  assert.equal(answer.headers['referrer-policy'], 'no-referrer');
  const [magic, person] = answer.headers['set-cookie'];
  assert.equal(magic, `openflow_token=${MAGIC}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000`);
  assert.match(person, /^openflow_person=[\w-]+\.[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=2592000$/);
  const me = await red.ask({ path: '/openflow/me', headers: { cookie: answer.cookies.join('; ') } });
  assert.deepEqual(me.json(), { name: 'Ada Lovelace', role: 'member' });

  const again = await red.ask({ path: '/?access_token=t-member&x=1' });
  assert.deepEqual([again.status, again.cookies], [401, []]);
  assert.ok(again.body.includes(launch('/?x=1').replace('&', '&#38;')), again.body);
  assert.ok(!again.body.includes('t-member'));
  assert.ok(!red.log().includes('t-member'));
});

test('behind TLS the cookie is Secure', async () => {
  tokens['t-tls'] = { userId: 'user-1', name: 'Ada', role: 'owner' };
  const answer = await red.ask({ path: '/?access_token=t-tls', headers: { 'x-forwarded-proto': 'https' } });
  for (const cookie of answer.headers['set-cookie']) assert.match(cookie, /; Secure$/);
});

test('a viewer’s browser never gets the magic token', async () => {
  tokens['t-viewer'] = { userId: 'user-2', name: 'Zoë', role: 'viewer' };
  const answer = await red.ask({ path: '/?access_token=t-viewer' });
  assert.equal(answer.status, 303);
  assert.ok(!JSON.stringify(answer.headers).includes(MAGIC));
  const headers = { cookie: answer.cookies.join('; ') };
  assert.deepEqual((await red.ask({ path: '/openflow/me', headers })).json(), { name: 'Zoë', role: 'viewer' });
  assert.equal((await red.ask({ method: 'POST', path: '/flows', headers: { ...headers, ...OWN, ...JSON_TYPE }, body: [] })).status, 403);
});

test('a link does not slip somebody into another account, nor sign them out', async () => {
  tokens['t-other'] = { userId: 'user-7', name: 'Mallory', role: 'member' };
  const headers = { cookie: `openflow_token=${MAGIC}; openflow_person=${session('member', 'user-1')}` };
  const other = await red.ask({ path: '/?access_token=t-other', headers });
  assert.deepEqual([other.status, other.cookies], [409, []]);
  const old = await red.ask({ path: '/?access_token=long-gone', headers });
  assert.deepEqual([old.status, old.headers.location, old.cookies], [303, '/', []]);
});

test('a link leads nowhere else', async () => {
  for (const path of ['//evil.test/', '/\\evil.test/', '///evil.test/%2f']) {
    tokens['t-open'] = { userId: 'user-1', name: 'Ada', role: 'member' };
    const { status, headers } = await red.ask({ path: `${path}?access_token=t-open` });
    assert.equal(status, 303);
    assert.match(headers.location, /^\/[^/\\]/);
  }
});

test('what redeems nothing: HEAD, POST, tokens of a wrong form', async () => {
  tokens['t-kept'] = { userId: 'user-1', name: 'Ada', role: 'member' };
  const calls = manager.calls.length;
  assert.equal((await red.ask({ method: 'HEAD', path: '/?access_token=t-kept' })).status, 302);
  assert.equal((await red.ask({ method: 'POST', path: '/flows?access_token=t-kept', headers: JSON_TYPE, body: [] })).status, 401);
  for (const token of ['', 'a%20b', '%00', '%F0%9F%A6%80', 'x'.repeat(5000)]) {
    assert.equal((await red.ask({ path: `/?access_token=${token}` })).status, 401);
  }
  assert.equal(manager.calls.length, calls);
});

test('when the manager cannot be asked nobody gets in', async () => {
  tokens['t-down'] = { userId: 'user-1', name: 'Ada', role: 'member' };
  manager.down = true;
  const answer = await red.ask({ path: '/?access_token=t-down' });
  manager.down = false;
  assert.deepEqual([answer.status, answer.cookies], [503, []]);
  manager.hang = true;
  const slow = await red.ask({ path: '/?access_token=t-down' });
  manager.hang = false;
  assert.deepEqual([slow.status, slow.cookies], [503, []]);
});

test('signing out clears the cookies and leads to the dashboard; another site cannot do it', async () => {
  const revoked = await red.ask({ method: 'POST', path: '/auth/revoke', headers: { ...COOKIE, ...OWN, ...JSON_TYPE }, body: { token: '' } });
  assert.deepEqual(revoked.json(), { redirect: '/openflow/logout' });
  const viewer = await red.ask({ method: 'POST', path: '/auth/revoke', headers: { ...identity('viewer'), ...OWN, ...JSON_TYPE }, body: { token: '' } });
  assert.equal(viewer.status, 200);
  const out = await red.ask({ path: '/openflow/logout', headers: COOKIE });
  assert.deepEqual([out.status, out.headers.location, out.cookies], [303, 'http://dashboard.test', ['openflow_token=', 'openflow_person=']]);
  const forced = await red.ask({ path: '/openflow/logout', headers: { ...COOKIE, 'sec-fetch-site': 'cross-site' } });
  assert.deepEqual([forced.status, forced.cookies], [303, []]);
});

test('without a launch address a page says what to do', async () => {
  const alone = await startNodeRed({ env: { OPENFLOW_LAUNCH_URL: '' } });
  try {
    const answer = await alone.ask({ path: '/', headers: { accept: 'text/html' } });
    assert.equal(answer.status, 401);
    assert.match(answer.body, /Openflow dashboard/);
  } finally {
    await alone.stop();
  }
});
