'use strict';
// What the manager asks of a running n8n: its content, its modules, what keeps it awake (docs/wire.md). The gate calls it for requests with the
// magic token as bearer and for nobody else.
const { setTimeout: wait } = require('node:timers/promises');
const { answerJson, answerProblem } = require('../common/answers');
const { whatKeepsAwake } = require('./awake');
const { checkContent, Refused } = require('./content/check');
const { readContent } = require('./content/read');
const { publishAll } = require('./content/publish');
const { hasChangedSince, writeContent } = require('./content/write');
const { silently } = require('./deploys');
const { service, dataSource } = require('./engine');
const { installModule } = require('./modules');
const writers = require('./writers');

const MAX_CONTENT_BYTES = 40 * 1024 ** 2;
const MAX_SMALL_BYTES = 16 * 1024;
const BODY_TIMEOUT_MS = 60_000;
const WRITERS_MS = 5000; // so long a write waits for others that n8n has begun
const AGAIN_MS = 20_000; // for what differs after all there is little to publish
// By path, then by method: what answers, and how large a body it takes.
const ROUTES = {
  '/openflow/content': { GET: [getContent], PUT: [putContent, MAX_CONTENT_BYTES] },
  '/openflow/awake': { GET: [whatKeepsAwake] },
  '/openflow/modules': { POST: [postModule, MAX_SMALL_BYTES] },
};

const TOO_LARGE = `The workflows and credentials take more than ${MAX_CONTENT_BYTES} bytes.`;
const SIZE = `SELECT
  (SELECT COALESCE(SUM(LENGTH(CAST("nodes" AS TEXT)) + LENGTH(CAST("connections" AS TEXT)) + COALESCE(LENGTH(CAST("pinData" AS TEXT)), 0)), 0) FROM "workflow_entity")
  + (SELECT COALESCE(SUM(LENGTH("data")), 0) FROM "credentials_entity") AS "size"`;

let isWriting = false;

const isOurs = (path) => Object.hasOwn(ROUTES, path);

/** Answers a request whose path `isOurs` (in lower case); never rejects. No answer holds a secret in the clear. */
async function handle(req, res, path) {
  const methods = ROUTES[path];
  const [answer, maxBytes] = Object.hasOwn(methods, req.method) ? methods[req.method] : [];
  if (!answer) return answerProblem(req, res, 405, `This address knows ${Object.keys(methods).join(' and ')}.`, { allow: Object.keys(methods).join(', ') });
  try {
    const body = maxBytes ? await readJson(req, maxBytes) : undefined;
    answerJson(req, res, 200, await answer(body));
  } catch (error) {
    if (res.destroyed || res.headersSent) return undefined;
    if (error instanceof Refused) return answerProblem(req, res, error.status, error.message);
    console.error(`[openflow] ${req.method} ${path} failed: ${error.stack}`);
    return answerProblem(req, res, 500, `n8n could not do it: ${error.message}`);
  }
  return undefined;
}

/** Through n8n's own connection: a second SQLite in this process would drop the locks of the first when it closes the file. */
async function getContent() {
  const content = await dataSource().manager.transaction(async (trx) => {
    // First: as objects it takes many times that, and the whole instance would end for want of memory.
    const [{ size }] = await trx.query(SIZE);
    if (Number(size) > MAX_CONTENT_BYTES) throw new Refused(413, TOO_LARGE);
    return readContent((sql) => trx.query(sql));
  });
  if (Buffer.byteLength(JSON.stringify(content)) > MAX_CONTENT_BYTES) {
    throw new Refused(413, TOO_LARGE);
  }
  return content;
}

async function putContent(sent) {
  const content = checkContent(sent);
  return exclusively(() => silently(async () => {
    const isQuiet = await writers.ended(WRITERS_MS);
    const { state, ...done } = await put(content);
    if (isQuiet && !(await hasChangedSince(state))) return done;
    // Somebody wrote over it all the same. n8n renews tokens by itself, so that credentials are written again only with a reason.
    await writers.ended(WRITERS_MS);
    const again = await put({ ...content, credentials: isQuiet ? [] : content.credentials }, AGAIN_MS);
    const most = (field) => Math.max(done.workflows[field], again.workflows[field]);
    return { workflows: { written: most('written'), archived: most('archived') }, credentials: Math.max(done.credentials, again.credentials), inactive: again.inactive };
  }));
}

async function put(content, publishMs) {
  const { owner, toPublish, written, archived, credentials, state } = await writeContent(content);
  if (content.variables.length > 0) await service('./environments.ee/variables/variables.service.ee', 'VariablesService').updateCache();
  const inactive = await publishAll(owner, toPublish, publishMs);
  return { workflows: { written, archived }, credentials, inactive, state };
}

function postModule(sent) {
  return exclusively(() => installModule(sent));
}

async function exclusively(work) {
  if (isWriting) throw new Refused(409, 'Another change of this kind is under way. Try again when it is done.');
  isWriting = true;
  writers.hold(true);
  try {
    return await work();
  } finally {
    isWriting = false;
    writers.hold(false);
  }
}

/** The body as JSON. n8n's own parser does not run here: we answer before n8n sees the request. */
async function readJson(req, maxBytes) {
  const late = new AbortController();
  const body = collect(req, maxBytes);
  body.catch(() => {});
  try {
    const timeout = wait(BODY_TIMEOUT_MS, undefined, { signal: late.signal, ref: false }).then(() => { throw new Refused(408, 'The body did not come in time.'); });
    timeout.catch(() => {});
    return JSON.parse(await Promise.race([body, timeout]));
  } catch (error) {
    throw error instanceof SyntaxError ? new Refused(400, 'The body must be JSON.') : error;
  } finally {
    late.abort();
  }
}

function collect(req, maxBytes) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    req.on('data', (chunk) => {
      size += chunk.length;
      if (size <= maxBytes) return void chunks.push(chunk);
      req.pause();
      return reject(new Refused(413, `The body may have at most ${maxBytes} bytes.`));
    });
    req.on('end', () => resolve(Buffer.concat(chunks).toString()));
    req.on('error', reject);
    req.on('close', () => reject(new Error('the connection ended')));
  });
}

module.exports = { handle, isOurs };
