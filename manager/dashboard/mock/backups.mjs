// Backups and their schedule as the dashboard sees them.
import { randomUUID } from 'node:crypto'
import { Refusal } from './http.mjs'
import { backup as makeBackup } from './safetyState.mjs'
import { instance as makeInstance } from './state.mjs'

const WRITE = ['owner', 'member']
const TOTAL = 48_300_000
const INSTALLATION = { enabled: true, schedule: '30 2 * * *', keep: { daily: 7, weekly: 4, monthly: 6 } }

export function addBackups({ state, router, page, find, need, send, setStatus, later, STEP_MS, checkName, beginRestore }) {
  const now = () => new Date().toISOString()
  function instanceOf(user, id, ...roles) {
    const instance = find(state.instances, id, 'instance')
    need(user, instance.projectId, ...roles)
    return instance
  }
  function get(user, id, ...roles) {
    const backup = find(state.backups, id, 'backup')
    need(user, backup.projectId, ...roles)
    return backup
  }
  /** A new instance goes again when its data do not come. */
  function takeBack(instance) {
    state.instances = state.instances.filter((one) => one !== instance)
    state.audit.unshift({ id: randomUUID(), at: now(), actor: { kind: 'system', id: null, name: 'restores' }, action: 'instance.delete', projectId: instance.projectId, target: { type: 'instance', id: instance.id, name: instance.name }, detail: { why: 'the data that it was made for did not come: the archive is damaged' }, address: null })
    send(instance.projectId, 'deleted', { id: instance.id })
  }
  const newest = (items) => [...items].sort((a, b) => b.createdAt.localeCompare(a.createdAt))

  router.on('GET', '/instances/:id/backups', ({ user, params }) => {
    instanceOf(user, params.id)
    return [200, page(newest(state.backups.filter(({ instanceId }) => instanceId === params.id)))]
  })
  router.on('GET', '/projects/:id/backups', ({ user, params }) => {
    need(user, params.id)
    return [200, page(newest(state.backups.filter(({ projectId }) => projectId === params.id)))]
  })
  router.on('POST', '/instances/:id/backups', ({ user, params }) => {
    const instance = instanceOf(user, params.id, ...WRITE)
    if (state.backups.some(({ instanceId, status }) => instanceId === instance.id && ['pending', 'running'].includes(status))) {
      throw new Refusal(409, 'backup.under_way', `${instance.name} is being backed up already.`)
    }
    const backup = makeBackup(instance, 0, { trigger: 'manual', status: 'pending', offsite: { status: 'off', detail: null, at: null } })
    state.backups.unshift(backup)
    later(STEP_MS, () => Object.assign(backup, { status: 'running', startedAt: now(), progress: { doneBytes: TOTAL / 3, totalBytes: TOTAL } }))
    later(STEP_MS * 2, () => (backup.progress = { doneBytes: TOTAL * 0.8, totalBytes: TOTAL }))
    later(STEP_MS * 3, () => Object.assign(backup, { ...makeBackup(instance, 0, { trigger: 'manual' }), id: backup.id, progress: null, finishedAt: now(), archive: 'here', verification: { status: 'pending', level: null, detail: null, at: null } }))
    later(STEP_MS * 4, () => (backup.verification = { status: 'good', level: 'read', detail: null, at: now() }))
    return [202, backup]
  })
  router.on('POST', '/instances/:id/backups/upload', async ({ user, params, request }) => {
    const instance = instanceOf(user, params.id, ...WRITE)
    let bytes = 0
    let head
    for await (const chunk of request) {
      head ??= chunk.subarray(0, 2).toString('hex')
      bytes += chunk.length
    }
    if (head !== '1f8b') throw new Refusal(422, 'backup.not_an_archive', 'This is no archive of Openflow: it is not gzip.')
    const backup = makeBackup(instance, 0, { trigger: 'upload', sizeBytes: bytes, verification: { status: 'good', level: 'read', detail: null, at: now() }, offsite: { status: 'off', detail: null, at: null } })
    state.backups.unshift(backup)
    return [201, backup]
  })
  router.on('GET', '/backups/:id', ({ user, params }) => [200, get(user, params.id)])
  router.on('DELETE', '/backups/:id', ({ user, params }) => {
    const gone = get(user, params.id, ...WRITE)
    state.backups = state.backups.filter((one) => one !== gone)
    return [204]
  })
  router.on('GET', '/backups/:id/download', ({ user, params, response }) => {
    get(user, params.id, ...WRITE)
    response.writeHead(200, { 'content-type': 'application/gzip', 'content-disposition': 'attachment; filename="line1.tar.gz"' }).end(Buffer.from('1f8b0800', 'hex'))
  })
  router.on('POST', '/backups/:id/verify', ({ user, params }) => {
    const backup = get(user, params.id, ...WRITE)
    backup.verification = { status: 'running', level: null, detail: null, at: null }
    later(STEP_MS * 2, () => (backup.verification = { status: 'good', level: 'rehearsed', detail: null, at: now() }))
    return [202, backup]
  })
  router.on('POST', '/backups/:id/fetch', ({ user, params }) => {
    const backup = get(user, params.id, ...WRITE)
    if (backup.archive === 'here') return [202, backup]
    if (backup.offsite.status !== 'done') throw new Refusal(409, 'backup.no_copy', 'There is no copy of this backup in the bucket.')
    const why = state.fetchEnds
    Object.assign(backup.offsite, { fetching: true, detail: null })
    later(STEP_MS * 2, () => {
      Object.assign(backup.offsite, { fetching: false, detail: why })
      if (why) return
      if (backup.archive === 'damaged') Object.assign(backup, { status: 'good', detail: null, verification: { status: 'good', level: 'read', detail: null, at: now() } })
      backup.archive = 'here'
    })
    return [202, backup]
  })
  router.on('POST', '/backups/:id/restore', ({ user, params, body }) => {
    const backup = get(user, params.id, ...WRITE)
    const source = { kind: 'backup', sourceId: backup.id, sourceName: `${backup.instanceName}, ${backup.createdAt.slice(0, 16).replace('T', ' ')}` }
    if (!body.newInstance) return [202, beginRestore(user, instanceOf(user, body.instanceId ?? backup.instanceId, ...WRITE), source, () => {})]
    const { name, subdomain, projectId = backup.projectId } = body.newInstance
    need(user, projectId, ...WRITE)
    checkName(subdomain, 'newInstance.subdomain')
    const instance = makeInstance(projectId, name, subdomain, { engine: backup.engine, status: 'creating', startedAt: null, createdAt: now() })
    state.instances.push(instance)
    setStatus(instance, 'creating')
    if (state.restoreEnds === 'nothing') later(STEP_MS, () => takeBack(instance))
    return [202, beginRestore(user, instance, source, () => {})]
  })

  const policyOf = (id) => {
    const own = state.policies.get(id)
    const policy = own ? { ...own, inherited: false } : { ...INSTALLATION, inherited: true }
    const next = new Date()
    next.setUTCHours(26, 30, 0, 0)
    return { ...policy, windowMinutes: own?.schedule ? 0 : 120, nextAt: policy.enabled ? next.toISOString() : null, lateSince: policy.enabled ? (state.late.get(id) ?? null) : null }
  }
  router.on('GET', '/instances/:id/backup-policy', ({ user, params }) => (instanceOf(user, params.id), [200, policyOf(params.id)]))
  router.on('PUT', '/instances/:id/backup-policy', ({ user, params, body }) => {
    instanceOf(user, params.id, ...WRITE)
    if (body.keep && body.keep.daily + body.keep.weekly + body.keep.monthly === 0) {
      throw new Refusal(422, 'invalid', 'The schedule was not saved.', { 'keep.daily': ['Keep at least one.'] })
    }
    state.policies.set(params.id, body)
    return [200, policyOf(params.id)]
  })
  router.on('DELETE', '/instances/:id/backup-policy', ({ user, params }) => {
    instanceOf(user, params.id, ...WRITE)
    state.policies.delete(params.id)
    return [204]
  })
}
