// What is known and what is chosen: results for the state, and every change of it, no document.
//
// The page (`app.js`) extends it with drawing: `schedule()` is called after each change, `_write()`
// to keep the state, `_startMove()` where results should move to their new place.

import { covariance, makeModel, poolingFactor, solve } from "./pooling.js";
import { initialState, settingOf } from "./state.js";
import { STORY, storyState } from "./story.js";
import { number, plain } from "./svg.js";

const MIXTURE = 100;
// A part of the standard deviation between groups that is none.
const ROUNDING = 1e-9;

function toArrays(lists) {
  return lists.map((list) => Float64Array.from(list, (x) => (x === null ? NaN : x)));
}

export class Session {
  constructor(payload, view) {
    this.payload = payload;
    this.view = view;
    this.model = makeModel(payload);
    this.fitted = this._fitted();
    this.state = initialState(payload);
    this.hovered = -1;
    this._orders = [];
    this._dirty = true;
  }

  // --- results ---

  // What the posterior says, in the shape of what `solve` returns.
  _fitted() {
    const { payload, model } = this;
    const fit = Object.fromEntries(Object.entries(payload.fit).map(([name, x]) => [name, toArrays(x)]));
    const sdOf = (x) => {
      const mean = x.reduce((a, b) => a + b, 0) / x.length;
      return Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, x.length - 1));
    };
    return {
      beta: model.beta.slice(0, model.K),
      betaSd: payload.draws.beta.map(sdOf),
      theta: fit.mean,
      sd: fit.sd,
      conditionalSd: fit.sd,
      low: fit.low,
      high: fit.high,
      omega: fit.omega,
      unpooled: fit.unpooled,
      unpooledSd: fit.unpooled_se,
      n: payload.n.slice(),
    };
  }

  setting() {
    return settingOf(this.state, poolingFactor);
  }

  // The results for the state: of the fit, or computed anew.
  get results() {
    if (this._dirty) {
      this._results = this.state.mode === "fit" ? this.fitted : this._solved();
      this._dirty = false;
    }
    return this._results;
  }

  _solved() {
    const { model, payload, state } = this;
    const found = solve(model, this.setting());
    const q = payload.quantile;
    found.low = found.theta.map((theta, k) => theta.map((x, j) => x - q * found.sd[k][j]));
    found.high = found.theta.map((theta, k) => theta.map((x, j) => x + q * found.sd[k][j]));
    found.beta = found.beta.slice(0, model.K);
    for (const j of Object.keys(payload.flags)) {
      if (state.outlier[j] !== undefined) continue;
      for (const own of [...found.unpooled, ...found.unpooledSd]) own[j] = NaN;
    }
    return found;
  }

  get current() {
    return this.hovered >= 0 ? this.hovered : this.state.selected;
  }

  // Levels by their fitted estimate of the effect that is shown.
  get order() {
    const k = this.state.effect;
    if (!this._orders[k]) {
      const mean = this.payload.fit.mean[k];
      this._orders[k] = mean.map((_, j) => j).sort((a, b) => mean[a] - mean[b] || a - b);
    }
    return this._orders[k];
  }

  // Whether 1 - omega is the weight of a group's own estimate: for one effect of a normal response,
  // all else given. Else it is the part of the variance between groups that the group's rows settle.
  get weighs() {
    return this.model.K === 1 && this.payload.exact && !this.averagesOthers;
  }

  // Whether what is shown has the uncertainty of other group effects: the fit does, "what if" holds
  // them at their posterior means.
  get averagesOthers() {
    return !this.payload.alone && this.state.mode === "fit";
  }

  // Whether the effects of a group make a line over one predictor, perhaps through the origin.
  get lined() {
    const { constant, start, slope } = this.payload.profile;
    if (constant) return false;
    return this.model.K === 1 || (slope === 0 && Math.abs(start - 1) < 1e-9);
  }

  // A coefficient of effect k as text; what is nothing but rounding beside the others is 0.
  numberOf(k, x, digits = 3) {
    return number(Math.abs(x) < ROUNDING * this.payload.sd[k] ? 0 : x, digits);
  }

  get factor() {
    return poolingFactor(this.state.pool);
  }

  // The covariance of effects with the factor of the pooling slider, null where it is infinite.
  covariance() {
    const t = this.factor;
    if (!Number.isFinite(t)) return null;
    return covariance(this.state.sd, this.state.cor).map((x) => t * x);
  }

  spread(k) {
    const sd = this.state.sd[k];
    return sd === 0 ? 0 : Math.sqrt(this.factor) * sd;
  }

  get _someDraws() {
    const count = this.payload.draws.beta[0].length;
    const kept = Math.min(count, MIXTURE);
    return Array.from({ length: kept }, (_, i) => Math.floor((i * count) / kept));
  }

  // The distribution of a new group's line z'theta, as normals: [[mean, sd], ...].
  _newOf(z) {
    const { payload, state } = this;
    const sdOf = (S) => Math.sqrt(Math.max(0, z[0] * z[0] * S[0] + 2 * z[0] * z[1] * S[1] + z[1] * z[1] * S[2]));
    const at = (beta) => z[0] * beta[0] + (z[1] ? z[1] * beta[1] : 0);
    if (state.mode === "fit") {
      const { beta, sd, cor } = payload.draws;
      return this._someDraws.map((i) => {
        const S = covariance(sd.map((x) => x[i]), cor ? cor[i] : 0);
        return [at(beta.map((x) => x[i])), sdOf(S)];
      });
    }
    const { results } = this;
    const t = this.factor;
    const own = sdOf(covariance(state.sd, state.cor));
    const uncertain = z.some((x, k) => x !== 0 && results.betaSd[k] === Infinity);
    const spread = own === 0 ? 0 : t * own * own;
    const sd = uncertain ? Infinity : Math.sqrt(spread + sdOf(results.betaCovariance) ** 2);
    return [[at(results.beta), sd]];
  }

  // Settings of parameters to average pooling factors over: those of draws, or the reader's.
  get settings() {
    const { payload, state } = this;
    if (state.mode !== "fit") return [this.setting()];
    const { sd, cor, sigma } = payload.draws;
    return this._someDraws.map((i) => ({
      sd: sd.map((x) => x[i]),
      cor: cor ? cor[i] : 0,
      sigma: sigma && payload.sigma.kind === "sd" ? sigma[i] : payload.sigma.value,
    }));
  }

  newCluster(k) {
    return this._newOf(k === 0 ? [1, 0] : [0, 1]);
  }

  newMean(x) {
    const { profile } = this.payload;
    return this._newOf(this.model.K === 1 ? [x, 0] : [profile.start + profile.slope * x, x]);
  }

  lineValue(pair, j, x) {
    const { profile } = this.payload;
    return this.model.K === 1 ? pair[0][j] * x : pair[0][j] * (profile.start + profile.slope * x) + pair[1][j] * x;
  }

  // What the population says of effect k of a group, around `beta`, as normals.
  priorOf(k, beta) {
    return this.state.mode === "fit" ? this.newCluster(k) : [[beta, this.spread(k)]];
  }

  // The sentence on a group, after its label.
  summaryOf(j) {
    const { payload, results, state } = this;
    const k = state.effect;
    const own = results.unpooled[k][j];
    const flag = payload.flags[j];
    const step = payload.exact || state.mode === "fit" ? "" : " (by one Newton step)";
    const ownText = state.out[j]
      ? "is left out"
      : Number.isNaN(own)
        ? `has no estimate of its own${flag ? ` (${flag})` : ""}`
        : `says ${this.numberOf(k, own)} itself${step}, from ${plain(results.n[j])} ${results.n[j] === 1 ? "row" : "rows"}`;
    const interval = Number.isFinite(results.low[k][j])
      ? ` (${this.numberOf(k, results.low[k][j])} to ${this.numberOf(k, results.high[k][j])})`
      : "";
    return (
      ` ${ownText}; the population says ${this.numberOf(k, results.beta[k])}. ` +
      `Pooled: ${this.numberOf(k, results.theta[k][j])}${interval}, pooling factor ${number(results.omega[k][j], 2)}.`
    );
  }

  // Posterior draws of a level by effect, null where they are not embedded.
  levelDraws(j) {
    const { theta } = this.payload;
    if (!theta.count) return null;
    const from = j * theta.count;
    return theta.values.map((values, k) =>
      values.slice(from, from + theta.count).map((x) => theta.low[k] + x * theta.step[k]),
    );
  }

  // Where the added row of a level is expected, and where it is an outlier.
  expectedOutlier(j) {
    const z = this.model.outlier.z[j];
    const mean = this.payload.fit.mean;
    return z[0] * mean[0][j] + (this.model.K === 2 ? z[1] * mean[1][j] : 0);
  }

  defaultOutlier(j) {
    const { w } = this.model.outlier;
    const sd = w[j] > 0 ? this.payload.sigma.value / Math.sqrt(w[j]) : 1;
    const above = this.expectedOutlier(j) + 6 * sd;
    return Number(above.toPrecision(4));
  }

  // --- changes ---

  set(patch, jump = false) {
    if (jump) this._startMove();
    Object.assign(this.state, patch);
    this._dirty = true;
    this.schedule();
    this._write();
  }

  // A change of the numbers: from here on it is "what if".
  change(patch, jump = false) {
    this.set({ mode: "what-if", ...patch }, jump);
  }

  setShift(j, shift, jump = false) {
    const all = { ...this.state.shift };
    if (shift && shift.some((x) => x !== 0)) all[j] = shift.slice(0, this.model.K);
    else delete all[j];
    this.change({ shift: all }, jump);
  }

  shiftLevel(j, moved) {
    const now = this.state.shift[j] || [0, 0];
    this.setShift(j, moved.slice(0, this.model.K).map((x, k) => now[k] + x));
  }

  setOutlier(j, value, jump = false) {
    const all = { ...this.state.outlier };
    if (value === undefined) delete all[j];
    else all[j] = value;
    this.change({ outlier: all }, jump);
  }

  toggleOut(j) {
    const out = { ...this.state.out };
    if (out[j]) delete out[j];
    else out[j] = true;
    this.change({ out }, true);
  }

  resetLevel(j) {
    const patch = {};
    for (const name of ["n", "shift", "outlier", "out"]) {
      patch[name] = { ...this.state[name] };
      delete patch[name][j];
    }
    this.change(patch, true);
  }

  // Back to the fitted posterior.
  reset() {
    const { selected, effect, theme, expanded, game } = this.state;
    this.stop();
    this.set({ ...initialState(this.payload), selected, effect, theme, expanded, game }, true);
  }

  select(j) {
    if (j === this.state.selected) return;
    this.set({ selected: j });
  }

  hover(j) {
    if (j === this.hovered) return;
    this.hovered = j;
    this.schedule();
  }

  step(by) {
    const { order } = this;
    const last = order.length - 1;
    const at = order.indexOf(this.state.selected);
    this.hovered = -1;
    this.select(order[Math.min(last, Math.max(0, at + by))]);
    this.schedule();
  }

  tell(step) {
    this.stop();
    if (step < 0) this.set({ story: -1 });
    else if (step < STORY.length) this.set(storyState(this, step), true);
  }

  // From no to complete pooling and back, as an animation.
  play() {
    if (this._playing) {
      this.stop();
      return;
    }
    const from = this.state.pool;
    let start = null;
    const turn = (now) => {
      if (start === null) start = now;
      const s = (now - start) / 7000;
      if (s >= 1) {
        this.stop();
        this.change({ pool: from });
        return;
      }
      // Down to no pooling, up to complete, and back to where it was.
      const points = [[0, from], [0.2, 0], [0.3, 0], [0.7, 1], [0.8, 1], [1, from]];
      const i = points.findIndex(([at]) => at > s);
      const [[a, p], [b, q]] = [points[i - 1], points[i]];
      const u = (s - a) / (b - a);
      this.change({ pool: p + (q - p) * u * u * (3 - 2 * u) });
      this._playing = this.view.requestAnimationFrame(turn);
    };
    this._playing = this.view.requestAnimationFrame(turn);
    this.schedule();
  }

  stop() {
    if (this._playing) this.view.cancelAnimationFrame(this._playing);
    this._playing = 0;
    this.schedule();
  }
}
