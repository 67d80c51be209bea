// The rules in their order: thresholds on the scores of all rows, and a waterfall of what they drop.
import { el, svg } from "./dom.js";

const SLIDER = { width: 190, height: 20, margin: 5 };
const FALL = { width: 224, height: 28 };

export function rulesTable(cleaning, page) {
  const hidden = cleaning.rules.filter((row) => row.is_off_and_idle);
  const isOpen = page.open?.rules;
  const rows = isOpen ? cleaning.rules : cleaning.rules.filter((row) => !row.is_off_and_idle);
  return [
    el("table", { class: "t rules" },
      el("colgroup", {}, [150, 160, 104, 206, FALL.width + 16, 70, 66, 84].map((width) => el("col", { style: `width:${width}px` }))),
      el("thead", {}, el("tr", {},
        el("th", {}, "Rule, in order"), el("th", { class: "r" }, "keeps a row when"), el("th", {}, "threshold"),
        el("th", {}, "Scores of all rows; drag to move"), el("th", {}, axis(cleaning.axis ?? [])),
        el("th", { class: "r" }, "Rows left"), el("th", { class: "r" }, "Dropped"), el("th", { class: "r" }, "Would change"))),
      el("tbody", {}, rows.map((row, at) => ruleRow(row, cleaning, page, at === rows.length - 1)))),
    hidden.length > 0 && el("p", { class: "off-rules" }, el("button", { type: "button", class: "lnk s", "data-page": "unfold",
      "data-name": "rules", "aria-expanded": isOpen ? "true" : "false" },
      isOpen ? "hide rules that are off" : `${hidden.length} more ${hidden.length > 1 ? "rules, all of them" : "rule, which is"} off`)),
  ];
}

function ruleRow(row, cleaning, page, isLast) {
  return el("tr", { "data-key": row.rule, class: [row.is_moved && "on", !row.is_on && "is-off"].filter(Boolean).join(" ") || null },
    el("td", { class: "nw name", title: row.help ? `${row.title}: ${row.help}` : row.title }, switchBox(row, cleaning), el("b", {}, row.title)),
    el("td", { class: "c r cut", title: row.keeps }, row.keeps),
    el("td", { class: "nw" }, row.languages ? languageInput(row, cleaning, page) : row.thresholds.map((side) => numberInput(side, row, cleaning, page))),
    el("td", {}, row.languages
      ? el("span", { class: "c cut" }, row.languages.known)
      : row.thresholds.length ? row.thresholds.map((side) => slider(side, row, page)) : el("span", { class: "c cut" }, row.note)),
    el("td", { class: "fall" }, fall(row.bar, cleaning.axis ?? [], isLast)),
    el("td", { class: "r" }, row.left),
    el("td", { class: "r" }, row.num_dropped && cleaning.ledger
      ? el("button", { type: "button", class: "lnk", "data-intent": "rule", "data-name": row.rule,
        "aria-label": `${row.dropped} rows dropped by ${row.title}: show them in the ledger` }, row.dropped)
      : el("span", { class: "i3" }, row.dropped)),
    el("td", { class: row.change.startsWith("+") ? "r b ac" : "r b dropped" }, row.change));
}

function switchBox(row, cleaning) {
  if (!row.can_switch || !cleaning.can_move) return el("i", { class: "box" });
  return el("input", { type: "checkbox", checked: row.is_on, "data-field": `switch:${row.rule}`, "aria-label": `${row.title} on` });
}

function numberInput(side, row, cleaning, page) {
  const typed = page.typed?.[`slide:${side.key}`];
  if (!side.scale || !cleaning.can_move) return el("span", { class: "i2", "data-key": side.key }, side.raw || "off");
  const name = `threshold:${side.key}`;
  return el("span", { class: "num-line", "data-key": side.key },
    el("input", { type: "text", inputmode: "decimal", class: "sm-in", "data-field": name, value: typed ? typed.raw : side.raw,
      placeholder: "off", spellcheck: "false", "aria-label": `${row.title}: ${row.keeps} ${side.unit}` }),
    side.is_moved && el("span", { class: "c ac" }, `was ${side.was}`));
}

function languageInput(row, cleaning) {
  if (!row.languages.can_move || !cleaning.can_move) return el("span", { class: "i2" }, row.languages.raw || "all");
  return el("input", { type: "text", class: "sm-in wide", "data-field": "languages", value: row.languages.raw, placeholder: "all",
    spellcheck: "false", title: `was ${row.languages.was}`, "aria-label": "Languages to keep, for example en, zh; empty keeps all" });
}

