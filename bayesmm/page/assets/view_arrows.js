// From each group's own estimate to the partially pooled one: in the plane of two effects, or
// between two lines for one.

import { Chart, putDots, radiusOf, ring } from "./chart.js";
import { normalDensity } from "./normal.js";
import { ellipse } from "./pooling.js";
import { clamp, dot, polyline, segment, widened } from "./svg.js";

// Radii of ellipses with half and 95% of a normal distribution in the plane.
const HALF = 1.1774100225154747;
const MOST = 2.447746830680816;

// The ends of an axis: all pooled estimates, and own ones up to the width of these beyond.
export function estimateDomain(app, k, intervals = false) {
  const { fit, beta, sd } = app.payload;
  let low = Infinity;
  let high = -Infinity;
  const include = (x) => {
    if (!Number.isFinite(x)) return;
    low = Math.min(low, x);
    high = Math.max(high, x);
  };
  fit.mean[k].forEach(include);
  if (intervals) {
    fit.low[k].forEach(include);
    fit.high[k].forEach(include);
  }
  const far = intervals ? 0 : 1.9 * sd[k];
  include(beta[k] - far);
  include(beta[k] + far);
  const width = high - low || Math.abs(low) || 1;
  const beyond = (fit.mean[k].length > 100 ? 0.4 : 1) * width;
  const [least, most] = [low - beyond, high + beyond];
  const own = (x) => x !== null && Number.isFinite(x) && include(clamp(x, least, most));
  fit.unpooled[k].forEach(own);
  // What the reader moved is on the axis wherever it went.
  const { results, state } = app;
  for (const j of Object.keys({ ...state.shift, ...state.outlier })) {
    own(results.unpooled[k][j]);
    include(results.theta[k][j]);
    if (intervals) [results.low, results.high].forEach((ends) => include(ends[k][j]));
  }
  return widened(low, high, 0.06);
}

export class ArrowsView extends Chart {
  constructor(app) {
    super(app, "arrows", "From own to pooled estimates", true);
  }

  heightFor(width) {
    const { app, em, large } = this;
    return large ? super.heightFor(width) : Math.min(0.95 * width, (app.model.K === 2 ? 27 : 30) * em);
  }

  draw() {
    if (this.app.model.K === 2) this.drawPlane();
    else this.drawLines();
  }

  drawPlane() {
    const { app } = this;
    const { shown, payload, state } = app;
    const names = payload.effects.map((e) => e.name);
    this.frame(
      { domain: estimateDomain(app, 0), label: names[0] },
      { domain: estimateDomain(app, 1), label: names[1] },
      { left: 4.2 },
    );
    const at = (pair) => (j) => [this.x(pair[0][j]), this.y(pair[1][j])];
    this.own = at(shown.unpooled);
    this.pooled = at(shown.theta);
    const cov = app.covariance();
    const centre = shown.beta;
    const place = (p) => [this.x(p[0]), this.y(p[1])];
    [[MOST, "bm-spread bm-faint"], [HALF, "bm-spread"]].forEach(([radius, name], i) => {
      if (!cov) return;
      const points = ellipse(centre, cov, radius).map(place);
      this.path("data", `ellipse${i}`, polyline(points, true), { class: name });
    });
    let arrows = "";
    for (let j = 0; j < app.model.J; j++) {
      if (state.out[j]) continue;
      const [x1, y1] = this.own(j);
      const [x2, y2] = this.pooled(j);
      if (Number.isFinite(x1 + y1 + x2 + y2)) arrows += segment(x1, y1, x2, y2);
    }
    this.path("data", "arrows", arrows, { class: `bm-arrows${app.model.J > 150 ? " bm-many" : ""}` });
    const many = app.model.J > 150 ? " bm-many" : "";
    putDots(this, "data", "own", `bm-own${many}`, () => Math.max(1.4, 0.13 * this.em), this.own, (j) => !state.out[j]);
    this.drawDraws();
    const radius = radiusOf(shown.n, this.em, 0.14, app.model.J > 150 ? 0.2 : 0.42);
    putDots(this, "data", "partial", `bm-partial${many}`, radius, this.pooled);
    const [cx, cy] = place(centre);
    this.diamond(cx, cy);
    this.drawCurrent(radius);
    this.labelLevels(app.order, (j) => {
      const [x, y] = this.pooled(j);
      return [x + 0.6 * this.em, y - 0.45 * this.em];
    }, app.model.J <= 40);
    this.setNote(
      "Small dots: own estimates. Orange dots: pooled ones, larger with more rows. Diamond: the " +
        "population. Ellipses: half and 95% of groups. Drag a small dot.",
    );
  }

  // Posterior draws of the current level, while the fitted posterior is shown.
  drawDraws() {
    const { app } = this;
    const draws = app.state.mode === "fit" ? app.levelDraws(app.current) : null;
    if (!draws) return;
    let d = "";
    draws[0].forEach((x, i) => (d += dot(this.x(x), this.y(draws[1][i]))));
    this.path("data", "draws", d, { class: "bm-dots bm-draws", "stroke-width": 0.25 * this.em });
  }

  drawCurrent(radius) {
    const { app } = this;
    const j = app.current;
    const [x1, y1] = this.own(j);
    const [x2, y2] = this.pooled(j);
    if (Number.isFinite(x1 + y1) && !app.state.out[j]) {
      this.path("front", "arrow", segment(x1, y1, x2, y2), { class: "bm-arrow-current" });
      const name = `bm-own-current${j === app.state.selected ? " bm-handle" : ""}`;
      ring(this, "own-current", x1, y1, 0.42 * this.em, name);
    }
    ring(this, "partial-current", x2, y2, radius(j) + 0.1 * this.em, "bm-partial-current");
  }

