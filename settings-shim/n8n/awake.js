'use strict';
// What would be missed if this instance slept: a webhook wakes it, but nothing wakes it for a schedule, a poll, or a
// connection that it holds itself. n8n's own node types tell, those of community packages too (docs/engines/n8n.md).
const { service, dataSource } = require('./engine');

// They have a trigger like the others, but what triggers them is somebody in the editor, another workflow, or n8n itself.
const PASSIVE = new Set([
  'n8n-nodes-base.manualTrigger', 'n8n-nodes-base.errorTrigger', 'n8n-nodes-base.executeWorkflowTrigger', 'n8n-nodes-base.workflowTrigger',
  'n8n-nodes-base.n8nTrigger', 'n8n-nodes-base.simulateTrigger', 'n8n-nodes-base.evaluationTrigger', '@n8n/n8n-nodes-langchain.manualChatTrigger',
]);
const MAX_TRIGGERS = 100;
const NEVER_MS = Date.UTC(2900, 0); // n8n writes the year 3000 where an execution waits for a call only

/**
 * @returns {Promise<{triggers: {workflowId: string, workflow: string, node: string, type: string, kind: 'poll' | 'schedule' | 'connection'}[],
 *   more: number, waitingUntil: string | null, running: number}>} at most 100 triggers, `more` counts the others;
 *   `waitingUntil` is when the next waiting execution goes on (RFC 3339), `running` how many executions run or are queued
 */
async function whatKeepsAwake() {
  const query = (sql) => dataSource().query(sql);
  const found = [];
  for (const { id, name, nodes } of await query('SELECT w."id", w."name", h."nodes" FROM "workflow_entity" w '
    + 'JOIN "workflow_history" h ON h."versionId" = w."activeVersionId" ORDER BY w."id"')) {
    for (const node of typeof nodes === 'string' ? JSON.parse(nodes) : nodes) {
      const kind = node.disabled ? null : kindOf(node);
      if (kind) found.push({ workflowId: id, workflow: name, node: node.name, type: node.type, kind });
    }
  }
  const executions = service('@n8n/db', 'ExecutionRepository');
  const [next] = await executions.find({ select: ['id', 'waitTill'], where: { status: 'waiting' }, order: { waitTill: 'ASC' }, take: 1 });
  const running = await executions.countBy([{ status: 'running' }, { status: 'new' }]);
  const until = next?.waitTill?.getTime() < NEVER_MS ? next.waitTill.toISOString() : null;
  return { triggers: found.slice(0, MAX_TRIGGERS), more: Math.max(0, found.length - MAX_TRIGGERS), waitingUntil: until, running };
}

function kindOf({ type, typeVersion }) {
  let nodeType;
  try {
    nodeType = service('./node-types', 'NodeTypes').getByNameAndVersion(type, typeVersion);
  } catch {
    return null; // of a package that is not there: it triggers nothing
  }
  if (nodeType.poll) return 'poll';
  if (!nodeType.trigger || PASSIVE.has(type)) return null;
  return nodeType.description.group.includes('schedule') ? 'schedule' : 'connection';
}

module.exports = { whatKeepsAwake };
