'use strict';
// The broker node that a new instance begins with (../node-red/broker.json): flows use it with nothing typed in.
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { PASSWORD, seeded, startBroker } = require('./mosquitto');
const { BEARER, CREDENTIAL_SECRET, deploy, identity, startNodeRed, until } = require('./support');
const { node: BROKER, credentials: CREDENTIALS } = require('../node-red/broker.json');

/** mqtt in → function → mqtt out, as the editor saves it. */
const shout = (from, to) => [
  { id: 'tab', type: 'tab', label: 'Shout' },
  { id: 'in', type: 'mqtt in', z: 'tab', x: 1, y: 1, topic: from, qos: '2', datatype: 'auto-detect', broker: BROKER.id, nl: false, rap: true, rh: 0, inputs: 0, wires: [['shout']] },
  { id: 'shout', type: 'function', z: 'tab', x: 1, y: 1, outputs: 1, func: 'msg.payload = String(msg.payload).toUpperCase(); return { payload: msg.payload };', wires: [['out']] },
  { id: 'out', type: 'mqtt out', z: 'tab', x: 1, y: 1, topic: to, qos: '1', retain: 'false', broker: BROKER.id, wires: [] },
];

/** What is in the sealed file of credentials. */
function opened(userDir) {
  const key = crypto.createHash('sha256').update(CREDENTIAL_SECRET).digest();
  const { $: text } = JSON.parse(fs.readFileSync(path.join(userDir, 'flows_cred.json')));
  const decipher = crypto.createDecipheriv('aes-256-ctr', key, Buffer.from(text.slice(0, 32), 'hex'));
  return JSON.parse(decipher.update(text.slice(32), 'base64', 'utf8') + decipher.final('utf8'));
}

/** Sends until the flow answers: it may still be connecting, and what comes earlier is nobody's. */
async function passes(broker, text = 'hello') {
  const answers = broker.subscribe('line/out');
  try {
    await until(() => {
      broker.publish('line/in', text);
      return answers.messages().includes(`line/out ${text.toUpperCase()}`);
    });
  } finally {
    }
}

let broker;
before(async () => { broker = await startBroker({ secure: true }); });
after(async () => { await broker?.stop(); });

test('a flow from mqtt in to mqtt out works with nothing typed in', async () => {
  const red = await startNodeRed({ userDir: seeded(shout('line/in', 'line/out')), env: broker.env });
  try {
    await passes(broker);
  } finally {
    await red.stop();
  }
});

test('a flow that is deployed later uses the node too', async () => {
  const red = await startNodeRed({ userDir: seeded([]), env: broker.env });
  try {
    const { flows } = (await red.ask({ path: '/flows', headers: { ...BEARER, 'node-red-api-version': 'v2' } })).json();
    assert.deepEqual(flows, [BROKER]);
    await deploy(red, [...flows, ...shout('line/in', 'line/out')]);
    await passes(broker);
  } finally {
    await red.stop();
  }
});

test('nobody connects while no flow uses the node', async () => {
  const before = broker.log().split('New client connected').length;
  const red = await startNodeRed({ userDir: seeded([]), env: broker.env });
  await red.stop();
  assert.equal(broker.log().split('New client connected').length, before);
});

test('what is stored and what is shown holds no secret, also after other credentials were added', async () => {
  const userDir = seeded(shout('line/in', 'line/out'));
  const red = await startNodeRed({ userDir, env: broker.env });
  try {
    const other = { id: 'other', type: 'mqtt-broker', name: 'Other', broker: '127.0.0.1', port: '1', credentials: { user: 'u', password: 'typed-in' } };
    await deploy(red, [BROKER, other, ...shout('line/in', 'line/out')]);
    await passes(broker);
    assert.deepEqual(opened(userDir), { [BROKER.id]: CREDENTIALS, other: other.credentials });
    assert.ok(!fs.readFileSync(path.join(userDir, 'flows.json'), 'utf8').includes(PASSWORD));
    for (const headers of [BEARER, identity('viewer')]) {
      for (const target of ['/flows', '/settings', '/diagnostics', '/nodes', '/plugins', `/credentials/mqtt-broker/${BROKER.id}`, '/context/global']) {
        const answer = await red.ask({ path: target, headers: { ...headers, accept: 'application/json' } });
        assert.ok(answer.status === 200 || answer.status === 403, `${answer.status} ${target}`);
        assert.ok(!answer.body.includes(PASSWORD), target);
      }
    }
    assert.ok(!red.log().includes(PASSWORD));
  } finally {
    await red.stop();
  }
});

