// Snapshots, pipelines, restores and backups to begin with.
import { randomUUID } from 'node:crypto'

const HOUR = 3_600_000
const ago = (hours) => new Date(Date.now() - hours * HOUR).toISOString()

const FUNC_OLD = `// Scales the raw value of the sensor.
const raw = Number(msg.payload)
if (Number.isNaN(raw)) return null

const OFFSET = 4
const SPAN = 16
const share = (raw - OFFSET) / SPAN

msg.payload = share * 250
msg.unit = 'bar'
return msg`
const FUNC_NEW = FUNC_OLD.replace('if (Number.isNaN(raw)) return null', "if (Number.isNaN(raw)) {\n  node.warn('not a number: ' + msg.payload)\n  return null\n}").replace('share * 250', 'Math.round(share * 400) / 10')

const tab = (id, label, extra = {}) => ({ id, type: 'tab', label, disabled: false, ...extra })
function flowsBefore() {
  return [
    tab('t-main', 'Press line'),
    tab('t-old', 'Trial of the old gateway'),
    { id: 'n-in', type: 'mqtt in', z: 't-main', name: 'Pressure', topic: 'line1/press/raw', qos: '0', broker: 'n-broker', x: 120, y: 80, wires: [['n-scale']] },
    { id: 'n-scale', type: 'function', z: 't-main', name: 'Scale to bar', func: FUNC_OLD, outputs: 1, x: 320, y: 80, wires: [['n-out']] },
    { id: 'n-out', type: 'mqtt out', z: 't-main', name: 'Scaled', topic: 'line1/press/bar', broker: 'n-broker', x: 520, y: 80, wires: [] },
    { id: 'n-tick', type: 'inject', z: 't-main', name: 'Every minute', repeat: '60', x: 120, y: 160, wires: [['n-erp']] },
    { id: 'n-erp', type: 'http request', z: 't-main', name: 'ERP', method: 'POST', url: 'https://erp.example.com/v1/press', x: 320, y: 160, wires: [[]], credentials: { user: 'line1' } },
    { id: 'n-note', type: 'comment', z: 't-main', name: 'Mind the offset', x: 120, y: 220, wires: [] },
    { id: 'n-dbg', type: 'debug', z: 't-old', name: '', x: 120, y: 80, wires: [] },
    { id: 'n-broker', type: 'mqtt-broker', name: 'Openflow', broker: '${OPENFLOW_MQTT_HOST}', port: '1883', credentials: { user: 'a' } },
  ]
}
function flowsNow() {
  const flows = flowsBefore().filter(({ id, z }) => id !== 't-old' && z !== 't-old')
  const at = (id) => flows.find((node) => node.id === id)
  Object.assign(at('n-scale'), { func: FUNC_NEW, outputs: 2, wires: [['n-out'], ['n-alarm']] })
  Object.assign(at('n-in'), { topic: 'line1/press/+/raw', qos: '1' })
  Object.assign(at('n-note'), { x: 140, y: 260 })
  Object.assign(at('n-tick'), { y: 180 })
  Object.assign(at('n-erp'), { credentials: { user: 'line1-new' } })
  flows.splice(1, 0, tab('t-alarm', 'Alarms'))
  flows.push({ id: 'n-alarm', type: 'link out', z: 't-main', name: 'To alarms', x: 520, y: 120, wires: [] })
  flows.push({ id: 'n-mail', type: 'e-mail', z: 't-alarm', name: 'Shift lead', server: 'mail.example.com', x: 320, y: 80, wires: [], credentials: { userid: 'x' } })
  return flows
}

/** n8n's workflows as the manager tells them: tabs with nodes; credentials and tags on no tab. */
function workflows(amount) {
  return [
    { id: 'w-orders', type: 'tab', label: 'New orders', active: true },
    { id: 'w-orders/1', type: 'n8n-nodes-base.webhook', z: 'w-orders', name: 'Order', x: 0, y: 0, wires: [['w-orders/2']] },
    { id: 'w-orders/2', type: 'n8n-nodes-base.httpRequest', z: 'w-orders', name: 'Book it', parameters: { amount }, x: 220, y: 0, wires: [] },
    { id: 'c-erp', type: 'httpHeaderAuth', name: 'ERP', credentials: { user: 'shop' } },
  ]
}
function workflowsNow() {
  return [
    ...workflows('={{ $json.total }}'),
    { id: 'w-report', type: 'tab', label: 'Weekly report', active: false },
    { id: 'w-report/1', type: 'n8n-nodes-base.scheduleTrigger', z: 'w-report', name: 'Mondays', x: 0, y: 0, wires: [] },
    { id: 'g-1', type: 'tag', name: 'finance' },
  ]
}

