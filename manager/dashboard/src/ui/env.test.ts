import { describe, expect, it } from 'vitest'
import { envErrors, newEnvRow, toEnvBody, toEnvRows } from './env'

const stored = () =>
  toEnvRows([
    { name: 'HOST', value: 'plc', secret: false },
    { name: 'KEY', value: null, secret: true },
  ])

describe('toEnvBody', () => {
  it('sends an untouched secret without a value, which keeps it', () => {
    expect(toEnvBody(stored())).toEqual([
      { name: 'HOST', value: 'plc', secret: false },
      { name: 'KEY', secret: true },
    ])
  })
  it('sends a new value for a secret', () => {
    const rows = stored()
    rows[1]!.value = 'new'
    expect(toEnvBody(rows)[1]).toEqual({ name: 'KEY', value: 'new', secret: true })
  })
  it('leaves empty rows out and trims names', () => {
    expect(toEnvBody([newEnvRow(), newEnvRow({ name: ' A ', value: '1' })])).toEqual([{ name: 'A', value: '1', secret: false }])
  })
})

describe('envErrors', () => {
  it('accepts what is stored', () => expect(envErrors(stored())).toEqual([]))
  it.each(['1A', 'A-B', 'A B', 'Ä'])('refuses the name %s', (name) => expect(envErrors([newEnvRow({ name })])).toHaveLength(1))
  it('refuses a name that is there twice', () =>
    expect(envErrors([newEnvRow({ name: 'A' }), newEnvRow({ name: 'A' })])).toEqual(['“A” is there twice.']))
  it('refuses a value without a name', () => expect(envErrors([newEnvRow({ value: 'x' })])).toHaveLength(1))
  it('refuses to rename a stored secret, or to turn it into a plain value, without its value', () => {
    const renamed = stored()
    renamed[1]!.name = 'OTHER'
    expect(envErrors(renamed)[0]).toContain('OTHER')
    const shown = stored()
    shown[1]!.secret = false
    expect(envErrors(shown)[0]).toContain('KEY')
  })
})
