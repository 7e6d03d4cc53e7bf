'use strict';
// What the tests of n8n share: a real n8n behind the gate, as the image starts it.
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const shared = require('../support');

const { BEARER, INSTANCE_ID, MAGIC, ROOT, ask, freePort, until } = shared;
const KEY = 'the-encryption-key-of-a-test-0123456789';
const START = path.join(ROOT, 'settings-shim/n8n/start.js');
const START_TIMEOUT_MS = 120_000;

/** The very Node.js and n8n of the image, installed under build/ on the first run. */
function staged() {
  if (process.env.STAGE_HACK) return { node: '/work/wt/n8nc/build/node-24.21.0/bin/node', app: process.env.STAGE_HACK };
  const output = execFileSync(path.join(ROOT, 'images/build.sh'), ['--stage', 'n8n'], { stdio: ['ignore', 'pipe', 'inherit'] }).toString();
  const entry = (name) => new RegExp(`^${name}=(.+)$`, 'm').exec(output)[1];
  return { node: entry('node'), app: entry('app') };
}

const newFolder = () => fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-n8n-'));

/** A folder with the secret files of an instance. */
function secretsWith(key) {
  const folder = newFolder();
  fs.writeFileSync(path.join(folder, 'encryption_key'), key);
  return folder;
}

const environment = (key, more = {}) => ({
  PATH: process.env.PATH, OPENFLOW_MAGIC_TOKEN: MAGIC, OPENFLOW_INSTANCE_ID: INSTANCE_ID, OPENFLOW_SUBDOMAIN: 'shop', OPENFLOW_NAME: 'Shop',
  OPENFLOW_SECRETS_DIR: secretsWith(key), ...more,
});

/** Starts n8n with the shim. Stop it with `stop()`; `log()` is what it printed. */
async function startN8n({ key = KEY, env = {}, data = newFolder(), port: given } = {}) {
  const { node, app } = staged();
  const port = given ?? await freePort();
  const args = [START, '--app', app, '--data', data, '--cache', newFolder(), '--host', '127.0.0.1', '--port', String(port), '--broker-port', String(await freePort())];
  const child = spawn(node, args, { env: environment(key, env) });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { output += chunk; });
  const exited = new Promise((resolve) => { child.once('exit', resolve); });
  const n8n = {
    port, data, child, exited,
    log: () => output,
    ask: (options) => ask(port, options),
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`n8n ended:\n${output}`);
    const health = await ask(port, { path: '/openflow/health' }).catch(() => null);
    return health?.status === 200 && health.json().flows;
  }, START_TIMEOUT_MS);
  return n8n;
}

module.exports = { ...shared, KEY, environment, newFolder, staged, startN8n };
