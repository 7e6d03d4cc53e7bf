'use strict';
// n8n on PostgreSQL instead of SQLite: the real n8n on a real server, from its first start to what becomes of its dump.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { BEARER, JSON_TYPE, KEY, freePort, identity, newFolder, spawnN8n, staged, startN8n } = require('./support');
const { pictureOf, relay, runOnce, secretsOf, startPostgres } = require('./postgres');
const { decrypt, decryptText, encrypt, encryptText } = require('./secrets');
const { answering, contentOf, node, workflow } = require('./workflows');

const OTHER = 'the-key-of-another-instance-0123456789';
const SECRET = 'what nobody else knows';
const OLD = ['n8n_20200101000000_00000001', 'n8n_20200102000000_00000002'];

let postgres;
let first; // {database, secrets, n8n, content}: fresh on PostgreSQL
before(async () => {
  postgres = await startPostgres();
  const database = await postgres.newDatabase();
  const secrets = secretsOf({ encryption_key: KEY, database_url: database.url });
  // What an instance's own variables say about the database does not count.
  const env = { OPENFLOW_SECRETS_DIR: secrets, DB_TYPE: 'sqlite', DB_POSTGRESDB_SCHEMA: 'public', DB_POSTGRESDB_HOST_FILE: '/nonexistent', DB_POSTGRESDB_SSL_ENABLED: 'true', PGOPTIONS: '-c nonsense=1' };
  first = { database, secrets, n8n: await startN8n({ env }) };
});
after(async () => {
  await first?.n8n.stop();
  postgres?.stop();
});

const schemaOf = (data) => JSON.parse(fs.readFileSync(path.join(data, '.n8n/database.json'))).schema;
const rest = (n8n, method, target, body) => n8n.ask({ method, path: `/rest${target}`, headers: { ...identity('member'), ...JSON_TYPE }, body });
const content = async (n8n) => (await n8n.ask({ path: '/openflow/content', headers: BEARER })).json();
const put = (n8n, body) => n8n.ask({ method: 'PUT', path: '/openflow/content', headers: { ...BEARER, ...JSON_TYPE }, body });
const call = async (n8n, target) => (await n8n.ask({ path: `/webhook/${target}` })).json();
const executions = async (n8n) => (await rest(n8n, 'GET', '/executions')).json().data.results;

/** A workflow that shows which key its credential opens with: the credential decides the answer's header that is asked for. */
const CREDENTIAL = { id: 'credAuth', name: 'Auth', type: 'httpHeaderAuth' };
const guarded = () => workflow('wfGuarded', 'Guarded', [
  { ...node('Webhook', 'webhook', 2, { path: 'guarded', responseMode: 'lastNode', authentication: 'headerAuth', options: {} }, { webhookId: 'guarded' }),
    credentials: { httpHeaderAuth: { id: CREDENTIAL.id, name: CREDENTIAL.name } } },
  node('Set', 'set', 3.4, { mode: 'raw', jsonOutput: '{"says":"let in"}', options: {} }),
]);
const knock = async (n8n, value) => (await n8n.ask({ path: '/webhook/guarded', headers: { 'x-key': value } })).status;

function copyOf(data) {
  const copy = newFolder();
  fs.cpSync(path.join(data, '.n8n'), path.join(copy, '.n8n'), { recursive: true });
  return copy;
}

test('a fresh instance is in PostgreSQL, in a schema that its folder names; the password stays out of its environment', async () => {
  const { n8n, database } = first;
  const schema = schemaOf(n8n.data);
  assert.equal(fs.statSync(path.join(n8n.data, '.n8n/database.json')).mode & 0o777, 0o600);
  assert.ok(!fs.existsSync(path.join(n8n.data, '.n8n/database.sqlite')));
  const [{ count }] = await database.sql(`SELECT count(*)::int FROM ${schema}.migrations`);
  assert.ok(count > 200, `${count}`);
  assert.deepEqual(await database.sql("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"), []);
  const code = workflow('wfEnv', 'Env', [node('Webhook', 'webhook', 2, { path: 'env', responseMode: 'lastNode', options: {} }, { webhookId: 'env' }),
    node('Code', 'code', 2, { jsCode: 'return [{ json: { env: typeof process === "undefined" ? "" : JSON.stringify(process.env) } }];' })]);
  const answer = await put(n8n, contentOf({ workflows: [answering('wfHello', 'hello', 'hello'), guarded(), code],
    credentials: [{ ...CREDENTIAL, data: encrypt({ name: 'x-key', value: SECRET }, KEY) }], tags: [{ id: 'tagOne', name: 'One' }] }));
  assert.deepEqual([answer.status, answer.json()], [200, { workflows: { written: 3, archived: 0 }, credentials: 1, inactive: [] }], answer.body);
  assert.deepEqual([await call(n8n, 'hello'), await knock(n8n, SECRET), await knock(n8n, 'wrong')], [{ says: 'hello' }, 200, 403]);
  assert.ok(!JSON.stringify(await call(n8n, 'env')).includes(database.password));
  assert.ok(!fs.readFileSync(`/proc/${n8n.child.pid}/environ`, 'utf8').includes(database.password));
});

