'use strict';
// The routes behind the editor's button "Snapshot", and the notice after a deploy, asked of a real Node-RED.
const assert = require('node:assert/strict');
const { after, before, beforeEach, test } = require('node:test');
const net = require('node:net');
const { BEARER, ECHO_FLOW, MAGIC, deploy, identity, startManager, startNodeRed, until } = require('./support');
const { createDeployNotice } = require('../common/deployed');

const HOST = 'wf1.test';
const OWN = { host: HOST, origin: `http://${HOST}`, 'content-type': 'application/json' };
const SIBLING = { ...OWN, origin: 'http://wf2.test' };
const USER = '0198f0a0-0000-7000-8000-0000000000aa';
const ID = '0198f0a0-0000-7000-8000-0000000000bb';
const ITEM = { id: ID, kind: 'manual', name: 'before', author: 'Ada', nodes: 3, createdAt: '2026-01-01T00:00:00Z' };
const as = (role) => ({ ...identity(role, { userId: USER }), ...OWN });

let red;
let manager;
let answers;
const asked = (url) => manager.calls.filter((call) => call.url.startsWith(url));
const notices = () => asked('/shim/v1/deployed').map(({ body }) => JSON.parse(body));
before(async () => {
  manager = await startManager({}, (method, path) => answers[`${method} ${path}`]);
  answers = { 'POST /shim/v1/deployed': [202, ''] };
  red = await startNodeRed({ env: { OPENFLOW_MANAGER_URL: manager.url } });
});
beforeEach(() => {
  manager.calls.length = 0;
  manager.down = false;
  answers = {
    'GET /shim/v1/snapshots?limit=10': [200, { items: [ITEM] }],
    'POST /shim/v1/snapshots': [201, ITEM],
    [`POST /shim/v1/snapshots/${ID}/restore`]: [202, { id: ID, state: 'preparing' }],
    [`GET /shim/v1/restores/${ID}`]: [200, { id: ID, state: 'done', detail: null }],
    'POST /shim/v1/deployed': [202, ''],
  };
});
after(async () => {
  await red?.stop();
  manager?.stop();
});

// [method, path, body, what the manager is asked, with which body, status]
const forwarded = [
  ['GET', '/openflow/snapshots', undefined, 'GET /shim/v1/snapshots?limit=10', '', 200],
  ['POST', '/openflow/snapshots', {}, 'POST /shim/v1/snapshots', { person: { userId: USER } }, 201],
  ['POST', '/openflow/snapshots', undefined, 'POST /shim/v1/snapshots', { person: { userId: USER } }, 201],
  ['POST', '/openflow/snapshots', { name: 'Über <b>', person: { userId: 'mallory' }, kind: 'auto' }, 'POST /shim/v1/snapshots', { name: 'Über <b>', person: { userId: USER } }, 201],
  ['POST', `/openflow/snapshots/${ID}/restore`, { person: { userId: 'mallory' } }, `POST /shim/v1/snapshots/${ID}/restore`, { person: { userId: USER } }, 202],
  ['POST', `/OpenFlow/Snapshots/${ID.toUpperCase()}/restore`, undefined, `POST /shim/v1/snapshots/${ID}/restore`, { person: { userId: USER } }, 202],
  ['GET', `/openflow/restores/${ID}`, undefined, `GET /shim/v1/restores/${ID}`, '', 200],
];
for (const [method, path, body, question, said, status] of forwarded) {
  test(`${method} ${path} ${JSON.stringify(body)} asks the manager in the person's name`, async () => {
    const answer = await red.ask({ method, path, headers: as('member'), body });
    assert.deepEqual([answer.status, answer.headers['content-type'], answer.json()], [status, 'application/json', answers[question][1]]);
    assert.deepEqual(manager.calls.map((call) => [`${call.method} ${call.url}`, call.authorization, call.body && JSON.parse(call.body)]),
      [[question, `Bearer ${MAGIC}`, said]]);
  });
}

test('a viewer sees the list', async () => {
  assert.deepEqual((await red.ask({ path: '/openflow/snapshots', headers: as('viewer') })).json(), { items: [ITEM] });
});

