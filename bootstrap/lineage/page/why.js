// The gate's decisions along the champion's path; the middle of a long one is behind a button.

import { data } from "./data.js";
import { byId, make } from "./dom.js";

export function showWhy() {
  const list = byId("why"), isLong = data.why.length > 16;
  data.why.forEach((step, index) => {
    const isMiddle = isLong && index > 2 && index < data.why.length - 8;
    list.append(make("li", { class: isMiddle ? "middle" : "", hidden: isMiddle ? "" : null }, make("b", {}, step.name),
      make("span", { class: "sub" }, "frontier " + step.frontier), make("span", {}, step.reason)));
  });
  const middle = list.querySelectorAll(".middle");
  if (!middle.length) return;
  const more = make("li", {}, make("span", {}), make("span", {}), make("span", {},
    make("button", { class: "plain", type: "button", onclick: () => {
      middle.forEach(step => { step.hidden = false; });
      more.remove();
    } }, `show ${middle.length} more`)));
  middle[0].before(more);
}
