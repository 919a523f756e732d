// The lineage's data, unpacked (`pack.py`), and look-ups that several parts of the page share.

import { byId } from "./dom.js";

const packed = JSON.parse(byId("data").textContent);
// As `pack.SHARES`.
const SHARES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

export const data = { lineage: packed.lineage, champion: packed.champion, suites: packed.suites, why: packed.why };
/** Replayed data sets: verified answers of one generation, as the ones that trained on them took them. */
export const pools = packed.pools.map(([producer, digest]) =>
  ({ producer, digest, id: place("data", digest), users: [] }));
/** Models outside the lineage. `users`: the generations that they taught, started, judged. */
export const models = packed.outside.map(([source, fingerprint]) =>
  ({ source, fingerprint, id: place("model", fingerprint), users: [] }));
/** The generations in order: generation N is `nodes[N]`. */
export const nodes = unpacked();
/** Level -> its place in a generation's text of shares. */
const levelPlaces = new Map((packed.shares.levels || []).map((level, at) => [level, at]));
export const champion = nodes[data.champion];
/** Held-out prompts by the id of their place on the page. */
export const prompts = new Map(nodes.map(node => [place("suite", node.suite), node.suite]));

export const parentOf = node => node.parents.length === 1 ? nodes[node.parents[0]] : null;
export const statusOf = node => node.number === data.champion ? "champion" : node.status;
export const outsideOf = (node, role) => node.edges.filter(edge => edge.role === role && edge.model)
  .map(edge => edge.model);

/** Gives the id under which the page shows something with a digest. */
export function place(kind, digest) {
  return `${kind}-${digest.replace(/[^\w.-]/g, "-").slice(0, 12)}`;
}

/** Gives a generation's share of right answers at a level: exact, or to a sixty-third; undefined without one. */
export function shareAt(node, level) {
  const exact = node.accuracy[level];
  if (exact || !packed.shares.levels) return exact && exact.accuracy;
  const found = packed.shares.texts[node.number][levelPlaces.get(level)];
  return found === undefined || found === "." ? undefined : SHARES.indexOf(found) / 63;
}

/** Gives all levels that one of the generations was evaluated on, ascending. */
export function levelsOf(some) {
  const { levels: all, texts } = packed.shares;
  const found = new Set(some.flatMap(node => Object.keys(node.accuracy).map(Number)));
  if (all) for (const node of some) all.slice(0, texts[node.number].length).forEach(level => found.add(level));
  return [...found].toSorted((a, b) => a - b);
}

/** Gives the numbers of all generations that descend, along any edge, from one that `isStart` is true for. */
export function downstream(isStart) {
  const found = new Set();
  for (const node of nodes) {
    const isReached = isStart(node) || node.edges.some(edge => edge.from !== null && found.has(edge.from)) ||
      node.data.some(one => found.has(pools[one].producer));
    if (isReached) found.add(node.number);
  }
  return found;
}

/** Gives the numbers of the generations within so many steps of one, along edges of weights and models. */
export function within(number, steps) {
  const found = new Set([number]);
  let edge = [number];
  for (let step = 0; step < steps && edge.length; step += 1) {
    edge = edge.flatMap(neighbours).filter(one => !found.has(one));
    edge.forEach(one => found.add(one));
  }
  return found;
}

function neighbours(number) {
  const node = nodes[number];
  return [...node.edges.filter(edge => edge.from !== null).map(edge => edge.from), ...node.children,
    ...node.users.map(user => user.number)];
}

function unpacked() {
  const keys = Object.keys(packed.columns), count = packed.edges.length;
  const columns = keys.map(key => column(packed.columns[key]));
  const made = Array.from({ length: count }, (_, number) => {
    const node = Object.fromEntries(keys.map((key, at) => [key, columns[at][number]]));
    return Object.assign(node, packed.details[number], { name: "gen-" + number, isWhole: number in packed.details,
      children: [], users: [], data: [] });
  });
  let taken = [];
  made.forEach((node, number) => {
    const [added, dropped] = packed.data[number];
    taken = [...taken.filter(one => !dropped.includes(one)), ...added];
    node.data = taken;
    for (const one of taken) pools[one].users.push(number);
    node.edges = packed.edges[number].map(([role, from, isOnPath, model]) =>
      ({ role, from, to: number, isOnPath: Boolean(isOnPath), model: from === null ? models[model] : null }));
    for (const edge of node.edges) {
      if (edge.model) edge.model.users.push({ role: edge.role, number });
      else if (!node.parents.includes(edge.from) || !["init", "merged"].includes(edge.role)) {
        made[edge.from].users.push({ role: edge.role, number });
      }
    }
    for (const one of node.parents) made[one].children.push(number);
    for (const [table, names] of Object.entries(packed.tables)) node[table] = rows(node[table] || [], names);
    node.accuracy = Object.fromEntries(node.accuracy.map(row => [row.level, row]));
  });
  return made;
}

function column(kept) {
  return Array.isArray(kept) ? kept : kept.of.map(at => kept.values[at]);
}

function rows(arrays, names) {
  return arrays.map(values => Object.fromEntries(names.map((key, at) => [key, values[at]])));
}
