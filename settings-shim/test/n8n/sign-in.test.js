'use strict';
// Who gets in to n8n, as what, and what n8n sees of it.
const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { BEARER, JSON_TYPE, LAUNCH_URL, MAGIC, identity, raw, startManager, startN8n, until } = require('./support');

const HOST = 'wf1.test';
const OWN = { host: HOST, origin: `http://${HOST}` };
const SIBLING = { host: HOST, origin: 'http://wf2.test' };
const COOKIE = { cookie: `openflow_token=${MAGIC}` };
const HTML = { accept: 'text/html,*/*' };
const XHR = { accept: 'application/json, text/plain, */*' };
const launch = (next) => `${LAUNCH_URL}?next=${encodeURIComponent(next)}`;

let n8n;
let manager;
const tokens = {};
before(async () => {
  manager = await startManager(tokens);
  n8n = await startN8n({ env: { OPENFLOW_MANAGER_URL: manager.url } });
});
after(async () => {
  await n8n?.stop();
  manager?.stop();
});

const logIn = (headers) => n8n.ask({ path: '/rest/login', headers: { ...XHR, ...headers } });

const entries = {
  'the magic token as bearer': [BEARER, 'openflow'],
  'the magic token as cookie': [COOKIE, 'openflow'],
  'an owner through the proxy': [identity('owner'), 'Ada Lovelace'],
  'a member through the proxy': [identity('member', { name: 'Grace <Hopper>', userId: 'u2' }), 'Grace ‹Hopper›'],
};
for (const [who, [headers, name]] of Object.entries(entries)) {
  test(`gets in, and is named in the editor: ${who}`, async () => {
    const { status, headers: answered, json } = await logIn({ ...headers, 'accept-encoding': 'gzip', 'if-none-match': 'W/"x"' });
    assert.equal(status, 200);
    const { data } = json();
    assert.deepEqual([data.firstName, data.lastName, data.isOwner], [name, '', true]);
    assert.equal(answered['set-cookie'], undefined);
    assert.equal((await n8n.ask({ path: '/rest/workflows', headers: { ...headers, ...XHR } })).status, 200);
    assert.equal((await n8n.ask({ path: '/types/credentials.json', headers })).status, 200);
  });
}

