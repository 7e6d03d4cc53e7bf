'use strict';
// The content of an instance, read out of and written into real n8ns with different encryption keys, as the manager does it
// for snapshots, rollbacks and promotions.
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { BEARER, ROOT, identity, newFolder, startN8n, startManager, staged, until } = require('./support');
const { encrypt, decrypt, resealed } = require('./secrets');
const { answering, asking, contentOf, node, workflow, webhook } = require('./workflows');

const KEYS = { dev: 'key-of-dev-0123456789abcdef', prod: 'key-of-prod-0123456789abcde' };
const SECRET = 'what nobody else knows';
const CREDENTIAL = { id: 'credHeader', name: 'Key of the shop', type: 'httpHeaderAuth' };
const DEPLOYED = '/shim/v1/deployed';

let dev;
let prod;
let manager;
let shop; // says which key it was asked with

before(async () => {
  shop = http.createServer((req, res) => {
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({ key: req.headers['x-shop-key'] ?? null }));
  });
  await new Promise((resolve) => { shop.listen(0, '127.0.0.1', resolve); });
  manager = await startManager({}, (method, url) => (url === DEPLOYED ? [202, ''] : undefined));
  [dev, prod] = await Promise.all([startN8n({ key: KEYS.dev, env: { OPENFLOW_MANAGER_URL: manager.url } }), startN8n({ key: KEYS.prod })]);
});
after(async () => {
  await Promise.all([dev?.stop(), prod?.stop()]);
  manager?.stop();
  shop?.close();
});

const get = async (n8n, target = '/openflow/content') => {
  const answer = await n8n.ask({ path: target, headers: BEARER });
  assert.equal(answer.status, 200, answer.body);
  return answer.json();
};
const send = (n8n, content, options = {}) => n8n.ask({
  method: 'PUT', path: '/openflow/content', headers: { ...BEARER, 'content-type': 'application/json' }, body: { ...content, options },
});
async function put(n8n, content, options) {
  const answer = await send(n8n, content, options);
  assert.equal(answer.status, 200, answer.body);
  return answer.json();
}
const call = async (n8n, target) => {
  const answer = await n8n.ask({ path: `/webhook/${target}` });
  return answer.status === 200 ? answer.json() : answer.status;
};
/** n8n's own API, as the editor asks it. */
const rest = (n8n, method, target, body) => n8n.ask({ method, path: `/rest${target}`, headers: { ...identity('member'), 'content-type': 'application/json' }, body });
const shopUrl = () => `http://127.0.0.1:${shop.address().port}/`;
const byId = (content, id) => content.workflows.find((it) => it.id === id);

function sqlite(n8n, sql) {
  const script = "const { DatabaseSync } = require('node:sqlite'); const it = new DatabaseSync(process.argv[1], { timeout: 5000 }); it.exec(process.argv[2]); it.close()";
  execFileSync(staged().node, ['-e', script, path.join(n8n.data, '.n8n/database.sqlite'), sql]);
}

function firstContent(key) {
  return contentOf({
    workflows: [asking('wfAsk', 'ask', shopUrl(), CREDENTIAL, { tags: ['tagShop'] }), answering('wfHello', 'hello', 'hello'),
      answering('wfDraft', 'draft', 'draft', { active: false })],
    credentials: [{ ...CREDENTIAL, data: encrypt({ name: 'x-shop-key', value: SECRET }, key) }],
    tags: [{ id: 'tagShop', name: 'shop' }],
  });
}