const TAKE = { method: 'POST', path: '/openflow/snapshots' };
const BACK = { method: 'POST', path: `/openflow/snapshots/${ID}/restore` };
// [who or what, request, status]; none of them reaches the manager.
const refusals = [
  ['nobody, the list', { path: '/openflow/snapshots' }, 401],
  ['nobody, a snapshot', { ...TAKE, headers: OWN }, 401],
  ['a snapshot from a sibling’s page', { ...TAKE, headers: { ...as('owner'), ...SIBLING } }, 401],
  ['a rollback from a sibling’s page with the cookie', { ...BACK, headers: { cookie: `openflow_token=${MAGIC}`, ...SIBLING } }, 401],
  ['a viewer, a snapshot', { ...TAKE, headers: as('viewer') }, 403],
  ['a viewer, a rollback', { ...BACK, headers: as('viewer') }, 403],
  ['the magic token, which is nobody, a snapshot', { ...TAKE, headers: BEARER }, 403],
  ['an id that is none', { method: 'POST', path: '/openflow/snapshots/1/restore', headers: as('owner') }, 400],
  ['an id with a path in it', { method: 'POST', path: `/openflow/snapshots/${ID}%2fx/restore`, headers: as('owner') }, 400],
  ['a restore’s id that is none', { path: '/openflow/restores/x', headers: as('owner') }, 400],
  ['a body that is no JSON', { ...TAKE, headers: as('owner'), body: '{' }, 400],
  ['a body that is a list', { ...TAKE, headers: as('owner'), body: [] }, 400],
  ['a name that is no text', { ...TAKE, headers: as('owner'), body: { name: { a: 1 } } }, 400],
  ['a long body', { ...TAKE, headers: as('owner'), body: { name: 'x'.repeat(1_000_000) } }, 400],
  ['another method', { method: 'DELETE', path: '/openflow/snapshots', headers: as('owner') }, 405],
  ['a method that is a property of every object', { method: 'OPTIONS', path: `/openflow/restores/${ID}`, headers: as('owner') }, 405],
];
for (const [what, request, status] of refusals) {
  test(`refused: ${what}`, async () => {
    const answer = await red.ask(request);
    assert.equal(answer.status, status);
    if (status !== 401) {
      assert.equal(answer.headers['content-type'], 'application/problem+json');
      assert.equal(answer.json().status, status);
      assert.ok(answer.json().detail);
    }
    assert.deepEqual(manager.calls, []);
  });
}

const problem = (status, detail) => [status, { type: '/problems/x', title: 'T', status, detail, code: 'x' }];
// [what the manager answers, the status that the browser gets, its detail]
const problems = [
  [problem(403, 'You are not a member.'), 403, /not a member/],
  [problem(409, 'Another restore is running.'), 409, /Another restore/],
  [problem(422, 'The name is too long.'), 422, /too long/],
  [problem(404, 'There is no such snapshot.'), 410, /no such snapshot/],
  [problem(401, 'Unknown token.'), 503, /does not accept this instance/],
  [problem(500, 'Something went wrong on our side.'), 500, /on our side/],
  [problem(502, 'Docker is away.'), 503, /Docker is away/],
  [[200, 'not JSON'], 503, /could not be asked/],
  [[200, '[]'], 503, /could not be asked/],
  [[502, '<html>'], 503, /could not be asked/],
  [[200, JSON.stringify({ items: 'x'.repeat(300_000) })], 503, /could not be asked/],
];
for (const [given, status, detail] of problems) {
  test(`the manager answers ${given[0]} ${JSON.stringify(given[1]).slice(0, 60)}`, async () => {
    answers[`POST /shim/v1/snapshots/${ID}/restore`] = given;
    const answer = await red.ask({ ...BACK, headers: as('member') });
    assert.deepEqual([answer.status, answer.headers['content-type'], answer.json().status], [status, 'application/problem+json', status]);
    assert.match(answer.json().detail, detail);
  });
}

test('without a manager the answer says so', async () => {
  manager.down = true;
  const answer = await red.ask({ path: '/openflow/snapshots', headers: as('member') });
  assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '5']);
});

