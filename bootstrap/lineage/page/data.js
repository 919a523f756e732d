// The lineage's data, and look-ups that several parts of the page share.

import { byId } from "./dom.js";

export const data = JSON.parse(byId("data").textContent);
export const nodes = data.nodes;
/** Generation number -> index in `nodes`. */
export const numbers = new Map(nodes.map((node, index) => [node.number, index]));
export const champion = nodes[numbers.get(data.champion)];
/** Whether each generation gets less room because there are many. */
export const isCompact = nodes.length > 24;

export const parentOf = node => node.parent === null ? null : nodes[numbers.get(node.parent)];
export const statusOf = node => node.number === data.champion ? "champion" : node.status;

/** Gives the gain over the parent on the headline level, on the same held-out prompts; null without a parent. */
export function gain(node) {
  if (node.parent === null || node.headline === null) return null;
  const own = node.accuracy[node.headline], before = parentOf(node).accuracy[node.headline];
  return own && before ? own.accuracy - before.accuracy : null;
}
