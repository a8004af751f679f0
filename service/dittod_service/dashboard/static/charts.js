// Line charts of figures that come step by step, each with the same figures as a table. The library is fetched when the
// first chart is drawn: it weighs a megabyte. Knows nothing of what the figures mean.

import { clear, h, render, table } from "./dom.js";

const LIBRARY = "/static/chart.js";
const scheme = window.matchMedia("(prefers-color-scheme: dark)");
const TICKS = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 6 });
const COLOURS = { one: "--chart-1", chosen: "--chart-1", rejected: "--chart-2" }; // by a line's kind
let loading = null;

// Null where it does not come.
function library() {
  loading ??= new Promise((resolve) => {
    const script = h("script", { src: LIBRARY });
    script.onload = () => resolve(window.Chart);
    script.onerror = () => {
      loading = null; // the next chart tries again
      resolve(null);
    };
    document.head.append(script);
  });
  return loading;
}

/** A hyphen before a digit is a minus. */
export const withMinus = (text) => text.replace(/-(?=\d)/g, "−");

/** With as many digits as tell two steps apart; what is no number is a dash. */
export function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size >= 0.01 || size === 0 ? value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 3) : value.toPrecision(2);
  return withMinus(text);
}

/** A figure with chart, legend and table. lines: [{figure, label, kind}], kind one of those in COLOURS.
 * draw(steps, rounds): steps are [{step, figures}]; a round {at, label} is a thin line before the step `at`. */
export function lineChart({ title, unit, about, lines }) {
  const canvas = h("canvas", { role: "img" });
  const drawn = h("div", { class: "canvas" }, canvas);
  const legend = h("ul", { class: "legend plain-list small" });
  const rows = h("div", {});
  const numbers = h("details", { class: "small" }, h("summary", {}, "As numbers"), rows);
  const words = h(
    "figcaption",
    {},
    h("h3", {}, title, " ", h("span", { class: "muted" }, unit)),
    h("p", { class: "muted small" }, about),
  );
  const element = h("figure", { class: "chart" }, words, legend, drawn, numbers);
  let shown = { steps: [], rounds: [] };
  let chart = null;
  let closed = false;

  const list = () => (numbers.open ? render(rows, asTable(title, lines, shown.steps)) : clear(rows));

  function config() {
    const colours = coloursNow(element);
    const datasets = lines.map((line) => dataset(line, shown.steps, colours));
    return { data: { datasets }, options: options(unit, colours, shown.steps) };
  }

  function paint() {
    if (chart === null) return;
    Object.assign(chart, config());
    chart.update("none");
  }

  async function draw(steps, rounds = []) {
    if (closed) return undefined; // the page was left while its figures came
    shown = { steps, rounds };
    canvas.setAttribute("aria-label", inWords(title, unit, lines, steps));
    render(legend, legendOf(lines, steps));
    list();
    if (chart !== null) return paint();
    const Chart = await library();
    if (Chart === null) render(drawn, h("p", { class: "muted" }, "The chart cannot be drawn. Its numbers are below."));
    else if (!closed && chart === null) {
      chart = new Chart(canvas, { type: "line", ...config(), plugins: [roundLines(() => shown.rounds, element)] });
    }
    return undefined;
  }

  function close() {
    closed = true;
    scheme.removeEventListener("change", paint);
    chart?.destroy();
    chart = null;
  }

  numbers.ontoggle = list;
  scheme.addEventListener("change", paint);
  return { element, draw, close };
}

function asTable(title, lines, steps) {
  const heads = ["step", ...lines.map((line) => line.label)];
  return table(
    `${title}, as numbers`,
    heads,
    steps.map(({ step, figures }) => [step, ...lines.map((line) => number(figures[line.figure]))]),
  );
}

function legendOf(lines, steps) {
  const last = steps.at(-1)?.figures ?? {};
  return lines.map((line) =>
    h(
      "li",
      {},
      h("span", { class: `stroke ${line.kind}`, "aria-hidden": "true" }),
      `${line.label} `,
      h("b", {}, number(last[line.figure])),
    ),
  );
}

