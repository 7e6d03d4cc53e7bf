'use strict';
// A throwaway PostgreSQL for the tests: a cluster of its own in a temporary folder, on a Unix socket (for us) and on a loopback
// port (for the instances, which sign in by password). One that a killed run left is ended first.
const { execFileSync, spawn } = require('node:child_process');
const { createHash, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { ROOT, environment, freePort, newFolder, staged } = require('./support');

const PROGRAMS = '/usr/lib/postgresql';
const STEP_MS = 60_000;
const RUN_MS = 200_000;
const OPTIONS = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=60'];

function newest() {
  const versions = fs.existsSync(PROGRAMS) ? fs.readdirSync(PROGRAMS).sort((a, b) => a - b) : [];
  if (versions.length === 0) throw new Error(`there are no PostgreSQL programs in ${PROGRAMS}: run 'make install'`);
  return path.join(PROGRAMS, versions.at(-1), 'bin');
}

/** PostgreSQL refuses to run as root. */
function asOwner(program, args) {
  const [uid, gid] = ['-u', '-g'].map((flag) => execFileSync('id', [flag, 'postgres']).toString().trim());
  const command = process.getuid() === 0 ? ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--', program, ...args] : [program, ...args];
  return execFileSync(command[0], command.slice(1), { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], timeout: STEP_MS, encoding: 'utf8' });
}

function end(bin, folder) {
  try {
    asOwner(path.join(bin, 'pg_ctl'), ['-D', path.join(folder, 'data'), '-m', 'immediate', '-w', 'stop']);
  } catch { /* none runs */ }
  fs.rmSync(folder, { recursive: true, force: true });
}

/**
 * @returns {Promise<{port: number, folder: string, sql: (text: string, database?: string) => Promise<object[]>,
 *   newDatabase: (more?: string) => Promise<object>, stop: () => void}>}
 */
async function startPostgres() {
  const bin = newest();
  // One for each file of tests in each checkout.
  const folder = path.join(os.tmpdir(), `openflow-shim-postgres-${createHash('sha256').update(`${ROOT} ${process.argv[1]}`).digest('hex').slice(0, 12)}`);
  end(bin, folder);
  fs.mkdirSync(folder, { mode: 0o755 });
  if (process.getuid() === 0) execFileSync('chown', ['postgres', folder]);
  asOwner(path.join(bin, 'initdb'), ['-D', path.join(folder, 'data'), '-U', 'admin', '--auth-local=trust', '--auth-host=scram-sha-256', '-N', '--locale=C.UTF-8', '-E', 'UTF8']);
  makeCertificate(folder);
  const port = await freePort();
  const options = [`-p ${port} -k ${folder} -c listen_addresses=127.0.0.1`, ...OPTIONS.map((it) => `-c ${it}`),
    `-c ssl=on -c ssl_cert_file=${folder}/tls.crt -c ssl_key_file=${folder}/tls.key`];
  asOwner(path.join(bin, 'pg_ctl'), ['-D', path.join(folder, 'data'), '-w', '-l', path.join(folder, 'log'), '-o', options.join(' '), 'start']);

  const { Client } = createRequire(path.join(staged().app, 'node_modules/n8n/bin/n8n'))('pg');
  async function sql(text, database = 'postgres', values = undefined, user = 'admin') {
    const client = new Client({ host: folder, port, user, database });
    await client.connect();
    try {
      return (await client.query(text, values)).rows;
    } finally {
      await client.end();
    }
  }
  return { port, folder, sql, newDatabase: (more) => newDatabase({ port, sql }, more), stop: () => end(bin, folder) };
}

function makeCertificate(folder) {
  asOwner('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=test',
    '-keyout', path.join(folder, 'tls.key'), '-out', path.join(folder, 'tls.crt')]);
}

/**
 * A role with a database of its own, as the manager makes them.
 * @returns {Promise<{name: string, password: string, url: string, sql: (text: string, values?: unknown[]) => Promise<object[]>}>}
 *   `sql` acts as that role; `more` goes to the end of the address
 */
async function newDatabase({ port, sql }, more = '') {
  const name = `openflow_${randomBytes(16).toString('hex')}`;
  const password = randomBytes(12).toString('hex');
  await sql(`CREATE ROLE ${name} LOGIN PASSWORD '${password}'`);
  await sql(`CREATE DATABASE ${name} OWNER ${name}`);
  await sql(`REVOKE ALL ON DATABASE ${name} FROM PUBLIC`);
  return { name, password, url: `postgres://${name}:${password}@127.0.0.1:${port}/${name}${more}`, sql: (text, values) => sql(text, name, values, name) };
}

/**
 * What the manager does for a container without network: a socket in the folder of the secrets leads to the server. After `most`
 * connections the server is away, for those that are there, too.
 */
