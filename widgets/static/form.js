// A stage's form: groups of fields, what differs, what it would run, and the text of it.
import { el, glyph } from "./dom.js";

export function formPanel(form, page) {
  return [
    formHeader(form),
    el("div", { class: "form-body", "data-key": "form-body" },
      el("form", { class: "fields", onsubmit: "return false", autocomplete: "off" },
        form.groups.map(fieldGroup)),
      formSide(form, page)),
    copyFooter(form, page),
  ];
}

function formHeader(form) {
  return el("header", { class: "form-head", "data-key": "form-head" },
    el("h2", {}, form.title),
    el("span", { class: "c grow" }, form.help, " ", el("code", {}, form.spec_name)),
    form.differing.length > 0 && [
      el("span", { class: "c nw" }, el("i", { class: "dot", "aria-hidden": "true" }), " differs from the default"),
      el("button", { type: "button", "data-intent": "reset" }, "Reset"),
    ]);
}

function fieldGroup(group) {
  return el("fieldset", { "data-key": group.title },
    el("legend", {}, group.title),
    group.fields.map((field) => fieldRow(field)));
}

function fieldRow(field) {
  const id = `wb-${field.name}`;
  const wide = ["json", "items"].includes(field.control);
  const kind = [field.differs && "chg", field.error && "err", wide && "wide"].filter(Boolean);
  return el("div", { class: ["fld", ...kind].join(" "), "data-key": field.name },
    field.differs
      ? el("i", { class: "dot", role: "img", "aria-label": "differs from the default" })
      : el("i", {}),
    el("label", labelFor(field, id), field.title,
      field.required && el("span", { class: "c" }, " needed")),
    el("span", { class: "in2" }, control(field, id),
      field.unit && el("span", { class: "i2" }, field.unit)),
    el("span", { class: "say", id: `${id}-say` }, field.error ? errorLine(field) : helpLine(field)));
}

function labelFor(field, id) {
  return field.control === "choice" ? { id: `${id}-label` } : { for: id };
}

function errorLine(field) {
  return el("span", { class: "fail", role: "alert" },
    glyph("fail"), " ", field.error, field.error.endsWith(".") ? "" : ".",
    field.suggestion && [" Did you mean ",
      el("button", { type: "button", class: "lnk fail", "data-intent": "change",
        "data-name": field.name, "data-value": field.suggestion }, field.suggestion), "?"]);
}

function helpLine(field) {
  const help = [field.facts, field.bounds, field.help].filter(Boolean).join("; ");
  return [help, field.differs && [" · ", defaultLink(field)]];
}

function defaultLink(field) {
  const value = field.default === "" ? "empty" : field.default_is_short ? field.default : "value";
  return el("button", { type: "button", class: "lnk", "data-intent": "restore", "data-name": field.name,
    "aria-label": `default ${value}, go back to it for ${field.title}` }, `default ${value}`);
}

function control(field, id) {
  const common = {
    id, "data-field": field.name, "aria-describedby": `${id}-say`,
    "aria-invalid": field.error ? "true" : null, "aria-required": field.required ? "true" : null,
  };
  if (field.control === "switch") return switchControl(field, common);
  if (field.control === "choice") return choiceControl(field, common);
  if (field.control === "json") {
    const rows = Math.min(12, Math.max(2, field.raw.split("\n").length));
    return el("textarea", { ...common, rows, spellcheck: "false", class: "mono", value: field.raw });
  }
  const isNumber = field.control === "number";
  const list = field.offered.length ? `${id}-offered` : null;
  return [
    el("input", { ...common, type: "text", inputmode: isNumber ? "decimal" : null, list,
      class: isNumber ? "num" : "txt", spellcheck: "false", value: field.raw,
      placeholder: field.control === "list" ? "one, two, three" : null }),
    list && el("datalist", { id: list },
      field.offered.map((offer) => el("option", { value: offer.reference }, offer.facts))),
  ];
}

function switchControl(field, common) {
  return [
    el("input", { ...common, type: "checkbox", checked: field.raw === true }),
    el("span", { "aria-hidden": "true" }, field.raw ? "yes" : "no"),
  ];
}

