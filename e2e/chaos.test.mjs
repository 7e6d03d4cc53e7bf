// PostgreSQL and the Docker Engine killed, and the disk filled, in the middle of backups and restores: an instance is as before or
// as restored, never between, a backup is good or has failed, and the next one works.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { Relay } from './relay.mjs'
import { Openflow, curl, docker, postgresPid, sleep, until } from './support.mjs'

const SETTINGS = {
  OPENFLOW_ADMIN_EMAIL: 'root@example.com',
  OPENFLOW_ADMIN_PASSWORD: 'correct horse battery',
  OPENFLOW_BACKUP_SCHEDULE: 'off',
  OPENFLOW_BACKUP_REHEARSE_DAYS: '0',
  OPENFLOW_BACKUP_MIN_FREE_MB: '0',
}
const SUB = `e2e-chaos-${process.pid}`
const CONTAINER = `nodered-${SUB}`
const NOISE_BYTES = 96 << 20 // so that there is a middle to kill something in
const DISK_MB = 1200
const AWAY_MS = 3000
const OVER_MS = 240_000 // what was being prepared is given up after two minutes of silence

let openflow
let relay
let instance
let first // the backup that is restored
let disk // whether all data has a disk of its own
const prints = {} // what the folder is, by version

const flows = (version) => [
  { id: 'tab', type: 'tab', label: 'Chaos' },
  { id: 'in', type: 'http in', z: 'tab', url: '/hello', method: 'get', wires: [['say']] },
  { id: 'say', type: 'template', z: 'tab', field: 'payload', template: version, wires: [['out']] },
  { id: 'out', type: 'http response', z: 'tab', wires: [] },
]

const folder = (...parts) => path.join(openflow.data, 'instances', instance.id, ...parts)
const shelf = (...parts) => path.join(openflow.data, 'backups', ...parts)
const names = (at) => (fs.existsSync(at) ? fs.readdirSync(at) : [])
/** Does not wait long: nothing passes the relay meanwhile. */
const hello = () => curl(`${openflow.host(SUB)}/hello`, '--max-time', '1').body
const running = () => openflow.running(instance.id)

