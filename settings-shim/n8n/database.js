'use strict';
// Dumps the PostgreSQL database of an instance into its data folder, from where a backup takes it:
//   node /opt/openflow/n8n/database.js dump
// in a container of the image with the instance's data folder at /data and the secret file database_url; n8n may run
// meanwhile. Writes .n8n/database.dump and prints a line of JSON about it (docs/wire.md). When it cannot, one line `openflow: …`
// on stderr, exit status 1, and what was there is there still. --data and --app are for tests.
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { withConnection } = require('./database/connection');
const { dump, findDump } = require('./database/dump');
const { exists } = require('./database/generations');
const { load } = require('./database/load');
const { findDatabase } = require('./database/open');
const { giveUpOnce } = require('./failures');

const NOTHING = { schema: null, tables: 0, rows: 0, bytes: 0, notCarried: [] };

async function dumpOf({ data, app }, secrets) {
  const found = findDatabase(data, secrets);
  if (!found || found.file) return NOTHING; // it never started, or the files of the folder are all there is
  const folder = path.join(data, '.n8n');
  return withConnection(app, found.address, async (database) => {
    if (await exists(database, found.schema)) return dump(database, found.schema, folder);
    // It was put back on another machine and has not started since. The dump that is there is its state, and goes into the database
    // as it would at a start: whoever copies a dump removes it afterwards.
    const file = findDump(folder);
    if (file) return { ...NOTHING, schema: found.schema, ...await load(database, file, found.schema), bytes: fs.statSync(file).size, isKept: true };
    throw new Error(`it lacks what this instance kept there (${found.schema})`);
  });
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
