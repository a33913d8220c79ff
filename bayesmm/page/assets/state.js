// What the reader chose, and its text in the address: a plain object, no document.
//
// mode "fit" shows the fitted posterior, "what-if" pools anew with the numbers of the state. Levels
// are known by their position.

export function initialState(payload) {
  return {
    mode: "fit",
    sd: payload.sd.slice(),
    cor: payload.cor === null ? 0 : payload.cor,
    sigma: payload.sigma.value,
    pool: 0.5,
    multiplier: 1,
    n: {},
    shift: {},
    outlier: {},
    out: {},
    selected: mostShrunk(payload),
    effect: 0,
    story: -1,
    theme: "auto",
    expanded: "",
    game: { seed: 1, choices: [] },
  };
}

// The level to begin with: the one that moves the most, of those whose own estimate is on the axis.
function mostShrunk(payload) {
  const { mean, unpooled } = payload.fit;
  const widths = mean.map((values) => Math.max(...values) - Math.min(...values));
  const far = (k, j) => Math.abs(unpooled[k][j] - payload.beta[k]) > (widths[k] || Infinity);
  let best = 0;
  let most = -1;
  for (let j = 0; j < payload.levels.length; j++) {
    const own = unpooled[0][j];
    const shown = own !== null && !mean.some((_, k) => far(k, j));
    const moved = shown ? Math.abs(own - mean[0][j]) : -1;
    if (moved > most) [best, most] = [j, moved];
  }
  return best;
}

// How far from the fit a number may be, and what beside the most it may be counts as 0: with squares
// and products of them arithmetic still works.
const FAR = 1e6;
const NOTHING = 1e-15;

// What the numbers of a state may be, typed or in an address: [least, most] of each.
export function limitsOf(payload) {
  const wide = payload.sd.map((sd) => FAR * (sd || 1));
  const sigma = payload.sigma.value;
  const response = FAR * payload.rows.y.reduce((most, y) => Math.max(most, Math.abs(y)), sigma);
  return {
    sd: wide.map((most) => [0, most]),
    cor: [-1, 1],
    sigma: [sigma / FAR, sigma * FAR],
    pool: [0, 1],
    rows: [0, FAR],
    n: [0, 1e9],
    shift: wide.map((most) => [-most, most]),
    outlier: [-response, response],
  };
}

// A number that may be, else NaN.
function within(value, [least, most]) {
  if (!(value >= least && value <= most)) return NaN;
  return Math.abs(value) < NOTHING * most ? 0 : value;
}

const SINGLE = [
  ["sigma", "sigma"],
  ["cor", "cor"],
  ["pool", "pool"],
  ["multiplier", "rows"],
];
const THEMES = ["auto", "light", "dark"];

function shortText(x) {
  return String(Number(x.toPrecision(7)));
}

// The state as "key=value&...", only what differs from the start.
export function formatState(state, payload) {
  const start = initialState(payload);
  const parts = [];
  const add = (key, value) => parts.push(`${key}=${value}`);
  if (state.mode !== start.mode) add("mode", "what-if");
  state.sd.forEach((value, k) => value !== start.sd[k] && add(`sd${k}`, shortText(value)));
  for (const [name, key] of SINGLE) {
    if (state[name] !== start[name]) add(key, shortText(state[name]));
  }
  const listed = (object, text) => Object.keys(object).map((j) => text(j, object[j])).join("_");
  if (Object.keys(state.n).length) add("n", listed(state.n, (j, x) => `${j}:${shortText(x)}`));
  if (Object.keys(state.shift).length) {
    add("shift", listed(state.shift, (j, x) => `${j}:${x.map(shortText).join(":")}`));
  }
  if (Object.keys(state.outlier).length) {
    add("outlier", listed(state.outlier, (j, x) => `${j}:${shortText(x)}`));
  }
  if (Object.keys(state.out).length) add("out", listed(state.out, (j) => j));
  if (state.selected !== start.selected) add("group", state.selected);
  if (state.effect) add("effect", state.effect);
  if (state.story >= 0) add("story", state.story + 1);
  if (state.theme !== "auto") add("theme", state.theme);
  if (state.expanded) add("large", state.expanded);
  const { seed, choices } = state.game;
  if (seed !== 1 || choices.length) {
    add("game", [seed, ...choices.map((x) => Math.round(100 * x))].join("."));
  }
  return parts.join("&");
}

export function readNumber(text, limits) {
  return text === "" || text === undefined ? NaN : within(Number(text), limits);
}

// The state that a text stands for; what makes no sense in it is left as it was at the start.
export function parseState(text, payload) {
  const state = initialState(payload);
  const J = payload.levels.length;
  const given = {};
  for (const part of text.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    if (at > 0) given[part.slice(0, at)] = part.slice(at + 1);
  }
  const limits = limitsOf(payload);
  const take = (key, range, put) => {
    const value = readNumber(given[key], range);
    if (!Number.isNaN(value)) put(value);
  };
  if (given.mode === "what-if") state.mode = "what-if";
  state.sd.forEach((_, k) => take(`sd${k}`, limits.sd[k], (x) => (state.sd[k] = x)));
  for (const [name, key] of SINGLE) take(key, limits[key], (x) => (state[name] = x));
  const level = (j) => Number.isInteger(Number(j)) && j !== "" && Number(j) >= 0 && Number(j) < J;
  const each = (key, put) => {
    for (const item of (given[key] || "").split("_")) {
      const [j, ...rest] = item.split(":");
      if (level(j)) put(Number(j), rest);
    }
  };
  const one = (name) => (j, [x]) => {
    const value = readNumber(x, limits[name]);
    if (!Number.isNaN(value)) state[name][j] = value;
  };
  each("n", one("n"));
  each("shift", (j, rest) => {
    const values = payload.effects.map((_, k) => readNumber(rest[k], limits.shift[k]));
    if (!values.some(Number.isNaN)) state.shift[j] = values;
  });
  each("outlier", one("outlier"));
  each("out", (j) => (state.out[j] = true));
  if (given.group !== undefined && level(given.group)) state.selected = Number(given.group);
  take("effect", [0, payload.effects.length - 1], (x) => (state.effect = Math.floor(x)));
  take("story", [1, 5], (x) => (state.story = Math.floor(x) - 1));
  if (THEMES.includes(given.theme)) state.theme = given.theme;
  if (/^[a-z]+$/.test(given.large || "")) state.expanded = given.large;
  const [seed, ...choices] = (given.game || "").split(".").map((x) => readNumber(x, [0, 1e9]));
  if (Number.isInteger(seed)) {
    state.game.seed = seed;
    state.game.choices = choices.filter((x) => x <= 100).map((x) => x / 100);
  }
  return state;
}

// What `solve` wants to know of a state.
export function settingOf(state, poolingFactor) {
  return {
    sd: state.sd,
    cor: state.cor,
    sigma: state.sigma,
    factor: poolingFactor(state.pool),
    multiplier: state.multiplier,
    n: state.n,
    shift: state.shift,
    outlier: state.outlier,
    out: state.out,
  };
}
