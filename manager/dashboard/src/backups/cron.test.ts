import { expect, it } from 'vitest'
import { cronInWords, nextRun, parseCron, type Schedule } from './cron'

it.each([
  ['30 2 * * *', 'every day at 02:30 UTC'],
  ['0 2,14 * * *', 'every day at 02:00 and 14:00 UTC'],
  ['15 * * * *', 'every hour at minute 15 (UTC)'],
  ['0 */6 * * *', 'every 6 hours at minute 0 (UTC)'],
  ['*/15 * * * *', 'every 15 minutes'],
  ['* * * * *', 'every minute'],
  ['0 3 * * 1-5', 'every weekday at 03:00 UTC'],
  ['0 3 * * mon,THU', 'every Monday and Thursday at 03:00 UTC'],
  ['0 3 * * 7', 'every Sunday at 03:00 UTC'],
  ['0 3 1 * *', 'on day 1 of the month at 03:00 UTC'],
  ['0 3 1,15 jan *', 'on days 1 and 15 of the month in January at 03:00 UTC'],
  ['0 3 13 * 5', 'on day 13 of the month or every Friday at 03:00 UTC'],
  ['*/20 1-5 * * *', 'every day at 15 times, the first 01:00 UTC'],
  ['*/30 * * * 0', 'every 30 minutes, every Sunday'],
  ['nonsense', 'nonsense'],
])('%s means: %s', (expression, words) => expect(cronInWords(expression)).toBe(words))

it.each([
  ['0 2 * * *', 120, 'every day between 02:00 and 04:00 UTC'],
  ['30 23 * * 1-5', 45, 'every weekday between 23:30 and 00:15 UTC'],
  ['0 2 * * *', 1440, 'every day from 02:00 UTC on, at any time'],
  ['0 2,14 * * *', 90, 'every day at 02:00 and 14:00 UTC, or up to 90 minutes later'],
  ['0 2 * * *', 0, 'every day at 02:00 UTC'],
])('%s spread over %i minutes means: %s', (expression, minutes, words) => expect(cronInWords(expression, minutes)).toBe(words))

it.each(['', '* * * *', '* * * * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8', '*/0 * * * *', '5-1 * * * *', '*-5 * * * *', 'a * * * *', '1,, * * * *'])(
  'refuses “%s” with a sentence',
  (expression) => expect(parseCron(expression)).toMatch(/\.$/),
)

const schedule = (expression: string): Schedule => {
  const parsed = parseCron(expression)
  if (typeof parsed === 'string') throw new Error(parsed)
  return parsed
}
const at = new Date('2026-03-11T02:30:00Z') // A Wednesday.

it.each([
  ['30 2 * * *', '2026-03-12T02:30:00.000Z'],
  ['31 2 * * *', '2026-03-11T02:31:00.000Z'],
  ['0 3 * * 7', '2026-03-15T03:00:00.000Z'],
  ['0 3 13 * 4', '2026-03-12T03:00:00.000Z'],
  ['0 0 31 * *', '2026-03-31T00:00:00.000Z'],
  ['0 0 29 2 *', '2028-02-29T00:00:00.000Z'],
  ['5/20 * * * *', '2026-03-11T02:45:00.000Z'],
])('%s runs next at %s', (expression, expected) => expect(nextRun(schedule(expression), at)?.toISOString()).toBe(expected))

it('never runs on a day that no year has', () => expect(nextRun(schedule('0 0 30 2 *'), at)).toBeNull())

it('knows the run before', () => {
})
