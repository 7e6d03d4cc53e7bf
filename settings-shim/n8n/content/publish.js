'use strict';
// What follows a write: n8n takes down what is not published any more and brings up what is, by its own services, with all
// of its checks. Answers only when the triggers are up, so that a webhook answers as soon as the write did.
const { service } = require('../engine');

const ROUND_MS = 60_000;
const ALL_MS = 90_000; // the manager waits for two minutes
const POLL_MS = 100;
const MAX_REASON = 500;

/**
 * @param {object} owner n8n's owner
 * @param {{id: string, name: string, versionId: string}[]} toPublish
 * @returns {Promise<{id: string, name: string, reason: string}[]>} what does not run, and why
 */
async function publishAll(owner, toPublish) {
  const end = Date.now() + ALL_MS;
  const settle = () => settled(Math.min(end, Date.now() + ROUND_MS));
  await settle();
  let waiting = toPublish;
  let failed = [];
  let isTakenDown = false;
  // One may need another one that comes later: a sub-workflow, or the address of a webhook that is still taken by a version
  // that goes. So whatever fails is tried again for as long as a round gets further, and once when the old versions are down.
  while (waiting.length > 0) {
    failed = [];
    for (const workflow of waiting) {
      const reason = Date.now() < end ? await publish(owner, workflow) : 'there was no time left to publish it; what ran before may run still';
      if (reason) failed.push({ ...workflow, reason });
    }
    await settle();
    failed.push(...await withFailedTriggers(waiting.filter(({ id }) => !failed.some((it) => it.id === id))));
    if (failed.length === 0 || Date.now() >= end) break;
    if (failed.length === waiting.length) {
      for (const { id } of failed) await takeDown(owner, id);
      await settle();
      if (isTakenDown) break;
      isTakenDown = true;
    }
    waiting = failed;
  }
  return failed.map(({ id, name, reason }) => ({ id, name, reason: reason.slice(0, MAX_REASON) }));
}

/** @returns {Promise<string>} '' when n8n accepted it, else the reason */
async function publish(owner, { id, versionId }) {
  try {
    await workflows().activateWorkflow(owner, id, { versionId, source: 'import' });
    return '';
  } catch (error) {
    return [error.message, error.description].filter(Boolean).join(' ');
  }
}

/** The old version must not go on running in place of the one that could not be published. */
async function takeDown(owner, id) {
  try {
    await workflows().deactivateWorkflow(owner, id, { source: 'import' });
  } catch (error) {
    console.error(`[openflow] workflow ${id} could not be deactivated: ${error.message}`);
  }
}

/** Those of which a trigger could not be brought up, as n8n's editor tells it too. */
async function withFailedTriggers(published) {
  const failed = [];
  for (const workflow of published) {
    const [last] = await outbox().find({ where: { workflowId: workflow.id }, order: { id: 'DESC' }, take: 1 });
    if (['failed', 'partial_success'].includes(last?.status)) failed.push({ ...workflow, reason: last.errorMessage ?? 'a trigger could not be started' });
    else if (['pending', 'in_progress'].includes(last?.status)) failed.push({ ...workflow, reason: 'its triggers are not up yet' });
  }
  return failed;
}

/** Waits until n8n has worked off what is to be published and unpublished, until `end` at the latest. */
async function settled(end) {
  const drained = service('./workflows/publication/workflow-publication-outbox-consumer', 'WorkflowPublicationOutboxConsumer').wakeUp();
  await Promise.race([drained, pause(end - Date.now())]);
  while (Date.now() < end && (await outbox().countBy([{ status: 'pending' }, { status: 'in_progress' }])) > 0) await pause(POLL_MS);
}

const workflows = () => service('./workflows/workflow.service', 'WorkflowService');
const outbox = () => service('@n8n/db', 'WorkflowPublicationOutboxRepository');
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms).unref(); });

module.exports = { publishAll };
