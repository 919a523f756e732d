// The heat map of very many cells as a picture: a column a generation, a row a level.

import { shareAt } from "./data.js";
import { byId, make } from "./dom.js";
import { follow } from "./route.js";
import { percent } from "./words.js";

/** Of the picture and of its cells, in pixels. */
const LEAST_HEIGHT = 160;
const MOST_HEIGHT = 420;
const MOST_CELL = 14;

/** Makes the picture; a click on a column opens its generation. `levels`: highest first. */
export function heatPicture(some, levels) {
  const tall = Math.max(LEAST_HEIGHT, Math.min(MOST_HEIGHT, levels.length * MOST_CELL));
  const wide = Math.max(some.length, Math.min(some.length * MOST_CELL, byId("heat").clientWidth - 4));
  const scale = Math.max(1, Math.min(3, Math.ceil(2 * wide / some.length) / (wide / some.length)));
  const canvas = make("canvas", { class: "heat-picture", role: "img", width: Math.round(wide * scale),
    height: Math.round(tall * scale), "aria-label": `Accuracy of ${some.length} generations at ${levels.length} ` +
      "levels; the panel of a generation has its numbers" });
  canvas.style.height = tall + "px";
  paint(canvas, some, levels);
  const told = make("p", { class: "notes" }, "Point at a cell for its number; click to open its generation.");
  const find = event => {
    const box = canvas.getBoundingClientRect();
    return [some[part(event.clientX, box.left, box.width, some.length)],
      levels[part(event.clientY, box.top, box.height, levels.length)]];
  };
  canvas.addEventListener("pointermove", event => {
    const [node, level] = find(event), share = shareAt(node, level);
    told.textContent = `${node.name}, level ${level}: ${share === undefined ? "not evaluated" : percent(share)}` +
      (node.worse.includes(level) ? ", below its parent" : "");
  });
  canvas.addEventListener("click", event => follow(find(event)[0].name));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(canvas, some, levels));
  return make("div", {}, canvas, told);
}

/** Gives the index of the cell at a place: `from` and `size` of all `count` cells, in pixels. */
function part(value, from, size, count) {
  return Math.max(0, Math.min(count - 1, Math.floor((value - from) / size * count)));
}

function paint(canvas, some, levels) {
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const colour = name => style.getPropertyValue(name).trim();
  const wide = canvas.width / some.length, tall = canvas.height / levels.length;
  const heat = colour("--heat"), bad = colour("--bad"), gold = colour("--gold");
  pen.globalAlpha = 1;
  pen.fillStyle = colour("--page");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  some.forEach((node, column) => {
    const left = Math.floor(column * wide), width = Math.ceil((column + 1) * wide) - left;
    const worse = new Set(node.worse);
    levels.forEach((level, row) => {
      const share = shareAt(node, level), top = Math.floor(row * tall), height = Math.ceil((row + 1) * tall) - top;
      if (share === undefined) return;
      pen.globalAlpha = worse.has(level) ? .9 : Math.max(.06, share * .92);
      pen.fillStyle = worse.has(level) ? bad : heat;
      pen.fillRect(left, top, width, height);
      if (node.frontier !== level) return;
      pen.globalAlpha = 1;
      pen.fillStyle = gold;
      pen.fillRect(left, top, width, Math.max(2, height / 4));
    });
  });
}
