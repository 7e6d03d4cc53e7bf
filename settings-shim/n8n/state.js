'use strict';
// How far n8n's start has come. Written by hooks.js, read by the health answer and the gate.
module.exports = {
  /** Whether all routes are there and the database is migrated; n8n listens long before. */
  isReady: () => false,
  /** Whether the first round of activating workflows is over. */
  running: false,
  /** Called once when the start has succeeded. */
  started: () => {},
  /** Tells the manager of a deploy, see common/deployed.js; there from before n8n's first line on. */
  deployed: undefined,
  /** The session of n8n's owner. */
  session: async () => { throw new Error('n8n is not ready'); },
};