// Each stop has a cell of the histogram; the handle stands on the edge between kept and dropped.
function slider(side, row, page) {
  if (!side.scale) return el("span", { class: "c", "data-key": side.key }, "no scores to move it on");
  const { stops, bars, together, unknown } = side.scale;
  const name = `slide:${side.key}`;
  const at = page.typed?.[name]?.at ?? side.scale.at;
  const inner = SLIDER.width - 2 * SLIDER.margin;
  const cell = inner / stops.length;
  const isLeast = side.sense === "at least";
  const edge = (stop) => (isLeast ? stop : stop + 1) * cell;
  const heights = bars.map((bar, index) => [index * together * cell, bar ? Math.max(1, bar * 16) : 0]);
  const width = Math.max(together * cell - 1, 0.5);
  const path = heights.filter(([, height]) => height).map(([x, height]) => `M${x.toFixed(1)},17v-${height.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}`).join("");
  const cut = side.is_on || page.typed?.[name] ? edge(at) : isLeast ? 0 : inner;
  return el("span", { class: "sc", "data-key": side.key },
    svg("svg", { width: inner, height: SLIDER.height, "aria-hidden": "true" },
      svg("path", { class: "f0", d: path }),
      dropped(path, isLeast ? 0 : cut, isLeast ? cut : inner - cut),
      svg("path", { class: "axl", d: `M0,17.5h${inner}` }),
      side.is_moved && svg("path", { class: "lk", d: `M${edge(side.scale.was_at).toFixed(1)},0v20` })),
    el("input", { type: "range", min: 0, max: stops.length - 1, step: 1, value: at, class: side.is_moved ? "moved" : null,
      style: `left:${(isLeast ? 0 : cell).toFixed(1)}px;width:${(SLIDER.width - cell).toFixed(1)}px`,
      "data-lm-suppress-shortcuts": "true", "data-field": name, "data-live": JSON.stringify(stops), "aria-label": `${row.title}: ${row.keeps} ${side.unit}`,
      "aria-valuetext": String(stops[at]), title: unknown ? `${unknown} rows have no score, and pass` : null }));
}

function dropped(path, from, width) {
  return width > 0 && svg("svg", { x: from, y: 0, width, height: SLIDER.height, viewBox: `${from} 0 ${width} ${SLIDER.height}` },
    svg("path", { class: "f2", d: path }));
}

function axis(ticks) {
  return svg("svg", { width: FALL.width, height: 30, role: "img", "aria-label": "Axis: rows dropped so far", class: "axis" },
    svg("text", { x: 0, y: 10 }, "Dropped so far"),
    ticks.map((tick) => svg("text", { x: tick.at * FALL.width, y: 26, class: tick.at > 0 ? "m" : null }, tick.text)));
}

function fall(bar, ticks, isLast) {
  const x = (share) => (share * FALL.width).toFixed(1);
  const wide = (share) => Math.max(share * FALL.width, share > 0 ? 0.75 : 0).toFixed(1);
  const top = 8, height = 12;
  return svg("svg", { width: FALL.width, height: FALL.height, "aria-hidden": "true" },
    ticks.map((tick) => svg("path", { class: "gr", d: `M${x(tick.at)},0v${FALL.height}` })),
    bar.same > 0 && svg("rect", { class: "f2", x: x(bar.start), y: top, width: wide(bar.same), height }),
    bar.back > 0 && svg("g", {}, hatched("back", x(bar.start + bar.same), wide(bar.back), top, height)),
    bar.more > 0 && svg("g", {}, hatched("more", x(bar.end), wide(bar.more), top, height)),
    !isLast && svg("path", { class: "axl", d: bar.same + bar.back > 0
      ? `M${x(bar.end)},${top + height}v${FALL.height - height}` : `M${x(bar.end)},${top}v${FALL.height}` }));
}

// Hatching without a pattern: patterns need ids, and those are of the whole page.
function hatched(kind, x, width, top, height) {
  const lines = [];
  const right = Number(x) + Number(width);
  for (let at = Number(x) - height; at < right; at += 4) lines.push(`M${at.toFixed(1)},${top + height}l${height},-${height}`);
  return svg("svg", { x, y: top, width, height, viewBox: `${x} ${top} ${width} ${height}` },
    svg("path", { class: `h-${kind}`, d: lines.join("") }),
    svg("rect", { class: `o-${kind}`, x, y: top, width, height }));
}
