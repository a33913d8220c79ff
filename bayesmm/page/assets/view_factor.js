// The pooling factor of every group against its rows, with the curve for an average design.

import { Chart, putDots, ring } from "./chart.js";
import { omegaOfRows } from "./pooling.js";
import { percent, plain, polyline } from "./svg.js";

export class FactorView extends Chart {
  constructor(app) {
    super(app, "factor", "The less a group knows, the more it borrows");
  }

  draw() {
    const { app } = this;
    const { shown, payload, state } = app;
    const k = state.effect;
    const em = this.em;
    const positive = shown.n.filter((n) => n > 0);
    let low = Math.min(...positive, ...payload.n.filter((n) => n > 0), 2);
    let high = Math.max(...positive, ...payload.n, 20);
    [low, high] = [Math.log10(low * 0.75), Math.log10(high * 1.35)];
    const ticks = [];
    for (let power = Math.floor(low); power <= high; power++) {
      for (const digit of high - low > 2.2 ? [1] : [1, 2, 5]) {
        const at = Math.log10(digit) + power;
        if (at >= low && at <= high) ticks.push(at);
      }
    }
    this.frame(
      { domain: [low, high], label: `rows n of the group`, ticks, text: (x) => plain(Math.pow(10, x), 2) },
      { domain: [0, 1], label: `pooling factor ω`, ticks: [0, 0.25, 0.5, 0.75, 1], text: percent },
      { left: 4.4 },
    );
    const { left, right, top, bottom } = this.box;
    if (!app.averagesOthers) this.drawCurve(k, low, high);
    this.words("complete", right - 0.4 * em, top + 1.1 * em, "complete pooling", { class: "bm-hint bm-blue", "text-anchor": "end" });
    this.words("none", left + 0.5 * em, bottom - 0.5 * em, "no pooling", { class: "bm-hint bm-ink" });
    this.place = (j) => [
      shown.n[j] > 0 ? this.x(Math.log10(shown.n[j])) : left,
      this.y(shown.omega[k][j]),
    ];
    // Groups at one place are shown beside each other, as far as that goes; the current one in it.
    const keyOf = ([x, y]) => `${Math.round(x / 3)},${Math.round(y / 3)}`;
    const counts = new Map();
    const seen = new Map();
    for (let j = 0; j < app.model.J; j++) {
      const key = keyOf(this.place(j));
      counts.set(key, (counts.get(key) || 0) + 1);
    }
    const spots = app.order.map((j) => {
      const [x, y] = this.place(j);
      const key = keyOf([x, y]);
      const i = seen.get(key) || 0;
      seen.set(key, i + 1);
      const side = i % 2 ? -1 : 1;
      return [j, x + side * Math.ceil(i / 2) * Math.min(0.42 * em, (3 * em) / (counts.get(key) || 1)), y];
    });
    this.spots = new Map(spots.map(([j, x, y]) => [j, [x, y]]));
    const place = (j) => this.spots.get(j);
    putDots(this, "data", "dots", `bm-partial${app.model.J > 150 ? " bm-many" : ""}`, () => 0.34 * em, place, (j) => j !== app.current);
    const [cx, cy] = this.place(app.current);
    ring(this, "current", cx, cy, 0.46 * em, "bm-partial-current");
    const beside = cx > (left + right) / 2;
    this.labelLevels([], () => [cx + (beside ? -0.8 : 0.8) * em, cy - 0.6 * em, beside ? "end" : "start"], false);
    const same = payload.effects[k].name;
    this.setNote(
      `ω is the part of the prior variance of ${same} that the group's rows leave open; 1 − ω is ` +
        `${app.weighs ? "the weight of what it says itself" : "the part that they settle"}. ` +
        (app.averagesOthers
          ? "The other group effects leave some of it open, too."
          : "Curve: a group whose rows are like the average row."),
    );
  }

  // The factor of a group whose rows are like the average one: of rows alone, all else given.
  drawCurve(k, low, high) {
    const { left, right } = this.box;
    const { model, settings } = this.app;
    const points = [];
    for (let i = 0; i <= 60; i++) {
      const n = Math.pow(10, low + ((high - low) * i) / 60);
      const all = settings.map((setting) => omegaOfRows(model, setting, n)[k]);
      const omega = all.reduce((sum, x) => sum + x, 0) / all.length;
      points.push([left + ((right - left) * i) / 60, this.y(omega)]);
    }
    this.path("data", "curve", polyline(points), { class: "bm-curve" });
  }

  pick(px, py) {
    return this.spots ? this.nearest(px, py, (j) => this.spots.get(j), 1.6) : -1;
  }
}
