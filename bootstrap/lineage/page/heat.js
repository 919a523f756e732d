// The heat map: held-out accuracy of every generation at every level.

import { isCompact, nodes, parentOf } from "./data.js";
import { byId, make } from "./dom.js";
import { percent } from "./words.js";

/** Draws the map. `choose`: called with the number of the generation whose name is clicked. */
export function showHeat(choose) {
  const all = [...new Set(nodes.flatMap(node => Object.keys(node.accuracy).map(Number)))].toSorted((a, b) => b - a);
  const isTiny = isCompact && Math.max(nodes.length, all.length) > 40;
  const size = (isCompact ? " narrow" : "") + (isTiny ? " tiny" : "") + (nodes.length <= 8 ? " roomy" : "");
  const table = make("table", { class: "heat" + size });
  for (const level of all) {
    const name = !isTiny || level % 5 === 0 ? "level " + level : "";
    table.append(make("tr", {}, make("th", { class: "row", scope: "row" }, name),
      ...nodes.map(node => cell(node, level))));
  }
  table.append(make("tr", {}, make("th", { class: "row" }, isCompact ? "gen" : ""),
    ...nodes.map((node, index) => column(node, index, choose))));
  byId("heat").append(table);
  byId("heat-notes").append("Percent of held-out prompts with a right greedy answer.",
    ...swatch("border:2px solid var(--ink)", "target level of the generation"),
    ...swatch("height:4px;background:var(--gold);vertical-align:3px", "frontier: all levels up to it are mastered"),
    ...swatch("border-bottom:4px solid var(--bad);background:var(--page)", "below its parent, intervals do not overlap"));
}

const swatch = (style, words) => [make("i", { style }), words];

function cell(node, level) {
  const found = node.accuracy[level], td = make("td", {}), title = `${node.name}, level ${level}: `;
  if (found) {
    const share = Math.round(100 * found.accuracy), parent = parentOf(node), before = parent && parent.accuracy[level];
    td.style.background = `color-mix(in oklab, var(--heat) ${Math.max(6, share * .92)}%, var(--page))`;
    td.style.color = share > 58 ? "#fff" : "var(--ink)";
    if (!isCompact) td.textContent = brief(found.accuracy);
    td.title = title +
      `${percent(found.accuracy)} (${percent(found.low)} to ${percent(found.high)}), ${found.prompts} prompts`;
    if (before && found.high < before.low) {
      td.classList.add("worse");
      td.title += `; ${percent(before.accuracy)} in its parent`;
    }
  } else {
    td.className = "none";
    if (!isCompact) td.textContent = "·";
    td.title = title + "not evaluated";
  }
  if (node.target_levels.includes(level)) td.classList.add("target");
  if (node.frontier === level) td.classList.add("frontier");
  return td;
}

/** Makes the foot of a generation's column; with many columns, only every fifth and the last have a number. */
function column(node, index, choose) {
  const short = index % 5 === 0 || index === nodes.length - 1 ? String(node.number) : "·";
  return make("th", { scope: "col", class: node.on_path ? "path" : node.status },
    make("button", { type: "button", "aria-label": node.name, title: node.name, onclick: () => choose(node.number) },
      isCompact ? short : node.name));
}

/** Gives a share in percent that fits a cell, rounded down from 90 on, so that only a share of 1 is 100. */
function brief(share) {
  if (share === 1) return "100";
  return share < .9 ? (100 * share).toFixed(0) : (Math.floor(1000 * share) / 10).toFixed(1);
}
