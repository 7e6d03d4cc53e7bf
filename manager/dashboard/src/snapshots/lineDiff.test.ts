import { expect, it } from 'vitest'
import { hunks, lineDiff, type DiffLine } from './lineDiff'

const SIGN = { same: ' ', added: '+', removed: '-' }
const signs = (diff: DiffLine[]): string[] => diff.map(({ kind, text }) => SIGN[kind] + text)
const both = (a: string[], b: string[], maxCells?: number): string[] => signs(lineDiff(a.join('\n'), b.join('\n'), maxCells))

it('keeps what is common and names what is not', () => {
  expect(both(['a', 'b', 'c', 'd'], ['a', 'c', 'x', 'd'])).toEqual([' a', '-b', ' c', '+x', ' d'])
  expect(both(['a'], ['a'])).toEqual([' a'])
  expect(both(['a', 'a'], ['a'])).toEqual([' a', '-a'])
  expect(both(['', 'a'], ['b'])).toEqual(['-', '-a', '+b'])
})

it('tells removed lines before the added ones that stand in their place', () => {
  expect(both(['one', 'two'], ['eins', 'zwei'])).toEqual(['-one', '-two', '+eins', '+zwei'])
})

it('both texts can be read off the diff again', () => {
  const words = (seed: number): string[] => Array.from({ length: 40 }, (_, index) => String((index * seed) % 7))
  for (const seed of [1, 2, 3, 5, 11]) {
    const [a, b] = [words(3), words(seed)]
    const diff = lineDiff(a.join('\n'), b.join('\n'))
    expect(diff.filter(({ kind }) => kind !== 'added').map(({ text }) => text)).toEqual(a)
    expect(diff.filter(({ kind }) => kind !== 'removed').map(({ text }) => text)).toEqual(b)
  }
})

it('gives up on what is too large, but not on what both share at the ends', () => {
  expect(both(['head', 'a', 'b', 'tail'], ['head', 'b', 'c', 'tail'], 3)).toEqual([' head', '-a', '-b', '+b', '+c', ' tail'])
})

it('leaves out what is far from a change', () => {
  const numbers = Array.from({ length: 20 }, (_, index) => String(index))
  const changed = numbers.map((line) => (line === '10' ? 'x' : line))
  const found = hunks(lineDiff(numbers.join('\n'), changed.join('\n')), 2)
  expect(found.map((hunk) => ('skipped' in hunk ? hunk.skipped : signs(hunk.lines)))).toEqual([8, [' 8', ' 9', '-10', '+x', ' 11', ' 12'], 7])
})
