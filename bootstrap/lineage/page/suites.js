// The frozen suites: how each developed over the generations, regressions in red.

import { champion, data, nodes } from "./data.js";
import { curve } from "./curve.js";
import { byId, make, shortened, toGeneration } from "./dom.js";
import { percent, points } from "./words.js";

export function showSuites() {
  const known = data.suites.filter(suite => suite.values.some(value => value !== null));
  byId("suites-section").hidden = nodes.length < 2 || !known.length;
  for (const suite of known) {
    const first = suite.values.find(value => value !== null), now = suite.values[champion.number];
    const told = now === null ? "not measured for the champion"
      : `${percent(first)} → ${percent(now)} (${points(now - first)})`;
    byId("suites").append(make("div", { class: "suite" },
      make("div", { class: "name" }, suite.name),
      curve(suite.values, suite.worse,
        `${suite.name} by generation: ${told}; ${suite.worse.length} below their parent`),
      make("div", { class: "more" }, told),
      suite.worse.length
        ? make("div", { class: "more" }, make("span", { class: "down" }, "below the parent: "),
          shortened(suite.worse.toReversed().map(toGeneration), 6))
        : null));
  }
}
