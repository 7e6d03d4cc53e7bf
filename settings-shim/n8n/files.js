'use strict';
// Files in a data folder and in the folder of secrets. A flow may have put anything in the place of a file: a link that
// leads out, a FIFO that nobody writes to, a device. Nothing of that is opened or waited for; it is named.
const fs = require('node:fs');
const path = require('node:path');
const { CannotStart } = require('./failures');

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;
const KINDS = [['isDirectory', 'a folder'], ['isSymbolicLink', 'a link'], ['isFIFO', 'a FIFO'], ['isSocket', 'a socket'],
  ['isCharacterDevice', 'a device'], ['isBlockDevice', 'a device']];

/** As people know it: `.n8n/config`, and other files by their whole path. */
const shown = (file) => file.replace(/^.*\/(?=\.n8n(\/|$))/, '');

function refuse(file, stats) {
  const [, kind] = KINDS.find(([is]) => stats[is]()) ?? [null, 'something else'];
  throw new CannotStart(`${shown(file)} is not a file but ${kind}. Nothing was changed. Remove it, or restore a backup of this instance.`);
}

function look(file) {
  return fs.lstatSync(file, { throwIfNoEntry: false });
}

/**
 * @param {string} file
 * @returns {boolean} whether there is such a file
 * @throws {CannotStart} when something stands in its place
 */
function isThere(file) {
  const stats = look(file);
  if (stats && !stats.isFile()) refuse(file, stats);
  return stats !== undefined;
}

/** The same for a folder. */
function isFolder(folder) {
  const stats = look(folder);
  if (stats && !stats.isDirectory()) throw new CannotStart(`${shown(folder)} is not a folder. Nothing was changed. Remove it, or restore a backup of this instance.`);
  return stats !== undefined;
}

/**
 * Opens a file for reading.
 * @returns {number | undefined} its descriptor, to be closed by the caller; undefined when there is none
 * @throws {CannotStart} when something stands in its place
 */
function openFile(file) {
  if (!isThere(file)) return undefined;
  const opened = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK); // it may have been exchanged meanwhile
  const stats = fs.fstatSync(opened);
  if (stats.isFile()) return opened;
  fs.closeSync(opened);
  return refuse(file, stats);
}

/**
 * @returns {string | undefined} undefined when there is no such file
 * @throws {CannotStart} when something stands in its place, or it is larger than `maxBytes`
 */
function readText(file, maxBytes) {
  const opened = openFile(file);
  if (opened === undefined) return undefined;
  try {
    if (fs.fstatSync(opened).size > maxBytes) throw new CannotStart(`The file ${shown(file)} is far larger than it should be. Restore a backup of this instance.`);
    return fs.readFileSync(opened, 'utf8');
  } finally {
    fs.closeSync(opened);
  }
}

/** A new file that only its owner can read, never through a link that was left there. */
function createFile(file) {
  fs.rmSync(file, { force: true });
  return fs.openSync(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
}

/** Whether the name still leads to the file that was opened by it. */
function isSame(opened, file) {
  const [own, there] = [fs.fstatSync(opened), look(file)];
  return there !== undefined && own.dev === there.dev && own.ino === there.ino;
}

/**
 * Writes beside a file what takes its place when `put` is called.
 * @returns {{put: () => void, forget: () => void}} `forget` removes what was not put
 */
function prepareFile(file, text) {
  isThere(file);
  const part = `${file}.part`;
  const opened = createFile(part);
  try {
    fs.writeSync(opened, text);
    fs.fsyncSync(opened);
  } finally {
    fs.closeSync(opened);
  }
  return { put: () => fs.renameSync(part, file), forget: () => fs.rmSync(part, { force: true }) };
}

/** The files of an SQLite database that are there, the database itself first. */
const sqliteFiles = (file) => ['', '-wal', '-shm', '-journal'].map((end) => file + end).filter(isThere);

const nameOf = (file) => path.basename(file);

module.exports = { createFile, isFolder, isSame, isThere, nameOf, openFile, prepareFile, readText, sqliteFiles };
