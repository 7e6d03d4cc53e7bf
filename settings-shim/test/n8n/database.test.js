'use strict';
// Dumps and loads of a PostgreSQL database, as the containers that run once make them; no n8n is needed for that. What n8n
// itself makes of it is in postgres.test.js.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { gunzipSync, gzipSync } = require('node:zlib');
const { KEY, freePort, newFolder, staged, until } = require('./support');
const { parseAddress } = require('../../n8n/database/address');
const { preparePostgres } = require('../../n8n/database/prepare');
const { pictureOf, relay, runOnce, secretsOf, startPostgres } = require('./postgres');

const SCHEMA = 'n8n_20260102030405_0123abcd';

let postgres;
before(async () => { postgres = await startPostgres(); });
after(() => postgres?.stop());

/** A data folder whose data are in `schema`. */
function folderOf(schema = SCHEMA) {
  const data = newFolder();
  fs.mkdirSync(path.join(data, '.n8n'));
  if (schema) fs.writeFileSync(path.join(data, '.n8n/database.json'), JSON.stringify({ schema }));
  return data;
}
const dumpFile = (data) => path.join(data, '.n8n/database.dump');
const schemaOf = (data) => JSON.parse(fs.readFileSync(path.join(data, '.n8n/database.json'))).schema;
const filesOf = (data) => fs.readdirSync(path.join(data, '.n8n')).sort();

const dump = (data, url, options) => runOnce('database.js', data, secretsOf({ database_url: url }), { args: ['dump'], ...options });
const fit = (data, url) => runOnce('fit.js', data, secretsOf({ old_encryption_key: KEY, encryption_key: KEY, ...(url && { database_url: url }) }));
const DONE = { status: 0, stdout: '', stderr: '' };

async function made(text) {
  const database = await postgres.newDatabase();
  await database.sql(`CREATE SCHEMA ${SCHEMA}; SET search_path TO ${SCHEMA}; ${text}`);
  return database;
}

const ODD = String.raw`
  CREATE TYPE mood AS ENUM ('so so', 'it''s "good"', 'back\slash');
  CREATE SEQUENCE "Free Seq" AS smallint INCREMENT BY -3 MINVALUE -100 MAXVALUE 50 START WITH 40 CACHE 2 CYCLE; SELECT nextval('"Free Seq"');
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.version := OLD.version + 1; RETURN NEW; END $$;
  CREATE FUNCTION twice(n integer, label mood DEFAULT 'so so') RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS 'SELECT n * 2';
  CREATE TABLE "we""ird $1; DROP TABLE x --" ("a ""column""" integer GENERATED ALWAYS AS IDENTITY (START WITH 5 INCREMENT BY 5), "select" text COLLATE "C", "Größe \n" mood DEFAULT 'back\slash');
  INSERT INTO "we""ird $1; DROP TABLE x --" ("select", "Größe \n") VALUES (E'tab\t newline\n return\r backslash\\ \\N \\. end', 'it''s "good"'), ('', NULL), (NULL, DEFAULT), (E'\\.', DEFAULT), (E'a\n\\.\nb', DEFAULT), ('ünïcödé 🦊', DEFAULT);
  CREATE TABLE kinds (id serial PRIMARY KEY, j json, b jsonb, at timestamptz, ms timestamp(3), t time, d date, i interval, f float8, r real, n numeric, bin bytea, list text[], grid integer[][],
    u uuid DEFAULT gen_random_uuid(), ok boolean, ip inet, r4 int4range, c char(5), doubled integer GENERATED ALWAYS AS (id * 2) STORED, version integer NOT NULL DEFAULT 1, EXCLUDE USING gist (r4 WITH &&));
  INSERT INTO kinds (j, b, at, ms, t, d, i, f, r, n, bin, list, grid, ok, ip, r4, c) VALUES
    (E'{ "b" : 1.0,\n\t"a": null, "a": [1e2] }', '{"b":1.0,"a":null}', '2026-01-02 03:04:05.123456+05', '1999-12-31 23:59:59.999', '23:59:59.999999', '-infinity', '1 year 2 days 03:04:05.000006', 0.1::float8 + 0.2::float8, 1e-40, 12345678901234567890.0987654321,
      '\x00ff0a5c', ARRAY['a', NULL, 'b,"c"', '', 'NULL'], '{{1,2},{3,4}}', true, '10.0.0.0/8', '[1,5)', 'ab'),
    ('null', 'null', 'infinity', NULL, NULL, '0044-03-15 BC', '-3 mons', 'NaN', '-Infinity', 'NaN', '', '{}', '{}', false, '::1', 'empty', ''),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
  CREATE TRIGGER counted BEFORE UPDATE ON kinds FOR EACH ROW WHEN (OLD.ok IS DISTINCT FROM NEW.ok) EXECUTE FUNCTION touch();
  CREATE TRIGGER "sleeps ""well""" AFTER INSERT OR DELETE ON kinds FOR EACH STATEMENT EXECUTE FUNCTION touch(); ALTER TABLE kinds DISABLE TRIGGER "sleeps ""well""";
  CREATE TABLE hen (id integer PRIMARY KEY, egg integer, parent integer REFERENCES hen); CREATE TABLE egg (id integer PRIMARY KEY, hen integer NOT NULL REFERENCES hen DEFERRABLE INITIALLY DEFERRED);
  INSERT INTO hen VALUES (1, 10, NULL), (2, 11, 1); INSERT INTO egg VALUES (10, 2), (11, 1);
  ALTER TABLE hen ADD CONSTRAINT "the egg" FOREIGN KEY (egg) REFERENCES egg ON DELETE SET NULL, ADD CONSTRAINT positive CHECK (id > 0) NOT VALID, ADD UNIQUE (egg, parent) DEFERRABLE;
  ALTER TABLE hen ADD dropped text; ALTER TABLE hen DROP dropped; ALTER TABLE hen ADD later varchar(12) NOT NULL DEFAULT 'x';
  CREATE UNIQUE INDEX "Some Index" ON kinds (lower(c), (j ->> 'a') DESC NULLS LAST) INCLUDE (f) WHERE ok AND version > 0; CREATE INDEX ON kinds USING gin (b); CREATE INDEX ON kinds (twice(version));
  CREATE UNLOGGED TABLE logs (at timestamptz DEFAULT now(), seq smallint DEFAULT nextval('"Free Seq"')); CREATE TABLE nothing (); CREATE TABLE empty (id bigint GENERATED BY DEFAULT AS IDENTITY);`;
