// Tables, bars and fields to copy from, for the panel.

import { leave, make } from "./dom.js";

/** Makes a table. `notes`: for each row, the text below it across all columns, if not empty; `isText`: whether the
 * columns are texts, not numbers. */
export function table(head, body, { notes = [], isText = false } = {}) {
  const made = make("table", { class: isText ? "texts" : "" });
  if (head.some(Boolean)) made.append(make("tr", {}, ...head.map(text => make("th", { scope: "col" }, text))));
  body.forEach((cells, index) => {
    made.append(make("tr", {}, ...cells.map(text => make("td", {}, text))));
    if (notes[index]) {
      made.append(make("tr", { class: "note" }, make("td", { colspan: String(head.length) }, notes[index])));
    }
  });
  return make("div", { class: "wide" }, made);
}

/** Makes fields of ids, each with a copy button, and where there is one a link to its page. */
export function identifiers(pairs, links = {}) {
  const box = make("div", { class: "ids" });
  for (const [name, value] of pairs) {
    const input = make("input",
      { readonly: "", value, "aria-label": name, onfocus: event => event.target.select() });
    const copy = make("button", { class: "plain", type: "button", "aria-label": "copy " + name, onclick: () => {
      // In a frame without origin the clipboard interface is refused, but this works.
      input.select();
      copy.textContent = document.execCommand("copy") ? "copied" : "select";
      setTimeout(() => { copy.textContent = "copy"; }, 1200);
    } }, "copy");
    const link = links[name] ? leave(links[name], name) : null;
    box.append(make("span", {}, link || name), input, copy);
  }
  return box;
}

/** Draws an accuracy as a bar, with its interval as a line. */
export function meter(measured) {
  const bar = make("b", {}), line = make("i", {});
  bar.style.width = 100 * measured.accuracy + "%";
  line.style.left = 100 * measured.low + "%";
  line.style.width = Math.max(2, 100 * (measured.high - measured.low)) + "%";
  return make("span", { class: "meter" }, bar, line);
}
