'use strict';
// Whether the SQLite files of a data folder are sound; part of the rehearsal of a restore.
const fs = require('node:fs');
const path = require('node:path');

const MAX_ENTRIES = 500_000;
const MAX_DATABASES = 200;
const MAX_DATABASE_BYTES = 2 * 1024 ** 3;
const MAX_SQLITE_MS = 5 * 60_000;
const SIDES = ['-wal', '-shm', '-journal'];
const SQLITE_HEADER = Buffer.from('SQLite format 3\0');
// Modules come with databases of their own for tests; npm's cache is not part of a backup.
const SKIPPED = new Set(['node_modules', '.npm', '.cache']);
// Primary result codes, https://sqlite.org/rescode.html
const SQLITE_ERROR = 1;
const SQLITE_READONLY = 8;

/** Every SQLite file below `folder`, known by its header. No link is followed. */
function findDatabases(folder) {
  const found = [];
  const folders = [folder];
  let entries = 0;
  let unreadable = 0; // a flow may keep files that Node-RED itself cannot read either
  const attempt = (look) => {
    try {
      return look();
    } catch (error) {
      if (error.code !== 'EACCES') throw error;
      unreadable += 1;
      return undefined;
    }
  };
  while (folders.length > 0) {
    const here = folders.pop();
    const open = attempt(() => fs.opendirSync(here));
    for (let entry = open?.readSync(); entry; entry = open.readSync()) {
      entries += 1;
      if (entries > MAX_ENTRIES || found.length >= MAX_DATABASES) {
        open.closeSync();
        return { found, unreadable, isWhole: false };
      }
      const file = path.join(here, entry.name);
      if (entry.isDirectory() && !SKIPPED.has(entry.name)) folders.push(file);
      else if (entry.isFile() && attempt(() => hasHeader(file))) found.push(file);
    }
    open?.closeSync();
  }
  return { found, unreadable, isWhole: true };
}

function hasHeader(file) {
  const opened = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  try {
    const start = Buffer.alloc(SQLITE_HEADER.length);
    return fs.readSync(opened, start, 0, start.length, 0) === start.length && start.equals(SQLITE_HEADER);
  } finally {
    fs.closeSync(opened);
  }
}

/**
 * Runs `PRAGMA integrity_check` on every SQLite file below `folder`, known by its header.
 * @returns {string} what was looked at, for a person
 * @throws {Error} which files are damaged
 */
function checkDatabases(folder) {
  const { found, unreadable, isWhole } = findDatabases(folder);
  const end = Date.now() + MAX_SQLITE_MS;
  const good = [];
  const bad = [];
  const unchecked = [];
  for (const file of found) {
    const name = path.relative(folder, file);
    if (fs.statSync(file).size > MAX_DATABASE_BYTES || Date.now() > end) {
      unchecked.push(`${name} (too large, or no time left)`);
      continue;
    }
    const { fault, isUnknown } = faultOf(file);
    if (!fault) good.push(name);
    else if (isUnknown) unchecked.push(`${name} (${fault})`);
    else bad.push(`${name}: ${fault}`);
  }
  if (bad.length > 0) throw new Error(`damaged: ${bad.join('; ')}`);
  const parts = [`${good.length} database${good.length === 1 ? '' : 's'} without fault`];
  if (unchecked.length > 0) parts.push(`not checked: ${unchecked.join(', ')}`);
  if (unreadable > 0) parts.push(`${unreadable} files or folders cannot be read`);
  if (!isWhole) parts.push('not every file was looked at, there are too many');
  return parts.join('; ');
}

/** What SQLite says against a file, '' for nothing. `isUnknown`: it needs functions that only its own program has. */
function faultOf(file) {
  // SQLite would open them whatever they are, and wait for a FIFO for ever.
  const odd = SIDES.find((end) => fs.lstatSync(file + end, { throwIfNoEntry: false })?.isFile() === false);
  if (odd) return { fault: `what is beside it as ${path.basename(file + odd)} is not a file` };
  try {
    return { fault: integrityFault(file, true) };
  } catch (error) {
    const code = (error.errcode ?? 0) & 0xff;
    if (code === SQLITE_ERROR) return { fault: error.message, isUnknown: true };
    if (code !== SQLITE_READONLY) return { fault: error.message };
  }
  // A journal was left behind and has to be played back first, as the program that uses the file would do.
  try {
    return { fault: integrityFault(file, false) };
  } catch (error) {
    return { fault: error.message };
  }
}

function integrityFault(file, readOnly) {
  const { DatabaseSync } = require('node:sqlite');
  const database = new DatabaseSync(file, { readOnly });
  try {
    const says = database.prepare('PRAGMA integrity_check(3)').all().map((row) => row.integrity_check);
    return says.length === 1 && says[0] === 'ok' ? '' : says.join(', ');
  } finally {
    database.close();
  }
}

module.exports = { checkDatabases };
