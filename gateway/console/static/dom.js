// Elements from values. Text is only ever text here: nothing in the console parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** An HTML element. Properties are attributes; `onclick` and the like are listeners. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function s(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

/** Write `text` where it differs, so that nothing that is selected or read aloud is disturbed. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Put `children` in the place of what is in `node`, where they say something else. */
export function refill(node, ...children) {
  const made = h("div", {}, ...children);
  if (made.innerHTML === node.innerHTML) return;
  node.replaceChildren(...made.childNodes);
}

/** Show or hide. */
export function shown(node, yes) {
  if (node.hidden === yes) node.hidden = !yes;
}

export const byId = (id) => document.getElementById(id);
