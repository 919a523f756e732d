// The arrows between cards: one style of line for each family of roles, explained by the key above the picture.

import { nodes, pools } from "./data.js";
import { byId, draw } from "./dom.js";
import { edgeWords } from "./words.js";

/** Families that a checkbox shows or hides. */
export const OPTIONAL = ["teacher", "data", "reference", "sampler", "judge"];
/** Gives the family that an edge's role is drawn as. */
export const family = role => role === "voter" ? "judge" : role;

const STYLES = {
  path: { stroke: "var(--accent)", width: 3.5, dash: "", offset: 0 },
  init: { stroke: "var(--dead)", width: 2, dash: "", offset: 0 },
  teacher: { stroke: "var(--teacher)", width: 1.8, dash: "7 4", offset: -5 },
  reference: { stroke: "var(--gold)", width: 1.8, dash: "7 4", offset: 7 },
  merged: { stroke: "var(--accent)", width: 1.8, dash: "7 4", offset: -9 },
  sampler: { stroke: "var(--good)", width: 1.8, dash: "7 4", offset: 10 },
  judge: { stroke: "var(--bad)", width: 1.8, dash: "2 4", offset: 2 },
  data: { stroke: "var(--data)", width: 1.8, dash: "2 4", offset: 4 },
};
/** Higher ranks are drawn on top. */
const RANK = { data: 0, judge: 1, reference: 2, sampler: 3, teacher: 4, merged: 5, init: 6 };

/** Draws all visible edges. `places`: number of a generation -> place of its card; `rows`: of cards, their tops,
 * channels, and columns of the cards in the upper lane; `gap`: between cards; `chosen`: the generation whose edges are
 * all visible; `density`: of the cards. Lengths are in pixels. */
export function drawEdges(picture, { places, rows, gap, width, height, chosen, density }) {
  picture.replaceChildren();
  picture.setAttribute("width", width);
  picture.setAttribute("height", height);
  picture.append(tips());
  const drawn = new Set(), scale = Math.min(1, gap / 30);
  for (const edge of visible(places, chosen, density)) {
    const from = places.get(edge.from), to = places.get(edge.to);
    if (!from || !to || from === to) continue;
    const kind = edge.isOnPath ? "path" : family(edge.role), style = STYLES[kind], offset = style.offset * scale;
    const shift = edge.role === "init" ? 0 : offset * 2.2;
    const a = { ...from, y: from.y + shift }, b = { ...to, y: to.y + shift };
    const isStraight = edge.role === "init" && isClear(from, to, rows);
    const path = rounded(isStraight ? [[a.right, a.y], [b.left, b.y]] : route(a, b, rows, { gap, offset }));
    if (drawn.has(kind + path)) continue;
    drawn.add(kind + path);
    const isFaint = edge.role === "data" && edge.to !== chosen;
    picture.append(draw("path", { d: path, fill: "none", stroke: style.stroke, "stroke-width": style.width * scale,
      "stroke-dasharray": style.dash, "marker-end": `url(#tip-${kind})`, opacity: isFaint ? .45 : 1,
      "data-edge": `${edge.role} ${edge.from} ${edge.to}` }, title(edge)));
  }
}

/** Gives the edges to draw, lowest rank first. The many edges of data are drawn for a few cards alone. */
function visible(places, chosen, density) {
  const found = [];
  for (const number of places.keys()) {
    const node = nodes[number], isChosen = number === chosen;
    const isSparse = density === "dots" || places.get(number).isFold;
    for (const edge of node.edges) {
      const role = family(edge.role), isWanted = !OPTIONAL.includes(role) || byId("show-" + role).checked;
      if (edge.from !== null && (isChosen || (isWanted && (!isSparse || role === "init")))) found.push(edge);
    }
    if (!isChosen && (isSparse || !byId("show-data").checked)) continue;
    for (const one of node.data) found.push({ role: "data", from: pools[one].producer, to: number, isOnPath: false });
  }
  return found.toSorted((a, b) => RANK[family(a.role)] - RANK[family(b.role)] || a.isOnPath - b.isOnPath);
}

function title(edge) {
  const element = draw("title", {});
  element.textContent = edgeWords(edge, nodes[edge.to]);
  return element;
}

function tips() {
  const marks = draw("defs", {});
  for (const [name, style] of Object.entries(STYLES)) {
    const mark = draw("marker", { id: "tip-" + name, viewBox: "0 0 8 8", refX: 7.4, refY: 4, markerWidth: 9,
      markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" });
    mark.append(draw("path", { d: "M0,0.6 L8,4 L0,7.4 z", fill: style.stroke }));
    marks.append(mark);
  }
  return marks;
}

/** Says whether a straight line from one place to another crosses no card. */
function isClear(from, to, rows) {
  return from.row === to.row && from.column < to.column && !from.low && !to.low &&
    rows[from.row].high.every(column => column <= from.column || column >= to.column);
}

/** Gives the corners of a line between two cards through the channels between rows and columns. */
function route(from, to, rows, { gap, offset }) {
  const x1 = from.right, x2 = to.left, out = x1 + gap / 2 + offset, into = x2 - gap / 2 + offset;
  const channel = from.row !== to.row ? rows[to.row].top - gap / 2 - 4 : rows[from.row].channel;
  if (from.row === to.row && from.column + 1 === to.column) {
    if (Math.abs(from.y - to.y) < 1) return [[x1, from.y], [x2, to.y]];
    return [[x1, from.y], [out, from.y], [out, to.y], [x2, to.y]];
  }
  return [[x1, from.y], [out, from.y], [out, channel + offset], [into, channel + offset], [into, to.y], [x2, to.y]];
}

/** Gives a path through the corners, each rounded as far as its sides allow. */
function rounded(corners) {
  let path = `M${corners[0]}`;
  for (let index = 1; index < corners.length - 1; index += 1) {
    const [ax, ay] = corners[index - 1], [bx, by] = corners[index], [cx, cy] = corners[index + 1];
    const before = Math.hypot(bx - ax, by - ay), after = Math.hypot(cx - bx, cy - by);
    const r = Math.min(8, before / 2, after / 2);
    if (r < .5) { path += `L${bx},${by}`; continue; }
    path += `L${bx - (bx - ax) / before * r},${by - (by - ay) / before * r}` +
      `Q${bx},${by} ${bx + (cx - bx) / after * r},${by + (cy - by) / after * r}`;
  }
  return path + `L${corners[corners.length - 1]}`;
}