const refusals = [
  ['nobody, the page', { path: '/', headers: HTML }, 302, launch('/')],
  ['nobody, a page within', { path: '/workflow/abc?x=1', headers: HTML }, 302, launch('/workflow/abc?x=1')],
  ['nobody, n8n’s own sign-in page', { path: '/signin', headers: HTML }, 302, launch('/signin')],
  ['nobody, n8n’s set-up page', { path: '/setup', headers: HTML }, 302, launch('/setup')],
  ['nobody, the API', { path: '/rest/workflows' }, 401],
  ['nobody, the API in capitals', { path: '/REST/workflows' }, 401],
  ['nobody, the API as a page', { path: '/rest/workflows', headers: HTML }, 401],
  ['nobody, the public settings', { path: '/rest/settings' }, 401],
  ['nobody, owner setup', { method: 'POST', path: '/rest/owner/setup', headers: JSON_TYPE, body: { email: 'a@b.test', firstName: 'a', lastName: 'b', password: 'Abcdefg1' } }, 401],
  ['nobody, a password', { method: 'POST', path: '/rest/login', headers: JSON_TYPE, body: { emailOrLdapLoginId: 'owner@openflow.invalid', password: 'x' } }, 401],
  ['nobody, forgot password', { method: 'POST', path: '/rest/forgot-password', headers: JSON_TYPE, body: { email: 'owner@openflow.invalid' } }, 401],
  ['nobody, an invitation', { path: '/rest/resolve-signup-token?token=x' }, 401],
  ['nobody, the types', { path: '/types/nodes.json' }, 401],
  ['nobody, the editor’s script', { path: '/openflow/editor.js' }, 401],
  ['nobody, n8n’s own health', { path: '/healthz' }, 401],
  ['nobody, the public API without a key', { path: '/api/v1/workflows' }, 401],
  ['nobody, the documentation of the public API', { path: '/api/v1/docs' }, 401],
  ['nobody, MCP', { method: 'POST', path: '/mcp-server/http', headers: JSON_TYPE, body: {} }, 401],
  ['nobody, metrics', { path: '/metrics' }, 404],
  ['the holder of the magic token, metrics', { path: '/METRICS/', headers: BEARER }, 404],
  ['nobody, the content', { path: '/openflow/content' }, 404],
  ['an owner through the proxy, the content', { path: '/openflow/content', headers: identity('owner') }, 404],
  ['an owner behind nginx, the content', { path: '/openflow/content', headers: COOKIE }, 404],
  ['the magic token from a page, the content', { path: '/openflow/content', headers: { ...BEARER, ...OWN } }, 404],
  ['a session of n8n that somebody made up', { path: '/rest/workflows', headers: { cookie: 'n8n-auth=x.y.z' } }, 401],
  ['an expired identity', { path: '/rest/workflows', headers: identity('owner', { seconds: -1 }) }, 401],
  ['an identity for another instance', { path: '/rest/workflows', headers: identity('owner', { instanceId: 'other' }) }, 401],
  ['a change from a sibling’s page with the cookie', { method: 'POST', path: '/rest/workflows', headers: { ...COOKIE, ...SIBLING, ...JSON_TYPE }, body: {} }, 401],
  ['a change from a sibling’s page through the proxy', { method: 'POST', path: '/rest/workflows', headers: { ...identity('owner'), ...SIBLING, ...JSON_TYPE }, body: {} }, 401],
];
for (const [who, request, status, location] of refusals) {
  test(`refused: ${who}`, async () => {
    const answer = await n8n.ask(request);
    assert.deepEqual([answer.status, answer.headers.location, answer.cookies], [status, location, []]);
  });
}

test('a session that a browser brings along does not matter', async () => {
  const { status, json } = await logIn({ ...identity('member'), cookie: 'n8n-auth=a.b.c; mine=1; N8N-AUTH=x' });
  assert.deepEqual([status, json().data.firstName], [200, 'Ada Lovelace']);
});

test('n8n’s accounts cannot be changed, whoever asks, and no session gets out', async () => {
  const changes = [
    ['POST', '/rest/login', { emailOrLdapLoginId: 'owner@openflow.invalid', password: 'x' }],
    ['POST', '/rest/owner/setup', { email: 'a@b.test', firstName: 'a', lastName: 'b', password: 'Abcdefg1' }],
    ['POST', '/rest/invitations', [{ email: 'a@b.test', role: 'global:member' }]],
    ['POST', '/rest/forgot-password', { email: 'owner@openflow.invalid' }],
    ['PATCH', '/rest/me', { email: 'a@b.test', firstName: 'a', lastName: 'b' }],
    ['PATCH', '/Rest/Me/Password', { currentPassword: 'a', newPassword: 'Abcdefg1' }],
    ['POST', '/rest/mfa/enable', {}],
    ['DELETE', '/rest/users/00000000-0000-0000-0000-000000000000', {}],
  ];
  for (const [method, path, body] of changes) {
    const answer = await n8n.ask({ method, path, headers: { ...identity('owner'), ...OWN, ...JSON_TYPE }, body });
    assert.deepEqual([path, answer.status, answer.cookies], [path, 403, []]);
    assert.match(answer.json().message, /Openflow/);
  }
  assert.equal((await logIn(identity('owner'))).json().data.email, 'owner@openflow.invalid');
});

