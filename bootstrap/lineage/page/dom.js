// Finding and making elements. Every text enters as a text node, so text from a model is shown and never interpreted.

export const byId = id => document.getElementById(id);

/** Makes an element. `on...` attributes are listeners; attributes that are false, null or undefined are left out. */
export function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/** Makes a link to another part of the page; `route.js` follows it, as the page's frame may have no history. */
export const jump = (id, ...children) => make("a", { href: "#" + id }, ...children);
/** Makes a link to a generation. */
export const toGeneration = number => jump("gen-" + number, "gen-" + number);

/** Makes a link to a page elsewhere; null where links cannot leave the frame, or for an address that is none. */
export function leave(address, words) {
  if (window !== window.top || !/^https?:\/\//.test(address)) return null;
  return make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, words);
}

/** Gives elements with commas between them. */
export function listed(elements) {
  return elements.flatMap((element, index) => index ? [", ", element] : [element]);
}

/** Gives a list of links that shows the first ones, and a button for the rest. */
export function shortened(links, count = 12) {
  if (links.length <= count + 1) return make("span", { class: "long" }, ...listed(links));
  const box = make("span", { class: "long" }, ...listed(links.slice(0, count)), " ");
  box.append(make("button", { class: "plain", type: "button", onclick: () => {
    box.replaceChildren(...listed(links));
    links[count].focus();
  } }, `show ${links.length - count} more`));
  return box;
}

/** Makes an SVG element. */
export function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
