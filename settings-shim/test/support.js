'use strict';
// What the tests share: a real Node-RED behind the shim, a manager that redeems tokens, and plain HTTP and WebSocket clients.
const { execFileSync, spawn } = require('node:child_process');
const { randomInt } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const { createRequire } = require('node:module');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { identityKey, signCredential } = require('../common/identity');

const ROOT = path.join(__dirname, '../..');
const MAGIC = 'omt_test-magic-token-0123456789abcdef';
const CREDENTIAL_SECRET = 'ocs_test-credential-secret-0123456789';
const INSTANCE_ID = '0198f0a0-0000-7000-8000-00000000000a';
const LAUNCH_URL = 'http://dashboard.test/launch/wf1';
const BEARER = { authorization: `Bearer ${MAGIC}` };
const START_TIMEOUT_MS = 60_000;

/** The very Node.js and engine of the image, installed under build/ on the first run. */
function stagedEngine(engine) {
  const output = execFileSync(path.join(ROOT, 'images/build.sh'), ['--stage', engine], { stdio: ['ignore', 'pipe', 'inherit'] }).toString();
  const entry = (name) => new RegExp(`^${name}=(.+)$`, 'm').exec(output)[1];
  return { node: entry('node'), app: entry('app') };
}

function staged() {
  const { node, app } = stagedEngine('node-red');
  return { node, red: path.join(app, 'node_modules/node-red/red.js') };
}

const newUserDir = () => fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-shim-'));

/** Starts Node-RED with the shim. Stop it with `stop()`; `log()` is what it printed. */
async function startNodeRed({ env = {}, userDir = newUserDir(), port: given } = {}) {
  const { node, red } = staged();
  const port = given ?? await freePort();
  const settings = path.join(ROOT, 'settings-shim/node-red/settings.js');
  const child = spawn(node, [red, '--settings', settings, '--userDir', userDir, '--port', port, '-D', 'uiHost=127.0.0.1'], {
    env: {
      PATH: process.env.PATH, HOME: userDir,
      OPENFLOW_MAGIC_TOKEN: MAGIC, OPENFLOW_CREDENTIAL_SECRET: CREDENTIAL_SECRET, OPENFLOW_INSTANCE_ID: INSTANCE_ID,
      OPENFLOW_SUBDOMAIN: 'wf1', OPENFLOW_NAME: 'Workflow one', OPENFLOW_URL: 'http://wf1.test',
      OPENFLOW_LAUNCH_URL: LAUNCH_URL, OPENFLOW_MQTT_USERNAME: 'mqtt-user', ...env,
    },
  });
  let output = '';
  child.stdout.on('data', (data) => { output += data; });
  child.stderr.on('data', (data) => { output += data; });
  const exited = new Promise((resolve) => { child.once('exit', resolve); });
  const red1 = {
    port, userDir, child, exited,
    log: () => output,
    ask: (options) => ask(port, options),
    alive: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
  await until(async () => {
    if (!red1.alive()) throw new Error(`Node-RED ended:\n${output}`);
    const health = await ask(port, { path: '/openflow/health' }).catch(() => null);
    return health?.status === 200 && (env.OPENFLOW_SAFE_MODE ? output.includes('Server now running') : health.json().flows);
  }, START_TIMEOUT_MS);
  return red1;
}

/** One request on a connection of its own; headers go out as given, Host and Origin included. */
function ask(port, { method = 'GET', path: target = '/', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const req = http.request({ host: '127.0.0.1', port, method, path: target, headers, agent: false, timeout: 30_000 }, (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk) => { text += chunk; });
      res.on('end', () => resolve({
        status: res.statusCode, headers: res.headers, body: text, json: () => JSON.parse(text),
        cookies: (res.headers['set-cookie'] ?? []).map((line) => line.split(';')[0]),
      }));
    });
    req.on('timeout', () => req.destroy(new Error('timed out')));
    req.on('error', reject);
    req.end(typeof body === 'object' ? JSON.stringify(body) : body);
  });
}

/** Sends bytes as they are and returns all that comes back until the other side closes or `ms` have passed. */
function raw(port, bytes, ms = 3000) {
  return new Promise((resolve) => {
    let text = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
    const timer = setTimeout(() => socket.destroy(), ms);
    socket.on('data', (data) => { text += data.toString('latin1'); });
    socket.on('error', () => {});
    socket.on('close', () => { clearTimeout(timer); resolve(text); });
  });
}

