// A cleaning: its account, the rules with their thresholds, what was found, and its ledger.
import { el, glyph } from "./dom.js";
import { copyChoice, segment } from "./form.js";
import { factsPanel, textPieces } from "./cleaning_facts.js";
import { ledgerPanel, undoBar } from "./cleaning_ledger.js";
import { rulesTable } from "./cleaning_rules.js";
import { runPanel } from "./run.js";

export function cleaningPanel(snapshot, page) {
  const { run, cleaning, so_far: soFar, child } = snapshot;
  return el("div", { class: "cleaning", "data-key": `cleaning-${run.run_id}` },
    cleaning ? doneStrip(run, cleaning) : runPanel(run, page),
    cleaning && missingPanel(cleaning.missing),
    cleaning ? donePanels(cleaning, page) : soFarPanels(soFar, run),
    cleaning && ledgerPanel(cleaning.ledger),
    cleaning && cleaning.ledger && undoBar(cleaning, page),
    child && childPanel(child, page),
    cleaning && copyBar(cleaning, page));
}

function doneStrip(run, cleaning) {
  return el("div", { class: "strip", "data-key": "strip" },
    el("div", { class: "who" }, glyph(run.glyph), el("b", {}, `clean ${cleaning.reference}`), el("span", { class: "c" }, run.who)),
    el("div", { class: "prog" },
      el("div", { class: "s" }, el("b", {}, run.word), ` · ${run.times} · ${run.figure.value} ${run.figure.of}`),
      el("div", { class: "bar n" }, el("i", { style: `width:${(cleaning.kept_share * 100).toFixed(1)}%` }))),
    el("div", { class: "left" }, el("b", { class: "big" }, `${cleaning.kept} rows`),
      el("span", { class: "c" }, `of ${cleaning.read}, ${cleaning.kept_percent}`)));
}

function missingPanel(missing) {
  return missing.length > 0 && el("div", { class: "gone", role: "note", "data-key": "gone" }, missing.map((gone) =>
    el("p", { "data-key": gone.name }, glyph("warn"), " ", el("b", {}, `The ${gone.name === "dataset" ? "cleaned data set" : gone.name} is gone`),
      " ", el("code", {}, gone.reference), `: ${gone.why}. ${gone.loss}`)));
}

function donePanels(cleaning, page) {
  return [
    el("div", { class: "block rules-block", "data-key": "rules" },
      el("div", { class: "head" }, el("h2", {}, "Cleaning"), el("span", { class: "c grow" }, "every row in is kept or in the ledger"),
        legend(), el("span", { class: "s st" }, glyph(cleaning.sum.is_exact ? "done" : "fail"), cleaning.sum.text)),
      rulesTable(cleaning, page)),
    moveBar(cleaning, page),
    el("div", { class: "two", "data-key": "examples" }, changedPanel(cleaning),
      examplesPanel("Changed rows, before → after", "Before", cleaning.examples.report.filter((example) => !example.note))),
    factsPanel(cleaning.facts),
  ];
}

function soFarPanels(soFar, run) {
  if (!soFar.num_parts) {
    return el("p", { class: "block c", "data-key": "nothing-yet" }, run.is_over
      ? "The run has left no result: nothing can be shown of it."
      : "Nothing is there yet: the first rows show when a partition has been through the rules.");
  }
  return [
    el("div", { class: "block rules-block", "data-key": "rules" },
      el("div", { class: "head" }, el("h2", {}, "Cleaning so far"),
        el("span", { class: "c grow" }, "rules only: duplicates are found when every row is there"), legend(),
        el("span", { class: "s" }, `${soFar.num_read} rows read, ${soFar.num_left} of them left`)),
      rulesTable(soFar, {})),
    el("div", { class: "two", "data-key": "examples" },
      examplesPanel("Dropped, and why", "Text", soFar.examples.filter((example) => example.note)),
      examplesPanel("Changed rows, before → after", "Before", soFar.examples.filter((example) => !example.note))),
  ];
}

function legend() {
  return [
    el("span", { class: "c st" }, el("i", { class: "key k-dropped", "aria-hidden": "true" }), "dropped"),
    el("span", { class: "c st" }, el("i", { class: "key k-back", "aria-hidden": "true" }), "would return"),
    el("span", { class: "c st" }, el("i", { class: "key k-more", "aria-hidden": "true" }), "would go"),
  ];
}

