/** Standard cron expressions of five fields, in UTC: whether one is valid, what it means, when it runs. Pure. */

export interface Schedule {
  minutes: number[]
  hours: number[]
  days: number[]
  months: number[]
  /** 0 is Sunday. */
  weekdays: number[]
  /** When both day fields are restricted, a day that fits either one will do. */
  eitherDay: boolean
}

interface Field {
  name: string
  min: number
  max: number
  names?: string[]
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const FIELDS: [Field, Field, Field, Field, Field] = [
  { name: 'minute', min: 0, max: 59 },
  { name: 'hour', min: 0, max: 23 },
  { name: 'day of the month', min: 1, max: 31 },
  { name: 'month', min: 1, max: 12, names: MONTHS },
  { name: 'day of the week', min: 0, max: 7, names: WEEKDAYS },
]
const DAY_MS = 86_400_000
/** The 29th of February may be eight years away. */
const MAX_DAYS = 9 * 366

/** The expression read, or a sentence that says what is wrong with it. */
export function parseCron(expression: string): Schedule | string {
  const parts = expression.trim().split(/\s+/)
  if (parts.length !== FIELDS.length) return 'Give five fields: minute, hour, day of the month, month, day of the week.'
  const values: number[][] = []
  for (const [index, field] of FIELDS.entries()) {
    const read = parseField(parts[index] ?? '', field)
    if (typeof read === 'string') return read
    values.push(read)
  }
  const [minutes = [], hours = [], days = [], months = [], weekdays = []] = values
  return {
    minutes,
    hours,
    days,
    months,
    weekdays: [...new Set(weekdays.map((day) => day % 7))].sort((a, b) => a - b),
    eitherDay: !parts[2]?.startsWith('*') && !parts[4]?.startsWith('*'),
  }
}

function parseField(text: string, field: Field): number[] | string {
  const found = new Set<number>()
  for (const item of text.split(',')) {
    const match = /^(\*|\w+)(?:-(\w+))?(?:\/(\d+))?$/.exec(item)
    const wrong = `“${item}” is no ${field.name}: use ${field.min} to ${field.max}, *, ranges (1-5), lists (1,3) and steps (*/2).`
    if (!match) return wrong
    const [, first = '', last, step] = match
    if (first === '*' && last !== undefined) return wrong
    const from = first === '*' ? field.min : numberOf(first, field)
    // `5/10` is from 5 to the end in steps of 10; a bare `5` is just 5.
    const to = last !== undefined ? numberOf(last, field) : first === '*' || step ? (field.max === 7 ? 6 : field.max) : from
    const by = step === undefined ? 1 : Number(step)
    if (!(from >= field.min && to <= field.max && from <= to && by >= 1)) return wrong
    for (let value = from; value <= to; value += by) found.add(value)
  }
  return [...found].sort((a, b) => a - b)
}

function numberOf(text: string, { names = [], min }: Field): number {
  if (/^\d+$/.test(text)) return Number(text)
  const index = names.indexOf(text.toLowerCase())
  return index < 0 ? NaN : index + min
}

function runsOn(schedule: Schedule, day: Date): boolean {
  if (!schedule.months.includes(day.getUTCMonth() + 1)) return false
  const byDay = schedule.days.includes(day.getUTCDate())
  const byWeekday = schedule.weekdays.includes(day.getUTCDay())
  return schedule.eitherDay ? byDay || byWeekday : byDay && byWeekday
}

/** The times of a day at which it runs, in milliseconds since midnight, in order. */
const timesOf = ({ hours, minutes }: Schedule): number[] =>
  hours.flatMap((hour) => minutes.map((minute) => (hour * 60 + minute) * 60_000))

const midnight = (at: Date): number => Math.floor(at.getTime() / DAY_MS) * DAY_MS

/** The first run after `after`; null when there is none (the 30th of February). */
export function nextRun(schedule: Schedule, after: Date): Date | null {
  const times = timesOf(schedule)
  for (let index = 0, day = midnight(after); index < MAX_DAYS; index += 1, day += DAY_MS) {
    if (!runsOn(schedule, new Date(day))) continue
    const time = times.find((one) => day + one > after.getTime())
    if (time !== undefined) return new Date(day + time)
  }
  return null
}

const DAY_NAMES = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTH_NAMES = [
  'January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December',
]
/** More times than one can read in a sentence. */
const MAX_TIMES = 4

/** `a`, `a and b`, `a, b and c`. */
export function listInWords(items: readonly string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1) ?? ''}`
}

const DAY_MINUTES = 24 * 60

/**
 * What an expression means: `every day at 02:30 UTC`; with a window, over which the runs are spread from there on,
 * `every day between 02:30 and 04:30 UTC`. An expression that is not valid is given back as it is.
 */
export function cronInWords(expression: string, windowMinutes = 0): string {
  const schedule = parseCron(expression)
  if (typeof schedule === 'string') return expression
  const days = daysInWords(schedule)
  const [hour = 0, more] = schedule.hours
  const [minute = 0, often] = schedule.minutes
  const from = hour * 60 + minute
  if (windowMinutes > 0 && more === undefined && often === undefined) {
    if (windowMinutes >= DAY_MINUTES) return `${days} from ${clock(from)} UTC on, at any time`
    return `${days} between ${clock(from)} and ${clock(from + windowMinutes)} UTC`
  }
  const spread = windowMinutes > 0 ? `, or up to ${windowMinutes} minutes later` : ''
  return timesOnDays(days, timesInWords(schedule)) + spread
}

function timesOnDays(days: string, times: string): string {
  if (times.startsWith('every') && days === 'every day') return times
  return times.startsWith('every') ? `${times}, ${days}` : `${days} ${times}`
}

function daysInWords({ days, weekdays, months, eitherDay }: Schedule): string {
  const byDay = days.length < 31 ? `on ${days.length > 1 ? 'days' : 'day'} ${listInWords(days.map(String))} of the month` : ''
  const byWeekday = weekdays.length < 7 ? weekdaysInWords(weekdays) : ''
  const which = [byDay, byWeekday].filter(Boolean).join(eitherDay ? ' or ' : ' if it is ') || 'every day'
  return months.length < 12 ? `${which} in ${listInWords(months.map((month) => MONTH_NAMES[month - 1] ?? ''))}` : which
}

function weekdaysInWords(weekdays: number[]): string {
  const known = weekdays.join()
  if (known === '1,2,3,4,5') return 'every weekday'
  if (known === '0,6') return 'every weekend day'
  return `every ${listInWords(weekdays.map((day) => DAY_NAMES[day] ?? ''))}`
}

const two = (value: number): string => String(value).padStart(2, '0')
const clock = (minutes: number): string => `${two(Math.floor(minutes / 60) % 24)}:${two(minutes % 60)}`

function timesInWords({ hours, minutes }: Schedule): string {
  const minuteStep = stepOf(minutes, 60)
  const hourStep = stepOf(hours, 24)
  if (hourStep === 1 && minuteStep !== null) return minuteStep === 1 ? 'every minute' : `every ${minuteStep} minutes`
  if (hourStep !== null && minutes.length === 1) {
    const every = hourStep === 1 ? 'every hour' : `every ${hourStep} hours`
    return `${every} at minute ${minutes[0] ?? 0} (UTC)`
  }
  if (hours.length * minutes.length <= MAX_TIMES) {
    return `at ${listInWords(hours.flatMap((hour) => minutes.map((minute) => `${two(hour)}:${two(minute)}`)))} UTC`
  }
  return `at ${hours.length * minutes.length} times, the first ${two(hours[0] ?? 0)}:${two(minutes[0] ?? 0)} UTC`
}

/** The step of values that begin at 0 and fill a whole (0, 15, 30, 45 of 60 → 15); null for others and for a single one. */
function stepOf(values: number[], whole: number): number | null {
  const step = (values[1] ?? 0) - (values[0] ?? 0)
  if (values[0] !== 0 || step < 1 || whole % step !== 0 || values.length !== whole / step) return null
  return values.every((value, index) => value === index * step) ? step : null
}
