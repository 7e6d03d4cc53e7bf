'use strict';
// The start of an instance that keeps its data in PostgreSQL: finds its schema, or makes it, before n8n does anything.
const { CannotStart } = require('../failures');
const { quoted, withConnection } = require('./connection');
const { findDump } = require('./dump');
const { begin, exists, sweep } = require('./generations');
const { BadDump, load } = require('./load');
const { checkMigrations, postgresMigrations } = require('./migrations');
const { readPointer } = require('./pointer');

const IN_FILES = 'This instance keeps its data in files (.n8n/database.sqlite), and its stack in PostgreSQL. Nothing was changed. '
  + 'Give it a stack without PostgreSQL again, or restore a backup of an instance that has its data there.';
const NO_POINTER = 'The file .n8n/database.json, which says what in PostgreSQL is of this instance, is missing, but a dump of its database is there. '
  + 'Nothing was changed. Restore a backup of this instance.';
const GONE = 'The PostgreSQL server lacks what this instance kept there, and its data folder holds no dump of it. Nothing was changed. Restore a backup of this instance.';
const QUICKLY_MS = { lock_timeout: 5_000, statement_timeout: 60_000 };

/**
 * @param {{folder: string, address: object, image: {app: string, version: string}, hasFiles: boolean}} start n8n's folder, where
 *   its PostgreSQL is, what the image has, and whether there is something of an SQLite database
 * @returns {Promise<object>} the address, with `schema`
 * @throws {CannotStart | TryAgain}
 */
async function preparePostgres({ folder, address, image, hasFiles }) {
  const schema = readPointer(folder);
  const file = findDump(folder);
  if (schema === undefined && hasFiles) throw new CannotStart(IN_FILES);
  if (schema === undefined && file) throw new CannotStart(NO_POINTER);
  return withConnection(image.app, address, async (database) => {
    if (schema === undefined) return { ...address, schema: await beginAnew(database, folder) };
    if (!(await exists(database, schema))) {
      if (!file) throw new CannotStart(GONE);
      await bringBack(database, file, schema);
    }
    checkMigrations(await migrationsOf(database, schema), postgresMigrations(image.app), image.version);
    await tidy(database, schema);
    return { ...address, schema };
  });
}

async function beginAnew(database, folder) {
  const schema = await begin(database, folder);
  console.log(`[openflow] the data folder names nothing in PostgreSQL: n8n begins with an empty database (${schema})`);
  return schema;
}

/** The folder was put back on a machine whose PostgreSQL does not know it. */
async function bringBack(database, file, schema) {
  console.log('[openflow] PostgreSQL lacks what this instance kept there: the dump in its data folder is loaded');
  try {
    const { tables, rows } = await load(database, file, schema);
    console.log(`[openflow] ${rows} rows in ${tables} tables were loaded`);
  } catch (error) {
    throw error instanceof BadDump ? new CannotStart(`PostgreSQL lacks what this instance kept there, and ${error.message}. Restore another backup of this instance.`) : error;
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
