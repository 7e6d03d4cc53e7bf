'use strict';
// Loads a dump (dump.js) into a schema that is not there yet: all of it in one transaction, or nothing. A dump may have been
// made by anybody. What it says is done by the instance's own role in the instance's own database, so the worst that it
// can do is to harm that one; here it is seen to that a dump that is merely wrong changes nothing and is told from a good one.
const fs = require('node:fs');
const { Readable } = require('node:stream');
const { createGunzip } = require('node:zlib');
const { TryAgain } = require('../failures');
const { openFile } = require('../files');
const { quoted } = require('./connection');
const { FORMAT, KIND } = require('./dump');

const MAX_LINE_BYTES = 4 * 1024 ** 2;
const MAX_PIECE_BYTES = 1024 ** 2;
const READ_BYTES = 64 * 1024;
const NEWLINE = 10;
// One statement each, and none that ends the transaction.
const STATEMENT = /^(CREATE (TYPE|(UNLOGGED )?SEQUENCE|FUNCTION|PROCEDURE|(UNLOGGED )?TABLE|(UNIQUE )?INDEX|(CONSTRAINT )?TRIGGER)|ALTER (TABLE|SEQUENCE)) /;
const TRANSACTION = 'SELECT pg_current_xact_id()::text AS id, current_schema() AS schema';

/** What is wrong with the file itself. */
class BadDump extends Error {}

/** Lines and bytes out of the compressed file, a piece at a time. */
class Reader {
  constructor(opened) {
    this.stream = createGunzip();
    this.source = Readable.from(piecesOf(opened), { objectMode: false });
    this.source.on('error', (error) => this.stream.destroy(error));
    this.source.pipe(this.stream);
    this.pieces = this.stream[Symbol.asyncIterator]();
    this.rest = Buffer.alloc(0);
  }

  async more() {
    let next;
    try {
      next = await this.pieces.next();
    } catch (error) {
      if (error.code === 'Z_BUF_ERROR') throw new BadDump('it is cut off');
      throw String(error.code).startsWith('Z_') ? new BadDump('it is damaged') : error;
    }
    return next.done ? undefined : next.value;
  }

  /** @returns {Promise<object | undefined>} undefined at the end of the file */
  async line() {
    const parts = [];
    let size = 0;
    for (;;) {
      const at = this.rest.indexOf(NEWLINE);
      if (at !== -1) {
        parts.push(this.rest.subarray(0, at));
        this.rest = this.rest.subarray(at + 1);
        return parsed(Buffer.concat(parts));
      }
      parts.push(this.rest);
      size += this.rest.length;
      if (size > MAX_LINE_BYTES) throw new BadDump('it is damaged: a line has no end');
      this.rest = await this.more();
      if (this.rest) continue;
      this.rest = Buffer.alloc(0);
      if (size > 0) throw new BadDump('it is cut off');
      return undefined;
    }
  }