  diamond(x, y) {
    const r = 0.5 * this.em;
    const d = `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`;
    this.path("front", "population", Number.isFinite(x + y) ? d : "", { class: "bm-diamond" });
  }

  drawLines() {
    const { app } = this;
    const { shown, state, payload } = app;
    const em = this.em;
    const name = payload.effects[0].name;
    const scale = payload.link === "identity" ? "" : ` (${payload.link} scale)`;
    const domain = estimateDomain(app, 0);
    this.frame({ domain, label: `${name} of each ${payload.group}${scale}` }, null, { left: 1.2, right: 1.2, top: 2.2, bottom: 4.6 });
    const { top, bottom, left, right } = this.box;
    const density = Math.min(5 * em, 0.28 * (bottom - top));
    const low = bottom - density;
    const rail = (value, y) => {
      const x = this.x(value);
      return [clamp(x, left - 1, right + 1), y];
    };
    // A level without an estimate of its own comes from the end of the axis.
    const endOf = (j) => (shown.theta[0][j] < shown.beta[0] ? left : right);
    this.own = (j) =>
      Number.isFinite(shown.unpooled[0][j]) ? rail(shown.unpooled[0][j], top) : [endOf(j), top];
    this.pooled = (j) => rail(shown.theta[0][j], low);
    this.unclip();
    this.words("rail-own", left, top - 0.9 * em, "each group by itself", { class: "bm-hint bm-ink" });
    this.words("rail-pooled", right, low - 0.8 * em, "partially pooled", { class: "bm-hint bm-red", "text-anchor": "end" });
    this.path("back", "rails", segment(left, top, right, top) + segment(left, low, right, low), { class: "bm-rail" });
    const sd = app.spread(0);
    if (sd > 0 && Number.isFinite(sd)) {
      const peak = normalDensity(0, 0, sd);
      const points = [[left, bottom]];
      for (let i = 0; i <= 80; i++) {
        const value = domain[0] + ((domain[1] - domain[0]) * i) / 80;
        const height = (normalDensity(value, shown.beta[0], sd) / peak) * (density - 0.5 * em);
        points.push([this.x(value), bottom - height]);
      }
      points.push([right, bottom]);
      this.path("data", "density", polyline(points, true), { class: "bm-spread" });
    }
    let lines = "";
    let dashed = "";
    const reasons = new Set();
    for (let j = 0; j < app.model.J; j++) {
      if (state.out[j]) continue;
      const piece = segment(...this.own(j), ...this.pooled(j));
      if (Number.isFinite(shown.unpooled[0][j])) lines += piece;
      else {
        dashed += piece;
        reasons.add(payload.flags[j] || "no rows");
      }
    }
    const many = app.model.J > 150 ? " bm-many" : "";
    this.path("data", "arrows", lines, { class: `bm-arrows${many}` });
    this.path("data", "dashed", dashed, { class: "bm-arrows bm-dashed" });
    const exists = (j) => !state.out[j] && Number.isFinite(shown.unpooled[0][j]);
    putDots(this, "data", "own", `bm-own${many}`, () => Math.max(1.6, 0.18 * em), this.own, exists);
    const radius = radiusOf(shown.n, em, 0.16, many ? 0.3 : 0.48);
    putDots(this, "data", "partial", `bm-partial${many}`, radius, this.pooled);
    this.path("back", "centre", segment(this.x(shown.beta[0]), top, this.x(shown.beta[0]), bottom), { class: "bm-population" });
    this.diamond(this.x(shown.beta[0]), bottom - 0.5 * em);
    this.drawCurrent(radius);
    this.labelLevels(app.order, (j) => {
      const [x, y] = this.pooled(j);
      return [x, y + 1.4 * em, "middle"];
    }, app.model.J <= 60);
    this.setNote(
      "Small dots: own estimates. Orange dots: pooled ones, larger with more rows. Below: the " +
        "distribution of groups, and the population's estimate. Drag a small dot." +
        (dashed ? ` Dashed: a group without an estimate of its own (${[...reasons].join(", ")}).` : ""),
    );
  }

  pick(px, py) {
    if (!this.own) return -1;
    const pooled = this.nearest(px, py, this.pooled, 1.6);
    return pooled >= 0 ? pooled : this.nearest(px, py, this.own, 1.6);
  }

  handle(px, py) {
    if (!this.own) return null;
    const { app } = this;
    const usable = (j) => {
      const there = app.results.unpooled.every((own) => Number.isFinite(own[j]));
      return there && !app.state.out[j] ? this.own(j) : [NaN, NaN];
    };
    const level = this.nearest(px, py, usable, 0.9);
    if (level < 0) return null;
    const start = app.state.shift[level] || [0, 0];
    const from = app.results.unpooled.map((own) => own[level]);
    return {
      level,
      drag: (x, y) => {
        const to = [this.x.invert(x)];
        if (app.model.K === 2) to.push(this.y.invert(y));
        app.setShift(level, to.map((value, k) => start[k] + value - from[k]));
      },
    };
  }

  nudge(vertical, sign) {
    const second = vertical && this.app.model.K === 2;
    const [low, high] = (second ? this.y : this.x).domain;
    const step = ((high - low) / 100) * sign;
    return second ? [0, step] : [step, 0];
  }
}
