'use strict';
// How the shim asks the manager: JSON, with the magic token. Everything that it asks goes through here.

const TIMEOUT_MS = 5000;
const MAX_ANSWER_BYTES = 256 * 1024;

/**
 * @param {string} managerUrl base address of the manager; '' means there is none
 * @param {string} magic the instance's magic token
 * @returns {(method: string, path: string, options?: {body?: object, timeoutMs?: number}) =>
 *   Promise<{status: number, retryAfter: string | undefined, body: string}>} rejects when there is no answer in time, or
 *   too much of it. It does not bound how many ask at once: each caller knows its own limit
 */
function createManager(managerUrl, magic) {
  return async function ask(method, path, { body, timeoutMs = TIMEOUT_MS } = {}) {
    if (!managerUrl) throw new Error('no manager is configured');
    return exchange(`${managerUrl}${path}`, method, magic, body === undefined ? '' : JSON.stringify(body), timeoutMs);
  };
}

// node:http rather than fetch: the latter costs 5 MB of memory in each instance on its first use.
function exchange(url, method, magic, body, timeoutMs) {
  const { request } = url.startsWith('https:') ? require('node:https') : require('node:http');
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${magic}` };
    if (body) Object.assign(headers, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    const req = request(url, { method, headers, agent: false, signal: AbortSignal.timeout(timeoutMs) }, (res) => {
      const chunks = [];
      let size = 0;
      res.on('data', (chunk) => {
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) req.destroy(new Error('the manager answered too much'));
        else chunks.push(chunk);
      });
      res.on('end', () => resolve({ status: res.statusCode, retryAfter: res.headers['retry-after'], body: Buffer.concat(chunks).toString() }));
      res.on('error', reject);
    });
    req.on('error', reject);
    req.end(body);
  });
}

module.exports = { createManager };
