// What the reader looks at: a stretch of the lineage, or the neighbourhood of a generation, with runs folded.

import { data, nodes, within } from "./data.js";

/** Number of generations beyond which runs of promotions are folded. */
export const FOLD_BEYOND = 50;
/** Fewest promotions in a row that one card stands for. */
const SHORTEST_RUN = 4;
/** Generations at both ends of the lineage that are never folded. */
const KEPT_FIRST = 2;
const KEPT_LAST = 5;
/** A lineage with more cards begins as a stretch of the newest generations. */
const MOST_CARDS = 64;
const NEWEST = 40;

/** The reader's choices. `chosen`: what the panel shows, as its id; `hops`: steps of the neighbourhood, 0 for none;
 * `marked`: numbers that stay bright, or null; `opened`: numbers of unfolded generations. */
export const view = { chosen: null, from: 0, to: nodes.length - 1, isFolding: true, hops: 0, marked: null,
  opened: new Set() };

/** Gives the number of the chosen generation; null if none is chosen. */
export function chosenNumber() {
  const found = /^gen-(\d+)$/.exec(view.chosen || "");
  return found && nodes[found[1]] ? Number(found[1]) : null;
}

/** Shows the generations `from` to `to`, as far as there are any. */
export function setStretch(from, to) {
  const wide = Math.min(Math.max(to - from, 0), nodes.length - 1);
  view.from = Math.max(0, Math.min(Math.round(from), nodes.length - 1 - Math.round(wide)));
  view.to = view.from + Math.round(wide);
}

/** Moves the stretch to a generation that is outside it. */
export function reach(number) {
  if (number >= view.from && number <= view.to) return;
  const half = Math.floor((view.to - view.from) / 2);
  setStretch(number - half, number - half + view.to - view.from);
}

/** Gives the cards to draw in order: each with the numbers of its generations, and why if it stands for several. */
export function items() {
  const number = chosenNumber();
  if (view.hops && number !== null) {
    return [...within(number, view.hops)].toSorted((a, b) => a - b).map(one => ({ numbers: [one], why: "" }));
  }
  const found = [];
  if (view.from > 0) found.push({ numbers: range(0, view.from - 1), why: "earlier" });
  const isFolding = view.isFolding && view.to - view.from + 1 > FOLD_BEYOND;
  for (let at = view.from; at <= view.to; at += 1) {
    const end = isFolding ? endOfRun(at) : at;
    if (end - at >= SHORTEST_RUN) {
      found.push({ numbers: range(at, end - 1), why: "promotions" });
      at = end - 1;
    } else found.push({ numbers: [at], why: "" });
  }
  if (view.to < nodes.length - 1) found.push({ numbers: range(view.to + 1, nodes.length - 1), why: "later" });
  return found;
}

/** Begins with the whole lineage if its cards are few, else with its newest generations. */
export function begin() {
  if (items().length > MOST_CARDS) setStretch(nodes.length - NEWEST, nodes.length - 1);
}

/** Gives the first number from `at` on that is no plain promotion, or the first after the stretch. */
function endOfRun(at) {
  let end = at;
  while (end <= view.to && isPlain(nodes[end])) end += 1;
  return end;
}

/** Says whether a generation is one promotion among others, with nothing of its own to see. */
function isPlain(node) {
  return node.status === "promoted" && node.on_path && node.number >= KEPT_FIRST &&
    node.number < nodes.length - KEPT_LAST && node.number !== data.champion && node.number !== chosenNumber() &&
    node.parents.length === 1 && node.children.length === 1 && !node.worse.length && !node.findings.length &&
    !view.opened.has(node.number) && !(view.marked && view.marked.has(node.number));
}

export const range = (from, to) => Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
