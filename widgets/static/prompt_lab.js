// A prompt lab: the sentences of each label, the figure with its interval, and what has moved.
import { el, glyph } from "./dom.js";
import { copyChoice } from "./form.js";

export function labPanel(lab, page) {
  return el("div", { class: "lab", "data-key": "lab" },
    labStrip(lab),
    el("div", { class: "lab-body", "data-key": "body" }, labSentences(lab), labMoved(lab)),
    labFooter(lab, page));
}

function labStrip(lab) {
  return el("div", { class: "strip", "data-key": "strip" },
    el("div", { class: "who" }, glyph("live"), el("b", {}, `Prompt lab ${lab.title}`),
      el("span", { class: "c" }, `${lab.records} records, embedded once; the last edit took ${lab.took}`)),
    lab.figure ? el("div", { class: "prog" }, intervalBar(lab),
      el("span", { class: "c" }, `95 % interval on ${lab.figure.rows} labelled records; grey: as it began`))
      : el("div", { class: "prog" }, el("span", { class: "c" }, "No record has one of these labels: no figure.")),
    el("div", { class: "left" },
      lab.figure && el("b", { class: "big" }, `${lab.metric} ${lab.figure.value}`),
      lab.figure && el("span", { class: "c" }, lab.figure.interval),
      el("span", { class: "c" }, `${lab.moved} moved by the last edit`)));
}

// Both intervals on one scale from 0 to 1; the words beside say the same.
function intervalBar(lab) {
  const band = (figure, kind) => figure && el("i", { class: kind,
    style: `left:${(figure.low * 100).toFixed(2)}%;width:${((figure.high - figure.low) * 100).toFixed(2)}%` });
  return el("div", { class: "interval", role: "img",
    "aria-label": `${lab.metric} ${lab.figure.value}, ${lab.figure.interval}` },
    band(lab.begun, "begun"), band(lab.figure, "now"));
}

function labSentences(lab) {
  return el("div", { class: "block lab-labels", "data-key": "labels" },
    el("div", { class: "head" }, el("h2", {}, "Label sentences"), el("span", { class: "c grow" }, "one a line; a text gets the label it is nearest to")),
    lab.labels.map((label) => el("div", { class: "lab-label", "data-key": label.field },
      el("div", { class: "head" },
        el("label", { for: `wb-${label.field}` }, el("b", { dir: "auto" }, label.label)),
        el("span", { class: "c grow" }, `${label.count}, ${label.percent}`),
        label.can_drop && el("button", { type: "button", class: "lnk", "data-intent": "drop", "data-label": label.label,
          "aria-label": `Drop the label ${label.label}` }, "Drop")),
      el("div", { class: "bar n" }, el("i", { style: `width:${(label.share * 100).toFixed(1)}%` })),
      el("span", { class: "in2" }, el("textarea", { id: `wb-${label.field}`, "data-field": label.field, dir: "auto",
        rows: Math.min(10, Math.max(2, label.raw.split("\n").length)), spellcheck: "false", value: label.raw })))),
    el("div", { class: "in2" },
      el("input", { type: "text", class: "txt", "data-field": "new-label", "aria-label": "Name of a new label",
        placeholder: "a new label", value: lab.new_label }),
      el("button", { type: "button", class: "sm", "data-intent": "add" }, "Add label")));
}

function labMoved(lab) {
  return el("div", { class: "block lab-moved", "data-key": "moved" },
    el("div", { class: "head" }, el("h2", {}, "Labelled otherwise than at the beginning"),
      el("span", { class: "c grow" }, "wrong ones first")),
    lab.differing.length ? el("table", { class: "t" },
      el("colgroup", {}, el("col", {}), [80, 80, 80].map((width) => el("col", { style: `width:${width}px` }))),
      el("thead", {}, el("tr", {}, ["Text", "Before", "Now", "Truth"].map((name) => el("th", {}, name)))),
      el("tbody", {}, lab.differing.map((row) => el("tr", { "data-key": row.key },
        el("td", {}, el("span", { dir: "auto", class: "text" }, row.text)), el("td", { class: "i3" }, row.before),
        el("td", { class: "b" }, row.now),
        el("td", { class: row.tone }, row.tone && [glyph(row.tone === "ok" ? "done" : "fail"), " "], row.truth)))))
      : el("p", { class: "c" }, "Nothing yet: edit a sentence."));
}

function labFooter(lab, page) {
  return el("footer", { class: "copy", "data-key": "copy" },
    copyChoice(page),
    el("pre", { tabindex: "0", "data-text": lab.copy[page.copyAs], "aria-label": "The prompt as text" }, lab.copy[page.copyAs]),
    el("span", { class: "btns" },
      el("button", { type: "button", class: "sm", "data-page": "copy" }, page.copied ? "Copied" : "Copy"),
      lab.can_keep && el("input", { type: "text", class: "num", "data-field": "prompt-name", "aria-label": "Name of the prompt", value: lab.name }),
      lab.can_keep && el("button", { type: "button", class: "pri", "data-intent": "keep" }, "Keep as a version"),
      lab.kept && el("span", { class: "s ok", role: "status" }, glyph("done"), " ", lab.kept)));
}