/** Opens a WebSocket; resolves to `{opened: false, status}` or `{opened: true, send, frames, closed, close}`. */
function openSocket(port, target, headers = {}, WebSocket = createRequire(staged().red)('ws')) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${target}`, { headers });
    const frames = [];
    const state = { opened: true, frames, closed: false, send: (text) => socket.send(text), close: () => socket.terminate() };
    socket.on('message', (data) => frames.push(String(data)));
    socket.on('close', () => { state.closed = true; });
    socket.on('open', () => resolve(state));
    socket.on('unexpected-response', (req, res) => { resolve({ opened: false, status: res.statusCode }); req.destroy(); });
    socket.on('error', (error) => reject(error));
  });
}

/**
 * A manager that knows `tokens`: token → person; each works once. `down` makes it answer 503, `hang` not at all.
 * To a GET it is the dashboard. What else it has under /shim/v1 is `answer`'s: (method, path, body as object) → [status, value], also as a promise.
 */
async function startManager(tokens = {}, answer = () => undefined) {
  const manager = { calls: [], down: false, hang: false };
  const server = http.createServer((req, res) => {
    let body = '';
    req.on('data', (chunk) => { body += chunk; });
    req.on('end', () => {
      manager.calls.push({ method: req.method, url: req.url, authorization: req.headers.authorization, body });
      const isForShim = req.url.startsWith('/shim/v1/');
      if (req.method === 'GET' && !isForShim) return void res.end('the dashboard');
      if (manager.hang) return;
      if (manager.down) return void res.writeHead(503).end();
      if (!isForShim || req.headers.authorization !== `Bearer ${MAGIC}`) return void res.writeHead(401).end();
      if (req.url !== '/shim/v1/redeem') return void Promise.resolve(answer(req.method, req.url, body && JSON.parse(body))).then((it) => send(res, it));
      const { token } = JSON.parse(body);
      const person = tokens[token];
      delete tokens[token];
      if (!person) return void res.writeHead(410, { 'content-type': 'application/problem+json' }).end('{}');
      res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(person));
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  manager.url = `http://127.0.0.1:${server.address().port}`;
  manager.stop = () => { server.closeAllConnections(); server.close(); };
  return manager;
}

function send(res, [status, value] = [404, { title: 'Not Found', status: 404, detail: 'There is nothing here.' }]) {
  const type = status < 300 ? 'application/json' : 'application/problem+json';
  res.writeHead(status, { 'content-type': type }).end(typeof value === 'string' ? value : JSON.stringify(value));
}

/** The identity header as openflow-proxy makes it. */
function identity(role, { name = 'Ada Lovelace', userId = 'user-1', instanceId = INSTANCE_ID, seconds = 60, magic = MAGIC } = {}) {
  const exp = Math.floor(Date.now() / 1000) + seconds;
  return { 'x-openflow-identity': signCredential({ u: userId, n: name, r: role, i: instanceId, exp }, identityKey(magic)) };
}

async function until(condition, timeoutMs = 20_000) {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('what was waited for did not happen');
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/** A port that nobody has, nor the next one. Below those that connections are given, so that none takes it until it is used. */
async function freePort() {
  for (let tries = 100; tries > 0; tries -= 1) {
    const port = 20_000 + 2 * randomInt(6_000);
    if (await isFree(port) && await isFree(port + 1)) return port;
  }
  throw new Error('there is no free port');
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = net.createServer().once('error', () => resolve(false)).listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/**
 * A flow that answers with what it sees of the request and of the environment, under GET and POST /api/echo.
 * Without x and y Node-RED would take the nodes for configuration.
 */
const ECHO_FLOW = [
  { id: 'tab', type: 'tab', label: 'Echo' },
  { id: 'get', type: 'http in', z: 'tab', x: 1, y: 1, url: '/echo', method: 'get', wires: [['look']] },
  { id: 'post', type: 'http in', z: 'tab', x: 1, y: 1, url: '/echo', method: 'post', wires: [['look']] },
  {
    id: 'look', type: 'function', z: 'tab', x: 1, y: 1, outputs: 1, wires: [['answer']],
    func: `const names = ['MAGIC_TOKEN', 'CREDENTIAL_SECRET', 'MANAGER_URL', 'LAUNCH_URL', 'INSTANCE_ID', 'SUBDOMAIN', 'NAME', 'URL', 'MQTT_USERNAME'];
      msg.payload = { url: msg.req.url, headers: msg.req.headers, raw: msg.req.rawHeaders, body: msg.req.body,
        env: Object.fromEntries(names.map((name) => [name, env.get('OPENFLOW_' + name) ?? null])) };
      return msg;`,
  },
  { id: 'answer', type: 'http response', z: 'tab', x: 1, y: 1, wires: [] },
];

/** Deploys `flows` with the magic token and waits until they run. */
async function deploy(red, flows) {
  const answer = await red.ask({ method: 'POST', path: '/flows', headers: { ...BEARER, 'content-type': 'application/json' }, body: flows });
  if (answer.status !== 204) throw new Error(`deploy answered ${answer.status}: ${answer.body}`);
  await until(async () => (await red.ask({ path: '/openflow/health' })).json().flows);
}

module.exports = {
  ROOT, MAGIC, CREDENTIAL_SECRET, INSTANCE_ID, LAUNCH_URL, BEARER, ECHO_FLOW,
  ask, deploy, freePort, identity, newUserDir, openSocket, raw, staged, stagedEngine, startManager, startNodeRed, until,
};
