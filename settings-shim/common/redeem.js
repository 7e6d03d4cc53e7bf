'use strict';
// Redeems a one-time access token at the manager. Only used behind nginx alone; openflow-proxy does it itself.
const { person } = require('./identity');

const MAX_PENDING = 16; // a flood of made-up tokens must not become a flood on the manager
const TOKEN = /^[A-Za-z0-9._~-]{1,512}$/;

/**
 * @param {ReturnType<import('./manager').createManager>} ask
 * @returns {(token: string) => Promise<{person: object | null, retry: boolean}>} never rejects. `retry` tells that the
 *   manager could not be asked, so that the token may still be good
 */
function createRedeemer(ask) {
  let pending = 0;
  return async function redeem(token) {
    if (!TOKEN.test(token)) return { person: null, retry: false };
    if (pending >= MAX_PENDING) return { person: null, retry: true };
    pending += 1;
    try {
      const { status, body } = await ask('POST', '/shim/v1/redeem', { body: { token } });
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

module.exports = { createRedeemer };
