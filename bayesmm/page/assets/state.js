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

function readNumber(text, low = -Infinity, high = Infinity) {
  const value = text === "" || text === undefined ? NaN : Number(text);
  return Number.isFinite(value) && value >= low && value <= high ? value : NaN;
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
  const take = (key, low, high, put) => {
    const value = readNumber(given[key], low, high);
    if (!Number.isNaN(value)) put(value);
  };
  if (given.mode === "what-if") state.mode = "what-if";
  state.sd.forEach((_, k) => take(`sd${k}`, 0, Infinity, (x) => (state.sd[k] = x)));
  take("sigma", 1e-300, Infinity, (x) => (state.sigma = x));
  take("cor", -1, 1, (x) => (state.cor = x));
  take("pool", 0, 1, (x) => (state.pool = x));
  take("rows", 0, 1e6, (x) => (state.multiplier = x));
  const level = (j) => Number.isInteger(Number(j)) && j !== "" && Number(j) >= 0 && Number(j) < J;
  const each = (key, put) => {
    for (const item of (given[key] || "").split("_")) {
      const [j, ...rest] = item.split(":");
      if (level(j)) put(Number(j), rest);
    }
  };
  each("n", (j, [x]) => !Number.isNaN(readNumber(x, 0, 1e9)) && (state.n[j] = Number(x)));
  each("shift", (j, rest) => {
    const values = payload.effects.map((_, k) => readNumber(rest[k]));
    if (!values.some(Number.isNaN)) state.shift[j] = values;
  });
  each("outlier", (j, [x]) => !Number.isNaN(readNumber(x)) && (state.outlier[j] = Number(x)));
  each("out", (j) => (state.out[j] = true));
  if (given.group !== undefined && level(given.group)) state.selected = Number(given.group);
  take("effect", 0, payload.effects.length - 1, (x) => (state.effect = Math.floor(x)));
  take("story", 1, 5, (x) => (state.story = Math.floor(x) - 1));
  if (THEMES.includes(given.theme)) state.theme = given.theme;
  if (/^[a-z]+$/.test(given.large || "")) state.expanded = given.large;
  const [seed, ...choices] = (given.game || "").split(".").map((x) => readNumber(x, 0, 1e9));
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
