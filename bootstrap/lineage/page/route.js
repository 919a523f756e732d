// Jumps within the page: every place has an id, `#gen-4`, that a link names. They work where the page's frame has
// neither an address nor a history.

let opener = () => false;

/** Begins to follow links. `opened`: opens the place with an id, or returns false if there is none ("": closes). */
export function listen(opened) {
  opener = opened;
  document.addEventListener("click", event => {
    const link = event.target instanceof Element && event.target.closest("a[href^='#']");
    const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (link && isPlain && follow(link.getAttribute("href").slice(1))) event.preventDefault();
  });
  addEventListener("hashchange", show);
  show();
}

/** Opens the place with an id, and remembers it as the page's address; gives whether there is such a place. */
export function follow(id) {
  if (!opener(id)) return false;
  remember(id);
  return true;
}

/** Closes what is open. */
export function leavePlace() {
  opener("");
  remember("");
}

function show() {
  if (!opener(decoded(location.hash.slice(1)))) opener("");
}

function remember(id) {
  if (decoded(location.hash.slice(1)) === id) return;
  try {
    history.pushState(null, "", "#" + id);
  } catch {
    // A sandboxed frame may refuse; the page shows the place all the same.
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
