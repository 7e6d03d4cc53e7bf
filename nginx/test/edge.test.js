'use strict';
// nginx as the TLS edge; a plain server stands in for openflow-proxy and answers with what it was asked.
const assert = require('node:assert/strict');
const { execFile, execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const tls = require('node:tls');
const { promisify } = require('node:util');
const shim = require('../../settings-shim/test/support');
const { freePort, startNginx } = require('./support');

let proxy;
const sockets = new Set(); // also the upgraded ones, which closeAllConnections leaves open
let nginx;
let port;
let plainPort;

before(async () => {
  proxy = http.createServer((req, res) => {
    let size = 0;
    req.on('data', (chunk) => { size += chunk.length; });
    req.on('end', () => res.end(JSON.stringify({ url: req.url, headers: req.headers, size })));
  });
  proxy.on('upgrade', (req, socket) => {
    const accept = createHash('sha1').update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.write(Buffer.from([0x81, 2, 0x68, 0x69]));
  });
  proxy.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'openflow-edge-'));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=test',
    '-addext', 'subjectAltName=DNS:test,DNS:*.test', '-keyout', path.join(dir, 'key.pem'), '-out', path.join(dir, 'cert.pem')], { stdio: 'ignore' });
  [port, plainPort] = [await freePort(), await freePort()];
  const listen = fs.readFileSync(path.join(__dirname, '../openflow/listen-tls.conf'), 'utf8').replace(/^listen \[.*$/m, '').replace('listen 443', `listen 127.0.0.1:${port}`)
    .replace('/etc/nginx/openflow/tls/fullchain.pem', path.join(dir, 'cert.pem')).replace('/etc/nginx/openflow/tls/privkey.pem', path.join(dir, 'key.pem'));
  nginx = await startNginx('edge.conf', { 'listen-tls.conf': listen, 'listen-redirect.conf': `listen 127.0.0.1:${plainPort} default_server;` },
    (text) => text.replace('127.0.0.1:8080', `127.0.0.1:${proxy.address().port}`));
});
after(async () => {
  await nginx?.stop();
  stopProxy();
});

function stopProxy() {
  proxy.close();
  for (const socket of sockets) socket.destroy();
}

const curl = async (...args) => (await promisify(execFile)('curl', ['--silent', '--insecure', '--max-time', '20', '--resolve', `wf1.test:${port}:127.0.0.1`, ...args])).stdout;

for (const version of ['--http1.1', '--http2']) {
  test(`a request over TLS reaches the proxy with its host and the client's address (${version})`, async () => {
    const { url, headers } = JSON.parse(await curl(version, '-H', 'X-Forwarded-For: 1.2.3.4', '-H', 'X-Openflow-Identity: x', `https://wf1.test:${port}/a%2Fb?access_token=t-edge`));
    assert.equal(url, '/a%2Fb?access_token=t-edge');
    assert.deepEqual([headers.host, headers['x-forwarded-host'], headers['x-forwarded-proto'], headers['x-forwarded-for'], headers['x-openflow-identity']],
      [`wf1.test:${port}`, `wf1.test:${port}`, 'https', '127.0.0.1', undefined]);
    assert.ok(!nginx.log().includes('t-edge'));
  });
}

test('a WebSocket passes', async () => {
  const socket = tls.connect({ host: '127.0.0.1', port, servername: 'wf1.test', rejectUnauthorized: false });
  socket.write('GET /comms HTTP/1.1\r\nHost: wf1.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
    + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
  let heard = '';
  socket.on('data', (data) => { heard += data.toString('latin1'); });
  await shim.until(() => heard.startsWith('HTTP/1.1 101 ') && heard.endsWith('\x81\x02hi'));
  socket.destroy();
});

test('plain HTTP is sent to HTTPS, method and path kept', async () => {
  const answer = await shim.ask(plainPort, { method: 'POST', path: '/api/x?y=%20', headers: { host: 'wf1.test' } });
  assert.deepEqual([answer.status, answer.headers.location], [308, 'https://wf1.test/api/x?y=%20']);
});

test('when the proxy is away a page says so', async () => {
  stopProxy();
  assert.equal(await curl('--output', '/dev/null', '--write-out', '%{http_code}', `https://wf1.test:${port}/`), '502');
});