test('a promotion: workflows answer at once in the other instance, with credentials that work there', async () => {
  assert.deepEqual(await put(dev, firstContent(KEYS.dev)), { workflows: { written: 3, archived: 0 }, credentials: 1, inactive: [] });
  assert.deepEqual(await call(dev, 'ask'), { key: SECRET });

  const content = await get(dev);
  assert.ok(!JSON.stringify(content).includes(SECRET));
  assert.equal(content.version, '2.41.1');
  assert.deepEqual(content.workflows.map(({ id, active }) => [id, active]), [['wfAsk', true], ['wfDraft', false], ['wfHello', true]]);
  const result = await put(prod, resealed(content, KEYS.dev, KEYS.prod));
  assert.deepEqual(result, { workflows: { written: 3, archived: 0 }, credentials: 1, inactive: [] });
  assert.deepEqual([await call(prod, 'ask'), await call(prod, 'hello'), await call(prod, 'draft')], [{ key: SECRET }, { says: 'hello' }, 404]);

  const there = await get(prod);
  assert.deepEqual({ ...there, credentials: [] }, { ...content, credentials: [] });
  assert.deepEqual(decrypt(there.credentials[0].data, KEYS.prod), { name: 'x-shop-key', value: SECRET });
  const mine = (await rest(prod, 'GET', '/workflows')).json().data.find(({ id }) => id === 'wfAsk');
  assert.deepEqual([mine.homeProject.type, mine.tags.map(({ name }) => name)], ['personal', ['shop']]);
});

test('what is there already is not written again', async () => {
  const before = (await rest(dev, 'GET', '/workflow-history/workflow/wfAsk')).json().data;
  assert.deepEqual(await put(dev, await get(dev)), { workflows: { written: 0, archived: 0 }, credentials: 0, inactive: [] });
  assert.deepEqual((await rest(dev, 'GET', '/workflow-history/workflow/wfAsk')).json().data, before);
  assert.deepEqual(await call(dev, 'ask'), { key: SECRET });
});

test('what the content lacks is archived, not deleted: executions stay, credentials stay, and it comes back', async () => {
  const content = await get(dev);
  const without = { ...content, workflows: content.workflows.filter(({ id }) => id !== 'wfHello'), credentials: [] };
  await call(dev, 'hello');
  assert.deepEqual(await put(dev, without), { workflows: { written: 0, archived: 1 }, credentials: 0, inactive: [] });
  assert.equal(await call(dev, 'hello'), 404);
  const now = await get(dev);
  assert.deepEqual([byId(now, 'wfHello').isArchived, byId(now, 'wfHello').active, now.credentials.length], [true, false, 1]);
  const executions = (await rest(dev, 'GET', `/executions?filter=${encodeURIComponent('{"workflowId":"wfHello"}')}`)).json().data;
  assert.ok(executions.results.length > 0, JSON.stringify(executions));
  await put(dev, content);
  assert.deepEqual(await call(dev, 'hello'), { says: 'hello' });
});

test('the active state is cleared when that is asked for', async () => {
  const content = await get(prod);
  await put(prod, content, { active: 'clear' });
  assert.deepEqual([await call(prod, 'ask'), await call(prod, 'hello')], [404, 404]);
  assert.ok((await get(prod)).workflows.every(({ active }) => !active));
  await put(prod, content, { active: 'keep' });
  assert.deepEqual(await call(prod, 'hello'), { says: 'hello' });
});

test('a rollback brings back what ran before, while n8n runs on', async () => {
  const earlier = await get(dev);
  const changed = structuredClone(earlier);
  byId(changed, 'wfHello').nodes[0].parameters.path = 'bye';
  await put(dev, changed);
  assert.deepEqual([await call(dev, 'hello'), await call(dev, 'bye')], [404, { says: 'hello' }]);
  await put(dev, earlier);
  assert.deepEqual([await call(dev, 'hello'), await call(dev, 'bye')], [{ says: 'hello' }, 404]);
  assert.deepEqual(await get(dev), earlier);
});

test('what was edited and not published stays so: the published version goes along', async () => {
  const { data } = (await rest(dev, 'GET', '/workflows/wfHello')).json();
  const nodes = structuredClone(data.nodes);
  nodes[1].parameters.jsonOutput = '{"says":"not yet"}';
  const saved = await rest(dev, 'PATCH', '/workflows/wfHello', { nodes, connections: data.connections, versionId: data.versionId });
  assert.equal(saved.status, 200, saved.body);
  const content = await get(dev);
  assert.equal(byId(content, 'wfHello').published.nodes[1].parameters.jsonOutput, '{"says":"hello"}');
  await put(prod, resealed(content, KEYS.dev, KEYS.prod));
  assert.deepEqual(await call(prod, 'hello'), { says: 'hello' });
  assert.deepEqual(byId(await get(prod), 'wfHello'), byId(content, 'wfHello'));
  assert.deepEqual((await put(prod, resealed(content, KEYS.dev, KEYS.prod))).workflows, { written: 0, archived: 0 });
});

