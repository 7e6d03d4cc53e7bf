const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/** Bytes in binary steps: `1536` → `1.5 kB`. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes)
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1
  return `${Number(value.toFixed(digits))} ${UNITS[unit]}`
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
]
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

/** `3 minutes ago`, `in 2 days`, `just now`. */
export function formatRelative(at: Date, now: Date): string {
  const seconds = (at.getTime() - now.getTime()) / 1000
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit)
  }
  // `now` moves in steps, and the server's clock may be ahead: a moment in the future is none.
  return seconds < -10 ? 'less than a minute ago' : seconds > 30 ? 'in less than a minute' : 'just now'
}

const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

export function formatDateTime(at: Date): string {
  return absolute.format(at)
}

/** `1 instance`, `2 instances`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Per second: `12.3/s`, `340/s`, `<0.1/s`; empty when nothing happens. */
export function formatRate(perSecond: number): string {
  if (perSecond <= 0) return ''
  if (perSecond < 0.1) return '<0.1/s'
  return `${perSecond < 100 ? Number(perSecond.toFixed(1)) : Math.round(perSecond)}/s`
}
