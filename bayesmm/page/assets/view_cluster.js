// A group that nobody has seen: the predictive distribution of its coefficient, and of its mean
// response.

import { Chart } from "./chart.js";
import { INVERSE_LINKS, mixtureDensity, mixtureQuantile, normalCdf } from "./normal.js";
import { covariance } from "./pooling.js";
import { linear, number, polyline, segment, tickText, tickValues, widened } from "./svg.js";

const CLUSTER_POINTS = 120;

export class ClusterView extends Chart {
  constructor(app) {
    super(app, "cluster", "A new group");
  }

  draw() {
    const { app } = this;
    const { payload, state } = app;
    const k = state.effect;
    const parts = app.newCluster(k);
    const proper = parts && parts.every(([m, s]) => Number.isFinite(m) && Number.isFinite(s));
    if (!proper) {
      this.frame({ domain: [0, 1], ticks: [] }, null, { left: 1 });
      this.words("none", this.width / 2, this.height / 2, "Without pooling nothing is known of a new group.", {
        class: "bm-hint bm-ink", "text-anchor": "middle",
      });
      this.setNote("Its coefficients could be anything: the groups share no distribution.");
      return;
    }
    const inverse = payload.response.mean ? INVERSE_LINKS[payload.link] : null;
    const lines = inverse && app.lined;
    const density = inverse && app.model.K === 1 && payload.profile.constant && payload.link !== "identity";
    const split = lines || density;
    const em = this.em;
    const full = this.height;
    const half = split ? Math.max(9 * em, 0.46 * full) : full;
    this.drawDensity(k, parts, half);
    if (lines) this.drawBand(half, full, inverse);
    else if (density) this.drawResponse(parts, half, full, inverse);
    // The mean of a curved function is not the function of the mean.
    const others = payload.link === "identity" ? "" : " (anything else in the model at its mean)";
    const q = (p) => app.numberOf(k, mixtureQuantile(parts, p));
    let text = `${payload.effects[k].name} of a new group: ${q(0.5)}, half of them ${q(0.25)} to ${q(0.75)}, 95% ${q(0.025)} to ${q(0.975)}.`;
    if (density) {
      const m = (p) => number(inverse(payload.profile.rest + mixtureQuantile(parts, p) * payload.profile.mean[0]));
      text += ` Its mean response${others}: ${m(0.5)}, 95% ${m(0.025)} to ${m(0.975)}.`;
    } else if (lines) text += ` Below: its mean response${others}, half and 95%.`;
    this.setNote(text);
  }

  heightFor(width) {
    const { lined, model, payload } = this.app;
    const single = model.K === 1 && payload.profile.constant && payload.link !== "identity";
    const split = payload.response.mean && (lined || single);
    const base = super.heightFor(width);
    return split ? Math.max(base, Math.min(27 * this.em, 1.3 * base)) : base;
  }

  drawDensity(k, parts, height) {
    const { app } = this;
    const { shown, payload } = app;
    const em = this.em;
    const far = 3.4 * Math.max(payload.sd[k], 1e-12 * (1 + Math.abs(payload.beta[k])));
    const centre = payload.beta[k];
    const below = 3.1 + (this.height - height) / em;
    const scale = payload.link === "identity" ? "" : ` (${payload.link} scale)`;
    this.frame({ domain: [centre - far, centre + far], label: `${payload.effects[k].name}${scale}` }, null, { left: 1, right: 1, bottom: below });
    this.unclip();
    const { top, bottom } = this.box;
    const [low, high] = this.x.domain;
    const xs = Array.from({ length: CLUSTER_POINTS + 1 }, (_, i) => low + ((high - low) * i) / CLUSTER_POINTS);
    this.densityOf(xs, (x) => mixtureDensity(parts.map(([m, s]) => [m, Math.max(s, far / 400)]), x), this.x, "coef", top, bottom);
    this.dotsOf(shown.theta[k], this.x, "coef", bottom);
    const at = (p) => this.x(mixtureQuantile(parts, p));
    this.path("front", "coef-95", segment(at(0.025), bottom - 0.3 * em, at(0.975), bottom - 0.3 * em), { class: "bm-new-95" });
    this.path("front", "coef-50", segment(at(0.25), bottom - 0.3 * em, at(0.75), bottom - 0.3 * em), { class: "bm-new-50" });
  }

