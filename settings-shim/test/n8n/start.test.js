'use strict';
// Starting and restarting, and the one line by which the manager tells why an instance cannot start.
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { BEARER, KEY, JSON_TYPE, ROOT, echoWorkflow, newFolder, publish, spawnN8n, staged, startN8n, until } = require('./support');

/** A data folder as n8n leaves it after its first start, without starting it. */
function usedFolder({ key = KEY } = {}) {
  const data = newFolder();
  const folder = path.join(data, '.n8n');
  fs.mkdirSync(folder);
  fs.writeFileSync(path.join(folder, 'config'), JSON.stringify({ encryptionKey: key }), { mode: 0o600 });
  fs.copyFileSync(path.join(staged().app, 'seed/database.sqlite'), path.join(folder, 'database.sqlite'));
  return { data, database: path.join(folder, 'database.sqlite'), config: path.join(folder, 'config'), folder };
}

/** By the image's Node.js; the one that runs the tests may be without SQLite. */
const sql = (file, text) => execFileSync(staged().node, ['-e', 'const { DatabaseSync } = require("node:sqlite"); const d = new DatabaseSync(process.argv[1]); d.exec(process.argv[2]); d.close()', file, text]);

const contents = (folder) => Object.fromEntries(fs.readdirSync(folder).sort().map((name) => [name, fs.statSync(path.join(folder, name)).isFile() && fs.readFileSync(path.join(folder, name)).toString('base64')]));

async function failure(options) {
  const n8n = await spawnN8n(options);
  await n8n.exited;
  return [n8n.child.exitCode, n8n.lastError()];
}

const failures = {
  'another encryption key': [({ config }) => fs.writeFileSync(config, JSON.stringify({ encryptionKey: 'another' })), {}, /^openflow: The encryption key of this instance is not the one/],
  'a damaged configuration': [({ config }) => fs.writeFileSync(config, '{"encryptionKey": "secret'), {}, /^openflow: The file \.n8n\/config is damaged/],
  'a database that is none': [({ database }) => fs.writeFileSync(database, 'x'.repeat(8192)), {}, /^openflow: The database of n8n .* is damaged/],
  'a damaged database': [({ database }) => damage(database), {}, /^openflow: The database of n8n .* is damaged/],
  'the database of a newer n8n': [({ database }) => sql(database, "INSERT INTO migrations (timestamp, name) VALUES (9999999999999, 'FromTheFuture9999999999999')"), {}, /^openflow: The data of this instance was used by a newer n8n than the \d+\.\d+\.\d+ of this image/],
  'a journal without its database': [({ database }) => {
    fs.renameSync(database, `${database}-wal`);
  }, {}, /^openflow: The database of n8n .* is missing, but its journal database\.sqlite-wal is there/],
  'too little memory': [() => {}, { env: { OPENFLOW_MEMORY_MB: '512' } }, /^openflow: n8n needs at least 640 MB of memory and this instance has 512 MB/],
  'no encryption key': [() => {}, { env: { OPENFLOW_SECRETS_DIR: '/nonexistent' } }, /^openflow: The encryption key of n8n cannot be read/],
  'no magic token': [() => {}, { env: { OPENFLOW_MAGIC_TOKEN: '' } }, /^openflow: OPENFLOW_MAGIC_TOKEN must be set/],
};
for (const [why, [spoil, options, line]] of Object.entries(failures)) {
  test(`does not start, says why and changes nothing: ${why}`, async () => {
    const used = usedFolder();
    spoil(used);
    const before = contents(used.folder);
    const [status, said] = await failure({ data: used.data, ...options });
    assert.equal(status, 78, said);
    assert.match(said, line);
    assert.ok(!said.includes(KEY));
    assert.deepEqual(contents(used.folder), before);
  });
}

function damage(file) {
  const opened = fs.openSync(file, 'r+');
  for (let page = 20; page < 60; page += 1) fs.writeSync(opened, Buffer.alloc(4096, page), 0, 4096, page * 4096);
  fs.closeSync(opened);
}

/** What n8n ends with when its session for the owner cannot be made: `thrown` is what is thrown, in JavaScript. */
function failureInside(thrown) {
  const spoiler = path.join(newFolder(), 'spoiler.js');
  fs.writeFileSync(spoiler, `const { Module } = require('node:module'); const load = Module._load;
    Module._load = (name, ...rest) => { const it = load(name, ...rest); if (/auth\\.service$/.test(name) && it.AuthService) it.AuthService.prototype.issueJWT = () => { throw ${thrown}; }; return it; };`);
  return failure({ nodeOptions: ['--require', spoiler] });
}

