// What all views share: the card, layers of SVG that are drawn anew, axes, pointer and keys.
//
// A view extends `Chart` and has `draw()`, which calls `put` for every element that there is to be;
// an element with the same key is used again, and what was not put is removed. `pick(x, y)` returns
// the level at a place, or -1. `handle(x, y)` may return what dragging from there does.

import { actionButton, dot, html, linear, setAttributes, shortLabel, svg, tickText, tickValues } from "./svg.js";

const LAYERS = ["back", "data", "front", "text"];
const KEYS = "Arrow keys move between groups, Home and End go to the first and last.";
const DRAG_KEYS = " Shift and an arrow key move the group's own estimate.";

export class Chart {
  constructor(app, key, title, dragged = false) {
    const doc = app.doc;
    this.app = app;
    this.key = key;
    this.title = title;
    this._known = new Map();
    this._used = new Set();
    this.heading = html(doc, "h3", {}, title);
    const enlarge = () => app.set({ expanded: app.state.expanded === key ? "" : key });
    this.enlarge = actionButton(doc, `enlarge-${key}`, "⤢", enlarge, {
      class: "bm-icon",
      "aria-pressed": "false",
      "aria-label": `Enlarge: ${title}`,
      title: "Enlarge",
    });
    this.svg = svg(doc, "svg", {
      class: "bm-svg",
      "data-bm": `plot-${key}`,
      tabindex: "0",
      role: "application",
      "aria-roledescription": "chart",
    });
    this._label = `${title}. ${KEYS}${dragged ? DRAG_KEYS : ""}`;
    this.svg.setAttribute("aria-label", this._label);
    const id = `${app.id}-clip-${key}`;
    this._clip = svg(doc, "rect");
    const clip = svg(doc, "clipPath", { id });
    clip.append(this._clip);
    const definitions = svg(doc, "defs");
    definitions.append(clip);
    this.svg.append(definitions);
    this._layers = {};
    for (const name of LAYERS) {
      const clipped = name === "data" || name === "front" ? { "clip-path": `url(#${id})` } : {};
      this._layers[name] = svg(doc, "g", clipped);
      this.svg.append(this._layers[name]);
    }
    this.note = html(doc, "p", { class: "bm-note" });
    this.plot = html(doc, "div", {}, this.svg);
    this.card = html(
      doc,
      "section",
      { class: "bm-card", "data-bm": `view-${key}`, "aria-label": title },
      html(doc, "header", {}, this.heading, this.enlarge),
      this.plot,
      this.note,
    );
    this._listen();
  }

  // Height for a width; a view may have its own.
  heightFor(width) {
    return Math.min(0.78 * width, this.large ? 0.5 * this.app.view.innerHeight : 25 * this.em);
  }

  render() {
    const width = Math.max(240, this.plot.clientWidth || 480);
    this.em = this.app.em;
    this.large = this.card.classList.contains("bm-large");
    const height = Math.round(Math.max(15 * this.em, this.heightFor(width)));
    if (width !== this.width || height !== this.height) {
      [this.width, this.height] = [width, height];
      setAttributes(this.svg, { viewBox: `0 0 ${width} ${height}`, width, height });
    }
    this._used.clear();
    this.draw();
    for (const [key, element] of this._known) {
      if (this._used.has(key)) continue;
      element.remove();
      this._known.delete(key);
    }
  }

  put(layer, key, tag, attributes, text) {
    const name = `${layer}.${key}`;
    let element = this._known.get(name);
    if (!element) {
      element = svg(this.app.doc, tag);
      this._known.set(name, element);
      this._layers[layer].append(element);
    }
    this._used.add(name);
    setAttributes(element, attributes);
    if (text !== undefined && element.textContent !== text) element.textContent = text;
    return element;
  }

  path(layer, key, d, attributes = {}) {
    if (d) this.put(layer, key, "path", { d, ...attributes });
  }

  words(key, x, y, text, attributes = {}) {
    this.put("text", key, "text", { x: x.toFixed(1), y: y.toFixed(1), ...attributes }, text);
  }

