'use strict';
// The rehearsal of a restore on good and on broken data folders, with the image's own Node.js and n8n.
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { BEARER, KEY, ROOT, environment, freePort, newFolder, staged, startN8n } = require('./support');
const { encrypt } = require('./secrets');
const { answering, contentOf, node, workflow } = require('./workflows');

const SECRET = 'the-secret-of-a-credential';
const DEADLINE_MS = 200_000;

let good; // a data folder as a running instance leaves it
let calls = 0; // of a schedule: no rehearsal may make one
let outside;

before(async () => {
  outside = http.createServer((req, res) => { calls += 1; res.end(); });
  await new Promise((resolve) => { outside.listen(0, '127.0.0.1', resolve); });
  const n8n = await startN8n();
  const schedule = workflow('wfTimed', 'Timed', [node('Schedule', 'scheduleTrigger', 1.2, { rule: { interval: [{ field: 'seconds', secondsInterval: 1 }] } }),
    node('Ask', 'httpRequest', 4.2, { url: `http://127.0.0.1:${outside.address().port}/`, options: {} })]);
  const content = contentOf({ workflows: [answering('wfHello', 'hello', 'hello'), schedule],
    credentials: [{ id: 'cred', name: 'c', type: 'httpHeaderAuth', data: encrypt({ name: 'x', value: SECRET }, KEY) }] });
  const answer = await n8n.ask({ method: 'PUT', path: '/openflow/content', headers: { ...BEARER, 'content-type': 'application/json' }, body: content });
  assert.deepEqual([answer.status, answer.json().inactive], [200, []], answer.body);
  await n8n.stop();
  good = n8n.data;
  calls = 0;
});
after(() => {
  outside?.close();
  if (good) fs.rmSync(good, { recursive: true, force: true });
});

/** A copy of the good folder, changed by `change`; what the rehearsal says of it. */
async function rehearse(change = () => {}, key = KEY) {
  const { node: program, app } = staged();
  const data = newFolder();
  try {
    fs.cpSync(good, data, { recursive: true });
    change(data);
    const { status, stdout, stderr } = spawnSync(program,
      [path.join(ROOT, 'settings-shim/n8n/rehearse.js'), '--data', data, '--app', app, '--port', String(await freePort())],
      { env: environment(key), encoding: 'utf8', timeout: DEADLINE_MS, cwd: data });
    const last = stdout.trimEnd().split('\n').at(-1);
    assert.ok(!(stdout + stderr).includes(SECRET) && !last.includes(key), stdout);
    const { ok, checks } = JSON.parse(last);
    assert.deepEqual(checks.map(({ name }) => name), ['sqlite', 'credentials', 'flows', 'start']);
    assert.equal(ok, checks.every((it) => it.ok));
    assert.equal(status, ok ? 0 : 1, stderr);
    return { ok, failed: checks.filter((it) => !it.ok).map(({ name }) => name), detail: Object.fromEntries(checks.map((it) => [it.name, it.detail])), stderr };
  } finally {
    fs.rmSync(data, { recursive: true, force: true });
  }
}

const database = (data) => path.join(data, '.n8n/database.sqlite');

function sqlite(data, sql) {
  const script = "const { DatabaseSync } = require('node:sqlite'); const it = new DatabaseSync(process.argv[1]); it.exec(process.argv[2]); it.close()";
  assert.equal(spawnSync(staged().node, ['-e', script, database(data), sql]).status, 0);
}

test('a sound folder passes, and nothing of it runs', async () => {
  const { ok, detail } = await rehearse();
  assert.ok(ok, JSON.stringify(detail));
  assert.deepEqual([detail.sqlite, detail.credentials, detail.flows], ['1 database without fault', '1 credential', '4 nodes in 2 workflows, 2 active']);
  assert.match(detail.start, /^answered after \d+ ms$/);
  assert.equal(calls, 0);
});

test('an empty folder passes: there is nothing that could be broken', async () => {
  const { ok, detail } = await rehearse((data) => { for (const name of fs.readdirSync(data)) fs.rmSync(path.join(data, name), { recursive: true }); });
  assert.ok(ok, JSON.stringify(detail));
  assert.deepEqual([detail.sqlite, detail.credentials, detail.flows], ['0 databases without fault', 'there are none', 'there are none']);
});

test('it fails for another key, and says why', async () => {
  const { failed, detail } = await rehearse(undefined, 'another-key-0123456789abcdef');
  assert.deepEqual(failed, ['credentials', 'start']);
  assert.match(detail.credentials, /another encryption key/);
  assert.match(detail.start, /encryption key/);
});

test('it fails for credentials of another key where nothing else says so', async () => {
  const { failed, detail } = await rehearse((data) => fs.rmSync(path.join(data, '.n8n/config')), 'another-key-0123456789abcdef');
  assert.ok(failed.includes('credentials'));
  assert.match(detail.credentials, /1 of 1 credential cannot be decrypted.*\(cred\)/);
});

// [what, the change, which checks fail, what they say]
const broken = [
  ['a database with pages overwritten', (data) => {
    sqlite(data, 'PRAGMA wal_checkpoint(TRUNCATE)');
    const opened = fs.openSync(database(data), 'r+');
    for (let page = 1; page < 40; page += 1) fs.writeSync(opened, Buffer.alloc(4096, 0xab), 0, 4096, 4096 * page);
    fs.closeSync(opened);
  }, ['sqlite', 'credentials', 'flows', 'start'], { sqlite: /^damaged: \.n8n\/database\.sqlite: /, start: /not started.*malformed/ }],
  ['a database that is none', (data) => {
    for (const end of ['-wal', '-shm']) fs.rmSync(database(data) + end, { force: true });
    fs.writeFileSync(database(data), 'nothing');
  }, ['credentials', 'flows', 'start'], { start: /not started.*not a database/ }],
  ['a workflow that is no JSON', (data) => sqlite(data, `UPDATE workflow_entity SET nodes = '[{"name":"${SECRET}' WHERE id = 'wfHello'`), ['flows'], { flows: /workflow wfHello: nodes is not JSON/ }],
  ['a workflow without types', (data) => sqlite(data, `UPDATE workflow_entity SET nodes = '[{"name":"x"}]' WHERE id = 'wfHello'`), ['flows'], { flows: /workflow wfHello/ }],
  ['a damaged credential', (data) => sqlite(data, "UPDATE credentials_entity SET data = 'U2FsdGVkX1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx='"), ['credentials'], { credentials: /cannot be decrypted/ }],
];
for (const [what, change, failed, says] of broken) {
  test(`it fails for ${what}`, async () => {
    const result = await rehearse(change);
    assert.deepEqual(result.failed, failed, JSON.stringify(result.detail));
    for (const [name, pattern] of Object.entries(says)) assert.match(result.detail[name], pattern);
  });
}
