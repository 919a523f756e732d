// The graph of generations: cards in rows, rejected ones lower, edges in the channels between.

import { card, foldCard, label } from "./cards.js";
import { nodes } from "./data.js";
import { byId, draw } from "./dom.js";
import { drawEdges } from "./edges.js";
import { chosenNumber, items, setStretch, view } from "./view.js";

/** Sizes in pixels. `tall`: of a card, `short`: of a rejected one; `lane`: between the two, `between`: two rows. */
const SIZES = {
  roomy: { least: 176, gap: 34, tall: 182, short: 152, lane: 26, between: 40 },
  compact: { least: 150, gap: 26, tall: 52, short: 52, lane: 22, between: 34 },
  dots: { least: 38, gap: 12, tall: 22, short: 22, lane: 8, between: 16 },
};
/** Most cards of a size. */
const MOST_ROOMY = 24;
const MOST_COMPACT = 130;
/** Generations that a click on those outside the stretch adds. */
const MORE = 30;

export const graph = byId("graph");

const picture = draw("svg", { "aria-hidden": "true" });
const made = new Map();
let drawn = [];

/** Gives the card of a generation that is drawn; null if it is folded or outside the stretch. */
export const cardOf = number => graph.querySelector(`.node[data-number="${number}"]`);

/** Places cards, labels and edges in the available width. `changed`: called when a folded card is opened. */
export function layout(changed) {
  const found = items(), density = found.length <= MOST_ROOMY ? "roomy" : found.length <= MOST_COMPACT ? "compact"
    : "dots";
  const size = SIZES[density], width = graph.clientWidth, edge = size.gap / 2 + 2, room = width - 2 * edge;
  const shown = found.map(item => shownItem(item, density, changed));
  let columns = Math.max(1, Math.floor((room + size.gap) / (size.least + size.gap)));
  columns = Math.max(1, Math.ceil(shown.length / Math.ceil(shown.length / columns)));
  const cell = Math.min((room - size.gap * (columns - 1)) / columns, size.least * 1.35);
  const { places, rows, height } = placed(shown, { ...size, columns, cell, edge });
  graph.className = density;
  graph.style.height = height + "px";
  const elements = shown.flatMap(item => item.label ? [item.element, item.label] : [item.element]);
  // Elements that are put in again lose the focus, so nothing is put in again without need.
  if (elements.length !== drawn.length || elements.some((element, index) => element !== drawn[index])) {
    graph.replaceChildren(picture, ...elements);
    drawn = elements;
  }
  drawEdges(picture, { places, rows, gap: size.gap, width, height, chosen: chosenNumber(), density });
}

function shownItem({ numbers, why }, density, changed) {
  const [number] = numbers, node = nodes[number];
  if (why) {
    const last = numbers[numbers.length - 1];
    const element = kept(`${why} ${number} ${last}`, () => foldCard(numbers.map(one => nodes[one]), why, () => {
      if (why === "promotions") numbers.forEach(one => view.opened.add(one));
      else if (why === "earlier") setStretch(Math.max(0, view.from - MORE), view.to);
      else setStretch(view.from, Math.min(nodes.length - 1, view.to + MORE));
      changed();
    }));
    return { element, label: null, numbers, isLow: false };
  }
  const element = kept(`${density} ${number}`, () => card(node, density));
  const isChosen = number === chosenNumber();
  element.classList.toggle("chosen", isChosen);
  element.classList.toggle("dim", view.marked !== null && !view.marked.has(number));
  if (isChosen) element.setAttribute("aria-current", "true"); else element.removeAttribute("aria-current");
  const wanted = density !== "dots" && (node.forked_from || isChosen || byId("show-teacher").checked);
  return { element, label: wanted ? kept(`label ${number}`, () => label(node)) : null, numbers,
    isLow: node.status === "rejected" };
}

function kept(key, build) {
  if (!made.has(key)) made.set(key, build());
  return made.get(key);
}

/** Puts the cards into rows; gives each generation's place, the rows' tops and channels, and the total height. */
function placed(shown, { columns, cell, gap, edge, tall, short, lane, between }) {
  const places = new Map(), rows = [];
  let y = 4;
  for (let start = 0; start < shown.length; start += columns) {
    const row = shown.slice(start, start + columns);
    // A row of rejected ones alone, as every one on a narrow screen, needs no second lane.
    const isDouble = row.some(item => item.isLow) && !row.every(item => item.isLow);
    row.forEach((item, column) => {
      const isLower = isDouble && item.isLow;
      const left = edge + column * (cell + gap), low = isLower ? tall + lane : 0;
      const height = item.isLow ? short : tall, middle = y + low + Math.min(tall / 2, 34);
      const spot = { row: rows.length, column, left, right: left + cell, y: middle, low: isLower,
        isFold: item.numbers.length > 1 };
      Object.assign(item.element.style,
        { left: left + "px", top: y + low + "px", width: cell + "px", height: height + "px" });
      if (item.label) Object.assign(item.label.style,
        { left: left + 8 + "px", maxWidth: cell - 16 + "px", top: y + low + height - 9 + "px" });
      for (const number of item.numbers) places.set(number, spot);
    });
    const high = row.flatMap((item, column) => isDouble && item.isLow ? [] : [column]);
    rows.push({ top: y, channel: y + tall + lane / 2, high });
    y += tall + (isDouble ? lane + short : 0) + between;
  }
  return { places, rows, height: y - between + 12 };
}