const inside = {
  'a part that does not fit': ["new TypeError('changed')", 78, /^openflow: The part of Openflow that runs inside n8n failed/],
  'a busy database': ["Object.assign(new Error('SQLITE_BUSY: database is locked'), { code: 'SQLITE_BUSY' })", 1, /^openflow: n8n did not start: SQLITE_BUSY: database is locked/],
  'a database that is away': ["new Error('failed', { cause: Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:5432'), { code: 'ECONNREFUSED' }) })", 1, /^openflow: n8n did not start: failed/],
  'a damaged database that is found late': ["Object.assign(new Error('SQLITE_CORRUPT: database disk image is malformed'), { code: 'SQLITE_CORRUPT' })", 78, /^openflow: The database of n8n .* is damaged/],
  'a reason that is known': [`new (require(${JSON.stringify(path.join(ROOT, 'settings-shim/n8n/failures.js'))}).CannotStart)('The reason.')`, 78, /^openflow: The reason\.$/],
};
for (const [what, [thrown, status, line]] of Object.entries(inside)) {
  test(`a failure inside n8n ends the start with a reason, for good only where another try is of no use: ${what}`, async () => {
    const [ended, said] = await failureInside(thrown);
    assert.equal(ended, status, said);
    assert.match(said, line);
  });
}

test('where n8n logs what is wrong and ends by itself, there is a line for a person all the same: a port that is taken', async () => {
  const other = net.createServer();
  await new Promise((resolve) => { other.listen(0, '127.0.0.1', resolve); });
  try {
    const n8n = await spawnN8n({ port: other.address().port });
    await n8n.exited;
    assert.deepEqual([n8n.child.exitCode, n8n.lastError()], [1, 'openflow: n8n ended while it started. The log of the instance says why.']);
    assert.match(n8n.log(), /port \d+ is already in use/);
  } finally {
    other.close();
  }
});

/** A data folder with a community package of which a promise fails as soon as it is loaded. */
function folderWithStray() {
  const data = newFolder();
  const folder = path.join(data, '.n8n/nodes/node_modules/n8n-nodes-stray');
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'n8n-nodes-stray', version: '1.0.0', n8n: { nodes: ['Stray.node.js'] } }));
  fs.writeFileSync(path.join(folder, 'Stray.node.js'), `Promise.reject(new Error('nobody looks at this'));
    exports.Stray = class { description = { displayName: 'Stray', name: 'stray', group: [], version: 1, defaults: {}, inputs: [], outputs: [], properties: [] }; };`);
  return data;
}

test('a promise that a community package forgets does not end the start', async () => {
  const n8n = await startN8n({ data: folderWithStray() });
  try {
    assert.match(n8n.log(), /nobody looks at this/);
  } finally {
    await n8n.stop();
  }
});

test('what n8n’s own start fails with before it listens for failures ends it', async () => {
  const [status, said] = await failure({ env: { N8N_ENABLED_MODULES: 'nonsense' } });
  assert.equal(status, 1, said);
  assert.match(said, /^openflow: n8n did not start: .*nonsense/);
});

test('until n8n is ready nobody gets an answer from it; then workflows and key survive a restart', async () => {
  const data = newFolder();
  const first = await spawnN8n({ data, env: { OPENFLOW_MEMORY_MB: '768' } });
  const seen = new Set();
  await until(async () => {
    const health = await first.ask({ path: '/openflow/health' }).catch(() => null);
    const page = await first.ask({ path: '/webhook/echo' }).catch(() => null);
    if (health?.status !== 200 && page) seen.add(page.status);
    if (health && health.status !== 200) assert.deepEqual([health.status, health.json()], [503, { ok: false, flows: false }]);
    assert.ok(first.alive(), first.log());
    return health?.status === 200 && health.json().flows;
  }, 120_000);
  assert.deepEqual([...seen].filter((status) => status !== 503 && status !== 404), []);
  assert.ok(!first.log().includes('Starting migration'), 'the first database of the image is migrated');
  const id = await publish(first, echoWorkflow('echo'));
  const call = (n8n) => n8n.ask({ method: 'POST', path: '/webhook/echo', headers: JSON_TYPE, body: {} });
  await until(async () => (await call(first)).status === 200);
  assert.deepEqual(fs.readdirSync(data).filter((name) => name !== '.npm'), ['.n8n']);
  assert.equal(JSON.parse(fs.readFileSync(path.join(data, '.n8n/config'))).encryptionKey, KEY);
  await first.stop();
  assert.equal(first.child.exitCode, 0, first.log());

  // As an operator may choose: n8n's own sign-in beside Openflow's.
  const second = await startN8n({ data, env: { OPENFLOW_N8N_SIGN_IN: 'true' } });
  try {
    assert.equal((await call(second)).status, 200);
    assert.ok(id);
    const asked = await second.ask({ method: 'POST', path: '/rest/login', headers: JSON_TYPE, body: { emailOrLdapLoginId: 'owner@openflow.invalid', password: 'wrong' } });
    assert.deepEqual([asked.status, asked.body.includes('Wrong username or password')], [401, true]);
    assert.equal((await second.ask({ path: '/signin', headers: { accept: 'text/html' } })).status, 200);
    assert.equal((await second.ask({ path: '/rest/workflows' })).status, 401);
    assert.equal((await second.ask({ path: '/rest/workflows', headers: BEARER })).status, 200);
    assert.equal((await second.ask({ path: '/metrics' })).status, 404);
  } finally {
    await second.stop();
  }
});
