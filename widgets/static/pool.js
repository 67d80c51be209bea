// The pool: hosts with their slots, who works, who waits and why.
import { el, glyph } from "./dom.js";

export function poolPanel(pool) {
  return el("div", { class: "pool", "data-key": "pool" },
    el("div", { class: "strip" }, el("div", { class: "prog" }, el("div", { class: "s" }, el("b", {}, "Pool"), " · ", pool.headline))),
    pool.connection && el("p", { class: "lost warn" }, glyph("warn"), " ", pool.connection),
    pool.troubles.map((told) => el("p", { class: "lost warn" }, glyph("warn"), " ", told)),
    el("div", { class: "block hosts" }, pool.hosts.map(host)),
    pool.running.length > 0 && table("Working", ["Run", "Who", "Slots", "Priority", "Done", ""], pool.running.map(working)),
    pool.waiting.length > 0 && table("Waiting", ["Run", "Who", "Slots", "Priority", "Why", ""], pool.waiting.map(waiting)),
    outlook(pool));
}

// What would happen if: the queue's own policy, run on what is there now.
function outlook(pool) {
  const told = pool.forecast;
  const slots = told ? told.slots : pool.num_slots;
  return el("div", { class: "block", "data-key": "outlook" },
    el("h3", {}, told ? told.title : "What would happen if"),
    el("p", {}, told
      ? [ask("fewer", "One slot fewer", slots - 1, slots <= 1), ask("more", "One slot more", slots + 1), ask("twice", "Twice as many", slots * 2), ask("none", "Close", "")]
      : ask("open", "Foretell when runs start and end", Math.max(slots, 1))),
    told && el("table", { class: "t auto" },
      el("thead", {}, el("tr", {}, ["Run", "Starts", "Ends"].map((name) => el("th", {}, name)))),
      el("tbody", {}, told.rows.map((row) => el("tr", { "data-key": row.run_id },
        el("td", { class: "b" }, row.stage, " ", el("span", { class: "mono c" }, row.run_id)), el("td", {}, row.starts), el("td", {}, row.ends))))),
    told && told.rows.length === 0 && el("p", { class: "i2" }, "Nobody works and nobody waits."));
}

function ask(key, word, slots, isOff) {
  return el("button", { type: "button", class: "sm", "data-key": key, "data-intent": "foretell", "data-slots": slots, disabled: isOff }, word);
}

function host(one) {
  return el("div", { class: "host", "data-key": one.name },
    el("b", {}, one.name), el("span", { class: "c" }, one.host),
    el("span", { class: "slots", role: "list", "aria-label": `Slots of ${one.name}` }, one.slots.map(slot)),
    one.note && el("span", { class: "warn" }, one.note));
}

function slot(one) {
  const state = !one.is_alive ? "is-away" : one.is_busy ? "is-busy" : "is-free";
  return el("span", { class: `slot ${state}`, role: "listitem", title: one.told, "aria-label": `${one.slot}: ${one.told}`, "data-key": one.slot });
}

function table(title, names, rows) {
  return el("div", { class: "block", "data-key": title }, el("h3", {}, title),
    el("table", { class: "t auto" },
      el("thead", {}, el("tr", {}, names.map((name) => el("th", {}, name)))),
      el("tbody", {}, rows)));
}

function working(run) {
  return el("tr", { "data-key": run.run_id }, ...who(run, "run"), el("td", {}, run.progress || run.word),
    el("td", { class: "turn" }, button("pause", "Pause", run, !run.can_stop), button("cancel", "Cancel", run, !run.can_stop)));
}

function waiting(run) {
  return el("tr", { "data-key": run.run_id }, ...who(run, "wait"), el("td", { class: "i2" }, run.reason),
    el("td", { class: "turn" }, button("raise", "Urgent", run, run.priority === "100"), button("cancel", "Cancel", run, false)));
}

function who(run, mark) {
  return [el("td", { class: "b" }, glyph(mark), " ", run.stage, " ", el("span", { class: "mono c" }, run.run_id)),
    el("td", {}, run.who), el("td", {}, run.slots), el("td", {}, run.priority)];
}

function button(intent, word, run, isOff) {
  return el("button", { type: "button", class: "sm", "data-key": intent, "data-intent": intent, "data-run-id": run.run_id,
    disabled: isOff, "aria-label": `${word} ${run.stage} ${run.run_id}` }, word);
}