// "Margin, in nats, steps 1 to 40: from 0.012 to 1.4"
function inWords(title, unit, lines, steps) {
  if (!steps.length) return `${title}: no step yet`;
  const [first, last] = [steps[0], steps.at(-1)];
  const courses = lines.map(
    ({ label, figure }) =>
      `${lines.length > 1 ? `${label} ` : ""}from ${number(first.figures[figure])} to ${number(last.figures[figure])}`,
  );
  return `${title}, in ${unit}, steps ${first.step} to ${last.step}: ${courses.join("; ")}`;
}

// From the style sheet, so that light and dark are described in one place.
function coloursNow(element) {
  const style = getComputedStyle(element);
  const named = (name) => style.getPropertyValue(name).trim();
  const lines = Object.entries(COLOURS).map(([kind, name]) => [kind, named(name)]);
  const rest = {
    text: named("--muted"),
    ink: named("--ink"),
    grid: named("--line"),
    edge: named("--edge"),
    surface: named("--surface"),
  };
  return { ...Object.fromEntries(lines), ...rest, font: style.fontFamily };
}

function dataset({ figure, label, kind }, steps, colours) {
  const data = steps
    .filter(({ figures }) => Number.isFinite(figures[figure]))
    .map(({ step, figures }) => ({ x: step, y: figures[figure] }));
  const dash = kind === "rejected" ? [6, 4] : []; // told apart without colour, too
  const points = { pointRadius: data.length < 3 ? 3 : 0, pointHoverRadius: 4 };
  return {
    label,
    data,
    ...points,
    borderColor: colours[kind],
    backgroundColor: colours[kind],
    borderDash: dash,
    borderWidth: 2,
  };
}

function options(unit, colours, steps) {
  const words = { color: colours.text, font: { family: colours.font, size: 12 } };
  const x = {
    type: "linear",
    min: steps[0]?.step,
    max: steps.at(-1)?.step,
    grid: { display: false },
    border: { color: colours.grid },
    ticks: { ...words, precision: 0, maxTicksLimit: 8 },
    title: { ...words, display: true, text: "step" },
  };
  const y = {
    border: { display: false },
    ticks: { ...words, maxTicksLimit: 5, callback: (value) => withMinus(TICKS.format(value)) },
    grid: { color: ({ tick }) => (tick?.value === 0 ? colours.edge : colours.grid) },
  };
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    parsing: false,
    interaction: { mode: "index", intersect: false },
    scales: { x, y },
    plugins: { legend: { display: false }, tooltip: tooltip(unit, colours) },
  };
}

function tooltip(unit, colours) {
  return {
    backgroundColor: colours.surface,
    titleColor: colours.ink,
    bodyColor: colours.ink,
    borderColor: colours.edge,
    borderWidth: 1,
    usePointStyle: true,
    callbacks: {
      title: ([item]) => (item ? `step ${item.parsed.x}` : ""),
      label: (item) => ` ${item.dataset.label}: ${number(item.parsed.y)} ${unit}`,
    },
  };
}

function roundLines(rounds, element) {
  return {
    id: "rounds",
    beforeDatasetsDraw({ ctx, chartArea, scales }) {
      const colours = coloursNow(element);
      ctx.save();
      Object.assign(ctx, { strokeStyle: colours.edge, fillStyle: colours.text, font: `11px ${colours.font}` });
      ctx.setLineDash([2, 3]);
      for (const { at, label } of rounds()) {
        const x = scales.x.getPixelForValue(at - 0.5); // samples are drawn between two steps
        if (x <= chartArea.left || x >= chartArea.right) continue;
        ctx.beginPath();
        ctx.moveTo(x, chartArea.top);
        ctx.lineTo(x, chartArea.bottom);
        ctx.stroke();
        if (chartArea.right - x > 64) ctx.fillText(label, x + 4, chartArea.top + 10);
      }
      ctx.restore();
    },
  };
}
