// Small helpers: elements, scales, ticks, numbers as text. Labels become text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

export function setAttributes(element, attributes) {
  for (const name of Object.keys(attributes)) {
    const value = attributes[name];
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

// An HTML element: html(document, "p", { class: "x" }, "text", child, ...).
export function html(doc, tag, attributes = {}, ...children) {
  const element = setAttributes(doc.createElement(tag), attributes);
  for (const child of children) {
    if (child !== null && child !== undefined) element.append(child);
  }
  return element;
}

// A button. While it is off (`setOff`) a click does nothing; unlike a disabled one it keeps the focus.
export function actionButton(doc, key, text, act, attributes = {}) {
  const element = html(doc, "button", { type: "button", "data-bm": key, ...attributes }, text);
  element.addEventListener("click", () => element.getAttribute("aria-disabled") || act());
  return element;
}

export function setOff(element, off) {
  setAttributes(element, { "aria-disabled": off ? "true" : null });
}

// Labels may run from right to left, or turn around what follows them. In HTML a `bdi` keeps them
// apart, in the text of a figure the characters of Unicode for that.
export function named(doc, label) {
  return html(doc, "bdi", {}, label);
}

export function isolated(label) {
  return `\u2068${label}\u2069`;
}

export function svg(doc, tag, attributes = {}) {
  return setAttributes(doc.createElementNS(SVG, tag), attributes);
}

// A scale from [a, b] to [from, to], with its inverse.
export function linear(a, b, from, to) {
  const width = b - a || 1;
  const scale = (x) => from + ((x - a) / width) * (to - from);
  scale.invert = (p) => a + ((p - from) / (to - from || 1)) * width;
  scale.domain = [a, b];
  scale.range = [from, to];
  return scale;
}

export function tickValues(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  if (!(raw > 0) || !Number.isFinite(raw)) return [low];
  const power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 5, 10].find((x) => x * power >= raw * 0.999) * power;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks;
}

// Where most values are: five median absolute deviations around the median (of a normal
// distribution 99.9%), whatever fewer than half of them are.
export function bulk(values) {
  const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
  const middle = median(values);
  const far = 5 * median(values.map((x) => Math.abs(x - middle)));
  return [middle - far, middle + far];
}

// The ends of an axis a little beyond what is on it.
export function widened(low, high, part = 0.05) {
  if (!(high > low)) {
    const half = Math.abs(low) * 0.1 || 1;
    return [low - half, high + half];
  }
  const room = part * (high - low);
  return [low - room, high + room];
}

// A number with so many significant digits, without an exponent where that is readable.
export function number(x, digits = 3) {
  if (x === null || Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  if (size !== 0 && (size >= 1e6 || size < 1e-4)) return minus(x.toExponential(digits - 1));
  const places = size === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return minus(x.toFixed(Math.min(places, 8)));
}

// A count, or another number without needless zeros.
export function plain(x, digits = 3) {
  return tickText(Number(x.toPrecision(digits)));
}

// Tick labels: as short as they can be.
export function tickText(x) {
  const size = Math.abs(x);
  if (size !== 0 && (size >= 1e6 || size < 1e-4)) return minus(x.toExponential());
  return minus(String(Number(x.toPrecision(10))));
}

function minus(text) {
  return text.replace(/-/g, "−");
}

export function percent(x) {
  return `${Math.round(100 * x)}%`;
}

export function clamp(x, low, high) {
  return Math.min(high, Math.max(low, x));
}

function coordinate(x) {
  return Math.round(x * 10) / 10;
}

// Paths leave out what is not finite.
export function polyline(points, closed = false) {
  let path = "";
  let pen = "M";
  for (const [x, y] of points) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) {
      pen = "M";
      continue;
    }
    path += `${pen}${coordinate(x)} ${coordinate(y)}`;
    pen = "L";
  }
  return closed && path ? `${path}Z` : path;
}

// Segments and dots of many levels go into one path each: a thousand groups are a few elements.
export function segment(x1, y1, x2, y2) {
  if (!Number.isFinite(x1 + y1 + x2 + y2)) return "";
  return `M${coordinate(x1)} ${coordinate(y1)}L${coordinate(x2)} ${coordinate(y2)}`;
}

export function cross(x, y, r) {
  return segment(x - r, y - r, x + r, y + r) + segment(x - r, y + r, x + r, y - r);
}

// A dot: a line of no length with round ends.
export function dot(x, y) {
  return Number.isFinite(x + y) ? `M${coordinate(x)} ${coordinate(y)}h0` : "";
}

// Text that is cut where it is too long.
export function shortLabel(text, most = 22) {
  const characters = Array.from(text);
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : text;
}