  densityOf(xs, density, place, key, top, bottom) {
    const heights = xs.map(density);
    const most = Math.max(...heights.filter(Number.isFinite), 1e-300);
    const y = linear(0, 1.06 * most, bottom, top);
    const points = xs.map((x, i) => [place(x), y(Math.min(heights[i], most))]);
    this.path("data", `${key}-line`, polyline(points), { class: "bm-density bm-prior" });
    points.push([place(xs[xs.length - 1]), bottom], [place(xs[0]), bottom]);
    this.path("data", `${key}-area`, polyline(points, true), { class: "bm-area bm-prior-area" });
  }

  // The groups that there are, as a rug.
  dotsOf(values, place, key, bottom) {
    let d = "";
    for (const value of values) {
      const x = place(value);
      if (Number.isFinite(x)) d += segment(x, bottom, x, bottom - 0.8 * this.em);
    }
    this.path("data", `${key}-rug`, d, { class: `bm-rug${values.length > 150 ? " bm-many" : ""}` });
    const x = place(values[this.app.current]);
    if (Number.isFinite(x)) this.path("front", `${key}-now`, segment(x, bottom, x, bottom - 1.4 * this.em), { class: "bm-rug-current" });
  }

  // One effect, another link: the density of the mean response.
  drawResponse(parts, from, to, inverse) {
    const { app } = this;
    const { payload, shown } = app;
    const { rest, mean } = payload.profile;
    const em = this.em;
    const eta = (p) => rest + mean[0] * mixtureQuantile(parts, p);
    let [low, high] = [inverse(eta(0.01)), inverse(eta(payload.link === "log" ? 0.93 : 0.99))].sort((a, b) => a - b);
    if (payload.link === "log") low = 0;
    if (["logit", "probit", "cloglog"].includes(payload.link)) [low, high] = [0, 1];
    const box = { left: em, right: this.width - em, top: from + 1.6 * em, bottom: to - 3.1 * em };
    const place = linear(low, high, box.left, box.right);
    const back = inverseOf(inverse, eta(1e-6), eta(1 - 1e-6));
    const etas = parts.map(([m, s]) => [rest + mean[0] * m, Math.abs(mean[0]) * s]);
    const xs = Array.from({ length: CLUSTER_POINTS + 1 }, (_, i) => low + ((high - low) * (i + 0.5)) / (CLUSTER_POINTS + 1));
    const width = (high - low) / (CLUSTER_POINTS + 1);
    const cdf = (value) => {
      const at = back(value);
      let sum = 0;
      for (const [m, s] of etas) sum += s > 0 ? normalCdf((at - m) / s) : +(at >= m);
      return sum / etas.length;
    };
    this.densityOf(xs, (x) => (cdf(x + width / 2) - cdf(x - width / 2)) / width, place, "mean", box.top, box.bottom);
    this.dotsOf(shown.theta[0].map((theta) => inverse(rest + mean[0] * theta)), place, "mean", box.bottom);
    this.secondAxis(place, box, `mean ${payload.response.trials ? "probability of " : ""}${payload.response.name}`);
  }

  secondAxis(place, box, label) {
    const em = this.em;
    const [low, high] = place.domain;
    this.path("back", "second", segment(box.left, box.bottom, box.right, box.bottom), { class: "bm-rail" });
    tickValues(low, high, 5).forEach((value, i) => {
      this.words(`second${i}`, place(value), box.bottom + 1.2 * em, tickText(value), { class: "bm-tick", "text-anchor": "middle" });
    });
    this.words("second-label", (box.left + box.right) / 2, box.bottom + 2.6 * em, label, { class: "bm-axis", "text-anchor": "middle" });
  }