const count = (flows, test) => flows.filter(test).length
export function snapshot(instance, name, { flows, hours = 0, ...extra }) {
  const { modules, env } = { modules: [{ name: 'node-red-contrib-cron-plus', version: '2.1.0' }], env: [{ name: 'PLC_HOST', secret: false, value: '10.2.0.17' }, { name: 'ERP_TOKEN', secret: true, value: null }] }
  return {
    id: randomUUID(),
    instanceId: instance.id,
    projectId: instance.projectId,
    kind: 'manual',
    name,
    description: '',
    author: 'Ada Lovelace',
    engine: instance.engine,
    engineVersion: instance.engine === 'n8n' ? '2.41.1' : '4.1.2',
    nodes: count(flows, ({ type, z }) => type !== 'tab' && (instance.engine !== 'n8n' || z)),
    tabs: count(flows, ({ type }) => type === 'tab'),
    modules,
    env,
    credentials: count(flows, ({ credentials }) => credentials !== undefined),
    sizeBytes: JSON.stringify(flows).length,
    createdAt: ago(hours),
    flows,
    ...extra,
  }
}

export function seedSnapshots(instances) {
  const by = (name) => instances.find((one) => one.name === name)
  const [line1, line2, proto, orders] = ['Line 1 telemetry', 'Line 2 telemetry', 'Old prototype', 'Orders'].map(by)
  /** What is deployed, by instance. */
  const deployed = new Map(
    instances.map(({ id }) => [
      id,
      { flows: flowsNow(), modules: [{ name: 'node-red-contrib-cron-plus', version: '2.2.4' }, { name: 'node-red-node-email', version: '3.0.0' }], env: [{ name: 'PLC_HOST', secret: false, value: '10.2.0.17' }, { name: 'ERP_TOKEN', secret: true, value: null }] },
    ]),
  )
  if (!line1) return { snapshots: [], deployed, pipelines: [], restores: [], restoreEnds: 'done' }
  deployed.set(line2.id, { flows: flowsBefore().slice(0, 6), modules: [], env: [] })
  for (const { id } of instances.filter(({ engine }) => engine === 'n8n')) deployed.set(id, { flows: workflowsNow(), modules: [], env: [] })
  const snapshots = [
    snapshot(line1, '', { flows: flowsNow(), hours: 3, kind: 'auto', author: 'Bob Okafor' }),
    snapshot(line1, 'Before the trade fair', { flows: flowsBefore(), hours: 30, description: 'Works with the old gateway; asked for by the shift leads.' }),
    snapshot(line1, '', { flows: flowsBefore(), hours: 51, kind: 'before-restore', author: null }),
    snapshot(line1, '', { flows: flowsBefore(), hours: 52, kind: 'auto', author: 'Ada Lovelace' }),
    snapshot(orders, 'Before the sale', { flows: workflows('={{ $json.sum }}'), hours: 20, modules: [], env: [] }),
  ]
  const stage = (one, needsOwner = false) => ({ instanceId: one.id, needsOwner })
  return {
    snapshots,
    deployed,
    pipelines: [{ id: 'pl-lines', projectId: 'p-plant', name: 'Line telemetry', stages: [stage(proto), stage(line1), stage(line2, true)], createdAt: ago(200), updatedAt: ago(200) }],
    restores: [
      { id: randomUUID(), instanceId: line1.id, kind: 'snapshot', sourceId: snapshots[3].id, sourceName: 'Automatic, 2 days ago', state: 'done', detail: null, progress: null, requestedBy: 'Bob Okafor', createdAt: ago(51), finishedAt: ago(50.99) },
      { id: randomUUID(), instanceId: line1.id, kind: 'backup', sourceId: 'gone', sourceName: 'Backup of last week', state: 'undone', detail: 'Node-RED did not answer its health check within 60 s.', progress: null, requestedBy: 'Ada Lovelace', createdAt: ago(160), finishedAt: ago(159.9) },
    ],
    restoreEnds: 'done',
  }
}

