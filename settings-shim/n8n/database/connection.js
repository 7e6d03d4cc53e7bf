'use strict';
// One connection to an instance's PostgreSQL, by n8n's own client (pg), which has no COPY: that is added here. Everything has
// a limit: reaching the server, waiting for a lock, one statement, and a transaction in which nothing happens.
const { createRequire } = require('node:module');
const path = require('node:path');
const { Readable } = require('node:stream');
const { TryAgain } = require('../failures');

const CONNECT_MS = 15_000;
const END_MS = 5_000;
const STATEMENT_MS = 30 * 60_000; // the rows of one table, or one index
const LOCK_MS = 60_000;
const IDLE_MS = 10 * 60_000;
const MAX_WAITING_BYTES = 256 * 1024;
// What a role, a database or the environment may have set otherwise, and what a dump's texts depend on.
const SETTINGS = {
  statement_timeout: STATEMENT_MS, lock_timeout: LOCK_MS, idle_in_transaction_session_timeout: IDLE_MS, client_min_messages: 'warning',
  datestyle: 'ISO, YMD', intervalstyle: 'postgres', timezone: 'UTC', extra_float_digits: 3, bytea_output: 'hex', xmloption: 'content',
  standard_conforming_strings: 'on', check_function_bodies: 'off', row_security: 'off', default_transaction_read_only: 'off', synchronous_commit: 'on',
};
const READ_ONLY = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY';
const ROW = 'd'.charCodeAt(0);
const HEADER_BYTES = 5; // a message of the server: one for its kind, four for its length
const EMPTY = Buffer.alloc(0);

/** Passes by: the server is away, starts, ends, is full, or somebody else has what is needed. */
const PASSING = /^(08|25P03|28|3D|40|53|55P03|57)/;

const quoted = (name) => `"${String(name).replaceAll('"', '""')}"`;

class Database {
  constructor(client) {
    this.client = client;
    this.isCopying = false;
  }

  /** One statement, however many the text holds: more than one is an error. @returns {Promise<object[]>} the rows */
  async query(text, values = []) {
    try {
      return (await this.client.query({ text, values, queryMode: 'extended' })).rows;
    } catch (error) {
      throw told(error);
    }
  }

  /** Runs `work` in a transaction; with all it did, or nothing of it. */
  async transaction(begin, work) {
    await this.query(begin);
    try {
      const result = await work();
      await this.query('COMMIT');
      return result;
    } catch (error) {
      if (!this.isCopying) await this.query('ROLLBACK').catch(() => {}); // when the connection is gone, the server does it
      throw error;
    }
  }

  /** What `COPY … TO STDOUT` gives, in pieces as they come: a row of any size takes no more memory than a small one. */
  copyOut(text) {
    const { connection } = this.client;
    const socket = connection.stream;
    let listener; // the client's own, which would gather a row before it hands it on
    const rows = new Readable({ highWaterMark: MAX_WAITING_BYTES, read: () => socket.resume() });
    const split = splitter();
    const take = (chunk) => {
      const { copied, others } = split(chunk);
      if (copied.length > 0 && !rows.push(copied)) socket.pause();
      if (others.length > 0) listener.call(socket, others);
    };
    const finish = (end) => {
      this.isCopying = false;
      socket.off('data', take);
      socket.on('data', listener);
      socket.resume();
      end();
    };
    this.isCopying = true;
    this.client.query({
      submit(it) {
        [listener] = socket.listeners('data');
        socket.off('data', listener);
        socket.on('data', take);
        it.query(text);
      },
      handleError: (error) => finish(() => rows.destroy(told(error))),
      handleCommandComplete() {},
      handleReadyForQuery: () => finish(() => rows.push(null)),
    });
    return rows;
  }