test('workflows that need one another, or take over each other’s address, run in the end', async () => {
  const child = workflow('zChild', 'Child', [node('Start', 'executeWorkflowTrigger', 1.1, { inputSource: 'passthrough' }), node('Set', 'set', 3.4, { mode: 'raw', jsonOutput: '{"says":"child"}', options: {} })]);
  const parent = workflow('aParent', 'Parent', [webhook('parent'), node('Call', 'executeWorkflow', 1.2, { workflowId: { __rl: true, mode: 'id', value: 'zChild' }, options: {} })]);
  const base = resealed(await get(dev), KEYS.dev, KEYS.prod);
  const [one, two] = [answering('wfOne', 'one', 'one'), answering('wfTwo', 'two', 'two')];
  assert.deepEqual((await put(prod, { ...base, workflows: [...base.workflows, parent, child, one, two] })).inactive, []);
  assert.deepEqual([await call(prod, 'parent'), await call(prod, 'one')], [{ says: 'child' }, { says: 'one' }]);
  one.nodes[0].parameters.path = 'two';
  two.nodes[0].parameters.path = 'one';
  assert.deepEqual((await put(prod, { ...base, workflows: [...base.workflows, parent, child, one, two] })).inactive, []);
  assert.deepEqual([await call(prod, 'two'), await call(prod, 'one')], [{ says: 'one' }, { says: 'two' }]);
  await put(prod, base);
  assert.deepEqual([await call(prod, 'two'), await call(prod, 'parent')], [404, 404]);
});

test('what cannot run is written, does not run, and says why', async () => {
  const base = await get(dev);
  const content = structuredClone(base);
  byId(content, 'wfHello').nodes = [node('Only', 'noOp', 1, {})];
  Object.assign(byId(content, 'wfHello'), { connections: {}, published: null });
  content.workflows.push(workflow('wfAlien', 'Alien', [node('T', 'doesNotExistTrigger', 1, {})]));
  const { inactive } = await put(dev, content);
  assert.deepEqual(inactive.map(({ id }) => id).sort(), ['wfAlien', 'wfHello']);
  for (const { reason } of inactive) assert.match(reason, /trigger|node/i);
  assert.equal(await call(dev, 'hello'), 404);
  await put(dev, base);
  assert.deepEqual(await call(dev, 'hello'), { says: 'hello' });
});

test('what there was no time to publish does not go on in its old version', async () => {
  const folder = newFolder();
  const flag = path.join(folder, 'no-time');
  const hurry = path.join(folder, 'hurry.js');
  fs.writeFileSync(hurry, `Object.defineProperty(require(${JSON.stringify(path.join(ROOT, 'settings-shim/n8n/content/publish.js'))}).limits,
    'allMs', { get: () => (require('node:fs').existsSync(${JSON.stringify(flag)}) ? 0 : 90_000) });`);
  const n8n = await startN8n({ nodeOptions: ['--require', hurry] });
  try {
    await put(n8n, contentOf({ workflows: [answering('wfHello', 'hello', 'before'), answering('wfSame', 'same', 'same')] }));
    fs.writeFileSync(flag, '');
    const { inactive } = await put(n8n, contentOf({ workflows: [answering('wfHello', 'hello', 'after'), ...(await get(n8n)).workflows.slice(1)] }));
    assert.deepEqual(inactive, [{ id: 'wfHello', name: 'Says after', reason: 'there was no time left to publish it' }]);
    assert.deepEqual([await call(n8n, 'hello'), await call(n8n, 'same'), byId(await get(n8n), 'wfHello').active], [404, { says: 'same' }, false]);
    fs.rmSync(flag);
    assert.deepEqual((await put(n8n, contentOf({ workflows: [answering('wfHello', 'hello', 'after')] }))).inactive, []);
    assert.deepEqual(await call(n8n, 'hello'), { says: 'after' });
  } finally {
    await n8n.stop();
  }
});