  // The inner rectangle with its two axes. x and y: { domain, label, ticks, text }.
  frame(x, y, margin = {}) {
    const em = this.em;
    const { top = 0.8, right = 0.8, bottom = 3.1, left = 3.9 } = margin;
    const box = {
      left: left * em,
      right: this.width - right * em,
      top: top * em,
      bottom: this.height - bottom * em,
    };
    this.box = box;
    setAttributes(this._clip, {
      x: box.left - 2,
      y: box.top - 2,
      width: Math.max(0, box.right - box.left + 4),
      height: Math.max(0, box.bottom - box.top + 4),
    });
    this.x = linear(x.domain[0], x.domain[1], box.left, box.right);
    const sx = this.x;
    const count = Math.max(2, Math.floor((box.right - box.left) / (5 * em)));
    const xs = x.ticks || tickValues(x.domain[0], x.domain[1], count);
    xs.forEach((value, i) => {
      const at = sx(value);
      if (at < box.left - 1 || at > box.right + 1) return;
      this.put("back", `gx${i}`, "line", {
        class: "bm-gridline", x1: at, x2: at, y1: box.top, y2: box.bottom,
      });
      const text = x.text ? x.text(value) : tickText(value);
      this.words(`tx${i}`, at, box.bottom + 1.2 * em, text, { class: "bm-tick", "text-anchor": "middle" });
    });
    if (x.label) {
      this.words("lx", (box.left + box.right) / 2, box.bottom + 2.6 * em, x.label, {
        class: "bm-axis", "text-anchor": "middle",
      });
    }
    if (!y) return;
    this.y = linear(y.domain[0], y.domain[1], box.bottom, box.top);
    const sy = this.y;
    const tall = Math.max(2, Math.floor((box.bottom - box.top) / (3 * em)));
    const ys = y.ticks || tickValues(y.domain[0], y.domain[1], tall);
    ys.forEach((value, i) => {
      const at = sy(value);
      if (at < box.top - 1 || at > box.bottom + 1) return;
      this.put("back", `gy${i}`, "line", {
        class: "bm-gridline", x1: box.left, x2: box.right, y1: at, y2: at,
      });
      const text = y.text ? y.text(value) : tickText(value);
      this.words(`ty${i}`, box.left - 0.45 * em, at + 0.35 * em, text, {
        class: "bm-tick", "text-anchor": "end",
      });
    });
    if (y.label) {
      const middle = (box.top + box.bottom) / 2;
      this.words("ly", 0, 0, y.label, {
        class: "bm-axis",
        "text-anchor": "middle",
        transform: `translate(${0.95 * em} ${middle.toFixed(1)}) rotate(-90)`,
      });
    }
  }

  // Let what is drawn reach beyond the inner rectangle: for views of two panels.
  unclip() {
    setAttributes(this._clip, { x: 0, y: 0, width: this.width, height: this.height });
  }

  // Labels of as many levels as have room, those first in `order` before the others.
  labelLevels(order, place, always) {
    const em = this.em;
    const taken = [];
    const current = this.app.current;
    const wanted = [current, ...order.filter((j) => j !== current)];
    let shown = 0;
    for (const j of wanted) {
      const [x, y, anchor = "start"] = place(j);
      if (j !== current && (shown > 60 || !always)) break;
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
      const text = shortLabel(this.app.payload.levels[j], j === current ? 30 : 12);
      const width = 0.56 * em * Array.from(text).length + 4;
      const left = anchor === "middle" ? x - width / 2 : anchor === "end" ? x - width : x;
      const inside = left >= this.box.left - em && left + width <= this.width - 2;
      let shifted = x;
      if (!inside) {
        if (j !== current) continue;
        shifted += Math.max(0, this.box.left - left) - Math.max(0, left + width - this.width + 2);
      }
      const area = [left + shifted - x, y - 0.75 * em, left + shifted - x + width, y + 0.3 * em];
      const free = taken.every(
        (t) => area[0] > t[2] || area[2] < t[0] || area[1] > t[3] || area[3] < t[1],
      );
      if (!free) continue;
      taken.push(area);
      shown += 1;
      this.words(j === current ? "current" : `level${j}`, shifted, y, text, {
        class: j === current ? "bm-label bm-current" : "bm-label",
        "text-anchor": anchor,
      });
    }
  }