  // Lines: the band in which the mean response of a new group lies.
  drawBand(from, to, inverse) {
    const { app } = this;
    const { payload, shown } = app;
    const { profile } = payload;
    const em = this.em;
    const box = { left: 4 * em, right: this.width - em, top: from + 1.2 * em, bottom: to - 3.1 * em };
    const place = linear(profile.x[0], profile.x[1], box.left, box.right);
    const xs = Array.from({ length: 25 }, (_, i) => profile.x[0] + ((profile.x[1] - profile.x[0]) * i) / 24);
    const bands = this.bandsAt(xs, inverse);
    const reference = this.reference(inverse);
    const y = linear(reference[0], reference[1], box.bottom, box.top);
    const strip = (a, b) => [
      ...xs.map((x, i) => [place(x), y(bands[i][a])]),
      ...xs.map((x, i) => [place(x), y(bands[i][b])]).reverse(),
    ];
    this.path("data", "band95", polyline(strip(0, 4), true), { class: "bm-area bm-prior-area bm-faint" });
    this.path("data", "band50", polyline(strip(1, 3), true), { class: "bm-area bm-prior-area" });
    this.path("data", "band", polyline(xs.map((x, i) => [place(x), y(bands[i][2])])), { class: "bm-line-population" });
    const now = xs.map((x) => [place(x), y(inverse(profile.rest + app.lineValue(shown.theta, app.current, x)))]);
    this.path("data", "now", polyline(now), { class: "bm-line-partial bm-thin" });
    tickValues(reference[0], reference[1], 3).forEach((value, i) => {
      this.path("back", `level${i}`, segment(box.left, y(value), box.right, y(value)), { class: "bm-gridline" });
      this.words(`level${i}`, box.left - 0.4 * em, y(value) + 0.35 * em, tickText(value), { class: "bm-tick", "text-anchor": "end" });
    });
    this.words("band-y", 0, 0, `mean ${payload.response.name}`, {
      class: "bm-axis", "text-anchor": "middle", transform: `translate(${0.95 * em} ${((box.top + box.bottom) / 2).toFixed(1)}) rotate(-90)`,
    });
    this.path("back", "second", segment(box.left, box.bottom, box.right, box.bottom), { class: "bm-rail" });
    tickValues(profile.x[0], profile.x[1], 5).forEach((value, i) => {
      this.words(`second${i}`, place(value), box.bottom + 1.2 * em, tickText(value), { class: "bm-tick", "text-anchor": "middle" });
    });
    this.words("second-label", (box.left + box.right) / 2, box.bottom + 2.6 * em, payload.effects[payload.effects.length - 1].name, { class: "bm-axis", "text-anchor": "middle" });
  }

  // Quantiles of the mean response; those of the fit do not change.
  bandsAt(xs, inverse) {
    const { state, payload } = this.app;
    if (state.mode === "fit" && this._bands) return this._bands;
    const bands = xs.map((x) => {
      const parts = this.app.newMean(x);
      return [0.025, 0.25, 0.5, 0.75, 0.975].map((p) => inverse(payload.profile.rest + mixtureQuantile(parts, p)));
    });
    if (state.mode === "fit") this._bands = bands;
    return bands;
  }

  // Mean responses at both ends for the fitted posterior: the axis stays while sliders move.
  reference(inverse) {
    if (this._reference) return this._reference;
    const { payload } = this.app;
    const { profile } = payload;
    const cov = covariance(payload.sd, payload.cor);
    const all = profile.x.flatMap((x) => {
      const first = payload.effects.length === 1 ? x : profile.start + profile.slope * x;
      const second = payload.effects.length === 1 ? 0 : x;
      const mean = payload.beta[0] * first + (payload.beta[1] || 0) * second;
      const sd = Math.sqrt(first * first * cov[0] + 2 * first * second * cov[1] + second * second * cov[2]);
      return [-2.3, 2.3].map((z) => inverse(profile.rest + mean + z * sd));
    });
    this._reference = widened(Math.min(...all), Math.max(...all), 0.02);
    return this._reference;
  }
}

// The inverse of a monotone function between two places.
function inverseOf(f, low, high) {
  const rising = f(high) > f(low);
  return (value) => {
    let [a, b] = [low, high];
    for (let i = 0; i < 50; i++) {
      const middle = 0.5 * (a + b);
      if (f(middle) < value === rising) a = middle;
      else b = middle;
    }
    return 0.5 * (a + b);
  };
}