/** What GET /webhook/hello shall say. */
function changeAnswer(content, says) {
  const hello = byId(content, 'wfHello');
  hello.nodes[1].parameters.jsonOutput = JSON.stringify({ says });
  hello.published = null;
}

/** A save of the workflow that n8n has begun to read; `finish()` sends the rest of it and gives n8n's answer. */
async function saveSlowly(n8n, id, text) {
  const { data } = (await rest(n8n, 'GET', `/workflows/${id}`)).json();
  const nodes = structuredClone(data.nodes);
  nodes[1].parameters.jsonOutput = JSON.stringify({ says: text });
  const body = Buffer.from(JSON.stringify({ name: text, nodes, connections: data.connections, versionId: data.versionId }));
  const headers = { ...identity('member'), 'content-type': 'application/json', 'content-length': body.length };
  const req = http.request({ host: '127.0.0.1', port: n8n.port, method: 'PATCH', path: `/rest/workflows/${id}`, headers, agent: false });
  const status = new Promise((resolve, reject) => req.on('response', (res) => { res.resume(); resolve(res.statusCode); }).on('error', reject));
  await new Promise((resolve) => { req.write(body.subarray(0, 20), resolve); });
  await rest(n8n, 'GET', '/workflows'); // on a later connection: n8n has the first one then
  return { finish: () => { req.end(body.subarray(20)); return status; } };
}

test('what somebody began to save before does not win over what is put back; who comes later is told to wait', async () => {
  const { rawApiKey } = (await rest(dev, 'POST', '/api-keys', { label: 'test', expiresAt: null, scopes: ['workflow:list', 'workflow:create'] })).json().data;
  const keyed = (method) => dev.ask({ method, path: '/api/v1/workflows', headers: { 'x-n8n-api-key': rawApiKey, 'content-type': 'application/json' }, body: method === 'POST' ? {} : undefined });
  const content = await get(dev);
  changeAnswer(content, 'put back');
  const save = await saveSlowly(dev, 'wfHello', 'saved');
  assert.equal((await keyed('POST')).status, 400);
  const written = put(dev, content);
  await until(async () => (await keyed('POST')).status === 503);
  assert.equal((await rest(dev, 'POST', '/workflows', {})).status, 503);
  assert.deepEqual([(await keyed('GET')).status, (await rest(dev, 'GET', '/workflows')).status], [200, 200]);
  assert.equal(await save.finish(), 200);
  await written;
  assert.deepEqual(await get(dev), content);
  assert.deepEqual(await call(dev, 'hello'), { says: 'put back' });
  assert.equal((await keyed('POST')).status, 400);
});

test('a save that takes so long that it comes after the write does not win either', async () => {
  const content = await get(dev);
  changeAnswer(content, 'put back again');
  const save = await saveSlowly(dev, 'wfHello', 'saved late');
  const written = put(dev, content);
  await until(async () => (await call(dev, 'hello')).says === 'put back again');
  assert.equal(await save.finish(), 200);
  await written;
  assert.deepEqual(await get(dev), content);
  changeAnswer(content, 'hello');
  await put(dev, content);
});

test('names of tags that exist are used, whatever their id', async () => {
  const content = await get(prod);
  content.tags = [{ id: 'tagOther', name: 'shop' }, { id: 'tagNew', name: 'new' }];
  for (const it of content.workflows) it.tags = it.id === 'wfAsk' ? ['tagOther', 'tagNew'] : [];
  await put(prod, content);
  const now = await get(prod);
  assert.deepEqual(now.tags, [{ id: 'tagNew', name: 'new' }, { id: 'tagShop', name: 'shop' }]);
  assert.deepEqual(byId(now, 'wfAsk').tags, ['tagNew', 'tagShop']);
});

