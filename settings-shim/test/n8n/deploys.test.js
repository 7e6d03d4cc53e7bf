'use strict';
// When the manager hears of a change. The times are short here; with a real n8n only what happens when it stops (the rest is in
// content.test.js).
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { HOLDER } = require('../../common/identity');
const { deployHooks, runAs, silently } = require('../../n8n/deploys');
const { JSON_TYPE, echoWorkflow, identity, startManager, startN8n, until } = require('./support');

const ADA = { userId: 'ada', name: 'Ada', role: 'member' };
const BOB = { userId: 'bob', name: 'Bob', role: 'member' };
const NEVER = { quietMs: 3_600_000, latestMs: 3_600_000, soonMs: 20 };
const SOON = { quietMs: 50, latestMs: 3_600_000, soonMs: 20 };

function hooks(times) {
  const told = [];
  const deployed = Object.assign((person) => told.push(person.userId), { flush: async () => { told.push('flushed'); } });
  const { workflow, credentials, n8n } = deployHooks(deployed, times);
  const run = async (list) => { for (const hook of list) await hook(); };
  return { told, publish: () => run(workflow.activate), save: () => run(workflow.afterUpdate), credential: () => run(credentials.update), stop: () => run(n8n.stop) };
}
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

test('what is published is told at once, with who did it', async () => {
  const { told, publish } = hooks(NEVER);
  await runAs(ADA, publish);
  await until(() => told.length > 0);
  assert.deepEqual(told, ['ada']);
});

test('saves are told once, when it is quiet, as done by the last one', async () => {
  const { told, save, credential } = hooks(SOON);
  await runAs(ADA, save);
  await runAs(ADA, credential);
  await runAs(BOB, save);
  await until(() => told.length > 0);
  await pause(200);
  assert.deepEqual(told, ['bob']);
});

test('a save does not put off what is published, and goes along with it', async () => {
  const { told, publish, save } = hooks(NEVER);
  await runAs(ADA, save);
  await runAs(ADA, publish);
  await runAs(BOB, save);
  await until(() => told.length > 0);
  assert.deepEqual(told, ['ada']);
});

test('somebody who never pauses is told of all the same', async () => {
  const { told, save } = hooks({ quietMs: 3_600_000, latestMs: 100, soonMs: 20 });
  await runAs(ADA, save);
  await until(async () => { await runAs(ADA, save); return told.length > 0; });
});

test('what has no person is the holder’s, and what the manager does is not told', async () => {
  const { told, publish, save } = hooks(SOON);
  await silently(publish);
  await silently(save);
  await pause(150);
  assert.deepEqual(told, []);
  await publish();
  await until(() => told.length > 0);
  assert.deepEqual(told, [HOLDER.userId]);
});

test('what waits when n8n stops is told then, and once', async () => {
  const { told, save, stop } = hooks(SOON);
  await runAs(ADA, save);
  await stop();
  assert.deepEqual(told, ['ada', 'flushed']);
  await pause(150);
  await stop();
  assert.deepEqual(told, ['ada', 'flushed', 'flushed']);
});

const NOTICE = '/shim/v1/deployed';

async function savedAndStopped(prepare) {
  const manager = await startManager({}, (method, url) => (url === NOTICE ? [202, ''] : undefined));
  const n8n = await startN8n({ env: { OPENFLOW_MANAGER_URL: manager.url } });
  try {
    const saved = await n8n.ask({ method: 'POST', path: '/rest/workflows', headers: { ...identity('member'), ...JSON_TYPE }, body: echoWorkflow('saved') });
    assert.equal(saved.status, 200, saved.body);
    const notices = () => manager.calls.filter(({ url }) => url === NOTICE).map(({ body }) => JSON.parse(body));
    assert.deepEqual(notices(), []);
    prepare(manager);
    await n8n.stop();
    return { n8n, notices: notices() };
  } finally {
    await n8n.stop();
    manager.stop();
  }
}

test('n8n that is stopped soon after a save tells of it before it ends', async () => {
  const { n8n, notices } = await savedAndStopped(() => {});
  assert.deepEqual([n8n.child.exitCode, notices], [0, [{ person: { userId: 'user-1' } }]], n8n.log());
});

test('a manager that does not answer does not hold up the end', async () => {
  const { n8n, notices } = await savedAndStopped((manager) => { manager.hang = true; });
  assert.deepEqual([n8n.child.exitCode, notices.length], [0, 1], n8n.log()); // n8n would end with 1 after 20 s
});
