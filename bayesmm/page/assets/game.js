// The game: pool ten groups as far as you dare, then see the truth.

import { Chart } from "./chart.js";
import { GAME_GROUPS, drawRound, manyRounds, meanOf, scoreRound, shrink } from "./stein.js";
import { actionButton, cross, dot, html, number, percent, segment, widened } from "./svg.js";

const NAMES = [
  ["none", "no pooling", "ink"],
  ["partial", "partial pooling", "red"],
  ["complete", "complete pooling", "blue"],
  ["you", "you", "green"],
];

export class GameView extends Chart {
  constructor(app) {
    super(app, "game", "A game: can you beat the raw means?");
    const { doc } = app;
    this.svg.setAttribute("role", "img");
    this.svg.removeAttribute("tabindex");
    this.svg.removeAttribute("aria-roledescription");
    this.begin();
    const button = (key, text, act) => actionButton(doc, key, text, act);
    const id = `${app.id}-game-choice`;
    this.slider = html(doc, "input", { type: "range", id, min: 0, max: 100, step: 1, value: 0, "data-bm": "game-choice" });
    this.output = html(doc, "output", { for: id, "data-bm": "game-choice-text" });
    this.slider.addEventListener("input", () => {
      this.choice = Number(this.slider.value) / 100;
      app.schedule();
    });
    this.show = button("game-reveal", "Show the truth", () => this.reveal());
    this.show.classList.add("bm-primary");
    this.next = button("game-next", "Next round ›", () => this.nextRound());
    this.next.classList.add("bm-primary");
    this.many = button("game-many", "Play 1,000 rounds", () => this.playMany());
    this.again = button("game-restart", "New game", () => this.restart());
    this.message = html(doc, "p", { class: "bm-message", role: "status", "data-bm": "game-message" });
    this.bars = html(doc, "div", { class: "bm-bars", "data-bm": "game-bars" });
    this.body = html(doc, "tbody");
    const head = html(doc, "tr", {}, html(doc, "th", { scope: "col" }, "round"));
    for (const [, name] of NAMES) head.append(html(doc, "th", { scope: "col" }, name));
    this.table = html(
      doc, "table", { "data-bm": "game-table" },
      html(doc, "caption", {}, "Sums of squared errors"),
      html(doc, "thead", {}, head),
      this.body,
    );
    const intro = html(
      doc, "p", {},
      `Ten groups with simulated data. Dots are their raw means, each with a standard error of 1. ` +
        "How far do you pull them to their common mean, before you know the truth? Partial pooling is that " +
        "of James and Stein: with four groups and more it has, on average, a smaller error than the raw means, " +
        "whatever the truth.",
    );
    this.side = html(
      doc, "div", { class: "bm-game-side" },
      intro,
      html(doc, "label", { for: id }, "You pool "),
      this.output,
      this.slider,
      html(doc, "div", { class: "bm-buttons" }, this.show, this.next, this.many, this.again),
      this.message,
      this.bars,
      html(doc, "div", { class: "bm-scroll" }, this.table),
    );
    this.card.classList.add("bm-game");
    this.enlarge.remove();
    this.card.insertBefore(html(doc, "div", { class: "bm-game-body" }, this.plot, this.side), this.note);
  }

  heightFor(width) {
    return Math.min(0.8 * width, 24 * this.em);
  }

  get number() {
    const played = this.app.state.game.choices.length;
    return this.revealed ? played - 1 : played;
  }

  reveal() {
    if (this.revealed) return;
    const { game } = this.app.state;
    this.revealed = true;
    this.app.set({ game: { ...game, choices: [...game.choices, Math.round(100 * this.choice) / 100] } });
    this.next.hidden = false;
    this.next.focus();
  }

  // A round that the reader has not yet answered.
  begin() {
    this.revealed = false;
    this.choice = 0;
    this.averages = null;
  }

  nextRound() {
    this.begin();
    this.app.schedule();
    this.show.hidden = false;
    this.slider.disabled = false;
    this.slider.focus();
  }

  restart() {
    const { game } = this.app.state;
    this.begin();
    this.app.set({ game: { seed: game.seed + 1, choices: [] } });
  }

  playMany() {
    this.averages = manyRounds(this.app.state.game.seed, 1000);
    this.app.schedule();
  }

