'use strict';
// Tells the manager that flows were deployed, so that it takes its automatic snapshot. In the background: a deploy never
// waits for it, and one that the manager never hears of costs a snapshot, not the deploy.
const { setTimeout: wait } = require('node:timers/promises');
const { attribution } = require('./identity');

const PAUSES_MS = [2_000, 10_000, 30_000, 120_000];
const TIMEOUT_MS = 30_000; // the manager may take the snapshot before it answers

/**
 * At most one notice is on its way and one waits; a later deploy takes the waiting one's place, since what the manager
 * looks at is the present state.
 * @param {ReturnType<import('./manager').createManager>} ask
 * @param {{pausesMs?: number[], log?: (line: string) => void}} options pauses before each further try
 * @returns {((person: object) => void) & {flush: (ms: number) => Promise<void>}} to be called after each successful deploy; never
 *   throws. `flush` is for the end of the process: what was not told yet is tried at once, and for the last time; resolves when
 *   that is over, after `ms` at the latest
 */
function createDeployNotice(ask, { pausesMs = PAUSES_MS, log = console.warn } = {}) {
  let waiting = null;
  let working = null;
  const ending = new AbortController();

  async function work() {
    while (waiting) {
      const notice = waiting;
      waiting = null;
      await tell(notice);
    }
    working = null;
  }

  async function tell(notice) {
    let reason = '';
    for (const pauseMs of [0, ...pausesMs]) {
      if (pauseMs > 0) await pause(pauseMs, ending.signal);
      if (waiting) return; // a later deploy says the same
      const answer = await ask('POST', '/shim/v1/deployed', { body: notice, timeoutMs: TIMEOUT_MS }).catch((error) => error);
      reason = answer instanceof Error ? answer.message : `it answered ${answer.status}`;
      if ((answer.status < 500 && answer.status !== 429) || ending.signal.aborted) break;
    }
    if (reason !== 'it answered 202') log(`[openflow] the manager was not told of a deploy, there is no automatic snapshot of it: ${reason}`);
  }

  function deployed(person) {
    waiting = { person: attribution(person) };
    working ??= work();
  }

  async function flush(ms) {
    ending.abort();
    await Promise.race([working, pause(ms)]);
  }

  return Object.assign(deployed, { flush });
}

/** Does not keep the process alive; a signal ends it. */
const pause = (ms, signal) => wait(ms, undefined, { ref: false, signal }).catch(() => {});

module.exports = { createDeployNotice };
