import { describe, expect, it } from 'vitest'
import type { InstanceStatus } from '@/api/types'
import { canOpen, commandsFor, statusInfo, SUBDOMAIN_PATTERN, suggestSubdomain } from './model'

describe('suggestSubdomain', () => {
  it.each([
    ['Line 1 telemetry', 'line-1-telemetry'],
    ["Müller's Shop #2", 'muller-s-shop-2'],
    ['--- ---', ''],
    ['日本', ''],
    ['x'.repeat(80), 'x'.repeat(63)],
    [`${'y'.repeat(62)} z`, 'y'.repeat(62)],
  ])('makes a label of %s', (name, label) => expect(suggestSubdomain(name)).toBe(label))

  it('suggests only what the input accepts', () => {
    // Browsers compile the attribute with the `v` flag, anchored.
    const pattern = new RegExp(`^(?:${SUBDOMAIN_PATTERN})$`, 'v')
    for (const name of ['Line 1', 'A', 'über-Ärger', 'x'.repeat(80)]) expect(suggestSubdomain(name)).toMatch(pattern)
    for (const bad of ['-a', 'a-', 'A', 'a.b', 'x'.repeat(64), '']) expect(bad).not.toMatch(pattern)
  })
})

describe('commandsFor', () => {
  it('offers no start to what runs, and nothing to what is going away', () => {
    expect(commandsFor('running')).toEqual(['restart', 'stop'])
    expect(commandsFor('stopped')).toEqual(['start'])
    expect(commandsFor('failed')).toContain('start')
    expect(commandsFor('deleting')).toEqual([])
    expect(commandsFor('stopping')).toEqual([])
  })
  it('opens what the proxy forwards or wakes', () => {
    const open: InstanceStatus[] = ['running', 'unhealthy', 'safe_mode', 'sleeping']
    for (const status of open) expect(canOpen(status)).toBe(true)
    for (const status of ['stopped', 'crashed', 'starting'] as const) expect(canOpen(status)).toBe(false)
  })
  it('survives a status of a later version', () => {
    const unknown = 'teleporting' as InstanceStatus
    expect(statusInfo(unknown).label).toBe('teleporting')
    expect(commandsFor(unknown)).toEqual([])
  })
})
