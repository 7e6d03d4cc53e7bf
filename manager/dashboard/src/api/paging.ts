/** Lists come in pages; most pages of the dashboard want all of a list that is short by nature. */

export interface Page<T> {
  items: T[]
  nextCursor?: string | null
}

export interface Listing<T> {
  items: T[]
  /** The list is longer than what was read. */
  truncated: boolean
}

export const PAGE_LIMIT = 100
const MAX_PAGES = 10

/** Reads page after page, up to 1000 items. */
export async function listAll<T>(read: (query: { limit: number; cursor?: string }) => Promise<Page<T>>): Promise<Listing<T>> {
  const items: T[] = []
  let cursor: string | undefined
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await read({ limit: PAGE_LIMIT, ...(cursor ? { cursor } : {}) })
    items.push(...answer.items)
    cursor = answer.nextCursor ?? undefined
    if (!cursor) return { items, truncated: false }
  }
  return { items, truncated: true }
}
