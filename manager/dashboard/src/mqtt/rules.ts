/** Topic rules as a form has them. Pure. */
import { ruleOf } from './model'
import { filterProblem, filtersFromText } from './topics'

export interface RuleInput {
  mode: 'all' | 'some' | 'none'
  text: string
}

export function ruleInput(patterns: string[] | null | undefined): RuleInput {
  const rule = ruleOf(patterns)
  return Array.isArray(rule) ? { mode: 'some', text: rule.join('\n') } : { mode: rule, text: '' }
}

/** As the API takes it. */
export function patternsOf({ mode, text }: RuleInput): string[] | null {
  if (mode === 'all') return null
  return mode === 'none' ? [] : filtersFromText(text)
}

export function ruleProblems({ mode, text }: RuleInput): string[] {
  if (mode !== 'some') return []
  const filters = filtersFromText(text)
  if (filters.length === 0) return ['Enter at least one topic, or choose “Nothing”.']
  return filters.map(filterProblem).filter(Boolean)
}