test('signing out of n8n leads to Openflow’s sign-out; a page of n8n’s own sign-in leads back', async () => {
  const out = await n8n.ask({ method: 'POST', path: '/rest/logout', headers: { ...COOKIE, ...OWN, ...JSON_TYPE } });
  assert.deepEqual([out.status, out.cookies], [200, []]);
  const page = async (path) => (await n8n.ask({ path, headers: { ...COOKIE, ...HTML } })).headers.location;
  assert.equal(await page('/signin'), '/openflow/logout');
  assert.equal(await page('/signin?redirect=%252Fworkflow%252Fa'), '/workflow/a');
  assert.equal(await page('/signin?redirect=%2Fworkflow%2Fa'), '/workflow/a');
  for (const elsewhere of ['https://evil.test', '//evil.test', '/\\evil.test', '/%0d%0aset-cookie:x', 'javascript:x', '/signin?redirect=x', '%zz']) {
    assert.equal(await page(`/signin?redirect=${encodeURIComponent(elsewhere)}`), '/');
  }
  assert.equal(await page('/setup'), '/');
  const gone = await n8n.ask({ path: '/openflow/logout', headers: COOKIE });
  assert.deepEqual([gone.status, gone.headers.location, gone.cookies], [303, 'http://dashboard.test', ['openflow_token=', 'openflow_person=']]);
  assert.equal((await logIn(COOKIE)).status, 200, 'others stay signed in');
});

test('a launch link becomes a cookie once, and the browser is sent to the clean address', async () => {
  tokens['t-member'] = { userId: 'user-1', name: 'Ada Lovelace', role: 'member' };
  const answer = await n8n.ask({ path: '/workflow/x?access_token=t-member&y', headers: HTML });
  assert.deepEqual([answer.status, answer.headers.location], [303, '/workflow/x?y']);
  const cookie = { cookie: answer.cookies.join('; ') };
  assert.equal((await logIn(cookie)).json().data.firstName, 'Ada Lovelace');
  assert.equal((await n8n.ask({ path: '/?access_token=t-member', headers: HTML })).status, 401);
  assert.ok(!n8n.log().includes('t-member'));
});

test('a viewer gets a page that says why not; webhooks stay open', async () => {
  const viewer = identity('viewer', { name: 'Zoë' });
  const page = await n8n.ask({ path: '/workflow/x', headers: { ...viewer, ...HTML } });
  assert.equal(page.status, 403);
  assert.match(page.body, /viewer.*Ask an owner of the project/s);
  assert.ok(page.body.includes('href="http://dashboard.test"'));
  for (const path of ['/rest/workflows', '/rest/login', '/types/nodes.json', '/assets/x.js', '/openflow/editor.js', '/api/v1/workflows']) {
    assert.deepEqual([path, (await n8n.ask({ path, headers: { ...viewer, ...XHR } })).status], [path, 403]);
  }
  assert.deepEqual((await n8n.ask({ path: '/openflow/me', headers: viewer })).json(), { name: 'Zoë', role: 'viewer' });
  assert.equal((await n8n.ask({ method: 'POST', path: '/webhook/nothing', headers: viewer })).status, 404);
  assert.equal((await n8n.openSocket('/rest/push?pushRef=v', { ...viewer, ...OWN })).status, 403);
});

test('the push connection needs a person and the instance’s own page', async () => {
  const refused = {
    nobody: {}, 'a made-up session': { cookie: 'n8n-auth=x.y.z' }, 'a sibling’s page': { ...identity('owner'), ...SIBLING },
    'a page without origin': { ...identity('owner'), host: HOST, origin: 'null' },
  };
  for (const [who, headers] of Object.entries(refused)) {
    const { opened, status } = await n8n.openSocket('/rest/push?pushRef=p1', { ...OWN, ...headers });
    assert.deepEqual([who, opened, status], [who, false, 401]);
  }
  const ways = [
    { ...identity('member'), ...OWN },
    { ...COOKIE, host: '127.0.0.1:1', 'x-forwarded-host': HOST, 'x-forwarded-proto': 'https', origin: `https://${HOST}` },
    { ...identity('owner'), ...OWN, forwarded: 'host=elsewhere.test;proto=https' },
  ];
  for (const headers of ways) {
    const socket = await n8n.openSocket('/rest/push?pushRef=p2', headers);
    assert.equal(socket.opened, true);
    await until(() => socket.frames.length > 0 || socket.closed || new Promise((resolve) => { setTimeout(() => resolve(true), 1000); }));
    assert.deepEqual([socket.closed, socket.frames.includes('Invalid origin!')], [false, false]);
    socket.close();
  }
});

