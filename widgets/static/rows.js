// Rows before and after, with the pieces of text that differ.
import { el } from "./dom.js";
import { segment } from "./form.js";

const TAG = { removed: "del", added: "ins", same: "span" };

export function rowsPanel(rows) {
  return el("div", { class: "block rows", "data-key": "rows" },
    el("div", { class: "head" }, el("h2", {}, rows.title),
      el("span", { class: "c grow" }, `${rows.shown} shown`),
      el("span", { class: "seg", role: "radiogroup", "aria-label": "Which rows" }, rows.modes.map((mode) =>
        segment(rows.mode === mode.name, `${mode.name} ${mode.count.toLocaleString("en")}`,
          { "data-intent": "draw", "data-mode": mode.name }))),
      el("button", { type: "button", class: "sm", "data-intent": "redraw" }, "Draw again")),
    rows.rows.length ? table(rows) : el("p", { class: "c" }, `There are no ${rows.mode} rows.`));
}

function table(rows) {
  return el("table", { class: "t diff" },
    el("colgroup", {}, el("col", { style: "width:110px" }), el("col", {}), el("col", {})),
    el("thead", {}, el("tr", {}, ["Source", "Before", "After"].map((name) => el("th", {}, name)))),
    el("tbody", {}, rows.rows.map((row) => el("tr", { "data-key": row.id },
      el("td", { class: "i3" }, row.source),
      el("td", {}, pieces(row.before)),
      el("td", { class: row.tone }, row.note || pieces(row.after))))));
}

function pieces(parts) {
  return el("span", { dir: "auto", class: "text" }, parts.map(([kind, text]) => el(TAG[kind] ?? "span", {}, text)));
}
