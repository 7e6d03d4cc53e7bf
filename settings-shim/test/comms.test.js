'use strict';
// Upgrades: the editor's WebSocket is as well guarded as its pages, and flows' own WebSockets as open as their paths.
const assert = require('node:assert/strict');
const net = require('node:net');
const { after, before, test } = require('node:test');
const { BEARER, INSTANCE_ID, MAGIC, deploy, identity, openSocket, raw, startManager, startNodeRed, until } = require('./support');
const { identityKey, signSession } = require('../common/identity');

const HOST = 'wf1.test';
const COOKIE = { cookie: `openflow_token=${MAGIC}`, host: HOST };
const OWN = { origin: `http://${HOST}` };
const SUBSCRIBE = '{"subscribe":"notification/#"}';

const FLOW = [
  { id: 'tab', type: 'tab', label: 'Sockets' },
  { id: 'listener', type: 'websocket-listener', path: '/ws/echo', wholemsg: 'false' },
  { id: 'in', type: 'websocket in', z: 'tab', x: 1, y: 1, server: 'listener', client: '', wires: [['look']] },
  { id: 'look', type: 'function', z: 'tab', x: 1, y: 1, func: 'msg.payload = "heard " + msg.payload; return msg;', wires: [['out']] },
  { id: 'out', type: 'websocket out', z: 'tab', x: 1, y: 1, server: 'listener', client: '', wires: [] },
];

let red;
let manager;
const tokens = {};
before(async () => {
  manager = await startManager(tokens);
  red = await startNodeRed({ env: { OPENFLOW_MANAGER_URL: manager.url } });
  await deploy(red, FLOW);
});
after(async () => {
  await red?.stop();
  manager?.stop();
});

const key = identityKey(MAGIC);
const viewerSession = signSession({ userId: 'u', name: 'Zoë', role: 'viewer' }, key, INSTANCE_ID, Math.floor(Date.now() / 1000) + 3600);
const waysIn = {
  'the cookie and our own origin': { ...COOKIE, ...OWN },
  'the cookie and no browser': COOKIE,
  'the cookie behind one that a sibling planted': { ...OWN, host: HOST, cookie: `openflow_token=planted; openflow_token=${MAGIC}` },
  'the magic token as bearer': BEARER,
  "the proxy's identity header": { ...identity('viewer'), ...OWN, host: HOST },
  'a viewer’s session': { ...OWN, host: HOST, cookie: `openflow_token=${viewerSession}` },
};
for (const [way, headers] of Object.entries(waysIn)) {
  test(`/comms opens with ${way} and delivers`, async () => {
    const socket = await openSocket(red.port, '/comms', headers);
    assert.equal(socket.opened, true);
    socket.send(SUBSCRIBE);
    await until(() => socket.frames.some((frame) => frame.includes('notification/')));
    assert.ok(!socket.frames.some((frame) => frame.includes('"auth"')));
    socket.close();
  });
}

const refusals = {
  'nothing': [{}, '/comms', 401],
  'a wrong cookie': [{ cookie: 'openflow_token=wrong' }, '/comms', 401],
  'the cookie from a sibling’s page': [{ ...COOKIE, origin: 'http://wf2.test' }, '/comms', 401],
  'the cookie from a page of the parent domain': [{ ...COOKIE, origin: 'http://test' }, '/comms', 401],
  'the cookie from a page without origin': [{ ...COOKIE, origin: 'null' }, '/comms', 401],
  'the identity header from a sibling’s page': [{ ...identity('owner'), host: HOST, origin: 'http://wf2.test' }, '/comms', 401],
  'an expired identity': [identity('owner', { seconds: -1 }), '/comms', 401],
  'a wrong bearer': [{ authorization: 'Bearer wrong' }, '/comms', 401],
  'the internal header, invented': [{ 'x-openflow-session': 'x.y' }, '/comms', 401],
  'a wrong token in the URL': [{}, '/comms?access_token=wrong', 401],
  'the magic token in the URL': [{}, `/comms?access_token=${MAGIC}`, 401],
  'nothing, in capitals': [{}, '/COMMS', 401],
  'nothing, on a path that only a flow might have': [{}, '/elsewhere', 404],
  'a viewer, on another path than the editor’s': [identity('viewer'), '/elsewhere', 403],
};
for (const [who, [headers, path, status]] of Object.entries(refusals)) {
  test(`an upgrade is refused: ${who}`, async () => {
    assert.deepEqual(await openSocket(red.port, path, headers), { opened: false, status });
  });
}

test('a launch token in the URL of an upgrade opens it once', async () => {
  tokens['t-ws'] = { userId: 'u', name: 'Ada', role: 'member' };
  const socket = await openSocket(red.port, '/comms?access_token=t-ws', { host: HOST, ...OWN });
  socket.send(SUBSCRIBE);
  await until(() => socket.frames.length > 0);
  socket.close();
  assert.deepEqual(await openSocket(red.port, '/comms?access_token=t-ws', {}), { opened: false, status: 401 });
});

test('frames that a client sends while its token is being redeemed are not lost', async () => {
  tokens['t-early'] = { userId: 'u', name: 'Ada', role: 'member' };
  const handshake = 'GET /comms?access_token=t-early HTTP/1.1\r\nHost: wf1.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
    + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
  const text = Buffer.from(SUBSCRIBE);
  const frame = Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text]);
  const answer = await raw(red.port, Buffer.concat([Buffer.from(handshake), frame]));
  assert.match(answer, /^HTTP\/1\.1 101 /);
  assert.match(answer, /notification\//);
});

test('a client that resets its connection while its token is being redeemed does no harm', async () => {
  manager.hang = true;
  const calls = manager.calls.length;
  const socket = net.connect(red.port, '127.0.0.1', () => socket.write('GET /comms?access_token=t-reset HTTP/1.1\r\nHost: h\r\n'
    + 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'));
  await until(() => manager.calls.length > calls);
  socket.resetAndDestroy();
  assert.equal((await openSocket(red.port, '/comms', BEARER)).opened, true);
  manager.hang = false;
  assert.equal(red.alive(), true);
});

test('a flow’s own WebSocket is open to everybody and works', async () => {
  const socket = await openSocket(red.port, '/api/ws/echo', { origin: 'http://anywhere.test' });
  socket.send('hello');
  await until(() => socket.frames.includes('heard hello'));
  socket.close();
});

test('no frame of a viewer ends the process', async () => {
  const socket = await openSocket(red.port, '/comms', identity('viewer'));
  for (const frame of ['null', '1', '[]', '""', '{"subscribe":1}', '{"subscribe":"a{2,1}"}', '{"auth":{}}', '{"auth":"x","subscribe":3}',
    '{"topic":{},"data":null}', '{"topic":"multiplayer/connect","data":null}', 'x'.repeat(100_000), '{']) socket.send(frame);
  const other = await openSocket(red.port, '/comms', BEARER);
  other.send(SUBSCRIBE);
  await until(() => other.frames.length > 0);
  assert.equal(red.alive(), true);
  other.close();
});
