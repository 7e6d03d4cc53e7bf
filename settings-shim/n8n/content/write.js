'use strict';
// Writes a content into the running n8n: everything in one transaction, after it what shall run is published (publish.js).
// Nothing is ever deleted: workflows that the content lacks are archived, credentials that it lacks stay.
//
// Invariant: writing what is there already changes nothing, so that a write that was cut off is simply done again.
// Invariant: what runs goes on running until the version that replaces it is published.
const { randomUUID } = require('node:crypto');
const { isDeepStrictEqual } = require('node:util');
const { need, service, dataSource, findOwner } = require('../engine');
const { Refused } = require('./check');

const AUTHOR = 'Openflow'; // shown in n8n's list of a workflow's versions
const GRAPH = ['nodes', 'connections', 'nodeGroups'];
const STATE = 'SELECT "id", "versionId", "isArchived", "updatedAt" FROM "workflow_entity" ORDER BY "id"';
const FIELDS = ['name', 'description', ...GRAPH, 'settings', 'pinData', 'meta', 'isArchived'];

/**
 * @param {ReturnType<import('./check').checkContent>} content
 * @returns {Promise<{written: number, archived: number, credentials: number, owner: object,
 *   toPublish: {id: string, name: string, versionId: string}[], state: string}>} `written` and `credentials` count what differed;
 *   `state` is for `hasChangedSince`
 * @throws {Refused} when n8n would refuse it; nothing was changed then, as after every other error
 */
async function writeContent(content) {
  const { user, project } = await findOwner();
  content.workflows.forEach(prepareWorkflow);
  content.credentials.forEach(checkSecret);
  const result = await dataSource().manager.transaction(async (trx) => {
    const write = { trx, entities: need('@n8n/db'), user, project };
    const tagIds = await writeTags(write, content.tags);
    const credentials = await writeCredentials(write, content.credentials);
    await writeVariables(write, content.variables);
    const { WorkflowEntity } = write.entities;
    const before = new Map((await trx.find(WorkflowEntity, { select: ['id', 'isArchived', 'activeVersionId'] })).map((it) => [it.id, it]));
    const counts = { written: 0, archived: 0, credentials, toPublish: [] };
    for (const wanted of content.workflows) {
      // One at a time: all of them a second time in memory would be too much for a small instance.
      const stored = before.has(wanted.id) ? await trx.findOne(WorkflowEntity, { where: { id: wanted.id }, relations: { activeVersion: true } }) : undefined;
      const isWritten = await writeWorkflow(write, wanted, stored, content.options, counts.toPublish);
      const isTagged = await writeTaggings(write, wanted.id, wanted.tags.map((id) => tagIds.get(id)));
      if (isWritten || isTagged) counts.written += 1;
      before.delete(wanted.id);
    }
    for (const workflow of before.values()) counts.archived += await archive(write, workflow);
    return { ...counts, state: JSON.stringify(await trx.query(STATE)) };
  });
  return { ...result, owner: user };
}

/** Whether anybody saved, made or archived a workflow since. Publishing one does not count. */
const hasChangedSince = async (state) => JSON.stringify(await dataSource().query(STATE)) !== state;

/** What n8n's own editor and import do before they save. Answers with n8n's words when it would not take it. */
function prepareWorkflow(workflow) {
  const { addNodeIds, resolveNodeWebhookIds, validateWorkflowStructure } = need('./workflow-helpers');
  const nodeTypes = service('./node-types', 'NodeTypes');
  for (const graph of [workflow, workflow.published ?? { nodes: [], connections: {} }]) {
    for (const node of graph.nodes) node.parameters ??= {};
    addNodeIds(graph);
    resolveNodeWebhookIds(graph, nodeTypes);
    try {
      validateWorkflowStructure(graph);
    } catch (error) {
      throw new Refused(422, `The content cannot be written: workflow ${workflow.id} (${workflow.name}): ${error.message}`);
    }
  }
}

