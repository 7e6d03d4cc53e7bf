'use strict';
// What the tests of n8n share: a real n8n behind the gate, as the image starts it.
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const os = require('node:os');
const path = require('node:path');
const shared = require('../support');

const { BEARER, INSTANCE_ID, LAUNCH_URL, MAGIC, ROOT, ask, freePort, openSocket, stagedEngine, until } = shared;
const KEY = 'the-encryption-key-of-a-test-0123456789';
const START = path.join(ROOT, 'settings-shim/n8n/start.js');
const START_TIMEOUT_MS = 120_000;
const JSON_TYPE = { 'content-type': 'application/json' };

/** The very Node.js and n8n of the image, installed under build/ on the first run. */
let found;
const staged = () => (found ??= stagedEngine('n8n'));

const newFolder = () => fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-n8n-'));

/** A folder with the secret files of an instance. */
function secretsWith(key) {
  const folder = newFolder();
  fs.writeFileSync(path.join(folder, 'encryption_key'), key, { mode: 0o400 });
  return folder;
}

const environment = (key, more = {}) => ({
  PATH: process.env.PATH, OPENFLOW_MAGIC_TOKEN: MAGIC, OPENFLOW_INSTANCE_ID: INSTANCE_ID, OPENFLOW_SUBDOMAIN: 'wf1', OPENFLOW_NAME: 'Workflow one',
  OPENFLOW_URL: 'http://wf1.test', OPENFLOW_LAUNCH_URL: LAUNCH_URL, OPENFLOW_SECRETS_DIR: secretsWith(key), ...more,
});

/** The process with the shim, without waiting for anything. Stop it with `stop()`; `log()` is what it printed. */
async function spawnN8n({ key = KEY, env = {}, data = newFolder(), port: given, app: other, nodeOptions = [] } = {}) {
  const { node, app: ours } = staged();
  const app = other ?? ours;
  const port = given ?? await freePort();
  const args = [START, '--app', app, '--data', data, '--cache', newFolder(), '--host', '127.0.0.1', '--port', String(port), '--broker-port', String(await freePort())];
  const child = spawn(node, [...nodeOptions, ...args], { env: environment(key, { PATH: `${path.dirname(node)}:${process.env.PATH}`, ...env }) });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk) => { output += chunk; });
  child.stderr.on('data', (chunk) => { output += chunk; errors += chunk; });
  const exited = new Promise((resolve) => { child.once('close', resolve); });
  return {
    port, data, child, exited, app,
    log: () => output,
    lastError: () => errors.trim().split('\n').at(-1),
    ask: (options) => ask(port, options),
    openSocket: (target, headers) => openSocket(port, target, headers, createRequire(path.join(app, 'node_modules/n8n/bin/n8n'))('ws')),
    alive: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** Starts n8n and waits until it is ready and what is published is active. */
async function startN8n(options) {
  const n8n = await spawnN8n(options);
  await until(async () => {
    if (!n8n.alive()) throw new Error(`n8n ended:\n${n8n.log()}`);
    const health = await n8n.ask({ path: '/openflow/health' }).catch(() => null);
    return health?.status === 200 && health.json().flows;
  }, START_TIMEOUT_MS);
  return n8n;
}

/** A webhook, POST /webhook/<name>, that answers with what it sees of the request. */
const echoWorkflow = (name) => ({
  name,
  nodes: [
    { id: `${name}-in`, name: 'Webhook', type: 'n8n-nodes-base.webhook', typeVersion: 2, position: [0, 0], webhookId: name,
      parameters: { httpMethod: 'POST', path: name, responseMode: 'responseNode', options: {} } },
    { id: `${name}-out`, name: 'Answer', type: 'n8n-nodes-base.respondToWebhook', typeVersion: 1.1, position: [200, 0],
      parameters: { respondWith: 'json', responseBody: '={{ JSON.stringify({ headers: $json.headers, query: $json.query, size: JSON.stringify($json.body).length }) }}', options: {} } },
  ],
  connections: { Webhook: { main: [[{ node: 'Answer', type: 'main', index: 0 }]] } },
  settings: {},
});

/** Makes a workflow and publishes it, as whom the headers say; its id. */
async function publish(n8n, workflow, headers = BEARER) {
  const made = await n8n.ask({ method: 'POST', path: '/rest/workflows', headers: { ...headers, ...JSON_TYPE }, body: workflow });
  if (made.status !== 200) throw new Error(`the workflow was not made: ${made.status} ${made.body}`);
  const { id, versionId } = made.json().data;
  const active = await n8n.ask({ method: 'POST', path: `/rest/workflows/${id}/activate`, headers: { ...headers, ...JSON_TYPE }, body: { versionId } });
  if (active.status !== 200) throw new Error(`the workflow was not published: ${active.status} ${active.body}`);
  return id;
}

module.exports = { ...shared, KEY, JSON_TYPE, echoWorkflow, environment, newFolder, publish, spawnN8n, staged, startN8n };
