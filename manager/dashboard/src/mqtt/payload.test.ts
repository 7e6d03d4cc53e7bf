import { describe, expect, test } from 'vitest'
import { indentJson, preview, showPayload } from './payload'

const text = (payload: string, extra = {}) => ({ payload, encoding: 'utf8' as const, truncated: false, bytes: payload.length, ...extra })

describe('indentJson', () => {
  test('breaks lines and indents', () => {
    expect(indentJson('{"a":[1,{"b":"x, {y}"}],"e":{},"f":[ ]}')).toBe(
      '{\n  "a": [\n    1,\n    {\n      "b": "x, {y}"\n    }\n  ],\n  "e": {},\n  "f": []\n}',
    )
  })
  test('keeps numbers, repeated names and escapes as they came', () => {
    expect(indentJson(String.raw`{"n":12345678901234567890,"n":1.0,"s":"\"}\\"}`)).toBe(
      '{\n  "n": 12345678901234567890,\n  "n": 1.0,\n  "s": "\\"}\\\\"\n}',
    )
  })
  test('is what a parser makes of it', () => {
    const value = { a: [[], [[]], {}, [{ b: null }], ''], 'ü "q"': [true, -1.5e-3, 'line\nbreak'] }
    expect(indentJson(JSON.stringify(value))).toBe(JSON.stringify(value, null, 2))
  })
  test.each(['42', '"text"', 'hello', '{broken', '', `${'['.repeat(500)}${']'.repeat(500)}`])('%#: left alone', (source) =>
    expect(indentJson(source)).toBeNull(),
  )
})

describe('showPayload', () => {
  test('says what it is', () => {
    expect(showPayload(text('{"a":1}')).kind).toBe('JSON')
    expect(showPayload(text('21.5'))).toEqual({ kind: 'Text', text: '21.5', notes: [] })
    expect(showPayload(text('')).kind).toBe('Empty')
    expect(showPayload(text('AAEC', { encoding: 'base64', bytes: 3 }))).toEqual({ kind: 'Binary', text: 'AAEC', notes: ['Not text, so shown as base64.'] })
  })
  test('a truncated one says so and is not taken for JSON', () => {
    expect(showPayload(text('{"a":1}', { truncated: true, bytes: 10_240 }))).toEqual({
      kind: 'Text',
      text: '{"a":1}',
      notes: ['Only the beginning of 10 kB is shown.'],
    })
  })
})

test('preview is one line', () => {
  expect(preview(text('{\n  "a": 1\n}'))).toBe('{ "a": 1 }')
  expect(preview(text('AAEC', { encoding: 'base64', bytes: 3 }))).toBe('(binary, 3 B)')
  expect(preview(text(''))).toBe('(empty)')
  expect(preview(text('x'.repeat(4_096)))).toHaveLength(120)
})