/** n8n takes any text and reads what it cannot decrypt as empty, without a word. */
function checkSecret({ id, name, data }) {
  const { Cipher } = need('n8n-core');
  let isSound = false;
  try {
    const value = JSON.parse(need('@n8n/di').Container.get(Cipher).decryptWithInstanceKey(data));
    isSound = typeof value === 'object' && value !== null;
  } catch { /* not sound */ }
  if (!isSound) throw new Refused(422, `The content cannot be written: credential ${id} (${name}) is not encrypted with this instance's key.`);
}

/** @returns {Promise<Map<string, string>>} the id in the content → the id here: names are unique, so a name keeps its id */
async function writeTags({ trx, entities: { TagEntity } }, tags) {
  const stored = await trx.find(TagEntity);
  const ids = new Map();
  for (const { id, name } of tags) {
    const namesake = stored.find((it) => it.name === name);
    if (namesake) {
      ids.set(id, namesake.id);
      continue;
    }
    const known = stored.find((it) => it.id === id);
    if (known) {
      known.name = name;
      await trx.update(TagEntity, { id }, { name });
    } else {
      stored.push({ id, name });
      await trx.insert(TagEntity, { id, name });
    }
    ids.set(id, id);
  }
  return ids;
}

async function writeCredentials({ trx, entities: { CredentialsEntity, SharedCredentials }, project }, credentials) {
  const stored = new Map((await trx.find(CredentialsEntity)).map((it) => [it.id, it]));
  let written = 0;
  for (const { id, name, type, data } of credentials) {
    const known = stored.get(id);
    if (known && known.name === name && known.type === type && known.data === data) continue;
    written += 1;
    if (known) {
      await trx.update(CredentialsEntity, { id }, { name, type, data, updatedAt: new Date() });
    } else {
      await trx.insert(CredentialsEntity, { id, name, type, data });
      await trx.insert(SharedCredentials, { credentialsId: id, projectId: project.id, role: 'credential:owner' });
    }
  }
  return written;
}

async function writeVariables({ trx, entities: { Variables } }, variables) {
  if (variables.length === 0) return;
  const stored = await trx.find(Variables, { relations: { project: true } });
  const { generateNanoId } = need('@n8n/db');
  for (const { key, type, value } of variables) {
    const known = stored.find((it) => it.key === key && !it.project);
    if (!known) await trx.insert(Variables, { id: generateNanoId(), key, type, value });
    else if (known.type !== type || known.value !== value) await trx.update(Variables, { id: known.id }, { type, value });
  }
}

/** @returns {Promise<boolean>} whether anything differed */
async function writeWorkflow(write, wanted, stored, { active }, toPublish) {
  const { trx, entities: { WorkflowEntity, SharedWorkflow }, project } = write;
  const fields = Object.fromEntries(FIELDS.map((name) => [name, wanted[name] ?? null]));
  Object.assign(fields, { isArchived: wanted.isArchived ?? false, settings: wanted.settings ?? {}, nodeGroups: wanted.nodeGroups ?? [] });
  const versionId = stored && GRAPH.every((name) => isSame(stored[name], fields[name])) ? stored.versionId : randomUUID();
  const differs = !stored || FIELDS.some((name) => !isSame(stored[name], fields[name]));
  if (!stored) {
    await trx.insert(WorkflowEntity, { id: wanted.id, ...fields, versionId, active: false, activeVersionId: null });
    await trx.insert(SharedWorkflow, { workflowId: wanted.id, projectId: project.id, role: 'workflow:owner' });
  } else if (differs) {
    await trx.update(WorkflowEntity, { id: wanted.id }, { ...fields, versionId, updatedAt: new Date() });
  }
  await keepVersion(write, wanted.id, versionId, fields);
  if (!(active === 'keep' && wanted.active && !fields.isArchived)) {
    const wasActive = stored?.activeVersionId ? await unpublish(write, stored) : false;
    return differs || wasActive;
  }
  const running = stored?.activeVersion;
  let toRun = versionId;
  if (wanted.published) {
    const isRunning = running && GRAPH.every((name) => isSame(running[name], wanted.published[name]));
    toRun = isRunning ? running.versionId : randomUUID();
    if (!isRunning) await keepVersion(write, wanted.id, toRun, wanted.published);
  }
  const isPublished = running?.versionId === toRun && isSame(stored.settings ?? {}, fields.settings);
  if (!isPublished) toPublish.push({ id: wanted.id, name: wanted.name, versionId: toRun });
  return differs || !isPublished;
}

