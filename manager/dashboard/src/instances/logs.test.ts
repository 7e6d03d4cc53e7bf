import { describe, expect, it } from 'vitest'
import { LogBuffer, MAX_LINES } from './logs'

const texts = (buffer: LogBuffer): string[] => buffer.lines().map(({ text }) => text)

describe('LogBuffer', () => {
  it('joins a line that arrives in pieces', () => {
    const buffer = new LogBuffer()
    buffer.push('one\ntw')
    expect(texts(buffer)).toEqual(['one'])
    buffer.push('o\r\nthree')
    expect(texts(buffer)).toEqual(['one', 'two'])
    buffer.end()
    expect(texts(buffer)).toEqual(['one', 'two', 'three'])
  })

  it('takes colours and other control sequences out', () => {
    const buffer = new LogBuffer()
    buffer.push('\u001b[32m[info]\u001b[39m \u001b]8;;http://x\u0007link\u001b]8;;\u0007 \u001b[2Kdone\n')
    expect(texts(buffer)).toEqual(['[info] link done'])
  })

  it('keeps the last lines only, with ids that go on', () => {
    const buffer = new LogBuffer()
    for (let n = 0; n < MAX_LINES + 500; n += 1) buffer.push(`${n}\n`)
    const lines = buffer.lines()
    expect(lines).toHaveLength(MAX_LINES)
    expect(lines.at(-1)).toEqual({ id: MAX_LINES + 500, text: String(MAX_LINES + 499) })
    buffer.push('x\n'.repeat(MAX_LINES * 3))
    expect(buffer.lines()).toHaveLength(MAX_LINES)
  })

  it('bounds a line without end', () => {
    const buffer = new LogBuffer()
    for (let n = 0; n < 100; n += 1) buffer.push('x'.repeat(1_000))
    buffer.end()
    expect(texts(buffer)[0]!.length).toBeLessThanOrEqual(8_192)
  })
})
