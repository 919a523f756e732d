// The search: words and hashes of generations, whose cards and marks stand out.

import { nodes, statusOf } from "./data.js";
import { byId } from "./dom.js";
import { follow } from "./route.js";
import { chosenNumber, view } from "./view.js";

const texts = new Map();

/** Listens to the field. `changed`: called when other generations are marked. */
export function showSearch(changed) {
  const field = byId("search");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    view.marked = words.length ? new Set(nodes.filter(node => fits(node, words)).map(node => node.number)) : null;
    tell();
    changed();
  });
  field.addEventListener("keydown", event => {
    if (event.key === "Enter") jumpBy(event.shiftKey ? -1 : 1);
    if (event.key !== "Escape" || !field.value) return;
    event.stopPropagation();
    field.value = "";
    field.dispatchEvent(new Event("input"));
  });
  byId("previous").addEventListener("click", () => jumpBy(-1));
  byId("next").addEventListener("click", () => jumpBy(1));
}

/** Marks some generations. `words`: what they are. */
export function mark(numbers, words) {
  view.marked = numbers;
  byId("search").value = "";
  tell(words);
}

/** Marks none, and empties the field. */
export function unmark() {
  view.marked = null;
  byId("search").value = "";
  tell();
}

/** Opens the next marked generation after the chosen one, or before it; at the end it begins again. */
function jumpBy(way) {
  const marked = view.marked ? [...view.marked].toSorted((a, b) => way * (a - b)) : [];
  if (!marked.length) return;
  const number = chosenNumber(), found = marked.find(one => number === null || way * (one - number) > 0);
  follow("gen-" + (found === undefined ? marked[0] : found));
  byId("search").focus();
}

function tell(words = "match") {
  const count = view.marked && view.marked.size;
  byId("found").textContent = view.marked === null ? "" : `${count.toLocaleString("en")} of ${nodes.length} ${words}`;
  byId("previous").hidden = byId("next").hidden = !count;
}

function fits(node, words) {
  const text = textOf(node), names = text.split(" ", 2);
  // A number alone is a generation's; as part of hashes it would fit them all.
  return words.every(word => /^\d{1,5}$/.test(word) ? names.includes(word) : text.includes(word));
}

function textOf(node) {
  if (!texts.has(node.number)) {
    const models = node.edges.filter(edge => edge.model).map(edge => edge.model.source);
    texts.set(node.number, [node.number, node.name, statusOf(node), node.status, node.stage, node.reason,
      node.fingerprint, node.hash, ...node.target_levels.map(level => "level " + level), ...models,
      ...Object.values(node.identifiers), ...Object.values(node.environment)].join(" ").toLowerCase());
  }
  return texts.get(node.number);
}
