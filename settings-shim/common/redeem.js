'use strict';
// Redeems a one-time access token at the manager. Only used behind nginx alone; openflow-proxy does it itself.
const { person } = require('./identity');

const TIMEOUT_MS = 5000;
const MAX_ANSWER_BYTES = 16 * 1024;
const MAX_PENDING = 16; // a flood of made-up tokens must not become a flood on the manager
const TOKEN = /^[A-Za-z0-9._~-]{1,512}$/;

/**
 * @param {string} managerUrl base address of the manager; '' means there is none
 * @param {string} magic the instance's magic token
 * @returns {(token: string) => Promise<{person: object | null, retry: boolean}>} never rejects. `retry` tells that the
 *   manager could not be asked, so that the token may still be good
 */
function createRedeemer(managerUrl, magic) {
  let pending = 0;
  return async function redeem(token) {
    if (!managerUrl || !TOKEN.test(token)) return { person: null, retry: false };
    if (pending >= MAX_PENDING) return { person: null, retry: true };
    pending += 1;
    try {
      const { status, body } = await post(`${managerUrl}/shim/v1/redeem`, magic, JSON.stringify({ token }));
      if (status !== 200) return { person: null, retry: status >= 500 || status === 429 };
      const { userId, name, role } = JSON.parse(body);
      return { person: person(userId, name, role), retry: false };
    } catch {
      return { person: null, retry: true };
    } finally {
      pending -= 1;
    }
  };
}

// node:http rather than fetch: the latter costs 5 MB of memory in each instance on its first use.
function post(url, magic, body) {
  const { request } = url.startsWith('https:') ? require('node:https') : require('node:http');
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${magic}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const req = request(url, { method: 'POST', headers, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) }, (res) => {
      const chunks = [];
      let size = 0;
      res.on('data', (chunk) => {
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) req.destroy(new Error('the manager answered too much'));
        else chunks.push(chunk);
      });
      res.on('end', () => resolve({ status: res.statusCode, body: Buffer.concat(chunks).toString() }));
      res.on('error', reject);
    });
    req.on('error', reject);
    req.end(body);
  });
}

module.exports = { createRedeemer };
