/** Environment variables as rows of a form, and back to the body of a request. */
import type { EnvVar } from '@/api/types'

export interface EnvRow {
  /** Identity of the row in the form. */
  key: number
  name: string
  value: string
  secret: boolean
  /** The name under which the server holds a secret value for this row; empty when it holds none. */
  stored: string
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
let lastKey = 0

export function newEnvRow(row: Partial<Omit<EnvRow, 'key'>> = {}): EnvRow {
  return { key: (lastKey += 1), name: '', value: '', secret: false, stored: '', ...row }
}

export function toEnvRows(items: readonly EnvVar[]): EnvRow[] {
  return items.map(({ name, value, secret = false }) =>
    newEnvRow({ name, secret, value: value ?? '', stored: secret ? name : '' }),
  )
}

/**
 * A secret that was left empty is sent without a value, which keeps the stored one. That holds only while its name
 * and its being a secret are unchanged; otherwise the empty value is what the user asks for.
 */
export function toEnvBody(rows: readonly EnvRow[]): EnvVar[] {
  return filled(rows).map((row) => {
    const name = row.name.trim()
    const kept = row.secret && row.value === '' && row.stored === name
    return kept ? { name, secret: true } : { name, value: row.value, secret: row.secret }
  })
}

/** What the server would refuse, told before it is sent. */
export function envErrors(rows: readonly EnvRow[]): string[] {
  const errors: string[] = []
  const seen = new Set<string>()
  for (const row of filled(rows)) {
    const name = row.name.trim()
    if (!NAME.test(name)) {
      errors.push(name ? `“${name}”: use letters, digits and _, not starting with a digit.` : 'A value has no name.')
    } else if (seen.has(name)) {
      errors.push(`“${name}” is there twice.`)
    } else if (row.stored && !row.value && (row.stored !== name || !row.secret)) {
      errors.push(`“${name}”: enter the value again; a stored secret cannot be renamed or shown.`)
    }
    seen.add(name)
  }
  return errors
}

const filled = (rows: readonly EnvRow[]): EnvRow[] => rows.filter((row) => row.name.trim() !== '' || row.value !== '')
