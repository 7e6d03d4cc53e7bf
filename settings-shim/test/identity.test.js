'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const test = require('node:test');
const { identityKey, person, sameSecret, signCredential, signSession, verifyCredential, verifySession } = require('../common/identity');

// The same file that the proxy's tests check: both sides must agree on every byte.
const file = process.env.OPENFLOW_VECTORS ?? path.join(__dirname, '../../proxy/route-api/vectors.json');
const vectors = JSON.parse(fs.readFileSync(file));
const key = identityKey(vectors.magicToken);
const instanceId = vectors.identities[0].claims.i;

test('the key derived from the magic token is the one the proxy derives', () => {
  assert.equal(key.toString('base64url'), vectors.identityKey);
});

for (const { claims, token, now } of vectors.identities) {
  test(`the proxy's credential of a ${claims.r} is accepted, and ours is the same`, () => {
    assert.deepEqual(verifyCredential(token, key, claims.i, now), { userId: claims.u, name: claims.n, role: claims.r });
    assert.equal(signCredential(claims, key), token);
  });
}

for (const { why, token, now } of vectors.refusedIdentities) {
  test(`a credential is refused: ${why}`, () => assert.equal(verifyCredential(token, key, instanceId, now), null));
}

test('a credential is refused: other ways', () => {
  const claims = { ...vectors.identities[0].claims, i: instanceId };
  const now = vectors.identities[0].now;
  const good = signCredential(claims, key);
  assert.ok(verifyCredential(good, key, instanceId, now));
  const bad = {
    'for another instance': signCredential({ ...claims, i: 'other' }, key),
    'under another key': signCredential(claims, identityKey('omt_another-magic-token')),
    'with an unknown role': signCredential({ ...claims, r: 'admin' }, key),
    'with a role from the prototype': signCredential({ ...claims, r: 'constructor' }, key),
    'without a user': signCredential({ ...claims, u: '' }, key),
    'without expiry': signCredential({ ...claims, exp: undefined }, key),
    'with expiry as text': signCredential({ ...claims, exp: '9999999999' }, key),
    'with a list instead of claims': signCredential([], key),
    'with nothing instead of claims': signCredential(null, key),
    'with three parts': `${good}.x`,
    'with a space': ` ${good}`,
    'a session of the shim': signSession({ userId: 'u', name: 'n', role: 'owner' }, key, instanceId, now + 60),
    'far too long': `${'a'.repeat(10_000)}.b`,
    'not text': 17,
    missing: undefined,
  };
  for (const [why, token] of Object.entries(bad)) assert.equal(verifyCredential(token, key, instanceId, now), null, why);
  assert.equal(verifyCredential(good, key, '', now), null, 'an instance that does not know its id accepts none');
});

test('a session of the shim is accepted until it expires, and a credential is no session', () => {
  const ada = { userId: 'u1', name: 'Ada', role: 'viewer' };
  const session = signSession(ada, key, instanceId, 1000);
  assert.deepEqual(verifySession(session, key, instanceId, 999), ada);
  assert.equal(verifySession(session, key, instanceId, 1000), null);
  assert.equal(verifySession(session, key, 'other', 999), null);
  assert.equal(verifySession(vectors.identities[0].token, key, instanceId, vectors.identities[0].now), null);
});

test('a name can hold neither markup nor become a key of the prototype', () => {
  assert.equal(person('u1', '<img src=x onerror=alert(1)>', 'owner').name, '‹img src=x onerror=alert(1)›');
  assert.equal(person('u1', '__proto__', 'owner').name, 'proto__');
  assert.equal(person('u1', ' \n\u2028 ', 'owner').name, 'u1');
  assert.equal(person('u1', undefined, 'owner').name, 'u1');
  assert.equal([...person('u1', '🦀'.repeat(500), 'owner').name].length, 100);
});

test('secrets are compared by content, whatever their type or length', () => {
  assert.equal(sameSecret('abc', 'abc'), true);
  for (const other of ['abd', 'ab', 'abcd', '', undefined, null, {}]) assert.equal(sameSecret(other, 'abc'), false);
});
