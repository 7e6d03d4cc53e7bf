'use strict';
// nginx alone, in front of real Node-RED containers on a network where containers cannot reach each other.
const assert = require('node:assert/strict');
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const shim = require('../../settings-shim/test/support');
const { NGINX, freePort, startNginx } = require('./support');

const { MAGIC, INSTANCE_ID, CREDENTIAL_SECRET, until } = shim;
const NETWORK = `openflow-nginx-test-${process.pid}`;
const IMAGE = 'openflow/node-red:5';
const SECRET = 'ops_nginx-test-0123456789';
const JSON_TYPE = { 'content-type': 'application/json' };
const docker = (...args) => execFileSync('docker', args, { encoding: 'utf8' }).trim();

let manager;
let nginx;
let follower;
let port;
let upstream;
let other;
const containers = [];
const tokens = {};
const ask = (host, path, options = {}) => shim.ask(port, { ...options, path, headers: { host, ...options.headers } });

/** Redeems tokens, feeds the routes, is the dashboard, and stands in for n8n: it answers with what it was asked. */
async function startFakes(gateway) {
  const feed = { routes: [], revision: 0, waiting: [] };
  const listener = (req, res) => {
    let body = '';
    req.on('data', (chunk) => { body += chunk; });
    req.on('end', () => {
      const { pathname, searchParams } = new URL(req.url, 'http://x');
      if (pathname === '/shim/v1/redeem' && req.method === 'POST') {
        const { token } = JSON.parse(body);
        const person = req.headers.authorization === `Bearer ${MAGIC}` ? tokens[token] : undefined;
        delete tokens[token];
        res.writeHead(person ? 200 : 410).end(JSON.stringify(person ?? {}));
      } else if (pathname === '/internal/v1/routes') {
        if (req.headers['x-openflow-proxy-secret'] !== SECRET) return void res.writeHead(401).end();
        const answer = () => res.writeHead(200).end(JSON.stringify(feed.table()));
        if (searchParams.get('after') === String(feed.revision)) feed.waiting.push(answer);
        else answer();
      } else {
        res.setHeader('set-cookie', ['a=1; Domain=test; Path=/', 'b=2; Path=/']);
        res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, body }));
      }
    });
  };
  const servers = await Promise.all(['127.0.0.1', gateway].map((address) => new Promise((resolve) => {
    const server = http.createServer(listener).listen(0, address, () => resolve(server));
  })));
  feed.table = () => ({ version: 1, revision: String(feed.revision), domain: 'test', dashboard: `127.0.0.1:${feed.port}`, routes: feed.routes });
  feed.port = servers[0].address().port;
  feed.urlForContainers = `http://${gateway}:${servers[1].address().port}`;
  feed.publish = (routes) => {
    feed.routes = routes;
    feed.revision += 1;
    for (const answer of feed.waiting.splice(0)) answer();
  };
  feed.stop = () => servers.forEach((server) => { server.closeAllConnections(); server.close(); });
  return feed;
}

function startContainer(subdomain) {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-nginx-data-'));
  fs.chownSync(data, 1000, 1000);
  const env = {
    OPENFLOW_MAGIC_TOKEN: MAGIC, OPENFLOW_CREDENTIAL_SECRET: CREDENTIAL_SECRET, OPENFLOW_INSTANCE_ID: INSTANCE_ID,
    OPENFLOW_LAUNCH_URL: `http://test/launch/${subdomain}`, OPENFLOW_MANAGER_URL: manager.urlForContainers,
  };
  const name = `${NETWORK}-${subdomain}`;
  docker('run', '--detach', '--name', name, '--network', NETWORK, '--network-alias', `nodered-${subdomain}`, '--memory', '256m', '--cap-drop', 'ALL',
    '--security-opt', 'no-new-privileges', '--read-only', '--tmpfs', '/tmp:rw,nosuid,nodev,noexec,size=64m', '--user', '1000:1000',
    '--volume', `${data}:/data`, ...Object.entries(env).flatMap(([key, value]) => ['--env', `${key}=${value}`]), IMAGE);
  containers.push(name);
  return `${docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', name)}:1880`;
}

