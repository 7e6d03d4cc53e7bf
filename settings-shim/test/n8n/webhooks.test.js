'use strict';
// What passes n8n's gate without a person: webhooks and forms, with whatever callers send and n8n answers.
const assert = require('node:assert/strict');
const http = require('node:http');
const { after, before, test } = require('node:test');
const { BEARER, JSON_TYPE, MAGIC, echoWorkflow, identity, publish, startN8n, until } = require('./support');

const OURS = {
  ...identity('owner'), cookie: `mine=1; openflow_token=${MAGIC}; openflow_person=x; n8n-auth=y`, 'X-Openflow-Anything': 'z', X_Openflow_Identity: 'y',
};

let n8n;
before(async () => {
  n8n = await startN8n({ env: { N8N_PAYLOAD_SIZE_MAX: '40' } });
  await publish(n8n, echoWorkflow('echo'));
  await until(async () => (await call('/webhook/echo')).status === 200);
});
after(async () => { await n8n?.stop(); });

const call = (path, headers = {}, body = {}) => n8n.ask({ method: 'POST', path, headers: { ...JSON_TYPE, ...headers }, body });

test('a webhook sees nothing of ours, in whatever way it is asked', async () => {
  for (const path of ['/webhook/echo', '/WEBHOOK/echo', '//webhook/echo']) {
    const answer = await call(`${path}?access_token=the-callers-own`, { ...OURS, authorization: `Bearer ${MAGIC}` });
    assert.equal(answer.status, 200, path);
    assert.ok(!answer.body.includes(MAGIC) && !/openflow/i.test(answer.body), answer.body);
    const { headers, query } = answer.json();
    assert.deepEqual([headers.cookie, headers.authorization, query.access_token], ['mine=1', undefined, 'the-callers-own']);
  }
});

test('a webhook keeps the caller’s own authorization', async () => {
  const { headers } = (await call('/webhook/echo', { authorization: 'Bearer the-callers-own', origin: 'http://elsewhere.test' })).json();
  assert.equal(headers.authorization, 'Bearer the-callers-own');
});

test('a large upload passes', async () => {
  const answer = await call('/webhook/echo', {}, { text: 'x'.repeat(30 * 1024 ** 2) });
  assert.equal(answer.status, 200, answer.body);
  assert.ok(answer.json().size > 30 * 1024 ** 2);
});

test('an answer that n8n streams arrives as it is made', async () => {
  // n8n streams the types of its nodes from a file: 18 MB in many pieces.
  const pieces = await new Promise((resolve, reject) => {
    const req = http.get({ host: '127.0.0.1', port: n8n.port, path: '/types/nodes.json', headers: BEARER, agent: false }, (res) => {
      const sizes = [];
      res.on('data', (chunk) => sizes.push(chunk.length));
      res.on('end', () => resolve(sizes));
    });
    req.on('error', reject);
  });
  assert.ok(pieces.length > 10 && pieces.reduce((a, b) => a + b) > 10 * 1024 ** 2);
});

test('what is public is no way around the gate', async () => {
  for (const path of ['/webhook', '/webhook/', '/webhookx/echo', '/webhook%2Fecho', '/form', '/rest/webhook/echo']) {
    assert.deepEqual([path, (await call(path)).status], [path, 401]);
  }
  for (const path of ['/webhook/..;/rest/workflows', '/webhook/%2e%2e/rest/workflows', '/webhook\\..\\rest\\workflows']) {
    assert.deepEqual([path, (await n8n.ask({ path })).status], [path, 400]);
  }
  for (const root of ['webhook-test', 'webhook-waiting', 'form', 'form-test', 'form-waiting', 'mcp', 'mcp-test']) {
    const { status, headers, body } = await n8n.ask({ path: `/${root}/nothing`, headers: { accept: 'text/html' } });
    assert.ok([404, 500].includes(status), `${root}: ${status}`); // n8n takes the name for the number of an execution
    assert.deepEqual([root, headers.location, body === 'Unauthorized'], [root, undefined, false]);
  }
});

test('a webhook works while somebody without a cookie looks at signed binary data', async () => {
  const answer = await n8n.ask({ path: '/rest/binary-data/signed?token=wrong' });
  assert.ok([400, 401, 403].includes(answer.status) && answer.body !== 'Unauthorized', `${answer.status} ${answer.body}`);
});

test('Code nodes run, and see neither our settings nor our secrets', async () => {
  const workflow = echoWorkflow('code');
  workflow.nodes.splice(1, 0, { id: 'code', name: 'Code', type: 'n8n-nodes-base.code', typeVersion: 2, position: [100, 0],
    parameters: { jsCode: 'return [{ json: { body: { said: 6 * 7 }, headers: { env: typeof process === "undefined" ? "" : JSON.stringify(process.env) }, query: {} } }];' } });
  workflow.connections = { Webhook: { main: [[{ node: 'Code', type: 'main', index: 0 }]] }, Code: { main: [[{ node: 'Answer', type: 'main', index: 0 }]] } };
  await publish(n8n, workflow);
  await until(async () => (await call('/webhook/code')).status !== 404);
  const answer = await call('/webhook/code');
  assert.equal(answer.json().size, '{"said":42}'.length, answer.body);
  assert.ok(!answer.body.includes(MAGIC) && !/OPENFLOW|ENCRYPTION|JWT/.test(answer.body), answer.body);
});
