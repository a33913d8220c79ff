// The caterpillar: every group's coefficient with its interval, in the order of the fit.

import { Chart, putDots } from "./chart.js";
import { clamp, segment, shortLabel } from "./svg.js";
import { estimateDomain } from "./view_arrows.js";

export class CaterpillarView extends Chart {
  constructor(app) {
    super(app, "caterpillar", "All groups with their intervals", true);
  }

  heightFor(width) {
    const rows = (this.app.model.J * 1.15 + 4) * this.em;
    return Math.min(Math.max(super.heightFor(width), Math.min(rows, 36 * this.em)), this.large ? 1e4 : 36 * this.em);
  }

  draw() {
    const { app } = this;
    const { shown, payload, state } = app;
    const k = state.effect;
    const em = this.em;
    const order = app.order;
    const longest = Math.max(...payload.levels.map((l) => Math.min(14, Array.from(l).length)));
    const scale = payload.link === "identity" ? "" : ` (${payload.link} scale)`;
    this.frame(
      { domain: estimateDomain(app, k, true), label: payload.effects[k].name + scale },
      null,
      { left: 1.2 + 0.56 * longest },
    );
    const { top, bottom } = this.box;
    const share = (bottom - top) / order.length;
    const rowOf = new Float64Array(order.length);
    order.forEach((j, i) => (rowOf[j] = bottom - (i + 0.5) * share));
    this.rowOf = rowOf;
    this.own = (j) => [this.x(shown.unpooled[k][j]), rowOf[j]];
    this.pooled = (j) => [this.x(shown.theta[k][j]), rowOf[j]];
    const sd = app.spread(k);
    const at = this.x(shown.beta[k]);
    if (Number.isFinite(sd)) {
      const [a, b] = [shown.beta[k] - sd, shown.beta[k] + sd].map(this.x);
      this.put("data", "band", "rect", { class: "bm-spread", x: a, width: Math.max(0, b - a), y: top, height: bottom - top });
    }
    this.path("data", "population", segment(at, top, at, bottom), { class: "bm-population" });
    let intervals = "";
    for (let j = 0; j < order.length; j++) intervals += this.intervalOf(j);
    const thick = Math.min(0.34 * em, Math.max(0.5, 0.45 * share));
    this.path("data", "intervals", intervals, { class: "bm-interval", "stroke-width": thick.toFixed(2) });
    const r = Math.min(0.3 * em, Math.max(0.9, 0.32 * share));
    const many = share < 0.5 * em;
    putDots(this, "data", "partial", "bm-partial-solid", () => r, this.pooled);
    putDots(this, "data", "own", `bm-own${many ? " bm-many" : ""}`, () => Math.max(0.8, 0.6 * r), this.own, (j) => !state.out[j]);
    this.drawLabels(order, rowOf, share);
    this.drawCurrent(rowOf, Math.max(share, 0.5 * em));
    this.setNote(
      `Orange: pooled estimate with ${Math.round(100 * payload.prob)}% interval; small dots: the group by itself. ` +
        "Line and band: the population and one standard deviation of groups.",
    );
  }

  // The interval of a level, cut a little beyond the figure.
  intervalOf(j) {
    const { shown, state } = this.app;
    const cut = (x) => clamp(this.x(x), this.box.left - 5, this.box.right + 5);
    const y = this.rowOf[j];
    return segment(cut(shown.low[state.effect][j]), y, cut(shown.high[state.effect][j]), y);
  }

  drawLabels(order, rowOf, share) {
    const em = this.em;
    const step = Math.max(1, Math.ceil((1.05 * em) / share));
    const current = this.app.current;
    for (let i = 0; i < order.length; i += step) {
      const j = order[i];
      if (j !== current && Math.abs(rowOf[j] - rowOf[current]) < 1.05 * em) continue;
      this.level(j, rowOf[j], "bm-label");
    }
    this.level(current, rowOf[current], "bm-label bm-current");
  }

  level(j, y, name) {
    this.words(`row${j}`, this.box.left - 0.5 * this.em, y + 0.33 * this.em, shortLabel(this.app.payload.levels[j], 14), {
      class: name, "text-anchor": "end",
    });
  }

  drawCurrent(rowOf, share) {
    const { app } = this;
    const { left, right } = this.box;
    const j = app.current;
    this.put("back", "row", "rect", {
      class: "bm-row", x: left, width: right - left, y: (rowOf[j] - share / 2).toFixed(1), height: share.toFixed(1),
    });
    this.path("front", "interval", this.intervalOf(j), { class: "bm-interval-current" });
    const [x1, y1] = this.own(j);
    const [x2, y2] = this.pooled(j);
    const r = 0.34 * this.em;
    if (Number.isFinite(x1) && !app.state.out[j]) {
      this.put("front", "own", "circle", { class: `bm-own-current${j === app.state.selected ? " bm-handle" : ""}`, cx: x1, cy: y1, r });
    }
    if (Number.isFinite(x2)) this.put("front", "partial", "circle", { class: "bm-partial-current", cx: x2, cy: y2, r });
  }

  pick(px, py) {
    if (!this.rowOf || py < this.box.top || py > this.box.bottom) return -1;
    const { order } = this.app;
    const share = (this.box.bottom - this.box.top) / order.length;
    const i = Math.floor((this.box.bottom - py) / share);
    return i >= 0 && i < order.length ? order[i] : -1;
  }

  handle(px, py) {
    const { app } = this;
    const j = app.state.selected;
    const k = app.state.effect;
    if (!this.rowOf || app.state.out[j] || !app.results.unpooled.every((own) => Number.isFinite(own[j]))) return null;
    const [x, y] = this.own(j);
    if (Math.hypot(x - px, y - py) > 0.8 * this.em) return null;
    const start = (app.state.shift[j] || [0, 0]).slice();
    const from = app.results.unpooled[k][j];
    return {
      level: j,
      drag: (to) => {
        const moved = start.slice(0, app.model.K);
        moved[k] += this.x.invert(to) - from;
        app.setShift(j, moved);
      },
    };
  }

  nudge(vertical, sign) {
    if (vertical) return null;
    const step = ((this.x.domain[1] - this.x.domain[0]) / 100) * sign;
    return this.app.state.effect === 0 ? [step, 0] : [0, step];
  }
}
