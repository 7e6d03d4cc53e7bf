'use strict';
// Gives the data of a stopped instance another encryption key: what n8n encrypts with its key in the database, and its
// configuration. All or nothing; done again it changes nothing.
//
// Not moved are the settings of parts that are switched off here and need a licence (LDAP, SAML, source control, external
// secrets), and what a waiting execution holds encrypted of the request that began it.
const { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } = require('node:crypto');
const path = require('node:path');
const { changeDatabase } = require('./database/open');
const { plain } = require('./failures');
const { prepareFile, readText } = require('./files');
const { open, openText, seal } = require('./secrets');

// n8n-core's format of wrapped keys: version, salt, tag, text; AES-256-GCM, key and IV by HKDF.
const VERSION = 1;
const [SALT, TAG, TEXT] = [1, 33, 49];
const INFO = 'n8n-encryption-v1';
const MAX_CONFIG_BYTES = 64 * 1024;
const MAX_NAME = 100;
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
function moved(data, { from, to }, { read, write }) {
  try {
    read(data, to);
    return data;
  } catch { /* it is under the old one */ }
  const text = read(data, from);
  return write(text === from ? to : text, to); // n8n keeps its key among the wrapped ones, too
}

const CREDENTIAL = { read: open, write: seal };
const KEY = { read: unwrap, write: wrap };
const TEXTUAL = { read: openText, write: seal };
// With a ":" a value is under a key that is in the database.
const isOwn = (text) => text !== '' && !text.includes(':');

// Table, column, how it is encrypted, and in which rows. n8n keeps a list as a text with commas.
const COLUMNS = [
  ['credentials_entity', 'data', CREDENTIAL],
  ['deployment_key', 'value', KEY, `"type" IN (${WRAPPED.map((it) => `'${it}'`).join(', ')})`],
  ['user', 'mfaSecret', TEXTUAL],
  ['user', 'mfaRecoveryCodes', { ...TEXTUAL, isList: true }],
];

async function rekeyDatabase({ query, tables }, keys) {
  for (const [table, column, way, where = 'TRUE'] of COLUMNS) {
    if (!tables.has(table)) continue;
    const rows = await query(`SELECT * FROM "${table}" WHERE ${where}`);
    for (const row of rows) {
      const { [column]: value } = row;
      if (typeof value !== 'string' || value === '') continue;
      const parts = way.isList ? value.split(',') : [value];
      let changed;
      try {
        changed = parts.map((part) => (isOwn(part) ? moved(part, keys, way) : part)).join(',');
      } catch {
        throw new Error(`${named(row.id)} in ${table} cannot be decrypted: it is damaged, or of another encryption key than the backup`);
      }
      if (changed !== value) await query(`UPDATE "${table}" SET "${column}" = $1 WHERE "id" = $2`, [changed, row.id]);
    }
  }
}

/** An id as it may be shown: it is what a tenant wrote. */
const named = (id) => plain(id).slice(0, MAX_NAME);

/** n8n's configuration with the new key, beside the old one until `put`; undefined when there is none yet. */
function newConfig(file, { from, to }) {
  const text = readText(file, MAX_CONFIG_BYTES);
  if (text === undefined) return undefined;
  let config;
  try {
    config = JSON.parse(text);
  } catch {
    // JSON.parse's own message would quote the key.
  }
  if (typeof config?.encryptionKey !== 'string') throw new Error('.n8n/config is damaged');
  if (![from, to].includes(config.encryptionKey)) throw new Error('.n8n/config holds another encryption key than the backup');
  return prepareFile(file, JSON.stringify({ ...config, encryptionKey: to }, null, '\t'));
}

/**
 * The configuration goes last: where it has the new key, all is done.
 * @param {{data: string, secrets: string, app: string}} options see database/open.js
 * @param {{from: string, to: string}} keys
 */
async function rekey(options, keys) {
  const config = newConfig(path.join(options.data, '.n8n/config'), keys);
  try {
    await changeDatabase(options, (database) => rekeyDatabase(database, keys));
    config?.put();
  } finally {
    config?.forget();
  }
}

/** Whether the configuration would stand in the way; nothing is changed. */
function checkRekey({ data }, keys) {
  newConfig(path.join(data, '.n8n/config'), keys)?.forget();
}

module.exports = { checkRekey, named, rekey };
