// A run: strip, curves, rows, outputs, log and, if it failed, why.
import { el, glyph } from "./dom.js";
import { chartPanel } from "./chart.js";
import { profilePanel } from "./profile.js";

const WORDS = { pause: "Pause", resume: "Resume", cancel: "Cancel" };
const ASKED = { pause: "Pausing…", resume: "Resuming…", cancel: "Cancelling…" };

export function runPanel(run, page) {
  return el("div", { class: "run", "data-key": `run-${run.run_id}` },
    runStrip(run, page),
    run.connection && el("p", { class: "lost warn" }, glyph("warn"), " ", run.connection),
    run.error && errorCard(run.error),
    runBody(run));
}

function runStrip(run, page) {
  const progress = run.progress;
  return el("div", { class: `strip is-${run.state}` },
    el("div", { class: "who" }, glyph(run.glyph), el("b", {}, run.stage), el("span", { class: "c" }, run.who)),
    el("div", { class: "prog" },
      el("div", { class: "s" }, el("b", { class: run.state === "running" ? "ac" : null }, run.word),
        [progress?.text, progress?.note, run.times].filter(Boolean).map((text) => [" · ", text])),
      progress && bar(progress, run)),
    run.figure.value && el("div", { class: "left" }, el("b", { class: "big" }, run.figure.value), el("span", { class: "c" }, run.figure.of)),
    el("div", { class: "btns" }, run.actions.map((action) => actionButton(run, action, page))));
}

function bar(progress, run) {
  const percent = Math.round(progress.share * 1000) / 10;
  return el("div", { class: run.is_over ? "bar n" : "bar", role: "progressbar", "aria-valuemin": 0,
    "aria-valuemax": 100, "aria-valuenow": percent, "aria-label": `${run.stage} progress` },
    el("i", { style: `width:${percent}%` }));
}

function actionButton(run, action, page) {
  const isSent = page.sent === action || run.asked === action;
  return el("button", { type: "button", "data-key": action, "data-intent": action, "data-run-id": run.run_id,
    disabled: isSent }, isSent ? ASKED[action] : WORDS[action]);
}

function errorCard(error) {
  return el("div", { class: "errcard", role: "alert" },
    el("p", {}, glyph("fail"), " ", el("b", { class: "fail" }, error.owner), " ", el("span", {}, error.what)),
    el("dl", {},
      error.where && [el("dt", {}, "Where"), el("dd", {}, error.where)],
      error.next_step && [el("dt", {}, "Next step"), el("dd", {}, error.next_step)]),
    error.detail && el("details", {}, el("summary", {}, "Traceback"), el("pre", {}, error.detail)));
}

function runBody(run) {
  const facts = [rowsFact(run), ...run.figures.map((figure) => fact(figure.value, figure.name)), checkpointFact(run)].filter(Boolean);
  return el("div", { class: "run-body" },
    facts.length > 0 && el("div", { class: "facts" }, facts),
    run.charts.length > 0 && el("div", { class: "charts" }, run.charts.map(chartPanel)),
    run.outputs.length > 0 && outputTable(run),
    run.profile && profilePanel(run.profile),
    logTail(run));
}

function fact(value, name) {
  return el("div", { class: "fact", "data-key": name }, el("b", {}, value), el("span", { class: "c" }, name));
}

function rowsFact(run) {
  if (!run.rows) return null;
  const name = run.rows.share ? `rows in → rows out, ${run.rows.share}` : "rows in → rows out";
  return fact(`${run.rows.read} → ${run.rows.written}`, name);
}

function checkpointFact(run) {
  return run.num_checkpoints > 0 && fact(run.num_checkpoints, run.num_checkpoints > 1 ? "durable parts" : "durable part");
}

function outputTable(run) {
  return el("div", { class: "block" }, el("h3", {}, "Made"),
    el("table", { class: "t auto" },
      el("thead", {}, el("tr", {}, ["Output", "Artifact", "Kind", "Facts"].map((name) => el("th", {}, name)))),
      el("tbody", {}, run.outputs.map((made) => el("tr", { "data-key": made.output },
        el("td", { class: "b" }, made.output), el("td", { class: "mono" }, made.reference),
        el("td", {}, made.kind), el("td", { class: "i2" }, made.facts))))));
}

function logTail(run) {
  if (!run.log.length && !run.num_missing) return null;
  const last = run.log[run.log.length - 1];
  return el("details", { class: "log", "data-key": "log" },
    el("summary", {}, "Log ", el("span", { class: "c" }, last ? `${last.time} ${last.message}` : "")),
    run.num_missing > 0 && el("p", { class: "c warn" }, `${run.num_missing} events did not arrive`),
    el("ol", { tabindex: "0", "aria-label": "Log, newest last" },
      run.log.slice(-60).map((line) => el("li", {}, el("time", {}, line.time), el("span", {}, line.message)))));
}
