'use strict';
// A throwaway PostgreSQL for the tests: a cluster of its own in a temporary folder, on a Unix socket (for us) and on a loopback
// port (for the instances, which sign in by password). One that a killed run left is ended first.
const { execFileSync } = require('node:child_process');
const { createHash, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { ROOT, freePort, newFolder, staged } = require('./support');

const PROGRAMS = '/usr/lib/postgresql';
const STEP_MS = 60_000;
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
 *   newDatabase: (options?: object) => Promise<object>, stop: () => void}>}
 */
async function startPostgres() {
  const bin = newest();
  const folder = path.join(os.tmpdir(), `openflow-shim-postgres-${createHash('sha256').update(ROOT).digest('hex').slice(0, 12)}`);
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
  async function sql(text, database = 'postgres', values = undefined) {
    const client = new Client({ host: folder, port, user: 'admin', database });
    await client.connect();
    try {
      return (await client.query(text, values)).rows;
    } finally {
      await client.end();
    }
  }
  return { port, folder, sql, newDatabase: (options_) => newDatabase({ port, sql }, options_), stop: () => end(bin, folder) };
}

function makeCertificate(folder) {
  asOwner('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=test',
    '-keyout', path.join(folder, 'tls.key'), '-out', path.join(folder, 'tls.crt')]);
}

/**
 * A role with a database of its own, as the manager makes them.
 * @returns {Promise<{name: string, url: string, sql: (text: string) => Promise<object[]>}>} `sql` asks as the administrator
 */
async function newDatabase({ port, sql }, { more = '' } = {}) {
  const name = `openflow_${randomBytes(16).toString('hex')}`;
  const password = randomBytes(12).toString('hex');
  await sql(`CREATE ROLE ${name} LOGIN PASSWORD '${password}'`);
  await sql(`CREATE DATABASE ${name} OWNER ${name}`);
  await sql(`REVOKE ALL ON DATABASE ${name} FROM PUBLIC`);
  return { name, password, url: `postgres://${name}:${password}@127.0.0.1:${port}/${name}${more}`, sql: (text, values) => sql(text, name, values) };
}

/** What the manager does for a container without network: a socket in the folder of the secrets leads to the server. */
async function relay(folder, port) {
  const server = net.createServer((socket) => {
    const other = net.connect(port, '127.0.0.1');
    for (const it of [socket, other]) it.on('error', () => { socket.destroy(); other.destroy(); });
    socket.pipe(other).pipe(socket);
  });
  await new Promise((resolve) => { server.listen(path.join(folder, '.s.PGSQL.5432'), resolve); });
  return { stop: () => server.close() };
}

/** A folder of secret files. */
function secretsOf(files) {
  const folder = newFolder();
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text, { mode: 0o400 });
  return folder;
}

module.exports = { relay, secretsOf, startPostgres };