test('snapshots work as on SQLite: what is there is not written again, and a rollback brings back what ran', async () => {
  const { n8n } = first;
  const earlier = await content(n8n);
  assert.deepEqual((await put(n8n, earlier)).json(), { workflows: { written: 0, archived: 0 }, credentials: 0, inactive: [] });
  const changed = structuredClone(earlier);
  changed.workflows.find(({ id }) => id === 'wfHello').nodes[0].parameters.path = 'bye';
  changed.workflows = changed.workflows.filter(({ id }) => id !== 'wfEnv');
  assert.deepEqual((await put(n8n, changed)).json().workflows, { written: 1, archived: 1 });
  assert.deepEqual(await call(n8n, 'bye'), { says: 'hello' });
  assert.deepEqual((await put(n8n, earlier)).json().inactive, []);
  assert.deepEqual(await call(n8n, 'hello'), { says: 'hello' });
  assert.deepEqual(await content(n8n), earlier);
  assert.deepEqual((await n8n.ask({ path: '/openflow/awake', headers: BEARER })).json(), { triggers: [], more: 0, waitingUntil: null, running: 0 });
});

test('a dump made while executions are written starts another instance with another key, which goes on from there', async () => {
  const { n8n, database, secrets } = first;
  const [{ id: projectId }] = (await rest(n8n, 'GET', '/projects')).json().data.filter(({ type }) => type === 'personal');
  const table = (await rest(n8n, 'POST', `/projects/${projectId}/data-tables`, { name: 'Things', columns: [{ name: 'thing', type: 'string' }, { name: 'at', type: 'date' }] })).json().data;
  const insert = (it, thing) => rest(it, 'POST', `/projects/${projectId}/data-tables/${table.id}/insert`, { data: [{ thing, at: '2026-01-02T03:04:05.678Z' }], returnType: 'all' });
  assert.equal((await insert(n8n, 'one')).status, 200);
  await database.sql(`UPDATE ${schemaOf(n8n.data)}."user" SET "mfaSecret" = '${encryptText('JBSWY3DP', KEY)}', "mfaRecoveryCodes" = '${['one', 'two'].map((it) => encryptText(it, KEY)).join(',')}'`);
  let isOver = false;
  const calling = (async () => { while (!isOver) await call(n8n, 'hello'); })();
  const dumped = await runOnce('database.js', n8n.data, secrets, { args: ['dump'] });
  isOver = true;
  await calling;
  assert.equal(dumped.status, 0, dumped.stderr);
  assert.deepEqual(JSON.parse(dumped.stdout).notCarried, []);

  const data = copyOf(n8n.data);
  const other = await postgres.newDatabase('?sslmode=require');
  await other.sql(`CREATE SCHEMA ${OLD[0]}`);
  const inside = secretsOf({ encryption_key: OTHER, old_encryption_key: KEY, database_url: '' });
  fs.chmodSync(path.join(inside, 'database_url'), 0o600);
  fs.writeFileSync(path.join(inside, 'database_url'), `postgres://${other.name}:${other.password}@/${other.name}?host=${inside}&port=5432`);
  const socket = await relay(inside, postgres.port);
  for (let times = 0; times < 2; times += 1) assert.deepEqual(await runOnce('fit.js', data, inside), { status: 0, stdout: '', stderr: '' });
  socket.stop();
  const [{ mfaSecret, mfaRecoveryCodes }] = await other.sql(`SELECT * FROM ${schemaOf(data)}."user"`);
  assert.deepEqual([mfaSecret, ...mfaRecoveryCodes.split(',')].map((it) => decryptText(it, OTHER)), ['JBSWY3DP', 'one', 'two']);
  const second = await startN8n({ data, env: { OPENFLOW_SECRETS_DIR: secretsOf({ encryption_key: OTHER, database_url: other.url }) } });
  try {
    assert.deepEqual([await call(second, 'hello'), await knock(second, SECRET), await knock(second, 'wrong')], [{ says: 'hello' }, 200, 403]);
    assert.deepEqual(decrypt((await content(second)).credentials[0].data, OTHER), { name: 'x-key', value: SECRET });
    const newest = async () => Math.max(...(await executions(second)).map(({ id }) => Number(id)));
    const older = await newest();
    assert.ok(older > 3 && (await executions(second)).length > 3);
    await call(second, 'hello');
    assert.ok(await newest() > older);
    const rows = (await insert(second, 'two')).json().data;
    assert.deepEqual(rows.map(({ id, thing }) => [id, thing]), [[2, 'two']]);
    assert.ok(!/legacy|DEK|decrypt/i.test(second.log()), second.log());
    // What was there before is kept while this one may be on trial.
    assert.deepEqual((await other.sql("SELECT nspname AS name FROM pg_namespace WHERE nspname ~ '^n8n_' ORDER BY 1")).map(({ name }) => name), [OLD[0], schemaOf(data)]);
  } finally {
    await second.stop();
  }
  assert.ok(await database.sql('SELECT 1'));
});