test('a deploy is told with the person, each way to deploy; what changes nothing is not', async () => {
  await deploy(red, ECHO_FLOW);
  await until(() => notices().length === 1);
  assert.deepEqual(notices(), [{}]); // the magic token is nobody
  const told = async (method, path, body) => {
    manager.calls.length = 0;
    const answer = await red.ask({ method, path, headers: as('member'), body });
    assert.ok(answer.status < 300, `${method} ${path} ${answer.status} ${answer.body}`);
    await until(() => notices().length === 1);
    assert.deepEqual(notices(), [{ person: { userId: USER } }]);
    return answer;
  };
  await told('POST', '/FLOWS/', ECHO_FLOW);
  const { id } = (await told('POST', '/flow', { label: 'New', nodes: [] })).json();
  await told('PUT', `/flow/${id}`, { id, label: 'Newer', nodes: [] });
  await told('DELETE', `/flow/${id}`);

  manager.calls.length = 0;
  const silent = [
    ['POST', '/flows', '{"not": "flows"}', 400], ['PUT', '/flow/nothing', { label: 'x', nodes: [] }, 404], ['GET', '/flows', undefined, 200],
    ['POST', '/flows/state', { state: 'start' }, 200], ['POST', '/api/echo', {}, 200],
  ];
  for (const [method, path, body, status] of silent) assert.equal((await red.ask({ method, path, headers: as('member'), body })).status, status, path);
  assert.equal((await red.ask({ method: 'POST', path: '/flows', headers: as('viewer'), body: ECHO_FLOW })).status, 403);
  await told('POST', '/flows', ECHO_FLOW); // had one of them been told, there would be more than one now
});

test('a deploy whose sender has hung up is told too', async () => {
  const body = JSON.stringify(ECHO_FLOW);
  const socket = net.connect(red.port, '127.0.0.1');
  socket.end(`POST /flows HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${MAGIC}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`, () => socket.destroy());
  await until(() => notices().length === 1);
});

test('a deploy does not wait for the manager, nor fail without it', async () => {
  manager.hang = true;
  try {
    const answer = await red.ask({ method: 'POST', path: '/flows', headers: as('member'), body: ECHO_FLOW });
    assert.equal(answer.status, 204);
    await until(() => notices().length === 1);
  } finally {
    manager.hang = false;
  }
});

/** A notice on a manager of the test's own: `answers` are given one after the other; `release()` lets the next one go. */
function noticeWith(statuses, pausesMs = [1, 1]) {
  const calls = [];
  const waiting = [];
  const lines = [];
  const ask = (method, path, { body }) => new Promise((resolve, reject) => {
    calls.push(body);
    const status = statuses.shift() ?? 202;
    waiting.push(() => (status === 'away' ? reject(new Error('away')) : resolve({ status })));
  });
  const deployed = createDeployNotice(ask, { pausesMs, log: (line) => lines.push(line) });
  return { calls, lines, deployed, release: async () => { await until(() => waiting.length > 0); waiting.shift()(); } };
}
const person = (userId) => ({ userId, name: userId, role: 'member' });
const said = (userId) => ({ person: { userId } });

test('of many deploys one notice is on its way and the latest waits', async () => {
  const notice = noticeWith([]);
  for (const userId of ['a', 'b', 'c', 'd']) notice.deployed(person(userId));
  assert.deepEqual(notice.calls, [said('a')]);
  await notice.release();
  await notice.release();
  assert.deepEqual(notice.calls, [said('a'), said('d')]);
  notice.deployed(person('e'));
  await until(() => notice.calls.length === 3);
  assert.deepEqual(notice.lines, []);
});

test('a notice is tried again a few times, then given up with a line in the log', async () => {
  const notice = noticeWith(['away', 503, 202, 'away', 429, 500]);
  notice.deployed(person('a'));
  for (let i = 0; i < 3; i += 1) await notice.release();
  assert.deepEqual(notice.lines, []);
  await until(() => notice.calls.length === 3);
  notice.deployed(person('b'));
  for (let i = 0; i < 3; i += 1) await notice.release();
  await until(() => notice.lines.length === 1);
  assert.match(notice.lines[0], /not told of a deploy.*answered 500/);
  assert.equal(notice.calls.length, 6);
});

test('a notice that the manager refuses is not repeated', async () => {
  const notice = noticeWith([404]);
  notice.deployed(person('a'));
  await notice.release();
  await until(() => notice.lines.length === 1);
  assert.equal(notice.calls.length, 1);
});

test('at the end of the process a notice that waits for its next try is tried at once, for the last time, and not waited for without end', async () => {
  await noticeWith([]).deployed.flush(3_600_000); // nothing to tell
  const notice = noticeWith(['away', 503], [3_600_000]);
  notice.deployed(person('a'));
  await notice.release();
  await new Promise(setImmediate); // it waits now
  await notice.deployed.flush(1);
  await until(() => notice.calls.length === 2);
  await notice.release();
  await until(() => notice.lines.length === 1);
  assert.match(notice.lines[0], /answered 503/);
});
