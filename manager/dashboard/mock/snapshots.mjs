// Snapshots and pipelines as the dashboard sees them.
import { randomUUID } from 'node:crypto'
import { flowDiff } from './flowDiff.mjs'
import { Refusal } from './http.mjs'
import { snapshot as makeSnapshot } from './safetyState.mjs'

const WRITE = ['owner', 'member']

export function addSnapshots({ state, router, page, find, need, record, beginRestore }) {
  const view = ({ flows: _, ...item }) => item
  function instanceOf(user, id, ...roles) {
    const instance = find(state.instances, id, 'instance')
    need(user, instance.projectId, ...roles)
    return instance
  }
  function get(user, id, ...roles) {
    const snapshot = find(state.snapshots, id, 'snapshot')
    need(user, snapshot.projectId, ...roles)
    return snapshot
  }
  const running = (instance) => state.deployed.get(instance.id) ?? { flows: [], modules: [], env: [] }
  function take(user, instance, name, extra = {}) {
    const made = makeSnapshot(instance, name, { ...structuredClone(running(instance)), author: user.name, ...extra })
    state.snapshots.unshift(made)
    return made
  }
  const side = ({ id, name, createdAt }) => ({ id: id ?? null, name: name ?? null, createdAt: createdAt ?? null })
  const diff = (from, to) => ({ from: side(from), to: side(to), ...flowDiff(from, to) })

  router.on('GET', '/instances/:id/snapshots', ({ user, params, query }) => {
    instanceOf(user, params.id)
    const all = state.snapshots.filter(({ instanceId, kind }) => instanceId === params.id && (!query.get('kind') || kind === query.get('kind')))
    const start = Number(query.get('cursor') ?? 0)
    const end = start + Number(query.get('limit') ?? 50)
    return [200, { items: all.slice(start, end).map(view), nextCursor: end < all.length ? String(end) : null }]
  })
  router.on('POST', '/instances/:id/snapshots', ({ user, params, body }) => {
    const instance = instanceOf(user, params.id, ...WRITE)
    const made = take(user, instance, body.name ?? '', { description: body.description ?? '' })
    record(user, 'snapshot.create', instance.projectId, { type: 'snapshot', id: made.id, name: made.name })
    return [201, view(made)]
  })
  router.on('POST', '/instances/:id/snapshots/import', ({ user, params, body }) => {
    const instance = instanceOf(user, params.id, ...WRITE)
    if (body.passphrase !== body.snapshot.passphrase) {
      throw new Refusal(422, 'invalid', 'The snapshot was not imported.', { passphrase: ['This passphrase does not open the file.'] })
    }
    const source = find(state.snapshots, body.snapshot.id, 'snapshot')
    const made = { ...source, id: randomUUID(), instanceId: instance.id, projectId: instance.projectId, kind: 'manual', name: body.name ?? source.name, author: user.name, createdAt: new Date().toISOString() }
    state.snapshots.unshift(made)
    return [201, view(made)]
  })
  router.on('GET', '/snapshots/:id', ({ user, params }) => [200, get(user, params.id)])
  router.on('PATCH', '/snapshots/:id', ({ user, params, body }) => [200, view(Object.assign(get(user, params.id, ...WRITE), body))])
  router.on('DELETE', '/snapshots/:id', ({ user, params }) => {
    const gone = get(user, params.id, ...WRITE)
    state.snapshots = state.snapshots.filter((one) => one !== gone)
    return [204]
  })
  router.on('GET', '/snapshots/:id/diff', ({ user, params, query }) => {
    const from = get(user, params.id)
    const to = query.get('to')
    return [200, diff(from, to === 'current' ? running(find(state.instances, from.instanceId, 'instance')) : get(user, to))]
  })
  router.on('POST', '/snapshots/:id/export', ({ user, params, body, response }) => {
    const { id, name } = get(user, params.id, ...WRITE)
    if (body.passphrase.length < 12) throw new Refusal(422, 'invalid', 'The passphrase is too short.', { passphrase: ['Use at least 12 characters.'] })
    response.setHeader('content-disposition', `attachment; filename="${(name || 'snapshot').toLowerCase().replace(/\W+/g, '-')}.openflow-snapshot.json"`)
    // The mock seals nothing: the passphrase stands for the seal.
    return [200, { format: 'openflow-snapshot', version: 1, id, passphrase: body.passphrase }]
  })

  function plan(snapshot, instance, { credentials = 'snapshot' }) {
    const here = running(instance)
    const changes = diff(here, snapshot)
    const lacks = snapshot.env.filter(({ name }) => !here.env.some((one) => one.name === name))
    const withCredentials = snapshot.flows.filter((node) => node.credentials)
    const known = withCredentials.filter(({ id }) => here.flows.some((node) => node.id === id && node.credentials))
    const kept = credentials === 'keep' ? known.length : 0
    return {
      instanceId: instance.id,
      diff: changes,
      modules: { install: changes.modules.added, differ: changes.modules.changed.map(({ name, from, to }) => ({ name, here: from, snapshot: to })) },
      env: { missing: lacks.map(({ name, secret }) => ({ name, secret })), differ: changes.env.changed },
      credentials: { carried: withCredentials.length - kept, kept, missing: [] },
      engine: { here: instance.engine === 'n8n' ? '2.41.1' : '4.1.2', snapshot: snapshot.engineVersion, compatible: instance.engine === snapshot.engine },
      warnings: [],
      blockers: instance.status === 'failed' ? ['The instance could not be started; mend it first.'] : [],
    }
  }
  function restore(user, snapshot, instance) {
    const begun = beginRestore(user, instance, { kind: 'snapshot', sourceId: snapshot.id, sourceName: snapshot.name || 'Automatic' }, () => state.deployed.set(instance.id, structuredClone({ flows: snapshot.flows, modules: snapshot.modules, env: snapshot.env })))
    take(user, instance, '', { kind: 'before-restore', author: null })
    return begun
  }
  router.on('POST', '/snapshots/:id/restore', ({ user, params, body, query }) => {
    const snapshot = get(user, params.id, ...WRITE)
    const instance = instanceOf(user, body.instanceId ?? snapshot.instanceId, ...WRITE)
    state.lastRestore = body
    return query.get('dryRun') === 'true' ? [200, plan(snapshot, instance, body)] : [202, restore(user, snapshot, instance)]
  })

  const pipelineView = (pipeline) => ({
    ...pipeline,
    stages: pipeline.stages.map((stage) => {
      const { name, subdomain } = state.instances.find(({ id }) => id === stage.instanceId) ?? { name: 'gone', subdomain: '' }
      return { ...stage, instanceName: name, subdomain }
    }),
  })
  function pipelineOf(user, id, ...roles) {
    const pipeline = find(state.pipelines, id, 'pipeline')
    need(user, pipeline.projectId, ...roles)
    return pipeline
  }
  function checkPipeline(projectId, body, except) {
    if (state.pipelines.some((one) => one.id !== except && one.projectId === projectId && one.name === body.name)) {
      throw new Refusal(409, 'pipeline.name_taken', 'There is a pipeline of this name.', { name: ['This name is taken.'] })
    }
  }
  router.on('GET', '/projects/:id/pipelines', ({ user, params }) => {
    need(user, params.id)
    return [200, page(state.pipelines.filter(({ projectId }) => projectId === params.id).map(pipelineView))]
  })
  router.on('POST', '/projects/:id/pipelines', ({ user, params, body }) => {
    need(user, params.id, 'owner')
    checkPipeline(params.id, body)
    const now = new Date().toISOString()
    const pipeline = { id: randomUUID(), projectId: params.id, ...body, createdAt: now, updatedAt: now }
    state.pipelines.push(pipeline)
    return [201, pipelineView(pipeline)]
  })
  router.on('GET', '/pipelines/:id', ({ user, params }) => [200, pipelineView(pipelineOf(user, params.id))])
  router.on('PUT', '/pipelines/:id', ({ user, params, body }) => {
    const pipeline = pipelineOf(user, params.id, 'owner')
    checkPipeline(pipeline.projectId, body, pipeline.id)
    return [200, pipelineView(Object.assign(pipeline, body, { updatedAt: new Date().toISOString() }))]
  })
  router.on('DELETE', '/pipelines/:id', ({ user, params }) => {
    const gone = pipelineOf(user, params.id, 'owner')
    state.pipelines = state.pipelines.filter((one) => one !== gone)
    return [204]
  })
  router.on('POST', '/pipelines/:id/promote', ({ user, params, body, query }) => {
    const pipeline = pipelineOf(user, params.id, ...WRITE)
    const from = pipeline.stages.findIndex(({ instanceId }) => instanceId === body.instanceId)
    const to = pipeline.stages[from + 1]
    if (from < 0 || !to) throw new Refusal(422, 'invalid', 'There is no stage after this one.')
    if (to.needsOwner) need(user, pipeline.projectId, 'owner')
    const [source, target] = [from, from + 1].map((index) => find(state.instances, pipeline.stages[index].instanceId, 'instance'))
    state.lastRestore = body
    if (query.get('dryRun') === 'true') return [200, plan(makeSnapshot(source, '', structuredClone(running(source))), target, body)]
    const snapshot = take(user, source, `Promoted to ${target.name}`)
    return [202, { snapshot: view(snapshot), restore: restore(user, snapshot, target) }]
  })
}
