// The main module: draws every part of the page and handles the choice of a generation.

import { data, nodes, numbers } from "./data.js";
import { byId } from "./dom.js";
import { OPTIONAL, family } from "./edges.js";
import { showHead } from "./head.js";
import { showHeat } from "./heat.js";
import { describe } from "./panel.js";
import { cards, graph, layout, view } from "./spine.js";
import { showWhy } from "./why.js";

/** Chooses a generation; choosing it again closes it. */
function choose(number) {
  const again = view.chosen === number, panel = byId("panel");
  view.chosen = again ? null : number;
  cards.forEach((element, index) => {
    const isChosen = nodes[index].number === view.chosen;
    element.classList.toggle("chosen", isChosen);
    element.setAttribute("aria-pressed", String(isChosen));
  });
  panel.hidden = again;
  document.body.classList.toggle("open", !again);
  if (!again) describe(panel, nodes[numbers.get(number)], () => choose(number));
  layout();
  if (again && cards[numbers.get(number)]) cards[numbers.get(number)].focus();
}

/** Moves the focus from a card to the next or previous visible one. */
function move(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const at = document.activeElement && document.activeElement.dataset.number;
  if (!step || at === undefined || at === null) return;
  let index = numbers.get(Number(at)) + step;
  while (cards[index] && cards[index].hidden) index += step;
  if (!cards[index]) return;
  cards[index].focus();
  event.preventDefault();
}

showHead();
showHeat(choose);
showWhy();
for (const role of [...OPTIONAL, "merged"]) {
  if (role !== "data") byId("has-" + role).hidden = !data.edges.some(edge => family(edge.role) === role);
}
for (const role of OPTIONAL) byId("show-" + role).addEventListener("change", layout);
cards.forEach((element, index) => element.addEventListener("click", () => choose(nodes[index].number)));
addEventListener("keydown", event => {
  if (event.key === "Escape" && view.chosen !== null) choose(view.chosen);
  move(event);
});
new ResizeObserver(layout).observe(graph.parentElement);
addEventListener("beforeprint", layout);
layout();
document.body.dataset.ready = "true";
