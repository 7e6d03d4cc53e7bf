'use strict';
// What follows a write: n8n takes down what is not published any more and brings up what is, by its own services, with all
// of its checks. Answers only when the triggers are up, so that a webhook answers as soon as the write did.
//
// Invariant: what could not be published is not published in another version either; if n8n is still at it, the reason says so.
const { service } = require('../engine');
const { unpublishAll } = require('./write');

// Together they are less than the manager waits (three minutes, for the write too). Tests change them.
const limits = { roundMs: 60_000, allMs: 90_000, takeDownMs: 10_000 };
const POLL_MS = 100;
const MAX_REASON = 500;
const UP_SOON = 'n8n is still starting its triggers; until then what ran before may run';
const DOWN_SOON = 'n8n is still taking down what ran before';
const NOT_DOWN = 'what ran before could not be taken down and may run still';

/**
 * @param {object} owner n8n's owner
 * @param {{id: string, name: string, versionId: string}[]} toPublish
 * @param {number} ms how long to go on publishing; what takes longer is taken down, for `limits.takeDownMs` more at most
 * @returns {Promise<{id: string, name: string, reason: string}[]>} what does not run, and why
 */
async function publishAll(owner, toPublish, ms = limits.allMs) {
  const end = Date.now() + ms;
  const settle = () => settled(Math.min(end, Date.now() + limits.roundMs));
  await settle();
  let waiting = toPublish;
  let failed = [];
  let isTakenDown = false;
  // One may need another one that comes later: a sub-workflow, or the address of a webhook that is still taken by a version
  // that goes. So whatever fails is tried again for as long as a round gets further, and once when the old versions are down.
  while (waiting.length > 0) {
    failed = [];
    for (const workflow of waiting) {
      const reason = Date.now() < end ? await publish(owner, workflow) : 'there was no time left to publish it';
      if (reason) failed.push({ ...workflow, reason });
    }
    await settle();
    failed.push(...await withFailedTriggers(waiting.filter(({ id }) => !failed.some((it) => it.id === id))));
    if (failed.length === 0 || Date.now() >= end) break;
    if (failed.length === waiting.length) {
      if (isTakenDown) break;
      await unpublishAll(owner, failed.map(({ id }) => id));
      await settle();
      isTakenDown = true;
    }
    waiting = failed;
  }
  failed = await takenDown(owner, failed);
  return failed.map(({ id, name, reason }) => ({ id, name, reason: reason.slice(0, MAX_REASON) }));
}

/** @returns {Promise<string>} '' when n8n accepted it, else the reason */
async function publish(owner, { id, versionId }) {
  try {
    await service('./workflows/workflow.service', 'WorkflowService').activateWorkflow(owner, id, { versionId, source: 'import' });
    return '';
  } catch (error) {
    return [error.message, error.description].filter(Boolean).join(' ');
  }
}

/**
 * Nothing old must go on running in place of what could not be published: it is marked so at once, and n8n's triggers follow.
 * What n8n accepted and has not finished yet is let be.
 */
async function takenDown(owner, failed) {
  const ids = new Set(failed.filter(({ reason }) => reason !== UP_SOON).map(({ id }) => id));
  if (ids.size === 0) return failed;
  const end = Date.now() + limits.takeDownMs;
  let isMarked = false;
  const marked = unpublishAll(owner, ids).then(() => { isMarked = true; })
    .catch((error) => console.error(`[openflow] what could not be published was not taken down: ${error.stack}`));
  await Promise.race([marked, pause(limits.takeDownMs)]);
  await settled(end);
  const unsettled = new Set((await outbox().findBy([{ status: 'pending' }, { status: 'in_progress' }])).map(({ workflowId }) => workflowId));
  return failed.map((it) => {
    if (!ids.has(it.id) || (isMarked && !unsettled.has(it.id))) return it;
    return { ...it, reason: `${it.reason.slice(0, MAX_REASON / 2)}; ${isMarked ? DOWN_SOON : NOT_DOWN}` };
  });
}

/** Those of which a trigger could not be brought up, as n8n's editor tells it too. */
async function withFailedTriggers(published) {
  const failed = [];
  for (const workflow of published) {
    const [last] = await outbox().find({ where: { workflowId: workflow.id }, order: { id: 'DESC' }, take: 1 });
    if (['failed', 'partial_success'].includes(last?.status)) failed.push({ ...workflow, reason: last.errorMessage ?? 'a trigger could not be started' });
    else if (['pending', 'in_progress'].includes(last?.status)) failed.push({ ...workflow, reason: UP_SOON });
  }
  return failed;
}

/** Waits until n8n has worked off what is to be published and unpublished, until `end` at the latest. */
async function settled(end) {
  const drained = service('./workflows/publication/workflow-publication-outbox-consumer', 'WorkflowPublicationOutboxConsumer').wakeUp();
  await Promise.race([drained, pause(end - Date.now())]);
  while (Date.now() < end && (await outbox().countBy([{ status: 'pending' }, { status: 'in_progress' }])) > 0) await pause(POLL_MS);
}

const outbox = () => service('@n8n/db', 'WorkflowPublicationOutboxRepository');
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms).unref(); });

module.exports = { publishAll, limits };
