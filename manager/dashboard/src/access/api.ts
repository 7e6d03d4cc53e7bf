import { api, ok } from '@/api/client'
import type { Instance } from '@/api/types'
import { fetchInstances } from '@/instances/api'
import { fetchProjects } from '@/projects/api'

export const launch = (subdomain: string, next: string | undefined) =>
  ok(api.POST('/api/v1/launch', { body: { subdomain, ...(next ? { next } : {}) } }))

/**
 * The instance behind a subdomain or alias, among those the user can see. The API has no look-up by name, and the
 * answer is needed only on the rare page of an instance that does not run.
 */
export async function findInstance(subdomain: string): Promise<Instance | null> {
  const { items: projects } = await fetchProjects()
  for (const project of projects) {
    const { items } = await fetchInstances(project.id)
    const found = items.find((instance) => instance.subdomain === subdomain || instance.aliases.includes(subdomain))
    if (found) return found
  }
  return null
}