const routes = (more = []) => [
  { hosts: ['wf1.test', 'shop.test'], engine: 'node-red', upstream, state: 'running', webhookAccess: 'open' },
  { hosts: ['closed.test'], engine: 'node-red', upstream, state: 'running', webhookAccess: 'bearer' },
  { hosts: ['n8n.test'], engine: 'n8n', upstream: `127.0.0.1:${manager.port}`, state: 'running', webhookAccess: 'open' },
  { hosts: ['n8n-closed.test'], engine: 'n8n', upstream: `127.0.0.1:${manager.port}`, state: 'running', webhookAccess: 'basic' },
  { hosts: ['asleep.test'], engine: 'node-red', upstream: null, state: 'sleeping' },
  { hosts: ['gone.test'], engine: 'node-red', upstream: '127.0.0.1:1', state: 'running' },
  { hosts: ['bad.test;} evil'], engine: 'node-red', upstream: '127.0.0.1:1; evil', state: 'running' },
  ...more,
];

before(async () => {
  docker('network', 'create', '--opt', 'com.docker.network.bridge.enable_icc=false', NETWORK);
  manager = await startFakes(docker('network', 'inspect', '--format', '{{range .IPAM.Config}}{{.Gateway}}{{end}}', NETWORK));
  upstream = startContainer('wf1');
  other = startContainer('wf2');
  manager.publish(routes());
  port = await freePort();
  nginx = await startNginx('alone.conf', { 'listen.conf': `listen 127.0.0.1:${port} default_server;`, 'routes.conf': await routesFile() });
  follower = spawn(process.execPath, [path.join(NGINX, 'follow-routes.js'), '--manager', `http://127.0.0.1:${manager.port}`,
    '--out', path.join(nginx.dir, 'openflow/routes.conf'), '--reload', nginx.reload], { env: { ...process.env, OPENFLOW_PROXY_SECRET: SECRET }, stdio: 'inherit' });
  await until(async () => (await ask('wf1.test', '/openflow/health')).body === '{"ok":true,"flows":true}', 60_000);
  const deployed = await ask('wf1.test', '/flows', { method: 'POST', headers: { ...shim.BEARER, ...JSON_TYPE }, body: [...shim.ECHO_FLOW, ...SOCKET_FLOW] });
  assert.equal(deployed.status, 204);
  await until(async () => (await ask('wf1.test', '/api/echo')).status === 200);
});
after(async () => {
  follower?.kill();
  await nginx?.stop();
  if (containers.length > 0) docker('rm', '--force', ...containers);
  docker('network', 'rm', NETWORK);
  manager?.stop();
});

const SOCKET_FLOW = [
  { id: 'listener', type: 'websocket-listener', path: '/ws', wholemsg: 'false' },
  { id: 'in', type: 'websocket in', z: 'tab', x: 1, y: 1, server: 'listener', client: '', wires: [['out']] },
  { id: 'out', type: 'websocket out', z: 'tab', x: 1, y: 1, server: 'listener', client: '', wires: [] },
];

/** The file as `--once` writes it: what an operator runs before nginx starts for the first time. */
async function routesFile() {
  const out = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-routes-')), 'routes.conf');
  const once = spawn(process.execPath, [path.join(NGINX, 'follow-routes.js'), '--manager', `http://127.0.0.1:${manager.port}`, '--out', out, '--once'],
    { env: { ...process.env, OPENFLOW_PROXY_SECRET: SECRET }, stdio: 'inherit' });
  assert.equal(await new Promise((resolve) => { once.once('exit', resolve); }), 0);
  const text = fs.readFileSync(out, 'utf8');
  assert.ok(!text.includes('evil'));
  return text;
}

test('the file that nginx starts with before the first table is the one of an empty table', () => {
  const { render } = require('../follow-routes');
  assert.equal(fs.readFileSync(path.join(NGINX, 'openflow/routes.conf'), 'utf8'), render({ routes: [] }));
});

test('containers cannot reach each other, nginx reaches them', () => {
  const reach = `require('net').connect(1880, '${other.split(':')[0]}').on('connect', () => process.exit(0)).on('error', () => process.exit(1)); setTimeout(() => process.exit(2), 3000)`;
  assert.throws(() => docker('exec', containers[0], 'node', '-e', reach), ({ status }) => status === 2);
});

