'use strict';
// Dumps the PostgreSQL database of an instance into its data folder, from where a backup takes it:
//   node /opt/openflow/n8n/database.js dump
// in a container of the image with the instance's data folder at /data and the secret file database_url; n8n may run
// meanwhile. Writes .n8n/database.dump and prints a line of JSON about it (docs/wire.md). When it cannot, one line `openflow: …`
// on stderr, exit status 1, and what was there is there still. --data and --app are for tests.
const path = require('node:path');
const { parseArgs } = require('node:util');
const { readAddress } = require('./database/address');
const { withConnection } = require('./database/connection');
const { dump, findDump } = require('./database/dump');
const { exists, settle } = require('./database/generations');
const { findDatabase } = require('./database/open');
const { readPointer } = require('./database/pointer');
const { giveUpOnce } = require('./failures');
const { isFolder } = require('./files');

const NOTHING = { schema: null, tables: 0, rows: 0, bytes: 0, notCarried: [] };

async function dumpOf({ data, app }, secrets) {
  const folder = path.join(data, '.n8n');
  await bringBack(folder, app, readAddress(secrets));
  const found = findDatabase(data, secrets);
  if (!found || found.file) return NOTHING; // it never started, or the files of the folder are all there is
  return withConnection(app, found.address, async (database) => {
    if (await exists(database, found.schema)) return dump(database, found.schema, folder);
    throw new Error(`it lacks what this instance kept there (${found.schema})`);
  });
}

/**
 * A folder that was put back and has not been started since: its dump is its database, and whoever asks for one takes it away
 * afterwards. So it is brought in first, as a start does it.
 */
async function bringBack(folder, app, address) {
  if (!address || !isFolder(folder) || readPointer(folder) !== undefined || !findDump(folder)) return;
  await withConnection(app, address, (database) => settle(database, folder));
}

async function main() {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: {
    data: { type: 'string', default: '/data' },
    app: { type: 'string', default: '/opt/n8n' },
  } });
  try {
    if (positionals.join(' ') !== 'dump') throw new Error('the one thing to do with it is "dump"');
    process.stdout.write(`${JSON.stringify(await dumpOf(values, process.env.OPENFLOW_SECRETS_DIR || '/run/openflow'))}\n`);
  } catch (error) {
    giveUpOnce('the database could not be dumped', error);
  }
}

main();