test('a stopped instance says the same of its content; its dump is what it was, row by row', async () => {
  const { n8n, database, secrets } = first;
  const running = await content(n8n);
  await n8n.stop();
  assert.equal(n8n.child.exitCode, 0, n8n.log());
  const { stdout, stderr } = await runOnce('content.js', n8n.data, secrets);
  assert.deepEqual(JSON.parse(stdout), running, stderr);
  assert.equal((await runOnce('database.js', n8n.data, secrets, { args: ['dump'] })).status, 0);
  const data = copyOf(n8n.data);
  const other = await postgres.newDatabase();
  assert.equal((await runOnce('fit.js', data, secretsOf({ encryption_key: KEY, old_encryption_key: KEY, database_url: other.url }))).stderr, '');
  assert.deepEqual(await pictureOf(other, schemaOf(data)), await pictureOf(database, schemaOf(n8n.data)));
});

test('put back on a bare machine it starts with its dump', async () => {
  const data = copyOf(first.n8n.data);
  fs.rmSync(path.join(data, '.n8n/database.json'));
  const other = await postgres.newDatabase();
  const again = await startN8n({ data, env: { OPENFLOW_SECRETS_DIR: secretsOf({ encryption_key: KEY, database_url: other.url }) } });
  try {
    assert.match(again.log(), /the data folder was put back with a dump of its database: it is loaded into PostgreSQL/);
    assert.match(again.log(), new RegExp(`\\d+ rows in \\d+ tables were loaded \\(${schemaOf(data)}\\)`));
    assert.deepEqual([await call(again, 'hello'), await knock(again, SECRET)], [{ says: 'hello' }, 200]);
    assert.ok(!fs.existsSync(path.join(data, '.n8n/database.dump')));
  } finally {
    await again.stop();
  }
});

test('the rehearsal loads the dump into a database of its own and says which credential does not open', async () => {
  const { n8n, database, secrets } = first;
  const schema = schemaOf(n8n.data);
  await database.sql(`INSERT INTO ${schema}.credentials_entity (id, name, type, data) VALUES (E'bad\\nid', 'x', 'y', '${encrypt({ a: 1 }, OTHER)}')`);
  assert.equal((await runOnce('database.js', n8n.data, secrets, { args: ['dump'] })).status, 0);
  await database.sql(`DELETE FROM ${schema}.credentials_entity WHERE name = 'x'`);
  const data = copyOf(n8n.data);
  const other = await postgres.newDatabase();
  const dir = secretsOf({ encryption_key: KEY, database_url: other.url });
  const { status, stdout, stderr } = await runOnce('rehearse.js', data, dir, { args: ['--port', String(await freePort())] });
  const { checks } = JSON.parse(stdout.trimEnd().split('\n').at(-1));
  assert.deepEqual([status, ...checks.map(({ name, ok }) => `${name} ${ok}`)], [1, 'sqlite true', 'credentials false', 'flows true', 'start true'], stdout + stderr);
  const [{ detail: loaded }, { detail: unreadable }, { detail: found }] = checks;
  assert.match(loaded, /^\d+ rows in \d+ tables loaded into PostgreSQL; 0 databases without fault$/);
  assert.match(unreadable, /^1 of 2 credentials cannot be decrypted: damaged, or of another encryption key \(bad id\)$/);
  assert.match(found, /^\d+ nodes in 3 workflows, 3 active$/);
});

