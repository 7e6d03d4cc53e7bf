'use strict';
// The rehearsal of a restore on good and on broken data folders, with the image's own Node.js and Node-RED.
const assert = require('node:assert/strict');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { CREDENTIAL_SECRET, ECHO_FLOW, INSTANCE_ID, MAGIC, ROOT, deploy, freePort, newUserDir, staged, startNodeRed } = require('./support');

const PASSWORD = 'the-password-of-a-broker';
const FLOWS = [...ECHO_FLOW, { id: 'b', type: 'mqtt-broker', name: '', broker: '127.0.0.1', port: '1', credentials: { user: 'u', password: PASSWORD } }];
const DEADLINE_MS = 200_000;

let good; // a data folder as a running instance leaves it
before(async () => {
  const red = await startNodeRed();
  await deploy(red, FLOWS);
  await red.stop();
  good = red.userDir;
  sqlite(path.join(good, 'values.db'), `create table v (t text); with recursive n (i) as (select 1 union all select i + 1 from n where i < 2000)
    insert into v select hex(randomblob(100)) from n; create index vt on v (t)`);
});
after(() => fs.rmSync(good, { recursive: true, force: true }));

/** Runs SQL on a database; the copy is taken while it is open, so that a journal is left beside it. */
function sqlite(file, sql, copy = '') {
  const script = `const { DatabaseSync } = require('node:sqlite'); const fs = require('node:fs');
    const [file, sql, copy] = process.argv.slice(1); const database = new DatabaseSync(file); database.exec(sql);
    if (copy) for (const end of ['', '-wal', '-journal']) if (fs.existsSync(file + end)) fs.copyFileSync(file + end, copy + end);
    process.exit(0);`;
  execFileSync(staged().node, ['-e', script, file, sql, copy], { stdio: ['ignore', 'inherit', 'ignore'] });
}

/** A copy of the good folder, changed by `change`; what the rehearsal says of it. */
async function rehearse(change = () => {}, env = {}) {
  const { node, red } = staged();
  const data = newUserDir();
  try {
    fs.cpSync(good, data, { recursive: true });
    change(data);
    const { status, stdout, stderr } = spawnSync(node,
      [path.join(ROOT, 'settings-shim/node-red/rehearse.js'), '--data', data, '--red', red, '--port', String(await freePort())], {
        env: { PATH: process.env.PATH, HOME: data, OPENFLOW_MAGIC_TOKEN: MAGIC, OPENFLOW_CREDENTIAL_SECRET: CREDENTIAL_SECRET, OPENFLOW_INSTANCE_ID: INSTANCE_ID, ...env },
        encoding: 'utf8', timeout: DEADLINE_MS, cwd: data,
      });
    const last = stdout.trimEnd().split('\n').at(-1);
    assert.ok(!last.includes(PASSWORD));
    const { ok, checks } = JSON.parse(last);
    assert.deepEqual(checks.map(({ name }) => name), ['sqlite', 'credentials', 'flows', 'start']);
    assert.equal(ok, checks.every((it) => it.ok));
    assert.equal(status, ok ? 0 : 1, stderr);
    return { ok, failed: checks.filter((it) => !it.ok).map(({ name }) => name), detail: Object.fromEntries(checks.map((it) => [it.name, it.detail])), stderr };
  } finally {
    fs.rmSync(data, { recursive: true, force: true });
  }
}

test('a sound folder passes, in safe mode', async () => {
  let { ok, detail, stderr } = await rehearse();
  assert.ok(ok, JSON.stringify(detail));
  assert.deepEqual([detail.sqlite, detail.credentials, detail.flows], ['1 database without fault', 'credentials of 1 node', `${FLOWS.length - 1} nodes on 1 tab`]);
  assert.match(detail.start, /^answered after \d+ ms$/);
  // It is stopped as soon as it answers, mostly after it said so.
  for (let more = 10; more > 0 && !/safe mode/i.test(stderr); more -= 1) ({ stderr } = await rehearse());
  assert.match(stderr, /safe mode/i);
  assert.doesNotMatch(stderr, /started flows/i);
});

test('an empty folder passes: there is nothing that could be broken', async () => {
  const { ok, detail } = await rehearse((data) => { for (const name of fs.readdirSync(data)) fs.rmSync(path.join(data, name), { recursive: true }); });
  assert.ok(ok, JSON.stringify(detail));
  assert.deepEqual([detail.sqlite, detail.credentials, detail.flows], ['0 databases without fault', 'there are none', 'there are none']);
});

