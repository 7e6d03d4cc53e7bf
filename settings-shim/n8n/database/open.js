'use strict';
// The database of a data folder, whichever of the two it is, for the programs that run once. What they ask, both understand;
// the values of a query are $1, $2, ….
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { isFolder, nameOf, sqliteFiles } = require('../files');
const { readAddress } = require('./address');
const { READ_ONLY, quoted, withConnection } = require('./connection');
const { findDump } = require('./dump');
const { readPointer } = require('./pointer');

const SQLITE = 'database.sqlite';
const NO_SERVER = 'this instance keeps its data in PostgreSQL (.n8n/database.json or .dump), and there is no address of a server (database_url)';
const NOT_LOADED = 'its database is not in PostgreSQL but in a dump still (.n8n/database.dump), which the next start of the instance loads. Start it once';

/**
 * @param {string} data the data folder
 * @param {string} secrets the folder of the secret files
 * @returns {{file: string} | {address: object, schema: string} | null} null when n8n never started there
 * @throws {Error} when it is in a dump that has not been loaded, or in PostgreSQL and nothing says where that is
 */
function findDatabase(data, secrets) {
  const folder = path.join(data, '.n8n');
  if (!isFolder(folder)) return null;
  const schema = readPointer(folder);
  const address = readAddress(secrets);
  if (schema !== undefined) {
    if (!address) throw new Error(NO_SERVER);
    return { address, schema };
  }
  const [file] = sqliteFiles(path.join(folder, SQLITE));
  if ((address || !file) && findDump(folder)) throw new Error(address ? NOT_LOADED : NO_SERVER);
  return file && nameOf(file) === SQLITE ? { file } : null;
}

/**
 * @typedef {{query: (sql: string, values?: unknown[]) => Promise<object[]>, tables: Set<string>}} Open
 * @param {{data: string, secrets: string, app: string}} options `app` has n8n's node_modules
 * @param {(database: Open) => Promise<T>} use sees one state of the database
 * @returns {Promise<T | undefined>} undefined when there is no database
 * @template T
 */
function readDatabase(options, use) {
  const found = findDatabase(options.data, options.secrets);
  if (!found) return Promise.resolve(undefined);
  return found.file ? readSqlite(found.file, use) : inPostgres(options.app, found, READ_ONLY, use);
}

/** The same for changes: all that `use` does, or nothing of it when it throws. */
function changeDatabase(options, use) {
  const found = findDatabase(options.data, options.secrets);
  if (!found) return Promise.resolve(undefined);
  return found.file ? changeSqlite(found.file, use) : inPostgres(options.app, found, 'BEGIN', use);
}

function inPostgres(app, { address, schema }, begin, use) {
  return withConnection(app, address, (database) => database.transaction(begin, async () => {
    await database.query(`SET LOCAL search_path TO ${quoted(schema)}`);
    const tables = await database.query("SELECT relname AS name FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'r'", [quoted(schema)]);
    const [{ found }] = await database.query('SELECT to_regnamespace($1) IS NOT NULL AS found', [quoted(schema)]);
    if (!found) throw new Error(`the database lacks what this instance kept there (${schema}). Restore a backup of it`);
    return use({ query: (sql, values) => database.query(sql, values), tables: new Set(tables.map(({ name }) => name)) });
  }));
}

function changeSqlite(file, use) {
  return opened(file, {}, async (database) => {
    database.exec('BEGIN IMMEDIATE');
    const result = await use(asked(database));
    database.exec('COMMIT');
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    return result;
  });
}

/**
 * n8n leaves a journal (-wal) beside its database also when it is stopped well. To read it SQLite needs its index (-shm): as
 * it is there, or to be made anew; where it may not write, that is done on a copy.
 */
async function readSqlite(file, use) {
  const read = (name) => opened(name, { readOnly: true }, (database) => use(asked(database)));
  const ends = sqliteFiles(file).map((it) => it.slice(file.length));
  if (!ends.includes('-wal')) return read(new URL(`${pathToFileURL(file)}?immutable=1`));
  if (ends.includes('-shm')) {
    try {
      return await read(file);
    } catch (error) {
      if (error.code !== 'ERR_SQLITE_ERROR' || !/unable to open|readonly|disk I\/O/.test(error.message)) throw error;
    }
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-database-'));
  try {
    const copy = path.join(folder, SQLITE);
    for (const end of ['', '-wal']) fs.copyFileSync(file + end, copy + end);
    return await read(copy);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function opened(name, options, use) {
  const { DatabaseSync } = require('node:sqlite');
  const database = new DatabaseSync(name, options);
  try {
    return await use(database);
  } finally {
    database.close();
  }
}

function asked(database) {
  const named = (values) => Object.fromEntries(values.map((value, at) => [`$${at + 1}`, value]));
  const query = async (sql, values = []) => (values.length > 0 ? database.prepare(sql).all(named(values)) : database.prepare(sql).all());
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
  return { query, tables: new Set(tables.map(({ name }) => name)) };
}

module.exports = { changeDatabase, findDatabase, readDatabase };