test('an API key of n8n’s own is checked by n8n, and no session goes along', async () => {
  const headers = { ...identity('owner'), ...OWN, ...JSON_TYPE };
  const scopes = ['workflow:list'];
  const made = await n8n.ask({ method: 'POST', path: '/rest/api-keys', headers, body: { label: 'test', expiresAt: null, scopes } });
  assert.equal(made.status, 200, made.body);
  const key = made.json().data.rawApiKey;
  const list = (more) => n8n.ask({ path: '/api/v1/workflows', headers: more });
  assert.equal((await list({ 'x-n8n-api-key': key })).status, 200);
  assert.equal((await list({ 'x-n8n-api-key': 'wrong' })).status, 401);
  assert.equal((await list({ 'x-n8n-api-key': 'wrong', ...identity('owner'), ...COOKIE })).status, 401);
  assert.equal((await n8n.ask({ path: '/rest/workflows', headers: { 'x-n8n-api-key': key } })).status, 401);
});

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
const PUSH = `GET /rest/push?pushRef=h HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\nCookie: openflow_token=${MAGIC}\r\n${UPGRADE}\r\n`;
const hostile = {
  'a target of slashes': 'GET // HTTP/1.1\r\nHost: h\r\n\r\n',
  'an absolute target': 'GET http://h/rest/workflows HTTP/1.1\r\nHost: h\r\n\r\n',
  'a tunnel': 'CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n',
  'broken escapes': 'GET /webhook/%zz%f?access_token=%zz HTTP/1.1\r\nHost: h\r\n\r\n',
  'dot segments': 'GET /webhook/../rest/workflows HTTP/1.1\r\nHost: h\r\n\r\n',
  'escaped dot segments': 'GET /webhook/%2e%2e/rest/workflows HTTP/1.1\r\nHost: h\r\n\r\n',
  'the editor in other letters': 'GET /%72est/workflows HTTP/1.1\r\nHost: h\r\n\r\n',
  'odd cookies': 'GET /rest/login HTTP/1.1\r\nHost: h\r\nCookie: =;;; openflow_token; n8n-auth==; openflow_token=%zz; \xff\xfe\r\n\r\n',
  'an upgrade to what is no URL': `GET //[ HTTP/1.1\r\nHost: h\r\n${UPGRADE}\r\n`,
  'an upgrade to a webhook that is no URL': `GET /webhook/@[:\\ HTTP/1.1\r\nHost: h\r\n${UPGRADE}\r\n`,
  'an upgrade to nothing': `GET /webhook/x HTTP/1.1\r\nHost: h\r\n${UPGRADE}\r\n`,
  'no HTTP at all': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
};
for (const [what, bytes] of Object.entries(hostile)) {
  test(`survived: ${what}`, async () => {
    assert.doesNotMatch(await raw(n8n.port, Buffer.from(bytes, 'latin1'), 500), /^HTTP\/1\.1 (2|101)/);
    assert.equal((await n8n.ask({ path: '/openflow/health' })).status, 200, n8n.log());
  });
}

const frames = {
  'a frame without mask': '\x81\x01a', 'a reserved opcode': '\x83\x80aaaa', 'a frame longer than can be': '\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffaaaa',
  'no JSON': '\x81\x81\x00\x00\x00\x00{', null: '\x81\x84\x00\x00\x00\x00null',
};
for (const [what, bytes] of Object.entries(frames)) {
  test(`survived: on a WebSocket, ${what}`, async () => {
    await raw(n8n.port, Buffer.from(PUSH + bytes, 'latin1'), 400);
    await raw(n8n.port, Buffer.from(`GET /chat?sessionId=a&executionId=1 HTTP/1.1\r\nHost: h\r\n${UPGRADE}\r\n${bytes}`, 'latin1'), 400);
    assert.equal((await n8n.ask({ path: '/openflow/health' })).status, 200, n8n.log());
  });
}
