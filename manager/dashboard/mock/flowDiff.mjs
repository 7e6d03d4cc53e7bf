// What differs between two flow files, in the manager's words. Small and plain: the manager's own is the judge.
const LAYOUT = new Set(['x', 'y', 'w', 'h'])
const ASIDE = new Set(['id', 'z', 'wires', 'credentials'])
const isTab = ({ type }) => type === 'tab' || type === 'subflow'
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)
const refIn = (flows) => ({ id, type, name, z }) => ({ id, type, name: name ?? '', tab: z ?? null, tabLabel: flows.find((tab) => tab.id === z)?.label ?? null })

function fields(before, after) {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((field) => !ASIDE.has(field) && !same(before[field], after[field]))
    .map((field) => ({ field, from: before[field] ?? null, to: after[field] ?? null }))
}
const wires = (nodes) =>
  nodes.flatMap(({ id, wires: ports = [] }) => ports.flatMap((targets, port) => targets.map((to) => ({ from: id, port, to }))))
const without = (list, other, key = JSON.stringify) => {
  const known = new Set(other.map(key))
  return list.filter((item) => !known.has(key(item)))
}

export function flowDiff(before, after) {
  const id = (node) => node.id
  const [tabsA, tabsB] = [before.flows.filter(isTab), after.flows.filter(isTab)]
  const [nodesA, nodesB] = [before.flows, after.flows].map((flows) => flows.filter((node) => !isTab(node)))
  const pairs = (a, b) => a.flatMap((from) => b.filter((to) => to.id === from.id).map((to) => [from, to]))
  const tab = ({ id: tabId, label, name }) => ({ id: tabId, label: label ?? name })
  const changed = pairs(nodesA, nodesB)
    .map(([from, to]) => ({ ...refIn(after.flows)(to), fields: fields(from, to) }))
    .filter((node) => node.fields.length > 0)
    .map((node) => ({ ...node, moved: node.fields.every(({ field }) => LAYOUT.has(field)) }))
  const names = (list) => list.map(({ name }) => name)
  const name = (item) => item.name
  const diff = {
    tabs: {
      added: without(tabsB, tabsA, id).map(tab),
      removed: without(tabsA, tabsB, id).map(tab),
      changed: pairs(tabsA, tabsB).map(([from, to]) => ({ ...tab(to), fields: fields(from, to) })).filter((one) => one.fields.length > 0),
    },
    nodes: { added: without(nodesB, nodesA, id).map(refIn(after.flows)), removed: without(nodesA, nodesB, id).map(refIn(before.flows)), changed },
    wires: { added: without(wires(nodesB), wires(nodesA)), removed: without(wires(nodesA), wires(nodesB)) },
    modules: {
      added: without(after.modules, before.modules, name),
      removed: without(before.modules, after.modules, name),
      changed: before.modules.flatMap((from) => after.modules.filter((to) => to.name === from.name && to.version !== from.version).map((to) => ({ name: to.name, from: from.version, to: to.version }))),
    },
    env: {
      added: names(without(after.env, before.env, name)),
      removed: names(without(before.env, after.env, name)),
      changed: names(after.env.filter((to) => before.env.some((from) => from.name === to.name && !from.secret && from.value !== to.value))),
    },
    credentials: { changed: pairs(nodesA, nodesB).filter(([from, to]) => !same(from.credentials, to.credentials)).map(([, to]) => to.id) },
  }
  const lists = [diff.tabs, diff.nodes, diff.wires, diff.modules, diff.env, diff.credentials].flatMap((part) => Object.values(part))
  return { ...diff, identical: lists.every((list) => list.length === 0) }
}
