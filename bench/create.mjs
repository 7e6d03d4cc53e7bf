// From POST create to the editor's 200 through the proxy, beside a bare `docker run` of the same image until its 200, in
// turn; then the memory of manager and proxy with 50 instances in the database.
//   node bench/create.mjs            ROUNDS=7 INSTANCES=50
// Needs a running Docker Engine, the image openflow/node-red:5 and target/release/openflow (OPENFLOW_TEST_BIN).
import fs from 'node:fs'
import { Openflow, docker, sleep, until } from '../e2e/support.mjs'
import { ADMIN, createToEditor, median, seconds, until200 } from './ready.mjs'

process.env.OPENFLOW_TEST_BIN ??= 'target/release/openflow'
const ROUNDS = Number(process.env.ROUNDS ?? 7)
const INSTANCES = Number(process.env.INSTANCES ?? 50)
const IMAGE = 'openflow/node-red:5'
const MAGIC = 'bench-magic-token-0123456789abcdef'

async function ours(openflow, project, round) {
  const subdomain = `bench-${round}-${process.pid}`
  const { id, took } = await createToEditor(openflow, project, { name: subdomain, subdomain })
  await openflow.api('DELETE', `/instances/${id}`)
  await openflow.gone(id)
  return took
}

async function bare(round) {
  const name = `bench-bare-${round}-${process.pid}`
  const data = fs.mkdtempSync('/tmp/openflow-bench-')
  fs.chownSync(data, 1000, 1000)
  const begun = performance.now()
  docker('run', '-d', '--name', name, '--network', 'openflow-network', '--memory', '256m', '--memory-swap', '256m', '--cpus', '1',
    '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--read-only', '--tmpfs', '/tmp:rw,nosuid,nodev,noexec,size=64m',
    '--pids-limit', '256', '--user', '1000:1000', '-v', `${data}:/data`, '-e', `OPENFLOW_MAGIC_TOKEN=${MAGIC}`,
    '-e', `OPENFLOW_CREDENTIAL_SECRET=${MAGIC}`, '-e', 'NODE_OPTIONS=--max-old-space-size=158', IMAGE)
  const address = docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', name)
  await until200(address, 1880, '/', { authorization: `Bearer ${MAGIC}`, accept: 'text/html' })
  const took = performance.now() - begun
  docker('rm', '-f', name)
  fs.rmSync(data, { recursive: true, force: true })
  return took
}

const memory = (pid, field) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024

const openflow = await Openflow.create('bench')
try {
  await openflow.start(ADMIN)
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  await until('the stack', async () => (await openflow.api('GET', '/stacks')).items[0]?.status === 'ready')
  const project = (await openflow.api('GET', '/projects')).items[0].id
  const times = { bare: [], ours: [] }
  await bare('warm')
  await ours(openflow, project, 'warm')
  for (let round = 0; round < ROUNDS; round += 1) {
    times.bare.push(await bare(round))
    times.ours.push(await ours(openflow, project, round))
    console.log(`round ${round + 1}: docker run ${seconds(times.bare.at(-1))} s, openflow ${seconds(times.ours.at(-1))} s`)
  }
  const [b, o] = [median(times.bare), median(times.ours)]
  console.log(`create to editor 200, median of ${ROUNDS}: docker run ${seconds(b)} s, openflow ${seconds(o)} s, ratio ${(o / b).toFixed(2)}`)

  for (let n = 0; n < INSTANCES; n += 1) {
    const subdomain = `bench-m${n}-${process.pid}`
    const { id } = await openflow.api('POST', `/projects/${project}/instances`, { name: subdomain, subdomain })
    await openflow.api('POST', `/instances/${id}/stop`)
  }
  await until('all to be stopped', async () => {
    const { items } = await openflow.api('GET', `/projects/${project}/instances?limit=200`)
    return items.length >= INSTANCES && items.every((it) => it.status === 'stopped')
  }, 300_000)
  await sleep(5000)
  console.log(`memory of manager and proxy with ${INSTANCES} instances: ${memory(openflow.process.pid, 'VmRSS').toFixed(0)} MiB RSS ` +
    `(${memory(openflow.process.pid, 'RssAnon').toFixed(0)} MiB of it anonymous, peak ${memory(openflow.process.pid, 'VmHWM').toFixed(0)} MiB)`)
  const { items } = await openflow.api('GET', `/projects/${project}/instances?limit=200`)
  await Promise.all(items.map(({ id }) => openflow.api('DELETE', `/instances/${id}`)))
  for (const { id } of items) await openflow.gone(id)
} finally {
  await openflow.destroy()
}
