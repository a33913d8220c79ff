// Regression lines of all groups, the current one with its rows; with an intercept alone, its rows
// and the means of all groups.

import { Chart, putDots, radiusOf, ring } from "./chart.js";
import { FORWARD_LINKS, INVERSE_LINKS } from "./normal.js";
import { bulk, clamp, cross, dot, plain, polyline, segment, widened } from "./svg.js";

export class LinesView extends Chart {
  constructor(app) {
    super(app, "lines", "What that means for the data", true);
    const { counts, y, raw } = app.payload.rows;
    this.inverse = raw ? INVERSE_LINKS[app.payload.link] : null;
    this.values = raw || y;
    this.starts = [];
    let at = 0;
    for (const count of counts) {
      this.starts.push(at);
      at += count;
    }
  }

  rowsOf(j) {
    const { rows } = this.app.payload;
    const from = this.starts[j];
    const to = from + rows.counts[j];
    return [rows.x.slice(from, to), this.values.slice(from, to)];
  }

  // By how much the reader moved a row of level j with the last column x.
  moved(j, x) {
    const shift = this.app.state.shift[j];
    if (!shift) return 0;
    const { profile } = this.app.payload;
    if (this.app.model.K === 1) return shift[0] * x;
    return shift[0] * (profile.start + profile.slope * x) + shift[1] * x;
  }

  // What of the linear predictor of the block is drawn, and where a row is: on the scale of the
  // response where the link allows it, with everything else at its mean.
  toResponse(eta) {
    return this.inverse ? this.inverse(this.app.payload.profile.rest + eta) : eta;
  }

  responseAt(eta) {
    return this.inverse ? this.up(this.toResponse(eta)) : eta;
  }

  toBlock(value) {
    if (!this.inverse) return value;
    const { link, profile } = this.app.payload;
    const least = link === "log" || link === "sqrt" ? 0.05 : 0.002;
    const most = link === "log" || link === "sqrt" ? Infinity : 1 - least;
    return FORWARD_LINKS[link](clamp(value, least, most)) - profile.rest;
  }

  rowAt(j, x, y) {
    return this.inverse ? this.up(y) : y + this.moved(j, x);
  }

  // Counts and amounts are drawn on an axis of square roots, which shows small ones too.
  get rooted() {
    const { link } = this.app.payload;
    return Boolean(this.inverse) && (link === "log" || link === "sqrt");
  }

  up(value) {
    return this.rooted ? Math.sqrt(Math.max(0, value)) : value;
  }

  down(place) {
    return this.rooted ? Math.max(0, place) ** 2 : place;
  }

  // The vertical axis.
  axisOfResponse() {
    const domain = this.domainOfRows();
    const label = this.responseLabel();
    if (!this.rooted) return { domain, label };
    const most = domain[1];
    const power = Math.pow(10, Math.floor(Math.log10(most)));
    const all = [0, 0.01, 0.05, 0.2, 1].map((x) => x * power).concat([2, 5, 10].map((x) => x * power));
    return {
      domain: [-0.03 * Math.sqrt(most), Math.sqrt(most)],
      label: `${label} (axis of square roots)`,
      ticks: all.filter((x) => x <= most).map(Math.sqrt),
      text: (x) => plain(x * x),
    };
  }

  // The ends of the rows. A working response can be far from all others, where the row weighs next to
  // nothing: then the ends of most rows and of all estimates.
  get limits() {
    if (!this._limits) {
      this._limits = [Math.min(...this.values), Math.max(...this.values)];
      const { fit, profile } = this.app.payload;
      if (!this.app.payload.exact && !this.inverse) {
        const [least, most] = bulk(this.values);
        const there = [...this.values.filter((y) => y >= least && y <= most)];
        for (const pair of [fit.mean, fit.unpooled]) {
          const known = (j) => pair.every((x) => x[j] !== null);
          const levels = pair[0].map((_, j) => j).filter(known);
          for (const x of profile.x) there.push(...levels.map((j) => this.app.lineValue(pair, j, x)));
        }
        this._limits = [Math.min(...there), Math.max(...there)];
      }
    }
    return this._limits;
  }

  within(value) {
    return value >= this.limits[0] && value <= this.limits[1];
  }

  // What a note says of rows that are not drawn.
  missing() {
    const beyond = this.values.filter((y) => !this.within(y)).length;
    return (
      (this.app.payload.rows.thinned ? " Not all rows are drawn." : "") +
      (beyond ? ` Beyond the axis: ${beyond} ${beyond === 1 ? "row" : "rows"}.` : "")
    );
  }