test('a launch link signs in, and leaves the token in no log', async () => {
  tokens['t-secret-link'] = { userId: 'u1', name: 'Ada', role: 'member' };
  const landed = await ask('wf1.test', '/?access_token=t-secret-link&x=1');
  assert.deepEqual([landed.status, landed.headers.location], [303, '/?x=1']);
  assert.match(landed.headers['set-cookie'][0], new RegExp(`^openflow_token=${MAGIC}; `));
  const cookie = landed.cookies.join('; ');
  assert.deepEqual((await ask('wf1.test', '/openflow/me', { headers: { cookie } })).json(), { name: 'Ada', role: 'member' });
  assert.equal((await ask('wf1.test', '/', { headers: { cookie } })).status, 200);
  assert.equal((await ask('wf1.test', '/?access_token=t-secret-link')).status, 401);
  assert.equal((await ask('gone.test', '/?access_token=t-secret-gone')).status, 502);
  assert.ok(!/t-secret|access_token/.test(nginx.log()), nginx.log());

  const socket = await shim.openSocket(port, '/comms', { host: 'wf1.test', origin: 'http://wf1.test', cookie });
  assert.equal(socket.opened, true);
  socket.send('{"subscribe":"notification/#"}');
  await until(() => socket.frames.length > 0);
  socket.close();
  assert.equal((await shim.openSocket(port, '/comms', { host: 'wf1.test', origin: 'http://wf2.test', cookie })).status, 401);
  const saved = await ask('wf1.test', '/settings/user', { method: 'POST', headers: { cookie, origin: 'http://wf1.test', ...JSON_TYPE }, body: {} });
  assert.equal(saved.status, 204);
});

test('without a cookie the editor leads to the dashboard and its API is closed', async () => {
  const page = await ask('wf1.test', '/', { headers: { accept: 'text/html' } });
  assert.deepEqual([page.status, page.headers.location], [302, 'http://test/launch/wf1?next=%2F']);
  assert.equal((await ask('wf1.test', '/flows')).status, 401);
});

test('nobody talks our internal headers from outside', async () => {
  assert.equal((await ask('wf1.test', '/flows', { headers: shim.identity('owner') })).status, 401);
  const { headers } = (await ask('n8n.test', '/x', { headers: { ...shim.identity('owner'), 'X-Openflow-Session': 'x', X_Openflow_Session: 'y', Forwarded: 'for=1', 'X-Forwarded-For': '1.2.3.4', 'X-Forwarded-Host': 'evil', 'X-Forwarded-Proto': 'https' } })).json();
  assert.deepEqual(Object.keys(headers).filter((name) => /openflow|^forwarded/.test(name)), []);
  assert.deepEqual([headers['x-forwarded-for'], headers['x-forwarded-host'], headers['x-forwarded-proto'], headers.host], ['127.0.0.1', 'n8n.test', 'http', 'n8n.test']);
});

test('a webhook is found with and without /api, with method, headers and body', async () => {
  for (const path of ['/echo?a=%2F', '/api/echo?a=%2F']) {
    const answer = await ask('wf1.test', path, { method: 'POST', headers: { ...JSON_TYPE, 'x-mine': '1', cookie: 'mine=1' }, body: { big: 'x'.repeat(200_000) } });
    assert.equal(answer.status, 200, path);
    const seen = answer.json();
    assert.deepEqual([seen.url, seen.headers['x-mine'], seen.headers.cookie, seen.body.big.length], ['/echo?a=%2F', '1', 'mine=1', 200_000]);
  }
  assert.equal((await ask('shop.test', '/echo')).status, 200, 'an alias');
  const missing = await ask('wf1.test', '/api/nothing-here');
  assert.deepEqual([missing.status, missing.body.includes('Cannot GET /api/nothing-here')], [404, true]);
  assert.ok((await ask('wf1.test', '/nothing-here')).body.includes('Cannot GET /api/nothing-here'));
  assert.ok(!(await ask('wf1.test', '/API/nothing')).body.includes('/api/API'));
});

test('a flow’s WebSocket is reached with and without /api', async () => {
  for (const path of ['/api/ws', '/ws']) {
    const socket = await shim.openSocket(port, path, { host: 'wf1.test' });
    assert.equal(socket.opened, true, path);
    socket.send('hello');
    await until(() => socket.frames.includes('hello'));
    socket.close();
  }
});

