// kill -9 of the whole program in the middle of a create and of a delete: the next start finishes it, and nothing is left over.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Openflow, curl, docker, sleep, until } from './support.mjs'

const ADMIN = { OPENFLOW_ADMIN_EMAIL: 'root@example.com', OPENFLOW_ADMIN_PASSWORD: 'correct horse battery' }
const KILL_AFTER_MS = [0, 60, 200, 450, 900]

let openflow
let project
let template
const ids = []

before(async () => {
  openflow = await Openflow.create('kill')
  await openflow.start(ADMIN)
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  await until('the stack', async () => (await openflow.api('GET', '/stacks')).items[0]?.status === 'ready')
  project = (await openflow.api('GET', '/projects')).items[0]
  template = (await openflow.api('GET', '/templates')).items.find((it) => it.name === 'Webhook')
})

after(async () => {
  openflow.containers = containers()
  await openflow?.destroy()
})

/** Ids of the containers of this test's instances. */
function containers(id) {
  const found = (id ? [id] : ids).map((it) => docker('ps', '-aq', '--no-trunc', '--filter', `label=openflow.instance=${it}`))
  return found.join('\n').split('\n').filter(Boolean)
}

for (const [round, ms] of KILL_AFTER_MS.entries()) {
  test(`killed ${ms} ms after a create was accepted`, async () => {
    const subdomain = `e2e-k${round}-${process.pid}`
    const { id } = await openflow.api('POST', `/projects/${project.id}/instances`, { name: subdomain, subdomain, template: template.id })
    ids.push(id)
    await sleep(ms)
    await openflow.stop('SIGKILL')
    await openflow.start(ADMIN)
    await openflow.running(id)
    assert.equal(containers(id).length, 1)
    await until('the webhook', () => curl(`${openflow.host(subdomain)}/hello`).status === 200)
  })
}

test('killed in the middle of deleting them all', async () => {
  await Promise.all(ids.map((id) => openflow.api('DELETE', `/instances/${id}`)))
  await sleep(100)
  await openflow.stop('SIGKILL')
  await openflow.start(ADMIN)
  for (const id of ids) await openflow.gone(id)
  assert.deepEqual(containers(), [])
})
