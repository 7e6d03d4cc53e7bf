#!/usr/bin/env node
'use strict';
// Follows the manager's route feed (docs/wire.md) and writes it down for alone.conf. nginx is reloaded after each change,
// so aliases and restarted containers are found within a second. When the manager is away, the last file stays in force.
//   OPENFLOW_PROXY_SECRET=… follow-routes.js [--manager http://127.0.0.1:4071] [--out /etc/nginx/openflow/routes.conf]
//                                            [--reload 'nginx -s reload'] [--once]
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const { request } = require('node:http');
const { parseArgs } = require('node:util');

const WAIT_SECONDS = 25;
const TIMEOUT_MS = (WAIT_SECONDS + 15) * 1000;
const MAX_TABLE_BYTES = 16 * 1024 * 1024;
const MIN_PAUSE_MS = 200; // changes that come together make one reload, and no answer makes us spin
const RETRY_MS = [500, 1000, 2000, 5000, 10_000];
const RELOAD_TIMEOUT_MS = 30_000;
const FORWARDED_STATES = new Set(['running', 'unhealthy', 'safe_mode']);
const ENGINES = new Set(['node-red', 'n8n']);
// Whatever is not of these forms does not get into a configuration file.
const HOST = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const UPSTREAM = /^([0-9.]{7,15}|\[[0-9a-f:]{2,39}\]|[a-z0-9][a-z0-9.-]{0,200}):[0-9]{1,5}$/;

/**
 * The table as two maps of nginx, in a fixed order so that equal tables make equal files.
 * @param {object} table the route feed's `RouteTable`
 * @returns {string}
 */
function render(table) {
  const routes = new Map();
  const add = (host, route, upstream) => {
    if (HOST.test(host) && (upstream === '' || UPSTREAM.test(upstream))) routes.set(host, [route, upstream]);
    else console.error(`left out, not of the expected form: ${JSON.stringify([host, upstream])}`);
  };
  for (const { hosts, engine, upstream, state, webhookAccess } of table.routes) {
    const open = (webhookAccess ?? 'open') === 'open';
    const there = FORWARDED_STATES.has(state) && ENGINES.has(engine) && upstream;
    for (const host of hosts) add(host, there ? `${open ? '' : 'protected-'}${engine}` : 'stopped', there ? upstream : '');
  }
  if (table.dashboard) add(table.domain, 'dashboard', table.dashboard);
  const lines = (pick) => [...routes].sort(([a], [b]) => (a < b ? -1 : 1)).filter((entry) => pick(entry) !== '').map((entry) => `    ${entry[0]} ${pick(entry)};\n`).join('');
  return `# Written by follow-routes.js; changes are lost.
map_hash_bucket_size 512;
map_hash_max_size 65536;
map $host $openflow_route {
    default unknown;
${lines(([, [route]]) => route)}}
map $host $openflow_upstream {
    default "";
${lines(([, [, upstream]]) => upstream)}}
`;
}

/** One question to the feed: the table, or null when nothing changed. */
function ask(manager, secret, revision) {
  const query = revision ? `after=${encodeURIComponent(revision)}&waitSeconds=${WAIT_SECONDS}` : 'waitSeconds=0';
  return new Promise((resolve, reject) => {
    const options = { headers: { 'x-openflow-proxy-secret': secret }, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) };
    const req = request(`${manager}/internal/v1/routes?${query}`, options, (res) => {
      const chunks = [];
      let size = 0;
      res.on('data', (chunk) => {
        size += chunk.length;
        if (size > MAX_TABLE_BYTES) req.destroy(new Error('the table is too large'));
        else chunks.push(chunk);
      });
      res.on('error', reject);
      res.on('end', () => {
        if (res.statusCode === 204) resolve(null);
        else if (res.statusCode !== 200) reject(new Error(`the manager answered ${res.statusCode}${res.statusCode === 401 ? '; is OPENFLOW_PROXY_SECRET the same on both sides?' : ''}`));
        else resolve(JSON.parse(Buffer.concat(chunks)));
      });
    });
    req.on('error', reject);
    req.end();
  });
}

/** Writes the file whole or not at all; true when that changed something. */
function write(file, text) {
  if (fs.existsSync(file) && fs.readFileSync(file, 'utf8') === text) return false;
  fs.writeFileSync(`${file}.new`, text, { mode: 0o644 });
  fs.renameSync(`${file}.new`, file);
  return true;
}

/** nginx checks the new configuration itself and keeps the old one when it does not like it. */
function reload(command) {
  return new Promise((resolve) => {
    execFile('/bin/sh', ['-c', command], { timeout: RELOAD_TIMEOUT_MS }, (error, stdout, stderr) => {
      if (error) console.error(`nginx was not reloaded: ${stderr.trim() || error.message}`);
      resolve(!error);
    });
  });
}

async function main() {
  const { values } = parseArgs({
    options: {
      manager: { type: 'string', default: 'http://127.0.0.1:4071' },
      out: { type: 'string', default: '/etc/nginx/openflow/routes.conf' },
      reload: { type: 'string', default: 'nginx -s reload' },
      once: { type: 'boolean', default: false },
    },
  });
  const secret = process.env.OPENFLOW_PROXY_SECRET;
  if (!secret) throw new Error('OPENFLOW_PROXY_SECRET is not set; give it the value that the manager has');
  let revision = '';
  let reloadDue = false;
  for (let failures = 0; ;) {
    try {
      const table = await ask(values.manager, secret, revision);
      if (table) {
        if (write(values.out, render(table))) {
          reloadDue = !values.once;
          console.log(`${table.routes.length} routes, revision ${table.revision}`);
        }
        revision = String(table.revision ?? '');
      }
      if (reloadDue) reloadDue = !(await reload(values.reload));
      if (values.once) return;
      failures = 0;
      await pause(MIN_PAUSE_MS);
    } catch (error) {
      if (values.once) throw error;
      console.error(`the routes stay as they are: ${error.message}`);
      await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
      failures += 1;
    }
  }
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

if (require.main === module) {
  main().catch((error) => {
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  });
}

module.exports = { render };
