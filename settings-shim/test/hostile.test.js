'use strict';
// Whatever comes in, the instance stays up and nobody gets in by it.
const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { BEARER, MAGIC, raw, startNodeRed, until } = require('./support');

let red;
before(async () => { red = await startNodeRed(); });
after(async () => { await red?.stop(); });

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
const requests = {
  'a target of slashes': 'GET // HTTP/1.1\r\nHost: h\r\n\r\n',
  'a target that is no URL': 'GET //[ HTTP/1.1\r\nHost: h\r\n\r\n',
  'an absolute target': 'GET http://h/flows HTTP/1.1\r\nHost: h\r\n\r\n',
  'an absolute target that is no URL': 'GET http://[/ HTTP/1.1\r\nHost: h\r\n\r\n',
  'a star': 'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n',
  'a tunnel': 'CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n',
  'broken escapes': 'GET /api/%zz%f?access_token=%zz HTTP/1.1\r\nHost: h\r\n\r\n',
  'broken escapes in the query of the editor': 'GET /?access_token=%e0%a4 HTTP/1.1\r\nHost: h\r\n\r\n',
  'odd cookies': 'GET /flows HTTP/1.1\r\nHost: h\r\nCookie: =;;; openflow_token; openflow_token==; openflow_token=%zz; \xff\xfe\r\n\r\n',
  'a name from the prototype as a cookie': 'GET /flows HTTP/1.1\r\nHost: h\r\nCookie: __proto__=1; constructor=1\r\n\r\n',
  'odd forwarding headers': 'POST /flows HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: ,\r\nX-Forwarded-Proto: ,,\r\nOrigin: :::\r\nContent-Length: 0\r\n\r\n',
  'an upgrade to slashes': `GET // HTTP/1.1\r\nHost: h\r\n${UPGRADE}\r\n`,
  'an upgrade to what is no URL': `GET //[ HTTP/1.1\r\nHost: h\r\n${UPGRADE}\r\n`,
  'an upgrade to an absolute address that is no URL': `GET http://[::1 HTTP/1.1\r\nHost: h\r\n${UPGRADE}\r\n`,
  'an upgrade to a flow path that is no URL': `GET /api/@[:\\ HTTP/1.1\r\nHost: h\r\n${UPGRADE}\r\n`,
  'an upgrade without a key': 'GET /comms HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'an upgrade to something else': 'GET /comms HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
  'an upgrade with a body': `POST /comms HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n${UPGRADE}\r\nabc`,
  'half a request': 'GET /flows HTTP/1.1\r\nHost',
  'no HTTP at all': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'a header line without end': `GET / HTTP/1.1\r\nHost: h\r\nX: ${'a'.repeat(200_000)}`,
};
for (const [what, bytes] of Object.entries(requests)) {
  test(`survived: ${what}`, async () => {
    const answer = await raw(red.port, Buffer.from(bytes, 'latin1'), 700);
    assert.doesNotMatch(answer, /^HTTP\/1\.1 (2|101)/);
    assert.equal(red.alive(), true, red.log());
    assert.equal((await red.ask({ path: '/openflow/health' })).status, 200);
  });
}

test('many cookies planted by a sibling do not lock the owner out', async () => {
  const bomb = Array.from({ length: 12 }, (_, i) => `bomb${i}=${'x'.repeat(4000)}`).join('; ');
  const answer = await red.ask({ path: '/flows', headers: { cookie: `${bomb}; openflow_token=${MAGIC}` } });
  assert.equal(answer.status, 200);
});

test('a connection is not used again after a body that nobody read', async () => {
  const inner = `GET /flows HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${MAGIC}\r\n\r\n`;
  const answer = await raw(red.port, `POST /flows HTTP/1.1\r\nHost: h\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`, 1500);
  assert.match(answer, /^HTTP\/1\.1 401 /);
  assert.equal(answer.match(/HTTP\/1\.1/g).length, 1);
});

test('an upgrade that no flow answers does not stay open', async () => {
  const begun = Date.now();
  const answer = await raw(red.port, `GET /api/nobody HTTP/1.1\r\nHost: h\r\n${UPGRADE}\r\n`, 60_000);
  assert.equal(answer, '');
  assert.ok(Date.now() - begun < 60_000);
});

test('a client that leaves in the middle of an upgrade does no harm', async () => {
  for (let i = 0; i < 20; i += 1) await raw(red.port, `GET /comms HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${MAGIC}\r\n${UPGRADE}\r\n\x81`, 5);
  await until(async () => (await red.ask({ path: '/flows', headers: BEARER })).status === 200);
  assert.equal(red.alive(), true);
});
