'use strict';
// Fits the data folder of a backup to the instance that it is restored into:
//   node /opt/openflow/n8n/fit.js
// in a container of the image with the folder at /data and no network. Where the instance's stack has PostgreSQL (secret file
// database_url), the dump in the folder is loaded into a new schema of the instance's database. Where the instance has another
// encryption key (secret files old_encryption_key and encryption_key), what is encrypted is encrypted anew. Done again it
// changes nothing. When it cannot, one line `openflow: …` on stderr and exit status 1. --data and --app are for tests.
const path = require('node:path');
const { parseArgs } = require('node:util');
const { arrive } = require('./database/arrive');
const { giveUpOnce } = require('./failures');
const { readText } = require('./files');
const { checkRekey, rekey } = require('./rekey');

const MAX_KEY_BYTES = 4096;

function readKey(secrets, name) {
  const file = path.join(secrets, name);
  const text = readText(file, MAX_KEY_BYTES);
  if (text === undefined) throw new Error(`there is no ${file}`);
  return text.trim();
}

async function fit(options) {
  const keys = { from: readKey(options.secrets, 'old_encryption_key'), to: readKey(options.secrets, 'encryption_key') };
  const isOther = keys.from !== keys.to;
  if (isOther) checkRekey(options, keys); // before much is loaded
  await arrive(options);
  if (isOther) await rekey(options, keys);
}

async function main() {
  const { values } = parseArgs({ options: {
    data: { type: 'string', default: '/data' },
    app: { type: 'string', default: '/opt/n8n' },
  } });
  try {
    await fit({ ...values, secrets: process.env.OPENFLOW_SECRETS_DIR || '/run/openflow' });
  } catch (error) {
    giveUpOnce('the data could not be fitted to this instance', error);
  }
}

main();
