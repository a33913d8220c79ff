// The page: state, results, and the parts that show them.
//
// `mount(root, payload, options)` builds it within an element and returns what tests and widgets
// use; that is `root.bayesmm` as well. With `options.url` the state is in the address. Nothing else
// of the document is touched, so that several can be on one page.

import { GroupPanel, Slider, foldable, linearTrack, parameterSliders } from "./controls.js";
import { GameView } from "./game.js";
import { Session } from "./session.js";
import { formatState, parseState } from "./state.js";
import { STORY, StoryPanel, storyState } from "./story.js";
import { actionButton, html, named, number, percent, plain, setOff } from "./svg.js";
import { GroupTable } from "./table.js";
import { ArrowsView } from "./view_arrows.js";
import { BayesView } from "./view_bayes.js";
import { CaterpillarView } from "./view_caterpillar.js";
import { ClusterView } from "./view_cluster.js";
import { FactorView } from "./view_factor.js";
import { LinesView } from "./view_lines.js";

const MOVE_MS = 500;
const WRITE_MS = 150;
const ANNOUNCE_MS = 350;
const ARRAYS = ["theta", "sd", "conditionalSd", "low", "high", "omega", "unpooled", "unpooledSd"];
let mounted = 0;

class App extends Session {
  constructor(root, payload, options) {
    super(payload, root.ownerDocument.defaultView);
    this.root = root;
    this.doc = root.ownerDocument;
    this.options = options;
    mounted += 1;
    this.id = `bm${mounted}-${Math.random().toString(36).slice(2, 8)}`;
    if (options.url) this.state = this._fromAddress();
    this._build();
    this._listen();
    this.flush();
  }

  // --- drawing ---

  schedule() {
    if (this._frame || !this.view) return;
    this._frame = this.view.requestAnimationFrame((now) => {
      this._frame = 0;
      this._render(now);
    });
  }

  // Draw now, at the end of any movement.
  flush() {
    this._move = null;
    this._render(0);
  }

  _startMove() {
    const calm = this.view.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (calm || !this.shown) return;
    this._move = { from: this.shown, start: null };
  }

  _shownAt(now) {
    const to = this.results;
    if (!this._move) return to;
    if (this._move.start === null) this._move.start = now;
    const s = (now - this._move.start) / MOVE_MS;
    if (s >= 1) {
      this._move = null;
      return to;
    }
    const u = s * s * (3 - 2 * s);
    const { from } = this._move;
    const between = (a, b) => (Number.isFinite(a) && Number.isFinite(b) ? a + u * (b - a) : b);
    const shown = { ...to, beta: to.beta.map((b, k) => between(from.beta[k], b)) };
    for (const name of ARRAYS) {
      shown[name] = to[name].map((list, k) => list.map((b, j) => between(from[name][k][j], b)));
    }
    shown.n = to.n.map((b, j) => between(from.n[j], b));
    this.schedule();
    return shown;
  }

  _render(now) {
    const { root, state, payload } = this;
    this.em = parseFloat(this.view.getComputedStyle(root).fontSize) || 15;
    root.dataset.theme = state.theme;
    root.dataset.mode = state.mode;
    const spot = state.story >= 0 ? STORY[state.story].view : "";
    for (const chart of this.charts) {
      const large = chart.key === spot || chart.key === state.expanded;
      chart.card.classList.toggle("bm-spot", chart.key === spot);
      chart.card.classList.toggle("bm-large", large);
      chart.enlarge.setAttribute("aria-pressed", String(large));
    }
    this.shown = this._shownAt(now);
    this.charts.forEach((chart) => chart.render());
    this._renderHead(payload);
    this.sliders.forEach((slider) => slider.render());
    this.panel.render();
    this.story.render();
    this._announce();
    this._tableSoon();
  }

