import { randomUUID } from 'node:crypto'
import { Refusal } from './http.mjs'
import { ofEngine } from './state.mjs'

export function addStacks({ state, router, page, find, admin }) {
  const named = (list, noun, name, except) => {
    if (list.some((item) => item.name === name && item.id !== except)) {
      throw new Refusal(409, `${noun}.name_taken`, `There is a ${noun} of this name.`, { name: ['This name is taken.'] })
    }
  }
  router.on('GET', '/stacks', () => [200, page(state.stacks)])
  router.on('POST', '/stacks', ({ user, body }) => {
    admin(user)
    named(state.stacks, 'stack', body.name)
    const stack = { id: randomUUID(), ...body, version: '', status: 'pulling', statusDetail: null, isDefault: false, ...ofEngine(body.engine), createdAt: new Date().toISOString() }
    state.stacks.push(stack)
    setTimeout(() => Object.assign(stack, { status: 'ready', version: '4.1.2' }), 3_000).unref()
    return [201, stack]
  })
  router.on('PATCH', '/stacks/:id', ({ user, params, body }) => {
    admin(user)
    const stack = find(state.stacks, params.id, 'stack')
    if (body.isDefault) for (const other of state.stacks) if (other.engine === stack.engine) other.isDefault = other === stack
    return [200, Object.assign(stack, body)]
  })
  router.on('DELETE', '/stacks/:id', ({ user, params }) => {
    admin(user)
    if (state.instances.some(({ stackId }) => stackId === params.id)) {
      throw new Refusal(409, 'stack.in_use', 'Instances use this stack. Move them to another first.')
    }
    state.stacks = state.stacks.filter(({ id }) => id !== params.id)
    return [204]
  })

  const masked = (template) => ({
    ...template,
    env: template.env.map((item) => (item.secret ? { ...item, value: null } : item)),
  })
  router.on('GET', '/templates', () => [200, page(state.templates.map(masked))])
  router.on('POST', '/templates', ({ user, body }) => {
    admin(user)
    named(state.templates, 'template', body.name)
    const template = { id: randomUUID(), ...body, createdAt: new Date().toISOString() }
    state.templates.push(template)
    return [201, masked(template)]
  })
  router.on('PATCH', '/templates/:id', ({ user, params, body }) => {
    admin(user)
    named(state.templates, 'template', body.name, params.id)
    return [200, masked(Object.assign(find(state.templates, params.id, 'template'), body))]
  })
  router.on('DELETE', '/templates/:id', ({ user, params }) => {
    admin(user)
    state.templates = state.templates.filter(({ id }) => id !== params.id)
    return [204]
  })
}
