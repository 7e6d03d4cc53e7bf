'use strict';
// Looks at the data folder before n8n does: a fresh one gets the migrated database of the image, one that this n8n cannot
// live with stops the start with a reason.
//
// Invariant: nothing that was there is changed, except by SQLite itself (it plays back a journal that was left behind).
const fs = require('node:fs');
const path = require('node:path');
const { CannotStart } = require('./failures');

const MAX_CONFIG_BYTES = 64 * 1024;
const MAX_CHECKED_BYTES = 32 * 1024 ** 2; // the check of a larger database would be felt at each start
const MAX_KEY_BYTES = 4096;
const DAMAGED = 'The database of n8n (.n8n/database.sqlite) is damaged. Nothing was changed. Restore a backup of this instance.';

/** The file with the encryption key. n8n reads it by itself, so that the key is in no environment. */
function findKey(secretsDir) {
  const file = path.join(secretsDir, 'encryption_key');
  let key;
  try {
    key = fs.readFileSync(file, { encoding: 'utf8' }).slice(0, MAX_KEY_BYTES).trim();
  } catch (error) {
    throw new CannotStart(`The encryption key of n8n cannot be read from ${file} (${error.code}). The manager puts it there when it makes the container: recreate the container.`);
  }
  if (key.length < 16) throw new CannotStart(`The encryption key of n8n in ${file} is too short. The manager puts it there when it makes the container: recreate the container.`);
  return { file, key };
}

/**
 * @param {string} folder n8n's folder, usually /data/.n8n
 * @param {string} key the encryption key
 * @param {{database: string, migrations: string, version: string}} seed the database of the image, a JSON list of the migrations
 *   that its n8n knows, and n8n's version
 * @throws {CannotStart}
 */
function prepareData(folder, key, seed) {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  checkConfig(path.join(folder, 'config'), key);
  const database = path.join(folder, 'database.sqlite');
  if (fs.existsSync(database)) return checkDatabase(database, seed);
  // SQLite would play a foreign journal into the new database.
  const journal = [`${database}-wal`, `${database}-journal`].find((file) => fs.existsSync(file));
  if (journal) {
    throw new CannotStart(`The database of n8n (.n8n/database.sqlite) is missing, but its journal ${path.basename(journal)} is there. Restore a backup of this instance.`);
  }
  if (!fs.existsSync(seed.database)) return undefined; // n8n makes its own; it takes longer
  const part = `${database}.part`;
  fs.copyFileSync(seed.database, part);
  fs.chmodSync(part, 0o600);
  return fs.renameSync(part, database);
}

/** n8n writes the key into its configuration file at its first start. */
function checkConfig(file, key) {
  let text;
  try {
    if (fs.statSync(file).size > MAX_CONFIG_BYTES) throw new CannotStart('The file .n8n/config is far larger than n8n writes it. Restore a backup of this instance.');
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
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

function checkDatabase(file, seed) {
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
  checkMigrations(ran, seed);
}

const [SQLITE_PERM, SQLITE_READONLY, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_NOTADB] = [3, 8, 11, 13, 14, 26];

/** Migrations go forward only: n8n would run on a newer database and break it. */
function checkMigrations(ran, { migrations, version }) {
  if (!fs.existsSync(migrations)) return;
  const known = new Set(JSON.parse(fs.readFileSync(migrations, 'utf8')));
  if (!ran.some((name) => !known.has(name))) return;
  throw new CannotStart(`The data of this instance was used by a newer n8n than the ${version} of this image. n8n cannot go back. Nothing was changed. `
    + 'Go back to the newer image, or restore a backup from before the upgrade.');
}

module.exports = { findKey, prepareData };