  domainOfRows() {
    const { app } = this;
    const { link } = app.payload;
    if (this.inverse && link !== "log" && link !== "sqrt") return [-0.04, 1.04];
    let [low, high] = this.limits;
    const include = (value) => {
      if (!Number.isFinite(value)) return;
      low = Math.min(low, value);
      high = Math.max(high, value);
    };
    for (const j of Object.keys(app.state.outlier)) include(this.toResponse(app.state.outlier[j]));
    for (const j of Object.keys(app.state.shift)) {
      const [xs, ys] = this.rowsOf(j);
      ys.forEach((value, i) => this.within(value) && include(this.rowAt(j, xs[i], value)));
    }
    return this.inverse ? [0, 1.1 * high] : widened(low, high, 0.08);
  }

  draw() {
    const { lined, model } = this.app;
    if (lined) this.drawLines();
    else if (model.K === 1) this.drawMeans();
    else this.drawNothing();
  }

  drawNothing() {
    this.frame({ domain: [0, 1], ticks: [] }, null, { left: 1 });
    this.words("none", this.width / 2, this.height / 2, "These two effects make no line.", {
      class: "bm-hint bm-ink", "text-anchor": "middle",
    });
    this.setNote("This figure needs an intercept and one predictor, in that order, or one effect alone.");
  }

  responseLabel() {
    const { payload } = this.app;
    const { name } = payload.response;
    if (this.inverse) return payload.response.trials ? `part of ${name}` : name;
    if (!payload.exact) return `working response (${payload.link} scale)`;
    return Math.abs(payload.profile.rest) > 1e-9 * (1 + Math.abs(payload.beta[0]))
      ? `${name}, less the rest of the model`
      : name;
  }

  drawLines() {
    const { app } = this;
    const { shown, payload, state, model } = app;
    const { profile } = payload;
    const last = model.K - 1;
    this.frame(
      { domain: widened(profile.x[0], profile.x[1], 0.03), label: payload.effects[last].name },
      this.axisOfResponse(),
      { left: 4.4 },
    );
    const pieces = this.inverse ? (model.J > 150 ? 8 : 24) : 1;
    const xs = Array.from({ length: pieces + 1 }, (_, i) => profile.x[0] + ((profile.x[1] - profile.x[0]) * i) / pieces);
    const line = (pair, j) => polyline(xs.map((x) => [this.x(x), this.y(this.responseAt(app.lineValue(pair, j, x)))]));
    this.lineOf = (j, px) => this.y(this.responseAt(app.lineValue(shown.theta, j, this.x.invert(px))));
    const many = model.J > 150 ? " bm-many" : "";
    let all = "";
    for (let j = 0; j < model.J; j++) all += line(shown.theta, j);
    this.path("data", "all", all, { class: `bm-lines${many}` });
    const beta = shown.beta.map((b) => [b]);
    const j = app.current;
    const draws = state.mode === "fit" ? app.levelDraws(j) : null;
    if (draws) {
      let d = "";
      draws[0].slice(0, 40).forEach((_, i) => (d += line(draws, i)));
      this.path("data", "draws", d, { class: "bm-line-draws" });
    }
    this.path("data", "population", line(beta, 0), { class: "bm-line-population" });
    if (!state.out[j]) this.path("front", "own", line(shown.unpooled, j), { class: "bm-line-own" });
    this.path("front", "partial", line(shown.theta, j), { class: "bm-line-partial" });
    this.drawRows(j, (x) => this.x(x));
    this.setNote(
      "Current group: its rows, its own line (dashed), the pooled one (orange) and the population's (blue)." +
        this.missing(),
    );
  }

  drawRows(j, place) {
    const { app } = this;
    const [xs, ys] = this.rowsOf(j);
    let d = "";
    ys.forEach((value, i) => {
      d += dot(place(xs[i], i), this.y(this.rowAt(j, xs[i], value)));
    });
    const name = app.state.out[j] ? "bm-dots bm-rows bm-left-out" : "bm-dots bm-rows";
    this.path("front", "rows", d, { class: name, "stroke-width": 0.5 * this.em });
    const outlier = app.state.outlier[j];
    this.outlierAt = null;
    if (outlier === undefined || app.state.out[j]) return;
    const z = app.model.outlier.z[j];
    const x = place(app.model.K === 2 ? z[1] : z[0], ys.length);
    const y = this.y(this.responseAt(outlier));
    this.outlierAt = [x, y];
    this.path("front", "outlier", cross(x, y, 0.45 * this.em), { class: "bm-outlier" });
    this.words("outlier", x, Math.max(y - 0.9 * this.em, this.box.top + 0.5 * this.em), "outlier", { class: "bm-label", "text-anchor": x > this.width - 4 * this.em ? "end" : "middle" });
  }

