import { expect, it } from 'vitest'
import { memoryHint, memoryProblem } from './engines'

const n8n = { engine: 'n8n', memoryMbMin: 640, memoryMbDefault: 768 } as const
const nodeRed = { engine: 'node-red', memoryMbMin: 64, memoryMbDefault: 0 } as const

it('tells before sending that an engine needs more memory', () => {
  expect(memoryProblem(n8n, 512)).toBe('n8n does not start with less than 640 MB.')
  expect(memoryProblem(n8n, '639')).not.toBe('')
  expect(memoryProblem(n8n, 640)).toBe('')
  expect(memoryProblem(n8n, '')).toBe('')
  expect(memoryProblem(nodeRed, 128)).toBe('')
  expect(memoryProblem(undefined, 1)).toBe('')
})
it('says what an engine needs only where that is more than usual', () => {
  expect(memoryHint(n8n)).toContain('640 MB')
  expect(memoryHint(nodeRed)).toBe('')
})
