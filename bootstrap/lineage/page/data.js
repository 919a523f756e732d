// The lineage as the page carries it, and what several parts of the page ask of it.

import { byId } from "./dom.js";

export const data = JSON.parse(byId("data").textContent);
export const nodes = data.nodes;
/** Generation number -> index in `nodes`. */
export const numbers = new Map(nodes.map((node, index) => [node.number, index]));
export const champion = nodes[numbers.get(data.champion)];
/** Whether there are so many generations that each gets less room. */
export const isCompact = nodes.length > 24;

export const parentOf = node => node.parent === null ? null : nodes[numbers.get(node.parent)];
export const statusOf = node => node.number === data.champion ? "champion" : node.status;

/** Gives the gain over the parent on the headline level, both measured on the same frozen prompts; null without one. */
export function gain(node) {
  if (node.parent === null || node.headline === null) return null;
  const own = node.accuracy[node.headline], before = parentOf(node).accuracy[node.headline];
  return own && before ? own.accuracy - before.accuracy : null;
}
