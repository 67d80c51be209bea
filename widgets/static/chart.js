// One curve, drawn to scale: points and ticks come scaled to 0..1.
import { el, svg } from "./dom.js";

const SIZE = { width: 520, height: 170, left: 46, right: 10, top: 10, bottom: 24 };

export function chartPanel(chart) {
  const { width, height, left, right, top, bottom } = SIZE;
  const x = (share) => (left + share * (width - left - right)).toFixed(1);
  const y = (share) => (top + (1 - share) * (height - top - bottom)).toFixed(1);
  const line = chart.points.map(([px, py]) => `${x(px)},${y(py)}`).join(" ");
  const [lastX, lastY] = chart.points[chart.points.length - 1];
  return el("figure", { class: "chart", "data-key": chart.name },
    el("figcaption", {}, el("b", {}, chart.name), el("span", { class: "c" }, ` by step, at ${chart.last_step}: `),
      el("b", { class: "ac" }, chart.last)),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": chart.words },
      chart.y_ticks.map((tick) => [
        svg("line", { class: "gr", x1: left, x2: width - right, y1: y(tick.at), y2: y(tick.at) }),
        svg("text", { class: "e", x: left - 6, y: y(tick.at), dy: 4 }, tick.text),
      ]),
      svg("line", { class: "axl", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
      chart.x_ticks.map((tick) => svg("text", { class: "m", x: x(tick.at), y: height - 8 }, tick.text)),
      svg("polyline", { class: "l1", points: line }),
      svg("circle", { class: "f1", cx: x(lastX), cy: y(lastY), r: 3.5 })));
}
