import { randomUUID } from 'node:crypto'
import { Refusal } from './http.mjs'
import { FIRST_TOKEN } from './state.mjs'

const MIN_PASSWORD = 10

export function addIdentity({ state, router, COOKIE, page, find, need, admin, role, record }) {
  const view = ({ password: _, ...user }) => user
  const me = ({ password: _, disabled: __, ...user }) => user

  function signIn(response, user, request) {
    const id = randomUUID()
    const now = new Date()
    state.sessions.set(id, {
      id,
      userId: user.id,
      createdAt: now.toISOString(),
      lastSeenAt: now.toISOString(),
      expiresAt: new Date(now.getTime() + 14 * 86_400_000).toISOString(),
      address: '127.0.0.1',
      userAgent: request.headers['user-agent'] ?? null,
    })
    response.setHeader('set-cookie', `${COOKIE}=${id}; Path=/; HttpOnly; Secure; SameSite=Lax`)
  }
  function checkPassword(field, password) {
    if (!password || password.length < MIN_PASSWORD) {
      throw new Refusal(422, 'invalid', 'The password is too short.', { [field]: [`Use at least ${MIN_PASSWORD} characters.`] })
    }
  }
  function makeUser({ email, name, password, isAdmin }) {
    checkPassword('password', password)
    if (state.users.some((user) => user.email === email)) {
      throw new Refusal(409, 'user.email_taken', 'A user with this email exists.', { email: ['This email is taken.'] })
    }
    const user = { id: randomUUID(), email, name, password, isAdmin: !!isAdmin, disabled: false, createdAt: new Date().toISOString() }
    state.users.push(user)
    return user
  }

  router.on('GET', '/setup', () => [200, { needed: state.users.length === 0 }])
  router.on('POST', '/setup', ({ body, response, request }) => {
    if (state.users.length > 0) throw new Refusal(409, 'setup.done', 'There is an administrator already.')
    if (body.token !== FIRST_TOKEN) throw new Refusal(422, 'invalid', 'The token is wrong.', { token: ['This is not the token that was printed.'] })
    signIn(response, makeUser({ ...body, isAdmin: true }), request)
    return [204]
  })
  router.on('POST', '/auth/login', ({ body, response, request }) => {
    const user = state.users.find(({ email, password, disabled }) => email === body.email && password === body.password && !disabled)
    if (!user) throw new Refusal(401, 'auth.wrong', 'Email or password is wrong.')
    signIn(response, user, request)
    return [204]
  })
  router.on('POST', '/auth/logout', ({ session }) => (state.sessions.delete(session.id), [204]))
  router.on('GET', '/auth/me', ({ user }) => [200, me(user)])
  router.on('POST', '/me/password', ({ user, body }) => {
    if (body.currentPassword !== user.password) {
      throw new Refusal(422, 'invalid', 'The password was not changed.', { currentPassword: ['This is not your password.'] })
    }
    checkPassword('newPassword', body.newPassword)
    user.password = body.newPassword
    return [204]
  })

  router.on('GET', '/me/tokens', () => [200, page(state.tokens)])
  router.on('POST', '/me/tokens', ({ body }) => {
    const item = { id: randomUUID(), name: body.name, scopes: body.scopes, expiresAt: body.expiresAt ?? null, lastUsedAt: null, createdAt: new Date().toISOString() }
    state.tokens.unshift(item)
    return [201, { id: item.id, token: `ofp_${randomUUID().replaceAll('-', '')}` }]
  })
  router.on('DELETE', '/me/tokens/:id', ({ params }) => {
    state.tokens = state.tokens.filter(({ id }) => id !== params.id)
    return [204]
  })
  router.on('GET', '/me/sessions', ({ user, session }) => [
    200,
    page([...state.sessions.values()].filter(({ userId }) => userId === user.id).map(({ userId: _, ...item }) => ({ ...item, current: item.id === session.id }))),
  ])
  router.on('DELETE', '/me/sessions/:id', ({ params }) => (state.sessions.delete(params.id), [204]))

  router.on('GET', '/users', ({ user }) => (admin(user), [200, page(state.users.map(view))]))
  router.on('POST', '/users', ({ user, body }) => (admin(user), [201, view(makeUser(body))]))
  router.on('PATCH', '/users/:id', ({ user, params, body }) => {
    admin(user)
    const target = find(state.users, params.id, 'user')
    if (body.password !== undefined) checkPassword('password', body.password)
    return [200, view(Object.assign(target, body))]
  })
  router.on('DELETE', '/users/:id', ({ user, params }) => {
    admin(user)
    state.users = state.users.filter(({ id }) => id !== params.id)
    return [204]
  })

  const projectView = (user) => (project) => ({
    ...project,
    role: role(user, project.id),
    instanceCount: state.instances.filter(({ projectId }) => projectId === project.id).length,
  })
  router.on('GET', '/projects', ({ user }) => [200, page(state.projects.filter(({ id }) => role(user, id)).map(projectView(user)))])
  router.on('POST', '/projects', ({ user, body }) => {
    const now = new Date().toISOString()
    const project = { id: randomUUID(), name: body.name, createdAt: now, updatedAt: now }
    state.projects.push(project)
    state.members[project.id] = { [user.id]: 'owner' }
    record(user, 'project.create', project.id, { type: 'project', id: project.id, name: project.name })
    return [201, projectView(user)(project)]
  })
  router.on('GET', '/projects/:id', ({ user, params }) => {
    need(user, params.id)
    return [200, projectView(user)(find(state.projects, params.id, 'project'))]
  })
  router.on('PATCH', '/projects/:id', ({ user, params, body }) => {
    need(user, params.id, 'owner')
    return [200, projectView(user)(Object.assign(find(state.projects, params.id, 'project'), { name: body.name }))]
  })
  router.on('DELETE', '/projects/:id', ({ user, params }) => {
    need(user, params.id, 'owner')
    state.projects = state.projects.filter(({ id }) => id !== params.id)
    state.instances = state.instances.filter(({ projectId }) => projectId !== params.id)
    return [202]
  })

  const member = (projectId) => ([userId, memberRole]) => {
    const { email, name, createdAt } = state.users.find(({ id }) => id === userId)
    return { userId, email, name, role: memberRole, createdAt }
  }
  router.on('GET', '/projects/:id/members', ({ user, params }) => {
    need(user, params.id)
    return [200, page(Object.entries(state.members[params.id]).map(member(params.id)))]
  })
  router.on('POST', '/projects/:id/members', ({ user, params, body }) => {
    need(user, params.id, 'owner')
    const added = state.users.find(({ email }) => email === body.email)
    if (!added) throw new Refusal(422, 'invalid', 'The member was not added.', { email: ['No user has this email.'] })
    if (state.members[params.id][added.id]) throw new Refusal(409, 'member.exists', `${added.name} is a member already.`)
    state.members[params.id][added.id] = body.role
    return [201, member(params.id)([added.id, body.role])]
  })
  const lastOwner = (projectId, userId) =>
    Object.entries(state.members[projectId]).every(([id, memberRole]) => id === userId || memberRole !== 'owner')
  router.on('PUT', '/projects/:id/members/:userId', ({ user, params, body }) => {
    need(user, params.id, 'owner')
    if (body.role !== 'owner' && lastOwner(params.id, params.userId)) {
      throw new Refusal(409, 'member.last_owner', 'A project needs an owner; make another member owner first.')
    }
    state.members[params.id][params.userId] = body.role
    return [200, member(params.id)([params.userId, body.role])]
  })
  router.on('DELETE', '/projects/:id/members/:userId', ({ user, params }) => {
    if (params.userId !== user.id) need(user, params.id, 'owner')
    if (lastOwner(params.id, params.userId)) throw new Refusal(409, 'member.last_owner', 'A project needs an owner; make another member owner first.')
    delete state.members[params.id][params.userId]
    return [204]
  })
}
