'use strict';
// Runs inside n8n: it loads this file (EXTERNAL_HOOK_FILES) and calls `n8n.ready` when all its routes are there.
const { setTimeout: wait } = require('node:timers/promises');
const { isGuarded } = require('../common/gate');
const { deployHooks } = require('./deploys');
const { findOwner, service } = require('./engine');
const { removeSecrets } = require('./environment');
const { CannotStart, HOOK_FAILED, isFromOutside } = require('./failures');
const state = require('./state');

const SESSION_MS = 5_000; // what changes the owner's session (its e-mail, its password) is made up for that soon
const ACTIVATION_MS = 30_000; // a trigger that hangs must not keep the others' instance from being "running"

async function ready(server) {
  if (!isGuarded(server.server)) throw new Error("n8n's HTTP server is not behind the gate");
  state.session = await keepSession();
  removeSecrets(process.env);
  const { connectionState } = service('@n8n/db', 'DbConnection');
  state.isReady = () => server.fullyReady === true && connectionState.connected && connectionState.migrated;
  if (typeof server.fullyReady !== 'boolean') throw new Error('this n8n does not tell when it is ready');
  watchActivation();
  state.started();
}

/** Sessions of the owner as n8n itself issues them, made anew every few seconds. */
async function keepSession() {
  const auth = service('./auth/auth.service', 'AuthService');
  let token = '';
  let until = 0;
  async function session() {
    if (Date.now() < until) return token;
    const { user } = await findOwner();
    token = auth.issueJWT(user, true);
    until = Date.now() + SESSION_MS;
    return token;
  }
  await session();
  return session;
}

/** n8n activates what is published in the background. */
function watchActivation() {
  const finished = new Promise((resolve) => { service('./events/event.service', 'EventService').once('workflow-publication-reconciliation', resolve); })
    .then(() => service('./workflows/publication/workflow-publication-outbox-consumer', 'WorkflowPublicationOutboxConsumer').drainPending())
    .catch((error) => console.error(`[openflow] not every workflow could be activated: ${error.message}`));
  Promise.race([finished, wait(ACTIVATION_MS, undefined, { ref: false })]).then(() => { state.running = true; });
}

/** What our part cannot do with this n8n will be the same at every start; what the database could not do just now will not. */
async function readyOrNot(server) {
  try {
    await ready(server);
  } catch (error) {
    if (error instanceof CannotStart || isFromOutside(error)) throw error;
    console.error(`[openflow] ${error.stack}`);
    throw new CannotStart(HOOK_FAILED);
  }
}

const changes = deployHooks(state.deployed);

module.exports = { ...changes, n8n: { ...changes.n8n, ready: [readyOrNot] } };