  _renderHead(payload) {
    const { state, results, shown } = this;
    const j = this.current;
    const k = state.effect;
    const fitted = state.mode === "fit";
    this.badge.textContent = fitted
      ? "the fitted posterior"
      : payload.exact
        ? `what if: exact, given ${payload.alone ? "τ and σ" : "τ, σ and the other group effects"}`
        : "what if: approximate, one Newton step";
    setOff(this.back, fitted);
    this.playButton.textContent = this._playing ? "■ Stop" : "▶ Play";
    const t = this.factor;
    this.poolText.textContent =
      state.pool === 0.5
        ? "partial pooling"
        : t === Infinity
          ? "no pooling"
          : t === 0
            ? "complete pooling"
            : `τ × ${number(Math.sqrt(t), 2)}`;
    const omega = shown.omega[k][j];
    this.tugOwn.style.width = `${(100 * (1 - omega)).toFixed(2)}%`;
    this.tugLabel.textContent = payload.levels[j];
    this.tugOwnText.textContent = `${this.weighs ? "its own rows" : "its rows settle"} ${percent(1 - omega)}`;
    this.tugAllText.textContent = `${percent(omega)} ${this.weighs ? "the population" : "left to the population"}`;
    this._say(this.sentence, j);
    this.formula.replaceChildren(...this._formula(j, results));
    this.effectButtons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === k)));
  }

  _say(element, j) {
    const [label, text] = [this.payload.levels[j], this.summaryOf(j)];
    if (element.textContent !== label + text) element.replaceChildren(named(this.doc, label), text);
  }

  // The formula with the numbers of a group where it is the simple one, else in matrices.
  _formula(j, results) {
    const { doc, payload, model, state } = this;
    const it = (text, sub) => {
      const element = html(doc, "i", {}, text);
      if (sub) element.append(html(doc, "sub", {}, sub));
      return element;
    };
    if (model.K === 2) {
      return [it("θ", "j"), " = ", it("β"), " + Σ(I + ", it("P", "j"), "Σ)⁻¹ ", it("P", "j"), " (", it("θ̂", "j"), " − ", it("β"), "),  ",
        it("P", "j"), " = ∑", it("w", "i"), it("z", "i"), it("z", "i"), "′", ...(payload.sigma.kind === "none" ? [] : ["/", it("σ"), "²"])];
    }
    // The fit averages over the other effects as well: no formula of this group alone.
    if (this.averagesOthers) return [];
    const simple = payload.alone && payload.sigma.kind === "sd" && Math.abs(model.G[j][0] - payload.n[j]) < 1e-9 * payload.n[j];
    const head = ["1 − ", it("ω", "j"), " = ", it("τ"), "² / (", it("τ"), "² + "];
    if (!simple) return [...head, "1/", it("P", "j"), ") = ", number(1 - results.omega[0][j], 3)];
    const tau = number(this.spread(0));
    const n = plain(results.n[j]);
    const mean = number(1 - results.omega[0][j], 3);
    if (state.mode === "fit") return [...head, it("σ"), "²/", it("n", "j"), "), on average over the posterior ", mean];
    return [...head, it("σ"), "²/", it("n", "j"), ") = ",
      Number.isFinite(this.spread(0)) && results.n[j] > 0 ? `${tau}² / (${tau}² + ${number(state.sigma)}²/${n}) = ` : "",
      mean];
  }

  // Screen readers hear of the selected group once it rests.
  _announce() {
    const j = this.state.selected;
    const text = this.payload.levels[j] + this.summaryOf(j);
    if (text === this._announced) return;
    this._announced = text;
    this.view.clearTimeout(this._announcing);
    this._announcing = this.view.setTimeout(() => this._say(this.live, j), ANNOUNCE_MS);
  }

  _tableSoon() {
    if (!this.table.element.open) return;
    this.view.clearTimeout(this._tabling);
    this._tabling = this.view.setTimeout(() => this.table.render(), 200);
  }

  // --- the document ---

  _build() {
    const { doc, payload, root } = this;
    root.classList.add("bm-root");
    root.replaceChildren();
    this.charts = [ArrowsView, CaterpillarView, LinesView, BayesView, FactorView, ClusterView, GameView].map(
      (View) => new View(this),
    );
    [this.game] = this.charts.slice(-1);
    this.story = new StoryPanel(this);
    this.panel = new GroupPanel(this);
    this.table = new GroupTable(this);
    this.sliders = parameterSliders(this);
    this.live = html(doc, "p", { class: "bm-hidden", role: "status", "aria-live": "polite", "data-bm": "live" });
    const rows = payload.n.reduce((a, b) => a + b, 0);
    const facts = `${payload.levels.length} groups, ${rows} rows, ${payload.family} (${payload.link} link)`;
    const themeButton = this._button("theme", "◐", "Light or dark", () => this._nextTheme());
    themeButton.classList.add("bm-icon");
    const printButton = this._button("print", "Print", "Print", () => this.view.print());
    root.append(
      html(
        doc, "header", { class: "bm-top" },
        html(doc, "div", {}, html(doc, "h1", {}, payload.title), html(doc, "p", { class: "bm-facts" }, html(doc, "code", {}, payload.formula), ` ${facts}`)),
        html(doc, "div", { class: "bm-tools" }, this.story.start, themeButton, this.options.url ? printButton : null),
      ),
      this.story.element,
      this._hero(),
      html(
        doc, "div", { class: "bm-body" },
        html(doc, "aside", { class: "bm-side", "aria-label": "Controls" }, this._parameters(), this.panel.element, this._help()),
        html(doc, "main", { class: "bm-grid" }, html(doc, "h2", { class: "bm-hidden" }, "Figures"), ...this.charts.slice(0, -1).map((chart) => chart.card)),
      ),
      this.game.card,
      this.table.element,
      this._footer(),
      this.live,
    );
  }

  _button(key, text, label, act) {
    return actionButton(this.doc, key, text, act, { "aria-label": label, title: label });
  }

  _hero() {
    const { doc, payload } = this;
    this.poolText = html(doc, "output", { class: "bm-pool-text", "data-bm": "pool-text" });
    this.pool = new Slider(this, {
      key: "pool",
      name: "pooling",
      label: ["How much to pool"],
      title: "From no pooling to complete pooling",
      track: () => linearTrack(0, 1),
      get: () => this.state.pool,
      put: (value, jump) => this.change({ pool: value }, jump),
      start: () => 0.5,
      limits: [0, 1],
      text: () => this.poolText.textContent,
    });
    this.pool.box.remove();
    this.pool.range.addEventListener("pointerdown", () => this.stop());
    this.playButton = this._button("play", "▶ Play", "Play from no to complete pooling", () => this.play());
    this.back = this._button("back", "Back to the fitted posterior", "Back to the fitted posterior", () => this.reset());
    this.badge = html(doc, "span", { class: "bm-badge", "data-bm": "mode" });
    const scale = html(doc, "div", { class: "bm-scale", "aria-hidden": "true" });
    for (const text of ["no pooling", "partial", "complete"]) scale.append(html(doc, "span", {}, text));
    this.pool.element.classList.add("bm-pool");
    this.pool.label.after(this.poolText);
    this.pool.element.append(scale);
    this.effectButtons = payload.effects.map((effect, k) =>
      this._button(`effect-${k}`, effect.name, `Show ${effect.name}`, () => this.set({ effect: k })),
    );
    const effects = html(doc, "div", { class: "bm-effects", role: "group", "aria-label": "Effect that is shown" }, "Effect: ", ...this.effectButtons);
    effects.hidden = payload.effects.length < 2;
    this.tugLabel = html(doc, "strong", {});
    this.tugOwn = html(doc, "span", { class: "bm-tug-own" });
    this.tugOwnText = html(doc, "span", { class: "bm-ink" });
    this.tugAllText = html(doc, "span", { class: "bm-blue" });
    this.sentence = html(doc, "p", { class: "bm-sentence", "data-bm": "summary" });
    this.formula = html(doc, "p", { class: "bm-formula", "data-bm": "formula" });
    return html(
      doc, "section", { class: "bm-hero", "aria-label": "Pooling" },
      html(
        doc, "div", { class: "bm-hero-pool" },
        this.pool.element,
        html(doc, "div", { class: "bm-buttons" }, this.playButton, this.back, this.badge),
      ),
      html(
        doc, "div", {},
        html(doc, "div", { class: "bm-tug-head" }, this.tugLabel, effects),
        html(doc, "div", { class: "bm-tug", "aria-hidden": "true" }, this.tugOwn),
        html(doc, "div", { class: "bm-tug-text", "aria-hidden": "true" }, this.tugOwnText, this.tugAllText),
        this.sentence,
        this.formula,
      ),
    );
  }

  _parameters() {
    const panel = foldable(this, "parameters", "What if …", ...this.sliders.map((s) => s.element));
    this.sliders.push(this.pool);
    return panel;
  }

  _help() {
    const { doc } = this;
    const items = [
      "Point at a group in any figure, or select it by a click.",
      "In a figure, arrow keys move from group to group; Home and End go to the ends.",
      "Drag a small dot, a group's own estimate, or press Shift and an arrow key in a figure, to move that of the selected group.",
      "Drag an outlier up and down, or use its slider.",
      "In the story, Page Down and Page Up go on and back, Escape ends it.",
      "Double-click a slider, or press ↺, to have its fitted value back.",
    ];
    if (this.options.url) items.push("The address has all of it: reload, bookmark or share it.");
    const list = html(doc, "ul", {}, ...items.map((text) => html(doc, "li", {}, text)));
    return html(doc, "details", { class: "bm-details bm-help" }, html(doc, "summary", {}, "Keys and gestures"), list);
  }

  _footer() {
    const { doc, payload } = this;
    const others = payload.alone ? "" : " and the other group effects";
    const text = payload.exact
      ? `“What if” results are exact given the standard deviations${others}, with a flat prior on the population's coefficients, and all other parameters at their posterior means. The fitted posterior averages over all of them.`
      : "“What if” results are approximate: one Newton step from the fitted posterior, on the scale of the link, all other parameters at their posterior means. The fitted posterior is not approximate.";
    return html(doc, "footer", { class: "bm-foot" }, html(doc, "p", {}, text), html(doc, "p", {}, "Made with bayesmm."));
  }

  _nextTheme() {
    const dark = this.view.matchMedia("(prefers-color-scheme: dark)").matches;
    const shown = this.state.theme === "auto" ? (dark ? "dark" : "light") : this.state.theme;
    this.set({ theme: shown === "dark" ? "light" : "dark" });
  }

  // --- the address ---

  _fromAddress() {
    const { hash } = this.view.location;
    const state = parseState(hash, this.payload);
    // An address that names a step of the story and nothing that it sets.
    const alone = /^#((story|group|effect|theme|large|game)=[^&]*(&|$))*$/.test(hash);
    if (state.story < 0 || !alone) return state;
    return { ...state, ...storyState({ payload: this.payload, state }, state.story) };
  }

  _write() {
    if (!this.options.url) return;
    this.view.clearTimeout(this._writing);
    this._writing = this.view.setTimeout(() => {
      const text = formatState(this.state, this.payload);
      const { location, history } = this.view;
      history.replaceState(null, "", `${location.pathname}${location.search}${text ? `#${text}` : ""}`);
    }, WRITE_MS);
  }

  _listen() {
    const { view } = this;
    this._stops = [];
    const on = (target, name, act) => {
      target.addEventListener(name, act);
      this._stops.push(() => target.removeEventListener(name, act));
    };
    if (this.options.url) {
      on(view, "hashchange", () => {
        this.stop();
        this.game.begin();
        this.state = this._fromAddress();
        this.hovered = -1;
        this._dirty = true;
        this.schedule();
      });
    }
    on(view, "beforeprint", () => this.flush());
    // A page of its own hears a lecturer's keys wherever the focus is.
    on(this.options.url ? this.doc : this.root, "keydown", (event) => this.story.key(event));
    const observer = new view.ResizeObserver(() => this.schedule());
    observer.observe(this.root);
    this._stops.push(() => observer.disconnect());
  }

  destroy() {
    this.stop();
    this._stops.forEach((stop) => stop());
    if (this._frame) this.view.cancelAnimationFrame(this._frame);
    for (const timer of [this._writing, this._announcing, this._tabling]) this.view.clearTimeout(timer);
    this.root.replaceChildren();
  }
}

// Build the page in `root`. options: url, whether the state is in the address.
export function mount(root, payload, options = {}) {
  const app = new App(root, payload, options);
  const api = {
    payload,
    model: app.model,
    get state() {
      return app.state;
    },
    get results() {
      return app.results;
    },
    set: (patch) => app.change(patch),
    select: (j) => app.select(j),
    tell: (step) => app.tell(step),
    reset: () => app.reset(),
    flush: () => app.flush(),
    destroy: () => app.destroy(),
  };
  root.bayesmm = api;
  return api;
}
