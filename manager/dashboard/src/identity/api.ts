import { useQuery, type QueryClient } from '@tanstack/vue-query'
import { computed, type ComputedRef } from 'vue'
import { api, ok } from '@/api/client'
import { listAll } from '@/api/paging'
import { ApiError, problemOf } from '@/api/problem'
import type { Me, NewApiToken, PatchUser, Scope } from '@/api/types'

export const meKey = ['me'] as const
export const tokensKey = ['me', 'tokens'] as const
export const sessionsKey = ['me', 'sessions'] as const
export const usersKey = ['users'] as const

export const fetchMe = (): Promise<Me> => ok(api.GET('/api/v1/auth/me'))

const ME_STALE_MS = 60_000
const meOptions = { queryKey: meKey, queryFn: fetchMe, staleTime: ME_STALE_MS, retry: false } as const

/** The signed-in user, asked at most once a minute; throws `ApiError` 401 when nobody is. */
export const ensureMe = (client: QueryClient): Promise<Me> => client.fetchQuery(meOptions)

/**
 * After signing in: whether the browser kept the session. Its cookie is `Secure`, which browsers accept over https
 * and, most of them, on localhost.
 */
export async function confirmSession(client: QueryClient): Promise<void> {
  client.clear()
  try {
    await ensureMe(client)
  } catch (error) {
    if (problemOf(error).status !== 401) throw error
    throw new ApiError({
      ...problemOf(error),
      title: 'Your browser did not keep the session',
      detail: 'Open the dashboard over https, or as http://localhost on the host itself, and allow its cookie.',
    })
  }
}

/** The signed-in user. The router has already seen to it that there is one. */
export function useMe(): { me: ComputedRef<Me | undefined>; isAdmin: ComputedRef<boolean> } {
  const { data } = useQuery(meOptions)
  return { me: computed(() => data.value), isAdmin: computed(() => data.value?.isAdmin ?? false) }
}

export const setupNeeded = async (): Promise<boolean> => (await ok(api.GET('/api/v1/setup'))).needed
export const setUp = (body: { token: string; email: string; name: string; password: string }) =>
  ok(api.POST('/api/v1/setup', { body }))

export const logIn = (email: string, password: string) => ok(api.POST('/api/v1/auth/login', { body: { email, password } }))
export const logOut = () => ok(api.POST('/api/v1/auth/logout'))
export const changePassword = (currentPassword: string, newPassword: string) =>
  ok(api.POST('/api/v1/me/password', { body: { currentPassword, newPassword } }))

export const useTokens = () =>
  useQuery({ queryKey: tokensKey, queryFn: () => ok(api.GET('/api/v1/me/tokens')) })
export const createToken = (name: string, scopes: Scope[], expiresAt: string | null): Promise<NewApiToken> =>
  ok(api.POST('/api/v1/me/tokens', { body: { name, scopes, ...(expiresAt ? { expiresAt } : {}) } }))
export const revokeToken = (id: string) => ok(api.DELETE('/api/v1/me/tokens/{id}', { params: { path: { id } } }))

export const useSessions = () =>
  useQuery({ queryKey: sessionsKey, queryFn: () => ok(api.GET('/api/v1/me/sessions')) })
export const endSession = (id: string) => ok(api.DELETE('/api/v1/me/sessions/{id}', { params: { path: { id } } }))

export const useUsers = () =>
  useQuery({ queryKey: usersKey, queryFn: () => listAll((query) => ok(api.GET('/api/v1/users', { params: { query } }))) })
export const createUser = (body: { email: string; name: string; password: string; isAdmin: boolean }) =>
  ok(api.POST('/api/v1/users', { body }))
export const patchUser = (id: string, body: PatchUser) =>
  ok(api.PATCH('/api/v1/users/{id}', { params: { path: { id } }, body }))
export const deleteUser = (id: string) => ok(api.DELETE('/api/v1/users/{id}', { params: { path: { id } } }))
