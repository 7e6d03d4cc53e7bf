import { useQuery } from '@tanstack/vue-query'
import { api, ok } from '@/api/client'
import { listAll, type Listing } from '@/api/paging'
import type { Engine, Stack, Storage, Template, TemplateBody } from '@/api/types'

export const stacksKey = ['stacks'] as const
export const templatesKey = ['templates'] as const

/** An image is being pulled: ask often until it is there. */
const PULL_POLL_MS = 4_000

export const useStacks = () =>
  useQuery({
    queryKey: stacksKey,
    queryFn: (): Promise<Listing<Stack>> => listAll((query) => ok(api.GET('/api/v1/stacks', { params: { query } }))),
    refetchInterval: (query) =>
      query.state.data?.items.some(({ status }) => status === 'pulling') ? PULL_POLL_MS : false,
  })
export const createStack = (body: { name: string; engine: Engine; image: string; storage: Storage }) => ok(api.POST('/api/v1/stacks', { body }))
export const makeDefaultStack = (id: string) =>
  ok(api.PATCH('/api/v1/stacks/{id}', { params: { path: { id } }, body: { isDefault: true } }))
export const deleteStack = (id: string) => ok(api.DELETE('/api/v1/stacks/{id}', { params: { path: { id } } }))

export const useTemplates = () =>
  useQuery({
    queryKey: templatesKey,
    queryFn: (): Promise<Listing<Template>> =>
      listAll((query) => ok(api.GET('/api/v1/templates', { params: { query } }))),
  })
export const createTemplate = (body: TemplateBody) => ok(api.POST('/api/v1/templates', { body }))
export const patchTemplate = (id: string, body: TemplateBody) =>
  ok(api.PATCH('/api/v1/templates/{id}', { params: { path: { id } }, body }))
export const deleteTemplate = (id: string) => ok(api.DELETE('/api/v1/templates/{id}', { params: { path: { id } } }))
