import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import { createApp } from 'vue'
import { onSignedOut } from '@/api/client'
import { ApiError } from '@/api/problem'
import { meKey } from '@/identity/api'
import App from './App.vue'
import { buildRouter } from './router'
import '@/ui/base.css'

const STALE_MS = 5_000
const MAX_RETRIES = 2

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: STALE_MS,
      // A refusal is the same the next time; a lost connection or a restarting manager may not be.
      retry: (failures, error) =>
        failures < MAX_RETRIES && !(error instanceof ApiError && error.problem.status < 500),
      // `navigator.onLine` knows nothing about a server on this host or network.
      networkMode: 'always',
    },
  },
})

const router = buildRouter(client)

onSignedOut(() => {
  client.removeQueries({ queryKey: meKey, exact: true })
  const { meta, fullPath } = router.currentRoute.value
  if (!meta.open) void router.replace({ name: 'login', query: { next: fullPath } })
})

createApp(App).use(router).use(VueQueryPlugin, { queryClient: client }).mount('#app')
