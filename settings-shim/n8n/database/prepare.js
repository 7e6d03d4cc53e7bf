'use strict';
// The start of an instance that keeps its data in PostgreSQL: finds its schema, or makes it, before n8n does anything.
const { CannotStart } = require('../failures');
const { quoted, withConnection } = require('./connection');
const { findDump } = require('./dump');
const { exists, settle, sweep } = require('./generations');
const { BadDump } = require('./load');
const { checkMigrations, postgresMigrations } = require('./migrations');
const { readPointer } = require('./pointer');

const IN_FILES = 'This instance keeps its data in files (.n8n/database.sqlite), and its stack in PostgreSQL. Nothing was changed. '
  + 'Give it a stack without PostgreSQL again, or restore a backup of an instance that has its data there.';
const GONE = 'The PostgreSQL server lacks what this instance kept there (.n8n/database.json names it). Nothing was changed. Restore a backup of this instance.';
const QUICKLY_MS = { lock_timeout: 5_000, statement_timeout: 60_000 };

/**
 * @param {{folder: string, address: object, image: {app: string, version: string}, hasFiles: boolean}} start n8n's folder, where
 *   its PostgreSQL is, what the image has, and whether there is something of an SQLite database
 * @returns {Promise<object>} the address, with `schema`
 * @throws {CannotStart | TryAgain}
 */
async function preparePostgres({ folder, address, image, hasFiles }) {
  const named = readPointer(folder);
  if (named === undefined && !findDump(folder) && hasFiles) throw new CannotStart(IN_FILES);
  return withConnection(image.app, address, async (database) => {
    // Beside a pointer a dump is left alone: a backup may be making it right now, or was cut off before it took it away.
    const schema = named ?? await firstOf(database, folder);
    if (!(await exists(database, schema))) throw new CannotStart(GONE);
    checkMigrations(await migrationsOf(database, schema), postgresMigrations(image.app), image.version);
    await tidy(database, schema);
    return { ...address, schema };
  });
}

async function firstOf(database, folder) {
  if (findDump(folder)) console.log('[openflow] the data folder was put back with a dump of its database: it is loaded into PostgreSQL');
  try {
    const { schema, loaded } = await settle(database, folder);
    console.log(loaded ? `[openflow] ${loaded.rows} rows in ${loaded.tables} tables were loaded (${schema})`
      : `[openflow] the data folder named nothing in PostgreSQL: n8n begins with ${schema}`);
    return schema;
  } catch (error) {
    throw error instanceof BadDump ? new CannotStart(`The data folder was put back with a dump of its database, and ${error.message}. Nothing was changed. Restore another backup of this instance.`) : error;
  }
}

async function migrationsOf(database, schema) {
  const table = `${quoted(schema)}.${quoted('migrations')}`;
  const [{ found }] = await database.query('SELECT to_regclass($1) IS NOT NULL AS found', [table]);
  return found ? (await database.query(`SELECT name FROM ${table} ORDER BY id`)).map(({ name }) => name) : [];
}

/** What restores left behind is no reason not to start. */
async function tidy(database, schema) {
  try {
    for (const [name, value] of Object.entries(QUICKLY_MS)) await database.query(`SET ${name} TO ${value}`);
    const dropped = await sweep(database, schema);
    if (dropped.length > 0) console.log(`[openflow] earlier states of the database were dropped: ${dropped.join(', ')}`);
  } catch (error) {
    console.error(`[openflow] earlier states of the database could not be dropped: ${error.message}`);
  }
}

module.exports = { preparePostgres };
