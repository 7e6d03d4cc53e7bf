'use strict';
// Looks at the data folder before n8n does: a fresh one gets the migrated database of the image, one that this n8n cannot
// live with stops the start with a reason.
//
// Invariant: nothing that was there is changed, except by SQLite itself (it plays back a journal that was left behind). In
// PostgreSQL, what no data folder needs any more is dropped.
const fs = require('node:fs');
const path = require('node:path');
const { readAddress } = require('./database/address');
const { findDump } = require('./database/dump');
const { checkMigrations } = require('./database/migrations');
const { readPointer } = require('./database/pointer');
const { preparePostgres } = require('./database/prepare');
const { CannotStart } = require('./failures');
const { isFolder, nameOf, readText, sqliteFiles } = require('./files');

const MAX_CONFIG_BYTES = 64 * 1024;
const MAX_CHECKED_BYTES = 32 * 1024 ** 2; // the check of a larger database would be felt at each start
const MAX_KEY_BYTES = 4096;
const RECREATE = 'The manager puts it there when it makes the container: recreate the container.';
const DATABASE = 'database.sqlite';
const DAMAGED = 'The database of n8n (.n8n/database.sqlite) is damaged. Nothing was changed. Restore a backup of this instance.';
const NO_SERVER = 'This instance keeps its data in PostgreSQL (.n8n/database.json or .dump), and was given no address of a server. Nothing was changed. '
  + 'Give it a stack with PostgreSQL again, or restore a backup of an instance without.';

/** The file with the encryption key. n8n reads it by itself, so that the key is in no environment. */
function findKey(secretsDir) {
  const file = path.join(secretsDir, 'encryption_key');
  let key;
  try {
    key = readText(file, MAX_KEY_BYTES)?.trim();
  } catch (error) {
    throw new CannotStart(`The encryption key of n8n cannot be read from ${file} (${error.code ?? error.message}). ${RECREATE}`);
  }
  if (key === undefined) throw new CannotStart(`The encryption key of n8n cannot be read from ${file} (there is no such file). ${RECREATE}`);
  if (key.length < 16) throw new CannotStart(`The encryption key of n8n in ${file} is too short. ${RECREATE}`);
  return { file, key };
}

/**
 * @param {string} folder n8n's folder, usually /data/.n8n
 * @param {{key: string, dir: string}} secrets the encryption key, and the folder of the secret files
 * @param {{app: string, version: string}} image the folder with n8n's node_modules and the first database, and n8n's version
 * @returns {Promise<object | undefined>} where in PostgreSQL the data are (address.js, and `schema`); undefined for SQLite
 * @throws {CannotStart}
 * @throws {import('./failures').TryAgain} when PostgreSQL cannot be reached
 */
async function prepareData(folder, secrets, image) {
  if (!isFolder(folder)) fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  checkConfig(path.join(folder, 'config'), secrets.key);
  const address = readAddress(secrets.dir);
  const files = sqliteFiles(path.join(folder, DATABASE));
  if (address) return preparePostgres({ folder, address, image, hasFiles: files.length > 0 });
  if (readPointer(folder) !== undefined || (files.length === 0 && findDump(folder))) throw new CannotStart(NO_SERVER);
  prepareSqlite(path.join(folder, DATABASE), files, image);
  return undefined;
}

function prepareSqlite(database, files, image) {
  const seed = path.join(image.app, 'seed');
  if (files[0] === database) {
    checkDatabase(database, knownMigrations(path.join(seed, 'migrations.json')), image.version);
    return;
  }
  // SQLite would play a foreign journal into the new database.
  const journal = files.find((file) => !file.endsWith('-shm'));
  if (journal) {
    throw new CannotStart(`The database of n8n (.n8n/database.sqlite) is missing, but its journal ${nameOf(journal)} is there. Restore a backup of this instance.`);
  }
  const first = path.join(seed, DATABASE);
  if (!fs.existsSync(first)) return; // n8n makes its own; it takes longer
  const part = `${database}.part`;
  fs.rmSync(part, { force: true }); // never through a link that was left there
  fs.copyFileSync(first, part, fs.constants.COPYFILE_EXCL);
  fs.chmodSync(part, 0o600);
  fs.renameSync(part, database);
}

const knownMigrations = (file) => (fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : undefined);

/** n8n writes the key into its configuration file at its first start. */
function checkConfig(file, key) {
  const text = readText(file, MAX_CONFIG_BYTES);
  if (text === undefined) return;
  let config;
  try {
    config = JSON.parse(text);
  } catch {
    // JSON.parse's own message would quote the key.
  }
  if (typeof config?.encryptionKey !== 'string') throw new CannotStart('The file .n8n/config is damaged. Nothing was changed. Restore a backup of this instance.');
  if (config.encryptionKey !== key) {
    throw new CannotStart('The encryption key of this instance is not the one that its data was made with (.n8n/config), so n8n could not read its credentials. '
      + 'Nothing was changed. Restore a backup of this instance, or give back the key that belongs to the data.');
  }
}

function checkDatabase(file, known, version) {
  const { DatabaseSync } = require('node:sqlite');
  let database;
  let ran;
  try {
    database = new DatabaseSync(file);
    database.exec('PRAGMA busy_timeout = 5000');
    if (fs.statSync(file).size <= MAX_CHECKED_BYTES) {
      const [row] = database.prepare('PRAGMA quick_check(1)').all();
      if (Object.values(row)[0] !== 'ok') throw new CannotStart(DAMAGED);
    }
    const isMade = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").get() !== undefined;
    ran = isMade ? database.prepare('SELECT name FROM migrations ORDER BY id').all().map(({ name }) => name) : [];
  } catch (error) {
    const code = (error.errcode ?? 0) & 0xff; // https://sqlite.org/rescode.html
    if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) throw new CannotStart(DAMAGED);
    if (code === SQLITE_FULL) throw Object.assign(error, { code: 'SQLITE_FULL' });
    if ([SQLITE_PERM, SQLITE_READONLY, SQLITE_CANTOPEN].includes(code)) throw Object.assign(error, { code: 'SQLITE_READONLY' });
    throw error;
  } finally {
    database?.close();
  }
  checkMigrations(ran, known, version);
}

const [SQLITE_PERM, SQLITE_READONLY, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_NOTADB] = [3, 8, 11, 13, 14, 26];

module.exports = { findKey, prepareData };
