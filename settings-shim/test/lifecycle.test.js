'use strict';
// Starting, stopping, safe mode: what the manager relies on.
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { BEARER, CREDENTIAL_SECRET, ECHO_FLOW, ROOT, deploy, staged, startNodeRed } = require('./support');

const BROKER = [{ id: 'tab', type: 'tab', label: 'T' }, { id: 'b', type: 'mqtt-broker', name: '', broker: '127.0.0.1', port: '1', credentials: { user: 'u', password: 'secret-password' } }];

test('flows, credentials and context survive a restart; the files are what snapshots expect', async () => {
  const counter = [
    ...ECHO_FLOW,
    { id: 'count', type: 'http in', z: 'tab', x: 1, y: 1, url: '/count', method: 'get', wires: [['add']] },
    { id: 'add', type: 'function', z: 'tab', x: 1, y: 1, func: 'const n = (global.get("n") ?? 0) + 1; global.set("n", n); msg.payload = String(n); return msg;', wires: [['done']] },
    { id: 'done', type: 'http response', z: 'tab', x: 1, y: 1, wires: [] },
    BROKER[1],
  ];
  const first = await startNodeRed();
  await deploy(first, counter);
  assert.equal((await first.ask({ path: '/api/count' })).body, '1');
  await first.stop();
  assert.equal(first.child.exitCode, 0);

  const flows = fs.readFileSync(path.join(first.userDir, 'flows.json'));
  assert.ok(!flows.includes('\n') && !flows.includes('secret-password'));
  const sealed = JSON.parse(fs.readFileSync(path.join(first.userDir, 'flows_cred.json'))).$;
  const secret = crypto.createHash('sha256').update(CREDENTIAL_SECRET).digest();
  const decipher = crypto.createDecipheriv('aes-256-ctr', secret, Buffer.from(sealed.slice(0, 32), 'hex'));
  assert.deepEqual(JSON.parse(decipher.update(sealed.slice(32), 'base64', 'utf8')), { b: { user: 'u', password: 'secret-password' } });

  const second = await startNodeRed({ userDir: first.userDir });
  assert.equal((await second.ask({ path: '/api/count' })).body, '2');
  const { rev } = (await second.ask({ path: '/flows', headers: { ...BEARER, 'node-red-api-version': 'v2' } })).json();
  assert.equal(rev, crypto.createHash('sha256').update(flows).digest('hex'));
  await second.stop();
});

test('in safe mode the editor is up, flows are not, and a deploy starts them', async () => {
  const first = await startNodeRed();
  await deploy(first, ECHO_FLOW);
  await first.stop();
  const safe = await startNodeRed({ userDir: first.userDir, env: { OPENFLOW_SAFE_MODE: 'true' } });
  try {
    assert.deepEqual((await safe.ask({ path: '/openflow/health' })).json(), { ok: true, flows: false });
    assert.equal((await safe.ask({ path: '/api/echo' })).status, 404);
    assert.equal((await safe.ask({ path: '/flows/state', headers: BEARER })).json().state, 'safe');
    await deploy(safe, ECHO_FLOW);
    assert.equal((await safe.ask({ path: '/api/echo' })).status, 200);
  } finally {
    await safe.stop();
  }
});

test('without its secrets an instance does not start, and says which is missing', () => {
  const { node, red } = staged();
  const settings = path.join(ROOT, 'settings-shim/node-red/settings.js');
  const { status, stdout } = spawnSync(node, [red, '--settings', settings, '--userDir', '/nonexistent'], { env: { PATH: process.env.PATH }, timeout: 30_000 });
  assert.equal(status, 1);
  assert.match(String(stdout), /OPENFLOW_MAGIC_TOKEN must be set/);
});
