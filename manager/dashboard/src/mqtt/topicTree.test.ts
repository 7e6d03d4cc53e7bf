import { describe, expect, test } from 'vitest'
import { BRANCH_ROWS, MAX_LEVELS, MAX_ROWS, MAX_TOPICS, pathsOf, TopicTree, type TopicMessage, type View } from './topicTree'

const NOW = 1_000_000

const message = (topic: string, extra: Partial<TopicMessage> = {}): TopicMessage => ({
  topic,
  payload: '1',
  encoding: 'utf8',
  truncated: false,
  bytes: 1,
  qos: 0,
  retain: false,
  count: 1,
  rate: 1,
  at: '2026-01-01T00:00:00Z',
  ...extra,
})
const view = (extra: Partial<View> = {}): View => ({
  isOpen: () => true,
  matches: () => true,
  limit: () => BRANCH_ROWS,
  nowMs: NOW,
  ...extra,
})
function treeOf(...topics: (string | TopicMessage)[]): TopicTree {
  const tree = new TopicTree()
  tree.apply(topics.map((topic) => (typeof topic === 'string' ? message(topic) : topic)), NOW)
  return tree
}
/** Rows as indented lines. */
const lines = (tree: TopicTree, extra: Partial<View> = {}): string[] =>
  tree.draw(view(extra)).rows.map((row) => '  '.repeat(row.level - 1) + (row.kind === 'more' ? `+${row.hidden}` : row.name))

describe('pathsOf', () => {
  test.each([
    ['a', ['a']],
    ['a/b/c', ['a', 'a/b', 'a/b/c']],
    ['/a', ['', '/a']],
    ['a/', ['a', 'a/']],
    ['//', ['', '/', '//']],
  ])('%j', (topic, paths) => expect(pathsOf(topic)).toEqual(paths))

  test('a topic of thousands of levels stays shallow', () => {
    const topic = 'x/'.repeat(30_000)
    const paths = pathsOf(topic)
    expect(paths).toHaveLength(MAX_LEVELS)
    expect(paths.at(-1)).toBe(topic)
  })
})

describe('draw', () => {
  test('levels become branches, in the order people count', () => {
    expect(lines(treeOf('line10/temp', 'line2/temp', 'line2', '/line', 'a//b'))).toEqual([
      '', '  line', 'a', '  ', '    b', 'line2', '  temp', 'line10', '  temp',
    ])
  })

  test('names of object members are names like others', () => {
    expect(lines(treeOf('__proto__/constructor', 'toString'))).toEqual(['__proto__', '  constructor', 'toString'])
  })

  test('only what is open is drawn, and a closed branch says what is in it', () => {
    const tree = treeOf(message('a/b/c', { count: 3, rate: 2 }), message('a/d', { count: 4, rate: 0.5 }))
    const [row, ...others] = tree.draw(view({ isOpen: () => false })).rows
    expect(others).toEqual([])
    expect(row).toMatchObject({ name: 'a', branch: true, open: false, message: null, topics: 2, count: 7, rate: 2.5 })
  })

  test('a topic that is a branch too counts itself', () => {
    expect(treeOf('a', 'a/b').draw(view({ isOpen: () => false })).rows[0]).toMatchObject({ branch: true, topics: 2, message: { topic: 'a' } })
  })

  test('a filter leaves the branches that lead to a match, and counts matches only', () => {
    const tree = treeOf('a/temp', 'a/state', 'b/state')
    const drawing = tree.draw(view({ matches: (topic) => topic.endsWith('temp') }))
    expect(drawing.rows.map((row) => row.path)).toEqual(['a', 'a/temp'])
    expect(drawing).toMatchObject({ topics: 1, rate: 1 })
    expect(drawing.rows[0]).toMatchObject({ topics: 1 })
  })

  test('many children are cut to “and N more”, and more of them can be asked for', () => {
    const tree = treeOf(...Array.from({ length: BRANCH_ROWS + 30 }, (_, i) => `dev/${i}`), 'z')
    const cut = lines(tree)
    expect(cut).toHaveLength(1 + BRANCH_ROWS + 1 + 1)
    expect(cut.slice(-2)).toEqual(['  +30', 'z'])
    expect(lines(tree, { limit: () => 500 })).toHaveLength(1 + BRANCH_ROWS + 30 + 1)
  })

  test('never more than MAX_ROWS, and it is told', () => {
    const tree = treeOf(...Array.from({ length: 3_000 }, (_, i) => `${i % 30}/${i}`))
    const drawing = tree.draw(view())
    expect(drawing).toMatchObject({ cut: true, topics: 3_000 })
    expect(drawing.rows).toHaveLength(MAX_ROWS)
    expect(tree.draw(view({ isOpen: () => false }))).toMatchObject({ cut: false })
  })

  test('a topic that fell silent has no rate; a slow one is given its time', () => {
    const tree = treeOf(message('fast', { rate: 2 }), message('slow', { rate: 0.1 }))
    const rates = (nowMs: number) => tree.draw(view({ nowMs })).rows.map((row) => (row.kind === 'topic' ? row.rate : 0))
    expect(rates(NOW + 4_000)).toEqual([2, 0.1])
    expect(rates(NOW + 6_000)).toEqual([0, 0.1])
    expect(rates(NOW + 31_000)).toEqual([0, 0])
  })
})

describe('apply', () => {
  test('a later message replaces an earlier one', () => {
    const tree = treeOf('a')
    tree.apply([message('a', { payload: 'new', count: 2 })], NOW)
    expect(tree.message('a', NOW)).toMatchObject({ payload: 'new', count: 2 })
    expect(tree.size).toBe(1)
  })

  test('counts go on over watches that begin anew', () => {
    const tree = treeOf(message('a', { count: 5 }), message('b', { count: 2 }))
    tree.begin()
    expect(tree.message('a', NOW)?.count).toBe(5)
    tree.apply([message('a', { count: 1 })], NOW)
    expect(tree.message('a', NOW)?.count).toBe(6)
    tree.begin()
    tree.apply([message('a', { count: 1 })], NOW)
    expect(tree.draw(view()).rows).toMatchObject([{ count: 7 }, { count: 2 }])
  })

  test('topics beyond the limit are refused and counted once; known ones go on', () => {
    const tree = treeOf(...Array.from({ length: MAX_TOPICS }, (_, i) => `t/${i}`))
    tree.apply([message('one/more'), message('t/1', { payload: 'new' })], NOW)
    tree.apply([message('one/more'), message('two/more')], NOW)
    expect(tree).toMatchObject({ size: MAX_TOPICS, refused: 2 })
    expect(tree.message('one/more', NOW)).toBeNull()
    expect(tree.message('t/1', NOW)?.payload).toBe('new')
  })
})

describe('firstOpen', () => {
  test('opens level by level as far as the rows go', () => {
    const tree = treeOf('a/1', 'a/2', 'b/1/x', 'b/1/y', 'c')
    expect(tree.firstOpen(100)).toEqual(['a', 'b', 'b/1'])
    expect(tree.firstOpen(6)).toEqual(['a', 'b'])
    expect(tree.firstOpen(2)).toEqual([])
  })
})
