// The mock API. It refuses what the manager refuses, as far as the dashboard shows it; the manager decides.
import { randomUUID } from 'node:crypto'
import { makeRouter, readBody, Refusal, sendJson, sendProblem } from './http.mjs'
import { addBackups } from './backups.mjs'
import { addIdentity } from './identity.mjs'
import { addInstances } from './instances.mjs'
import { addMqtt } from './mqtt.mjs'
import { addRestores } from './restores.mjs'
import { addSnapshots } from './snapshots.mjs'
import { addStacks } from './stacks.mjs'

const COOKIE = '__Host-openflow_session'

export function buildApi(state) {
  const router = makeRouter()
  const tools = {
    state,
    router,
    COOKIE,
    page: (items) => ({ items, nextCursor: null }),
    find(list, id, noun) {
      const found = list.find((item) => item.id === id)
      if (!found) throw new Refusal(404, `${noun}.not_found`, `There is no such ${noun}.`)
      return found
    },
    role(user, projectId) {
      return state.members[projectId]?.[user.id] ?? (user.isAdmin ? 'owner' : null)
    },
    need(user, projectId, ...roles) {
      const role = tools.role(user, projectId)
      if (!role) throw new Refusal(404, 'project.not_found', 'There is no such project.')
      if (roles.length > 0 && !roles.includes(role)) throw new Refusal(403, 'forbidden', `This needs the role ${roles.join(' or ')}.`)
    },
    admin(user) {
      if (!user.isAdmin) throw new Refusal(403, 'forbidden', 'This is for administrators.')
    },
    record(user, action, projectId, target, detail = {}) {
      state.audit.unshift({
        id: randomUUID(),
        at: new Date().toISOString(),
        actor: { kind: 'user', id: user.id, name: user.name },
        action,
        projectId,
        target,
        detail,
        address: '127.0.0.1',
      })
    },
  }
  addIdentity(tools)
  addStacks(tools)
  const instances = addInstances(tools)
  const mqtt = addMqtt(tools)
  const restores = addRestores({ ...tools, ...instances })
  addSnapshots({ ...tools, ...restores })
  addBackups({ ...tools, ...instances, ...restores })

  router.on('GET', '/health/ready', () => {
    const good = state.docker.status === 'up'
    return [good ? 200 : 503, { status: good ? 'ok' : 'degraded', dependencies: { database: { status: 'up' }, docker: state.docker } }]
  })
  router.on('GET', '/audit', ({ user, query }) => {
    const projectId = query.get('projectId')
    if (projectId) tools.need(user, projectId)
    else tools.admin(user)
    const limit = Number(query.get('limit') ?? 50)
    const all = state.audit.filter(
      (entry) =>
        (!projectId || entry.projectId === projectId) &&
        (!query.get('action') || entry.action === query.get('action') || entry.action.startsWith(`${query.get('action')}.`)) &&
        (!query.get('actor') || entry.actor.id === query.get('actor')),
    )
    const start = query.get('cursor') ? all.findIndex(({ id }) => id === query.get('cursor')) + 1 : 0
    const items = all.slice(start, start + limit)
    return [200, { items, nextCursor: start + limit < all.length ? items.at(-1).id : null }]
  })

  const OPEN = new Set(['/health/ready', '/setup', '/auth/login'])
  async function handle(request, response, url) {
    try {
      const path = url.pathname.slice('/api/v1'.length)
      const route = router.find(request.method, path)
      if (!route) throw new Refusal(404, 'not_found', `The mock knows no ${request.method} ${path}.`)
      const origin = request.headers.origin
      if (request.method !== 'GET' && origin && new URL(origin).host !== request.headers.host) {
        throw new Refusal(403, 'origin', 'This origin may not call the API.')
      }
      const cookie = new RegExp(`${COOKIE}=([^;]+)`).exec(request.headers.cookie ?? '')?.[1]
      const session = state.sessions.get(cookie)
      const user = session && state.users.find(({ id, disabled }) => id === session.userId && !disabled)
      if (!user && !OPEN.has(path)) throw new Refusal(401, 'unauthenticated', 'Sign in first.')
      // A file is left to its handler.
      const isFile = request.headers['content-type'] === 'application/gzip'
      const body = ['POST', 'PUT', 'PATCH'].includes(request.method) && !isFile ? await readBody(request) : {}
      const answer = await route.handler({ request, response, user, session, body, params: route.params, query: url.searchParams })
      if (answer) sendJson(response, ...answer)
    } catch (error) {
      if (response.headersSent) response.end()
      else sendProblem(response, error)
    }
  }
  function close() {
    instances.close()
    mqtt.close()
  }
  return { handle, setStatus: instances.setStatus, publish: mqtt.publish, close }
}