const NOT_CARRIED = `CREATE VIEW v AS SELECT 1 AS x; CREATE MATERIALIZED VIEW mv AS SELECT 1 AS x; CREATE TABLE parts (id integer) PARTITION BY RANGE (id); CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (9);
  CREATE DOMAIN dom AS text; CREATE FUNCTION of_hen(hen) RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE POLICY pol ON hen; CREATE RULE ru AS ON INSERT TO empty DO ALSO NOTHING; CREATE STATISTICS st ON id, egg FROM hen;
  CREATE SCHEMA beside CREATE TABLE mine (id integer);`;

test('whatever PostgreSQL can keep comes back as it was, rows and catalogue; done again nothing changes', async () => {
  const [from, to] = [await made(ODD), await postgres.newDatabase()];
  const data = folderOf();
  const note = JSON.parse((await dump(data, from.url)).stdout);
  assert.deepEqual([note.schema, note.tables, note.rows, note.notCarried, note.bytes], [SCHEMA, 6, 13, [], fs.statSync(dumpFile(data)).size]);
  assert.deepEqual(filesOf(data), ['database.dump', 'database.json']);
  assert.equal(fs.statSync(dumpFile(data)).mode & 0o777, 0o600);

  assert.deepEqual(await fit(data, to.url), DONE);
  const schema = schemaOf(data);
  assert.match(schema, /^n8n_20\d{12}_[0-9a-f]{8}$/);
  assert.notEqual(schema, SCHEMA);
  assert.deepEqual(filesOf(data), ['database.json']);
  assert.deepEqual(await pictureOf(to, schema), await pictureOf(from, SCHEMA));
  assert.deepEqual(await fit(data, to.url), DONE);
  assert.equal(schemaOf(data), schema);
  assert.deepEqual((await to.sql("SELECT nspname FROM pg_namespace WHERE nspname ~ '^n8n'")).map((it) => it.nspname), [schema]);
});

