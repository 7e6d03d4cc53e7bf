/** What the broker says, in words for a person. Pure. */
import type { MqttBroker, MqttClient, MqttConnection, MqttEvent } from '@/api/types'
import { formatBytes } from '@/ui/format'
import type { Tone } from '@/ui/StatusBadge.vue'

export const BROKER_NAMES: Record<MqttBroker['broker'], string> = { 'built-in': 'Built-in broker', emqx: 'EMQX', none: 'No broker' }

/** The addresses by what they are for. */
export function addresses({ urls }: Pick<MqttBroker, 'urls'>): { label: string; url: string }[] {
  return [
    { label: 'MQTT', url: urls.mqtt },
    { label: 'MQTT over TLS', url: urls.mqtts },
    { label: 'WebSocket', url: urls.websocket },
  ].flatMap(({ label, url }) => (url ? [{ label, url }] : []))
}

const number = new Intl.NumberFormat('en')

/** `3 of 1,000`; a broker may not tell. */
export function connectedInWords({ connected, limits }: Pick<MqttBroker, 'connected' | 'limits'>): string {
  if (connected === null || connected === undefined) return 'not known'
  return limits ? `${number.format(connected)} of ${number.format(limits.connections)}` : number.format(connected)
}

export function limitsInWords({ limits }: Pick<MqttBroker, 'limits'>): string[] {
  if (!limits) return []
  return [
    `${number.format(limits.messagesPerSecond)} messages a second`,
    `${formatBytes(limits.packetBytes)} a packet`,
    `${number.format(limits.retainedMessages)} retained messages`,
    `${number.format(limits.queuedMessages)} queued for a client that is away`,
  ]
}

/** What a client may do with topics: `all`, `none`, or the filters. */
export type Rule = 'all' | 'none' | string[]

export function ruleOf(patterns: string[] | null | undefined): Rule {
  if (patterns === null || patterns === undefined) return 'all'
  return patterns.length === 0 ? 'none' : patterns
}

const EVENTS: Record<MqttEvent['kind'], { label: string; tone: Tone }> = {
  connected: { label: 'Connected', tone: 'ok' },
  disconnected: { label: 'Disconnected', tone: 'off' },
  denied: { label: 'Denied', tone: 'bad' },
  kicked: { label: 'Ended', tone: 'warn' },
  dropped: { label: 'Messages dropped', tone: 'warn' },
}

export function eventInfo(kind: MqttEvent['kind']): { label: string; tone: Tone } {
  return EVENTS[kind] ?? { label: kind, tone: 'off' }
}

/** Live connections by the client they belong to. */
export function connectionsByClient(connections: MqttConnection[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { mqttClientId } of connections) if (mqttClientId) counts.set(mqttClientId, (counts.get(mqttClientId) ?? 0) + 1)
  return counts
}

const shellWord = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)

/** A line for a shell that tries the credentials: it listens, or publishes if it may not listen. */
export function tryLine(client: MqttClient, password: string, { urls }: Pick<MqttBroker, 'urls'>): string {
  const address = parseAddress(urls.mqtt ?? urls.mqtts)
  if (!address) return ''
  const [hears] = client.subscribe ?? ['#']
  const [says] = client.publish ?? ['test']
  const account = `-h ${address.host} -p ${address.port}${address.tls ? ' --tls-use-os-certs' : ''} -u ${shellWord(client.username)} -P ${shellWord(password)}`
  if (hears === undefined) return `mosquitto_pub ${account} -t ${shellWord((says ?? 'test').replace(/[+#]/g, 'test'))} -m hello`
  return `mosquitto_sub ${account} -t ${shellWord(hears)} -v`
}

function parseAddress(url: string | null | undefined): { host: string; port: string; tls: boolean } | null {
  const match = /^(mqtts?|tcp|ssl):\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?/.exec(url ?? '')
  if (!match?.[2]) return null
  const tls = match[1] === 'mqtts' || match[1] === 'ssl'
  return { host: match[2].replace(/^\[|\]$/g, ''), port: match[3] ?? (tls ? '8883' : '1883'), tls }
}
