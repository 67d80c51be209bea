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
  if (field.control === "items") return itemRows(field);
  const id = `wb-${field.name}`;
  const wide = field.control === "json";
  const kind = [field.differs && "chg", field.error && !field.is_missing && "err", wide && "wide"].filter(Boolean);
  return el("div", { class: ["fld", ...kind].join(" "), "data-key": field.name },
    field.differs
      ? el("i", { class: "dot", role: "img", "aria-label": "differs from the default" })
      : el("i", {}),
    el("label", labelFor(field, id), field.title,
      field.is_missing && el("span", { class: "c ac" }, " needed")),
    el("span", { class: "in2" }, control(field, id),
      field.unit && el("span", { class: "i2" }, field.unit)),
    el("span", { class: "say", id: `${id}-say` }, field.error && !field.is_missing ? errorLine(field) : helpLine(field)));
}

// Specs within a Spec: each with its own fields, the less used ones folded away.
function itemRows(field) {
  const number = (at) => (field.is_list ? ` ${at + 1}` : "");
  const verb = field.is_list ? "Add" : field.items.length ? "Change to" : "Choose";
  const kinds = field.kinds.filter((kind) => field.is_list || kind !== field.items[0]?.title);
  const titled = (item) => (field.is_list || item.title !== field.title.toLowerCase() ? ` · ${item.title}` : "");
  return el("div", { class: "items", "data-key": field.name },
    field.items.map((item, at) => el("section", { class: "item", "data-key": at, "aria-label": field.title + number(at) },
      el("div", { class: "item-head" },
        el("b", {}, `${field.is_list ? at + 1 : field.title}${titled(item)}`),
        item.error ? el("span", { class: "fail grow", role: "alert" }, glyph("fail"), " ", item.error) : el("span", { class: "grow" }),
        field.can_remove && el("button", { type: "button", class: "lnk", "data-intent": "remove_item", "data-name": field.name, "data-index": at,
          "aria-label": `Remove ${item.title}, number ${at + 1}` }, "Remove")),
      item.fields.map((inner) => fieldRow(inner)),
      item.more.length > 0 && moreRows(item.more))),
    el("div", { class: "item-add" },
      el("span", { class: "c" }, field.help),
      kinds.length > 0 && el("span", { class: "in2", role: "group", "aria-label": `${verb}: ${field.title}` }, el("span", {}, verb),
        kinds.map((kind) => el("button", { type: "button", class: "sm", "data-intent": "add_item", "data-name": field.name, "data-kind": kind,
          id: `wb-${field.name}-${kind}` }, kind))),
      field.error && (field.is_missing ? el("span", { class: "ac" }, field.is_list ? "At least one is needed." : "One is needed.") : errorLine(field))));
}

function moreRows(fields) {
  const differ = fields.filter((field) => field.differs || field.error).length;
  const word = differ ? `${differ} of them changed` : "all at their defaults";
  return el("details", { class: "more", "data-key": "more" },
    el("summary", {}, `${fields.length} more fields, ${word}`),
    fields.map((field) => fieldRow(field)));
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
  const help = [field.facts, field.bounds, field.help].filter(Boolean).join(" · ");
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
    "aria-invalid": field.error && !field.is_missing ? "true" : null, "aria-required": field.required ? "true" : null,
  };
  if (field.control === "switch") return switchControl(field, common);
  if (field.control === "choice") return choiceControl(field, common);
  if (field.control === "json" || (field.control === "text" && field.raw.includes("\n"))) {
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
    tabindex: isOn ? "0" : "-1", ...attributes }, text);
}

function formSide(form, page) {
  return el("aside", { class: "side", "aria-label": "Before you run" },
    inputs(form), differences(form), el("span", { class: "grow" }), runButton(form, page));
}

function inputs(form) {
  const read = form.groups.flatMap((group) => group.fields).filter((field) => field.reads && field.raw);
  if (!read.length) return null;
  return el("div", { class: "block", "data-key": "inputs" }, el("h3", {}, "What it will read"),
    el("dl", { class: "reads" }, read.flatMap((field) => [
      el("dt", { class: "mono" }, field.raw), el("dd", { class: "c" }, field.facts || field.reads)])));
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
        el("td", { title: field.name }, field.title),
        el("td", { class: "r i3" }, field.default === "" ? "empty" : field.default),
        el("td", { class: field.error ? "r b fail" : "r b" }, shown(field.raw), field.error && " ✕"))))));
}

function shown(raw) {
  return raw === true ? "on" : raw === false ? "off" : raw === "" ? "empty" : raw;
}

function runButton(form, page) {
  const waits = form.waits_for.length;
  const tone = isWrong(form) ? "fail" : "";
  const isSent = page.sent === "submit";
  return el("div", { class: "block", "data-key": "run" },
    waits > 0 && el("p", { class: `s ${tone}` }, glyph(isWrong(form) ? "fail" : "wait"), ` Run waits for ${waits} field${waits > 1 ? "s" : ""}: `,
      form.waits_for.map((field, at) => [at > 0 && ", ",
        el("button", { type: "button", class: `lnk ${tone}`, "data-page": "goto", "data-name": field.name }, field.title)])),
    form.form_error && el("p", { class: "s fail" }, glyph("fail"), " ", form.form_error),
    el("button", { type: "button", class: "pri", "data-intent": "submit", disabled: !form.valid || isSent },
      isSent ? "Submitting…" : "Run"));
}

// An empty form is not wrong, it only waits.
function isWrong(form) {
  return Boolean(form.form_error) || form.waits_for.some((field) => !field.is_missing);
}

const COPY_AS = [["python", "Python"], ["command", "CLI"], ["papermill", "papermill"]];

export function copyChoice(page) {
  return el("span", { class: "seg", role: "radiogroup", "aria-label": "Copy as" },
    COPY_AS.map(([value, title]) => segment(page.copyAs === value, title, { "data-page": "copy-as", "data-value": value })));
}

function copyFooter(form, page) {
  const text = form.copy[page.copyAs];
  return el("footer", { class: "copy", "data-key": "copy" },
    copyChoice(page),
    el("pre", { tabindex: "0", "data-text": text, "aria-label": "The form as text" }, text,
      form.copy.note && el("span", { class: isWrong(form) ? "fail" : "i3" },
        isWrong(form) ? `   # not valid: ${form.copy.note}` : `   # ${form.copy.note}`)),
    el("button", { type: "button", class: "sm", "data-page": "copy", disabled: !form.valid },
      page.copied ? "Copied" : "Copy"));
}
