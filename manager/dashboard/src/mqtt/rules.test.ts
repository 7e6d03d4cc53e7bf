import { expect, test } from 'vitest'
import { patternsOf, ruleInput, ruleProblems } from './rules'

test.each([[null], [[]], [['a/#', 'b']]])('%j goes through the form unchanged', (patterns) => {
  expect(patternsOf(ruleInput(patterns))).toEqual(patterns)
})
test('problems are told for what is sent', () => {
  expect(ruleProblems({ mode: 'some', text: ' \n' })).toHaveLength(1)
  expect(ruleProblems({ mode: 'some', text: 'ok/#\na#\n+b' })).toHaveLength(2)
  expect(ruleProblems({ mode: 'all', text: 'a#' })).toEqual([])
})
