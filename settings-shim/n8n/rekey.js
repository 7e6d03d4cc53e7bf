'use strict';
// Gives the data of a stopped instance another encryption key, for a backup that is restored into another instance:
//   node /opt/openflow/n8n/rekey.js
// in a container of the image with the data folder at /data and no network; the keys are in the secret files
// old_encryption_key and encryption_key. All or nothing; done again it changes nothing. When it cannot, one line
// `openflow: …` on stderr and exit status 1. --data is for tests.
const { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { open, seal } = require('./secrets');

// n8n-core's format of wrapped keys: version, salt, tag, text; AES-256-GCM, key and IV by HKDF.
const VERSION = 1;
const [SALT, TAG, TEXT] = [1, 33, 49];
const INFO = 'n8n-encryption-v1';
const MAX_CONFIG_BYTES = 64 * 1024;
const WRAPPED = ['data_encryption', 'signing.hmac', 'signing.jwt', 'signing.binary_data', 'jwe.private-key'];

function keyAndIv(key, salt) {
  const master = createHash('sha256').update(key).digest();
  const derived = Buffer.from(hkdfSync('sha256', master, salt, INFO, 44));
  return [derived.subarray(0, 32), derived.subarray(32)];
}

function unwrap(data, key) {
  const input = Buffer.from(data, 'base64');
  if (input[0] !== VERSION || input.length < TEXT) throw new Error('unknown format');
  const decipher = createDecipheriv('aes-256-gcm', ...keyAndIv(key, input.subarray(SALT, TAG)), { authTagLength: TEXT - TAG });
  decipher.setAuthTag(input.subarray(TAG, TEXT));
  return Buffer.concat([decipher.update(input.subarray(TEXT)), decipher.final()]).toString();
}

function wrap(text, key) {
  const salt = randomBytes(TAG - SALT);
  const cipher = createCipheriv('aes-256-gcm', ...keyAndIv(key, salt));
  const sealed = Buffer.concat([cipher.update(text), cipher.final()]);
  return Buffer.concat([Buffer.from([VERSION]), salt, cipher.getAuthTag(), sealed]).toString('base64');
}

/** `data` under the new key. What is under the new one already stays as it is. */
function moved(data, from, to, { read, write }) {
  try {
    read(data, to);
    return data;
  } catch { /* it is under the old one */ }
  const text = read(data, from);
  return write(text === from ? to : text, to); // n8n keeps its key among the wrapped ones, too
}

function rekeyDatabase(file, from, to) {
  const { DatabaseSync } = require('node:sqlite');
  const database = new DatabaseSync(file);
  try {
    database.exec('BEGIN IMMEDIATE');
    const move = (table, column, rows, way) => {
      const update = database.prepare(`UPDATE "${table}" SET "${column}" = ? WHERE "id" = ?`);
      for (const row of rows) {
        let value;
        try {
          value = moved(row.value, from, to, way);
        } catch {
          throw new Error(`${row.id} in ${table} cannot be decrypted: it is damaged, or of another encryption key than the backup`);
        }
        if (value !== row.value) update.run(value, row.id);
      }
    };
    const has = (table) => database.prepare('SELECT 1 FROM sqlite_master WHERE name = ?').get(table) !== undefined;
    if (has('credentials_entity')) {
      // With a ":" they are under a key that is in the database.
      move('credentials_entity', 'data', database.prepare(`SELECT "id", "data" AS "value" FROM "credentials_entity" WHERE "data" NOT LIKE '%:%'`).all(), { read: open, write: seal });
    }
    if (has('deployment_key')) {
      const rows = database.prepare('SELECT "id", "type", "value" FROM "deployment_key"').all().filter(({ type }) => WRAPPED.includes(type));
      move('deployment_key', 'value', rows, { read: unwrap, write: wrap });
    }
    database.exec('COMMIT');
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } finally {
    database.close();
  }
}

/** n8n's configuration with the new key, beside the old one until `put`; undefined when there is none yet. */
function newConfig(file, from, to) {
  if (!fs.existsSync(file)) return undefined;
  if (fs.statSync(file).size > MAX_CONFIG_BYTES) throw new Error('.n8n/config is too large');
  let config;
  try {
    config = JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    // JSON.parse's own message would quote the key.
  }
  if (typeof config?.encryptionKey !== 'string') throw new Error('.n8n/config is damaged');
  if (![from, to].includes(config.encryptionKey)) throw new Error('.n8n/config holds another encryption key than the backup');
  const part = `${file}.part`;
  fs.rmSync(part, { force: true }); // never through a link that was left there
  fs.writeFileSync(part, JSON.stringify({ ...config, encryptionKey: to }, null, '\t'), { mode: 0o600, flag: 'wx' });
  return { put: () => fs.renameSync(part, file), forget: () => fs.rmSync(part, { force: true }) };
}

/** The configuration goes last: where it has the new key, all is done. */
function rekey(folder, from, to) {
  const config = newConfig(path.join(folder, 'config'), from, to);
  try {
    const database = path.join(folder, 'database.sqlite');
    if (fs.existsSync(database)) rekeyDatabase(database, from, to);
    config?.put();
  } finally {
    config?.forget();
  }
}

function main() {
  const { values } = parseArgs({ options: { data: { type: 'string', default: '/data' } } });
  const secrets = process.env.OPENFLOW_SECRETS_DIR || '/run/openflow';
  try {
    const [from, to] = ['old_encryption_key', 'encryption_key'].map((name) => fs.readFileSync(path.join(secrets, name), 'utf8').trim());
    rekey(path.join(values.data, '.n8n'), from, to);
  } catch (error) {
    process.exitCode = 1;
    process.stderr.write(`openflow: the credentials of n8n could not be encrypted anew: ${error.message}\n`);
  }
}

main();