test('what is not carried is named, and the rest comes along', async () => {
  const [from, to] = [await made(ODD + NOT_CARRIED), await postgres.newDatabase()];
  const data = folderOf();
  const { notCarried } = JSON.parse((await dump(data, from.url)).stdout);
  assert.deepEqual(notCarried.map(({ kind, name }) => `${kind} ${name}`), ['function of_hen', 'materialized view mv', 'partitioned or inheriting table part1', 'partitioned or inheriting table parts',
    'policy pol', 'rule ru', 'schema beside', 'statistics st', 'type dom', 'view v']);
  assert.equal((await fit(data, to.url)).status, 0);
  assert.equal((await to.sql(`SELECT count(*)::int AS count FROM ${schemaOf(data)}.kinds`))[0].count, 3);
});

test('rows of any size pass, and take no memory; the socket of a container without network and TLS do as well', async () => {
  const [from, to] = [await made("CREATE TABLE large (id integer, data text); INSERT INTO large SELECT n, repeat(md5(n::text), 2000000) FROM generate_series(1, 1) n; INSERT INTO large SELECT n, 'x' FROM generate_series(2, 50000) n"), await postgres.newDatabase()];
  const data = folderOf();
  const file = path.join(newFolder(), 'memory.js');
  fs.writeFileSync(file, "process.on('exit', () => process.stderr.write(`${process.resourceUsage().maxRSS}`))");
  const options = { nodeOptions: ['--require', file] };
  const dumped = await dump(data, `${from.url}?sslmode=require`, options);
  assert.equal(dumped.status, 0, dumped.stderr);
  const secrets = secretsOf({ old_encryption_key: KEY, encryption_key: KEY, database_url: `postgres://${to.name}:${to.password}@/${to.name}?host=SECRETS&port=5432&sslmode=require` });
  const socket = await relay(secrets, postgres.port);
  let loaded;
  try {
    loaded = await runOnce('fit.js', data, secrets, options);
  } finally {
    socket.stop();
  }
  assert.equal(loaded.status, 0, loaded.stderr);
  for (const kilobytes of [dumped.stderr, loaded.stderr].map(Number)) assert.ok(kilobytes < 160 * 1024, `${kilobytes} kB for a row of 64 MB`);
  const rows = (it, schema) => it.sql(`SELECT count(*)::int, sum(id)::int, sum(length(data))::text AS length, md5(string_agg(data, '' ORDER BY id) FILTER (WHERE id < 9)) FROM ${schema}.large`);
  assert.deepEqual(await rows(to, schemaOf(data)), await rows(from, SCHEMA));
});

test('a dump holds one state, whatever is written and made meanwhile', async () => {
  const from = await made('CREATE TABLE a (n integer); CREATE TABLE b (n integer); INSERT INTO a SELECT generate_series(1, 200000)');
  let isOver = false;
  const writing = (async () => {
    for (let n = 0; !isOver; n += 1) {
      await from.sql(`SET search_path TO ${SCHEMA}; BEGIN; INSERT INTO a VALUES (${n}); INSERT INTO b VALUES (${n}); COMMIT`);
      if (n % 30 === 0) await from.sql(`SET search_path TO ${SCHEMA}; CREATE TABLE t${n} (id integer); DROP TABLE IF EXISTS t${Math.max(0, n - 60)}`);
    }
  })();
  const data = folderOf();
  const dumped = await dump(data, from.url);
  isOver = true;
  await writing;
  assert.equal(dumped.status, 0, dumped.stderr);
  const to = await postgres.newDatabase();
  assert.equal((await fit(data, to.url)).status, 0);
  const [{ a, b }] = await to.sql(`SELECT (SELECT count(*)::int FROM ${schemaOf(data)}.a) AS a, (SELECT count(*)::int FROM ${schemaOf(data)}.b) AS b`);
  assert.equal(a - 200000, b);
});

/** The lines of a dump, changed by `change`. */
function rewritten(data, change) {
  const lines = gunzipSync(fs.readFileSync(dumpFile(data))).toString('latin1').split('\n');
  fs.writeFileSync(dumpFile(data), gzipSync(Buffer.from(change(lines).join('\n'), 'latin1')));
}
const put = (...lines) => (all) => [...all.slice(0, 1), ...lines.map((it) => JSON.stringify(it)), ...all.slice(1)];
const cut = (share) => (data) => fs.truncateSync(dumpFile(data), Math.floor(fs.statSync(dumpFile(data)).size * share));

