// `npm run pictures`: every page in wide and narrow windows, light and dark, into pictures/.
// Says which pages scroll sideways or log errors.
import { mkdir } from 'node:fs/promises'
import { launchBrowser, signIn } from './browser.mjs'
import { startMock } from './server.mjs'

const only = process.argv[2]
const mock = await startMock()
const browser = await launchBrowser()
await mkdir('pictures', { recursive: true })
const [line1, line2, alarms] = mock.state.instances

const PAGES = {
  projects: '/',
  'project-new': '/?new=1',
  instances: '/projects/p-plant',
  'instances-empty': '/projects/p-lab',
  'instance-new': '/projects/p-plant?new=1',
  mqtt: '/projects/p-plant/mqtt',
  'mqtt-empty': '/projects/p-lab/mqtt',
  'mqtt-new': '/projects/p-plant/mqtt?new=1',
  'mqtt-topics': '/projects/p-plant/mqtt/topics?topic=line1/press/vibration',
  'mqtt-topics-empty': '/projects/p-lab/mqtt/topics',
  'mqtt-connections': '/projects/p-plant/mqtt/connections',
  pipelines: '/projects/p-plant/pipelines',
  'pipelines-empty': '/projects/p-lab/pipelines',
  'pipeline-new': '/projects/p-plant/pipelines?new=1',
  'project-backups': '/projects/p-plant/backups',
  members: '/projects/p-plant/members',
  'project-audit': '/projects/p-plant/audit',
  'project-settings': '/projects/p-plant/settings',
  overview: `/instances/${line1.id}`,
  crashed: `/instances/${alarms.id}`,
  logs: `/instances/${line1.id}/logs`,
  snapshots: `/instances/${line1.id}/snapshots`,
  'snapshots-empty': `/instances/${alarms.id}/snapshots`,
  'snapshot-new': `/instances/${line1.id}/snapshots?new=1`,
  'snapshot-compare': `/instances/${line1.id}/snapshots/compare?from=${mock.state.snapshots[1].id}`,
  'snapshot-import': `/instances/${line1.id}/snapshots?import=1`,
  backups: `/instances/${line1.id}/backups`,
  'backups-late': `/instances/${line2.id}/backups`,
  'backups-empty': `/instances/${alarms.id}/backups`,
  'backup-schedule': `/instances/${line2.id}/backups?schedule=1`,
  'backup-upload': `/instances/${line1.id}/backups?upload=1`,
  env: `/instances/${line1.id}/env`,
  aliases: `/instances/${line1.id}/aliases`,
  settings: `/instances/${line1.id}/settings`,
  'launch-stopped': '/launch/proto',
  'launch-refused': '/launch/nowhere',
  account: '/account',
  users: '/admin/users',
  stacks: '/admin/stacks',
  templates: '/admin/templates',
  'template-edit': '/admin/templates?edit=tp-web',
  'admin-audit': '/admin/audit',
  'not-found': '/nowhere',
}
const WINDOWS = { wide: { width: 1280, height: 800 }, narrow: { width: 380, height: 720 } }

for (const [size, viewport] of Object.entries(WINDOWS)) {
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ viewport, colorScheme })
    const page = await context.newPage()
    let name = 'login'
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && console.log(`${name} ${size} ${colorScheme}: ${message.text()}`))
    page.on('pageerror', (error) => console.log(`${name} ${size} ${colorScheme}: ${error.message}`))
    const take = async () => {
      await page.waitForTimeout(500)
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      if (overflow > 0) console.log(`${name} ${size} ${colorScheme}: ${overflow} px wider than the window`)
      await page.screenshot({ path: `pictures/${name}-${size}-${colorScheme}.png`, fullPage: true })
    }
    await page.goto(`${mock.origin}/login`)
    await take()
    await signIn(page)
    await page.waitForURL(`${mock.origin}/`)
    for (const [key, path] of Object.entries(PAGES)) {
      if (only && only !== key) continue
      name = key
      await page.goto(mock.origin + path)
      await take()
    }
    await context.close()
  }
}
await browser.close()
await mock.close()