  async* bytes(count) {
    for (let left = count; left > 0;) {
      if (this.rest.length === 0) this.rest = await this.more();
      if (!this.rest) throw new BadDump('it is cut off');
      const piece = this.rest.subarray(0, left);
      this.rest = this.rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  close() {
    this.source.destroy();
    this.stream.destroy();
  }
}

/** Each is read when it is wanted, so that nothing is on its way when the file is closed. */
function* piecesOf(opened) {
  for (;;) {
    const piece = Buffer.allocUnsafe(READ_BYTES);
    const size = fs.readSync(opened, piece);
    if (size === 0) return;
    yield piece.subarray(0, size);
  }
}

function parsed(line) {
  let value;
  try {
    value = JSON.parse(line);
  } catch { /* no object */ }
  if (typeof value !== 'object' || value === null) throw new BadDump('it is damaged: a line is not JSON');
  return value;
}

/**
 * @param {import('./connection').Database} database
 * @param {string} file the dump
 * @param {string} schema is made
 * @returns {Promise<{tables: number, rows: number}>}
 * @throws {Error} a sentence that says what is wrong; nothing was changed then
 */
async function load(database, file, schema) {
  const opened = openFile(file);
  if (opened === undefined) throw new Error('there is no dump of the database');
  const reader = new Reader(opened);
  const state = { schema, tables: 0, rows: 0, version: undefined, doing: 'its beginning' };
  try {
    checkHeader(await reader.line(), state);
    return await database.transaction('BEGIN', () => loadAll(database, reader, state));
  } catch (error) {
    if (error instanceof TryAgain || !(error instanceof BadDump || error.severity)) throw error;
    throw new BadDump(`the dump of the database (.n8n/database.dump) cannot be loaded: ${error.severity ? await whyNot(database, error, state) : error.message}`);
  } finally {
    reader.close();
    fs.closeSync(opened);
  }
}

function checkHeader(header, state) {
  if (header?.openflow !== KIND || !Number.isInteger(header.format)) throw new BadDump('it is no dump of an n8n database');
  if (header.format > FORMAT) throw new BadDump(`it was made by a newer Openflow (format ${header.format}, this one knows ${FORMAT})`);
  state.version = header.postgres;
}

async function loadAll(database, reader, state) {
  await database.query(`CREATE SCHEMA ${quoted(state.schema)}`);
  await database.query(`SET LOCAL search_path TO ${quoted(state.schema)}`);
  const [before] = await database.query(TRANSACTION);
  let end;
  for (let line = await reader.line(); line; line = await reader.line()) {
    if (line.end === true) {
      end = line;
      break;
    }
    await loadPart(database, reader, state, line);
  }
  if (!end || await reader.line()) throw new BadDump(end ? 'something follows its end' : 'it is cut off');
  if (end.tables !== state.tables || end.rows !== state.rows) throw new BadDump(`it has ${state.rows} rows in ${state.tables} tables, and should have ${end.rows} in ${end.tables}`);
  const [after] = await database.query(TRANSACTION);
  if (after.id !== before.id || after.schema !== state.schema) throw new BadDump('it changes more than its own tables');
  return { tables: state.tables, rows: state.rows };
}

async function loadPart(database, reader, state, line) {
  if (typeof line.sql === 'string') {
    state.doing = line.sql;
    if (!STATEMENT.test(line.sql)) throw new BadDump('it holds a statement that no dump has');
    await database.query(line.sql);
  } else if (typeof line.rows === 'string' && Array.isArray(line.columns) && line.columns.every((it) => typeof it === 'string')) {
    state.doing = `the rows of ${line.rows}`;
    const table = `${quoted(state.schema)}.${quoted(line.rows)}`;
    state.rows += await database.copyIn(`COPY ${table} (${line.columns.map(quoted).join(', ')}) FROM STDIN`, rowsOf(reader));
    state.tables += 1;
  } else if (typeof line.sequence === 'string' && /^-?\d{1,19}$/.test(line.value) && typeof line.isCalled === 'boolean') {
    state.doing = `the sequence ${line.sequence}`;
    await database.query('SELECT setval($1::regclass, $2::bigint, $3)', [`${quoted(state.schema)}.${quoted(line.sequence)}`, line.value, line.isCalled]);
  } else {
    throw new BadDump('it is damaged: a line is none of those that a dump has');
  }
}

async function* rowsOf(reader) {
  for (;;) {
    const { bytes } = await reader.line() ?? {};
    if (!(Number.isInteger(bytes) && bytes >= 0 && bytes <= MAX_PIECE_BYTES)) throw new BadDump(bytes === undefined ? 'it is cut off' : 'it is damaged');
    if (bytes === 0) return;
    yield* reader.bytes(bytes);
  }
}

/** The server's own words, and at what it said them; values of rows are not among them. */
async function whyNot(database, error, { doing, version }) {
  const [{ own }] = await database.query("SELECT current_setting('server_version_num')::int / 10000 AS own").catch(() => [{}]);
  const older = own < version ? ` The dump is of PostgreSQL ${version}, and this server is ${own}.` : '';
  // eslint-disable-next-line no-control-regex
  const clean = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').slice(0, 200);
  return `${clean(error.message)} (at ${clean(doing)}).${older}`;
}

module.exports = { BadDump, load };
