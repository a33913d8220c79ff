"""How predictions, comparisons and slopes are drawn: lines with bands, or points with error bars.

A line is a posterior median over a number on x, its band an equal-tailed interval; a factor on x,
or a number with few values, has points with error bars instead, side by side where there are
colours. Training data may lie underneath, and the interval of a new cluster behind. What is written
is `effect_labels`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmm.plots.canvas import Picture, check_size, panels
from bayesmm.plots.effect_facets import Facet
from bayesmm.plots.effect_labels import (
    BAND,
    BEHIND,
    COLOURS,
    LETTER,
    MARKERS,
    label,
    legends,
    style,
    subtitle,
)
from bayesmm.plots.effects import Panel, Request

#: Inches: the least and the most for the width of a panel.
NARROWEST, WIDEST = 3.0, 9.0


@dataclass(frozen=True)
class Stage:
    """Where is drawn: the figure, its axes row by row, and how they lie.

    Attributes
    ----------
    figure : Figure
        The figure.
    axes : list of Axes
        One for each panel.
    columns : int
        Panels in a row.
    own : bool
        Whether the figure is new, not the caller's.
    """

    figure: Figure
    axes: list[Axes]
    columns: int
    own: bool

    def first(self, position: int) -> bool:
        """Whether a panel is the leftmost of its row."""
        return position % self.columns == 0


def open_stage(
    request: Request,
    ax: Axes | Sequence[Axes] | np.ndarray | None,
    figsize: tuple[float, float] | None,
    contrasts: int = 1,
) -> Stage:
    """Return a figure with a place for every panel.

    Parameters
    ----------
    request : Request
        What will be drawn.
    ax : Axes, or sequence or array of Axes, or None
        What the caller gave.
    figsize : tuple of float, optional
        Width and height of a new figure in inches.
    contrasts : int
        How many are drawn.

    Raises
    ------
    BayesmmError
        If there are not as many axes as panels.
    """
    rows, columns, every = request.arranged(range(contrasts))
    check_size(figsize)
    if ax is not None:
        figure, axes = panels(len(every), ax, (1.0, 1.0))
        return Stage(figure, axes, columns, own=False)
    figure = Picture(figsize=figsize or _size(request, rows, columns), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, sharex=True, squeeze=False).ravel()
    for unused in grid[len(every) :]:
        unused.remove()
    return Stage(figure, list(grid[: len(every)]), columns, own=True)


def _size(request: Request, rows: int, columns: int) -> tuple[float, float]:
    colours = 1 if request.colour is None else len(request.colour.values)
    wide = 4.6 if columns == 1 else NARROWEST
    if not request.x.line:
        wide = float(np.clip(0.13 * len(request.x.values) * (colours + 1), wide, WIDEST / columns))
        wide = max(wide, NARROWEST)
    legend = 0.0
    if request.colour is not None:
        longest = max(map(len, [*request.colour.labels, request.colour.title[:20]]))
        legend = 0.7 + LETTER * longest
    tall = 3.4 if rows == 1 else 2.5
    return wide * columns + 0.5 + legend, tall * rows + 0.6


def draw(
    stage: Stage,
    request: Request,
    table: pd.DataFrame,
    behind: pd.DataFrame | None,
    *,
    quantity: str,
    reference: float | None = None,
    points: tuple[pd.DataFrame, np.ndarray] | None = None,
    opacity: float = 0.0,
) -> Figure:
    """Draw a table into the panels.

    Parameters
    ----------
    stage : Stage
        Where.
    request : Request
        What is on x, what a colour and what a panel.
    table : pandas.DataFrame
        With ``estimate``, ``conf_low``, ``conf_high``, and ``term`` and ``contrast`` where it has
        contrasts.
    behind : pandas.DataFrame or None
        The same of a new cluster.
    quantity : str
        What is on y.
    reference : float, optional
        Where a line says that nothing changes.
    points : tuple, optional
        Training data and their responses.
    opacity : float
        Of them.
    """
    names: list[Any] = []
    if {"term", "contrast"} <= set(table.columns):
        table, behind = _with_contrasts(table), None if behind is None else _with_contrasts(behind)
        names = table["contrast"].unique().tolist()
        quantity = f"{names[0]}, {quantity}" if len(names) == 1 else quantity
    every = request.arranged(names)[2]
    for position, (axis, panel) in enumerate(zip(stage.axes, every, strict=True)):
        if reference is not None:
            axis.axhline(reference, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
        if points is not None:
            _scatter(axis, request, panel, points, opacity)
        if behind is not None:
            _intervals(axis, request, _chosen(behind, panel), behind=True)
        _intervals(axis, request, _chosen(table, panel), behind=False)
        below = stage.own and position + stage.columns < len(every)
        label(axis, request.x, quantity, panel, first=stage.first(position), last=not below)
    limits = np.array([axis.get_ylim() for axis in stage.axes])
    for axis in stage.axes:
        axis.set_ylim(limits[:, 0].min(), limits[:, 1].max())
    legends(stage.figure, stage.axes[-1], request, own=stage.own)
    if stage.own:
        stage.figure.suptitle(subtitle(request), fontsize="small")
    return stage.figure


def _with_contrasts(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(contrast=table["term"].astype(str) + ": " + table["contrast"])


def _chosen(table: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    found = np.ones(len(table), dtype=bool)
    for facet, value in panel:
        found &= (table[facet.column] == value).to_numpy()
    return table.loc[found]


def _colours(colour: Facet | None) -> list[tuple[int, Any]]:
    return [(0, None)] if colour is None else list(enumerate(colour.values))


def _with_colour(table: pd.DataFrame, colour: Facet | None, value: Any) -> pd.DataFrame:
    return table if colour is None else _chosen(table, ((colour, value),))


def _place(x: Facet, colour: Facet | None, i: int, values: pd.Series) -> np.ndarray:
    """Where rows are on x: numbers as they are, levels of a factor beside each other.

    Points with error bars are moved aside a little, by colour.
    """
    if x.line:
        return values.to_numpy(float)
    count = len(_colours(colour))
    aside = _gap(x, count) * (i - (count - 1) / 2)
    if x.spaced:
        return values.to_numpy(float) + aside
    at = {value: position for position, value in enumerate(x.values)}
    return np.array([at[value] for value in values], dtype=float) + aside


def _gap(x: Facet, count: int) -> float:
    """How far points of two colours are apart."""
    if x.spaced:
        return min(0.03, 0.16 / count) * (max(x.values) - min(x.values))
    return min(0.2, 0.8 / count)


def _intervals(axis: Axes, request: Request, table: pd.DataFrame, *, behind: bool) -> None:
    """Draw medians and intervals; of a new cluster, behind, the intervals alone."""
    x, colour = request.x, request.colour
    many = len(_colours(colour))
    for i, value in _colours(colour):
        part = _with_colour(table, colour, value)
        where = _place(x, colour, i, pd.Series(part[x.column]))
        order = np.argsort(where, kind="stable")
        low, middle, high = (
            part[name].to_numpy()[order] for name in ("conf_low", "estimate", "conf_high")
        )
        where, shade = where[order], COLOURS[i % len(COLOURS)]
        # A single place, where data have no more, makes no line.
        line = x.line and len(where) > 1
        if line:
            axis.fill_between(
                where,
                low,
                high,
                color=shade,
                alpha=(BEHIND if behind else BAND) * (1.0 if many <= 4 else 0.6),
                linewidth=0,
                zorder=1 if behind else 2,
            )
        else:
            axis.vlines(
                where,
                low,
                high,
                color=shade,
                alpha=2 * BEHIND if behind else 1,
                linewidth=5 if behind else 1.4,
                zorder=1 if behind else 3,
            )
        if not behind:
            axis.plot(where, middle, zorder=4, **style(i, line=line))


def _scatter(
    axis: Axes,
    request: Request,
    panel: Panel,
    points: tuple[pd.DataFrame, np.ndarray],
    opacity: float,
) -> None:
    """Draw the data of a panel: those of its factors, in the colours of a factor."""
    frame, values = points
    x, colour = request.x, request.colour
    kept = _chosen(frame, tuple((f, v) for f, v in panel if not f.numeric))
    split = colour is not None and not colour.numeric
    # Numbers of all kinds have their own place, few of them are beside each other.
    own = x.line or (x.spaced and not bool(frame[x.column].isin(x.values).all()))
    rng = np.random.default_rng(0)
    for i, value in _colours(colour if split else None):
        part = _with_colour(kept, colour if split else None, value)
        if not x.spaced:
            part = part[part[x.column].isin(x.values)]
        at = pd.Series(part[x.column])
        if own:
            where = at.to_numpy(float)
        else:
            where = _place(x, colour if split else None, i, at)
            # Beside each other, or they would hide each other.
            room = 0.3 * _gap(x, len(_colours(colour if split else None)))
            where = where + rng.uniform(-room, room, len(where))
        axis.scatter(
            where,
            values[part.index],
            s=12,
            color="0.4" if colour is not None and not split else COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            alpha=opacity,
            linewidths=0,
            zorder=0.5,
        )
