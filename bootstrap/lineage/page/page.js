// The main module: draws every part of the page, and opens generations, data sets and models in the panel.

import { models, nodes, pools, prompts } from "./data.js";
import { byId } from "./dom.js";
import { OPTIONAL, family } from "./edges.js";
import { showHead } from "./head.js";
import { showHeatNotes, updateHeat } from "./heat.js";
import { showOverview, updateOverview } from "./overview.js";
import { describe } from "./panel.js";
import { follow, leavePlace, listen } from "./route.js";
import { mark, showSearch, unmark } from "./search.js";
import { describeModel, describePool, describePrompts } from "./sources.js";
import { cardOf, graph, layout } from "./spine.js";
import { showSuites } from "./suites.js";
import { FOLD_BEYOND, begin, chosenNumber, reach, view } from "./view.js";
import { showWhy } from "./why.js";

/** Fewest generations with a search. */
const FEWEST_SEARCHED = 6;

const panel = byId("panel");

function update() {
  const number = chosenNumber();
  byId("near").hidden = number === null;
  byId("near-of").textContent = "around gen-" + number;
  layout(update);
  updateOverview();
  updateHeat();
}

/** Opens the place with an id in the panel; an empty one closes it. Gives whether there is such a place. */
function open(id) {
  const content = contentOf(id);
  if (id && !content) return false;
  const before = chosenNumber(), isAgain = Boolean(id) && id === view.chosen;
  const isInside = panel.contains(document.activeElement);
  view.chosen = id || null;
  panel.hidden = !id;
  document.body.classList.toggle("open", Boolean(id));
  const number = chosenNumber();
  if (number === null) wholeLineage(); else reach(number);
  if (id) {
    panel.replaceChildren(...content);
    panel.scrollTop = 0;
  }
  update();
  const card = cardOf(number === null ? before : number);
  if (card && (number !== null || !id)) card.scrollIntoView({ block: "nearest", inline: "nearest" });
  // Who opens a generation from its card goes on among the cards, and with Enter again into the panel.
  if (id && (isAgain || isInside || number === null || !card)) panel.focus({ preventScroll: true });
  else if (card) card.focus({ preventScroll: true });
  return true;
}

/** Ends the view of a neighbourhood. */
function wholeLineage() {
  view.hops = 0;
  byId("hops").value = "0";
}

/** Gives the panel's elements for an id; null without such a place. */
function contentOf(id) {
  const actions = { close: leavePlace, taint: (numbers, words) => { mark(numbers, words); update(); } };
  const found = /^gen-(\d+)$/.exec(id);
  if (found) return nodes[found[1]] ? describe(nodes[found[1]], actions) : null;
  const pool = pools.find(one => one.id === id), model = models.find(one => one.id === id);
  if (pool) return describePool(pool, actions);
  if (model) return describeModel(model, actions);
  return prompts.has(id) ? describePrompts(id, actions) : null;
}

/** Moves the focus from a card: to the next or previous one, up to the parent, down to a child. */
function move(event) {
  const card = document.activeElement && document.activeElement.closest("#graph .node");
  if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = [...graph.querySelectorAll(".node")], node = nodes[card.dataset.number];
  const near = { ArrowRight: () => all[all.indexOf(card) + 1], ArrowLeft: () => all[all.indexOf(card) - 1],
    ArrowUp: () => node && cardOf(node.parents[0]), ArrowDown: () => node && cardOf(node.children[0]) }[event.key];
  const found = near && near();
  if (!found) return;
  found.focus();
  event.preventDefault();
}

showHead();
begin();
showSuites();
showHeatNotes();
showWhy();
showOverview(() => {
  wholeLineage();
  update();
});
showSearch(update);
byId("finder").hidden = byId("searches").hidden = nodes.length < FEWEST_SEARCHED;
for (const role of [...OPTIONAL, "merged"]) {
  const isThere = nodes.some(node => node.edges.some(edge => family(edge.role) === role && edge.from !== null));
  const isLabel = role === "teacher" && models.length > 0;
  if (role !== "data") byId("has-" + role).hidden = !isThere && !isLabel;
}
for (const role of OPTIONAL) byId("show-" + role).addEventListener("change", update);
byId("has-fold").hidden = nodes.length <= FOLD_BEYOND;
byId("show-fold").addEventListener("change", event => {
  view.isFolding = event.target.checked;
  view.opened.clear();
  update();
});
byId("hops").addEventListener("change", event => {
  view.hops = Number(event.target.value);
  update();
});
graph.addEventListener("click", event => {
  const edge = event.target instanceof Element && event.target.closest("[data-edge]");
  if (edge) follow("gen-" + edge.dataset.edge.split(" ")[2]);
});
addEventListener("keydown", event => {
  const isTyping = event.target instanceof Element && event.target.matches("input, select");
  if (event.key === "Escape" && view.marked) {
    unmark();
    update();
  } else if (event.key === "Escape" && view.chosen !== null) leavePlace();
  if (event.key === "/" && !isTyping && nodes.length >= FEWEST_SEARCHED) {
    byId("search").focus();
    event.preventDefault();
  }
  move(event);
});
new ResizeObserver(() => layout(update)).observe(graph.parentElement);
addEventListener("beforeprint", () => layout(update));
listen(open);
document.body.dataset.ready = "true";
