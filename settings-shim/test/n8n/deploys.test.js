'use strict';
// When the manager hears of a change. The times are short here; what n8n does is in content.test.js.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { HOLDER } = require('../../common/identity');
const { deployHooks, runAs, silently } = require('../../n8n/deploys');
const { until } = require('../support');

const ADA = { userId: 'ada', name: 'Ada', role: 'member' };
const BOB = { userId: 'bob', name: 'Bob', role: 'member' };
const NEVER = { quietMs: 3_600_000, latestMs: 3_600_000, soonMs: 20 };
const SOON = { quietMs: 50, latestMs: 3_600_000, soonMs: 20 };

function hooks(times) {
  const told = [];
  const { workflow, credentials } = deployHooks((person) => told.push(person.userId), times);
  const run = async (list) => { for (const hook of list) await hook(); };
  return { told, publish: () => run(workflow.activate), save: () => run(workflow.afterUpdate), credential: () => run(credentials.update) };
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
