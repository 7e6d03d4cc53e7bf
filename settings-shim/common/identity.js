'use strict';
// Who asks. Two signed forms of the same statement {u: user id, n: name, r: role, i: instance id, exp: Unix seconds}:
// - the identity credential that openflow-proxy puts on each request (docs/wire.md), good for a minute;
// - the session that the shim itself gives a browser behind nginx alone, good for a month.
// Both are `<payload>.<mac>` in base64url under the key that is derived from the magic token; the label in front of
// what is signed keeps one from passing as the other.
const { createHmac, createHash, timingSafeEqual } = require('node:crypto');

const KEY_LABEL = 'openflow-identity-key-v1';
const CREDENTIAL_LABEL = 'openflow-identity-v1.';
const SESSION_LABEL = 'openflow-shim-session-v1.';
const MAX_CREDENTIAL_LENGTH = 4096;
const MAX_NAME_LENGTH = 100;
const ROLES = ['owner', 'member', 'viewer'];
const HOLDER = { userId: 'openflow', name: 'openflow', role: 'owner' }; // whoever holds the magic token and has no name

const hmac = (key, text) => createHmac('sha256', key).update(text).digest();

/** The 32-byte key that signs identities for the instance with this magic token. */
function identityKey(magic) {
  return hmac(magic, KEY_LABEL);
}

/** Compares two texts in a time that tells neither content nor length. */
function sameSecret(a, b) {
  const digest = (text) => createHash('sha256').update(String(text)).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function sign(label, key, statement) {
  const payload = Buffer.from(JSON.stringify(statement)).toString('base64url');
  return `${payload}.${hmac(key, label + payload).toString('base64url')}`;
}

/** The signed statement if mac, instance, expiry and role are right; otherwise null. Never throws. */
function verify(label, key, text, instanceId, nowSeconds) {
  if (typeof text !== 'string' || text.length > MAX_CREDENTIAL_LENGTH || !instanceId) return null;
  const [payload, mac, ...more] = text.split('.');
  if (!payload || !mac || more.length > 0) return null;
  if (!sameSecret(mac, hmac(key, label + payload).toString('base64url'))) return null;
  let statement;
  try {
    statement = JSON.parse(Buffer.from(payload, 'base64url').toString());
  } catch {
    return null;
  }
  if (statement?.i !== instanceId || !(Number.isFinite(statement.exp) && statement.exp > nowSeconds)) return null;
  return person(statement.u, statement.n, statement.r);
}

/**
 * A person as the shim knows them; null when the role is unknown or there is no id.
 * @returns {{userId: string, name: string, role: 'owner' | 'member' | 'viewer'} | null}
 */
function person(userId, name, role) {
  if (typeof userId !== 'string' || userId === '' || !ROLES.includes(role)) return null;
  return { userId, name: displayName(name) || userId, role };
}

/** Editors put the name into HTML unescaped and use it as a key, so it may hold no markup and not be `__proto__`. */
function displayName(name) {
  if (typeof name !== 'string') return '';
  const text = name.replace(/</g, '‹').replace(/>/g, '›').replace(/[\p{Cc}\u2028\u2029]/gu, ' ').trim();
  return [...text.replace(/^__+/, '')].slice(0, MAX_NAME_LENGTH).join('');
}

/** The person as the manager wants to hear of them; undefined for whoever has no account. */
const attribution = (who) => (who === HOLDER ? undefined : { userId: who.userId });

const verifyCredential = (text, key, instanceId, nowSeconds) => verify(CREDENTIAL_LABEL, key, text, instanceId, nowSeconds);
const signCredential = (statement, key) => sign(CREDENTIAL_LABEL, key, statement);
const verifySession = (text, key, instanceId, nowSeconds) => verify(SESSION_LABEL, key, text, instanceId, nowSeconds);
const signSession = ({ userId, name, role }, key, instanceId, exp) =>
  sign(SESSION_LABEL, key, { u: userId, n: name, r: role, i: instanceId, exp });

module.exports = { HOLDER, attribution, identityKey, sameSecret, person, verifyCredential, signCredential, verifySession, signSession };
