import { describe, expect, test } from 'vitest'
import { covers, filterProblem, filtersFromText, matcher, topicProblem } from './topics'

describe('filterProblem', () => {
  test.each(['a', '#', '+', '/', 'a/#', '+/b/#', '/a', 'a//b', 'sensor data/+'])('%j is fine', (filter) =>
    expect(filterProblem(filter)).toBe(''),
  )
  test.each(['a#', '#/a', 'a/#/b', 'a+', '+a/b', 'a/b+', '##', 'a\0'])('%j is not', (filter) => expect(filterProblem(filter)).not.toBe(''))
})

test.each(['', 'a/+', '#', 'a/b#', 'a\0', 'ä'.repeat(40_000)])('topic %#: no place to publish to', (topic) => expect(topicProblem(topic)).not.toBe(''))
test.each(['a', '/a/b/', 'Halle 3/Öl'])('topic %j is fine', (topic) => expect(topicProblem(topic)).toBe(''))

test('filters are read line by line', () => {
  expect(filtersFromText(' line1/# \n\nline2/+\r\nline1/#\n')).toEqual(['line1/#', 'line2/+'])
})

test.each([
  ['#', 'a/b', true],
  ['a/#', 'a', true],
  ['a/#', 'a/b/c', true],
  ['a/#', 'ab', false],
  ['a/+', 'a/b', true],
  ['a/+', 'a', false],
  ['a/+', 'a/b/c', false],
  ['+/b', '/b', true],
  ['a', 'a/', false],
])('%s covers %s: %s', (filter, topic, expected) => expect(covers(filter, topic)).toBe(expected))

test('a search is a part of the topic, or a filter when it looks like one', () => {
  expect(matcher('')('a')).toBe(true)
  expect(matcher('TEMP')('line1/temperature')).toBe(true)
  expect(matcher('line1/+')('line1/temperature')).toBe(true)
  expect(matcher('line1/+')('x/line1/temperature')).toBe(false)
  expect(matcher('c++')('lang/c++/v')).toBe(true)
})
