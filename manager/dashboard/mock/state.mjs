// What the mock API knows: seeded, and changed by requests. Times are relative to the start.
import { randomUUID } from 'node:crypto'
import { seedMqtt } from './mqttState.mjs'
import { seedBackups, seedSnapshots } from './safetyState.mjs'

const HOUR = 3_600_000
const ago = (hours) => new Date(Date.now() - hours * HOUR).toISOString()

export const PASSWORD = 'correct horse'
export const FIRST_TOKEN = 'first-token'

const user = (id, name, isAdmin = false, disabled = false) => ({
  id,
  email: `${name.split(' ')[0].toLowerCase()}@example.com`,
  name,
  isAdmin,
  disabled,
  createdAt: ago(900),
  password: PASSWORD,
})

/** What the manager says of a stack's engine. */
export const ofEngine = (engine) =>
  engine === 'n8n'
    ? {
        licence:
          'n8n comes under the Sustainable Use License: for your own internal business purposes, or free of charge. Running it for paying customers needs an agreement with n8n GmbH.',
        memoryMbMin: 640,
        memoryMbDefault: 768,
      }
    : { licence: null, memoryMbMin: 64, memoryMbDefault: 0 }

const stack = (id, engine, version, extra = {}) => ({
  id,
  name: `${engine === 'node-red' ? 'Node-RED' : 'n8n'} ${version}`,
  engine,
  version,
  image: `openflow/${engine}:${version}`,
  storage: 'files',
  status: 'ready',
  statusDetail: null,
  isDefault: false,
  ...ofEngine(engine),
  createdAt: ago(800),
  ...extra,
})

export function instance(projectId, name, subdomain, extra = {}) {
  return {
    id: randomUUID(),
    projectId,
    name,
    subdomain,
    url: `http://${subdomain}.localhost:8080`,
    engine: 'node-red',
    stackId: 'st-nr-41',
    status: 'running',
    statusDetail: null,
    restartNeeded: false,
    resources: { memoryMb: 512, cpus: 1 },
    aliases: [],
    webhookAccess: { mode: 'open', username: null },
    createdAt: ago(300),
    updatedAt: ago(2),
    startedAt: ago(52),
    sleep: null,
    ...extra,
  }
}

export function makeState({ empty, setup }) {
  const ada = user('u-ada', 'Ada Lovelace', true)
  const bob = user('u-bob', 'Bob Okafor')
  const users = setup ? [] : [ada, bob, user('u-cleo', 'Cleo Martin'), user('u-dan', 'Dan Aziz', false, true)]
  const stacks = empty
    ? []
    : [
        stack('st-nr-41', 'node-red', '4.1.2', { isDefault: true }),
        stack('st-nr-40', 'node-red', '4.0.9'),
        stack('st-n8n', 'n8n', '2.1.0'),
        stack('st-new', 'node-red', '5.0.0', { status: 'pulling', statusDetail: 'layer 3 of 9' }),
        stack('st-bad', 'n8n', '3.0.0', { status: 'failed', statusDetail: 'no such image: openflow/n8n:3.0.0' }),
      ]
  const templates = empty
    ? []
    : [
        {
          id: 'tp-web',
          name: 'Webhook to MQTT',
          description: 'Takes webhooks under /api/in and passes them on to the project’s topics.',
          stackId: 'st-nr-41',
          env: [
            { name: 'TOPIC', value: 'in', secret: false },
            { name: 'API_KEY', value: null, secret: true },
          ],
          modules: [{ name: 'node-red-contrib-cron-plus', version: '2.2.4' }],
          flows: [{ id: 'a1', type: 'tab', label: 'Webhooks' }, { id: 'b2', type: 'http in', z: 'a1', url: '/in' }],
          resources: { memoryMb: 384, cpus: 0.5 },
          createdAt: ago(400),
        },
      ]
  const project = (id, name) => ({ id, name, createdAt: ago(700), updatedAt: ago(5) })
  const projects = empty || setup ? [] : [project('p-plant', 'Plant Hamburg'), project('p-shop', 'Web shop'), project('p-lab', 'Lab')]
  const members = {
    'p-plant': { 'u-ada': 'owner', 'u-bob': 'member', 'u-cleo': 'viewer' },
    'p-shop': { 'u-ada': 'member', 'u-bob': 'owner' },
    'p-lab': { 'u-ada': 'owner', 'u-bob': 'viewer' },
  }
  const p = 'p-plant'
  const instances =
    projects.length === 0
      ? []
      : [
          instance(p, 'Line 1 telemetry', 'line1', { aliases: ['telemetry', 'line-one'] }),
          instance(p, 'Line 2 telemetry', 'line2', { restartNeeded: true, webhookAccess: { mode: 'bearer', username: null } }),
          instance(p, 'Alarm router', 'alarms', {
            status: 'crashed',
            statusDetail: 'exit code 137: the engine used more than its 512 MB of memory; next try in 40 s',
          }),
          instance(p, 'Nightly export', 'export', { status: 'sleeping', sleep: { afterMinutes: 30, stopAfterMinutes: null } }),
          instance(p, 'ERP bridge with a rather long descriptive name for wrapping', 'erp-bridge-production-hamburg', {
            engine: 'n8n',
            stackId: 'st-n8n',
            resources: { memoryMb: 1024, cpus: 2 },
          }),
          instance(p, 'Old prototype', 'proto', { status: 'stopped', startedAt: null }),
          instance(p, 'Camera experiments', 'cam', { status: 'safe_mode', statusDetail: 'crashed 5 times within 10 minutes' }),
          instance(p, 'New line', 'line3', { status: 'failed', startedAt: null, statusDetail: 'the stack “n8n 3.0.0” is not ready' }),
          instance('p-shop', 'Orders', 'orders', { engine: 'n8n', stackId: 'st-n8n' }),
        ]
  const env = new Map(
    instances.map(({ id }) => [
      id,
      [
        { name: 'PLC_HOST', value: '10.2.0.17', secret: false },
        { name: 'ERP_TOKEN', value: 'hidden', secret: true },
      ],
    ]),
  )
  return {
    users,
    sessions: new Map(),
    tokens: setup ? [] : [
      { id: 'tk-1', name: 'deploy script', scopes: ['read', 'write'], expiresAt: new Date(Date.now() + 900 * HOUR).toISOString(), lastUsedAt: ago(3), createdAt: ago(200) },
    ],
    stacks,
    templates,
    projects,
    members,
    instances,
    env,
    mqtt: seedMqtt(instances),
    ...seedSnapshots(instances),
    ...seedBackups(instances),
    audit: setup ? [] : seedAudit(instances),
    docker: { status: 'up', detail: null },
  }
}

function seedAudit(instances) {
  const actors = [
    { kind: 'user', id: 'u-ada', name: 'Ada Lovelace' },
    { kind: 'user', id: 'u-bob', name: 'Bob Okafor' },
    { kind: 'system', id: null, name: null },
  ]
  const actions = ['instance.create', 'instance.update', 'instance.launch', 'instance.restart', 'instance.env.update']
  return Array.from({ length: 120 }, (_, index) => {
    const target = instances[index % Math.max(1, instances.length)]
    return {
      id: `a-${index}`,
      at: ago(1 + index * 1.7),
      actor: actors[index % 3],
      action: actions[index % actions.length],
      projectId: target?.projectId ?? null,
      target: { type: 'instance', id: target?.id ?? null, name: target?.name ?? null },
      detail: index % 2 ? { resources: { memoryMb: { from: 256, to: 512 } } } : {},
      address: actors[index % 3].kind === 'user' ? '192.0.2.17' : null,
    }
  })
}
