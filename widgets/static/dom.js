// Elements are made from names and text nodes only: no string is ever read as HTML.

const SVG_SPACE = "http://www.w3.org/2000/svg";

export function el(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG_SPACE, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

// 14 x 14, drawn with lines; each state has its own shape, so that none is told by colour alone.
const GLYPHS = {
  done: [["circle", { cx: 7, cy: 7, r: 6 }], ["path", { d: "M4.2 7.2l2 2 3.7-4.2" }]],
  cached: [["circle", { cx: 7, cy: 7, r: 6 }], ["path", { d: "M4.6 5.7h4.8M4.6 8.3h4.8" }]],
  run: [
    ["circle", { cx: 7, cy: 7, r: 5.5, opacity: 0.3 }],
    ["path", { d: "M7 1.5a5.5 5.5 0 1 1-5.2 3.7", "stroke-width": 2.4 }],
  ],
  wait: [["circle", { cx: 7, cy: 7, r: 5.8, "stroke-dasharray": "1.6 2.4" }]],
  pause: [["circle", { cx: 7, cy: 7, r: 6 }], ["path", { d: "M5.4 4.7v4.6M8.6 4.7v4.6" }]],
  fail: [
    ["rect", { x: 1, y: 1, width: 12, height: 12, rx: 1.5 }],
    ["path", { d: "M4.5 4.5l5 5M9.5 4.5l-5 5" }],
  ],
  warn: [["path", { d: "M7 1.3L13.2 12.5H.8z" }], ["path", { d: "M7 5.4v3.2M7 10.6v.1" }]],
  kill: [["path", { d: "M2.5 2.5l9 9M11.5 2.5l-9 9", "stroke-width": 2.2 }]],
  live: [
    ["circle", { cx: 7, cy: 7, r: 6 }],
    ["circle", { cx: 7, cy: 7, r: 2.6, fill: "currentColor", stroke: "none" }],
  ],
};
const GLYPH_TONE = { done: "ok", cached: "ok", live: "ok", run: "ac", fail: "fail", warn: "warn", kill: "fail" };

export function glyph(name) {
  const tone = GLYPH_TONE[name] ?? "i2";
  const shapes = (GLYPHS[name] ?? GLYPHS.warn).map(([tag, at]) => svg(tag, at));
  return svg("svg", { class: `g ${tone} g-${name}`, viewBox: "0 0 14 14", "aria-hidden": "true" }, shapes);
}

// Make `live` look like `next` with the fewest changes, so that focus, selection, scroll and the
// press of a button survive ten snapshots a second.
export function patch(live, next) {
  if (live.nodeType === Node.TEXT_NODE) {
    if (live.data !== next.data) live.data = next.data;
    return;
  }
  patchAttributes(live, next);
  patchChildren(live, next);
  patchControl(live, next);
}

// What the person did to an element is theirs: an open list, an edit that is not answered yet.
const KEPT = new Set(["open", "data-edit", "data-height", "style"]);

function patchAttributes(live, next) {
  for (const { name } of [...live.attributes]) {
    if (!next.hasAttribute(name) && !KEPT.has(name)) live.removeAttribute(name);
  }
  for (const { name, value } of [...next.attributes]) {
    if (name === "open" && live.dataset.drawn) continue;
    if (live.getAttribute(name) !== value) live.setAttribute(name, value);
  }
  if (live.nodeName === "DETAILS") live.dataset.drawn = "1";
}

function isSame(live, next) {
  return (
    live.nodeType === next.nodeType &&
    live.nodeName === next.nodeName &&
    live.dataset?.key === next.dataset?.key
  );
}

function patchChildren(live, next) {
  let at = live.firstChild;
  for (const wanted of [...next.childNodes]) {
    let match = at;
    while (match && !isSame(match, wanted)) match = match.nextSibling;
    if (!match) {
      live.insertBefore(wanted, at);
      settle(wanted);
      continue;
    }
    while (at !== match) at = removed(at);
    patch(match, wanted);
    at = match.nextSibling;
  }
  while (at) at = removed(at);
}

function removed(node) {
  const after = node.nextSibling;
  node.remove();
  return after;
}

// Attributes of a new control become its state.
export function settle(node) {
  if (!(node instanceof Element)) return;
  for (const control of [node, ...node.querySelectorAll("textarea, select, details")]) {
    if (control.nodeName === "DETAILS") control.dataset.drawn = "1";
    else patchControl(control, control);
  }
}

function patchControl(live, next) {
  if (live.dataset?.edit) return;
  if (live.nodeName === "INPUT" && live.type === "checkbox") {
    live.checked = next.hasAttribute("checked");
  } else if (["INPUT", "TEXTAREA", "SELECT"].includes(live.nodeName)) {
    const value = next.getAttribute("value") ?? "";
    if (live.value !== value) live.value = value;
  }
}
