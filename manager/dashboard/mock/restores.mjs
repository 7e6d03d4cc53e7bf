// Replacing an instance's data, as the reconciler reports it. `state.restoreEnds` is how the next ones end.
import { randomUUID } from 'node:crypto'
import { Refusal } from './http.mjs'

const TOTAL = 48_000_000
const isOpen = ({ state }) => !['done', 'undone', 'failed'].includes(state)

export function addRestores({ state, router, page, find, need, setStatus, later, STEP_MS }) {
  const now = () => new Date().toISOString()

  /** Begins a restore; `apply` happens when it succeeds. */
  function beginRestore(user, instance, { kind, sourceId, sourceName }, apply) {
    if (state.restores.some((one) => one.instanceId === instance.id && isOpen(one))) {
      throw new Refusal(409, 'restore.under_way', `${instance.name} is being restored already. Wait for its end.`)
    }
    const restore = { id: randomUUID(), instanceId: instance.id, kind, sourceId, sourceName, state: 'preparing', detail: null, progress: { doneBytes: 0, totalBytes: TOTAL }, requestedBy: user.name, createdAt: now(), finishedAt: null }
    state.restores.unshift(restore)
    const before = instance.status
    const stopped = [
      () => (Object.assign(restore, { state: 'stopping', progress: null }), setStatus(instance, 'stopping')),
      () => ((restore.state = 'starting'), setStatus(instance, 'starting')),
    ]
    /** n8n is handed a snapshot while it runs. */
    const running = [() => Object.assign(restore, { state: 'applying', progress: null })]
    const steps = [
      () => (restore.progress.doneBytes = TOTAL * 0.4),
      () => (restore.progress.doneBytes = TOTAL),
      ...(kind === 'snapshot' && instance.engine === 'n8n' ? running : stopped),
      ...(state.restoreEnds === 'undone' ? [() => (restore.state = 'undoing')] : []),
      () => {
        const undone = state.restoreEnds === 'undone'
        Object.assign(restore, { state: undone ? 'undone' : 'done', finishedAt: now(), detail: undone ? 'Node-RED did not answer its health check within 60 s.' : null })
        if (!undone) apply()
        setStatus(instance, ['stopped', 'failed'].includes(before) ? 'stopped' : 'running')
      },
    ]
    steps.forEach((step, index) => later(STEP_MS * (index + 1), step))
    return restore
  }

  router.on('GET', '/instances/:id/restores', ({ user, params, query }) => {
    need(user, find(state.instances, params.id, 'instance').projectId)
    return [200, page(state.restores.filter(({ instanceId }) => instanceId === params.id).slice(0, Number(query.get('limit') ?? 50)))]
  })
  router.on('GET', '/restores/:id', ({ user, params }) => {
    const restore = find(state.restores, params.id, 'restore')
    need(user, find(state.instances, restore.instanceId, 'instance').projectId)
    return [200, restore]
  })
  return { beginRestore }
}
