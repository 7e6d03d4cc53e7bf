/** The topics of a project as a tree that can be drawn, whatever is in it. Pure. */

/** One topic as the stream tells it. */
export interface TopicMessage {
  topic: string
  payload: string
  encoding: 'utf8' | 'base64'
  /** The payload is only the beginning. */
  truncated: boolean
  /** Size of the whole payload. */
  bytes: number
  qos: number
  retain: boolean
  /** Messages since the watching began. */
  count: number
  /** Messages per second. */
  rate: number
  at: string
}

/** The data of an event `topics`. */
export interface TopicBatch {
  topics: TopicMessage[]
  /** Topics that the manager holds for this watcher. */
  topicCount: number
  /** What it could not show, since the watching began. */
  lost: number
}

interface TreeNode {
  path: string
  name: string
  children: Map<string, TreeNode>
  /** Children by name; null when it has to be made anew. */
  sorted: TreeNode[] | null
  leaf: Leaf | null
  sums: Sums
}
interface Leaf {
  message: TopicMessage
  /** Messages of earlier watches: a stream that breaks begins to count anew. */
  before: number
  heardMs: number
}
interface Sums {
  topics: number
  count: number
  rate: number
}

export interface TopicRow extends Sums {
  kind: 'topic'
  path: string
  /** The last level of the path. */
  name: string
  /** From 1. */
  level: number
  branch: boolean
  open: boolean
  message: TopicMessage | null
}
/** Stands for the children of a branch beyond those that are drawn. */
export interface MoreRow {
  kind: 'more'
  path: string
  level: number
  hidden: number
}
export type Row = TopicRow | MoreRow

export interface View {
  isOpen: (path: string) => boolean
  matches: (topic: string) => boolean
  /** How many children of a branch to draw. */
  limit: (path: string) => number
  nowMs: number
}
export interface Drawing {
  rows: Row[]
  /** Topics that match. */
  topics: number
  rate: number
  /** There are more rows than are drawn. */
  cut: boolean
}

export const MAX_TOPICS = 5_000
export const MAX_ROWS = 1_000
export const BRANCH_ROWS = 100
/** Deeper levels are shown as one. */
export const MAX_LEVELS = 32
/** A topic cannot contain it. */
export const ROOT = '\0'

const NOTHING: Sums = { topics: 0, count: 0, rate: 0 }
const SILENT_MS = 5_000
const SILENT_PERIODS = 3
const collator = new Intl.Collator('en', { numeric: true })

/** `a/b/c` → `a`, `a/b`, `a/b/c` */
export function pathsOf(topic: string): string[] {
  const paths: string[] = []
  let end = topic.indexOf('/')
  while (end >= 0 && paths.length < MAX_LEVELS - 1) {
    paths.push(topic.slice(0, end))
    end = topic.indexOf('/', end + 1)
  }
  return [...paths, topic]
}

export class TopicTree {
  #root = newNode(ROOT, '')
  #leaves = new Map<string, Leaf>()
  #refused = new Set<string>()

  get size(): number {
    return this.#leaves.size
  }
  /** Topics beyond `MAX_TOPICS`, of several watches together. */
  get refused(): number {
    return this.#refused.size
  }

  /** A new watch begins: its counts are added to what was counted before. */
  begin(): void {
    for (const leaf of this.#leaves.values()) {
      leaf.before += leaf.message.count
      leaf.message = { ...leaf.message, count: 0 }
    }
  }

  apply(topics: TopicMessage[], nowMs: number): void {
    for (const message of topics) {
      const leaf = this.#leaves.get(message.topic)
      if (leaf) Object.assign(leaf, { message, heardMs: nowMs })
      else if (this.#leaves.size < MAX_TOPICS) this.#add({ message, before: 0, heardMs: nowMs })
      else if (this.#refused.size < MAX_TOPICS) this.#refused.add(message.topic)
    }
  }

  /** A topic's last message, with the messages of all watches and the present rate. */
  message(topic: string, nowMs: number): TopicMessage | null {
    const leaf = this.#leaves.get(topic)
    return leaf ? { ...leaf.message, count: leaf.before + leaf.message.count, rate: rateOf(leaf, nowMs) } : null
  }

  /** Branches to open at first: level by level, as long as everything fits into `rows`. */
  firstOpen(rows: number): string[] {
    const open: string[] = []
    let shown = this.#root.children.size
    const queue = [...childrenOf(this.#root)]
    for (let node = queue.shift(); node; node = queue.shift()) {
      if (node.children.size === 0 || shown + node.children.size > rows) continue
      shown += node.children.size
      open.push(node.path)
      queue.push(...childrenOf(node))
    }
    return open
  }

  draw(view: View): Drawing {
    const sums = sumUp(this.#root, view)
    const drawing: Drawing = { rows: [], topics: sums.topics, rate: sums.rate, cut: false }
    drawChildren(this.#root, 1, view, drawing)
    return drawing
  }

  #add(leaf: Leaf): void {
    this.#leaves.set(leaf.message.topic, leaf)
    let node = this.#root
    let start = 0
    for (const path of pathsOf(leaf.message.topic)) {
      const name = path.slice(start)
      let child = node.children.get(name)
      if (!child) {
        child = newNode(path, name)
        node.children.set(name, child)
        node.sorted = null
      }
      node = child
      start = path.length + 1
    }
    node.leaf = leaf
  }
}

function newNode(path: string, name: string): TreeNode {
  return { path, name, children: new Map(), sorted: null, leaf: null, sums: NOTHING }
}

function childrenOf(node: TreeNode): TreeNode[] {
  node.sorted ??= [...node.children.values()].sort((a, b) => collator.compare(a.name, b.name))
  return node.sorted
}

/** Only topics that change are sent, so nobody says that one fell silent. */
function rateOf({ message, heardMs }: Leaf, nowMs: number): number {
  const silentMs = Math.max(SILENT_MS, (SILENT_PERIODS * 1_000) / message.rate)
  return nowMs - heardMs > silentMs ? 0 : message.rate
}

/** Sums of the matching topics at and below a node, written to each node on the way. */
function sumUp(node: TreeNode, view: View): Sums {
  const sums = { ...NOTHING }
  if (node.leaf && view.matches(node.path)) {
    sums.topics = 1
    sums.count = node.leaf.before + node.leaf.message.count
    sums.rate = rateOf(node.leaf, view.nowMs)
  }
  for (const child of node.children.values()) {
    const { topics, count, rate } = sumUp(child, view)
    sums.topics += topics
    sums.count += count
    sums.rate += rate
  }
  node.sums = sums
  return sums
}

function drawChildren(node: TreeNode, level: number, view: View, drawing: Drawing): void {
  const matching = childrenOf(node).filter(({ sums }) => sums.topics > 0)
  const limit = view.limit(node.path)
  for (const child of matching.slice(0, limit)) {
    if (drawing.rows.length >= MAX_ROWS) {
      drawing.cut = true
      return
    }
    const { path, name, leaf, sums } = child
    const branch = child.children.size > 0
    const open = branch && view.isOpen(path)
    drawing.rows.push({ kind: 'topic', path, name, level, branch, open, message: leaf?.message ?? null, ...sums })
    if (open) drawChildren(child, level + 1, view, drawing)
  }
  if (matching.length > limit && !drawing.cut) {
    drawing.rows.push({ kind: 'more', path: node.path, level, hidden: matching.length - limit })
  }
}
