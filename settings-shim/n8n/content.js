'use strict';
// The content of a stopped instance: what a running one answers to GET /openflow/content (docs/wire.md).
//   node /opt/openflow/n8n/content.js
// in a container of the image with the data folder at /data, which may be read-only; it needs no network. Prints the JSON on
// stdout; when it cannot, one line `openflow: …` on stderr and exit status 1. --data is for tests.
//
// Only for an instance that does not run: nothing here waits for n8n.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { parseArgs } = require('node:util');
const { readContent } = require('./content/read');

const DATABASE = '.n8n/database.sqlite';
const ENDS = ['', '-wal', '-shm'];
const EMPTY = { format: 1, version: null, workflows: [], credentials: [], tags: [], variables: [], modules: [] };

/**
 * @param {string} data the instance's data folder
 * @returns {Promise<object>} nothing in it when n8n never started there
 */
async function contentOf(data) {
  const file = path.join(data, DATABASE);
  if (!fs.existsSync(file)) return EMPTY;
  return opened(file, async (database) => {
    const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
    return tables.length > 0 ? readContent((sql) => database.prepare(sql).all()) : EMPTY;
  });
}

/**
 * n8n leaves a journal (-wal) beside its database also when it is stopped well. To read it SQLite needs its index (-shm): as
 * it is there, or to be made anew; where it may not write, that is done on a copy.
 */
async function opened(file, use) {
  const { DatabaseSync } = require('node:sqlite');
  const attempt = async (name) => {
    const database = new DatabaseSync(name, { readOnly: true });
    try {
      return await use(database);
    } finally {
      database.close();
    }
  };
  if (!fs.existsSync(`${file}-wal`)) return attempt(new URL(`${pathToFileURL(file)}?immutable=1`));
  if (fs.existsSync(`${file}-shm`)) {
    try {
      return await attempt(file);
    } catch (error) {
      if (error.code !== 'ERR_SQLITE_ERROR' || !/unable to open|readonly|disk I\/O/.test(error.message)) throw error;
    }
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-content-'));
  try {
    const copy = path.join(folder, 'database.sqlite');
    for (const end of ENDS.slice(0, 2)) fs.copyFileSync(file + end, copy + end);
    return await attempt(copy);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function main() {
  const { values } = parseArgs({ options: { data: { type: 'string', default: '/data' } } });
  try {
    process.stdout.write(`${JSON.stringify(await contentOf(values.data))}\n`);
  } catch (error) {
    process.exitCode = 1;
    process.stderr.write(`openflow: the workflows cannot be read from ${DATABASE}: ${error.message}\n`);
  }
}

main();
