'use strict';
// The routes behind the editor's button "Snapshot". The browser asks the instance, whose cookie it has; the shim asks the
// manager and says who it is that asks. The person comes from the gate, never from what the browser wrote.
//
// Invariant: no answer has the status 404, 502 or 504. The servers in front of us take 404 for "not a page of the editor,
// try the flows", and nginx puts its own page in place of the others.
const { STATUS_CODES } = require('node:http');
const { answerJson, answerProblem } = require('./answers');
const { attribution } = require('./identity');

const LISTED = 10;
const MAX_BODY_BYTES = 16 * 1024;
const BODY_TIMEOUT_MS = 10_000;
const TIMEOUT_MS = 60_000; // the manager reads the instance's files and asks the engine before it answers
const MAX_PENDING = 8;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

// By path, then by method: what the manager is asked, made of the id in the path, the person and the body.
const ROUTES = [
  [/^\/openflow\/snapshots$/, {
    GET: () => ['GET', `/shim/v1/snapshots?limit=${LISTED}`],
    POST: (id, person, { name }) => ['POST', '/shim/v1/snapshots', { name, person }],
  }],
  [/^\/openflow\/snapshots\/([^/]+)\/restore$/, {
    POST: (id, person) => ['POST', `/shim/v1/snapshots/${id}/restore`, { person }],
  }],
  [/^\/openflow\/restores\/([^/]+)$/, {
    GET: (id) => ['GET', `/shim/v1/restores/${id}`],
  }],
];
const STATUS_INSTEAD = { 401: 503, 404: 410, 502: 503, 504: 503 };

/**
 * @param {ReturnType<import('./manager').createManager>} ask
 * @returns {{isOurs: (path: string) => boolean, handle: (req: object, res: object, path: string, person: object) =>
 *   Promise<void>}} `path` in lower case
 */
function createSnapshots(ask) {
  let pending = 0;

  async function handle(req, res, path, person) {
    const [pattern, methods] = ROUTES.find(([it]) => it.test(path));
    const [, id] = pattern.exec(path);
    const question = Object.hasOwn(methods, req.method) ? methods[req.method] : undefined;
    if (!question) {
      return answerProblem(req, res, 405, `This address knows ${Object.keys(methods).join(' and ')}.`, { allow: Object.keys(methods).join(', ') });
    }
    if (id !== undefined && !UUID.test(id)) return answerProblem(req, res, 400, 'There is no id of this form.');
    const asker = attribution(person);
    let body = {};
    if (req.method !== 'GET') {
      if (person.role === 'viewer') return answerProblem(req, res, 403, 'Your role in this project is viewer: you may look, not change.');
      if (!asker) return answerProblem(req, res, 403, 'Snapshots are taken by somebody: sign in with an account, or use the API of Openflow.');
      body = await readJson(req);
      if (!body) return answerProblem(req, res, 400, 'The body must be a small JSON object; a name is a text.');
    }
    if (pending >= MAX_PENDING) return unavailable(req, res, 'Too much is asked at once. Try again in a moment.');
    pending += 1;
    try {
      await forward(req, res, question(id, asker, body));
    } finally {
      pending -= 1;
    }
  }

  async function forward(req, res, [method, path, body]) {
    const answer = await ask(method, path, { body, timeoutMs: TIMEOUT_MS }).catch(() => null);
    const value = answer && parseObject(answer.body);
    if (res.destroyed) return;
    if (answer?.status === 401) {
      return unavailable(req, res, 'Openflow does not accept this instance any more. Restart it from the dashboard.');
    }
    if (!value) return unavailable(req, res, 'Openflow could not be asked just now. Try again in a moment.');
    if (answer.status < 300) return answerJson(req, res, answer.status, value);
    const status = STATUS_INSTEAD[answer.status] ?? answer.status;
    const title = status === answer.status ? value.title : STATUS_CODES[status];
    const headers = answer.retryAfter ? { 'retry-after': answer.retryAfter } : {};
    answerJson(req, res, status, { ...value, title, status }, { 'content-type': 'application/problem+json', ...headers });
  }

  return { isOurs: (path) => ROUTES.some(([pattern]) => pattern.test(path)), handle };
}

const unavailable = (req, res, detail) => answerProblem(req, res, 503, detail, { 'retry-after': '5' });

/** The body as an object with a text or nothing as `name`, null for anything else. An empty body is an empty object. */
async function readJson(req) {
  const text = await readText(req).catch(() => null);
  const value = text === '' ? {} : text !== null && parseObject(text);
  return value && ['undefined', 'string'].includes(typeof value.name) ? value : null;
}

// By events: leaving a `for await` in the middle would end the connection, and with it the answer.
function readText(req) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    const late = setTimeout(() => req.destroy(), BODY_TIMEOUT_MS);
    req.on('data', (chunk) => {
      size += chunk.length;
      if (size <= MAX_BODY_BYTES) return void chunks.push(chunk);
      req.pause();
      return reject(new Error('too much'));
    });
    req.on('end', () => resolve(Buffer.concat(chunks).toString()));
    req.on('error', reject);
    req.on('close', () => { clearTimeout(late); reject(new Error('the connection ended')); });
  });
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

module.exports = { createSnapshots };
