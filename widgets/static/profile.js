// Where a training's time and memory went: bars, and advice.
import { el } from "./dom.js";

export function profilePanel(profile) {
  return el("details", { class: "block profile", "data-key": "profile" },
    el("summary", {}, "Where the time went ", el("span", { class: "c" }, profile.speed)),
    barTable("Time", "of each worker", profile.time),
    barTable("Memory", profile.peak, profile.memory),
    el("h3", {}, "Advice"),
    el("ul", {}, profile.advice.map((text) => el("li", {}, text))));
}

function barTable(title, note, bars) {
  return el("table", { class: "t auto", "data-key": title, "aria-label": `${title}, ${note}` },
    el("thead", {}, el("tr", {}, el("th", {}, title), el("th", {}, note), el("th", {}), el("th", {}))),
    el("tbody", {}, bars.map((bar) => el("tr", { "data-key": bar.name },
      el("td", { class: "b" }, bar.name),
      el("td", {}, el("div", { class: "bar n", "aria-hidden": "true" }, el("i", { style: `width:${bar.share * 100}%` }))),
      el("td", {}, bar.percent), el("td", { class: "i2" }, bar.told)))));
}
