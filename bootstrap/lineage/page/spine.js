// The graph of generations: cards in rows, rejected ones lower, edges in the channels between.

import { card, describeFold, foldCard, label } from "./cards.js";
import { isCompact, nodes } from "./data.js";
import { byId, draw } from "./dom.js";
import { drawEdges } from "./edges.js";

const FOLD_FROM = 50;
/** Number of generations at both ends of a long lineage that are never folded. */
const KEPT_FIRST = 6, KEPT_LAST = 20;

/** The reader's choices: the number of the chosen generation, and whether the folded middle is open. */
export const view = { chosen: null, unfolded: false };
export const graph = byId("graph");
export const cards = nodes.map(card);

const picture = draw("svg", { "aria-hidden": "true" });
const labels = nodes.map(label);
const fold = foldCard(() => { view.unfolded = true; layout(); });
graph.append(picture, ...cards, ...labels.filter(Boolean), fold);
byId("fold").addEventListener("click", () => { view.unfolded = false; layout(); });

/** Places cards, labels and edges in the available width. */
export function layout() {
  graph.classList.toggle("compact", isCompact);
  const width = graph.clientWidth, gap = isCompact ? 26 : 34, least = isCompact ? 150 : 176;
  const edge = gap / 2 + 2, room = width - 2 * edge;
  const items = visible();
  let columns = Math.max(1, Math.floor((room + gap) / (least + gap)));
  columns = Math.max(1, Math.ceil(items.length / Math.ceil(items.length / columns)));
  const cell = Math.min((room - gap * (columns - 1)) / columns, least * 1.35);
  const { places, rows, height } = place(items, { columns, cell, gap, edge });
  graph.style.height = height + "px";
  drawEdges(picture, { places, rows, gap, width, height: parseFloat(graph.style.height), chosen: view.chosen });
}

/** Shows and hides cards and labels; gives the visible cards in order, each with the indices that it stands for. */
function visible() {
  const folded = nodes.length > FOLD_FROM && !view.unfolded
    ? { from: KEPT_FIRST, to: nodes.length - KEPT_LAST - 1 } : null;
  const items = [];
  nodes.forEach((node, index) => {
    const inside = folded !== null && index >= folded.from && index <= folded.to;
    cards[index].hidden = inside;
    if (labels[index]) {
      const wanted = node.forked_from || node.number === view.chosen || byId("show-teacher").checked;
      labels[index].hidden = inside || !wanted;
    }
    const low = node.status === "rejected";
    if (!inside) items.push({ element: cards[index], label: labels[index], stands: [index], low });
    else if (index === folded.from) items.push({ element: fold, label: null, stands: range(folded), low: false });
  });
  fold.hidden = folded === null;
  if (folded !== null) describeFold(fold, nodes.slice(folded.from, folded.to + 1));
  byId("fold").hidden = nodes.length <= FOLD_FROM || !view.unfolded;
  return items;
}

const range = ({ from, to }) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** Puts the cards into rows; gives each node's place, the rows' tops and channels, and the total height. */
function place(items, { columns, cell, gap, edge }) {
  const staged = nodes.some(node => node.stage) ? 17 : 0;
  const tall = (isCompact ? 52 : 138) + staged, short = (isCompact ? 52 : 108) + staged;
  const lane = isCompact ? 22 : 26, between = isCompact ? 34 : 40;
  const places = new Map(), rows = [];
  let y = 4;
  for (let start = 0; start < items.length; start += columns) {
    const row = items.slice(start, start + columns), two = row.some(item => item.low);
    row.forEach((item, column) => {
      const left = edge + column * (cell + gap), top = y + (item.low ? tall + lane : 0);
      const height = item.low ? short : tall, middle = top + Math.min(tall / 2, 34);
      const spot = { row: rows.length, column, left, right: left + cell, y: middle, low: item.low };
      Object.assign(item.element.style,
        { left: left + "px", top: top + "px", width: cell + "px", height: height + "px" });
      if (item.label) Object.assign(item.label.style,
        { left: left + 8 + "px", maxWidth: cell - 16 + "px", top: top + height - 9 + "px" });
      for (const index of item.stands) places.set(index, spot);
    });
    rows.push({ top: y, channel: y + tall + lane / 2 });
    y += tall + (two ? lane + short : 0) + between;
  }
  return { places, rows, height: y - between + 12 };
}
