'use strict';
// Rehearses a restore: whether Node-RED would live with the data folder as it is. Meant for a throwaway container without
// network, made like the instance's own, on a copy of the data:
//   node /opt/openflow/node-red/rehearse.js
// The last line on stdout is {"ok":bool,"checks":[{"name":"sqlite"|"credentials"|"flows"|"start","ok":bool,"detail":text}]};
// the exit status is 0 when all is well, 1 when not. What Node-RED prints goes to stderr. No detail holds a secret.
// --data, --red and --port are for tests.
const { createDecipheriv, createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { checkDatabases } = require('../common/databases');
const { rehearse, checkStart, count } = require('../common/rehearsal');

const MAX_JSON_BYTES = 64 * 1024 ** 2;

/** A JSON file of the data folder; undefined when it is absent. */
function readJson(folder, name) {
  let text;
  try {
    const file = path.join(folder, name);
    if (fs.statSync(file).size > MAX_JSON_BYTES) throw new Error(`${name} is larger than ${MAX_JSON_BYTES} bytes`);
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
  return parse(text, `${name} is not JSON`);
}

/** JSON.parse's own message quotes the text, which may be secret. */
function parse(text, message) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(message);
  }
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** {"$": IV in hex, 32 characters, then AES-256-CTR in base64}: key SHA-256 of the secret, inside {nodeId: {field: value}}. */
function checkCredentials(folder, secret) {
  const file = readJson(folder, 'flows_cred.json');
  if (file === undefined) return 'there are none';
  if (!isObject(file)) throw new Error('flows_cred.json is not an object');
  let credentials = file;
  if (typeof file.$ === 'string') {
    const wrong = 'flows_cred.json cannot be decrypted: it is damaged, or of another OPENFLOW_CREDENTIAL_SECRET';
    if (!/^[0-9a-f]{32}[A-Za-z0-9+/]*=*$/.test(file.$)) throw new Error(wrong);
    const key = createHash('sha256').update(secret).digest();
    const decipher = createDecipheriv('aes-256-ctr', key, Buffer.from(file.$.slice(0, 32), 'hex'));
    credentials = parse(decipher.update(file.$.slice(32), 'base64', 'utf8') + decipher.final('utf8'), wrong);
    if (!isObject(credentials)) throw new Error(wrong);
  }
  return `credentials of ${count(Object.keys(credentials).length, 'node')}`;
}

function checkFlows(folder) {
  const flows = readJson(folder, 'flows.json');
  if (flows === undefined) return 'there are none';
  const isSound = Array.isArray(flows) && flows.every((node) => typeof node?.id === 'string' && typeof node.type === 'string');
  if (!isSound) throw new Error('flows.json is not a list of nodes with id and type');
  const tabs = flows.filter(({ type }) => type === 'tab').length;
  return `${count(flows.length - tabs, 'node')} on ${count(tabs, 'tab')}`;
}

/** In safe mode, as the image starts it. */
function startNodeRed({ red, data, port }) {
  const args = [red, '--settings', path.join(__dirname, 'settings.js'), '--userDir', data, ...(port === '1880' ? [] : ['--port', port])];
  return checkStart('Node-RED', { args, env: { ...process.env, OPENFLOW_SAFE_MODE: 'true' }, port });
}

function main() {
  const { values } = parseArgs({ options: {
    data: { type: 'string', default: '/data' },
    red: { type: 'string', default: '/opt/node-red/node_modules/node-red/red.js' },
    port: { type: 'string', default: '1880' },
  } });
  return rehearse([
    ['sqlite', () => checkDatabases(values.data)],
    ['credentials', () => checkCredentials(values.data, process.env.OPENFLOW_CREDENTIAL_SECRET ?? '')],
    ['flows', () => checkFlows(values.data)],
    ['start', () => startNodeRed(values)],
  ]);
}

main();
