'use strict';
// The change of an instance's encryption key, with the image's own Node.js.
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { KEY, ROOT, newFolder, staged } = require('./support');
const { decrypt, encrypt } = require('./secrets');

const NEW_KEY = 'another-key-0123456789abcdef';
const SECRET = { name: 'x-key', value: 'the-secret-of-a-credential ü' };
const OPEN = "const { DatabaseSync } = require('node:sqlite'); const it = new DatabaseSync(process.argv[1]); const [sql, rows] = JSON.parse(process.argv[2]);";
const SCRIPTS = {
  run: `${OPEN} for (const row of rows) it.prepare(sql).run(...row)`,
  all: `${OPEN} console.log(JSON.stringify(it.prepare(sql).all()))`,
};

const database = (data) => path.join(data, '.n8n/database.sqlite');
const config = (data) => path.join(data, '.n8n/config');

function sqlite(data, how, sql, rows = [[]]) {
  const { status, stdout, stderr } = spawnSync(staged().node, ['-e', SCRIPTS[how], database(data), JSON.stringify([sql, rows])], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return how === 'all' ? JSON.parse(stdout) : undefined;
}

/** A data folder with the given texts as credentials, of the database that the image brings. */
function folderWith(credentials, key = KEY) {
  const data = newFolder();
  fs.mkdirSync(path.join(data, '.n8n'));
  fs.copyFileSync(path.join(staged().app, 'seed/database.sqlite'), database(data));
  fs.writeFileSync(config(data), JSON.stringify({ encryptionKey: key, other: 1 }), { mode: 0o600 });
  sqlite(data, 'run', 'INSERT INTO credentials_entity (id, name, type, data) VALUES (?, ?, ?, ?)', credentials.map((it, at) => [`c${at}`, 'Key', 'httpHeaderAuth', it]));
  sqlite(data, 'run', "INSERT INTO deployment_key (id, type, value, status) VALUES ('k', 'instance.id', 'x', 'active')");
  return data;
}

function rekey(data, from = KEY, to = NEW_KEY) {
  const secrets = newFolder();
  fs.writeFileSync(path.join(secrets, 'old_encryption_key'), from);
  fs.writeFileSync(path.join(secrets, 'encryption_key'), to);
  const script = path.join(ROOT, 'settings-shim/n8n/rekey.js');
  const { status, stdout, stderr } = spawnSync(staged().node, [script, '--data', data], { env: { OPENFLOW_SECRETS_DIR: secrets }, encoding: 'utf8' });
  fs.rmSync(secrets, { recursive: true });
  assert.ok(![from, to, SECRET.value].some((it) => (stdout + stderr).includes(it)), stderr);
  return { status, stderr };
}

const state = (data) => ({
  config: fs.readFileSync(config(data), 'utf8'),
  credentials: sqlite(data, 'all', 'SELECT id, data FROM credentials_entity ORDER BY id'),
  keys: sqlite(data, 'all', 'SELECT id FROM deployment_key').length,
  files: fs.readdirSync(path.join(data, '.n8n')).filter((name) => !/-(wal|shm)$/.test(name)),
});

test('every credential opens with the new key, and n8n will make its own keys anew; twice is as good as once', () => {
  const data = folderWith([encrypt(SECRET, KEY), encrypt({}, KEY)]);
  for (const _ of [1, 2]) {
    assert.deepEqual(rekey(data), { status: 0, stderr: '' });
    const { credentials, keys, files, config: text } = state(data);
    assert.deepEqual(credentials.map((it) => decrypt(it.data, NEW_KEY)), [SECRET, {}]);
    assert.deepEqual(JSON.parse(text), { encryptionKey: NEW_KEY, other: 1 });
    assert.equal(keys, 0);
    assert.deepEqual(files.sort(), ['config', 'database.sqlite']);
    assert.equal(fs.statSync(config(data)).mode & 0o777, 0o600);
  }
  fs.rmSync(data, { recursive: true });
});

test('what never ran has nothing to change', () => {
  const data = newFolder();
  assert.deepEqual(rekey(data), { status: 0, stderr: '' });
  assert.deepEqual(fs.readdirSync(data), []);
  fs.rmSync(data, { recursive: true });
});

// [what, the credentials, the change, what is said]
const refused = [
  ['a credential of a third key', [encrypt(SECRET, KEY), encrypt(SECRET, 'a-third-key-0123456789')], () => {}, /cannot be decrypted.*: c1$/],
  ['a damaged credential', ['U2FsdGVkX1xxxxxx', encrypt(SECRET, KEY)], () => {}, /cannot be decrypted.*: c0$/],
  ["a credential under n8n's rotated keys", [`id:${encrypt(SECRET, KEY)}`], () => {}, /key rotation.*: c0$/],
  ['a configuration with a third key', [encrypt(SECRET, KEY)], (data) => fs.writeFileSync(config(data), '{"encryptionKey":"a-third-key-0123456789"}'), /config holds another encryption key/],
  ['a configuration that is none', [encrypt(SECRET, KEY)], (data) => fs.writeFileSync(config(data), 'x'), /config is damaged/],
];
for (const [what, credentials, change, says] of refused) {
  test(`${what}: nothing is changed, and it is said`, () => {
    const data = folderWith(credentials);
    change(data);
    const before = state(data);
    const { status, stderr } = rekey(data);
    assert.equal(status, 1);
    assert.match(stderr.trim(), /^openflow: [^\n]+$/);
    assert.match(stderr.trim(), says);
    assert.deepEqual(state(data), before);
    fs.rmSync(data, { recursive: true });
  });
}

test('a database that is none is told as such', () => {
  const data = folderWith([]);
  fs.writeFileSync(database(data), 'nothing that SQLite knows'.repeat(100));
  const { status, stderr } = rekey(data);
  assert.equal(status, 1);
  assert.match(stderr, /^openflow: \.n8n\/database\.sqlite cannot be rewritten: .*not a database\n$/);
  assert.equal(JSON.parse(fs.readFileSync(config(data), 'utf8')).encryptionKey, KEY);
  fs.rmSync(data, { recursive: true });
});
