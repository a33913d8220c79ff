// Five steps for a lecture: each sets the state and shows one view large.

import { html, number, percent, plain } from "./svg.js";

// Each step: title, view, the state that it sets, and its text. `m` makes coloured words.
export const STORY = [
  {
    title: "Every group for itself",
    view: "arrows",
    state: () => ({ mode: "what-if", pool: 0 }),
    text: (app, m) => [
      `Estimate each ${app.payload.group} from its own rows, as if the others did not exist. The `,
      m("own estimates", "ink"),
      " are unbiased, and they spread too far: they vary because groups differ, and once more because of noise. " +
        "The most extreme groups are often just those that know the least.",
    ],
  },
  {
    title: "All groups alike",
    view: "lines",
    state: () => ({ mode: "what-if", pool: 1 }),
    text: (app, m) => [
      "The other extreme: forget that there are groups, and give all of them the estimate of the ",
      m("population", "blue"),
      `. Nothing is left of the noise, and nothing of what makes ${app.payload.levels[app.state.selected]} different.`,
    ],
  },
  {
    title: "A compromise that the data choose",
    view: "caterpillar",
    state: () => ({ mode: "fit", pool: 0.5 }),
    text: (app, m) => [
      "The model estimates how much groups differ, and from that how far each can be trusted. Every ",
      m("pooled estimate", "red"),
      " lies between what the ",
      m("group", "ink"),
      " says and what the ",
      m("population", "blue"),
      ` says. ${app.payload.levels[app.state.selected]} keeps ${percent(1 - app.results.omega[app.state.effect][app.state.selected])} of its own deviation.`,
    ],
  },
  {
    title: "Who knows little borrows much",
    view: "factor",
    state: (app) => {
      const rows = app.payload.effects.length;
      return { mode: "what-if", pool: 0.5, n: { [app.state.selected]: rows } };
    },
    text: (app) => {
      const j = app.state.selected;
      const k = app.state.effect;
      return [
        `Now ${app.payload.levels[j]} has only n = ${plain(app.results.n[j])}. Its pooling factor is ` +
          `ω = ${number(app.results.omega[k][j], 2)}: it borrows ${percent(app.results.omega[k][j])} from the population. ` +
          "Move the slider of its rows: with more of them it moves down the curve, and speaks for itself.",
      ];
    },
  },
  {
    title: "A group nobody has seen",
    view: "cluster",
    state: (app) => ({ mode: "what-if", pool: 0.5, out: { [app.state.selected]: true } }),
    text: (app, m) => [
      `${app.payload.levels[app.state.selected]} is left out, and the model still has something to say of it: what it says of any new group. The `,
      m("distribution of groups", "blue"),
      ", which one model for all of them learns, is what shrinks estimates and what predicts the next group.",
    ],
  },
];

// What every step starts from: the fit, without the reader's changes.
export function storyState(app, step) {
  const { payload } = app;
  const clean = {
    sd: payload.sd.slice(),
    cor: payload.cor === null ? 0 : payload.cor,
    sigma: payload.sigma.value,
    multiplier: 1,
    n: {},
    shift: {},
    outlier: {},
    out: {},
    expanded: "",
  };
  return { ...clean, ...STORY[step].state(app), story: step };
}

export class StoryPanel {
  constructor(app) {
    const { doc } = app;
    this.app = app;
    const button = (key, text, act) => {
      const element = html(doc, "button", { type: "button", "data-bm": key }, text);
      element.addEventListener("click", act);
      return element;
    };
    this.start = button("story-start", "The story in five steps", () => this.open());
    this.start.classList.add("bm-primary");
    this.back = button("story-previous", "‹ Back", () => app.tell(app.state.story - 1));
    this.next = button("story-next", "Next ›", () => app.tell(app.state.story + 1));
    this.next.classList.add("bm-primary");
    this.close = button("story-close", "End the story", () => this.end());
    this.title = html(doc, "h2", {});
    this.text = html(doc, "p", {});
    this.dots = html(doc, "ol", { class: "bm-steps", "aria-hidden": "true" });
    STORY.forEach(() => this.dots.append(html(doc, "li")));
    this.shown = html(
      doc, "div", { class: "bm-story-text" },
      this.dots,
      html(doc, "div", { "aria-live": "polite", "data-bm": "story-text" }, this.title, this.text),
      html(doc, "div", { class: "bm-buttons" }, this.back, this.next, this.close),
    );
    this.element = html(doc, "section", { class: "bm-story", "data-bm": "story", "aria-label": "Guided story" }, this.shown);
    this._written = "";
  }

  // Focus goes along: the button that was pressed is about to be hidden.
  open() {
    this.app.tell(0);
    this.element.hidden = false;
    this.next.disabled = false;
    this.next.focus({ preventScroll: true });
  }

  end() {
    this.app.tell(-1);
    this.start.hidden = false;
    this.start.focus({ preventScroll: true });
  }

  // The keys of a lecturer's remote control.
  key(event) {
    const { story } = this.app.state;
    if (story < 0 || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    if (event.key === "PageDown") this.app.tell(story + 1);
    else if (event.key === "PageUp") this.app.tell(Math.max(0, story - 1));
    else if (event.key === "Escape") this.end();
    else return;
    event.preventDefault();
  }

  render() {
    const { app } = this;
    const { story } = app.state;
    const told = story >= 0;
    this.start.hidden = told;
    this.element.hidden = !told;
    if (!told) return;
    const step = STORY[story];
    const words = (text, colour) => html(app.doc, "b", { class: `bm-${colour}` }, text);
    const content = step.text(app, words);
    // Announced when the words change, not with every frame.
    const plain = content.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
    const title = `${story + 1}. ${step.title}`;
    if (this.title.textContent !== title) this.title.textContent = title;
    if (plain !== this._written) this.text.replaceChildren(...content);
    this._written = plain;
    this.back.disabled = story === 0;
    this.next.disabled = story === STORY.length - 1;
    [...this.dots.children].forEach((dot, i) => dot.classList.toggle("bm-now", i === story));
  }
}
