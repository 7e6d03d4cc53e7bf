// Topics with their last message and how often one comes, sent to watchers as the manager does. The plant's machines
// speak while somebody watches.

const STEP_MS = 500
/** Of a watcher; what is beyond is counted as lost. */
const TOPICS_MAX = 5_000

export function makeTopics() {
  /** By project and topic: the last message. */
  const retained = new Map([['p-plant', new Map()], ['p-shop', new Map()]])
  const watchers = new Set()
  for (const [topic, payload] of Object.entries(RETAINED)) publish('p-plant', topic, payload, { retain: true, qos: 1 })

  function publish(projectId, topic, payload, { encoding = 'utf8', qos = 0, retain = false, truncated = false, bytes } = {}) {
    const size = bytes ?? (encoding === 'base64' ? Buffer.from(payload, 'base64') : Buffer.from(payload)).length
    const message = { topic, payload, encoding, truncated, bytes: size, qos, retain, at: new Date().toISOString() }
    if (!retained.has(projectId)) retained.set(projectId, new Map())
    if (retain) size === 0 ? retained.get(projectId).delete(topic) : retained.get(projectId).set(topic, message)
    for (const watcher of watchers) if (watcher.projectId === projectId) watcher.take(message)
  }

  function watch(projectId, send) {
    const beganMs = Date.now()
    const counts = new Map()
    const changed = new Map()
    let lost = 0
    const flush = () => {
      const seconds = Math.max(1, (Date.now() - beganMs) / 1_000)
      const topics = [...changed.values()].map((message) => {
        const count = counts.get(message.topic) ?? 0
        return { ...message, count, rate: count / seconds }
      })
      changed.clear()
      send({ topics, topicCount: counts.size, lost })
    }
    const take = (message, count = 1) => {
      if (!counts.has(message.topic) && counts.size >= TOPICS_MAX) return void (lost += 1)
      counts.set(message.topic, (counts.get(message.topic) ?? 0) + count)
      changed.set(message.topic, message)
    }
    const watcher = { projectId, take }
    for (const message of retained.get(projectId)?.values() ?? []) take(message, 0)
    watchers.add(watcher)
    const step = () => {
      if (projectId === 'p-plant') speak()
      flush()
    }
    step()
    const timer = setInterval(step, STEP_MS)
    watcher.stop = () => (clearInterval(timer), watchers.delete(watcher))
    return watcher.stop
  }

  let tick = 0
  function speak() {
    tick += 1
    const wave = Math.sin(tick / 8)
    for (const line of ['line1', 'line2']) {
      publish('p-plant', `${line}/press/temperature`, (61.5 + wave * 4).toFixed(1))
      publish('p-plant', `${line}/press/vibration`, JSON.stringify({ x: +wave.toFixed(3), y: +(wave / 2).toFixed(3), z: 0.981, unit: 'g' }))
      if (tick % 4 === 0) publish('p-plant', `${line}/counter`, String(18_200 + tick), { qos: 1 })
    }
    if (tick % 6 === 0) publish('p-plant', 'db/update/job', JOB, { qos: 1 })
    if (tick % 5 === 0) publish('p-plant', 'cam/gate/frame', Buffer.from([255, 216, 255, 224, 0, 16, 74, 70, 73, 70, tick % 256]).toString('base64'), { encoding: 'base64' })
    if (tick % 7 === 0) publish('p-plant', 'erp/export', '<orders>' + '<order id="1"/>'.repeat(270), { truncated: true, bytes: 48_200 })
  }

  return {
    publish,
    watch,
    close() {
      for (const { stop } of watchers) stop()
    },
  }
}

// With a number that JavaScript would round.
const JOB = '{"id":9007199254740993,"table":"orders","rows":[{"sku":"A-17","qty":3},{"sku":"B-2","qty":1}],"retry":false}'
const RETAINED = {
  'line1/state': '{"running":true,"recipe":"B-204","since":"2026-01-09T06:00:00Z"}',
  'line2/state': '{"running":false,"recipe":null,"since":"2026-01-09T14:12:31Z"}',
  'site/hamburg/energy/tariff': 'night',
  'site/hamburg/shift': 'B',
  'alarms/line2/press': '{"level":"warning","text":"Oil pressure low"}',
}
