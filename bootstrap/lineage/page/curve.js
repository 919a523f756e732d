// A small curve over all generations.

import { nodes } from "./data.js";
import { draw } from "./dom.js";

/** Of the picture, in its own units, which are stretched to the room. */
const CURVE_WIDTH = 300;
const CURVE_HEIGHT = 46;
const CURVE_EDGE = 4;

/** Draws shares by generation (null leaves one out): a line along the champion's path, dots off it, and red ones.
 * `worse`: numbers of the generations with red dots; `words`: the picture in a sentence. */
export function curve(shares, worse, words) {
  const apart = (CURVE_WIDTH - 2 * CURVE_EDGE) / (nodes.length - 1);
  const x = number => nodes.length > 1 ? CURVE_EDGE + number * apart : CURVE_WIDTH / 2;
  const y = share => CURVE_HEIGHT - 5 - share * (CURVE_HEIGHT - 10);
  const known = nodes.filter(node => shares[node.number] !== null && shares[node.number] !== undefined);
  const point = node => `${x(node.number).toFixed(1)},${y(shares[node.number]).toFixed(1)}`;
  const picture = draw("svg", { viewBox: `0 0 ${CURVE_WIDTH} ${CURVE_HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": words });
  const stroke = (d, colour, width) => picture.append(draw("path", { d, fill: "none", stroke: colour,
    "stroke-width": width, "stroke-linejoin": "round", "stroke-linecap": "round",
    "vector-effect": "non-scaling-stroke" }));
  // A line of length zero with round caps stays a circle however the picture is stretched.
  const dots = some => some.map(node => `M${point(node)}h0`).join("");
  const isBad = new Set(worse), size = nodes.length > 200 ? 2.5 : nodes.length > 40 ? 4 : 6;
  stroke(`M0,${y(0)}H${CURVE_WIDTH}`, "var(--rule)", 1);
  stroke(dots(known.filter(node => !node.on_path)), "var(--dead)", size);
  const path = known.filter(node => node.on_path);
  if (path.length) stroke("M" + path.map(point).join("L"), "var(--accent)", 2);
  if (nodes.length <= 40) stroke(dots(path), "var(--accent)", size);
  stroke(dots(known.filter(node => isBad.has(node.number))), "var(--bad)", size);
  return picture;
}