async function relay(folder, port, most = Infinity) {
  const sockets = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    if (sockets.length > most) return void sockets.forEach((it) => it.destroy());
    const other = net.connect(port, '127.0.0.1');
    for (const it of [socket, other]) it.on('error', () => { socket.destroy(); other.destroy(); });
    socket.on('close', () => other.destroy());
    socket.pipe(other).pipe(socket);
  });
  await new Promise((resolve) => { server.listen(path.join(folder, '.s.PGSQL.5432'), resolve); });
  return { stop: () => server.close() };
}

/**
 * Runs one of the programs that run once, as the manager does in a container of its own. Not to be waited for in the way of
 * spawnSync: the relay and what an instance asks of this process go on meanwhile.
 * @returns {Promise<{status: number | null, stdout: string, stderr: string}>} `status` is null when it took too long
 */
async function runOnce(program, data, secrets, { args = [], nodeOptions = [] } = {}) {
  const { node, app } = staged();
  const env = { ...environment('none', { OPENFLOW_SECRETS_DIR: secrets }), PGOPTIONS: '-c search_path=pg_catalog' }; // does not count
  const child = spawn(node, [...nodeOptions, path.join(ROOT, 'settings-shim/n8n', program), ...args, '--data', data, '--app', app], { cwd: data, env, timeout: RUN_MS, killSignal: 'SIGKILL' });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => { stdout += chunk; });
  child.stderr.on('data', (chunk) => { stderr += chunk; });
  const status = await new Promise((resolve) => { child.once('close', resolve); });
  return { status, stdout, stderr };
}

/** A folder of secret files. SECRETS in them is its path. */
function secretsOf(files) {
  const folder = newFolder();
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text.replace('SECRETS', folder), { mode: 0o400 });
  return folder;
}

// What two schemas must have in common to be the same. Asked in other ways than the dump asks, where there are others.
const CATALOGUE = {
  columns: `SELECT table_name, column_name, row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position) AS position, column_default, is_nullable, data_type, udt_name,
      character_maximum_length, numeric_precision, numeric_scale, datetime_precision, interval_type, collation_name, is_identity, identity_generation, identity_start,
      identity_increment, identity_maximum, identity_minimum, identity_cycle, is_generated, generation_expression
    FROM information_schema.columns WHERE table_schema = $1 ORDER BY 1, 3`,
  tables: `SELECT relname, relpersistence FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p') ORDER BY 1`,
  constraints: `SELECT conrelid::regclass::text AS "table", conname, pg_get_constraintdef(oid) AS says, condeferrable, condeferred, convalidated FROM pg_constraint WHERE connamespace = $1::regnamespace AND contype <> 'n' ORDER BY 1, 2`,
  indexes: 'SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = $1 ORDER BY 1, 2',
  triggers: `SELECT t.tgrelid::regclass::text AS "table", t.tgname, t.tgenabled, pg_get_triggerdef(t.oid) AS says FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT tgisinternal AND relnamespace = $1::regnamespace ORDER BY 1, 2`,
  functions: `SELECT proname, pg_get_functiondef(p.oid) AS says FROM pg_proc p WHERE pronamespace = $1::regnamespace AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e') ORDER BY 1, 2`,
  sequences: 'SELECT * FROM pg_sequences WHERE schemaname = $1 ORDER BY sequencename',
  enums: 'SELECT typname, enumlabel, row_number() OVER (PARTITION BY typname ORDER BY enumsortorder) AS position FROM pg_enum JOIN pg_type t ON t.oid = enumtypid WHERE typnamespace = $1::regnamespace ORDER BY 1, 3',
  owners: `SELECT d.objid::regclass::text AS sequence, d.refobjid::regclass::text AS "table", d.refobjsubid > 0 AS "isColumn", d.deptype FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
    WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'S' AND d.refobjsubid > 0 ORDER BY 1, 2`,
};

/**
 * PostgreSQL itself understands what it writes of `x IN ('a', 'b')` a bit differently, whoever reads it in again: the cast of
 * the list becomes one of each item.
 */
const meant = (text) => text.replaceAll(/::(text|character varying)(\[\])?|[()]/g, '');

/** The catalogue of a schema and a hash of each table's rows, without the schema's name and who owns it. */
async function pictureOf({ sql, name }, schema) {
  const picture = {};
  for (const [what, text] of Object.entries(CATALOGUE)) picture[what] = await sql(text, [schema]);
  for (const it of picture.constraints) it.says = meant(it.says);
  for (const it of picture.indexes) it.indexdef = meant(it.indexdef);
  picture.rows = {};
  for (const { relname } of picture.tables) {
    const [row] = await sql(`SELECT count(*)::int AS count, md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) AS hash FROM "${schema}"."${relname.replaceAll('"', '""')}" t`);
    picture.rows[relname] = row;
  }
  return JSON.parse(JSON.stringify(picture).replaceAll(schema, 'SCHEMA').replaceAll(name, 'ROLE'));
}

module.exports = { pictureOf, relay, runOnce, secretsOf, startPostgres };