test('databases with a journal left behind are played back', async () => {
  const { ok, detail } = await rehearse((data) => {
    const work = path.join(data, 'node_modules');
    fs.mkdirSync(work, { recursive: true });
    sqlite(path.join(work, 'a'), 'pragma journal_mode = wal; create table t (x); insert into t values (1)', path.join(data, 'wal.db'));
    sqlite(path.join(work, 'b'), `create table t (x); pragma cache_size = 1; begin;
      with recursive n (i) as (select 1 union all select i + 1 from n where i < 500) insert into t select hex(randomblob(500)) from n`, path.join(data, 'hot.db'));
    assert.ok(fs.existsSync(path.join(data, 'wal.db-wal')) && fs.existsSync(path.join(data, 'hot.db-journal')));
  });
  assert.ok(ok, JSON.stringify(detail));
  assert.equal(detail.sqlite, '3 databases without fault');
});

// [what, the change, which checks fail, what they say]
const broken = [
  ['a database with a page overwritten', (data) => overwrite(path.join(data, 'values.db'), 4096 * 3), ['sqlite'], { sqlite: /^damaged: values\.db: / }],
  ['a database cut short, in a folder', (data) => {
    fs.mkdirSync(path.join(data, 'deep/er'), { recursive: true });
    fs.renameSync(path.join(data, 'values.db'), path.join(data, 'deep/er/values'));
    fs.truncateSync(path.join(data, 'deep/er/values'), 5000);
  }, ['sqlite'], { sqlite: /deep\/er\/values: / }],
  ['a file with nothing but SQLite’s header', (data) => fs.writeFileSync(path.join(data, 'x'), 'SQLite format 3\0'), ['sqlite'], { sqlite: /damaged: x: / }],
  ['credentials cut short', (data) => edit(data, 'flows_cred.json', (text) => text.slice(0, -10)), ['credentials'], { credentials: /is not JSON/ }],
  ['credentials with a damaged beginning', (data) => edit(data, 'flows_cred.json', (text) => text.replace(/"\$":"./, '"$":"x')), ['credentials'], { credentials: /cannot be decrypted/ }],
  ['credentials that are a list', (data) => fs.writeFileSync(path.join(data, 'flows_cred.json'), '[]'), ['credentials'], { credentials: /not an object/ }],
  ['flows cut short', (data) => edit(data, 'flows.json', (text) => text.slice(0, 100)), ['flows'], { flows: /flows\.json is not JSON/ }],
  ['flows that are no list', (data) => fs.writeFileSync(path.join(data, 'flows.json'), '{"flows":[]}'), ['flows'], { flows: /not a list of nodes/ }],
  ['a node without type', (data) => fs.writeFileSync(path.join(data, 'flows.json'), '[{"id":"a"},null]'), ['flows'], { flows: /not a list of nodes/ }],
];
for (const [what, change, failed, says] of broken) {
  test(`it fails for ${what}`, async () => {
    const result = await rehearse(change);
    assert.deepEqual(result.failed.filter((name) => name !== 'start'), failed);
    for (const [name, pattern] of Object.entries(says)) assert.match(result.detail[name], pattern);
  });
}

test('it fails for another secret', async () => {
  const { failed, detail } = await rehearse(undefined, { OPENFLOW_CREDENTIAL_SECRET: 'ocs_another-secret-0123456789' });
  assert.deepEqual(failed, ['credentials']);
  assert.match(detail.credentials, /another OPENFLOW_CREDENTIAL_SECRET/);
});

test('it fails when Node-RED does not start, and says why', async () => {
  const { failed, detail } = await rehearse(undefined, { OPENFLOW_MAGIC_TOKEN: '' });
  assert.deepEqual(failed, ['start']);
  assert.match(detail.start, /did not start: it ended with 1\. [\s\S]*OPENFLOW_MAGIC_TOKEN/);
});

test('links, pipes and modules are left alone', async () => {
  const { ok, detail } = await rehearse((data) => {
    fs.mkdirSync(path.join(data, 'node_modules/m'), { recursive: true });
    fs.writeFileSync(path.join(data, 'node_modules/m/x.db'), 'SQLite format 3\0');
    const outside = newUserDir();
    fs.writeFileSync(path.join(outside, 'x.db'), 'SQLite format 3\0');
    fs.symlinkSync(outside, path.join(data, 'folder'));
    fs.symlinkSync(path.join(outside, 'x.db'), path.join(data, 'file'));
    execFileSync('mkfifo', [path.join(data, 'pipe')]);
  });
  assert.ok(ok, JSON.stringify(detail));
  assert.equal(detail.sqlite, '1 database without fault');
});

function edit(data, name, change) {
  const file = path.join(data, name);
  fs.writeFileSync(file, change(fs.readFileSync(file, 'utf8')));
}

function overwrite(file, offset) {
  const opened = fs.openSync(file, 'r+');
  fs.writeSync(opened, Buffer.alloc(4096, 0xab), 0, 4096, offset);
  fs.closeSync(opened);
}
