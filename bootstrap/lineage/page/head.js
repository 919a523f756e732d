// The title and the tiles below it: the lineage in six numbers.

import { curve } from "./curve.js";
import { champion, data, nodes } from "./data.js";
import { byId, make, toGeneration } from "./dom.js";
import { duration, flop, percent, si } from "./words.js";

const countOf = status => nodes.filter(node => node.status === status).length;
const total = pick => nodes.reduce((sum, node) => sum + pick(node), 0);

export function showHead() {
  document.title = data.lineage + " lineage";
  byId("title").textContent = data.lineage;
  if (!champion) {
    byId("subtitle").textContent = "No generation is committed yet.";
    return;
  }
  byId("subtitle").append(toGeneration(champion.number), ` is the champion: frontier level ${champion.frontier}` +
    (nodes.length > 1 ? `, from level ${nodes[0].frontier} at the base` : "") + ".");
  const ungated = countOf("ungated") ? `, ${countOf("ungated")} ungated` : "";
  tile("Champion", toGeneration(champion.number), champion.headline === null ? "" :
    `level ${champion.headline}: ${percent(champion.accuracy[champion.headline].accuracy)}`);
  tile("Frontier", `level ${champion.frontier}`, "all levels up to it are mastered", sparkline());
  tile("Generations", nodes.length.toLocaleString("en"),
    `${countOf("promoted")} promoted, ${countOf("rejected")} rejected${ungated}`);
  tile("Tokens", si(total(node => node.tokens.total)), "in all phases");
  tile("Compute", flop(total(node => node.flops.total)), "computed, not measured");
  tile("Time", duration(total(node => node.seconds.total)), "all stages");
}

function tile(name, value, more, extra) {
  byId("tiles").append(make("div", { class: "tile" + (extra ? " wide" : "") },
    make("div", { class: "name" }, name), make("div", { class: "value" }, value), extra,
    more && make("div", { class: "more" }, more)));
}

/** Draws the frontier by generation: a line along the champion path, dots for the generations off it. */
function sparkline() {
  const highest = Math.max(1, ...nodes.map(node => node.frontier));
  return curve(nodes.map(node => node.frontier / highest), [],
    "Frontier by generation along the champion's path, up to level " + highest);
}
