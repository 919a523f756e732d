// The overview of a long lineage: every generation as a mark, and the stretch that the graph below shows.

import { nodes } from "./data.js";
import { byId, draw } from "./dom.js";
import { chosenNumber, setStretch, view } from "./view.js";

/** Number of generations from which there is an overview. */
const FROM = 25;
/** Height, and where the marks of generations off the path begin, in pixels. */
const STRIP_HEIGHT = 64;
const STRIP_LOW = 54;
/** Fewest generations in view. */
const FEWEST = 5;

const strip = byId("strip");
const numAll = nodes.length;
const stretch = draw("rect", { y: 0, height: STRIP_HEIGHT, class: "stretch" });
const marked = draw("path", { class: "marks" });
const chosenMark = draw("path", { class: "place" });

const hasOverview = numAll >= FROM;

/** Draws the marks, and listens. `changed`: called when the reader moves the stretch. */
export function showOverview(changed) {
  byId("overview").hidden = !hasOverview;
  if (!hasOverview) return;
  const highest = Math.max(1, ...nodes.map(node => node.frontier));
  const y = node => (STRIP_LOW - 6 - node.frontier / highest * (STRIP_LOW - 12)).toFixed(1);
  const onPath = nodes.filter(node => node.on_path);
  const ticks = status => nodes.filter(node => node.status === status)
    .map(node => `M${node.number + .5},${STRIP_LOW}V${STRIP_HEIGHT - 2}`).join("");
  const line = "M" + onPath.map(node => `${node.number + .5},${y(node)}`).join("L");
  const picture = draw("svg",
    { viewBox: `0 0 ${numAll} ${STRIP_HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    stretch, draw("path", { d: line, class: "champions" }), draw("path", { d: ticks("rejected"), class: "dead" }),
    draw("path", { d: ticks("ungated"), class: "ungated" }), marked, chosenMark);
  strip.append(picture);
  const act = (name, move) => byId(name).addEventListener("click", () => { move(); changed(); });
  act("zoom-in", () => zoom(.5));
  act("zoom-out", () => zoom(2));
  act("zoom-all", () => setStretch(0, numAll - 1));
  strip.addEventListener("keydown", event => {
    const wide = view.to - view.from + 1, step = Math.max(1, Math.round(wide / 4));
    const move = { ArrowLeft: () => shift(-step), ArrowRight: () => shift(step), Home: () => shift(-numAll),
      End: () => shift(numAll), "+": () => zoom(.5), "=": () => zoom(.5), "-": () => zoom(2) }[event.key];
    if (!move) return;
    event.preventDefault();
    move();
    changed();
  });
  listenToPointer(changed);
}

/** A press moves the stretch there; a drag from an end of it changes its length. */
function listenToPointer(changed) {
  let grip = null;
  const at = event => {
    const box = strip.getBoundingClientRect();
    return (event.clientX - box.left) / box.width * numAll;
  };
  strip.addEventListener("pointerdown", event => {
    const here = at(event), near = 8 / strip.clientWidth * numAll;
    if (Math.abs(here - view.from) < near) grip = "from";
    else if (Math.abs(here - view.to - 1) < near) grip = "to";
    else grip = here > view.from && here < view.to + 1 ? here - view.from : (view.to - view.from + 1) / 2;
    strip.setPointerCapture(event.pointerId);
    strip.focus();
    drag(event);
  });
  strip.addEventListener("pointermove", drag);
  strip.addEventListener("pointerup", () => { grip = null; });
  strip.addEventListener("pointercancel", () => { grip = null; });

  function drag(event) {
    if (grip === null) return;
    const here = at(event);
    if (grip === "from") setStretch(Math.min(Math.max(0, here), view.to - FEWEST + 1), view.to);
    else if (grip === "to") setStretch(view.from, Math.max(Math.min(numAll - 1, here - 1), view.from + FEWEST - 1));
    else setStretch(here - grip, here - grip + view.to - view.from);
    changed();
  }
}

function shift(by) { setStretch(view.from + by, view.to + by); }

/** Makes the stretch longer or shorter around its middle, or around the chosen generation if that is in it. */
function zoom(factor) {
  const wide = Math.min(numAll, Math.max(FEWEST, Math.round((view.to - view.from + 1) * factor)));
  const number = chosenNumber();
  const middle = number !== null && number >= view.from && number <= view.to ? number : (view.from + view.to) / 2;
  setStretch(middle - (wide - 1) / 2, middle + (wide - 1) / 2);
}

/** Shows where the stretch, the chosen generation and the marked ones are. */
export function updateOverview() {
  if (!hasOverview) return;
  stretch.setAttribute("x", view.from);
  stretch.setAttribute("width", view.to - view.from + 1);
  const number = chosenNumber(), found = view.marked ? [...view.marked] : [];
  marked.setAttribute("d", found.map(one => `M${one + .5},0V7`).join(""));
  chosenMark.setAttribute("d", number === null ? "" : `M${number + .5},0V${STRIP_HEIGHT}`);
  const told = view.from === 0 && view.to === numAll - 1 ? `all ${numAll.toLocaleString("en")} generations`
    : `gen-${view.from} to gen-${view.to} of ${numAll.toLocaleString("en")}`;
  strip.setAttribute("aria-valuenow", view.from);
  strip.setAttribute("aria-valuemax", numAll - 1);
  strip.setAttribute("aria-valuetext", told);
  byId("stretch-told").textContent = told;
}
