// What the mock's broker knows at the start.
const HOUR = 3_600_000
const ago = (hours) => new Date(Date.now() - hours * HOUR).toISOString()

/** Ids as long as real ones, which matters for the layout. */
const uuid = (n) => `0193a5b2-7c1e-7d4f-9a60-${String(n).padStart(12, '0')}`

const client = (n, name, extra = {}) => ({
  id: uuid(n),
  projectId: 'p-plant',
  name,
  username: uuid(n),
  publish: null,
  subscribe: null,
  disabled: false,
  lastSeenAt: null,
  createdAt: ago(200),
  updatedAt: ago(100),
  ...extra,
})

const connection = (extra) => ({
  projectId: 'p-plant',
  clientId: 'nodered_5f2c19',
  username: '',
  kind: 'instance',
  name: '',
  instanceId: null,
  mqttClientId: null,
  address: '172.18.0.9:40112',
  protocol: '3.1.1',
  connectedAt: ago(51),
  ...extra,
})

export function seedMqtt(instances) {
  const broker = {
    broker: 'built-in',
    state: 'up',
    detail: null,
    urls: { mqtt: 'mqtt://openflow.example.com:1883', mqtts: 'mqtts://openflow.example.com:8883', websocket: 'wss://openflow.example.com/mqtt' },
    limits: { connections: 1_000, messagesPerSecond: 2_000, packetBytes: 1_048_576, retainedMessages: 10_000, queuedMessages: 1_000 },
  }
  if (instances.length === 0) return { broker, clients: [], connections: [], events: [] }
  const clients = [
    client(4, 'Press 4 gateway', { lastSeenAt: ago(0.01), publish: ['line1/press/#', 'line2/press/#'], subscribe: ['line1/command', 'line2/command', 'all/command', 'all/time'] }),
    client(5, 'Energy meter', { lastSeenAt: ago(5), publish: ['site/hamburg/energy/+'], subscribe: [] }),
    client(6, 'Grafana', { lastSeenAt: ago(0.5), publish: [] }),
    client(7, 'Old handheld with a rather long descriptive name for wrapping', { disabled: true, lastSeenAt: ago(900) }),
    client(8, 'Spare'),
  ]
  const [line1, line2] = instances
  const connections = [
    connection({ kind: 'instance', name: line1.name, instanceId: line1.id, username: line1.id }),
    connection({ kind: 'instance', name: line2.name, instanceId: line2.id, username: line2.id, clientId: 'nodered_0a77e1', address: '172.18.0.11:52044' }),
    connection({ kind: 'client', name: clients[0].name, mqttClientId: clients[0].id, username: clients[0].id, clientId: 'press-4', address: '192.0.2.40:49152', protocol: '5', connectedAt: ago(2) }),
  ]
  return { broker, clients, connections, events: seedEvents(clients, line1) }
}

function seedEvents([press, meter, , handheld], instance) {
  const event = (hours, kind, who, reason = null, extra = {}) => ({
    projectId: 'p-plant',
    at: ago(hours),
    kind,
    username: who.username ?? who.id,
    name: who.name,
    clientId: 'press-4',
    address: '192.0.2.40:49152',
    reason,
    ...extra,
  })
  const first = [
    event(0.2, 'denied', handheld, 'The client was disabled, or the instance stopped.', { clientId: 'handheld-1', address: '192.0.2.77:51811' }),
    event(0.6, 'denied', press, 'The password is wrong.'),
    event(1, 'denied', { username: 'press4', name: null }, 'There is no such user name.', { clientId: '' }),
    event(2, 'connected', press),
    event(2.1, 'kicked', press, 'Taken over by a newer connection.'),
    event(5, 'disconnected', meter, 'Nothing was heard of it for longer than its keep-alive.', { clientId: 'meter-ab12', address: '192.0.2.51:40001' }),
    event(6, 'dropped', press, '120 messages were dropped: it does not keep up.'),
    event(51, 'connected', instance, null, { clientId: 'nodered_5f2c19', address: '172.18.0.9:40112' }),
  ]
  const older = Array.from({ length: 70 }, (_, n) => event(60 + n, n % 2 ? 'connected' : 'disconnected', meter, n % 2 ? null : 'The connection was lost.', { clientId: 'meter-ab12' }))
  return [...first, ...older]
}
