'use strict';
// Starts n8n once and keeps what it made, so that no instance has to make it again: a migrated database (266 migrations take
// seconds), and its editor's files with the addresses put in (30 MB, written anew at each start otherwise).
//   node images/n8n/seed.js FOLDER      FOLDER has node_modules; seed/ is made in it
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { DatabaseSync } = require('node:sqlite');

const START_MS = 240_000;
const STOP_MS = 30_000;
const MAX_LOG = 8 * 1024;
// What belongs to the one instance that made it: its wrapped keys and its id, its history, its users' doings.
const OWN_TABLES = ['deployment_key', 'instance_version_history', 'event_destinations', 'execution_entity', 'invalid_auth_token'];

async function main(folder) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-n8n-seed-'));
  const seed = path.join(folder, 'seed');
  try {
    await runOnce(folder, home);
    fs.rmSync(seed, { recursive: true, force: true });
    fs.mkdirSync(seed);
    keepDatabase(path.join(home, '.n8n/database.sqlite'), seed);
    keepEditor(path.join(home, '.cache/n8n/public'), folder, seed);
  } finally {
    fs.rmSync(home, { recursive: true, force: true });
  }
}

/** Runs n8n on an empty folder until it is ready. */
async function runOnce(folder, home) {
  const [port, brokerPort] = [await freePort(), await freePort()];
  const child = spawn(process.execPath, [path.join(folder, 'node_modules/n8n/bin/n8n'), 'start'], {
    cwd: home,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`, HOME: home, N8N_USER_FOLDER: home, NODE_ENV: 'production',
      N8N_LISTEN_ADDRESS: '127.0.0.1', N8N_PORT: port, N8N_RUNNERS_BROKER_PORT: brokerPort, N8N_DIAGNOSTICS_ENABLED: 'false',
      N8N_VERSION_NOTIFICATIONS_ENABLED: 'false', N8N_TEMPLATES_ENABLED: 'false',
      // The one setting that is written into the editor's page; see settings-shim/n8n/environment.js.
      EXTERNAL_FRONTEND_HOOKS_URLS: '/openflow/editor.js',
    },
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { log = (log + chunk).slice(-MAX_LOG); });
  let ended = false;
  const exited = new Promise((resolve) => { child.once('close', () => { ended = true; resolve(); }); });
  try {
    const end = Date.now() + START_MS;
    while (!(await isReady(port))) {
      if (ended || Date.now() > end) throw new Error(`n8n did not get ready:\n${log}`);
      await new Promise((resolve) => { setTimeout(resolve, 200); });
    }
  } finally {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(late);
  }
}

function isReady(port) {
  return new Promise((resolve) => {
    const req = http.get({ host: '127.0.0.1', port, path: '/healthz/readiness', agent: false, timeout: 5000 }, (res) => {
      res.resume();
      res.on('close', () => resolve(res.statusCode === 200));
    });
    req.on('timeout', () => req.destroy());
    req.on('error', () => resolve(false));
  });
}

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** As one file without a journal, and a list of the migrations by which a newer database is told from an older one. */
function keepDatabase(file, seed) {
  const database = new DatabaseSync(file);
  const tables = new Set(database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all().map(({ name }) => name));
  for (const table of OWN_TABLES) if (tables.has(table)) database.exec(`DELETE FROM "${table}"`);
  if (!tables.has('deployment_key')) throw new Error('this n8n has no table deployment_key: see where it keeps its keys before it is seeded');
  database.exec('PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE; VACUUM');
  const migrations = database.prepare('SELECT name FROM migrations ORDER BY id').all().map(({ name }) => name);
  database.close();
  fs.copyFileSync(file, path.join(seed, 'database.sqlite'));
  fs.writeFileSync(path.join(seed, 'migrations.json'), `${JSON.stringify(migrations, null, 1)}\n`);
}

/** The scripts and styles take the place of the originals, which n8n serves as well; the page is kept beside. */
function keepEditor(made, folder, seed) {
  const dist = path.join(folder, 'node_modules/n8n-editor-ui/dist');
  fs.cpSync(made, dist, { recursive: true, filter: (file) => !/(^|[\\/])(types|index\.html)$/.test(path.relative(made, file)) });
  fs.copyFileSync(path.join(made, 'index.html'), path.join(seed, 'index.html'));
  if (!fs.readFileSync(path.join(seed, 'index.html'), 'utf8').includes('src="/openflow/editor.js"')) throw new Error('the page of the editor lacks our script');
}

main(process.argv[2]).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