  /**
   * Hands the pieces to `COPY … FROM STDIN`.
   * @param {AsyncIterable<Buffer>} pieces of at most some 100 kB each
   * @returns {Promise<number>} how many rows there were
   */
  async copyIn(text, pieces) {
    const { connection } = this.client;
    const socket = connection.stream;
    const [ready, done] = [deferred(), deferred()];
    let failed;
    let tag = '';
    this.client.query({
      submit: (it) => void it.query(text),
      handleCopyInResponse: ready.resolve,
      handleCommandComplete: (message) => { tag = message.text; },
      handleReadyForQuery: done.resolve,
      handleError(error) {
        failed = told(error);
        ready.reject(failed);
        done.reject(failed);
      },
    });
    await ready.promise;
    try {
      for await (const piece of pieces) {
        if (failed) throw failed;
        connection.sendCopyFromChunk(piece);
        if (socket.writableNeedDrain && !socket.destroyed) await drained(socket);
      }
    } catch (error) {
      if (failed) throw failed;
      connection.sendCopyFail('given up');
      await done.promise.catch(() => {});
      throw error;
    }
    connection.endCopyFrom();
    await done.promise;
    return Number(/^COPY (\d+)$/.exec(tag)?.[1]);
  }

  async end() {
    const { stream } = this.client.connection;
    if (this.isCopying) return void stream.destroy(); // what is on its way would have to be read to its end
    const late = setTimeout(() => stream.destroy(), END_MS);
    await this.client.end().catch(() => {});
    clearTimeout(late);
  }
}

/** Takes the rows out of what the server sends during a COPY; the rest is for the client. */
function splitter() {
  let head = EMPTY;
  let left = 0; // of the message under way
  let isRow = false;
  return (chunk) => {
    const copied = [];
    const others = [];
    for (let at = 0; at < chunk.length;) {
      if (left === 0) {
        const part = chunk.subarray(at, at + HEADER_BYTES - head.length);
        head = Buffer.concat([head, part]);
        at += part.length;
        if (head.length < HEADER_BYTES) break;
        isRow = head[0] === ROW;
        left = head.readUInt32BE(1) - 4;
        if (!isRow) others.push(head);
        head = EMPTY;
      } else {
        const part = chunk.subarray(at, at + left);
        at += part.length;
        left -= part.length;
        (isRow ? copied : others).push(part);
      }
    }
    return { copied: Buffer.concat(copied), others: Buffer.concat(others) };
  };
}

function deferred() {
  const it = {};
  it.promise = new Promise((resolve, reject) => { Object.assign(it, { resolve, reject }); });
  it.promise.catch(() => {});
  return it;
}

const drained = (socket) => new Promise((resolve) => {
  const finish = () => {
    for (const event of ['drain', 'close']) socket.off(event, finish);
    resolve();
  };
  for (const event of ['drain', 'close']) socket.on(event, finish);
});

/** An error of the client, as one that says whether it passes by. */
function told(error) {
  if (error.severity && !PASSING.test(error.code)) return error;
  return new TryAgain(`The PostgreSQL server of this instance cannot be used now (${reasonOf(error)}).`);
}

/** Where there are several addresses to try, Node's error has no message of its own. */
const reasonOf = (error) => error.message || error.errors?.map(({ message }) => message).join(', ') || error.code;

/**
 * @param {string} app the folder with n8n's node_modules
 * @param {object} address see address.js
 * @returns {Promise<Database>} to be ended by the caller
 * @throws {TryAgain} when the server cannot be reached, or lets us not in
 */
async function connect(app, address) {
  // The client would take these from the environment, where an instance's own variables are.
  for (const name of ['PGOPTIONS', 'PGBINARY', 'PGREPLICATION', 'PGCLIENTENCODING', 'PGSSLMODE', 'NODE_PG_FORCE_NATIVE']) delete process.env[name];
  const { Client } = createRequire(path.join(app, 'node_modules/n8n/bin/n8n'))('pg');
  const { isEncrypted, ...place } = address;
  const client = new Client({ ...place, ssl: isEncrypted ? { rejectUnauthorized: false } : false, connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true, keepAliveInitialDelayMillis: 10_000, application_name: 'openflow' });
  client.on('error', () => {}); // whoever waits for an answer is told, too
  try {
    await client.connect();
    await client.query(Object.entries(SETTINGS).map(([name, value]) => `SET ${name} TO '${value}'`).join('; '));
  } catch (error) {
    client.connection.stream.destroy();
    throw new TryAgain(`The PostgreSQL server of this instance cannot be reached (${reasonOf(error)}).`);
  }
  return new Database(client);
}

/** Connects, uses the connection, and ends it. */
async function withConnection(app, address, use) {
  const database = await connect(app, address);
  try {
    return await use(database);
  } finally {
    await database.end();
  }
}

module.exports = { READ_ONLY, quoted, withConnection };
