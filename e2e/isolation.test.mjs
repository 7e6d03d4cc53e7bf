// From inside one tenant's container: nothing of others can be reached; what it needs can.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import net from 'node:net'
import { after, before, test } from 'node:test'
import { Openflow, docker, until } from './support.mjs'

const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'root@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const [A, B] = [`e2e-a-${process.pid}`, `e2e-b-${process.pid}`]

let openflow
let listener
const instances = []
const addresses = {}

before(async () => {
  openflow = await Openflow.create('isolation')
  await openflow.start(ADMIN)
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  await until('the stack', async () => (await openflow.api('GET', '/stacks')).items[0]?.status === 'ready')
  for (const subdomain of [A, B]) {
    const project = await openflow.api('POST', '/projects', { name: subdomain })
    instances.push(await openflow.api('POST', `/projects/${project.id}/instances`, { name: subdomain, subdomain }))
  }
  await Promise.all(instances.map(({ id }) => openflow.running(id)))
  for (const subdomain of [A, B]) {
    addresses[subdomain] = docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', `nodered-${subdomain}`)
  }
  // A service of the host's that somebody bound to all addresses.
  listener = net.createServer((socket) => socket.on('error', () => {}).end('host service'))
  await new Promise((resolve) => listener.listen(0, '0.0.0.0', resolve))
})

after(async () => {
  listener?.close()
  for (const { id } of instances) {
    await openflow.api('DELETE', `/instances/${id}`).catch(() => {})
    await openflow.gone(id).catch(() => {})
  }
  await openflow?.destroy()
})

/** What a program prints inside A. Not waited for synchronously: the test's own connections must not go stale. */
async function inside(script) {
  const { stdout } = await promisify(execFile)('docker', ['exec', `nodered-${A}`, 'node', '-e', script])
  return stdout.trim()
}

/** Whether a TCP connection succeeds, from inside A. */
function reaches(host, port) {
  const script = `
    const socket = require('net').connect(${port}, ${JSON.stringify(host)})
    const say = (it) => { console.log(it); process.exit(0) }
    socket.once('connect', () => say('open')).once('error', (error) => say(error.code))
    setTimeout(() => say('timeout'), 2500)`
  return inside(script)
}

/** Status of a request from inside A. */
function asks(method, url, headers = {}) {
  const script = `
    fetch(${JSON.stringify(url)}, { method: '${method}', headers: ${JSON.stringify(headers)}, ${method === 'POST' ? 'body: \'{"token":"x"}\',' : ''} signal: AbortSignal.timeout(15000) })
      .then((it) => console.log(it.status), (error) => console.log(error.cause?.code ?? error.name))`
  return inside(script)
}

test('the other tenant cannot be reached, by address or by name', async () => {
  const gateway = execFileSync('sh', ['-c', `curl -s -o /dev/null -w '%{http_code}' http://${addresses[B]}:1880/openflow/health`], { encoding: 'utf8' })
  assert.equal(gateway, '200', 'control: the host reaches it')
  assert.equal(await reaches('127.0.0.1', 1880), 'open', 'control: it reaches itself')
  assert.notEqual(await reaches(addresses[B], 1880), 'open')
  assert.notEqual(await reaches(`nodered-${B}`, 1880), 'open')
})

test('a service of the host cannot be reached under any of its addresses', async () => {
  const { port } = listener.address()
  await new Promise((resolve, reject) => {
    const control = net.connect(port, '127.0.0.1').once('error', reject)
    control.once('connect', () => { control.destroy(); resolve() })
  })
  const addressesOfHost = execFileSync('hostname', ['-I'], { encoding: 'utf8' }).trim().split(/\s+/).filter((it) => !it.includes(':'))
  for (const host of ['host.docker.internal', ...addressesOfHost]) {
    assert.notEqual(await reaches(host, port), 'open', host)
  }
  assert.notEqual(await reaches('host.docker.internal', 5432), 'open')
  assert.notEqual(await reaches('host.docker.internal', 2375), 'open')
  assert.notEqual(await reaches('host.docker.internal', openflow.proxyPort + 1), 'open')
})

test('the cloud metadata address cannot be reached', async () => {
  assert.notEqual(await reaches('169.254.169.254', 80), 'open')
})

test('there is no Docker socket, no capability and nothing to write but data and tmp', () => {
  assert.match(docker('exec', `nodered-${A}`, 'ls', '/var/run/docker.sock', '/run/docker.sock'), /No such file/)
  assert.match(docker('exec', `nodered-${A}`, 'sh', '-c', 'touch /opt/x || echo refused'), /refused|Read-only/)
  assert.match(docker('exec', `nodered-${A}`, 'cat', '/proc/self/status'), /CapEff:\s+0{16}/)
  assert.notEqual(docker('exec', `nodered-${A}`, 'id', '-u'), '0')
})

test('of the manager only what the shim and the broker need is there', async () => {
  const manager = `http://host.docker.internal:${openflow.managerPort}`
  await until('the listener on the instance side', async () => await asks('POST', `${manager}/shim/v1/redeem`) !== 'ECONNREFUSED')
  for (const path of ['/', '/api/v1/health', '/api/v1/setup', '/api/v1/instances', '/internal/v1/routes', '/metrics', '/docs', '/SHIM/v1/redeem']) {
    assert.equal(await asks('GET', `${manager}${path}`), '404', path)
  }
  assert.equal(await asks('POST', `${manager}/shim/v1/redeem`, { 'content-type': 'application/json' }), '401')
  assert.equal(await asks('POST', `${manager}/mqtt/auth`), '401')
})
