'use strict';
// A data folder that comes from a backup: its database is brought to where the instance keeps its own.
const fs = require('node:fs');
const path = require('node:path');
const { isFolder, sqliteFiles } = require('../files');
const { readAddress } = require('./address');
const { withConnection } = require('./connection');
const { findDump } = require('./dump');
const { bringIn, exists } = require('./generations');
const { readPointer } = require('./pointer');

const OTHER_WAY = 'the backup is of an instance that keeps its data in PostgreSQL, and this one keeps them in files. Restore it into an instance of a stack with PostgreSQL';
const SQLITE = 'the backup is of an instance that keeps its data in files (SQLite), and this one keeps them in PostgreSQL. Restore it into an instance of a stack without PostgreSQL';
const NO_DUMP = 'the backup holds no dump of its database (.n8n/database.dump)';

/**
 * Does nothing where there is nothing to bring, or it was done before. Whoever puts a backup's folder there takes away the
 * .n8n/database.json of the backup: what a backup says about that is of another folder, and may be anybody's. So one that is
 * there was written here, by a run before.
 * @param {{data: string, secrets: string, app: string}} options see open.js
 * @returns {Promise<{tables: number, rows: number} | undefined>} what was loaded
 * @throws {Error} when the backup is of the other kind, or its dump cannot be loaded; nothing was changed then
 */
async function arrive({ data, secrets, app }) {
  const folder = path.join(data, '.n8n');
  if (!isFolder(folder)) return undefined;
  const address = readAddress(secrets);
  const schema = readPointer(folder);
  const isDumped = findDump(folder) !== undefined;
  if (!address) {
    if (schema !== undefined || isDumped) throw new Error(OTHER_WAY);
    return undefined;
  }
  if (isDumped) return withConnection(app, address, (database) => bringIn(database, folder));
  if (schema === undefined) {
    if (sqliteFiles(path.join(folder, 'database.sqlite')).length > 0) throw new Error(SQLITE);
    if (hasRun(folder)) throw new Error(NO_DUMP);
    return undefined;
  }
  if (!(await withConnection(app, address, (database) => exists(database, schema)))) throw new Error(NO_DUMP);
  return undefined;
}

/** An instance that never got as far as n8n leaves an empty folder, or what it was about to write. */
const hasRun = (folder) => fs.readdirSync(folder).some((name) => !name.endsWith('.part'));

module.exports = { arrive };
