// Sliders with numbers beside them, and the panel of the selected group.

import { limitsOf, readNumber } from "./state.js";
import { actionButton, html, number, setOff } from "./svg.js";

const STEPS = 1000;

// Between the position of a slider, 0 to 1, and its value.
export function linearTrack(low, high) {
  return {
    low,
    high,
    value: (p) => low + p * (high - low),
    position: (v) => (high > low ? (v - low) / (high - low) : 0),
  };
}

function logTrack(low, high) {
  const ratio = Math.log(high / low);
  return {
    low,
    high,
    value: (p) => low * Math.exp(p * ratio),
    position: (v) => (v > 0 ? Math.log(v / low) / ratio : 0),
  };
}

// A slider. given: key, name, label, title, track, get, put, start, limits (what a typed number may
// be), whole (round the slider's values), text (of a value, for screen readers).
export class Slider {
  constructor(app, given) {
    const doc = app.doc;
    this.app = app;
    this.given = given;
    const id = `${app.id}-${given.key}`;
    this.range = html(doc, "input", {
      type: "range", id, min: 0, max: STEPS, step: 1, "data-bm": `slider-${given.key}`, title: given.title,
    });
    this.box = html(doc, "input", {
      type: "number", step: "any", "data-bm": `number-${given.key}`, "aria-label": `${given.name}, number`,
    });
    const back = () => given.put(given.start(), true);
    // The button is about to be hidden: the focus goes to what it changed.
    const reset = () => {
      back();
      this.range.focus({ preventScroll: true });
    };
    this.reset = actionButton(doc, `reset-${given.key}`, "↺", reset, {
      class: "bm-icon bm-reset", "aria-label": `Reset ${given.name}`, title: "Reset (or double-click the slider)",
    });
    this.mark = html(doc, "span", { class: "bm-mark", "aria-hidden": "true" });
    this.label = html(doc, "label", { for: id }, ...given.label);
    this.element = html(
      doc, "div", { class: "bm-slider", "data-bm": `control-${given.key}` },
      this.label, this.box, this.reset,
      html(doc, "div", { class: "bm-track" }, this.range, this.mark),
    );
    this.range.addEventListener("input", () => {
      let value = given.track().value(Number(this.range.value) / STEPS);
      if (given.whole) value = Math.round(value);
      given.put(Number(value.toPrecision(given.whole ? 12 : 4)));
    });
    this.box.addEventListener("change", () => {
      const value = readNumber(this.box.value, given.limits);
      if (Number.isNaN(value)) this.render();
      else given.put(value);
    });
    this.range.addEventListener("dblclick", back);
  }

  render() {
    const { given, range, box } = this;
    const track = given.track();
    const value = given.get();
    const start = given.start();
    const place = (v) => Math.min(1, Math.max(0, track.position(v)));
    range.value = String(Math.round(STEPS * place(value)));
    range.setAttribute("aria-valuetext", given.text ? given.text(value) : number(value));
    range.style.setProperty("--bm-part", place(value).toFixed(4));
    if (box.getRootNode().activeElement !== box) box.value = String(Number(value.toPrecision(4)));
    this.mark.style.setProperty("--bm-at", place(start).toFixed(4));
    const moved = Math.abs(value - start) > 1e-9 * Math.max(1, Math.abs(start));
    this.element.classList.toggle("bm-moved", moved);
    this.reset.disabled = !moved;
  }
}

function symbol(doc, text, sub) {
  const element = html(doc, "i", {}, text);
  if (sub) element.append(html(doc, "sub", {}, sub));
  return element;
}

// A panel that folds, and is folded at first where there is little room.
export function foldable(app, key, title, ...content) {
  const { doc } = app;
  const panel = html(
    doc, "details", { class: "bm-panel", "data-bm": `panel-${key}` },
    html(doc, "summary", {}, html(doc, "h2", {}, title)),
    html(doc, "div", {}, ...content),
  );
  panel.open = app.root.clientWidth > 700;
  return panel;
}

// Sliders of the parameters: standard deviations, correlation, residual sd, rows.
export function parameterSliders(app) {
  const { payload, doc } = app;
  const limits = limitsOf(payload);
  const sliders = [];
  const add = (given) => sliders.push(new Slider(app, given));
  payload.effects.forEach((effect, k) => {
    const fitted = payload.sd[k];
    const most = 3 * (fitted || 1);
    add({
      key: `sd${k}`,
      name: `standard deviation of ${effect.name} between groups`,
      label: [`sd of ${effect.name} `, symbol(doc, "τ", payload.effects.length > 1 ? String(k) : "")],
      title: "How much groups differ",
      track: () => linearTrack(0, most),
      get: () => app.state.sd[k],
      put: (value, jump) => app.change({ sd: app.state.sd.map((s, i) => (i === k ? value : s)) }, jump),
      start: () => payload.sd[k],
      limits: limits.sd[k],
    });
  });
  if (payload.effects.length === 2) {
    add({
      key: "cor",
      name: "correlation of the effects",
      label: ["correlation ", symbol(doc, "ρ")],
      title: "Whether groups that are high in one effect are high in the other",
      track: () => linearTrack(-1, 1),
      get: () => app.state.cor,
      put: (value, jump) => app.change({ cor: value }, jump),
      start: () => (payload.cor === null ? 0 : payload.cor),
      limits: limits.cor,
    });
  }
  if (payload.sigma.kind !== "none") {
    const fitted = payload.sigma.value;
    const factor = payload.sigma.kind === "factor";
    add({
      key: "sigma",
      name: factor ? "factor on all residual errors" : "residual standard deviation",
      label: [factor ? "residual errors × " : "residual sd ", symbol(doc, "σ")],
      title: "How much rows of one group differ",
      track: () => logTrack(fitted / 10, fitted * 10),
      get: () => app.state.sigma,
      put: (value, jump) => app.change({ sigma: value }, jump),
      start: () => fitted,
      limits: limits.sigma,
    });
  }
  add({
    key: "rows",
    name: "factor on the rows of all groups",
    label: ["rows of each group ×"],
    title: "As if every group had so many times its rows",
    track: () => logTrack(0.05, 20),
    get: () => app.state.multiplier,
    put: (value, jump) => app.change({ multiplier: value }, jump),
    start: () => 1,
    limits: limits.rows,
    text: (value) => `${number(value)} times`,
  });
  return sliders;
}

