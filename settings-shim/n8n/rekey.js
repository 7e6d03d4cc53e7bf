'use strict';
// Fits the data of an instance to another encryption key, when a backup becomes a new instance. Meant for a throwaway container
// without network, on a copy of the data that nobody uses:
//   node /opt/openflow/n8n/rekey.js
// The key that the data were made with is read from the secret file old_encryption_key, the new one from encryption_key
// (OPENFLOW_SECRETS_DIR). When it cannot, one line `openflow: …` on stderr, exit status 1, and nothing was changed. Done
// twice it does no harm. --data is for tests.
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { decrypt, encrypt, isReadable, isRotated } = require('./cipher');

const MAX_CONFIG_BYTES = 64 * 1024;
const MAX_NAMED = 5;
const MIN_KEY_CHARS = 16;

function main() {
  const { values } = parseArgs({ options: { data: { type: 'string', default: '/data' } } });
  const secrets = process.env.OPENFLOW_SECRETS_DIR || '/run/openflow';
  try {
    rekey(path.join(values.data, '.n8n'), readKey(secrets, 'old_encryption_key'), readKey(secrets, 'encryption_key'));
  } catch (error) {
    process.exitCode = 1;
    process.stderr.write(`openflow: ${error.message.replace(/\s+/g, ' ')}\n`);
  }
}

function readKey(secrets, name) {
  const file = path.join(secrets, name);
  let key;
  try {
    key = fs.readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new Error(`the key cannot be read from ${file} (${error.code})`);
  }
  if (key.length < MIN_KEY_CHARS) throw new Error(`the key in ${file} is too short`);
  return key;
}

/** The configuration goes last: where it has the new key, all is done. */
function rekey(folder, from, to) {
  const config = newConfig(path.join(folder, 'config'), from, to);
  try {
    rekeyDatabase(path.join(folder, 'database.sqlite'), from, to);
    config?.put();
  } finally {
    config?.forget();
  }
}

/** n8n's configuration with the new key, beside the old one until `put`; undefined when there is none yet. */
function newConfig(file, from, to) {
  let text;
  try {
    if (fs.statSync(file).size > MAX_CONFIG_BYTES) throw new Error('.n8n/config is too large');
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
  let config;
  try {
    config = JSON.parse(text);
  } catch {
    // JSON.parse's own message would quote the key.
  }
  if (typeof config?.encryptionKey !== 'string') throw new Error('.n8n/config is damaged');
  if (![from, to].includes(config.encryptionKey)) throw new Error('.n8n/config holds another encryption key than this instance had: its credentials cannot be read');
  const part = `${file}.part`;
  fs.rmSync(part, { force: true }); // never write through what a tenant put there
  fs.writeFileSync(part, JSON.stringify({ ...config, encryptionKey: to }, null, '\t'), { mode: 0o600, flag: 'wx' });
  return { put: () => fs.renameSync(part, file), forget: () => fs.rmSync(part, { force: true }) };
}

function rekeyDatabase(file, from, to) {
  if (!fs.existsSync(file)) return;
  const { DatabaseSync } = require('node:sqlite');
  const database = new DatabaseSync(file);
  try {
    const tables = new Set(database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all().map(({ name }) => name));
    database.exec('BEGIN IMMEDIATE'); // ends with the connection unless it is committed
    if (tables.has('credentials_entity')) rekeyCredentials(database, from, to);
    // n8n's own keys and the id of the instance, wrapped with the old key. It makes them anew.
    if (tables.has('deployment_key')) database.exec('DELETE FROM "deployment_key"');
    database.exec('COMMIT');
  } catch (error) {
    if (error.code !== 'ERR_SQLITE_ERROR') throw error;
    throw new Error(`.n8n/database.sqlite cannot be rewritten: ${error.message}`);
  } finally {
    database.close();
  }
}

function rekeyCredentials(database, from, to) {
  const rows = database.prepare('SELECT "id", "data" FROM "credentials_entity" ORDER BY "id"').all();
  const rotated = rows.filter(({ data }) => isRotated(data));
  if (rotated.length > 0) throw new Error(`credentials are encrypted by n8n's key rotation, which cannot be carried elsewhere: ${named(rotated)}`);
  const old = rows.filter(({ data }) => !isReadable(data, to));
  const bad = old.filter(({ data }) => !isReadable(data, from));
  if (bad.length > 0) throw new Error(`credentials cannot be decrypted, they are damaged or of another encryption key: ${named(bad)}`);
  const update = database.prepare('UPDATE "credentials_entity" SET "data" = ? WHERE "id" = ?');
  for (const { id, data } of old) update.run(encrypt(decrypt(data, from), to), id);
}

const named = (rows) => rows.slice(0, MAX_NAMED).map(({ id }) => id).join(', ') + (rows.length > MAX_NAMED ? `, … (${rows.length})` : '');

main();