test('after the password was changed, the next start has the new one', async () => {
  const userDir = seeded(shout('line/in', 'line/out'));
  const old = await startBroker();
  const first = await startNodeRed({ userDir, env: old.env });
  await passes(old);
  await first.stop();
  await old.stop();
  const changed = await startBroker({ port: old.port, password: 'omp_another-mqtt-password-0123456789' });
  const second = await startNodeRed({ userDir, env: changed.env });
  try {
    await passes(changed);
  } finally {
    await second.stop();
    await changed.stop();
  }
});

test('a broker that was away, or refused at first, is found again', async () => {
  const short = await startBroker();
  const red = await startNodeRed({ userDir: seeded(shout('line/in', 'line/out')), env: short.env });
  let again;
  try {
    await passes(short);
    await short.stop();
    again = await startBroker({ port: short.port, password: 'omp_another-mqtt-password-0123456789' });
    await until(() => /not authori[sz]ed|bad user/i.test(again.log()));
    await again.stop();
    again = await startBroker({ port: short.port });
    await passes(again);
  } finally {
    await red.stop();
    await again?.stop();
  }
});

test('with a client id and without a clean session, what was sent meanwhile is kept', async () => {
  const env = { ...broker.env, OPENFLOW_INSTANCE_ID: 'an-instance' };
  const first = await startNodeRed({ userDir: seeded([]), env });
  await deploy(first, [{ ...BROKER, clientid: '${OPENFLOW_INSTANCE_ID}', cleansession: false, autoUnsubscribe: false }, ...shout('line/in', 'line/out')]);
  await passes(broker);
  await first.stop();
  broker.publish('line/in', 'meanwhile');
  const answers = broker.subscribe('line/out');
  const second = await startNodeRed({ userDir: first.userDir, env });
  await until(() => answers.messages().includes('line/out MEANWHILE'));
  await second.stop();
  assert.match(broker.log(), /as an-instance \(/);
});

test('two instances, and two copies of the node, do not take over each other', async () => {
  const one = await startNodeRed({ userDir: seeded(shout('line/in', 'line/out')), env: broker.env });
  const copy = { ...BROKER, id: 'copy', credentials: CREDENTIALS };
  const two = await startNodeRed({ userDir: seeded([]), env: broker.env });
  try {
    const flow = shout('line/in', 'copy/out').map((it) => (it.broker ? { ...it, broker: 'copy' } : it));
    const own = shout('line/in', 'own/out').slice(1).map((it) => ({ ...it, id: `own-${it.id}`, z: 'tab', wires: it.wires.map((to) => to.map((id) => `own-${id}`)) }));
    await deploy(two, [BROKER, copy, ...flow, ...own]);
    const answers = broker.subscribe('+/out');
    await until(() => {
      broker.publish('line/in', 'all');
      return ['line/out ALL', 'copy/out ALL', 'own/out ALL'].every((it) => answers.messages().includes(it));
    });
      assert.doesNotMatch(broker.log(), /already connected/);
  } finally {
    await one.stop();
    await two.stop();
  }
});

test('an address may be for TLS or WebSocket; a certificate that is not trusted is refused', async () => {
  const trusted = { NODE_EXTRA_CA_CERTS: broker.ca };
  for (const [scheme, env] of [['mqtts', trusted], ['ws', {}], ['wss', trusted]]) {
    const red = await startNodeRed({ userDir: seeded(shout('line/in', 'line/out')), env: { ...broker.env, ...env, OPENFLOW_MQTT_URL: broker.urls[scheme] } });
    try {
      await passes(broker, scheme);
    } finally {
      await red.stop();
    }
  }
  for (const scheme of ['mqtts', 'wss']) {
    const before = broker.log().split('New client connected').length;
    const red = await startNodeRed({ userDir: seeded(shout('line/in', 'line/out')), env: { ...broker.env, OPENFLOW_MQTT_URL: broker.urls[scheme] } });
    await until(() => red.log().includes(`Connection failed to broker: ${scheme}://`));
    await red.stop();
    assert.equal(broker.log().split('New client connected').length, before, scheme);
  }
});
