import { useQuery } from '@tanstack/vue-query'
import { computed, toValue, type ComputedRef, type MaybeRefOrGetter } from 'vue'
import { api, ok } from '@/api/client'
import { listAll } from '@/api/paging'
import type { Project, Role } from '@/api/types'
import { useMe } from '@/identity/api'

export const projectsKey = ['projects'] as const
export const projectKey = (id: string) => ['projects', id] as const
export const membersKey = (id: string) => ['projects', id, 'members'] as const

const at = (id: string) => ({ params: { path: { id } } })

export const fetchProjects = () => listAll<Project>((query) => ok(api.GET('/api/v1/projects', { params: { query } })))
export const useProjects = () => useQuery({ queryKey: projectsKey, queryFn: fetchProjects })

export function useProject(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: computed(() => projectKey(toValue(id))),
    queryFn: () => ok(api.GET('/api/v1/projects/{id}', at(toValue(id)))),
    enabled: computed(() => toValue(id) !== ''),
  })
}

/** What the signed-in user may do in a project; nothing while it is loading. The server decides, this only hides buttons. */
export function usePermissions(project: MaybeRefOrGetter<Project | undefined>): {
  canEdit: ComputedRef<boolean>
  canManage: ComputedRef<boolean>
} {
  const { isAdmin } = useMe()
  const role = computed(() => toValue(project)?.role)
  return {
    canEdit: computed(() => role.value !== undefined && (isAdmin.value || role.value !== 'viewer')),
    canManage: computed(() => role.value !== undefined && (isAdmin.value || role.value === 'owner')),
  }
}

export const createProject = (name: string) => ok(api.POST('/api/v1/projects', { body: { name } }))
export const renameProject = (id: string, name: string) =>
  ok(api.PATCH('/api/v1/projects/{id}', { ...at(id), body: { name } }))
export const deleteProject = (id: string) => ok(api.DELETE('/api/v1/projects/{id}', at(id)))

export const useMembers = (projectId: MaybeRefOrGetter<string>) =>
  useQuery({
    queryKey: computed(() => membersKey(toValue(projectId))),
    queryFn: () =>
      listAll((query) =>
        ok(api.GET('/api/v1/projects/{id}/members', { params: { path: { id: toValue(projectId) }, query } })),
      ),
  })
export const addMember = (id: string, email: string, role: Role) =>
  ok(api.POST('/api/v1/projects/{id}/members', { ...at(id), body: { email, role } }))
export const setMemberRole = (id: string, userId: string, role: Role) =>
  ok(api.PUT('/api/v1/projects/{id}/members/{userId}', { params: { path: { id, userId } }, body: { role } }))
export const removeMember = (id: string, userId: string) =>
  ok(api.DELETE('/api/v1/projects/{id}/members/{userId}', { params: { path: { id, userId } } }))
