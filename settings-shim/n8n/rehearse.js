'use strict';
// Rehearses a restore: whether n8n would live with the data folder as it is. Meant for a throwaway container without network,
// made like the instance's own (with its secret files), on a copy of the data:
//   node /opt/openflow/n8n/rehearse.js
// Where the stack has PostgreSQL, the secret file database_url names an empty database, into which the dump in the copy is loaded.
// Output and exit status are those of node-red/rehearse.js (docs/wire.md); 75 and no outcome when that server is away. The copy is changed: no workflow of it runs.
// --data, --app and --port are for tests.
const path = require('node:path');
const { parseArgs } = require('node:util');
const { checkDatabases } = require('../common/databases');
const { NotRehearsed, rehearse, checkStart, count } = require('../common/rehearsal');
const { readContent } = require('./content/read');
const { readAddress } = require('./database/address');
const { arrive } = require('./database/arrive');
const { withConnection } = require('./database/connection');
const { changeDatabase, readDatabase } = require('./database/open');
const { TryAgain } = require('./failures');
const { readText } = require('./files');
const { named } = require('./rekey');
const { open } = require('./secrets');

const MAX_CONFIG_BYTES = 64 * 1024;
const MAX_KEY_BYTES = 4096;
const MAX_NAMED = 5;
const PORT = '5678';
// n8n's ways to begin by itself: published workflows, what is queued to be published, schedules, and executions that wait.
const QUIET = [
  'UPDATE "workflow_entity" SET "active" = FALSE, "activeVersionId" = NULL',
  'DELETE FROM "workflow_publication_outbox"',
  'DELETE FROM "workflow_published_version"',
  'DELETE FROM "webhook_entity"',
  'DELETE FROM "scheduled_task"',
  'DELETE FROM "scheduled_job"',
  `UPDATE "execution_entity" SET "status" = 'canceled', "waitTill" = NULL WHERE "status" IN ('new', 'running', 'waiting')`,
];

/** Brings the database to where the instance has its own, and looks at every SQLite file. */
async function checkDatabase(options) {
  const loaded = await arrive(options);
  const says = checkDatabases(options.data);
  return loaded ? `${count(loaded.rows, 'row')} in ${count(loaded.tables, 'table')} loaded into PostgreSQL; ${says}` : says;
}

function readKey(secrets) {
  const file = path.join(secrets, 'encryption_key');
  let text;
  try {
    text = readText(file, MAX_KEY_BYTES);
  } catch (error) {
    throw new Error(`the encryption key cannot be read from ${file}: ${error.code ?? error.message}`);
  }
  if (text === undefined) throw new Error(`there is no encryption key (${file})`);
  return text.trim();
}

function isReadable(data, key) {
  try {
    open(data, key);
    return true;
  } catch {
    return false;
  }
}

async function checkCredentials(options) {
  const key = readKey(options.secrets);
  const stored = storedKey(options.data);
  if (stored !== undefined && stored !== key) throw new Error('.n8n/config holds another encryption key than this instance has: n8n would not start');
  const rows = await readDatabase(options, ({ query, tables }) =>
    (tables.has('credentials_entity') ? query('SELECT "id", "data" FROM "credentials_entity" ORDER BY "id"') : []));
  if (!rows || rows.length === 0) return 'there are none';
  const rotated = rows.filter((row) => row.data.includes(':')); // n8n's own key rotation; its keys are in the database
  const bad = rows.filter((row) => !rotated.includes(row) && !isReadable(row.data, key));
  if (bad.length > 0) {
    const ids = bad.slice(0, MAX_NAMED).map(({ id }) => named(id)).join(', ');
    throw new Error(`${bad.length} of ${count(rows.length, 'credential')} cannot be decrypted: damaged, or of another encryption key (${ids}${bad.length > MAX_NAMED ? ', …' : ''})`);
  }
  return count(rows.length, 'credential') + (rotated.length > 0 ? `; not checked: ${rotated.length} under n8n's rotated keys` : '');
}

function storedKey(data) {
  const text = readText(path.join(data, '.n8n/config'), MAX_CONFIG_BYTES);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text).encryptionKey;
  } catch {
    throw new Error('.n8n/config is not JSON');
  }
}

async function checkWorkflows(options) {
  const workflows = await readDatabase(options, ({ query, tables }) => (tables.has('workflow_entity') ? readContent(query) : undefined));
  if (!workflows || workflows.workflows.length === 0) return 'there are none';
  const unsound = workflows.workflows.find(({ nodes }) => !Array.isArray(nodes) || !nodes.every((node) => typeof node?.name === 'string' && typeof node.type === 'string'));
  if (unsound) throw new Error(`workflow ${named(unsound.id)} is not a list of nodes with name and type`);
  const nodes = workflows.workflows.reduce((sum, it) => sum + it.nodes.length, 0);
  return `${count(nodes, 'node')} in ${count(workflows.workflows.length, 'workflow')}, ${workflows.workflows.filter((it) => it.active).length} active`;
}

function quieten(options) {
  return changeDatabase(options, async ({ query, tables }) => {
    for (const sql of QUIET) if (tables.has(/"(\w+)"/.exec(sql)[1])) await query(sql);
  });
}

function startN8n({ data, app, port }) {
  const broker = port === PORT ? [] : ['--broker-port', String(Number(port) + 1), '--cache', `${data}/.cache`, '--host', '127.0.0.1'];
  const args = [path.join(__dirname, 'start.js'), '--data', data, '--app', app, '--port', port, ...broker];
  return checkStart('n8n', { args, env: process.env, port });
}

// What start.js says at its end when it meets the server away or full, which may be over when it is looked for here.
const AWAY = /it ended with 1\..*openflow: (The PostgreSQL server of this instance cannot be (?:reached|used now) [^\n]*)/s;

/** n8n's start is this process's child: whether the server was away in it, a connection that was there all the while tells. */
async function checkStarted(options) {
  await quieten(options).catch((error) => {
    throw error instanceof TryAgain ? error : new Error(`n8n was not started, because its workflows cannot be switched off: ${error.message}`);
  });
  const address = readAddress(options.secrets);
  if (!address) return startN8n(options);
  return withConnection(options.app, address, async (witness) => {
    try {
      return await startN8n(options);
    } catch (error) {
      const [, told] = AWAY.exec(error.message) ?? [];
      if (told) throw new TryAgain(told);
      await withConnection(options.app, address, () => {});
      await witness.query('SELECT 1').catch(() => { throw new TryAgain('The PostgreSQL server of this instance was away while n8n started.'); });
      throw error;
    }
  });
}

/** A server that is away says nothing about the backup. */
const judged = (examine) => async () => {
  try {
    return await examine();
  } catch (error) {
    throw error instanceof TryAgain ? new NotRehearsed(error.message) : error;
  }
};

function main() {
  const { values } = parseArgs({ options: {
    data: { type: 'string', default: '/data' },
    app: { type: 'string', default: '/opt/n8n' },
    port: { type: 'string', default: PORT },
  } });
  const options = { ...values, secrets: process.env.OPENFLOW_SECRETS_DIR || '/run/openflow' };
  return rehearse([
    ['sqlite', judged(() => checkDatabase(options))],
    ['credentials', judged(() => checkCredentials(options))],
    ['flows', judged(() => checkWorkflows(options))],
    ['start', judged(() => checkStarted(options))],
  ]);
}

main();
