// What a cleaning found, as small bars, and texts with the signs in them that nobody can see.
import { el, svg } from "./dom.js";

const PIECE = { removed: "del", added: "ins", same: "span" };

export function textPieces(parts) {
  if (!parts.length) return el("span", { class: "i3" }, "empty");
  return el("span", { dir: "auto", class: "text" }, parts.map(([kind, text]) => {
    const [mark, sign] = kind.split(" ");
    return el(PIECE[mark] ?? "span", sign ? { class: "sign" } : {}, text);
  }));
}

export function factsPanel(facts) {
  const { duplicates } = facts;
  return el("div", { class: "four", "data-key": "facts" },
    factBlock("Languages", "of kept rows", facts.languages),
    factBlock("Lengths", "words of kept rows", facts.lengths),
    factBlock("Sources", "rows in → kept", facts.sources),
    el("div", { class: "block", "data-key": "Duplicates" },
      el("div", { class: "head" }, el("h2", {}, "Duplicates"), el("span", { class: "c" }, `${duplicates.share} of all rows`)),
      el("dl", { class: "pairs" },
        el("dt", {}, "the same words"), el("dd", {}, duplicates.exact),
        el("dt", {}, "nearly the same"), el("dd", {}, duplicates.near)),
      jaccardBars(duplicates.bars)));
}

function factBlock(title, note, bars) {
  return el("div", { class: "block", "data-key": title },
    el("div", { class: "head" }, el("h2", {}, title), el("span", { class: "c" }, note)),
    bars.length
      ? el("ul", { class: "hbars" }, bars.map((bar) => el("li", { "data-key": bar.name },
        el("span", { class: "cut", title: bar.name }, bar.name),
        el("span", { class: "track" }, bar.share > 0 && el("i", { style: `width:${(bar.share * 100).toFixed(1)}%` })),
        el("span", { class: "r" }, bar.count))))
      : el("p", { class: "c" }, "not known"));
}

function jaccardBars(bars) {
  if (!bars.some(Boolean)) return el("p", { class: "c" }, "No near-duplicate was dropped.");
  const width = 200, height = 34, step = width / bars.length;
  return el("figure", { class: "jac" },
    svg("svg", { viewBox: `0 0 ${width} ${height + 14}`, role: "img", "aria-label": "Near-duplicates by Jaccard similarity to their relative, 0.5 to 1" },
      bars.map((bar, at) => bar > 0 && svg("rect", { class: "f2", x: (at * step).toFixed(1), width: (step - 1).toFixed(1),
        y: (height - Math.max(1, Math.sqrt(bar) * height)).toFixed(1), height: Math.max(1, Math.sqrt(bar) * height).toFixed(1) })),
      svg("path", { class: "axl", d: `M0,${height}.5h${width}` }),
      svg("text", { x: 0, y: height + 12 }, "Jaccard .5"), svg("text", { class: "m", x: width / 2, y: height + 12 }, ".75"),
      svg("text", { class: "e", x: width, y: height + 12 }, "1")));
}