export function backup(instance, hours, extra = {}) {
  const done = extra.status !== 'pending' && extra.status !== 'running'
  return {
    id: randomUUID(),
    instanceId: instance.id,
    instanceName: instance.name,
    instanceExists: true,
    projectId: instance.projectId,
    trigger: 'schedule',
    status: 'good',
    archive: done && extra.status !== 'failed' ? 'here' : 'none',
    detail: null,
    progress: null,
    sizeBytes: done ? 18_400_000 : null,
    dataBytes: done ? 48_300_000 : null,
    files: done ? 1_204 : null,
    freezeMs: done ? 240 : null,
    skipped: [],
    engine: instance.engine,
    engineVersion: '4.1.2',
    sha256: done ? '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08' : null,
    createdAt: ago(hours),
    startedAt: ago(hours),
    finishedAt: done ? new Date(Date.now() - hours * HOUR + 4_200).toISOString() : null,
    verification: { status: 'none', level: null, detail: null, at: null },
    ...extra,
    offsite: { status: 'done', detail: null, at: ago(hours), fetching: false, ...extra.offsite },
  }
}

export function seedBackups(instances) {
  const by = (name) => instances.find((one) => one.name === name)
  const [line1, line2, orders] = ['Line 1 telemetry', 'Line 2 telemetry', 'Orders'].map(by)
  const policies = new Map()
  if (!line1) return { backups: [], policies, late: new Map(), fetchEnds: null }
  const gone = { id: 'i-gone', name: 'Press 3 (retired)', projectId: 'p-plant', engine: 'node-red' }
  const last = (hour) => (Date.now() - new Date().setUTCHours(hour, 30, 0, 0)) / HOUR
  const night = last(2) > 0 ? last(2) : last(2) + 24
  return {
    policies,
    /** Since when a good backup is due, by instance. */
    late: new Map([[line2.id, ago(last(2) > 0 ? last(2) : last(2) + 24)]]),
    /** How the next fetch ends: well, or what it says. */
    fetchEnds: null,
    backups: [
      backup(line1, night, { verification: { status: 'good', level: 'read', detail: null, at: ago(night - 0.1) } }),
      backup(line1, night + 24, { verification: { status: 'good', level: 'rehearsed', detail: null, at: ago(50) } }),
      backup(line1, night + 31, {
        trigger: 'manual',
        status: 'partial',
        detail: 'Two files could not be read.',
        skipped: [
          { path: 'projects/private/id_rsa', reason: 'permission denied' },
          { path: 'context/global.json.tmp', reason: 'it vanished while being read' },
        ],
        offsite: { status: 'failed', detail: 'the bucket answered 403', at: ago(night + 30) },
      }),
      backup(line1, night + 48, { status: 'failed', detail: 'There was not enough space: 48 MB needed, 12 MB free.', sizeBytes: null, dataBytes: null, files: null, freezeMs: null, sha256: null, offsite: { status: 'off', detail: null, at: null } }),
      backup(line1, night + 72, { status: 'failed', archive: 'damaged', detail: 'The archive is damaged: a block does not match its checksum.', verification: { status: 'failed', level: 'read', detail: 'The archive is damaged: a block does not match its checksum.', at: ago(30) } }),
      backup(line1, night + 96, { archive: 'gone', verification: { status: 'good', level: 'read', detail: null, at: ago(night + 96) } }),
      backup(line2, 80, { verification: { status: 'failed', level: 'rehearsed', detail: 'The credentials could not be decrypted with the instance’s secret.', at: ago(20) } }),
      backup(gone, 400, { instanceExists: false, verification: { status: 'good', level: 'rehearsed', detail: null, at: ago(390) } }),
      backup(orders, night, {}),
    ],
  }
}
