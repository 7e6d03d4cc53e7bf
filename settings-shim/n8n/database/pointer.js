'use strict';
// Which schema of the database is a data folder's own: `.n8n/database.json`. A restore loads into a schema of its own, so that
// exchanging two folders exchanges what they have in the database, too.
const { randomBytes } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { CannotStart } = require('../failures');
const { prepareFile, readText } = require('../files');

const FILE = 'database.json';
const MAX_BYTES = 4096;
const NAME = /^n8n_(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)_[0-9a-f]{8}$/;

/** A name that nothing has yet; it tells when the schema was made. */
const newSchema = (now = new Date()) => `n8n_${now.toISOString().replace(/\D/g, '').slice(0, 14)}_${randomBytes(4).toString('hex')}`;

/** @returns {number | undefined} when a schema was made, in milliseconds; undefined for one that is not ours */
function madeAt(schema) {
  const found = NAME.exec(schema);
  if (!found) return undefined;
  const [year, month, ...rest] = found.slice(1).map(Number);
  return Date.UTC(year, month - 1, ...rest);
}

/**
 * @param {string} folder n8n's folder
 * @returns {string | undefined} the name of the schema; undefined when the folder has none
 * @throws {CannotStart}
 */
function readPointer(folder) {
  const text = readText(path.join(folder, FILE), MAX_BYTES);
  if (text === undefined) return undefined;
  let schema;
  try {
    ({ schema } = JSON.parse(text));
  } catch { /* it is not JSON, or not an object */ }
  if (typeof schema !== 'string' || !NAME.test(schema)) throw new CannotStart(`The file .n8n/${FILE} is damaged. Nothing was changed. Restore a backup of this instance.`);
  return schema;
}

/** It is on the disk before this returns: a dump may be removed next. */
function writePointer(folder, schema) {
  prepareFile(path.join(folder, FILE), `${JSON.stringify({ schema })}\n`).put();
  const opened = fs.openSync(folder, 'r');
  fs.fsyncSync(opened);
  fs.closeSync(opened);
}

module.exports = { madeAt, newSchema, readPointer, writePointer };
