'use strict';
// When the manager is told that something was changed, so that it takes its automatic snapshot. n8n's external hooks tell:
// what is published or taken down is told at once; saves, which the editor does by itself all the time, when it has been
// quiet for a while, or when n8n stops.
const { AsyncLocalStorage } = require('node:async_hooks');
const { HOLDER } = require('../common/identity');

const QUIET_MS = 5 * 60_000;
const LATEST_MS = 60 * 60_000; // somebody who never pauses gets a snapshot all the same
const SOON_MS = 1000; // n8n calls these hooks just before it writes
const STOP_MS = 3000; // so long n8n's stop may wait for the manager

const asker = new AsyncLocalStorage();

/** What is changed inside of `work`, also later on, is told as done by `person`. */
const runAs = (person, work) => asker.run({ person }, work);

/** What is changed inside of `work` is not told: the manager does it itself. */
const silently = (work) => asker.run({ isSilent: true }, work);

/**
 * @param {ReturnType<import('../common/deployed').createDeployNotice>} deployed
 * @param {{quietMs?: number, latestMs?: number, soonMs?: number}} times for tests
 * @returns {Record<string, Record<string, Function[]>>} for n8n's EXTERNAL_HOOK_FILES
 */
function deployHooks(deployed, { quietMs = QUIET_MS, latestMs = LATEST_MS, soonMs = SOON_MS } = {}) {
  let waiting = null; // {timer, since, isDeploy, person}: what the manager has not been told of yet

  function tell() {
    clearTimeout(waiting.timer);
    const { person } = waiting;
    waiting = null;
    deployed(person);
  }

  const changed = (isDeploy) => async () => {
    const { person = HOLDER, isSilent } = asker.getStore() ?? {};
    if (isSilent || (waiting?.isDeploy && !isDeploy)) return;
    clearTimeout(waiting?.timer);
    const since = waiting?.since ?? Date.now();
    const ms = isDeploy ? soonMs : Math.max(soonMs, Math.min(quietMs, since + latestMs - Date.now()));
    waiting = { timer: setTimeout(tell, ms).unref(), since, isDeploy, person };
  };

  /** n8n waits for it when it stops. */
  async function stop() {
    if (waiting) tell();
    await deployed.flush(STOP_MS);
  }

  const deploy = [changed(true)];
  const save = [changed(false)];
  return {
    workflow: { activate: deploy, deactivate: deploy, afterArchive: deploy, afterDelete: deploy, afterUnarchive: save, afterCreate: save, afterUpdate: save },
    credentials: { create: save, update: save, delete: save },
    n8n: { stop: [stop] },
  };
}

module.exports = { deployHooks, runAs, silently };
