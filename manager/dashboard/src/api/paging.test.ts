import { expect, it } from 'vitest'
import { listAll } from './paging'

it('follows the cursors to the end', async () => {
  const asked: unknown[] = []
  const listing = await listAll(async (query) => {
    asked.push(query.cursor)
    return query.cursor === 'c2' ? { items: [3], nextCursor: null } : { items: [1, 2], nextCursor: 'c2' }
  })
  expect(listing).toEqual({ items: [1, 2, 3], truncated: false })
  expect(asked).toEqual([undefined, 'c2'])
})

it('stops after ten pages and says so', async () => {
  let pages = 0
  const listing = await listAll(async () => ({ items: [(pages += 1)], nextCursor: 'more' }))
  expect(pages).toBe(10)
  expect(listing.truncated).toBe(true)
})