test('webhooks that need a password are not let through by a server that cannot check it', async () => {
  for (const path of ['/api/echo', '/API/echo', '//api/echo', '/%61pi/echo', '/x/../api/echo']) assert.equal((await ask('closed.test', path)).status, 403, path);
  assert.equal((await ask('closed.test', '/echo')).status, 404);
  assert.equal((await ask('closed.test', '/\\api/echo')).status, 400);
  assert.equal((await ask('closed.test', '/flows', { headers: shim.BEARER })).status, 200);
  for (const path of ['/webhook/x', '/Webhook-Test/x', '/form-waiting/x', '/mcp/x', '/mcp-test/x']) assert.equal((await ask('n8n-closed.test', path)).status, 403, path);
  assert.equal((await ask('n8n-closed.test', '/rest/login')).status, 200);
});

test('n8n gets its requests as they came, but nobody its metrics', async () => {
  assert.equal((await ask('n8n.test', '/webhook/a%2Fb?c=%20')).json().url, '/webhook/a%2Fb?c=%20');
  assert.equal((await ask('n8n.test', '/api/v1/x')).json().url, '/api/v1/x');
  for (const path of ['/metrics', '/metrics/', '/METRICS', '//metrics', '/%6detrics']) assert.equal((await ask('n8n.test', path)).status, 404, path);
});

test('an instance’s cookies lose their domain', async () => {
  const cookies = (await ask('n8n.test', '/')).headers['set-cookie'];
  assert.deepEqual(cookies.map((cookie) => /domain=\w/i.test(cookie)), [false, false]);
  assert.match(cookies[0], /^a=1; /);
});

test('the dashboard is on the domain itself, without what is internal', async () => {
  assert.equal((await ask('test', '/api/v1/health?x=1')).json().url, '/api/v1/health?x=1');
  assert.equal((await ask('TEST.', '/')).status, 200);
  for (const path of ['/internal/v1/routes', '/shim/v1/redeem', '/mqtt/auth', '//internal/v1/routes', '/%69nternal/v1/routes', '/INTERNAL/x']) {
    assert.equal((await ask('test', path)).status, 404, path);
  }
});

test('unknown, stopped, unreachable: each says so, as JSON to whoever prefers it', async () => {
  const cases = { 'nobody.test': 404, 'asleep.test': 503, 'gone.test': 502 };
  for (const [host, status] of Object.entries(cases)) {
    const page = await ask(host, '/api/x', { headers: { accept: 'text/html,*/*' } });
    assert.deepEqual([page.status, page.headers['content-type']], [status, 'text/html; charset=utf-8'], host);
    assert.match(page.body, /<h1>/);
    const json = await ask(host, '/x', { headers: { accept: 'application/json' } });
    assert.deepEqual([json.status, json.headers['content-type'], json.json().status], [status, 'application/problem+json', status]);
  }
  assert.ok((await ask('asleep.test', '/')).headers['retry-after']);
});

test('what can be read in two ways is refused', async () => {
  const crafted = {
    'a target that names another host': 'GET http://wf1.test/ HTTP/1.1\r\nHost: n8n.test\r\nConnection: close\r\n\r\n',
    'two hosts': 'GET / HTTP/1.1\r\nHost: wf1.test\r\nHost: n8n.test\r\nConnection: close\r\n\r\n',
    'no host': 'GET / HTTP/1.0\r\n\r\n',
    'length and chunks': 'POST /api/echo HTTP/1.1\r\nHost: wf1.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n',
  };
  for (const [what, bytes] of Object.entries(crafted)) assert.match(await shim.raw(port, bytes), /^HTTP\/1\.[01] 400 /, what);
});

test('a new alias and a moved container are found without a restart; a dead manager changes nothing', async () => {
  assert.equal((await ask('later.test', '/api/echo')).status, 404);
  manager.publish(routes([{ hosts: ['later.test'], engine: 'node-red', upstream, state: 'running' }]));
  await until(async () => (await ask('later.test', '/api/echo')).status === 200);
  manager.publish(routes([{ hosts: ['later.test'], engine: 'node-red', upstream: other, state: 'running' }]));
  await until(async () => (await ask('later.test', '/api/echo')).status === 404);
  manager.stop();
  assert.equal((await ask('wf1.test', '/echo')).status, 200);
});
