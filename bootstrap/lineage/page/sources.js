// The panel of what is no generation: replayed answers, models outside the lineage, held-out prompts.

import { downstream, nodes, pools, prompts } from "./data.js";
import { make, shortened, toGeneration } from "./dom.js";
import { identifiers, table } from "./fields.js";

export const heading = text => make("h3", {}, text);
const plainBadge = text => make("span", { class: "badge" }, text);
export const remark = text => make("p", { class: "sub" }, text);

/** Makes the panel's head. `badge`: an element; `more`: further ones before the button that closes it. */
export function panelHead(title, badge, { close }, more = []) {
  return make("header", {}, make("h2", {}, title), badge, make("nav", {},
    ...more.filter(Boolean), make("button", { class: "plain", type: "button", onclick: close }, "close")));
}

/** Verified answers of one generation that others replayed. */
export function describePool(pool, actions) {
  const maker = nodes[pool.producer], place = pools.indexOf(pool);
  return [panelHead("Replayed answers", plainBadge("data"), actions),
    make("p", {}, "Verified answers of ", toGeneration(maker.number), ", as the generations below trained on them."),
    heading("Identity"), identifiers([["sha256", pool.digest]]),
    ...used([["trained on them", pool.users]], downstream(node => node.data.includes(place)), actions)];
}

/** A model outside the lineage. */
export function describeModel(model, actions) {
  const roles = new Map();
  for (const { role, number } of model.users) roles.set(role, [...(roles.get(role) || []), number]);
  return [panelHead(model.source, plainBadge("model"), actions), make("p", {}, "A model outside the lineage."),
    heading("Identity"), identifiers([["name", model.source], ["fingerprint", model.fingerprint]]),
    ...used([...roles], downstream(node => node.edges.some(edge => edge.model === model)), actions)];
}

/** The held-out prompts that some generations were evaluated on. */
export function describePrompts(id, actions) {
  const digest = prompts.get(id), asked = nodes.filter(node => node.suite === digest).map(node => node.number);
  return [panelHead("Held-out prompts", plainBadge("frozen"), actions),
    make("p", {}, "The prompts of an evaluation; no generation trains on them."),
    heading("Identity"), identifiers([["sha256", digest]]),
    heading("Evaluated on them"), make("p", {}, shortened(asked.map(toGeneration)))];
}

/** If what the panel shows is bad: who used it, and all that descends from those. */
function used(roles, all, { taint }) {
  return [heading("Used by"),
    table(["as", "generation"], roles.map(([role, numbers]) => [role, shortened(numbers.map(toGeneration))]),
      { isText: true }),
    heading("If it is bad"), remark(`${all.size} of ${nodes.length} generations descend from it.`),
    make("p", {}, shortened([...all].map(toGeneration))),
    make("p", {}, make("button", { class: "plain", type: "button", onclick: () => taint(all, "downstream") },
      "mark them in the graph"))];
}
