'use strict';
// Tells the manager that flows were deployed, so that it takes its automatic snapshot. In the background: a deploy never
// waits for it, and one that the manager never hears of costs a snapshot, not the deploy.
const { attribution } = require('./identity');

const PAUSES_MS = [2_000, 10_000, 30_000, 120_000];
const TIMEOUT_MS = 30_000; // the manager may take the snapshot before it answers

/**
 * At most one notice is on its way and one waits; a later deploy takes the waiting one's place, since what the manager
 * looks at is the present state.
 * @param {ReturnType<import('./manager').createManager>} ask
 * @param {{pausesMs?: number[], log?: (line: string) => void}} options pauses before each further try
 * @returns {(person: object) => void} to be called after each successful deploy; never throws
 */
function createDeployNotice(ask, { pausesMs = PAUSES_MS, log = console.warn } = {}) {
  let waiting = null;
  let isBusy = false;

  async function work() {
    isBusy = true;
    while (waiting) {
      const notice = waiting;
      waiting = null;
      await tell(notice);
    }
    isBusy = false;
  }

  async function tell(notice) {
    let reason = '';
    for (const pauseMs of [0, ...pausesMs]) {
      if (pauseMs > 0) await pause(pauseMs);
      if (waiting) return; // a later deploy says the same
      const answer = await ask('POST', '/shim/v1/deployed', { body: notice, timeoutMs: TIMEOUT_MS }).catch((error) => error);
      reason = answer instanceof Error ? answer.message : `it answered ${answer.status}`;
      if (answer.status < 500 && answer.status !== 429) break;
    }
    if (reason !== 'it answered 202') log(`[openflow] the manager was not told of a deploy, there is no automatic snapshot of it: ${reason}`);
  }

  return function deployed(person) {
    waiting = { person: attribution(person) };
    if (!isBusy) work();
  };
}

/** Does not keep the process alive. */
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms).unref(); });

module.exports = { createDeployNotice };
