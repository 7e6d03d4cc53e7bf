'use strict';
// What the rehearsals of all engines share: checks one after the other, the engine's start, and the line that tells the
// outcome (docs/wire.md). No detail holds a secret.
const { spawn } = require('node:child_process');
const http = require('node:http');

const MAX_DETAIL = 1000;
const MAX_TAIL = 8 * 1024;
const START_MS = 90_000;
const STOP_MS = 10_000;
const POLL_MS = 200;
const FLUSH_MS = 1000;
const NOT_REHEARSED = 75; // EX_TEMPFAIL of sysexits.h

/** Something else than the backup is at fault, and may pass: there is no outcome. The message is a sentence for a person. */
class NotRehearsed extends Error {}

/**
 * Runs the checks one after the other (the start comes last, because it may change the files, and memory is short), prints
 * the outcome as the last line on stdout and sets the exit status. Where a check throws NotRehearsed, there is no outcome but a last
 * line on stderr, and the exit status is 75.
 * @param {[name: string, examine: () => string | Promise<string>][]} checks each gives a detail for a person, or throws
 */
async function rehearse(checks) {
  const results = [];
  try {
    for (const [name, examine] of checks) results.push(await check(name, examine));
  } catch (error) {
    process.exitCode = NOT_REHEARSED;
    process.stderr.write(`openflow: ${shown(error.message).replace(/\s+/g, ' ')}\n`);
    return;
  }
  const ok = results.every((it) => it.ok);
  process.exitCode = ok ? 0 : 1;
  console.log(JSON.stringify({ ok, checks: results }));
}

async function check(name, examine) {
  let ok = true;
  let detail = '';
  try {
    detail = await examine();
  } catch (error) {
    if (error instanceof NotRehearsed) throw error;
    ok = false;
    detail = error.message;
  }
  return { name, ok, detail: shown(detail) };
}

/** Names in it are what a tenant wrote. */
function shown(detail) {
  const text = detail.replace(/(?!\n)[\p{Cc}\p{Cf}]+/gu, ' ');
  return text.length > MAX_DETAIL ? `${text.slice(0, MAX_DETAIL - 1)}…` : text;
}

/**
 * Starts an engine, waits until it is healthy, and stops it. What it prints goes to stderr.
 * @param {string} name of the engine
 * @param {{args: string[], env: object, port: string | number}} options `args` of this Node.js; `port` has /openflow/health
 * @returns {Promise<string>} rejects when it does not get healthy, with what it printed last
 */
async function checkStart(name, { args, env, port }) {
  const begun = Date.now();
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
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
  const closed = {};
  closed.promise = new Promise((resolve) => { closed.resolve = resolve; });
  child.once('close', closed.resolve);
  const exited = new Promise((resolve) => {
    child.once('error', (error) => { ended = error.message; resolve(); });
    child.once('exit', (code, signal) => { ended = `it ended with ${signal ?? code}`; resolve(); });
  });
  try {
    while (!(await isHealthy(port))) {
      await pause(POLL_MS); // also for what it printed at its end to come in
      if (ended) throw new Error(`${name} did not start: ${ended}. ${lastWords()}`);
      if (Date.now() - begun > START_MS) throw new Error(`${name} did not answer within ${START_MS / 1000} s. ${lastWords()}`);
    }
    if (ended) throw new Error(`something else answers on port ${port}: ${ended}. ${lastWords()}`);
    return `answered after ${Date.now() - begun} ms`;
  } finally {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(late);
    const enough = setTimeout(closed.resolve, FLUSH_MS);
    await closed.promise; // what it printed at last comes before what is printed here
    clearTimeout(enough);
    for (const stream of [child.stdout, child.stderr]) stream.destroy();
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

/** "1 node", "2 nodes" */
const count = (number, noun) => `${number} ${noun}${number === 1 ? '' : 's'}`;

module.exports = { NotRehearsed, rehearse, checkStart, count };
