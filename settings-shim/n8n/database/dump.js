'use strict';
// The dump of a schema: one file, made beside a running n8n out of one state of the database, in constant memory. It is read
// by load.js, on servers of other versions, too.
//
// gzip of lines of JSON. First {"openflow": "n8n database", "format": 1, …}; {"sql"} for each statement before the rows; for each table
// {"rows": <table>, "columns": […]} and then {"bytes": n} with n bytes of COPY's text format behind it, as often as there are,
// the last with 0; {"sql"} for what comes after the rows; {"sequence", "value", "isCalled"}; at last {"end": true, "tables", "rows"},
// without which a dump is cut off.
const fs = require('node:fs');
const path = require('node:path');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { setTimeout: wait } = require('node:timers/promises');
const { createGzip } = require('node:zlib');
const { createFile, isSame, isThere } = require('../files');
const { readCatalog, tablesOf } = require('./catalog');
const { READ_ONLY, quoted } = require('./connection');
const { DUMP, alone } = require('./turns');

const KIND = 'n8n database';
const FORMAT = 1;
const FILE = 'database.dump';
const TRIES = 10;
const PAUSE_MS = 300;
const LEVEL = 3; // a third more bytes than the usual level for a third of its time
const NEWLINE = 10;
const ANOTHER = 'another dump of this instance is being made. Try again when it is done';

const SIZE = "SELECT coalesce(sum(pg_table_size(oid)), 0) AS bytes FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r'";
const HAS_CHANGED = new Set(['42P01', 'XX000']); // a table went between being listed and being locked

/**
 * @param {import('./connection').Database} database
 * @param {string} schema
 * @param {string} folder n8n's folder, in which the dump takes the place of the one before it
 * @returns {Promise<{schema: string, tables: number, rows: number, bytes: number, notCarried: {kind: string, name: string}[]}>}
 * @throws {Error} also when another dump of the database is being made
 */
async function dump(database, schema, folder) {
  const file = path.join(folder, FILE);
  isThere(file);
  return alone(database, DUMP, ANOTHER, async () => {
    await checkRoom(database, schema, folder);
    return dumpInto(database, schema, file);
  });
}

/** A part that is there was left by a program that was cut off: nobody else is at it. */
async function dumpInto(database, schema, file) {
  const part = `${file}.part`;
  const opened = createFile(part);
  try {
    const counts = await whileUnchanged(database, schema, (catalog, version) => write(database, catalog, { schema, version }, opened));
    fs.fsyncSync(opened);
    if (!isSame(opened, part)) throw new Error('the file that it was written to (.n8n/database.dump.part) was taken away meanwhile');
    fs.renameSync(part, file);
    return { schema, ...counts, bytes: fs.fstatSync(opened).size };
  } catch (error) {
    if (isSame(opened, part)) fs.rmSync(part, { force: true });
    throw error.code === 'ENOSPC' ? new Error('there is no space left on the disk') : error;
  } finally {
    fs.closeSync(opened);
  }
}

/** Rough: indexes are not written, and what is written is compressed, in PostgreSQL partly, too. */
async function checkRoom(database, schema, folder) {
  const [{ bytes }] = await database.query(SIZE, [schema]);
  const { bavail, bsize } = fs.statfsSync(folder);
  const [needed, free] = [Number(bytes), bavail * bsize].map((it) => Math.ceil(it / 1024 ** 2));
  if (needed > free) throw new Error(`there is too little space on the disk: the database takes ${needed} MB without its indexes, and ${free} MB are free`);
}

/**
 * Runs `work` while the tables of the schema stay as they are, in a transaction that sees one state of them. They are locked
 * before that state is taken: a table that is rewritten later looks empty to a state from before.
 */
async function whileUnchanged(database, schema, work) {
  for (let tries = TRIES; ; tries -= 1) {
    const locked = await tablesOf(database, schema);
    const result = await database.transaction(READ_ONLY, async () => {
      await database.query(`SET LOCAL search_path TO ${quoted(schema)}`);
      if (!(await lock(database, schema, locked))) return undefined;
      const now = await tablesOf(database, schema);
      if (JSON.stringify(now) !== JSON.stringify(locked)) return undefined;
      const [{ version }] = await database.query("SELECT current_setting('server_version_num')::int / 10000 AS version");
      return { counts: await work(await readCatalog(database, schema), version) };
    });
    if (result) return result.counts;
    if (tries === 1) throw new Error('the tables of n8n are being changed. Try again when n8n is up');
    await wait(PAUSE_MS);
  }
}

/** @returns {Promise<boolean>} whether all are there still */
async function lock(database, schema, tables) {
  if (tables.length === 0) return true;
  try {
    await database.query(`LOCK TABLE ${tables.map(({ name }) => `ONLY ${quoted(schema)}.${quoted(name)}`).join(', ')} IN ACCESS SHARE MODE`);
    return true;
  } catch (error) {
    if (HAS_CHANGED.has(error.code)) return false;
    throw error;
  }
}

async function write(database, catalog, header, opened) {
  const counts = { tables: catalog.tables.length, rows: 0 };
  await pipeline(Readable.from(parts(database, catalog, header, counts), { objectMode: false }), createGzip({ level: LEVEL }), async (pieces) => {
    for await (const piece of pieces) {
      for (let at = 0; at < piece.length;) at += fs.writeSync(opened, piece, at);
    }
  });
  return { ...counts, notCarried: catalog.leftOut };
}

async function* parts(database, { before, after, tables, sequences }, { schema, version }, counts) {
  const line = (value) => Buffer.from(`${JSON.stringify(value)}\n`);
  yield line({ openflow: KIND, format: FORMAT, schema, postgres: version, made: new Date().toISOString() });
  for (const sql of before) yield line({ sql });
  for (const { name, columns } of tables) {
    yield line({ rows: name, columns });
    for await (const piece of database.copyOut(`COPY ${quoted(schema)}.${quoted(name)} (${columns.map(quoted).join(', ')}) TO STDOUT`)) {
      for (let at = piece.indexOf(NEWLINE); at !== -1; at = piece.indexOf(NEWLINE, at + 1)) counts.rows += 1;
      yield line({ bytes: piece.length });
      yield piece;
    }
    yield line({ bytes: 0 });
  }
  for (const sql of after) yield line({ sql });
  for (const name of sequences) {
    const [{ value, isCalled }] = await database.query(`SELECT last_value AS value, is_called AS "isCalled" FROM ${quoted(schema)}.${quoted(name)}`);
    yield line({ sequence: name, value, isCalled });
  }
  yield line({ end: true, ...counts });
}

/** @returns {string | undefined} the dump in n8n's folder, if there is one */
function findDump(folder) {
  const file = path.join(folder, FILE);
  return isThere(file) ? file : undefined;
}

module.exports = { FORMAT, KIND, dump, findDump };
