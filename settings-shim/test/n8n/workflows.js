'use strict';
// Workflows for the tests.
const { randomUUID } = require('node:crypto');

const node = (name, type, typeVersion, parameters, more = {}) =>
  ({ id: randomUUID(), name, type: `n8n-nodes-base.${type}`, typeVersion, position: [0, 0], parameters, ...more });
const link = (...names) => Object.fromEntries(names.slice(1).map((to, i) => [names[i], { main: [[{ node: to, type: 'main', index: 0 }]] }]));

function workflow(id, name, nodes, more = {}) {
  return { id, name, description: null, active: true, isArchived: false, nodes, connections: link(...nodes.map((it) => it.name)), nodeGroups: [],
    settings: { executionOrder: 'v1' }, pinData: null, meta: null, tags: [], published: null, ...more };
}

const webhook = (path) => node('Webhook', 'webhook', 2, { path, responseMode: 'lastNode', options: {} }, { webhookId: randomUUID() });

/** Answers GET /webhook/<path> with {"says": text}. */
const answering = (id, path, text, more = {}) => workflow(id, `Says ${text}`,
  [webhook(path), node('Set', 'set', 3.4, { mode: 'raw', jsonOutput: JSON.stringify({ says: text }), options: {} })], more);

/** Answers GET /webhook/<path> with what `url` says to the Header Auth credential. */
const asking = (id, path, url, credential, more = {}) => workflow(id, 'Asks with a key', [webhook(path),
  node('Ask', 'httpRequest', 4.2, { url, authentication: 'genericCredentialType', genericAuthType: 'httpHeaderAuth', options: {} },
    { credentials: { httpHeaderAuth: { id: credential.id, name: credential.name } } })], more);

const contentOf = (parts) => ({ format: 1, workflows: [], credentials: [], tags: [], variables: [], ...parts });

module.exports = { node, workflow, webhook, answering, asking, contentOf };