// [what, the change, status, what it says]
const broken = [
  ['another format', (it) => { it.format = 2; }, 422, /"format" must be 1/],
  ['a credential under another key', (it) => { it.credentials[0].data = encrypt({ a: 1 }, KEYS.prod); }, 422, /credential credHeader .*not encrypted with this instance's key/],
  ['a credential in the clear', (it) => { it.credentials[0].data = '{"a":1}'; }, 422, /not encrypted with this instance's key/],
  ['a connection to nowhere', (it) => { byId(it, 'wfAsk').connections.Webhook.main[0][0].node = 'Nobody'; }, 422, /workflow wfAsk .*Nobody/],
  ['nodes that are none', (it) => { it.workflows[0].nodes = 'x'; }, 422, /nodes are a list/],
  ['two nodes of one name', (it) => { byId(it, 'wfAsk').nodes[1].name = 'Webhook'; }, 422, /same name/],
  ['an id twice', (it) => { it.workflows[1].id = it.workflows[0].id; }, 422, /twice/],
  ['an id that is a path', (it) => { it.workflows[0].id = '../x'; }, 422, /no id of n8n's form/],
  ['a tag that is not there', (it) => { it.workflows[0].tags = ['nope']; }, 422, /tag nope/],
  ['a name that is too long', (it) => { it.workflows[0].name = 'x'.repeat(129); }, 422, /1 to 128/],
  ['an unknown option', (it) => { it.options = { active: 'maybe' }; }, 422, /"keep" or "clear"/],
];
for (const [what, change, status, says] of broken) {
  test(`it refuses ${what} and changes nothing`, async () => {
    const before = await get(dev);
    const content = structuredClone(before);
    content.workflows.at(-1).name = 'must not be written';
    change(content);
    const answer = await send(dev, content, content.options);
    assert.deepEqual([answer.status, answer.headers['content-type']], [status, 'application/problem+json'], answer.body);
    assert.match(answer.json().detail, says);
    assert.deepEqual(await get(dev), before);
    assert.deepEqual(await call(dev, 'ask'), { key: SECRET });
  });
}

test('an error in the middle of the transaction leaves nothing behind', async () => {
  const before = await get(dev);
  const content = structuredClone(before);
  content.workflows[0].name = 'must not be written';
  content.workflows.push(workflow('wfBoom', 'Boom', [node('T', 'manualTrigger', 1, {})]));
  sqlite(dev, "CREATE TRIGGER boom BEFORE INSERT ON workflow_entity WHEN NEW.id = 'wfBoom' BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END");
  const answer = await send(dev, content);
  sqlite(dev, 'DROP TRIGGER boom');
  assert.equal(answer.status, 500, answer.body);
  assert.match(answer.json().detail, /the disk is gone/);
  assert.deepEqual(await get(dev), before);
});

test('other methods, bodies that are not JSON, and two at once', async () => {
  assert.equal((await dev.ask({ method: 'DELETE', path: '/openflow/content', headers: BEARER })).status, 405);
  assert.equal((await dev.ask({ method: 'PUT', path: '/openflow/content', headers: BEARER, body: '{' })).status, 400);
  const content = await get(dev);
  const answers = await Promise.all([send(dev, content), send(dev, content)]);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409]);
});

test('nobody but the manager gets it', async () => {
  for (const headers of [{}, identity('owner'), { authorization: 'Bearer x' }, { cookie: `openflow_token=${BEARER.authorization.slice(7)}` }]) {
    for (const target of ['/openflow/content', '/openflow/modules', '/openflow/awake', '/OPENFLOW/content/']) {
      const answer = await dev.ask({ path: target, headers: { ...headers, accept: 'application/json' } });
      assert.ok(![200, 405].includes(answer.status), `${target} ${answer.status}`);
      assert.ok(!answer.body.includes('wfAsk'));
    }
  }
});

test('what keeps it awake: schedules, polls and connections of published workflows', async () => {
  const base = await get(prod);
  const timed = workflow('wfTimed', 'Timed', [node('Schedule', 'scheduleTrigger', 1.2, { rule: { interval: [{ field: 'hours' }] } }), node('Wait', 'noOp', 1, {})]);
  const idle = workflow('wfIdle', 'Idle', [node('Schedule', 'scheduleTrigger', 1.2, { rule: { interval: [{ field: 'hours' }] } })], { active: false });
  assert.deepEqual(await get(prod, '/openflow/awake'), { triggers: [], more: 0, waitingUntil: null, running: 0 });
  await put(prod, { ...base, workflows: [...base.workflows, timed, idle] });
  assert.deepEqual((await get(prod, '/openflow/awake')).triggers,
    [{ workflowId: 'wfTimed', workflow: 'Timed', node: 'Schedule', type: 'n8n-nodes-base.scheduleTrigger', kind: 'schedule' }]);
  const patient = (id, wait) => workflow(id, id, [{ ...webhook(id), parameters: { path: id, responseMode: 'onReceived', options: {} } }, node('Wait', 'wait', 1.1, wait),
    node('Poll', 'rssFeedReadTrigger', 1, { feedUrl: 'http://127.0.0.1:1/' }, { disabled: true })]);
  const byCall = patient('wfByCall', { resume: 'webhook', options: {} });
  const byTime = patient('wfByTime', { resume: 'timeInterval', amount: 1, unit: 'hours' });
  assert.deepEqual((await put(prod, { ...base, workflows: [...base.workflows, byCall, byTime] })).inactive, []);
  const idles = async () => (await rest(prod, 'GET', '/executions')).json().data.results.filter(({ status }) => status === 'waiting').length;
  await call(prod, 'wfByCall');
  await until(async () => await idles() === 1);
  assert.deepEqual(await get(prod, '/openflow/awake'), { triggers: [], more: 0, waitingUntil: null, running: 0 });
  await call(prod, 'wfByTime');
  await until(async () => await idles() === 2);
  const { waitingUntil } = await get(prod, '/openflow/awake');
  assert.ok(Math.abs(new Date(waitingUntil) - Date.now() - 3_600_000) < 600_000, waitingUntil);
  await put(prod, base);
});

test('the manager hears of what people publish, not of what it writes itself', async () => {
  const content = await get(dev);
  const content2 = structuredClone(content);
  byId(content2, 'wfDraft').active = true;
  manager.calls.length = 0;
  await put(dev, content2);
  await put(dev, content);
  const { data } = (await rest(dev, 'GET', '/workflows/wfDraft')).json();
  const activated = await rest(dev, 'POST', '/workflows/wfDraft/activate', { versionId: data.versionId });
  assert.equal(activated.status, 200, activated.body);
  await until(() => manager.calls.some(({ url }) => url === DEPLOYED));
  const notices = manager.calls.filter(({ url }) => url === DEPLOYED).map(({ body }) => JSON.parse(body));
  assert.deepEqual(notices, [{ person: { userId: 'user-1' } }]);
  await put(dev, content);
});

test('modules: what is no package of nodes is refused', async () => {
  for (const body of [{}, { name: 'left-pad' }, { name: 'n8n-nodes-x; rm -rf /' }, { name: '../n8n-nodes-x' }, { name: 'n8n-nodes-x', version: 'latest || 1' }]) {
    const answer = await dev.ask({ method: 'POST', path: '/openflow/modules', headers: { ...BEARER, 'content-type': 'application/json' }, body });
    assert.deepEqual([answer.status, answer.headers['content-type']], [422, 'application/problem+json'], answer.body);
  }
});

test('a stopped instance says the same', async () => {
  const running = await get(dev);
  await dev.stop();
  const args = [path.join(ROOT, 'settings-shim/n8n/content.js'), '--data', dev.data];
  const output = execFileSync(staged().node, args, { env: { PATH: process.env.PATH }, encoding: 'utf8', maxBuffer: 64 * 1024 ** 2 });
  assert.deepEqual(JSON.parse(output), running);
});
