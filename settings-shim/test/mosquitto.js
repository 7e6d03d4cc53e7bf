'use strict';
// A broker for the tests: Debian's mosquitto, which knows one user. In a real installation the broker is Openflow's own.
const { execFileSync, spawn } = require('node:child_process');
const { createCipheriv, createHash, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { node, credentials } = require('../node-red/broker.json');
const { CREDENTIAL_SECRET, freePort, newUserDir, until } = require('./support');

const USERNAME = '0198f0a0-0000-7000-8000-00000000000a';
const PASSWORD = 'omp_test-mqtt-password-0123456789abcdef';

/**
 * Starts mosquitto on loopback ports of its own.
 * @param {{password?: string, port?: number, secure?: boolean}} options `secure` adds TLS and WebSocket listeners
 * @returns an object with `urls` {mqtt, mqtts, ws, wss}, `ca` (file), `env` (what the manager gives an instance),
 *   `log()`, `publish(topic, text)`, `subscribe(topic)`, `stop()`
 */
async function startBroker({ password = PASSWORD, port, secure = false } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-mosquitto-'));
  fs.chmodSync(dir, 0o755); // started as root it becomes another user
  const ports = { mqtt: port ?? await freePort() };
  for (const name of secure ? ['mqtts', 'ws', 'wss'] : []) ports[name] = await freePort();
  const tls = secure ? certificate(dir) : '';
  const users = path.join(dir, 'users');
  execFileSync('mosquitto_passwd', ['-b', '-c', users, USERNAME, password], { stdio: 'pipe' });
  fs.chmodSync(users, 0o644);
  const listeners = {
    mqtt: '', mqtts: tls, ws: 'protocol websockets\n', wss: `protocol websockets\n${tls}`,
  };
  const config = [
    `password_file ${users}`, 'allow_anonymous false', 'persistence false', 'log_dest stderr', 'log_type all',
    ...Object.entries(ports).map(([name, number]) => `listener ${number} 127.0.0.1\n${listeners[name]}`),
  ].join('\n');
  fs.writeFileSync(path.join(dir, 'mosquitto.conf'), `${config}\n`);
  const child = spawn('mosquitto', ['-c', path.join(dir, 'mosquitto.conf')]);
  let output = '';
  child.stdout.on('data', (data) => { output += data; });
  child.stderr.on('data', (data) => { output += data; });
  const exited = new Promise((resolve) => { child.once('exit', resolve); });
  await until(() => {
    if (child.exitCode !== null) throw new Error(`mosquitto ended:\n${output}`);
    return answers(ports.mqtt);
  });

  const host = { mqtt: 'mqtt://127.0.0.1', mqtts: 'mqtts://localhost', ws: 'ws://127.0.0.1', wss: 'wss://localhost' };
  const suffix = { mqtt: '', mqtts: '', ws: '/mqtt', wss: '/mqtt' };
  const urls = Object.fromEntries(Object.entries(ports).map(([name, number]) => [name, `${host[name]}:${number}${suffix[name]}`]));
  const subscribers = [];
  const who = ['-h', '127.0.0.1', '-p', String(ports.mqtt), '-u', USERNAME, '-P', password];
  return {
    port: ports.mqtt, urls, ca: path.join(dir, 'ca.crt'), log: () => output,
    env: { OPENFLOW_MQTT_URL: urls.mqtt, OPENFLOW_MQTT_USERNAME: USERNAME, OPENFLOW_MQTT_PASSWORD: password },
    publish: (topic, text, ...more) => execFileSync('mosquitto_pub', [...who, '-t', topic, '-m', text, '-q', '1', ...more]),
    subscribe(topic) {
      const it = subscribe(who, topic);
      subscribers.push(it);
      return it;
    },
    async stop() {
      for (const it of subscribers) it.stop();
      child.kill('SIGTERM');
      await exited;
      fs.rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** A data folder as the manager makes it for a new instance: the template's flows and the broker node. */
function seeded(flows) {
  const userDir = newUserDir();
  const key = createHash('sha256').update(CREDENTIAL_SECRET).digest();
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-ctr', key, iv);
  const sealed = cipher.update(JSON.stringify({ [node.id]: credentials }), 'utf8', 'base64') + cipher.final('base64');
  fs.writeFileSync(path.join(userDir, 'flows.json'), JSON.stringify([...flows, node]));
  fs.writeFileSync(path.join(userDir, 'flows_cred.json'), JSON.stringify({ $: iv.toString('hex') + sealed }));
  return userDir;
}

/** Collects what comes in under `topic`, as lines `topic text`, from some moment on: send until it arrives. */
function subscribe(who, topic) {
  const child = spawn('mosquitto_sub', [...who, '-t', topic, '-q', '1', '-v']);
  let output = '';
  child.stdout.on('data', (data) => { output += data; });
  return { messages: () => output.split('\n'), stop: () => { child.kill('SIGTERM'); } };
}

/** An authority (ca.crt) and a certificate of it for localhost; returns mosquitto's lines for them. */
function certificate(dir) {
  const openssl = (...args) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  const fresh = ['-newkey', 'rsa:2048', '-nodes'];
  openssl('req', '-x509', ...fresh, '-days', '2', '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=Test authority');
  openssl('req', ...fresh, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=localhost');
  fs.writeFileSync(path.join(dir, 'names'), 'subjectAltName=DNS:localhost');
  openssl('x509', '-req', '-in', 'server.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
    '-out', 'server.crt', '-extfile', 'names');
  fs.chmodSync(path.join(dir, 'server.key'), 0o644);
  return ['ca.crt', 'server.crt', 'server.key'].map((file, i) => `${['cafile', 'certfile', 'keyfile'][i]} ${path.join(dir, file)}`).join('\n');
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
    socket.on('error', () => resolve(false));
  });
}

module.exports = { PASSWORD, seeded, startBroker };
