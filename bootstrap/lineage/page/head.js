// The title and the tiles below it: the lineage in six numbers.

import { champion, data, nodes } from "./data.js";
import { byId, draw, make } from "./dom.js";
import { duration, flop, percent, si } from "./words.js";

const count = status => nodes.filter(node => node.status === status).length;
const total = pick => nodes.reduce((sum, node) => sum + pick(node), 0);

export function showHead() {
  document.title = data.lineage + " lineage";
  byId("title").textContent = data.lineage;
  byId("subtitle").textContent = champion
    ? `${champion.name} is the champion: frontier level ${champion.frontier}` +
      (nodes.length > 1 ? `, from level ${nodes[0].frontier} at the base` : "") + "."
    : "No generation is committed yet.";
  if (!champion) return;
  const ungated = count("ungated") ? `, ${count("ungated")} ungated` : "";
  tile("Champion", champion.name, champion.headline === null ? "" :
    `level ${champion.headline}: ${percent(champion.accuracy[champion.headline].accuracy)}`);
  tile("Frontier", `level ${champion.frontier}`, "all levels up to it are mastered", sparkline());
  tile("Generations", String(nodes.length), `${count("promoted")} promoted, ${count("rejected")} rejected${ungated}`);
  tile("Tokens", si(total(node => node.tokens.total)), "in all phases");
  tile("Compute", flop(total(node => node.flops.total)), "computed, not measured");
  tile("Time", duration(total(node => node.seconds.total)), "all stages");
}

function tile(name, value, more, extra) {
  byId("tiles").append(make("div", { class: "tile" + (extra ? " wide" : "") },
    make("div", { class: "name" }, name), make("div", { class: "value" }, value), extra,
    more && make("div", { class: "more" }, more)));
}

/** Draws the frontier by generation: a line along the champion path, a dot for each generation. */
function sparkline() {
  const width = 300, height = 46, top = Math.max(1, ...nodes.map(node => node.frontier));
  const x = index => nodes.length > 1 ? 4 + index * (width - 8) / (nodes.length - 1) : width / 2;
  const y = value => height - 5 - value / top * (height - 10);
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img",
    "aria-label": "Frontier by generation: " + nodes.map(node => node.frontier).join(", ") });
  picture.append(draw("line", { x1: 0, x2: width, y1: y(0), y2: y(0), stroke: "var(--rule)",
    "vector-effect": "non-scaling-stroke" }));
  const on = nodes.map((node, index) => [node, index]).filter(([node]) => node.on_path);
  picture.append(draw("polyline", { points: on.map(([node, index]) => x(index) + "," + y(node.frontier)).join(" "),
    fill: "none", stroke: "var(--accent)", "stroke-width": 2.5, "stroke-linejoin": "round",
    "vector-effect": "non-scaling-stroke" }));
  nodes.forEach((node, index) => {
    // A zero-length line with a round cap stays a circle however the picture is stretched.
    picture.append(draw("line", { x1: x(index), x2: x(index), y1: y(node.frontier), y2: y(node.frontier),
      "stroke-linecap": "round", stroke: node.status === "rejected" ? "var(--dead)" : "var(--accent)",
      "stroke-width": nodes.length > 40 ? 4 : 7, "vector-effect": "non-scaling-stroke" }));
  });
  return picture;
}
