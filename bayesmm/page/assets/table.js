// The numbers of all groups as a table, made when it is opened.

import { html, number, plain } from "./svg.js";

export class GroupTable {
  constructor(app) {
    const { doc, payload } = app;
    this.app = app;
    this.body = html(doc, "tbody");
    const head = html(doc, "tr", {}, html(doc, "th", { scope: "col" }, payload.group), html(doc, "th", { scope: "col" }, "n"));
    for (const effect of payload.effects) {
      for (const text of ["own", "pooled", "interval", "ω"]) {
        const full = payload.effects.length > 1 ? `${effect.name}: ${text}` : text;
        head.append(html(doc, "th", { scope: "col" }, full));
      }
    }
    const caption = html(doc, "caption", {}, "Each group's own estimate, the pooled one, and the pooling factor ω");
    this.table = html(doc, "table", { "data-bm": "table" }, caption, html(doc, "thead", {}, head), this.body);
    this.element = html(
      doc, "details", { class: "bm-details", "data-bm": "table-details" },
      html(doc, "summary", {}, "All groups as a table"),
      html(doc, "div", { class: "bm-scroll", tabindex: "0", role: "region", "aria-label": "Table of groups" }, this.table),
    );
    this.element.addEventListener("toggle", () => this.render());
  }

  render() {
    if (!this.element.open) return;
    const { app } = this;
    const { doc, payload, results, state } = app;
    const rows = payload.levels.map((level, j) => {
      const n = plain(results.n[j]);
      const row = html(doc, "tr", { "data-level": j }, html(doc, "th", { scope: "row" }, level), html(doc, "td", {}, n));
      payload.effects.forEach((_, k) => {
        const interval = `${app.numberOf(k, results.low[k][j])} to ${app.numberOf(k, results.high[k][j])}`;
        const own = results.unpooled[k][j];
        const cells = [
          state.out[j] ? "left out" : Number.isNaN(own) ? "none" : app.numberOf(k, own, 4),
          app.numberOf(k, results.theta[k][j], 4),
          interval,
          number(results.omega[k][j], 2),
        ];
        for (const text of cells) row.append(html(doc, "td", {}, text));
      });
      if (j === state.selected) row.className = "bm-chosen";
      return row;
    });
    this.body.replaceChildren(...rows);
  }
}
