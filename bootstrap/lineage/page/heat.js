// The heat map: held-out accuracy by level of the generations in view; a table, or a picture of very many cells.

import { levelsOf, nodes, parentOf, shareAt } from "./data.js";
import { byId, make, toGeneration } from "./dom.js";
import { heatPicture } from "./heatpicture.js";
import { items, range, view } from "./view.js";
import { percent } from "./words.js";

/** More cells than these become a picture. */
const MOST_CELLS = 3000;
/** Generations or levels up to which cells have numbers, are not tiny, and are wide. */
const MOST_NUMBERED = 24;
const MOST_WIDE = 40;
const FEW_COLUMNS = 8;

let drawnHeat = "";

/** Draws the map of the generations in view, unless it is drawnHeat. */
export function updateHeat() {
  const isNear = view.hops > 0;
  const some = isNear ? items().flatMap(item => item.numbers).map(number => nodes[number])
    : range(view.from, view.to).map(number => nodes[number]);
  const key = some.map(node => node.number).join();
  if (key === drawnHeat) return;
  drawnHeat = key;
  const levels = levelsOf(some).toReversed();
  const isPicture = some.length * levels.length > MOST_CELLS;
  byId("heat").replaceChildren(isPicture ? heatPicture(some, levels) : heatTable(some, levels));
}

/** Explains the marks. */
export function showHeatNotes() {
  byId("heat-notes").append("Percent of held-out prompts with a right greedy answer.",
    ...swatch("border:2px solid var(--ink)", "target level of the generation"),
    ...swatch("height:4px;background:var(--gold);vertical-align:3px", "frontier: all levels up to it are mastered"),
    ...swatch("border-bottom:4px solid var(--bad);background:var(--page)",
      "below its parent, intervals do not overlap"));
}

const swatch = (style, words) => [make("i", { style }), words];

function heatTable(some, levels) {
  const isCompact = some.length > MOST_NUMBERED, isTiny = isCompact && Math.max(some.length, levels.length) > MOST_WIDE;
  const size = (isCompact ? " narrow" : "") + (isTiny ? " tiny" : "") + (some.length <= FEW_COLUMNS ? " roomy" : "");
  const made = make("table", { class: "heat" + size });
  for (const level of levels) {
    const name = !isTiny || level % 5 === 0 ? "level " + level : "";
    made.append(make("tr", {}, make("th", { class: "row", scope: "row" }, name),
      ...some.map(node => cell(node, level, isCompact))));
  }
  made.append(make("tr", {}, make("th", { class: "row" }, isCompact ? "gen" : ""),
    ...some.map((node, index) => foot(node, isCompact && index % 5 && index < some.length - 1, isCompact))));
  return made;
}

function cell(node, level, isCompact) {
  const value = shareAt(node, level), td = make("td", {}), title = `${node.name}, level ${level}: `;
  if (value === undefined) {
    td.className = "none";
    if (!isCompact) td.textContent = "·";
    td.title = title + "not evaluated";
  } else {
    const share = Math.round(100 * value), exact = node.accuracy[level];
    const before = (parentOf(node) || node).accuracy[level];
    td.style.background = `color-mix(in oklab, var(--heat) ${Math.max(6, share * .92)}%, var(--page))`;
    td.style.color = share > 58 ? "#fff" : "var(--ink)";
    if (!isCompact) td.textContent = exact ? brief(value) : String(share);
    td.title = title + (exact
      ? `${percent(value)} (${percent(exact.low)} to ${percent(exact.high)}), ${exact.prompts} prompts`
      : `about ${share} %`);
    if (node.worse.includes(level)) {
      td.classList.add("worse");
      td.title += before ? `; ${percent(before.accuracy)} in its parent` : "; below its parent";
    }
  }
  if (node.target_levels.includes(level)) td.classList.add("target");
  if (node.frontier === level) td.classList.add("frontier");
  return td;
}

/** Makes the foot of a generation's column; with many columns, not every one has a number. */
function foot(node, isDot, isCompact) {
  const link = toGeneration(node.number);
  link.title = node.name;
  link.setAttribute("aria-label", node.name);
  if (isCompact) link.textContent = isDot ? "·" : String(node.number);
  return make("th", { scope: "col", class: node.on_path ? "path" : node.status }, link);
}

/** Gives a share in percent that fits a cell, rounded down from 90 on, so that only a share of 1 is 100. */
function brief(share) {
  if (share === 1) return "100";
  return share < .9 ? (100 * share).toFixed(0) : (Math.floor(1000 * share) / 10).toFixed(1);
}
