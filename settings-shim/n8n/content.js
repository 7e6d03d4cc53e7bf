'use strict';
// The content of a stopped instance: what a running one answers to GET /openflow/content (docs/wire.md).
//   node /opt/openflow/n8n/content.js
// in a container of the image with the data folder at /data, which may be read-only; it needs no network, and where n8n keeps
// its data in PostgreSQL the secret file database_url. Prints the JSON on stdout; when it cannot, one line `openflow: …` on stderr
// and exit status 1. --data and --app are for tests.
//
// Only for an instance that does not run: nothing here waits for n8n.
const { parseArgs } = require('node:util');
const { readContent } = require('./content/read');
const { readDatabase } = require('./database/open');
const { giveUpOnce } = require('./failures');

const EMPTY = { format: 1, version: null, workflows: [], credentials: [], tags: [], variables: [], modules: [] };

async function main() {
  const { values } = parseArgs({ options: {
    data: { type: 'string', default: '/data' },
    app: { type: 'string', default: '/opt/n8n' },
  } });
  try {
    const options = { ...values, secrets: process.env.OPENFLOW_SECRETS_DIR || '/run/openflow' };
    // n8n may never have started there, or not for long.
    const content = await readDatabase(options, ({ query, tables }) => (tables.size > 0 ? readContent(query) : EMPTY));
    process.stdout.write(`${JSON.stringify(content ?? EMPTY)}\n`);
  } catch (error) {
    giveUpOnce('the workflows cannot be read', error);
  }
}

main();
