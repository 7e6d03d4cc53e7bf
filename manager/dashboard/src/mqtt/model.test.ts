import { expect, test } from 'vitest'
import type { MqttClient } from '@/api/types'
import { addresses, connectedInWords, connectionsByClient, limitsInWords, ruleOf, tryLine } from './model'

const client = (extra: Partial<MqttClient> = {}): MqttClient => ({
  id: 'c1',
  projectId: 'p1',
  name: 'Press 4',
  username: 'c1',
  publish: null,
  subscribe: null,
  disabled: false,
  lastSeenAt: null,
  createdAt: '2026-01-01T00:00:00Z',
  updatedAt: '2026-01-01T00:00:00Z',
  ...extra,
})
const urls = { mqtt: 'mqtt://mqtt.example.com:1883', mqtts: 'mqtts://mqtt.example.com', websocket: null }

test('the line to try listens where the client may listen', () => {
  expect(tryLine(client(), 'pw', { urls })).toBe("mosquitto_sub -h mqtt.example.com -p 1883 -u c1 -P pw -t '#' -v")
  expect(tryLine(client({ subscribe: ['line1/+', 'x'] }), 'pw', { urls })).toMatch(/ -t line1\/\+ -v$/)
})
test('the line to try publishes for a client that may only publish', () => {
  expect(tryLine(client({ subscribe: [], publish: ['line1/#'] }), 'pw', { urls })).toMatch(/^mosquitto_pub .* -t line1\/test -m hello$/)
})
test('the line to try is safe to paste, and follows the address', () => {
  expect(tryLine(client(), "it's $(x)", { urls })).toContain(String.raw`-P 'it'\''s $(x)'`)
  expect(tryLine(client(), 'pw', { urls: { ...urls, mqtt: null } })).toContain('-p 8883 --tls-use-os-certs ')
  expect(tryLine(client(), 'pw', { urls: { mqtt: 'mqtt://[::1]:1884' } })).toContain('-h ::1 -p 1884 ')
  expect(tryLine(client(), 'pw', { urls: {} })).toBe('')
})

test('rules', () => {
  expect([ruleOf(null), ruleOf(undefined), ruleOf([]), ruleOf(['a'])]).toEqual(['all', 'all', 'none', ['a']])
})
test('only addresses that are there', () => {
  expect(addresses({ urls }).map(({ label }) => label)).toEqual(['MQTT', 'MQTT over TLS'])
})
test('limits in words', () => {
  const limits = { connections: 1000, messagesPerSecond: 2000, packetBytes: 1_048_576, retainedMessages: 10_000, queuedMessages: 1000 }
  expect(limitsInWords({ limits }).slice(0, 2)).toEqual(['2,000 messages a second', '1 MB a packet'])
  expect(connectedInWords({ connected: 3, limits })).toBe('3 of 1,000')
  expect(connectedInWords({ connected: 3 })).toBe('3')
  expect(connectedInWords({ connected: null, limits })).toBe('not known')
  expect(limitsInWords({ limits: null })).toEqual([])
})
test('connections by client', () => {
  const base = { clientId: 'x', username: 'c1', kind: 'client' as const, name: 'n', address: 'a', protocol: '5', connectedAt: '' }
  const counts = connectionsByClient([
    { ...base, mqttClientId: 'c1' },
    { ...base, mqttClientId: 'c1' },
    { ...base, kind: 'instance', instanceId: 'i1', mqttClientId: null },
  ])
  expect([...counts]).toEqual([['c1', 2]])
})