function choiceControl(field, common) {
  const letters = field.choices.reduce((sum, choice) => sum + choice.length + 3, 0);
  if (letters > 34) {
    return el("select", { ...common, "aria-labelledby": `${common.id}-label`, value: field.raw,
      "data-lm-suppress-shortcuts": "true" },
      field.choices.map((choice) => el("option", { value: choice }, choice || "none")));
  }
  const names = { role: "radiogroup", "aria-labelledby": `${common.id}-label`, class: "seg" };
  return el("span", { ...names, "aria-describedby": common["aria-describedby"] },
    field.choices.map((choice) => segment(field.raw === choice, choice || "none", {
      "data-intent": "change", "data-name": field.name, "data-value": choice })));
}

export function segment(isOn, text, attributes) {
  return el("button", { type: "button", class: "sm", role: "radio", "aria-checked": isOn ? "true" : "false",
    tabindex: isOn ? "0" : "-1", "data-lm-suppress-shortcuts": "true", ...attributes }, text);
}

function formSide(form, page) {
  return el("aside", { class: "side", "aria-label": "Before you run" },
    inputs(form), differences(form), el("span", { class: "grow" }), runButton(form, page));
}

function inputs(form) {
  const read = form.groups.flatMap((group) => group.fields).filter((field) => field.reads && field.raw);
  if (!read.length) return null;
  return el("div", { class: "block", "data-key": "inputs" }, el("h3", {}, "What it will read"),
    el("dl", { class: "kv" }, read.flatMap((field) => [
      el("dt", {}, field.raw), el("dd", {}, field.facts || field.reads)])));
}

function differences(form) {
  if (!form.differing.length) {
    return el("div", { class: "block", "data-key": "differences" }, el("h3", {}, "Against the defaults"),
      el("p", { class: "c" }, `All ${form.num_fields} fields are at their defaults or given.`));
  }
  return el("div", { class: "block", "data-key": "differences" },
    el("h3", {}, "Against the defaults ", el("span", { class: "c" }, `${form.differing.length} differ`)),
    el("table", { class: "t" },
      el("thead", {}, el("tr", {}, el("th", {}, "Field"), el("th", { class: "r" }, "default"),
        el("th", { class: "r" }, "this form"))),
      el("tbody", {}, form.differing.map((field) => el("tr", { "data-key": field.name },
        el("td", { class: "mono" }, field.name),
        el("td", { class: "r i3" }, field.default === "" ? "empty" : field.default),
        el("td", { class: field.error ? "r b fail" : "r b" }, shown(field.raw), field.error && " ✕"))))));
}

function shown(raw) {
  return raw === true ? "on" : raw === false ? "off" : raw === "" ? "empty" : raw;
}

function runButton(form, page) {
  const waits = form.waits_for.length;
  const isSent = page.sent === "submit";
  return el("div", { class: "block", "data-key": "run" },
    waits > 0 && el("p", { class: "s fail" }, glyph("fail"), ` Run waits for ${waits} field${waits > 1 ? "s" : ""}: `,
      form.waits_for.map((field, at) => [at > 0 && ", ",
        el("button", { type: "button", class: "lnk fail", "data-page": "goto", "data-name": field.name }, field.title)])),
    form.form_error && el("p", { class: "s fail" }, glyph("fail"), " ", form.form_error),
    el("button", { type: "button", class: "pri", "data-intent": "submit", disabled: !form.valid || isSent },
      isSent ? "Submitting…" : "Run"));
}

const COPY_AS = [["python", "Python"], ["command", "CLI"], ["papermill", "papermill"]];

function copyFooter(form, page) {
  const text = form.copy[page.copyAs];
  return el("footer", { class: "copy", "data-key": "copy" },
    el("span", { class: "seg", role: "radiogroup", "aria-label": "Copy as" },
      COPY_AS.map(([value, title]) => segment(page.copyAs === value, title, { "data-page": "copy-as", "data-value": value }))),
    el("pre", { tabindex: "0", "data-text": text, "aria-label": "The form as text" }, text,
      form.copy.note && el("span", { class: "fail" }, `   # not valid: ${form.copy.note}`)),
    el("button", { type: "button", class: "sm", "data-page": "copy", disabled: !form.valid },
      page.copied ? "Copied" : "Copy"));
}
