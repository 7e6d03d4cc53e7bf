// What goes wrong in real life, on the real engine: containers touched by hand, a flow that kills its instance, an upgrade
// that does not work.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { Openflow, curl, docker, until } from './support.mjs'

const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'root@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const SUB = `e2e-t-${process.pid}`
const BROKEN = `openflow-e2e-broken:${process.pid}`

let openflow
let project
let stack
const ids = []

before(async () => {
  openflow = await Openflow.create('trouble')
  await openflow.start(ADMIN)
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  stack = await until('the stack', async () => (await openflow.api('GET', '/stacks')).items.find((it) => it.status === 'ready'))
  project = (await openflow.api('GET', '/projects')).items[0]
})

after(async () => {
  for (const id of ids) {
    await openflow.api('DELETE', `/instances/${id}`).catch(() => {})
    await openflow.gone(id).catch(() => {})
  }
  docker('rmi', '-f', BROKEN)
  await openflow?.destroy()
})

async function create(subdomain, more = {}) {
  const made = await openflow.api('POST', `/projects/${project.id}/instances`, { name: subdomain, subdomain, ...more })
  ids.push(made.id)
  return made
}

const answers = (subdomain) => until(`${subdomain} to answer`, () => curl(`${openflow.host(subdomain)}/hello`).status === 200)

test('killed, removed, paused or stopped by hand, it comes back', async () => {
  const template = (await openflow.api('GET', '/templates')).items.find((it) => it.name === 'Webhook')
  const { id } = await create(SUB, { template: template.id })
  await openflow.running(id)
  for (const by of [['kill'], ['rm', '-f'], ['pause'], ['stop', '-t', '5']]) {
    await answers(SUB)
    assert.doesNotMatch(docker(...by, `nodered-${SUB}`), /error/)
    await answers(SUB)
    await openflow.running(id)
  }
})

test('an upgrade that does not start is undone, and says so', async () => {
  const { id } = { id: ids[0] }
  execFileSync('docker', ['build', '-q', '-t', BROKEN, '-'], {
    input: 'FROM openflow/node-red:5\nCMD ["node","-e","console.log(\'broken on purpose\');process.exit(3)"]\n',
    env: { ...process.env, DOCKER_BUILDKIT: '0' },
  })
  const broken = await openflow.api('POST', '/stacks', { name: 'Broken', engine: 'node-red', image: BROKEN })
  await until('the broken stack', async () => (await openflow.api('GET', `/stacks/${broken.id}`)).status === 'ready')
  await openflow.api('PATCH', `/instances/${id}`, { stackId: broken.id })
  const back = await until('the way back', async () => {
    const it = await openflow.instance(id)
    return it.status === 'running' && it.stackId === stack.id && it.statusDetail && it
  })
  assert.match(back.statusDetail, /upgrade to Broken was undone/)
  await answers(SUB)
  const audit = (await openflow.api('GET', `/audit?projectId=${project.id}&action=instance.rollback`)).items
  assert.equal(audit.length, 1)
  assert.equal(audit[0].actor.kind, 'system')
})

test('a flow that kills its instance ends in safe mode, with the reason; mended, it runs again', async () => {
  const template = await openflow.api('POST', '/templates', {
    name: `Killer ${process.pid}`,
    stackId: stack.id,
    flows: [
      { id: 'tab', type: 'tab', label: 'Killer' },
      { id: 'in', type: 'inject', z: 'tab', once: true, onceDelay: '0.3', x: 100, y: 100, wires: [['kill']] },
      { id: 'kill', type: 'exec', z: 'tab', command: 'kill -9 $PPID', addpay: '', append: '', useSpawn: 'false', x: 300, y: 100, wires: [[], [], []] },
    ],
  })
  const { id } = await create(`${SUB}-k`, { template: template.id })
  const safe = await until('safe mode', async () => {
    const it = await openflow.instance(id)
    return it.status === 'safe_mode' && it
  }, 120_000)
  assert.match(safe.statusDetail, /safe mode after 5 crashes/)
  assert.match(safe.statusDetail, /SIGKILL|exit code/)
  assert.match(safe.statusDetail, /Last lines of the log/)
  // The editor works there: it is mended as a person would, by a deploy, and restarted.
  const magic = JSON.parse(docker('inspect', `nodered-${SUB}-k`))[0].Config.Env.find((it) => it.startsWith('OPENFLOW_MAGIC_TOKEN=')).split('=')[1]
  const address = docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', `nodered-${SUB}-k`)
  const deployed = await fetch(`http://${address}:1880/flows`, {
    method: 'POST',
    headers: { authorization: `Bearer ${magic}`, 'content-type': 'application/json' },
    body: '[]',
  })
  assert.equal(deployed.status, 204)
  await openflow.api('POST', `/instances/${id}/restart`)
  const well = await until('the mended instance', async () => {
    const it = await openflow.instance(id)
    return it.status === 'running' && it
  })
  assert.equal(well.statusDetail, null)
})
