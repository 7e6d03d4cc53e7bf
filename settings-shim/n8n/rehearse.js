'use strict';
// Rehearses a restore: whether n8n would live with the data folder as it is. Meant for a throwaway container without network,
// made like the instance's own (with its secret files), on a copy of the data:
//   node /opt/openflow/n8n/rehearse.js
// Output and exit status are those of node-red/rehearse.js (docs/wire.md). The copy is changed: no workflow of it runs.
// --data, --app and --port are for tests.
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { checkDatabases } = require('../common/databases');
const { rehearse, checkStart, count } = require('../common/rehearsal');
const { readContent } = require('./content/read');
const { open } = require('./secrets');

const MAX_CONFIG_BYTES = 64 * 1024;
const MAX_NAMED = 5;
const PORT = '5678';
// n8n's ways to begin by itself: published workflows, what is queued to be published, schedules, and executions that wait.
const QUIET = [
  'UPDATE "workflow_entity" SET "active" = 0, "activeVersionId" = NULL',
  'DELETE FROM "workflow_publication_outbox"',
  'DELETE FROM "workflow_published_version"',
  'DELETE FROM "webhook_entity"',
  'DELETE FROM "scheduled_task"',
  'DELETE FROM "scheduled_job"',
  `UPDATE "execution_entity" SET "status" = 'canceled', "waitTill" = NULL WHERE "status" IN ('new', 'running', 'waiting')`,
];

/** Opens n8n's database; undefined when there is none. */
async function withDatabase(data, options, use) {
  const file = path.join(data, '.n8n/database.sqlite');
  if (!fs.existsSync(file)) return undefined;
  const { DatabaseSync } = require('node:sqlite');
  const database = new DatabaseSync(file, options);
  try {
    return await use(database);
  } finally {
    database.close();
  }
}

const tablesOf = (database) => new Set(database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all().map(({ name }) => name));

function readKey(secrets) {
  const file = path.join(secrets, 'encryption_key');
  try {
    return fs.readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new Error(`the encryption key cannot be read from ${file}: ${error.code}`);
  }
}

function isReadable(data, key) {
  try {
    open(data, key);
    return true;
  } catch {
    return false;
  }
}

async function checkCredentials(data, secrets) {
  const key = readKey(secrets);
  const stored = storedKey(data);
  if (stored !== undefined && stored !== key) throw new Error('.n8n/config holds another encryption key than this instance has: n8n would not start');
  const rows = await withDatabase(data, { readOnly: true }, (database) =>
    (tablesOf(database).has('credentials_entity') ? database.prepare('SELECT "id", "data" FROM "credentials_entity" ORDER BY "id"').all() : []));
  if (!rows || rows.length === 0) return 'there are none';
  const rotated = rows.filter((row) => row.data.includes(':')); // n8n's own key rotation; its keys are in the database
  const bad = rows.filter((row) => !rotated.includes(row) && !isReadable(row.data, key));
  if (bad.length > 0) {
    const named = bad.slice(0, MAX_NAMED).map(({ id }) => id).join(', ');
    throw new Error(`${bad.length} of ${count(rows.length, 'credential')} cannot be decrypted: damaged, or of another encryption key (${named}${bad.length > MAX_NAMED ? ', …' : ''})`);
  }
  return count(rows.length, 'credential') + (rotated.length > 0 ? `; not checked: ${rotated.length} under n8n's rotated keys` : '');
}

function storedKey(data) {
  const file = path.join(data, '.n8n/config');
  if (!fs.existsSync(file)) return undefined;
  if (fs.statSync(file).size > MAX_CONFIG_BYTES) throw new Error('.n8n/config is too large');
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')).encryptionKey;
  } catch {
    throw new Error('.n8n/config is not JSON');
  }
}

async function checkWorkflows(data) {
  const workflows = await withDatabase(data, { readOnly: true }, (database) =>
    (tablesOf(database).has('workflow_entity') ? readContent((sql) => database.prepare(sql).all()) : undefined));
  if (!workflows || workflows.workflows.length === 0) return 'there are none';
  const unsound = workflows.workflows.find(({ nodes }) => !Array.isArray(nodes) || !nodes.every((node) => typeof node?.name === 'string' && typeof node.type === 'string'));
  if (unsound) throw new Error(`workflow ${unsound.id} is not a list of nodes with name and type`);
  const nodes = workflows.workflows.reduce((sum, it) => sum + it.nodes.length, 0);
  return `${count(nodes, 'node')} in ${count(workflows.workflows.length, 'workflow')}, ${workflows.workflows.filter((it) => it.active).length} active`;
}

function quieten(data) {
  return withDatabase(data, {}, (database) => {
    const tables = tablesOf(database);
    for (const sql of QUIET) if (tables.has(/"(\w+)"/.exec(sql)[1])) database.exec(sql);
  });
}

async function startN8n({ data, app, port }) {
  await quieten(data).catch((error) => { throw new Error(`n8n was not started, because its workflows cannot be switched off: ${error.message}`); });
  const broker = port === PORT ? [] : ['--broker-port', String(Number(port) + 1), '--cache', `${data}/.cache`, '--host', '127.0.0.1'];
  const args = [path.join(__dirname, 'start.js'), '--data', data, '--app', app, '--port', port, ...broker];
  return checkStart('n8n', { args, env: process.env, port });
}

function main() {
  const { values } = parseArgs({ options: {
    data: { type: 'string', default: '/data' },
    app: { type: 'string', default: '/opt/n8n' },
    port: { type: 'string', default: PORT },
  } });
  const secrets = process.env.OPENFLOW_SECRETS_DIR || '/run/openflow';
  return rehearse([
    ['sqlite', () => checkDatabases(values.data)],
    ['credentials', () => checkCredentials(values.data, secrets)],
    ['flows', () => checkWorkflows(values.data)],
    ['start', () => startN8n(values)],
  ]);
}

main();
