/** MQTT's rules for topic names and topic filters (MQTT 5.0, section 4.7). Pure. */

const BYTES_MAX = 65_535
const tooLong = (text: string): boolean => new TextEncoder().encode(text).length > BYTES_MAX

/** What is wrong with a topic to publish to; empty when nothing is. */
export function topicProblem(topic: string): string {
  if (topic === '') return 'Enter a topic.'
  if (/[+#]/.test(topic)) return 'A message goes to one topic: + and # are for subscribing only.'
  if (topic.includes('\0') || tooLong(topic)) return 'The topic is too long or contains a NUL character.'
  return ''
}

/** What is wrong with a topic filter; empty when nothing is. */
export function filterProblem(filter: string): string {
  const levels = filter.split('/')
  if (filter.includes('\0') || tooLong(filter)) return `“${filter.slice(0, 40)}” is too long or contains a NUL character.`
  if (levels.some((level) => level.length > 1 && level.includes('+'))) {
    return `“${filter}”: + stands for one whole level, as in line/+/state.`
  }
  if (levels.some((level, index) => level.includes('#') && (level !== '#' || index < levels.length - 1))) {
    return `“${filter}”: # stands alone and comes last, as in line1/#.`
  }
  return ''
}

/** One filter a line; blank lines and repetitions are left out. */
export function filtersFromText(text: string): string[] {
  return [...new Set(text.split('\n').map((line) => line.trim()))].filter(Boolean)
}

/** Whether a topic filter covers a topic. */
export function covers(filter: string, topic: string): boolean {
  const levels = topic.split('/')
  const wanted = filter.split('/')
  for (const [index, want] of wanted.entries()) {
    if (want === '#') return true
    if (index >= levels.length || (want !== '+' && want !== levels[index])) return false
  }
  return wanted.length === levels.length
}

/** What a search box finds: with `+` or `#` as a level a topic filter, else a part of the topic in any case. */
export function matcher(search: string): (topic: string) => boolean {
  const text = search.trim()
  if (text === '') return () => true
  const isFilter = text.split('/').some((level) => level === '+' || level === '#') && filterProblem(text) === ''
  if (isFilter) return (topic) => covers(text, topic)
  const needle = text.toLowerCase()
  return (topic) => topic.toLowerCase().includes(needle)
}
