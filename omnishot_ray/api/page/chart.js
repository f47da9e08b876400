// Lines over the last five minutes, in SVG. A visitor reads them with the pointer or the arrow keys.
import { draw, make, put } from "./dom.js";

const SPAN_S = 300;
const GAP_S = 8;
const HEIGHT = 190;
const EDGE = { left: 46, right: 10, top: 10, bottom: 22 };

/** What has been seen lately, oldest first: a page keeps five minutes and no more. */
export class History {
  points = [];

  add(atS, values) {
    const last = this.points.at(-1);
    if (last && atS <= last.atS) return;
    this.points.push({ atS, ...values });
    while (this.points[0].atS < atS - SPAN_S) this.points.shift();
  }

  replace(points) {
    this.points = points;
  }
}

/** The upper end of an axis: the next of 1, 2, 2.5, 5 × 10ⁿ, so that its half is a round number. */
export function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= value) * power;
}

/** A figure with `lines` of `{name, title, area?}` over a `History`; `word` turns values to text. */
export class Chart {
  constructor(figure, { title, lines, word }) {
    this.figure = figure;
    this.title = title;
    this.lines = lines;
    this.word = word;
    this.history = null;
    this.chosen = null;
    this.svg = draw("svg", { class: "plot", role: "img", tabindex: "0", height: HEIGHT });
    this.legend = make("ul", { class: "legend" });
    this.moment = make("span", { class: "moment" });
    figure.replaceChildren(
      make("figcaption", {}, make("h3", {}, title), this.moment),
      this.legend,
      this.svg,
    );
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.choose(null));
    this.svg.addEventListener("blur", () => this.choose(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.render()).observe(figure);
  }

  show(history) {
    this.history = history;
    this.render();
  }

  point(event) {
    if (!this.history?.points.length) return;
    const x = event.clientX - this.svg.getBoundingClientRect().left;
    const atS = this.endS - SPAN_S * (1 - (x - EDGE.left) / this.plotWidth);
    const distance = (point) => Math.abs(point.atS - atS);
    const nearest = this.history.points.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    this.choose(nearest.atS);
  }

  step(event) {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!direction || !this.history?.points.length) return;
    event.preventDefault();
    const points = this.history.points;
    const at = points.findIndex((point) => point.atS === this.chosen);
    const next = at < 0 ? points.length - 1 : at + direction;
    this.choose(points[Math.min(points.length - 1, Math.max(0, next))].atS);
  }

  choose(atS) {
    this.chosen = atS;
    this.render();
  }

  get plotWidth() {
    return this.width - EDGE.left - EDGE.right;
  }

  get endS() {
    return this.history.points.at(-1).atS;
  }

  render() {
    const points = this.history?.points ?? [];
    this.width = Math.round(this.svg.getBoundingClientRect().width);
    if (!points.length || this.width <= EDGE.left + EDGE.right) return;
    const chosen = points.find((point) => point.atS === this.chosen) ?? null;
    const shown = chosen ?? points.at(-1);
    const values = points.flatMap((point) => this.lines.map(({ name }) => point[name] ?? 0));
    this.top = niceTop(Math.max(...values));
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("aria-label", `${this.title}: ${this.describe(shown)}`);
    this.svg.replaceChildren(...this.grid(), ...this.marks(points), ...this.cursor(chosen));
    this.moment.textContent = chosen
      ? new Date(chosen.atS * 1000).toLocaleTimeString()
      : "last 5 minutes";
    put(this.legend, ...this.lines.map((line) => this.entry(line, shown)));
  }

  describe(point) {
    return this.lines.map(({ name, title }) => `${title} ${this.word(point[name])}`).join(", ");
  }

  entry({ name, title }, point) {
    return make(
      "li",
      { class: `line-${name}` },
      make("span", { class: "swatch", "aria-hidden": "true" }),
      `${title} `,
      make("b", {}, this.word(point[name])),
    );
  }

  x(atS) {
    return EDGE.left + this.plotWidth * (1 - (this.endS - atS) / SPAN_S);
  }

  y(value) {
    return EDGE.top + (HEIGHT - EDGE.top - EDGE.bottom) * (1 - value / this.top);
  }

  grid() {
    const right = this.width - EDGE.right;
    const rows = [0, this.top / 2, this.top].flatMap((value) => [
      draw("line", { class: "rule", x1: EDGE.left, x2: right, y1: this.y(value), y2: this.y(value) }),
      draw(
        "text",
        { class: "tick", x: EDGE.left - 6, y: this.y(value) + 4, "text-anchor": "end" },
        this.word(value),
      ),
    ]);
    const minutesShown = this.width < 480 ? [4, 2, 0] : [5, 4, 3, 2, 1, 0];
    const columns = minutesShown.map((minutes) =>
      draw(
        "text",
        {
          class: "tick",
          x: this.x(this.endS - minutes * 60),
          y: HEIGHT - 5,
          "text-anchor": minutes === 0 ? "end" : minutes === 5 ? "start" : "middle",
        },
        minutes ? `−${minutes} min` : "now",
      ),
    );
    return [...rows, ...columns];
  }

  /** Each line in as many pieces as there are gaps: nothing is drawn where nothing was seen. */
  marks(points) {
    return this.lines.flatMap(({ name, area }) => {
      const pieces = [];
      let before = null;
      for (const point of points) {
        if (point[name] == null) {
          before = null;
          continue;
        }
        if (before === null || point.atS - before > GAP_S) pieces.push([]);
        pieces.at(-1).push(`${this.x(point.atS).toFixed(1)},${this.y(point[name]).toFixed(1)}`);
        before = point.atS;
      }
      return pieces.flatMap((piece) => {
        const line = `M${piece.join("L")}`;
        const [from, to] = [piece[0], piece.at(-1)].map((place) => place.split(",")[0]);
        const base = this.y(0).toFixed(1);
        return [
          area &&
            draw("path", { class: `area line-${name}`, d: `${line}L${to},${base}L${from},${base}Z` }),
          draw("path", { class: `stroke line-${name}`, d: piece.length > 1 ? line : `${line}h.1` }),
        ].filter(Boolean);
      });
    });
  }

  cursor(point) {
    if (!point) return [];
    const x = this.x(point.atS);
    return [
      draw("line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
      ...this.lines
        .filter(({ name }) => point[name] != null)
        .map(({ name }) =>
          draw("circle", { class: `knob line-${name}`, cx: x, cy: this.y(point[name]), r: 3.5 }),
        ),
    ];
  }
}
