/* Charts with axes, drawn in the pixels they take. */
const SVG = "http://www.w3.org/2000/svg";
const EDGE = { left: 34, right: 6, top: 8, bottom: 18 };
const CHART_HEIGHT = 110;

class Chart {
  constructor(label) {
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("role", "img");
    this.caption = element("figcaption", {}, label);
    this.figure = element("figure", {}, this.caption, this.svg);
    this.width = 300;
  }

  draw(name, attributes, text) {
    const shape = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    if (text !== undefined) shape.textContent = text;
    this.svg.append(shape);
  }

  x(share) {
    return EDGE.left + share * (this.width - EDGE.left - EDGE.right);
  }

  y(share) {
    return CHART_HEIGHT - EDGE.bottom - share * (CHART_HEIGHT - EDGE.top - EDGE.bottom);
  }

  /* Begins anew, with numbers at both axes: `top` and half of it at the left, `from` and `to` below. */
  axes(top, from, to, unit) {
    this.width = this.svg.clientWidth || this.width;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${CHART_HEIGHT}`);
    this.svg.replaceChildren();
    for (const share of [0, 0.5, 1]) {
      const y = this.y(share);
      this.draw("line", {
        class: "grid",
        x1: EDGE.left,
        x2: this.width - EDGE.right,
        y1: y,
        y2: y,
      });
      this.draw("text", { x: EDGE.left - 5, y: y + 4, "text-anchor": "end" }, rounded(share * top));
    }
    const below = CHART_HEIGHT - 4;
    this.draw("text", { x: EDGE.left, y: below }, from);
    this.draw(
      "text",
      { x: this.width - EDGE.right, y: below, "text-anchor": "end" },
      to + " " + unit,
    );
  }
}

function rounded(value) {
  return value >= 10 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

/* A top of the axis that is easy to read: 1, 2 or 5 times a power of ten, or between. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 3, 4, 5, 6, 8, 10].map(step => step * power).find(top => top >= value);
}

/* Tokens drafted and kept per step. */
function plotDrafts(chart, steps) {
  const shown = steps.slice(-80);
  const most = Math.max(4, ...shown.map(step => step.gamma));
  const top = most % 2 ? most + 1 : most;
  const first = steps.length - shown.length + 1;
  chart.axes(top, String(first), String(steps.length), steps.length === 1 ? "step" : "steps");
  const slots = Math.max(20, shown.length);
  shown.forEach((step, index) => {
    const bar = (count, kind) => {
      if (!count) return;
      const x = chart.x((index + 0.1) / slots),
        y = chart.y(count / top);
      chart.draw("rect", {
        class: kind,
        x,
        y,
        width: chart.x((index + 0.9) / slots) - x,
        height: chart.y(0) - y,
      });
    };
    bar(step.gamma, "bar");
    bar(step.accepted, "kept");
  });
  const sum = name => steps.reduce((all, step) => all + step[name], 0);
  const [drafted, kept] = [sum("gamma"), sum("accepted")];
  const share = drafted ? Math.round((100 * kept) / drafted) : 0;
  chart.caption.textContent = drafted
    ? `Drafted tokens per step; green: kept (${share} %)`
    : "Drafted tokens per step: none";
  chart.svg.setAttribute(
    "aria-label",
    `${drafted} tokens drafted in ${steps.length} steps, ${kept} kept`,
  );
}

/* Tokens per second over the last eight steps; the first step reads the prompt and is no decoding. */
function ratesOf(steps) {
  const rates = [];
  let elapsed = 0;
  for (let end = 1; end < steps.length; end++) {
    elapsed += steps[end].ms;
    const window = steps.slice(Math.max(1, end - 7), end + 1);
    const ms = window.reduce((sum, step) => sum + step.ms, 0);
    const tokens = window.reduce((sum, step) => sum + step.tokens, 0);
    if (ms > 0) rates.push({ rate: (1000 * tokens) / ms, seconds: elapsed / 1000 });
  }
  return rates;
}

/* Speed over time. `others`: rates that share the scale. */
function plotSpeed(chart, rates, others) {
  if (!rates.length) return;
  const most = Math.max(...rates.concat(others).map(point => point.rate));
  const top = ceiling(1.05 * most),
    end = rates[rates.length - 1].seconds || 1;
  chart.axes(top, "0", end.toFixed(1), "s");
  const points = rates.map(
    ({ rate, seconds }) => `${chart.x(seconds / end).toFixed(1)},${chart.y(rate / top).toFixed(1)}`,
  );
  chart.draw("polyline", { class: "curve", points: points.join(" ") });
  chart.caption.textContent = "Tokens per second";
  const last = rates[rates.length - 1].rate.toFixed(1);
  chart.svg.setAttribute("aria-label", `Last ${last} tokens per second, scale from 0 to ${top}`);
}