// The rehearsal itself needs five connections until n8n's start, which makes one before n8n does. What the server does then says nothing about the backup.
for (const [when, most] of [['before n8n', 5], ['while n8n starts', 6]]) {
  test(`a rehearsal whose server goes away ${when} has no outcome`, async () => {
    const data = copyOf(first.n8n.data);
    fs.rmSync(path.join(data, '.n8n/database.json'));
    const other = await postgres.newDatabase();
    const secrets = secretsOf({ encryption_key: KEY, database_url: `postgres://${other.name}:${other.password}@/${other.name}?host=SECRETS&port=5432` });
    const socket = await relay(secrets, postgres.port, most);
    try {
      const { status, stdout, stderr } = await runOnce('rehearse.js', data, secrets, { args: ['--port', String(await freePort())] });
      assert.deepEqual([status, stdout], [75, ''], stderr);
      assert.match(stderr.trimEnd().split('\n').at(-1), /^openflow: The PostgreSQL server of this instance cannot be reached \(/);
      assert.equal(/n8n starts as/.test(stderr), most === 6, stderr);
    } finally {
      socket.stop();
    }
  });
}

/** [what, the data folder, the secret files, its status, what it says] */
const cases = () => {
  const sqlite = newFolder();
  fs.mkdirSync(path.join(sqlite, '.n8n'));
  fs.copyFileSync(path.join(staged().app, 'seed/database.sqlite'), path.join(sqlite, '.n8n/database.sqlite'));
  const { url } = first.database;
  const pointing = (schema, ...files) => {
    const data = newFolder();
    fs.mkdirSync(path.join(data, '.n8n'));
    fs.writeFileSync(path.join(data, '.n8n/database.json'), JSON.stringify({ schema }));
    for (const [name, text] of files) fs.writeFileSync(path.join(data, '.n8n', name), text);
    return data;
  };
  const dumped = pointing(OLD[0], ['database.dump', 'this is none']);
  const orphan = pointing(OLD[0], ['database.dump', 'this is none']);
  fs.rmSync(path.join(orphan, '.n8n/database.json'));
  const own = () => copyOf(first.n8n.data);
  const foreign = own();
  fs.writeFileSync(path.join(foreign, '.n8n/config'), JSON.stringify({ encryptionKey: 'another' }));
  return [
    ['files where PostgreSQL is wanted', sqlite, { database_url: url }, 78, /keeps its data in files \(\.n8n\/database\.sqlite\), and its stack in PostgreSQL/],
    ['PostgreSQL where files are wanted', own(), {}, 78, /keeps its data in PostgreSQL .* was given no address of a server/],
    ['a dump that is none', orphan, { database_url: url }, 78, /put back with a dump of its database, and the dump of the database .* cannot be loaded: it is damaged/],
    ['a dump without a pointer where files are wanted', orphan, {}, 78, /was given no address of a server/],
    ['no schema', pointing(OLD[0]), { database_url: url }, 78, /The PostgreSQL server lacks what this instance kept there \(\.n8n\/database\.json names it\)/],
    ['no schema, and a dump that is of no use then', dumped, { database_url: url }, 78, /The PostgreSQL server lacks what this instance kept there/],
    ['a pointer that is none', pointing('public'), { database_url: url }, 78, /\.n8n\/database\.json is damaged/],
    ['an address that is none', own(), { database_url: 'http://x' }, 78, /The address of the database in .* cannot be understood/],
    ['another key', foreign, { database_url: url }, 78, /The encryption key of this instance is not the one/],
    ['a server that is away', own(), { database_url: url.replace(`:${postgres.port}`, ':1') }, 1, /^openflow: The PostgreSQL server of this instance cannot be reached \(connect ECONNREFUSED 127\.0\.0\.1:1\)\.$/],
    ['a socket that nobody may use', own(), { database_url: 'postgres://a:b@/c?host=/nonexistent&port=5432' }, 1, /cannot be reached \(connect ENOENT/],
    ['a database that is not there', own(), { database_url: url.replace(/\/[^/]+$/, '/elsewhere') }, 1, /cannot be reached \(database "elsewhere" does not exist\)/],
  ];
};
test('it says why it does not start, and changes nothing', async (t) => {
  for (const [what, data, files, status, says] of cases()) {
    await t.test(what, () => refuses(data, files, status, says));
  }
  await t.test('the database of a newer n8n', async () => {
    const { database, n8n } = first;
    const table = `${schemaOf(n8n.data)}.migrations`;
    await database.sql(`INSERT INTO ${table} (timestamp, name) VALUES (9999999999999, 'FromTheFuture9999999999999')`);
    await refuses(copyOf(n8n.data), { database_url: database.url }, 78, /used by a newer n8n than the \d+\.\d+\.\d+ of this image/);
    await database.sql(`DELETE FROM ${table} WHERE timestamp = 9999999999999`);
  });
});

async function refuses(data, files, status, says) {
  const picture = () => Object.fromEntries(fs.readdirSync(path.join(data, '.n8n')).map((name) => [name, fs.statSync(path.join(data, '.n8n', name)).mtimeMs]));
  const before = picture();
  const n8n = await spawnN8n({ data, env: { OPENFLOW_SECRETS_DIR: secretsOf({ encryption_key: KEY, ...files }) } });
  await n8n.exited;
  assert.equal(n8n.child.exitCode, status, n8n.log());
  assert.match(n8n.lastError(), says);
  assert.ok(!n8n.log().includes(first.database.password), n8n.log());
  assert.deepEqual(picture(), before);
}