  draw() {
    const { app } = this;
    const { game } = app.state;
    const round = drawRound(game.seed, this.number);
    const em = this.em;
    const pulled = shrink(round.seen, this.choice);
    const all = [...round.seen, ...round.truth];
    this.frame({ domain: widened(Math.min(...all) - 0.6, Math.max(...all) + 0.6, 0.03) }, null, { left: 1, right: 1, bottom: 2, top: 2.2 });
    const { top, bottom } = this.box;
    const middle = this.x(meanOf(round.seen));
    this.path("back", "mean", segment(middle, top, middle, bottom), { class: "bm-population" });
    let errors = "";
    let arrows = "";
    let own = "";
    let mine = "";
    let truths = "";
    for (let j = 0; j < GAME_GROUPS; j++) {
      const y = top + ((j + 0.5) / GAME_GROUPS) * (bottom - top);
      const [seen, at] = [this.x(round.seen[j]), this.x(pulled[j])];
      errors += segment(this.x(round.seen[j] - 1), y, this.x(round.seen[j] + 1), y);
      arrows += segment(seen, y, at, y);
      own += dot(seen, y);
      mine += dot(at, y);
      truths += cross(this.x(round.truth[j]), y, 0.34 * em);
    }
    this.path("data", "errors", errors, { class: "bm-game-error" });
    this.path("data", "arrows", arrows, { class: "bm-arrow-current" });
    this.path("data", "mine", mine, { class: "bm-dots bm-green-dots", "stroke-width": 0.95 * em });
    this.path("data", "own", own, { class: "bm-dots bm-own", "stroke-width": 0.45 * em });
    if (this.revealed) this.path("front", "truth", truths, { class: "bm-truth" });
    const key = this.revealed ? "small: raw means · green: yours · crosses: the truth" : "small: raw means · green: yours";
    this.words("key", this.box.left, 1.2 * em, key, { class: "bm-axis" });
    this.svg.setAttribute("aria-label", `Round ${this.number + 1}: ten raw means, ${key}`);
    this.drawSide(round);
  }

  drawSide(round) {
    const { game } = this.app.state;
    this.slider.value = String(Math.round(100 * this.choice));
    this.slider.disabled = this.revealed;
    this.output.textContent = percent(this.choice);
    this.show.hidden = this.revealed;
    this.next.hidden = !this.revealed;
    const score = scoreRound(round, this.choice);
    this.setMessage(score);
    this.drawBars(this.averages || (this.revealed ? score : null));
    const text = JSON.stringify([game, this.revealed]);
    if (text === this._tabled) return;
    this._tabled = text;
    this.drawTable(game);
  }

  setMessage(score) {
    let text = `Round ${this.number + 1}. Pool, then show the truth.`;
    if (this.averages) {
      const { none, partial, complete, better } = this.averages;
      text =
        `1,000 rounds: on average a sum of squared errors of ${number(none)} without pooling, ${number(partial)} with partial and ` +
        `${number(complete)} with complete pooling. Partial pooling beat the raw means in ${percent(better)} of them.`;
    } else if (this.revealed) {
      const best = score.you <= score.partial ? "You did better than the estimate of James and Stein" : "Partial pooling, which did not know the truth either, was nearer";
      const raw = score.you < score.none ? "and you beat the raw means." : "and the raw means beat you.";
      text = `${best} (it pooled ${percent(score.part)}), ${raw}`;
    }
    if (this.message.textContent !== text) this.message.textContent = text;
  }

  drawBars(score) {
    const { doc } = this.app;
    if (!score) {
      this.bars.replaceChildren();
      return;
    }
    const given = NAMES.filter(([key]) => Number.isFinite(score[key]));
    const most = Math.max(...given.map(([key]) => score[key]));
    this.bars.replaceChildren(
      ...given.map(([key, name, colour]) => {
        const bar = html(doc, "span", { class: `bm-bar bm-fill-${colour}` });
        bar.style.width = `${((100 * score[key]) / most).toFixed(1)}%`;
        return html(doc, "div", {}, html(doc, "span", {}, name), html(doc, "span", {}, bar), html(doc, "span", {}, number(score[key])));
      }),
    );
  }

  drawTable(game) {
    const { doc } = this.app;
    const scores = game.choices.map((choice, i) => scoreRound(drawRound(game.seed, i), choice));
    const line = (title, values, name) => {
      const row = html(doc, "tr", { class: name }, html(doc, "th", { scope: "row" }, title));
      const least = Math.min(...values);
      for (const value of values) row.append(html(doc, "td", value === least ? { class: "bm-best" } : {}, number(value)));
      return row;
    };
    const rows = scores.slice(-6).map((score, i) => {
      const first = Math.max(0, scores.length - 6);
      return line(String(first + i + 1), NAMES.map(([key]) => score[key]));
    });
    if (scores.length) {
      const sums = NAMES.map(([key]) => scores.reduce((sum, score) => sum + score[key], 0));
      rows.push(line("all", sums, "bm-sum"));
    }
    this.table.hidden = !scores.length;
    this.body.replaceChildren(...rows);
  }

  _key() {}
}
