/** A diff of two texts by lines, for what is too long to read side by side. Pure. */

export interface DiffLine {
  kind: 'same' | 'added' | 'removed'
  text: string
}
/** Lines, or how many unchanged ones are left out between them. */
export type Hunk = { lines: DiffLine[] } | { skipped: number }

/** Cells of the table that is made; texts that need more are shown as wholly replaced. */
const MAX_CELLS = 1_000_000
const CONTEXT = 3

/**
 * The longest common subsequence of lines, by the textbook table (Hirschberg 1975 gives the recurrence), after what both
 * texts begin and end with is set aside: changes to a function are mostly small and close together.
 */
export function lineDiff(before: string, after: string, maxCells = MAX_CELLS): DiffLine[] {
  const a = before.split('\n')
  const b = after.split('\n')
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1
  let end = 0
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1
  const middle = diffMiddle(a.slice(start, a.length - end), b.slice(start, b.length - end), maxCells)
  return [...lines('same', a.slice(0, start)), ...middle, ...lines('same', a.slice(a.length - end))]
}

const lines = (kind: DiffLine['kind'], texts: string[]): DiffLine[] => texts.map((text) => ({ kind, text }))

function diffMiddle(a: string[], b: string[], maxCells: number): DiffLine[] {
  if (a.length === 0 || b.length === 0 || a.length * b.length > maxCells) return [...lines('removed', a), ...lines('added', b)]
  const width = b.length + 1
  // lengths[i * width + j]: the longest common subsequence of a from i and b from j.
  const lengths = new Uint32Array((a.length + 1) * width)
  const length = (i: number, j: number): number => lengths[i * width + j] ?? 0
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] = a[i] === b[j] ? length(i + 1, j + 1) + 1 : Math.max(length(i + 1, j), length(i, j + 1))
    }
  }
  const found: DiffLine[] = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      found.push({ kind: 'same', text: a[i] ?? '' })
      i += 1
      j += 1
    } else if (i < a.length && (j === b.length || length(i + 1, j) >= length(i, j + 1))) {
      found.push({ kind: 'removed', text: a[i] ?? '' })
      i += 1
    } else {
      found.push({ kind: 'added', text: b[j] ?? '' })
      j += 1
    }
  }
  return found
}

/** The changes with some lines around them; longer stretches of unchanged lines are counted only. */
export function hunks(diff: DiffLine[], context = CONTEXT): Hunk[] {
  const near = new Set<number>()
  diff.forEach(({ kind }, index) => {
    if (kind === 'same') return
    for (let line = index - context; line <= index + context; line += 1) near.add(line)
  })
  const found: Hunk[] = []
  diff.forEach((line, index) => {
    const last = found.at(-1)
    if (near.has(index)) {
      if (last && 'lines' in last) last.lines.push(line)
      else found.push({ lines: [line] })
    } else if (last && 'skipped' in last) last.skipped += 1
    else found.push({ skipped: 1 })
  })
  return found
}
