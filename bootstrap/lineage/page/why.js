// The gate's decisions that made the champion, as `bootstrap why` tells them; the middle of a long list is behind a
// button.

import { data, nodes } from "./data.js";
import { byId, make, toGeneration } from "./dom.js";

/** Longest list that is shown in full; of a longer one, its first and last decisions. */
const SHOWN = 16;
const SHOWN_FIRST = 3;
const SHOWN_LAST = 8;

export function showWhy() {
  const path = data.why.map(number => nodes[number]), list = byId("why");
  if (path.length <= SHOWN) {
    list.append(...path.map(decision));
    return;
  }
  const middle = path.slice(SHOWN_FIRST, -SHOWN_LAST);
  const more = make("li", {}, make("span", {}), make("span", {}), make("span", {},
    make("button", { class: "plain", type: "button", onclick: () => more.replaceWith(...middle.map(decision)) },
      `show ${middle.length} more`)));
  list.append(...path.slice(0, SHOWN_FIRST).map(decision), more, ...path.slice(-SHOWN_LAST).map(decision));
}

const decision = node => make("li", {}, make("b", {}, toGeneration(node.number)),
  make("span", { class: "sub" }, "frontier " + node.frontier), make("span", {}, node.reason));
