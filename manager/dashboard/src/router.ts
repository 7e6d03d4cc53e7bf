import type { QueryClient } from '@tanstack/vue-query'
import { createRouter, createWebHistory, type RouteLocationNormalized, type Router, type RouteRecordRaw } from 'vue-router'
import { problemOf } from '@/api/problem'
import { ensureMe, setupNeeded } from '@/identity/api'
import ProjectsPage from '@/projects/ProjectsPage.vue'
import AppShell from '@/shell/AppShell.vue'
import { announce } from '@/ui/announce'
import { toastProblem } from '@/ui/toast'

declare module 'vue-router' {
  interface RouteMeta {
    /** Needs no session. */
    open?: boolean
    /** The page's name in the browser's tab; pages that show a thing name it themselves. */
    title?: string
  }
}

/** The path for which the page was loaded anew, in the session storage. */
const RELOADED = 'openflow.reloaded'

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

const routes: RouteRecordRaw[] = [
  {
    path: '/setup',
    name: 'setup',
    component: () => import('@/identity/SetupPage.vue'),
    meta: { open: true, title: 'Set up' },
  },
  {
    path: '/login',
    name: 'login',
    component: () => import('@/identity/LoginPage.vue'),
    meta: { open: true, title: 'Sign in' },
  },
  {
    path: '/',
    component: AppShell,
    children: [
      { path: '', name: 'projects', component: ProjectsPage, meta: { title: 'Projects' } },
      {
        path: 'projects/:projectId',
        component: () => import('@/projects/ProjectLayout.vue'),
        props: true,
        children: [
          { path: '', name: 'project', component: () => import('@/instances/InstancesPage.vue') },
          {
            path: 'mqtt',
            component: () => import('@/mqtt/MqttLayout.vue'),
            children: [
              { path: '', name: 'project-mqtt', component: () => import('@/mqtt/ClientsPage.vue') },
              { path: 'topics', name: 'project-mqtt-topics', component: () => import('@/mqtt/TopicsPage.vue') },
              { path: 'connections', name: 'project-mqtt-connections', component: () => import('@/mqtt/ConnectionsPage.vue') },
            ],
          },
          { path: 'pipelines', name: 'project-pipelines', component: () => import('@/snapshots/PipelinesPage.vue') },
          { path: 'backups', name: 'project-backups', component: () => import('@/backups/ProjectBackupsPage.vue') },
          { path: 'members', name: 'project-members', component: () => import('@/projects/MembersPage.vue') },
          { path: 'audit', name: 'project-audit', component: () => import('@/audit/ProjectAuditPage.vue') },
          { path: 'settings', name: 'project-settings', component: () => import('@/projects/ProjectSettingsPage.vue') },
        ],
      },
      {
        path: 'instances/:id',
        component: () => import('@/instances/InstanceLayout.vue'),
        props: true,
        children: [
          { path: '', name: 'instance', component: () => import('@/instances/OverviewPage.vue') },
          { path: 'logs', name: 'instance-logs', component: () => import('@/instances/LogsPage.vue') },
          { path: 'env', name: 'instance-env', component: () => import('@/instances/EnvPage.vue') },
          { path: 'snapshots', name: 'instance-snapshots', component: () => import('@/snapshots/SnapshotsPage.vue') },
          { path: 'snapshots/compare', name: 'instance-snapshots-compare', component: () => import('@/snapshots/DiffPage.vue') },
          { path: 'backups', name: 'instance-backups', component: () => import('@/backups/BackupsPage.vue') },
          { path: 'aliases', name: 'instance-aliases', component: () => import('@/instances/AliasesPage.vue') },
          { path: 'settings', name: 'instance-settings', component: () => import('@/instances/SettingsPage.vue') },
        ],
      },
      {
        path: 'launch/:subdomain',
        name: 'launch',
        component: () => import('@/access/LaunchPage.vue'),
        props: ({ params, query }) => ({ subdomain: params.subdomain, next: text(query.next) }),
      },
      { path: 'account', name: 'account', component: () => import('@/identity/AccountPage.vue'), meta: { title: 'Account' } },
      {
        path: 'admin',
        component: () => import('@/shell/AdminLayout.vue'),
        redirect: '/admin/users',
        children: [
          { path: 'users', component: () => import('@/identity/UsersPage.vue'), meta: { title: 'Users' } },
          { path: 'stacks', component: () => import('@/stacks/StacksPage.vue'), meta: { title: 'Stacks' } },
          { path: 'templates', component: () => import('@/stacks/TemplatesPage.vue'), meta: { title: 'Templates' } },
          { path: 'audit', component: () => import('@/audit/AuditList.vue'), meta: { title: 'Audit' } },
        ],
      },
      { path: ':rest(.*)*', component: () => import('@/shell/NotFoundPage.vue'), meta: { title: 'Not found' } },
    ],
  },
]

/** Every page but setup and sign-in asks who is there, and sends a stranger to sign in and back. */
async function requireSession(to: RouteLocationNormalized, client: QueryClient) {
  if (to.name === 'login' && (await setupNeeded().catch(() => false))) return { name: 'setup' }
  if (to.meta.open) return true
  try {
    await ensureMe(client)
    return true
  } catch (error) {
    const problem = problemOf(error)
    if (problem.status !== 401) {
      // The page's own calls will say the same, with a button to try again.
      toastProblem(problem)
      return true
    }
    if (await setupNeeded().catch(() => false)) return { name: 'setup' }
    return { name: 'login', query: to.fullPath === '/' ? {} : { next: to.fullPath } }
  }
}

export function buildRouter(client: QueryClient): Router {
  const router = createRouter({
    history: createWebHistory(),
    routes,
    scrollBehavior: (to, from, saved) => saved ?? (to.path === from.path ? undefined : { top: 0 }),
  })

  // A change of the query alone, such as a filter being typed, stays on the page.
  router.beforeEach((to, from) => (to.path === from.path && from.matched.length > 0) || requireSession(to, client))
  router.afterEach((to, from, failure) => {
    if (!failure) sessionStorage.removeItem(RELOADED)
    if (to.path === from.path) return
    if (to.meta.title) {
      document.title = `${to.meta.title} · Openflow`
      if (from.matched.length > 0) void announce(to.meta.title)
    }
  })
  router.onError((error, to) => {
    // After an upgrade the old page asks for chunks that are gone: load the new page, once.
    if (sessionStorage.getItem(RELOADED) === to.fullPath) {
      toastProblem(problemOf(error))
      return
    }
    sessionStorage.setItem(RELOADED, to.fullPath)
    window.location.assign(to.fullPath)
  })
  return router
}
