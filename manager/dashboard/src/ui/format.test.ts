import { expect, it } from 'vitest'
import { formatBytes, formatRate, formatRelative, plural } from './format'

it.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1536, '1.5 kB'],
  [512 * 1024 ** 2, '512 MB'],
  [1.25 * 1024 ** 3, '1.3 GB'],
  [3000 * 1024 ** 4, '3000 TB'],
  [-5, '0 B'],
])('formats %d bytes', (bytes, expected) => expect(formatBytes(bytes)).toBe(expected))

const now = new Date('2026-01-10T12:00:00Z')
it.each([
  ['2026-01-10T11:59:55Z', 'just now'],
  ['2026-01-10T11:59:20Z', 'less than a minute ago'],
  ['2026-01-10T11:57:00Z', '3 minutes ago'],
  ['2026-01-10T10:00:00Z', '2 hours ago'],
  ['2026-01-09T11:00:00Z', 'yesterday'],
  ['2026-01-12T13:00:00Z', 'in 2 days'],
])('says %s relative to now', (at, expected) => expect(formatRelative(new Date(at), now)).toBe(expected))

it('counts', () => expect([plural(0, 'node'), plural(1, 'node'), plural(2, 'node')]).toEqual(['0 nodes', '1 node', '2 nodes']))

it.each([
  [0, ''],
  [0.04, '<0.1/s'],
  [0.1, '0.1/s'],
  [12.34, '12.3/s'],
  [99.96, '100/s'],
  [1234.5, '1235/s'],
])('a rate of %d', (rate, expected) => expect(formatRate(rate)).toBe(expected))