// The bar is always there, so that nothing jumps when the first threshold moves.
function moveBar(cleaning, page) {
  const move = cleaning.move;
  const isSent = page.sent === "rerun";
  return el("div", { class: move.num_moved ? "act is-on" : "act", role: "status", "data-key": "move" },
    move.num_moved
      ? el("span", { class: "grow" }, el("b", { class: "ac" }, `${move.title}:`), " ",
        el("b", { class: "kept" }, `${move.from} → ${move.to} rows`),
        el("span", {}, ` ${move.gained} would return, ${move.lost} would go`),
        el("span", { class: "c" }, ` decided in ${move.took} from stored scores, no text read`))
      : el("span", { class: "grow i3" }, cleaning.can_move
        ? "Drag a threshold to see what another one would keep. No text is read again."
        : "The scores are gone, so no threshold can be moved."),
    el("button", { type: "button", "data-intent": "reset", disabled: !move.num_moved }, "Reset"),
    el("button", { type: "button", class: "pri", "data-intent": "rerun", disabled: !move.num_moved || isSent },
      isSent ? "Submitting…" : "Run again with these"));
}

function changedPanel(cleaning) {
  const { gained, lost, report, is_settled: isSettled } = cleaning.examples;
  if (!cleaning.move.num_moved) return examplesPanel("Dropped, and why", "Text", report.filter((example) => example.note));
  const rows = [...gained.map((record) => [record, "would return", "back"]), ...lost.map((record) => [record, "would go", "more"])];
  return el("div", { class: "block", "data-key": "changed", tabindex: 0 },
    el("div", { class: "head" }, el("h2", {}, "What would change"),
      el("span", { class: "c grow" }, rows.length ? "the first few, as they came in" : ""),
      el("span", { class: "c" }, isSettled ? "" : "reading …")),
    rows.length
      ? el("table", { class: "t diff fixed" },
        el("colgroup", {}, el("col", { style: "width:104px" }), el("col", { style: "width:104px" }), el("col", {})),
        el("thead", {}, el("tr", {}, ["Would", "Rule", "Text"].map((name) => el("th", {}, name)))),
        el("tbody", {}, rows.map(([record, word, tone]) => el("tr", { "data-key": `${tone}-${record.id}` },
          el("td", { class: `w-${tone}` }, word), el("td", { class: "i2" }, record.rule),
          el("td", { title: record.id }, record.note ? el("span", { class: "i3" }, record.note) : textPieces(record.text))))))
      : isSettled && el("p", { class: "c" }, "No record would be kept or dropped that is not now."));
}

function examplesPanel(title, before, examples) {
  return el("div", { class: "block", "data-key": title, tabindex: 0, role: "group", "aria-label": title },
    el("div", { class: "head" }, el("h2", {}, title), el("span", { class: "c grow" }, "the first few of each rule")),
    examples.length
      ? el("table", { class: "t diff" },
        el("colgroup", {}, el("col", { style: "width:104px" }), el("col", {}), el("col", {})),
        el("thead", {}, el("tr", {}, ["Rule", before, before === "Text" ? "Why" : "After"].map((name) => el("th", {}, name)))),
        el("tbody", {}, examples.map((example, at) => el("tr", { "data-key": at },
          el("td", { class: "i3" }, example.rule), el("td", {}, textPieces(example.before)),
          el("td", { class: example.note ? "dropped" : null }, example.note.replace("dropped: ", "") || textPieces(example.after))))))
      : el("p", { class: "c" }, "There is none."));
}

function childPanel(child, page) {
  const isCleaning = child.stage === "clean";
  return el("div", { class: "child", "data-key": "child" }, runPanel(child, page),
    child.state === "succeeded" && isCleaning && el("p", { class: "block" },
      el("button", { type: "button", class: "pri", "data-intent": "open_child" }, "Show the new cleaning")));
}

function copyBar(cleaning, page) {
  const text = cleaning.copy[page.copyAs];
  return el("footer", { class: "copy", "data-key": "copy" },
    el("span", { class: "btns" },
      el("span", { class: "seg", role: "radiogroup", "aria-label": "What to copy" },
        ["clean", "undo"].map((value) => segment(cleaning.copy.of === value, value, { "data-intent": "copy_of", "data-value": value }))),
      copyChoice(page)),
    el("pre", { tabindex: "0", "data-text": text, "aria-label": "The run as text" }, text),
    el("button", { type: "button", class: "sm", "data-page": "copy" }, page.copied ? "Copied" : "Copy"));
}