// The panel of the selected group: which one, its rows, shifts, outlier, and leaving it out.
export class GroupPanel {
  constructor(app) {
    const { doc, payload } = app;
    this.app = app;
    this.select = html(doc, "select", { "data-bm": "select-group", "aria-label": `Selected ${payload.group}` });
    payload.levels.forEach((level, j) => this.select.append(html(doc, "option", { value: j }, level)));
    this.select.addEventListener("change", () => app.select(Number(this.select.value)));
    const button = (key, text, label, act) => actionButton(doc, key, text, act, { "aria-label": label });
    this.limits = limitsOf(payload);
    this.outlierButton = button("toggle-outlier", "Add an outlier", null, () => this.toggleOutlier());
    this.outButton = button("toggle-out", "Leave it out", null, () => app.toggleOut(app.state.selected));
    this.undo = button("reset-group", "Undo", "Undo the changes of this group", () => app.resetLevel(app.state.selected));
    this.sliders = this._sliders();
    this.outlier = this._outlierSlider();
    this.element = foldable(
      app, "group", `Selected ${payload.group}`,
      html(
        doc, "div", { class: "bm-choose" },
        button("previous-group", "‹", "Previous group", () => app.step(-1)),
        this.select,
        button("next-group", "›", "Next group", () => app.step(1)),
      ),
      ...this.sliders.map((s) => s.element),
      html(doc, "div", { class: "bm-buttons" }, this.outlierButton, this.outButton, this.undo),
      this.outlier.element,
    );
  }

  _sliders() {
    const { app } = this;
    const { payload, doc } = app;
    const most = Math.max(60, 3 * Math.max(...payload.n));
    const own = () => app.state.selected;
    const sliders = [
      new Slider(app, {
        key: "n",
        name: "rows of the selected group",
        label: ["its rows ", symbol(doc, "n")],
        title: "As if the group had so many rows like its own",
        track: () => logTrack(1, most),
        whole: true,
        get: () => {
          const n = app.state.n[own()];
          return n === undefined ? payload.n[own()] * app.state.multiplier : n;
        },
        put: (value, jump) => app.change({ n: { ...app.state.n, [own()]: value } }, jump),
        start: () => payload.n[own()] * app.state.multiplier,
        limits: this.limits.n,
      }),
    ];
    payload.effects.forEach((effect, k) => {
      const wide = 3 * (payload.sd[k] || 1);
      sliders.push(
        new Slider(app, {
          key: `shift${k}`,
          name: `shift of its own ${effect.name}`,
          label: [payload.effects.length > 1 ? `own ${effect.name} moved by` : "own mean moved by"],
          title: "As if its rows were higher by so much",
          track: () => linearTrack(-wide, wide),
          get: () => (app.state.shift[own()] || [0, 0])[k],
          put: (value, jump) => {
            const shift = (app.state.shift[own()] || payload.effects.map(() => 0)).slice();
            shift[k] = value;
            app.setShift(own(), shift, jump);
          },
          start: () => 0,
          limits: this.limits.shift[k],
        }),
      );
    });
    return sliders;
  }

  _outlierSlider() {
    const { app } = this;
    const own = () => app.state.selected;
    return new Slider(app, {
      key: "outlier",
      name: "value of the outlier",
      label: ["outlier at"],
      title: "Where the added row is",
      track: () => {
        const at = app.defaultOutlier(own());
        const from = app.expectedOutlier(own());
        return linearTrack(from - 2 * Math.abs(at - from), from + 2 * Math.abs(at - from));
      },
      get: () => {
        const at = app.state.outlier[own()];
        return at === undefined ? app.defaultOutlier(own()) : at;
      },
      put: (value, jump) => app.setOutlier(own(), value, jump),
      start: () => app.defaultOutlier(own()),
      limits: this.limits.outlier,
    });
  }

  toggleOutlier() {
    const { app } = this;
    const j = app.state.selected;
    app.setOutlier(j, app.state.outlier[j] === undefined ? app.defaultOutlier(j) : undefined, true);
  }

  render() {
    const { app } = this;
    const { state } = app;
    const j = state.selected;
    this.select.value = String(j);
    this.sliders.forEach((s) => s.render());
    const has = state.outlier[j] !== undefined;
    this.outlier.element.hidden = !has;
    if (has) this.outlier.render();
    this.outlierButton.textContent = has ? "Remove the outlier" : "Add an outlier";
    this.outlierButton.setAttribute("aria-pressed", String(has));
    this.outButton.textContent = state.out[j] ? "Bring it back" : "Leave it out";
    this.outButton.setAttribute("aria-pressed", String(Boolean(state.out[j])));
    setOff(this.undo, !has && !state.out[j] && !state.shift[j] && state.n[j] === undefined);
  }
}
