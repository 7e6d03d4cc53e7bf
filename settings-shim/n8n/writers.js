'use strict';
// Requests to n8n that change what a snapshot holds. While one is being put back they are told to come again; those that n8n has
// already are waited for, or they would write over it when it is done.
const { setTimeout: wait } = require('node:timers/promises');
const { answerJson } = require('../common/answers');

// The editor's, and those of n8n's public API. A folder that is deleted takes its workflows along.
const EDITOR = /^\/rest\/(workflows|credentials|tags|variables|mcp|projects\/[^/]+\/folders)(\/|$)/;
const API = /^\/api\/v\d+\//;
const POLL_MS = 50;
const GONE_MS = 30_000; // n8n goes on with what somebody asked who has hung up, but its answer may never end then

const underWay = new Set();
let isHeld = false;

/** Lets nobody begin any more, or again. */
function hold(held) {
  isHeld = held;
}

/**
 * Answers a request that has to wait, and remembers one that goes on until n8n has answered it. `target` is in lower case.
 * @returns {boolean} whether it was answered
 */
function holdOff(req, res, target) {
  const isApi = API.test(target);
  if (['GET', 'HEAD', 'OPTIONS'].includes(req.method) || !(isApi || EDITOR.test(target))) return false;
  if (!isHeld) {
    remember(res);
    return false;
  }
  const todo = isApi ? 'Try again in a moment.' : 'Reload this page in a moment to see it.';
  answerJson(req, res, 503, { code: 503, message: `A snapshot is being put back. ${todo}` }, { 'retry-after': '5' });
  return true;
}

function remember(res) {
  underWay.add(res);
  const { end } = res;
  res.end = function andForget(...args) {
    underWay.delete(res);
    return end.apply(this, args);
  };
  res.once('close', () => setTimeout(() => underWay.delete(res), GONE_MS).unref());
}

/**
 * Waits for what is under way, for `ms` at most.
 * @returns {Promise<boolean>} whether all of it is over
 */
async function ended(ms) {
  for (const end = Date.now() + ms; underWay.size > 0 && Date.now() < end;) await wait(POLL_MS, undefined, { ref: false });
  return underWay.size === 0;
}

module.exports = { API, hold, holdOff, ended };