  // One effect that is the same in all rows: groups side by side, in the order of the fit.
  drawMeans() {
    const { app } = this;
    const { shown, payload, state, model } = app;
    const em = this.em;
    const order = app.order;
    const column = payload.profile.mean[0];
    this.frame(
      { domain: [-0.7, order.length - 0.3], label: `${payload.group}, in order`, ticks: [] },
      this.axisOfResponse(),
      { left: 4.4, bottom: model.J <= 40 ? 3.6 : 3.2 },
    );
    const { left, right, bottom } = this.box;
    const rank = new Float64Array(model.J);
    order.forEach((j, i) => (rank[j] = i));
    const share = (right - left) / model.J;
    this.own = (j) => [this.x(rank[j]), this.y(this.responseAt(shown.unpooled[0][j] * column))];
    this.pooled = (j) => [this.x(rank[j]), this.y(this.responseAt(shown.theta[0][j] * column))];
    const at = this.y(this.responseAt(shown.beta[0] * column));
    this.path("data", "population", segment(left, at, right, at), { class: "bm-line-population" });
    const crowded = share < 2;
    if (!crowded) {
      let d = "";
      for (let j = 0; j < model.J; j++) {
        if (state.out[j]) continue;
        const [xs, ys] = this.rowsOf(j);
        ys.forEach((value, i) => {
          d += dot(this.x(rank[j]), this.y(this.rowAt(j, xs[i], value)));
        });
      }
      this.path("data", "all-rows", d, { class: "bm-dots bm-all-rows", "stroke-width": 0.28 * em });
    }
    let arrows = "";
    for (let j = 0; j < model.J; j++) {
      if (!state.out[j]) arrows += segment(...this.own(j), ...this.pooled(j));
    }
    this.path("data", "arrows", arrows, { class: "bm-arrows" });
    const exists = (j) => !state.out[j];
    putDots(this, "data", "own", "bm-own", () => Math.min(0.2 * em, Math.max(1, 0.3 * share)), this.own, exists);
    const radius = radiusOf(shown.n, em, Math.min(0.16, (0.3 * share) / em), Math.min(0.42, (0.5 * share) / em + 0.06));
    putDots(this, "data", "partial", "bm-partial", radius, this.pooled);
    const j = app.current;
    const wide = Math.min(Math.max(share, 0.8 * em), 3 * em);
    this.put("back", "column", "rect", { class: "bm-row", x: this.x(rank[j]) - wide / 2, width: wide, y: this.box.top, height: bottom - this.box.top });
    this.drawRows(j, (_, i) => this.x(rank[j]) + ((i * 0.618) % 1 - 0.5) * 0.55 * wide);
    const [x2, y2] = this.pooled(j);
    ring(this, "partial", x2, y2, radius(j) + 0.1 * em, "bm-partial-current");
    if (!state.out[j]) ring(this, "own", ...this.own(j), 0.36 * em, `bm-own-current${j === state.selected ? " bm-handle" : ""}`);
    this.labelLevels(order, (i) => [this.x(rank[i]), bottom + 1.2 * em, "middle"], model.J <= 60);
    this.setNote(
      (crowded ? "" : "Grey: rows. ") +
        `In order, each group's own mean (small) and the pooled one (orange). Line: the population.${this.missing()}`,
    );
  }

  pick(px, py) {
    const { app } = this;
    const { left, right, top, bottom } = this.box || {};
    if (!(px >= left && px <= right && py >= top && py <= bottom)) return -1;
    if (!app.lined) {
      if (app.model.K === 2) return -1;
      const i = Math.round(this.x.invert(px));
      return i >= 0 && i < app.model.J ? app.order[i] : -1;
    }
    return this.nearest(px, py, (j) => [px, this.lineOf(j, px)], 0.6);
  }

  handle(px, py) {
    const { app } = this;
    const j = app.state.selected;
    const near = (place) => place && Math.hypot(place[0] - px, place[1] - py) < 0.9 * this.em;
    if (app.current === j && near(this.outlierAt)) {
      return { level: j, drag: (_, y) => app.setOutlier(j, this.toBlock(this.down(this.y.invert(y)))) };
    }
    const column = app.payload.profile.mean[0];
    if (!app.lined && !app.state.out[j] && near(this.own && this.own(j))) {
      const start = (app.state.shift[j] || [0])[0];
      const from = app.results.unpooled[0][j];
      return { level: j, drag: (_, y) => app.setShift(j, [start + this.toBlock(this.down(this.y.invert(y))) / column - from]) };
    }
    return null;
  }

  nudge(vertical, sign) {
    if (!vertical) return null;
    const { sd } = this.app.payload;
    return [0.1 * sd[0] * sign, 0];
  }
}
