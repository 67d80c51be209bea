// A study: how the best came about, and its trials.
import { el, glyph } from "./dom.js";
import { chartPanel } from "./chart.js";

export function studyPanel(study, dashboard) {
  return el("div", { class: "run-body study", "data-key": "study" },
    el("p", {}, el("b", {}, study.headline),
      dashboard && [" · ", el("a", { href: dashboard, target: "_blank", rel: "noopener" }, "optuna-dashboard")]),
    study.best && el("p", { class: "best" }, "Best: ", study.best),
    study.charts.length > 0 && el("div", { class: "charts" }, study.charts.map(chartPanel)),
    study.trials.length > 0 && trialTable(study));
}

function trialTable(study) {
  return el("div", { class: "block" }, el("h3", {}, "Trials"),
    el("table", { class: "t auto" },
      el("thead", {}, el("tr", {}, study.names.map((name) => el("th", {}, name)))),
      el("tbody", {}, study.trials.map((trial) => el("tr", { "data-key": trial.trial },
        trial.cells.map((cell, at) => el("td", { class: at ? null : "b" }, cell)),
        el("td", {}, glyph(trial.glyph), " ", trial.word))))),
    study.more > 0 && el("p", { class: "c" }, `and ${study.more} more`));
}
