'use strict';
// What the gate must know of Node-RED: where its flows, pages and API are, and how a person is handed on to it.
const { createHmac, randomBytes } = require('node:crypto');
const { removeHeaders } = require('../common/headers');
const { sameSecret } = require('../common/identity');

const FLOW_ROOT = '/api';
const COMMS = '/comms';
// Node-RED reads its token from this header. The gate removes whatever a client sends under the name.
const SESSION_HEADER = 'x-openflow-session';
// Everything that Node-RED's own editor asks for beyond its page. A module's own admin routes are not listed: somebody
// who is not signed in gets 404 there, also where the module forgot to ask for a permission.
const EDITOR_API = new Set(['auth', 'comms', 'context', 'credentials', 'debug', 'diagnostics', 'flow', 'flows', 'icons', 'inject',
  'library', 'locales', 'nodes', 'openflow', 'plugins', 'projects', 'resources', 'settings', 'theme']);
const CHANGES = ['POST', 'PUT', 'DELETE'];
const DEPLOYS_ALL = /^\/flows\/?$/;
const DEPLOYS_ONE = /^\/flow(\/[^/]+)?\/?$/;

// The value in the header is signed with a key of this process alone: it means nothing anywhere else, names the person,
// and needs no table of sessions.
const processKey = randomBytes(32);
const mac = (payload) => createHmac('sha256', processKey).update(payload).digest('base64url');

function admit(req, person) {
  const payload = Buffer.from(JSON.stringify(person)).toString('base64url');
  removeHeaders(req, (name) => name === SESSION_HEADER);
  req.headers[SESSION_HEADER] = `${payload}.${mac(payload)}`;
}

/**
 * Node-RED's `adminAuth.tokens`: the header's value, or what a client sends in a WebSocket frame, to a user. Never rejects.
 * @returns {Promise<{username: string, permissions: '*' | 'read'} | null>}
 */
async function userOfToken(token) {
  const [payload, signature] = typeof token === 'string' ? token.split('.') : [];
  if (!payload || !signature || !sameSecret(signature, mac(payload))) return null;
  const { name, role } = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return { username: name, permissions: role === 'viewer' ? 'read' : '*' };
}

// Express compares paths without regard to case; so must we. The gate hands over some paths as they came.
const policy = {
  isFlow: (path) => path.toLowerCase() === FLOW_ROOT || path.toLowerCase().startsWith(`${FLOW_ROOT}/`),
  isPage: (method, path) => path === '/' && (method === 'GET' || method === 'HEAD'),
  isEditorApi: (path) => EDITOR_API.has(path.split('/')[1]),
  isDeploy: (method, path) => (method === 'POST' && DEPLOYS_ALL.test(path)) || (CHANGES.includes(method) && DEPLOYS_ONE.test(path)),
  isHarmless: (path) => path === '/auth/revoke',
  isFrontDoor: (path) => path === COMMS,
  guardSocket(socket, path, person) {
    if (path === COMMS) socket[Symbol.for('openflow.comms')] = person;
  },
  admit,
};

module.exports = { policy, userOfToken, FLOW_ROOT, SESSION_HEADER };
