// The ledger, a page at a time: what was dropped or changed, why, and what can come back.
import { el, glyph } from "./dom.js";
import { textPieces } from "./cleaning_facts.js";

export function ledgerPanel(ledger) {
  if (!ledger) return null;
  return el("div", { class: "block ledger", "data-key": "ledger" },
    el("div", { class: "head" }, el("h2", {}, "Ledger"), el("span", { class: "c grow" }, "one row for each drop and each change"),
      ledger.rule && ledger.can_undo && ledger.num_of_rule > 0 && el("button", { type: "button", class: ledger.is_rule_chosen ? "sm chosen" : "sm",
        "data-intent": "restore_rule", "data-name": ledger.rule, "aria-pressed": ledger.is_rule_chosen ? "true" : "false" },
        ledger.is_rule_chosen ? "All of this rule come back" : "Restore all of this rule"),
      el("select", { class: "sm-sel", "data-field": "ledger-rule", value: ledger.rule, "aria-label": "Rule" },
        ledger.filters.map((found) => el("option", { value: found.rule, selected: found.rule === ledger.rule }, found.title))),
      el("input", { type: "text", class: "sm-find", "data-field": "ledger-search", value: ledger.search, placeholder: "record id or rule",
        spellcheck: "false", "aria-label": "Find a record id or rule" }),
      el("span", { class: "s range" }, ledger.range), turner(ledger)),
    el("div", { class: "page", style: `min-height:${24 + ledger.page_rows * 29}px` }, ledgerRows(ledger)));
}

function turner(ledger) {
  const turn = (word, sign, number, isOut) => el("button", { type: "button", class: "sm", "data-intent": "page", "data-number": number,
    "data-key": word, disabled: isOut, "aria-label": `${word} page of the ledger` }, sign);
  return el("span", { class: "btns turn" },
    turn("Previous", "‹", ledger.page - 1, ledger.page === 0),
    turn("Next", "›", ledger.page + 1, ledger.page + 1 >= ledger.num_pages));
}

function ledgerRows(ledger) {
  if (!ledger.rows.length) return el("p", { class: "c" }, "No row of the ledger is like that.");
  return el("table", { class: "t diff led" },
    el("colgroup", {}, [132, 112, 176, 0, 0, 84].map((width) => el("col", width ? { style: `width:${width}px` } : {}))),
    el("thead", {}, el("tr", {}, ["Record", "Rule", "Why", "As it came in", "What became of it", ""].map((name) =>
      el("th", { class: name ? null : "r" }, name || "Undo")))),
    el("tbody", {}, ledger.rows.map((row) => el("tr", { "data-key": row.key, class: row.is_chosen || row.comes_with_rule ? "on" : null },
      el("td", { class: "mono cut", title: `${row.id}, row ${row.row} of ${row.source}` }, row.id),
      el("td", { class: "i2" }, row.rule),
      el("td", { class: "i2" }, row.jaccard && [el("b", {}, `Jaccard ${row.jaccard}`), row.why && " "], row.why),
      el("td", {}, textPieces(row.before)),
      el("td", {}, becameOf(row)),
      el("td", { class: "r" }, row.comes_with_rule ? el("span", { class: "ac" }, "comes back") : ledger.can_undo && el("button", { type: "button", class: "lnk", "data-intent": "restore", "data-id": row.id,
        "aria-pressed": row.is_chosen ? "true" : "false", "aria-label": `${row.is_chosen ? "Do not restore" : "Restore"} record ${row.id}` },
        row.is_chosen ? "comes back" : "Restore"))))));
}

function becameOf(row) {
  if (row.keeper) return [el("span", { class: "c cut", title: row.keeper }, "kept instead: ", el("code", {}, row.keeper)), row.note ? el("span", { class: "i3" }, row.note) : textPieces(row.after)];
  if (row.note) return el("span", { class: "i3" }, row.note);
  return row.action === "dropped" ? el("span", { class: "dropped" }, "dropped") : textPieces(row.after);
}

export function undoBar(cleaning, page) {
  const { undo } = cleaning;
  const isSent = page.sent === "undo";
  return el("div", { class: undo.num_chosen ? "act is-on" : "act", role: "status", "data-key": "undo" },
    undo.num_chosen
      ? el("span", { class: "grow" }, el("b", { class: "ac" }, "To come back:"), ` ${undo.text}`,
        el("span", { class: "c" }, " as they came in, byte for byte, in a new version of the data set"))
      : el("span", { class: "grow i3" }, cleaning.ledger.can_undo
        ? "Press Restore beside rows, or choose a rule, to take drops and changes back."
        : [glyph("warn"), " Nothing can be undone: see above what is gone."]),
    el("button", { type: "button", "data-intent": "keep_dropped", disabled: !undo.num_chosen }, "Clear"),
    el("button", { type: "button", class: "pri", "data-intent": "undo", disabled: !undo.num_chosen || isSent },
      isSent ? "Submitting…" : "Undo these"));
}
