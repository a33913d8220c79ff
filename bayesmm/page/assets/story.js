// Five steps for a lecture: each sets the state and shows one view large.

import { actionButton, html, named, number, percent, plain, setOff } from "./svg.js";

// Each step: title, view, the state that it sets, and its text, in parts: `m` makes coloured words,
// `name` is the label of the selected group.
export const STORY = [
  {
    title: "Every group for itself",
    view: "arrows",
    state: () => ({ mode: "what-if", pool: 0 }),
    text: (app, m) => [
      `Estimate each ${app.payload.group} from its own rows, as if the others did not exist. The `,
      m("own estimates", "ink"),
      app.payload.exact ? " are unbiased, and" : " use nothing else, and",
      " they spread too far: they vary because groups differ, and once more because of noise. " +
        "The most extreme groups are often just those that know the least.",
    ],
  },
  {
    title: "All groups alike",
    view: "lines",
    state: () => ({ mode: "what-if", pool: 1 }),
    text: (app, m, name) => [
      "The other extreme: forget that there are groups, and give all of them the estimate of the ",
      m("population", "blue"),
      ". Most of the noise averages out, and all that makes ",
      name,
      " different is lost.",
    ],
  },
  {
    title: "A compromise that the data choose",
    view: "caterpillar",
    state: () => ({ mode: "fit", pool: 0.5 }),
    text: (app, m, name) => {
      const { payload, state, weighs } = app;
      const k = state.effect;
      const kept = percent(1 - app.results.omega[k][state.selected]);
      return [
        "The model estimates how much groups differ, and from that how far each can be trusted. Every ",
        m("pooled estimate", "red"),
        weighs ? " lies between what the " : " weighs what the ",
        m("group", "ink"),
        weighs ? " says and what the " : " says against what the ",
        m("population", "blue"),
        ` says. ${inThePlane(app)}`,
        ...(weighs
          ? [name, ` keeps ${kept} of its own deviation.`]
          : ["The rows of ", name, ` settle ${kept} of the variance that the population leaves to its ${payload.effects[k].name}.`]),
      ];
    },
  },
  {
    title: "Who knows little borrows much",
    view: "factor",
    state: ({ payload, state }) => {
      const j = state.selected;
      const rows = payload.effects.length;
      return { mode: "what-if", pool: 0.5, n: rows < payload.n[j] ? { [j]: rows } : {} };
    },
    text: (app, m, name) => {
      const { payload, results, state } = app;
      const j = state.selected;
      const k = state.effect;
      const [n, before] = [plain(results.n[j]), plain(payload.n[j])];
      const changed = n === before ? "" : ` instead of ${before}`;
      const few = results.n[j] < payload.n[j] ? "only " : "";
      const part = percent(results.omega[k][j]);
      return [
        changed ? "Now " : "",
        name,
        ` has ${few}n = ${n}${changed}. Its pooling factor is ω = ${number(results.omega[k][j], 2)}: `,
        app.weighs
          ? `it borrows ${part} from the population. `
          : `its rows leave ${part} of the population's variance open. `,
        "Move the slider of its rows: with more of them it moves down the curve, and speaks for itself.",
      ];
    },
  },
  {
    title: "A group nobody has seen",
    view: "cluster",
    state: (app) => ({ mode: "what-if", pool: 0.5, out: { [app.state.selected]: true } }),
    text: (app, m, name) => [
      name,
      " is left out, and the model still has something to say of it: what it says of any new group. The ",
      m("distribution of groups", "blue"),
      ", which one model for all of them learns, is what shrinks estimates and what predicts the next group. " +
        "(Its spread τ stays that of the fit to all groups.)",
    ],
  },
];

// What pooling of two effects does: with the prior's precision as the metric, the pooled estimate is
// nearer to the population, for it minimises the sum of two squared distances, to the population
// and to the group's own. Of one coefficient alone that does not hold.
function inThePlane({ model, payload }) {
  if (model.K === 1) return "";
  const away = "may move away from the population, for it learns from the other as well. ";
  if (!payload.exact || !payload.alone) return `A single coefficient ${away}`;
  return `In the plane of both effects it is on a smaller ellipse around the population than the group's own; a single coefficient ${away}`;
}

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
    const button = (key, text, act) => actionButton(doc, key, text, act);
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
      doc, "div", {},
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
    if (story < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
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
    const content = step.text(app, words, named(app.doc, app.payload.levels[app.state.selected]));
    // Announced when the words change, not with every frame.
    const plain = content.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
    const title = `${story + 1}. ${step.title}`;
    if (this.title.textContent !== title) this.title.textContent = title;
    if (plain !== this._written) this.text.replaceChildren(...content);
    this._written = plain;
    setOff(this.back, story === 0);
    setOff(this.next, story === STORY.length - 1);
    [...this.dots.children].forEach((dot, i) => dot.classList.toggle("bm-now", i === story));
  }
}
