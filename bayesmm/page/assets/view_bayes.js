// Prior times likelihood is the posterior, for the current group and one effect.

import { Chart } from "./chart.js";
import { mixtureDensity, normalDensity } from "./normal.js";
import { isolated, linear, polyline, segment } from "./svg.js";

const DENSITY_POINTS = 160;

export class BayesView extends Chart {
  constructor(app) {
    super(app, "bayes", "Prior × likelihood = posterior");
  }

  draw() {
    const { app } = this;
    const { shown, payload, state } = app;
    const k = state.effect;
    const j = app.current;
    const em = this.em;
    const fitted = state.mode === "fit";
    const prior = app.priorOf(k, shown.beta[k]);
    const posterior = [[shown.theta[k][j], (fitted ? shown.sd : shown.conditionalSd)[k][j]]];
    const own = shown.unpooled[k][j];
    const ownSd = shown.unpooledSd[k][j];
    const known = Number.isFinite(own) && ownSd > 0 && !state.out[j];
    const centre = app.payload.beta[k];
    const wide = Math.max(payload.sd[k], 1e-12 * (Math.abs(centre) + 1));
    const far = 3.2 * wide;
    let [low, high] = [centre - far, centre + far];
    const include = (mean, sd) => {
      if (!Number.isFinite(mean + sd)) return;
      low = Math.max(centre - 3 * far, Math.min(low, mean - 2.5 * sd));
      high = Math.min(centre + 3 * far, Math.max(high, mean + 2.5 * sd));
    };
    include(payload.fit.mean[k][j], payload.fit.sd[k][j]);
    if (known) include(own, Math.min(ownSd, wide));
    const scale = payload.link === "identity" ? "" : ` (${payload.link} scale)`;
    this.frame({ domain: [low, high], label: `${payload.effects[k].name} of ${isolated(payload.levels[j])}${scale}` }, null, { left: 1, right: 1, top: 2.4 });
    const { top, bottom } = this.box;
    const xs = Array.from({ length: DENSITY_POINTS + 1 }, (_, i) => low + ((high - low) * i) / DENSITY_POINTS);
    const curves = [];
    const of = (parts) => (x) => mixtureDensity(parts, x);
    const proper = (parts) => parts && parts.every(([m, s]) => Number.isFinite(m) && s > 0 && Number.isFinite(s));
    if (proper(prior)) curves.push(["prior", of(prior), shown.beta[k]]);
    if (known) curves.push(["likelihood", (x) => normalDensity(x, own, ownSd), own]);
    if (proper(posterior)) curves.push(["posterior", of(posterior), shown.theta[k][j]]);
    const values = curves.map(([name, density]) => [name, xs.map(density)]);
    const most = Math.max(...values.flatMap(([, v]) => v), 1e-300);
    const y = linear(0, 1.04 * most, bottom, top);
    for (const [name, heights] of values) {
      const points = xs.map((x, i) => [this.x(x), y(heights[i])]);
      this.path("data", `${name}-line`, polyline(points), { class: `bm-density bm-${name}` });
      points.push([this.x(high), bottom], [this.x(low), bottom]);
      this.path("data", `${name}-area`, polyline(points, true), { class: `bm-area bm-${name}-area` });
    }
    // Where a distribution is a point, or a curve has its centre.
    const point = (key, x, name) =>
      Number.isFinite(x) && this.path("data", key, segment(this.x(x), top, this.x(x), bottom), { class: `bm-centre bm-${name}` });
    point("centre-prior", shown.beta[k], "prior");
    if (known) point("centre-own", own, "likelihood");
    point("centre-posterior", shown.theta[k][j], "posterior");
    const draws = fitted ? app.levelDraws(j) : null;
    if (draws) {
      let d = "";
      for (const value of draws[k]) d += segment(this.x(value), bottom, this.x(value), bottom - 0.5 * em);
      this.path("front", "rug", d, { class: "bm-rug" });
    }
    this.legend(known);
    this.setNote(this.explain(known) + (fitted ? ` The posterior is drawn as a normal with its mean and sd${draws ? "; ticks are draws" : ""}.` : ""));
  }

  explain(known) {
    const { averagesOthers, model, weighs } = this.app;
    if (!known) return "The rows of this group alone do not determine it: the population speaks for it.";
    if (weighs) return "The posterior stands between what the population expects and what the group's rows say.";
    const both = "The posterior weighs what the population expects against what the group's rows say.";
    if (averagesOthers) return `${both} It also has the uncertainty of the other group effects, which the two curves leave out.`;
    if (model.K === 1) return both;
    return `${both} These are margins of densities in the plane, where the product holds: one alone may go beyond, for it learns from the other effect.`;
  }

  legend(known) {
    const em = this.em;
    const entries = [["prior", "population (prior)"]];
    if (known) entries.push(["likelihood", "its own rows (likelihood)"]);
    entries.push(["posterior", "both (posterior)"]);
    const size = (text) => 0.5 * em * text.length + 2.1 * em;
    const short = entries.reduce((sum, [, text]) => sum + size(text), 0) > this.box.right - this.box.left;
    let x = this.box.left;
    for (const [name, text] of entries) {
      const label = short ? name : text;
      this.path("text", `key-${name}`, segment(x, 1.0 * em, x + 1.2 * em, 1.0 * em), { class: `bm-density bm-${name}` });
      this.words(`key-${name}-text`, x + 1.5 * em, 1.3 * em, label, { class: "bm-axis" });
      x += size(label);
    }
  }
}