async function deploy(version) {
  const magic = /OPENFLOW_MAGIC_TOKEN=([^"\s]+)/.exec(docker('inspect', CONTAINER))[1]
  const address = docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', CONTAINER)
  const response = await fetch(`http://${address}:1880/flows`, {
    method: 'POST',
    headers: { authorization: `Bearer ${magic}`, 'content-type': 'application/json' },
    body: JSON.stringify(flows(version)),
  })
  assert.equal(response.status, 204, await response.text())
}

/** Turns the whole folder into that version: flows, files changed, files that only it has. */
async function become(version) {
  await running()
  await deploy(version)
  await until(version, () => hello() === version)
  fs.rmSync(folder('work'), { recursive: true, force: true })
  fs.mkdirSync(folder('work', `only-${version}`), { recursive: true })
  for (let n = 0; n < 50; n += 1) fs.writeFileSync(folder('work', `${n}.txt`), `${version} ${n}\n`)
  fs.writeFileSync(folder('work', `only-${version}`, 'noise'), randomBytes(version === 'first' ? NOISE_BYTES : 1000))
  prints[version] = print()
}

/** Everything that belongs to a version, as one hash. */
function print() {
  const hash = createHash('sha256')
  const flow = JSON.parse(fs.readFileSync(folder('flows.json'), 'utf8')).find((it) => it.id === 'say')
  hash.update(flow.template)
  for (const name of fs.readdirSync(folder('work'), { recursive: true }).sort()) {
    const file = folder('work', name)
    hash.update(`\n${name}\n`)
    if (fs.statSync(file).isFile()) hash.update(fs.readFileSync(file))
  }
  return hash.digest('hex')
}

/** Looks as often as it can. */
const moment = (what, look) => until(what, look, 60_000, 2)

/** The server and those that take its place for some seconds. */
async function killPostgres() {
  const killed = new Set()
  const end = Date.now() + AWAY_MS
  do {
    const pid = postgresPid(path.join(openflow.data, 'postgres'))
    if (pid && !killed.has(pid)) {
      process.kill(pid, 'SIGKILL')
      killed.add(pid)
    }
    await sleep(20)
  } while (Date.now() < end)
  assert.ok(killed.size > 0)
  await until('the database to be back', () => openflow.api('GET', '/projects'))
}

/** The engine goes with its containers, as one without live-restore does, and comes back. */
async function killEngine(cut) {
  await cut
  relay.cut()
  docker('kill', CONTAINER)
  await sleep(AWAY_MS)
  await relay.mend()
}

/** The API is gone for a while, and the containers stay as they are. */
async function engineAway(cut) {
  await cut
  await sleep(AWAY_MS)
  await relay.mend()
}

/** How it ended. A backup that is not whole is never listed as good, and nothing half made stays. */
async function backupOver({ id }) {
  const it = await until('the backup to be over', async () => {
    const now = await openflow.api('GET', `/backups/${id}`)
    return ['good', 'partial', 'failed'].includes(now.status) && now
  }, OVER_MS)
  assert.ok(it.status === 'good' || it.detail, JSON.stringify(it))
  await until('what it left to be gone', async () => {
    const { items } = await openflow.api('GET', `/instances/${instance.id}/backups`)
    const whole = items.filter((one) => ['good', 'partial'].includes(one.status)).length
    const files = names(shelf(instance.id))
    const hidden = names(shelf()).filter((name) => name.startsWith('.'))
    if (files.length === whole && !files.some((name) => name.endsWith('.partial')) && !hidden.length) return true
    throw new Error(JSON.stringify({ files, hidden, items: items.map((one) => [one.status, one.detail]) }))
  })
  await running()
  await until('it to answer', () => hello() === 'first')
  assert.equal(print(), prints.first)
  return it
}

const askBackup = () => until('a backup to be taken on', () => openflow.api('POST', `/instances/${instance.id}/backups`))

async function nextBackupIsGood() {
  const it = await backupOver(await askBackup())
  assert.equal(it.status, 'good', JSON.stringify(it))
  assert.equal((await openflow.api('POST', `/backups/${it.id}/verify`)).id, it.id)
  await until('it to be read back', async () => (await openflow.api('GET', `/backups/${it.id}`)).verification.status === 'good')
  await openflow.api('DELETE', `/backups/${it.id}`)
}

async function restoreOver({ id }) {
  return until('the restore to be over', async () => {
    const now = await openflow.api('GET', `/restores/${id}`)
    return now.finishedAt && now
  }, OVER_MS)
}

const askRestore = () => until('a restore to be taken on', () => openflow.api('POST', `/backups/${first.id}/restore`, {}))

/** The instance is what the restore says of it, and the next restore is done. */
async function wholeAfter(restore) {
  const ended = await restoreOver(restore)
  const version = ended.state === 'done' ? 'first' : 'second'
  if (version === 'second') assert.ok(ended.detail, JSON.stringify(ended))
  assert.equal(print(), prints[version], JSON.stringify(ended))
  await running()
  await until(`it to answer (${ended.state})`, () => hello() === version)
  await until('what it left to be gone', () => !names(path.join(openflow.data, 'instances')).some((it) => it.startsWith('.restore-')))
  const next = await restoreOver(await askRestore())
  assert.equal(next.state, 'done', JSON.stringify(next))
  assert.equal(print(), prints.first)
  await running()
  await until('it to answer', () => hello() === 'first')
  return ended
}

before(async () => {
  relay = await Relay.open()
  openflow = await Openflow.create('chaos')
  disk = openflow.onSmallDisk(DISK_MB)
  await openflow.start({ ...SETTINGS, OPENFLOW_DOCKER_HOST: relay.host })
  openflow.token = await openflow.signInForToken(SETTINGS.OPENFLOW_ADMIN_EMAIL, SETTINGS.OPENFLOW_ADMIN_PASSWORD)
  const project = await openflow.api('POST', '/projects', { name: 'Chaos' })
  instance = await openflow.api('POST', `/projects/${project.id}/instances`, { name: SUB, subdomain: SUB })
  await become('first')
  first = await backupOver(await askBackup())
  assert.equal(first.status, 'good', JSON.stringify(first))
})

after(async () => {
  if (instance) {
    await openflow.api('DELETE', `/instances/${instance.id}`).catch(() => {})
    await openflow.gone(instance.id).catch(() => docker('rm', '-f', CONTAINER))
  }
  await openflow?.destroy()
  relay?.close()
})

/** Of the backup that is being made now. */
const partial = () => names(shelf(instance.id)).find((name) => name.endsWith('.partial'))
const whole = () => names(shelf(instance.id)).filter((name) => name.endsWith('.tar.gz')).length

const backupMoments = {
  'when it begins': () => moment('its file', partial),
  'in the middle': () => moment('half of it', () => fs.statSync(shelf(instance.id, partial())).size > NOISE_BYTES / 2),
  'when its file gets its name': () => moment('its name', () => whole() > 1),
}

for (const [when, reached] of Object.entries(backupMoments)) {
  test(`PostgreSQL is killed during a backup, ${when}`, async () => {
    const asked = await askBackup()
    await reached()
    await killPostgres()
    const ended = await backupOver(asked)
    if (ended.status !== 'failed') await openflow.api('DELETE', `/backups/${ended.id}`)
    await nextBackupIsGood()
  })
}

const restores = () => names(path.join(openflow.data, 'instances')).filter((name) => name.startsWith('.restore-'))
const restoring = (part) => restores().some((it) => fs.existsSync(path.join(openflow.data, 'instances', it, part)))

const restoreMoments = {
  'while it is unpacked': () => moment('the first files', () => restoring('new')),
  'while the instance is stopped': (it) => moment('stopping', async () => (await openflow.api('GET', `/restores/${it.id}`)).state === 'stopping'),
  'when the folders are exchanged': () => moment('the old folder', () => restoring('old')),
  'while the instance is started': (it) => moment('starting', async () => (await openflow.api('GET', `/restores/${it.id}`)).state === 'starting'),
}

for (const [when, reached] of Object.entries(restoreMoments)) {
  test(`PostgreSQL is killed during a restore, ${when}`, async () => {
    await become('second')
    const asked = await askRestore()
    await reached(asked)
    await killPostgres()
    await wholeAfter(asked)
  })
}

const PAUSE = /^POST \S+\/pause/
const UNPAUSE = /^POST \S+\/unpause/
const STOP = /^POST \S+\/stop/
const START = /^POST \S+\/start/

test('the engine is killed with its containers in the middle of a backup', async () => {
  const asked = await askBackup()
  await killEngine(backupMoments['in the middle']())
  const ended = await backupOver(asked)
  if (ended.status !== 'failed') await openflow.api('DELETE', `/backups/${ended.id}`)
  await nextBackupIsGood()
})

for (const [what, request, when] of [
  ['asked to freeze', PAUSE, 'asked'],
  ['done with freezing and cannot say so', PAUSE, 'answered'],
  ['asked to let it go on', UNPAUSE, 'asked'],
]) {
  test(`the engine is away when it is ${what}`, async () => {
    const cut = relay.cutWhen(request, when)
    const asked = await askBackup()
    await engineAway(cut)
    const ended = await backupOver(asked)
    assert.equal(docker('inspect', '-f', '{{.State.Paused}}', CONTAINER), 'false')
    if (ended.status !== 'failed') await openflow.api('DELETE', `/backups/${ended.id}`)
    await nextBackupIsGood()
  })
}

for (const [when, cut, killed] of [
  ['while it is unpacked', restoreMoments['while it is unpacked'], killEngine],
  ['before it stops the instance', () => relay.cutWhen(STOP, 'asked'), engineAway],
  ['when it has stopped the instance', () => relay.cutWhen(STOP, 'answered'), engineAway],
  ['before it starts the instance', () => relay.cutWhen(START, 'asked'), killEngine],
  ['when it has started the instance', () => relay.cutWhen(START, 'answered'), killEngine],
]) {
  test(`the engine is ${killed === killEngine ? 'killed with its containers' : 'away'} during a restore, ${when}`, async () => {
    await become('second')
    const reached = cut()
    const asked = await askRestore()
    await killed(reached)
    await wholeAfter(asked)
  })
}

/** Files that nobody expected, until so much is free. */
function fill(name, leaveBytes) {
  const { bavail, bsize } = fs.statfsSync(openflow.data)
  const bytes = bavail * bsize - leaveBytes
  try {
    execFileSync('fallocate', ['-l', String(bytes), path.join(openflow.data, name)], { stdio: 'ignore' })
  } catch {
    // Somebody else took the last of it.
  }
}

/** In the middle of `asked`, which begins with room enough: PostgreSQL has no room either. */
async function fillUpDuring(ask, begun) {
  fill('filler', NOISE_BYTES * 1.5)
  const asked = await ask()
  await begun()
  const end = Date.now() + AWAY_MS
  for (let n = 0; Date.now() < end; n += 1) {
    fill(`filler-${n}`, 0)
    await sleep(50)
  }
  for (const name of names(openflow.data).filter((it) => it.startsWith('filler'))) fs.rmSync(path.join(openflow.data, name))
  return asked
}

test('the disk of all data gets full in the middle of a backup', async (t) => {
  if (!disk) return t.skip('it takes root to mount one')
  const ended = await backupOver(await fillUpDuring(askBackup, backupMoments['when it begins']))
  assert.equal(ended.status, 'failed', JSON.stringify(ended))
  await nextBackupIsGood()
})

test('the disk of all data gets full in the middle of a restore', async (t) => {
  if (!disk) return t.skip('it takes root to mount one')
  await become('second')
  const ended = await wholeAfter(await fillUpDuring(askRestore, restoreMoments['while it is unpacked']))
  assert.equal(ended.state, 'failed', JSON.stringify(ended))
})
