// Elements without markup: text is only ever text, so nothing that a picture, a name or an error
// says can become part of the page.

/** An element with properties, attributes and children: strings are text, null is nothing. */
export function make(name, settings = {}, ...children) {
  return fill(document.createElement(name), settings, children);
}

/** The same in SVG. */
export function draw(name, settings = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), settings, children);
}

export const byId = (id) => document.getElementById(id);

/** Shows an element if there is something to show. */
export function show(element, wanted = true) {
  element.hidden = !wanted;
  return element;
}

/** A table in a box that scrolls by itself; `rows` are lists of texts or elements. */
export function table(caption, heads, rows) {
  const head = heads.map((one) => make("th", { scope: "col" }, one));
  const body = rows.map((cells) =>
    make("tr", {}, ...cells.map((cell, at) => make("td", { "data-head": heads[at] }, cell))),
  );
  return make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)),
  );
}

/** Replaces what an element holds, unless it says the same already: selections stay. */
export function put(element, ...children) {
  const fresh = children.filter((child) => child != null);
  const before = [...element.childNodes];
  const same =
    before.length === fresh.length &&
    fresh.every((child, at) =>
      typeof child === "string" ? before[at].textContent === child : before[at].isEqualNode(child),
    );
  if (!same) element.replaceChildren(...fresh);
}

function fill(element, settings, children) {
  for (const [name, value] of Object.entries(settings)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") {
      for (const [variable, text] of Object.entries(value)) {
        element.style.setProperty(variable, text);
      }
    } else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}