// [what, the change, what is said]
const broken = [
  ['cut in the middle', cut(0.5), /it is cut off/],
  ['cut by its last byte', cut(0.999), /it is cut off|damaged/],
  ['without its end', (data) => rewritten(data, (all) => [...all.slice(0, -2), '']), /it is cut off/],
  ['with something behind its end', (data) => rewritten(data, (all) => [...all.slice(0, -1), '{"sql":"CREATE TABLE x ()"}', '']), /something follows its end/],
  ['no gzip', (data) => fs.writeFileSync(dumpFile(data), 'SQLite format 3'), /it is damaged/],
  ['empty', (data) => fs.writeFileSync(dumpFile(data), ''), /it is (cut off|no dump)/],
  ['something else', (data) => fs.writeFileSync(dumpFile(data), gzipSync('{"a":1}\n')), /it is no dump of an n8n database/],
  ['of a newer format', (data) => rewritten(data, (all) => [all[0].replace('"format":1', '"format":2'), ...all.slice(1)]), /made by a newer Openflow \(format 2, this one knows 1\)/],
  ['with fewer rows than it says', (data) => rewritten(data, (all) => all.map((it) => it.replace('"rows":13', '"rows":14'))), /it has 13 rows in 6 tables, and should have 14 in 6/],
  ['that ends the transaction', (data) => rewritten(data, put({ sql: 'COMMIT' })), /a statement that no dump has/],
  ['with two statements in one', (data) => rewritten(data, put({ sql: 'CREATE TABLE x (); COMMIT' })), /cannot insert multiple commands/],
  ['that makes things elsewhere and goes wrong', (data) => rewritten(data, put({ sql: 'CREATE TABLE public.x ()' }, { sql: 'CREATE TABLE "we""ird $1; DROP TABLE x --" ()' })), /already exists/],
  ['whose function leaves the schema', (data) => rewritten(data, put({ sql: "CREATE FUNCTION f() RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM set_config('search_path', 'public', true); RETURN 1; END $$" },
    { sql: 'CREATE TABLE x (m integer, n integer DEFAULT f())' }, { rows: 'x', columns: ['m'] }, { bytes: 2 }, 1, { bytes: 0 })), /does not exist|changes more than its own tables/],
  ['that changes more than its own', (data) => rewritten(data, (all) => [...all.slice(0, -2), ...put({ sql: "CREATE FUNCTION f() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('search_path', 'public', true); RETURN 1; END $$" },
    { sql: 'CREATE TABLE x (m integer, n integer DEFAULT f())' }, { rows: 'x', columns: ['m'] }, { bytes: 2 }, 1, { bytes: 0 })([]), all.at(-2).replace('"tables":6,"rows":13', '"tables":7,"rows":14'), '']), /changes more than its own tables/],
  ['with rows of a table that is not there', (data) => rewritten(data, put({ rows: 'x"; DROP SCHEMA public; --', columns: ['a'] }, { bytes: 0 })), /relation .* does not exist \(at the rows of x"; DROP/],
  ['with rows that are none', (data) => rewritten(data, put({ sql: 'CREATE TABLE x (n integer)' }, { rows: 'x', columns: ['n'] }, { bytes: 3 })), /damaged|cut off|invalid input syntax/],
  ['with a line without an end', (data) => fs.writeFileSync(dumpFile(data), gzipSync(Buffer.concat([Buffer.from('{"openflow":"n8n database","format":1}\n'), Buffer.alloc(8 * 1024 ** 2, 'x')]))), /a line has no end/],
  ['with piece of rows that is too large', (data) => rewritten(data, put({ sql: 'CREATE TABLE x (n integer)' }, { rows: 'x', columns: ['n'] }, { bytes: 2 ** 40 })), /it is damaged/],
  ['with lines that are something else', (data) => rewritten(data, put({ copy: 'x' })), /a line is none of those/],
];
test('a dump that is no good is refused with a reason and changes nothing', async (t) => {
  const [from, to] = [await made(ODD), await postgres.newDatabase()];
  const good = folderOf();
  assert.equal((await dump(good, from.url)).status, 0);
  for (const [what, change, says] of broken) {
    await t.test(what, async () => {
      const data = folderOf();
      fs.copyFileSync(dumpFile(good), dumpFile(data));
      change(data);
      const { status, stdout, stderr } = await fit(data, to.url);
      assert.deepEqual([status, stdout, stderr.split('\n').length], [1, '', 2], stderr);
      assert.match(stderr, /^openflow: the data could not be fitted to this instance: the dump of the database \(\.n8n\/database\.dump\) cannot be loaded: /);
      assert.match(stderr, says);
      assert.equal(schemaOf(data), SCHEMA);
      assert.deepEqual(filesOf(data), ['database.dump', 'database.json']);
      assert.deepEqual(await to.sql("SELECT nspname FROM pg_namespace WHERE nspname ~ '^n8n' UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"), []);
    });
  }
});

test('a backup of the other kind is refused both ways; what has nothing to bring passes', async () => {
  const to = await postgres.newDatabase();
  const inFiles = folderOf(null);
  fs.copyFileSync(path.join(staged().app, 'seed/database.sqlite'), path.join(inFiles, '.n8n/database.sqlite'));
  assert.match((await fit(inFiles, to.url)).stderr, /the backup is of an instance that keeps its data in files \(SQLite\)/);
  assert.match((await fit(folderOf(), undefined)).stderr, /the backup is of an instance that keeps its data in PostgreSQL/);
  assert.match((await fit(folderOf(), to.url)).stderr, /the backup holds no dump of its database/);
  const ran = folderOf(null); // what it had of a pointer the manager took away
  fs.writeFileSync(path.join(ran, '.n8n/config'), JSON.stringify({ encryptionKey: KEY }));
  assert.match((await fit(ran, to.url)).stderr, /the backup holds no dump of its database/);
  for (const [data, url] of [[inFiles, undefined], [folderOf(null), to.url], [newFolder(), to.url]]) assert.deepEqual(await fit(data, url), DONE);
});

test('a dump that fails says why, and leaves what was there', async () => {
  const from = await made('CREATE TABLE a (n integer)');
  const data = folderOf();
  const told = async (url, says) => {
    const before = filesOf(data);
    const { status, stderr } = await dump(data, url);
    assert.equal(status, 1);
    assert.match(stderr, says);
    assert.ok(!stderr.includes(from.password), stderr);
    assert.deepEqual(filesOf(data), before);
  };
  await told(from.url.replace(`:${postgres.port}`, ':1'), /^openflow: the database could not be dumped: The PostgreSQL server of this instance cannot be reached \(.*ECONNREFUSED.*\)\.\n$/);
  await told(from.url.replace(from.password, 'wrong'), /cannot be reached \(password authentication failed/);
  await told('postgres://nonsense', /The address of the database in .*database_url cannot be understood/);
  await told((await postgres.newDatabase()).url, /it lacks what this instance kept there/);
  fs.writeFileSync(dumpFile(data), 'the one before');
  await told(from.url.replace(`:${postgres.port}`, ':1'), /cannot be reached/);
  assert.equal(fs.readFileSync(dumpFile(data), 'utf8'), 'the one before');
});

test('a dump whose server goes away in the middle says so and leaves nothing', async () => {
  const from = await made("CREATE TABLE large AS SELECT n, repeat(md5(n::text), 20) AS data FROM generate_series(1, 400000) n");
  const data = folderOf();
  const dumping = dump(data, from.url);
  const ended = () => postgres.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${from.name}' AND query LIKE 'COPY %'`);
  await until(async () => (await ended()).length > 0);
  const { status, stderr } = await dumping;
  assert.deepEqual([status, filesOf(data)], [1, ['database.json']]);
  assert.match(stderr, /^openflow: the database could not be dumped: The PostgreSQL server of this instance cannot be used now \(/);
});

test('a dump goes through no link; where there is nothing, nothing is dumped', async () => {
  const from = await made('CREATE TABLE a (n integer); INSERT INTO a VALUES (7)');
  const data = folderOf();
  const outside = path.join(newFolder(), 'precious');
  fs.writeFileSync(outside, 'precious');
  fs.symlinkSync(outside, `${dumpFile(data)}.part`);
  assert.equal((await dump(data, from.url)).status, 0);
  assert.deepEqual([fs.readFileSync(outside, 'utf8'), filesOf(data)], ['precious', ['database.dump', 'database.json']]);
  for (const empty of [newFolder(), folderOf(null)]) assert.deepEqual(JSON.parse((await dump(empty, from.url)).stdout), { schema: null, tables: 0, rows: 0, bytes: 0, notCarried: [] });
});

/** Keeps a dump of `database` from going on, and so with its part file there, until the answer is called. */
async function held(database) {
  const holding = postgres.sql('BEGIN; LOCK TABLE pg_policy; SELECT pg_sleep(60)', database.name).catch(() => {}); // it reads that late
  const sleeping = `FROM pg_stat_activity WHERE datname = '${database.name}' AND query LIKE '%pg_sleep%' AND wait_event = 'PgSleep'`;
  await until(async () => (await postgres.sql(`SELECT ${sleeping}`)).length > 0);
  return async () => {
    await postgres.sql(`SELECT pg_cancel_backend(pid) ${sleeping}`);
    await holding;
  };
}

test('of two dumps at once the second one fails; a part file that is not its own a dump neither takes nor removes', async () => {
  const from = await made('CREATE TABLE a (n integer); INSERT INTO a VALUES (7)');
  const data = folderOf();
  const part = `${dumpFile(data)}.part`;
  fs.writeFileSync(part, 'left by one that was killed');
  let go = await held(from);
  const first = dump(data, from.url);
  await until(() => fs.statSync(part).size === 0);
  assert.deepEqual(await dump(data, from.url), { status: 1, stdout: '', stderr: 'openflow: the database could not be dumped: another dump of this instance is being made. Try again when it is done\n' });
  await go();
  assert.equal((await first).status, 0);
  assert.deepEqual(filesOf(data), ['database.dump', 'database.json']);
  const good = fs.readFileSync(dumpFile(data));

  go = await held(from);
  const robbed = dump(data, from.url);
  await until(() => fs.existsSync(part));
  fs.renameSync(part, `${part}.aside`);
  fs.writeFileSync(part, 'of somebody else');
  await go();
  assert.match((await robbed).stderr, /database\.dump\.part\) was taken away meanwhile/);
  assert.equal(fs.readFileSync(part, 'utf8'), 'of somebody else');
  assert.ok(good.equals(fs.readFileSync(dumpFile(data))));
});

const OLD = 'n8n_20200101000000_00000001';
const start = (data, url) => preparePostgres({ folder: path.join(data, '.n8n'), address: parseAddress(url), image: { app: staged().app, version: '1.2.3' }, hasFiles: false });
const schemasOf = async (database) => (await database.sql("SELECT nspname AS name FROM pg_namespace WHERE nspname ~ '^n8n_' ORDER BY 1")).map(({ name }) => name);

/** A folder as `openflow restore` leaves it: with a dump, and without what says which schema is its own. */
async function putBack() {
  const data = folderOf();
  assert.equal((await dump(data, (await made('CREATE TABLE a (n integer); INSERT INTO a VALUES (7)')).url)).status, 0);
  fs.rmSync(path.join(data, '.n8n/database.json'));
  return data;
}

test('a folder that was put back gets its dump as a new schema, by whoever comes first: a start or a dump', async () => {
  const data = await putBack();
  const to = await postgres.newDatabase();
  await to.sql(`CREATE SCHEMA ${OLD} CREATE TABLE a (n integer)`); // of this instance, from before
  const read = await runOnce('content.js', data, secretsOf({ database_url: to.url }));
  assert.deepEqual([read.status, read.stdout], [1, '']);
  assert.match(read.stderr, /^openflow: the workflows cannot be read: its database is not in PostgreSQL but in a dump still .* Start it once\n$/);
  const [one, other, dumped] = await Promise.all([start(data, to.url), start(data, to.url), dump(data, to.url)]);
  assert.equal(dumped.status, 0, dumped.stderr);
  const schema = schemaOf(data);
  assert.deepEqual([one.schema, other.schema, JSON.parse(dumped.stdout).schema], [schema, schema, schema]);
  assert.deepEqual(await schemasOf(to), [OLD, schema]);
  assert.deepEqual(await to.sql(`SELECT * FROM ${schema}.a`), [{ n: 7 }]);
  assert.deepEqual(filesOf(data), ['database.dump', 'database.json']); // a new one, to be taken away

  const alone = await putBack();
  const note = JSON.parse((await dump(alone, (await postgres.newDatabase()).url)).stdout);
  assert.deepEqual([note.schema, note.rows, filesOf(alone)], [schemaOf(alone), 1, ['database.dump', 'database.json']]);

  const cut = await putBack();
  fs.truncateSync(dumpFile(cut), 20);
  assert.match((await dump(cut, to.url)).stderr, /the dump of the database .* cannot be loaded: it is cut off/);
  await assert.rejects(start(cut, to.url), /put back with a dump of its database, and the dump .* cannot be loaded: it is cut off/);
  assert.deepEqual([filesOf(cut), await schemasOf(to)], [['database.dump'], [OLD, schema]]);
});

test('beside a pointer a dump is left alone by a start, and does not stand in for a schema that is gone; old schemas go', async () => {
  const database = await made('CREATE TABLE a (n integer)');
  const young = `n8n_${new Date().toISOString().replace(/\D/g, '').slice(0, 14)}_00000003`;
  const kept = [SCHEMA, young, 'n8n_99999999999999_00000004', 'n8n_mine'];
  await database.sql(`CREATE SCHEMA ${OLD} CREATE TABLE a (n integer); ${kept.slice(1).map((it) => `CREATE SCHEMA ${it};`).join(' ')}`);
  const data = folderOf();
  assert.equal((await dump(data, database.url)).status, 0);
  const before = fs.readFileSync(dumpFile(data));
  assert.equal((await start(data, database.url)).schema, SCHEMA);
  assert.deepEqual(await schemasOf(database), kept.sort());
  const elsewhere = await postgres.newDatabase();
  await assert.rejects(start(data, elsewhere.url), /The PostgreSQL server lacks what this instance kept there .* Restore a backup of this instance\.$/);
  assert.match((await dump(data, elsewhere.url)).stderr, /it lacks what this instance kept there/);
  assert.ok(before.equals(fs.readFileSync(dumpFile(data))));
  assert.deepEqual([schemaOf(data), await schemasOf(elsewhere)], [SCHEMA, []]);
});

test('a rehearsal whose server is away has no outcome', async () => {
  const data = await putBack();
  const secrets = secretsOf({ encryption_key: KEY, database_url: `postgres://a:b@127.0.0.1:${await freePort()}/c` });
  const { status, stdout, stderr } = await runOnce('rehearse.js', data, secrets);
  assert.deepEqual([status, stdout], [75, '']);
  assert.match(stderr, /^openflow: The PostgreSQL server of this instance cannot be reached \(connect ECONNREFUSED .*\)\.\n$/);
});

test('addresses are read as the manager writes them, and no others', () => {
  const common = { port: 5432, user: 'u', password: 'p', database: 'd', isEncrypted: false };
  const read = {
    'postgres://u:p@db.example:6543/d': { ...common, host: 'db.example', port: 6543 },
    'postgresql://u:p@10.0.0.1/d?sslmode=prefer': { ...common, host: '10.0.0.1' },
    'postgres://u:p@[fd00::1]:5433/d?sslmode=require': { ...common, host: 'fd00::1', port: 5433, isEncrypted: true },
    'postgres://u:%40%2F%3A%25@h/d%20e': { ...common, host: 'h', password: '@/:%', database: 'd e' },
    'postgres://u:p@/d?host=/run/openflow&port=5432&sslmode=require': { ...common, host: '/run/openflow', isEncrypted: true },
    'postgres://u:p@/d?host=%2Frun%2Fopenflow': { ...common, host: '/run/openflow' },
  };
  for (const [text, address] of Object.entries(read)) assert.deepEqual(parseAddress(text), address, text);
  for (const text of ['', 'x', 'mysql://u:p@h/d', 'postgres://h/d', 'postgres://u@h/d', 'postgres://u:p@/d', 'postgres://u:p@h', 'postgres://u:p@h:x/d', 'postgres://u:p@h:70000/d', 'postgres://u:%@h/d',
    'postgres://u:p@h/d?sslmode=verify-full', 'postgres://u:p@h/d\npostgres://u:p@i/d']) assert.equal(parseAddress(text), null, text);
});
