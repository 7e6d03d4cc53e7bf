'use strict';
// Rehearses a restore: whether Node-RED would live with the data folder as it is. Meant for a throwaway container without
// network, made like the instance's own, on a copy of the data:
//   node /opt/openflow/node-red/rehearse.js
// The last line on stdout is {"ok":bool,"checks":[{"name":"sqlite"|"credentials"|"flows"|"start","ok":bool,"detail":text}]};
// the exit status is 0 when all is well, 1 when not. What Node-RED prints goes to stderr. No detail holds a secret.
// --data, --red and --port are for tests.
const { spawn } = require('node:child_process');
const { createDecipheriv, createHash } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { parseArgs } = require('node:util');

const MAX_ENTRIES = 500_000;
const MAX_DATABASES = 200;
const MAX_DATABASE_BYTES = 2 * 1024 ** 3;
const MAX_SQLITE_MS = 5 * 60_000;
const MAX_JSON_BYTES = 64 * 1024 ** 2;
const MAX_DETAIL = 1000;
const MAX_TAIL = 8 * 1024;
const START_MS = 90_000;
const STOP_MS = 10_000;
const POLL_MS = 200;
const SQLITE_HEADER = Buffer.from('SQLite format 3\0');
// Modules come with databases of their own for tests; npm's cache is not part of a backup.
const SKIPPED = new Set(['node_modules', '.npm']);
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

/** A JSON file of the data folder; undefined when it is absent. */
function readJson(folder, name) {
  let text;
  try {
    const file = path.join(folder, name);
    if (fs.statSync(file).size > MAX_JSON_BYTES) throw new Error(`${name} is larger than ${MAX_JSON_BYTES} bytes`);
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
  return parse(text, `${name} is not JSON`);
}

/** JSON.parse's own message quotes the text, which may be secret. */
function parse(text, message) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(message);
  }
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** {"$": IV in hex, 32 characters, then AES-256-CTR in base64}: key SHA-256 of the secret, inside {nodeId: {field: value}}. */
function checkCredentials(folder, secret) {
  const file = readJson(folder, 'flows_cred.json');
  if (file === undefined) return 'there are none';
  if (!isObject(file)) throw new Error('flows_cred.json is not an object');
  let credentials = file;
  if (typeof file.$ === 'string') {
    const wrong = 'flows_cred.json cannot be decrypted: it is damaged, or of another OPENFLOW_CREDENTIAL_SECRET';
    if (!/^[0-9a-f]{32}[A-Za-z0-9+/]*=*$/.test(file.$)) throw new Error(wrong);
    const key = createHash('sha256').update(secret).digest();
    const decipher = createDecipheriv('aes-256-ctr', key, Buffer.from(file.$.slice(0, 32), 'hex'));
    credentials = parse(decipher.update(file.$.slice(32), 'base64', 'utf8') + decipher.final('utf8'), wrong);
    if (!isObject(credentials)) throw new Error(wrong);
  }
  const count = Object.keys(credentials).length;
  return `credentials of ${count} node${count === 1 ? '' : 's'}`;
}

function checkFlows(folder) {
  const flows = readJson(folder, 'flows.json');
  if (flows === undefined) return 'there are none';
  const isSound = Array.isArray(flows) && flows.every((node) => typeof node?.id === 'string' && typeof node.type === 'string');
  if (!isSound) throw new Error('flows.json is not a list of nodes with id and type');
  const tabs = flows.filter(({ type }) => type === 'tab').length;
  return `${flows.length - tabs} node${flows.length - tabs === 1 ? '' : 's'} on ${tabs} tab${tabs === 1 ? '' : 's'}`;
}

/** Starts Node-RED in safe mode, as the image starts it, until it answers. */
async function checkStart({ red, data, port }) {
  const begun = Date.now();
  const args = [red, '--settings', path.join(__dirname, 'settings.js'), '--userDir', data, ...(port === '1880' ? [] : ['--port', port])];
  const child = spawn(process.execPath, args, { env: { ...process.env, OPENFLOW_SAFE_MODE: 'true' }, stdio: ['ignore', 'pipe', 'pipe'] });
  let tail = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      process.stderr.write(chunk);
      tail = (tail + chunk).slice(-MAX_TAIL);
    });
  }
  /** The last lines that it printed, without the frames of a stack. */
  const lastWords = () => tail.replace(/^ +at .*\n/gm, '').trim().slice(-MAX_DETAIL / 2);
  let ended = '';
  const exited = new Promise((resolve) => {
    child.once('error', (error) => { ended = error.message; resolve(); });
    child.once('exit', (code, signal) => { ended = `it ended with ${signal ?? code}`; resolve(); });
  });
  try {
    while (!(await isHealthy(port))) {
      await pause(POLL_MS); // also for what it printed at its end to come in
      if (ended) throw new Error(`Node-RED did not start: ${ended}. ${lastWords()}`);
      if (Date.now() - begun > START_MS) throw new Error(`Node-RED did not answer within ${START_MS / 1000} s. ${lastWords()}`);
    }
    if (ended) throw new Error(`something else answers on port ${port}: ${ended}. ${lastWords()}`);
    return `answered after ${Date.now() - begun} ms`;
  } finally {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(late);
  }
}

function isHealthy(port) {
  return new Promise((resolve) => {
    const req = http.get({ host: '127.0.0.1', port, path: '/openflow/health', agent: false, timeout: 5000 }, (res) => {
      res.resume();
      res.on('close', () => resolve(res.statusCode === 200));
    });
    req.on('timeout', () => req.destroy());
    req.on('error', () => resolve(false));
  });
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

async function check(name, examine) {
  let ok = true;
  let detail = '';
  try {
    detail = await examine();
  } catch (error) {
    ok = false;
    detail = error.message;
  }
  return { name, ok, detail: detail.length > MAX_DETAIL ? `${detail.slice(0, MAX_DETAIL - 1)}…` : detail };
}

async function main() {
  const { values } = parseArgs({ options: {
    data: { type: 'string', default: '/data' },
    red: { type: 'string', default: '/opt/node-red/node_modules/node-red/red.js' },
    port: { type: 'string', default: '1880' },
  } });
  // One after the other: the start comes last, because it may change the files, and memory is short.
  const checks = [
    await check('sqlite', () => checkDatabases(values.data)),
    await check('credentials', () => checkCredentials(values.data, process.env.OPENFLOW_CREDENTIAL_SECRET ?? '')),
    await check('flows', () => checkFlows(values.data)),
    await check('start', () => checkStart(values)),
  ];
  const ok = checks.every((it) => it.ok);
  process.exitCode = ok ? 0 : 1;
  console.log(JSON.stringify({ ok, checks }));
}

main();