  setNote(text) {
    if (this.note.textContent !== text) this.note.textContent = text;
  }

  // The nearest of many places, -1 if none is within some em.
  nearest(px, py, place, reach = 2.2) {
    let best = -1;
    let least = (reach * this.em) ** 2;
    for (let j = 0; j < this.app.model.J; j++) {
      const [x, y] = place(j);
      const distance = (x - px) ** 2 + (y - py) ** 2;
      if (distance < least) [best, least] = [j, distance];
    }
    return best;
  }

  pick() {
    return -1;
  }

  handle() {
    return null;
  }

  // What an arrow key with Shift moves the estimate by: an amount for each effect, or null.
  nudge() {
    return null;
  }

  _at(event) {
    const area = this.svg.getBoundingClientRect();
    return [
      ((event.clientX - area.left) / area.width) * this.width,
      ((event.clientY - area.top) / area.height) * this.height,
    ];
  }

  _listen() {
    const { app, svg: element } = this;
    let drag = null;
    element.addEventListener("pointermove", (event) => {
      const [x, y] = this._at(event);
      if (drag) {
        drag(x, y);
        event.preventDefault();
        return;
      }
      element.classList.toggle("bm-grab", this.handle(x, y) !== null);
      app.hover(this.pick(x, y));
    });
    element.addEventListener("pointerleave", () => drag || app.hover(-1));
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const [x, y] = this._at(event);
      const handle = this.handle(x, y);
      const level = this.pick(x, y);
      if (handle) {
        app.select(handle.level);
        drag = handle.drag;
        element.setPointerCapture(event.pointerId);
        event.preventDefault();
        element.focus({ preventScroll: true });
      } else if (level >= 0) app.select(level);
    });
    const stop = () => (drag = null);
    element.addEventListener("pointerup", stop);
    element.addEventListener("pointercancel", stop);
    element.addEventListener("keydown", (event) => this._key(event));
  }

  _key(event) {
    const { app } = this;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const forward = event.key === "ArrowRight" || event.key === "ArrowUp";
    const backward = event.key === "ArrowLeft" || event.key === "ArrowDown";
    if (event.shiftKey && (forward || backward)) {
      const vertical = event.key === "ArrowUp" || event.key === "ArrowDown";
      const moved = this.nudge(vertical, forward ? 1 : -1);
      if (!moved) return;
      app.shiftLevel(app.state.selected, moved);
    } else if (forward || backward) app.step(forward ? 1 : -1);
    else if (event.key === "Home") app.step(-Infinity);
    else if (event.key === "End") app.step(Infinity);
    else return;
    event.preventDefault();
  }
}

// Radii by n in few steps, so that dots of one size share a path: (j) => radius.
export function radiusOf(n, em, least = 0.16, most = 0.5) {
  const largest = Math.max(...n, 1);
  return (j) => {
    const radius = em * (least + (most - least) * Math.sqrt(n[j] / largest));
    return Math.round(radius * 2) / 2;
  };
}

// Many dots: one path for each radius.
export function putDots(chart, layer, key, className, radius, place, include) {
  const paths = new Map();
  for (let j = 0; j < chart.app.model.J; j++) {
    if (include && !include(j)) continue;
    const r = radius(j);
    paths.set(r, (paths.get(r) || "") + dot(...place(j)));
  }
  for (const [r, d] of paths) {
    chart.path(layer, `${key}${r}`, d, { class: `bm-dots ${className}`, "stroke-width": 2 * r });
  }
}

// The mark of the level under the pointer or selected: a ring around a dot.
export function ring(chart, key, x, y, radius, className) {
  if (!Number.isFinite(x) || !Number.isFinite(y)) return;
  chart.put("front", key, "circle", { class: className, cx: x.toFixed(1), cy: y.toFixed(1), r: radius });
}
