// n8n: from POST create to the editor's 200 through the proxy, beside a bare `docker run` of the same image's n8n with an empty
// database until it is ready, in turn, with the same limits; then the memory of both when they have been idle for a while.
//   node bench/n8n.mjs            ROUNDS=5 IDLE=30
// Needs a running Docker Engine, the image openflow/n8n:2 (OPENFLOW_N8N_IMAGE) and target/release/openflow (OPENFLOW_TEST_BIN).
import fs from 'node:fs'
import { Openflow, docker, sleep, until } from '../e2e/support.mjs'
import { ADMIN, createToEditor, median, seconds, until200 } from './ready.mjs'

process.env.OPENFLOW_TEST_BIN ??= 'target/release/openflow'
const ROUNDS = Number(process.env.ROUNDS ?? 5)
const IDLE_S = Number(process.env.IDLE ?? 30)
const IMAGE = process.env.OPENFLOW_N8N_IMAGE ?? 'openflow/n8n:2'
const PORT = 5678
// As its makers' guide says, and nothing more.
const ENVIRONMENT = { N8N_USER_FOLDER: '/data', N8N_LISTEN_ADDRESS: '0.0.0.0', N8N_DIAGNOSTICS_ENABLED: 'false', NODE_OPTIONS: '--max-old-space-size=500' }

const memory = async (container) => {
  await sleep(IDLE_S * 1000)
  return docker('stats', '--no-stream', '--format', '{{.MemUsage}}', container).split(' ')[0]
}

async function ours(openflow, project, stack, round, isMeasured) {
  const subdomain = `bench-n8n-${round}-${process.pid}`
  const { id, took } = await createToEditor(openflow, project, { name: subdomain, subdomain, stack })
  const used = isMeasured && await memory(`n8n-${subdomain}`)
  await openflow.api('DELETE', `/instances/${id}`)
  await openflow.gone(id)
  return { took, used }
}

async function bare(round, isMeasured) {
  const name = `bench-n8n-bare-${round}-${process.pid}`
  const data = fs.mkdtempSync('/tmp/openflow-bench-')
  fs.chownSync(data, 1000, 1000)
  const env = Object.entries(ENVIRONMENT).flatMap(([key, value]) => ['-e', `${key}=${value}`])
  const begun = performance.now()
  docker('run', '-d', '--name', name, '--network', 'openflow-network', '--memory', '768m', '--memory-swap', '768m', '--cpus', '1',
    '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--read-only', '--tmpfs', '/tmp:rw,nosuid,nodev,noexec,size=192m',
    '--pids-limit', '256', '--user', '1000:1000', '-v', `${data}:/data`, ...env, IMAGE, 'node', '/opt/n8n/node_modules/n8n/bin/n8n', 'start')
  try {
    const address = docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', name)
    await until200(address, PORT, '/healthz/readiness', {})
    await until200(address, PORT, '/', { accept: 'text/html' })
    const took = performance.now() - begun
    return { took, used: isMeasured && await memory(name) }
  } finally {
    docker('rm', '-f', name)
    fs.rmSync(data, { recursive: true, force: true })
  }
}

const openflow = await Openflow.create('bench-n8n')
try {
  await openflow.start(ADMIN)
  openflow.token = await openflow.signInForToken(ADMIN.OPENFLOW_ADMIN_EMAIL, ADMIN.OPENFLOW_ADMIN_PASSWORD)
  const stack = await until('the stack', async () => (await openflow.api('GET', '/stacks')).items.find((it) => it.engine === 'n8n' && it.status === 'ready'))
  const project = (await openflow.api('GET', '/projects')).items[0].id
  const times = { bare: [], ours: [] }
  const warm = { ours: await ours(openflow, project, stack.id, 'warm', true), bare: await bare('warm', true) }
  for (let round = 0; round < ROUNDS; round += 1) {
    times.bare.push((await bare(round)).took)
    times.ours.push((await ours(openflow, project, stack.id, round)).took)
    console.log(`round ${round + 1}: docker run ${seconds(times.bare.at(-1))} s, openflow ${seconds(times.ours.at(-1))} s`)
  }
  const [b, o] = [median(times.bare), median(times.ours)]
  console.log(`n8n, create to editor, median of ${ROUNDS}: docker run ${seconds(b)} s, openflow ${seconds(o)} s, ratio ${(o / b).toFixed(2)}`)
  console.log(`memory ${IDLE_S} s after that: docker run ${warm.bare.used}, openflow ${warm.ours.used}`)
} finally {
  await openflow.destroy()
}