/** Undefined, null and empty are one to n8n; the order of keys means nothing. */
function isSame(a, b) {
  const plain = (value) => (value === undefined || value === null ? null : JSON.parse(JSON.stringify(value)));
  const isEmpty = (value) => value === null || (typeof value === 'object' && Object.keys(value).length === 0);
  const [left, right] = [plain(a), plain(b)];
  return isDeepStrictEqual(left, right) || (isEmpty(left) && isEmpty(right));
}

/** Nothing can be published that is not in the workflow's history. */
async function keepVersion({ trx, entities: { WorkflowHistory } }, workflowId, versionId, { nodes, connections, nodeGroups }) {
  if (await trx.existsBy(WorkflowHistory, { versionId })) return;
  await trx.insert(WorkflowHistory, { versionId, workflowId, nodes, connections, nodeGroups: nodeGroups ?? [], authors: AUTHOR });
}

/** @returns {Promise<boolean>} whether the tags differed */
async function writeTaggings({ trx, entities: { WorkflowTagMapping } }, workflowId, tagIds) {
  const stored = (await trx.findBy(WorkflowTagMapping, { workflowId })).map(({ tagId }) => tagId);
  const wanted = [...new Set(tagIds)];
  if (stored.length === wanted.length && wanted.every((id) => stored.includes(id))) return false;
  await trx.delete(WorkflowTagMapping, { workflowId });
  for (const tagId of wanted) await trx.insert(WorkflowTagMapping, { workflowId, tagId });
  return true;
}

/** @returns {Promise<number>} 1 when it was not archived before */
async function archive(write, workflow) {
  if (workflow.activeVersionId) await unpublish(write, workflow);
  if (workflow.isArchived) return 0;
  await write.trx.update(write.entities.WorkflowEntity, { id: workflow.id }, { isArchived: true, updatedAt: new Date() });
  return 1;
}

/** As n8n's own WorkflowService unpublishes, but inside our transaction; its outbox takes the triggers down afterwards. */
async function unpublish({ trx, entities: { WorkflowEntity, WorkflowPublicationReason }, user }, { id, activeVersionId }) {
  await trx.update(WorkflowEntity, { id }, { active: false, activeVersionId: null, updatedAt: () => '"updatedAt"' });
  await service('@n8n/db', 'WorkflowPublishHistoryRepository')
    .addRecord({ workflowId: id, versionId: activeVersionId, event: 'deactivated', userId: user.id }, trx);
  await service('@n8n/db', 'WorkflowPublicationOutboxRepository').enqueue(id, activeVersionId, WorkflowPublicationReason.Publish, trx);
  await service('./scheduling/schedule-trigger-node/schedule-trigger-job-registrar', 'ScheduleTriggerJobRegistrar').removeWorkflowInTransaction(trx, id);
  await service('./scheduling/poll-trigger-node/poll-trigger-job-registrar', 'PollTriggerJobRegistrar').removeWorkflowInTransaction(trx, id);
  return true;
}

/** The same for what could not be published, in one transaction. */
async function unpublishAll(user, ids) {
  const entities = need('@n8n/db');
  await dataSource().manager.transaction(async (trx) => {
    for (const id of ids) {
      const stored = await trx.findOne(entities.WorkflowEntity, { select: ['id', 'activeVersionId'], where: { id } });
      if (stored?.activeVersionId) await unpublish({ trx, entities, user }, stored);
    }
  });
}

module.exports = { writeContent, hasChangedSince, unpublishAll };
