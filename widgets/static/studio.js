// The studio: every stage, its form, the run in view, and the newest runs.
import { el, glyph } from "./dom.js";
import { formPanel } from "./form.js";
import { rowsPanel } from "./rows.js";
import { runPanel } from "./run.js";

export function studioPanel(studio, page) {
  return [
    studioHeader(studio),
    el("div", { class: "studio", "data-key": "studio" },
      stageRail(studio),
      el("main", {},
        studio.form ? formPanel(studio.form, page) : el("p", { class: "block" }, "Choose a stage."),
        studio.run && runPanel(studio.run, page),
        studio.rows && rowsPanel(studio.rows),
        recentRuns(studio))),
  ];
}

function studioHeader(studio) {
  const { path, pool, glyph: state } = studio.workspace;
  return el("header", { class: "top", "data-key": "top" },
    el("h1", {}, "Workbench"), el("code", { class: "grow" }, path),
    el("span", { class: "st" }, glyph(state), pool));
}

function stageRail(studio) {
  return el("nav", { class: "rail", "aria-label": "Stages" },
    studio.rail.map((group) => el("div", { "data-key": group.title },
      el("h3", {}, group.title),
      group.stages.map((stage) => stageButton(stage, studio.stage)))));
}

function stageButton(stage, chosen) {
  return el("button", { type: "button", class: "stage", "data-key": stage.name, "data-intent": "choose",
    "data-stage": stage.name, disabled: Boolean(stage.problem), title: stage.problem ? `cannot be loaded: ${stage.problem}` : stage.help,
    "aria-current": stage.name === chosen ? "true" : null },
    stage.glyph ? glyph(stage.glyph) : el("span", { class: "g" }),
    el("span", { class: "n" }, stage.title), el("span", { class: "c" }, stage.word));
}

function recentRuns(studio) {
  return el("div", { class: "block recent", "data-key": "recent" },
    el("div", { class: "head" }, el("h2", {}, "Recent runs"),
      el("span", { class: "c grow" }, studio.runs.length ? "newest first" : ""),
      el("button", { type: "button", class: "sm", "data-intent": "refresh" }, "Refresh")),
    studio.runs.length ? runTable(studio) : el("p", { class: "c" }, "None yet. Fill the form above and press Run."));
}

function runTable(studio) {
  return el("table", { class: "t auto" },
    el("thead", {}, el("tr", {}, ["State", "Stage", "Run", "When", "Rows", ""].map((name) => el("th", {}, name)))),
    el("tbody", {}, studio.runs.map((run) => el("tr", { "data-key": run.run_id, class: run.run_id === studio.run?.run_id ? "on" : null },
      el("td", {}, el("span", { class: "st" }, glyph(run.glyph), run.word)),
      el("td", { class: "b" }, run.stage), el("td", { class: "mono" }, run.run_id),
      el("td", { class: "i2" }, run.when), el("td", { class: "i2" }, run.rows),
      el("td", { class: "r" }, el("button", { type: "button", class: "lnk", "data-intent": "watch",
        "data-run-id": run.run_id, "aria-label": `Watch ${run.stage} ${run.run_id}` }, "watch"))))));
}
