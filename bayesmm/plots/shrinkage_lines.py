"""The lines of all levels over a number: own regressions, random intercepts, random slopes.

A line is the population's linear predictor, other predictors being held, plus what the level
differs by. After a figure that C. Lalanne drew of sleepstudy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy.stats import gaussian_kde

from bayesmm.errors import BayesmmError
from bayesmm.formula.algebra import expand_text
from bayesmm.interpret import datagrid
from bayesmm.interpret.variables import variable
from bayesmm.plots.canvas import panels, short
from bayesmm.plots.level_marks import COMPLETE, SPREAD, frame, legend
from bayesmm.plots.levels import Asked, choose, quantity
from bayesmm.plots.link_axis import label_axis
from bayesmm.results import Fit
from bayesmm.shrinkage import effects_alone

#: Places on x at which lines are drawn.
PLACES = 60
#: Intercepts are at 0, where that is not farther from the data than this part of their range.
NEAR = 0.25
#: The kinds of columns that lines are over.
NUMBERS = ("number", "integer", "binary")
#: What part of the width the densities have.
MARGIN = 0.2


@dataclass(frozen=True)
class Lines:
    """What a panel shows.

    Attributes
    ----------
    title : str
        What the lines are.
    heights : numpy.ndarray
        The lines at every place, shape (levels, places); NaN where there is none.
    sds : str
        What the sds over levels are.
    population : numpy.ndarray
        The completely pooled line, shape (places,).
    """

    title: str
    heights: np.ndarray
    sds: str
    population: np.ndarray

    def density(self, at: np.ndarray) -> np.ndarray:
        """Return the density of the lines' heights at the last place, 0 of fewer than three."""
        heights = self.heights[np.isfinite(self.heights[:, -1]), -1]
        if len(heights) < 3 or heights.std() == 0:
            return np.zeros_like(at)
        return gaussian_kde(heights)(at)


@dataclass(frozen=True)
class Grid:
    """The places on x, and what the linear predictor is made of there.

    Attributes
    ----------
    column : str
        The predictor on x.
    x : numpy.ndarray
        Its values, shape (places,); the last one is where the distributions are of.
    low, high : float
        Its range in the data.
    population : numpy.ndarray
        The population's linear predictor, shape (places,).
    Z : numpy.ndarray
        What the effects are multiplied by, shape (places, effects).
    """

    column: str
    x: np.ndarray
    low: float
    high: float
    population: np.ndarray
    Z: np.ndarray

    @property
    def intercepts(self) -> bool:
        """Whether the lines' heights at the last place are their intercepts."""
        return bool(
            self.x[-1] == 0 and np.allclose(self.Z[-1], [1.0] + [0.0] * (len(self.Z.T) - 1))
        )


def lines_unsuited(asked: Asked) -> str:
    """Return why there are no lines over a number, or an empty text."""
    names = [effect.effect for effect in asked.effects]
    columns = _slope_columns(asked)
    prepared = asked.fit._prepared
    numeric = all(variable(prepared, name).kind in NUMBERS for name in columns)
    if "Intercept" in names and len(columns) == 1 and numeric:
        return ""
    found = ", ".join(map(repr, names))
    return f"is for an intercept and slopes of one numeric column, and the effects are {found}."


def _slope_columns(asked: Asked) -> list[str]:
    """The columns that the slopes are made of."""
    groups = [g for p in asked.fit.spec.formula.predictors for g in p.groups]
    columns = {
        term.label: [name for part in term.parts for name in part.columns]
        for group in groups
        if group.name == asked.group
        for term in expand_text(group.effects, None)[1].terms.values()
    }
    terms = {effect.part.terms[effect.position] for effect in asked.effects} - {"Intercept"}
    return sorted({name for term in terms for name in columns[term]})


def draw_lines(
    asked: Asked,
    *,
    ax: Axes | Sequence[Axes] | np.ndarray | None,
    figsize: tuple[float, float] | None,
    intercepts: Fit | None,
) -> Figure:
    """Draw three panels; see `plot_shrinkage`.

    Parameters
    ----------
    asked : Asked
        Of one parameter: an intercept, and slopes of one column.
    ax, figsize, intercepts
        As for `plot_shrinkage`.
    """
    # The intercept first, as what the lines of random intercepts have.
    ordered = sorted(asked.effects, key=lambda effect: effect.effect != "Intercept")
    asked = Asked(asked.fit, asked.group, ordered)
    alone = None if intercepts is None else _intercept_fit(asked, intercepts)
    figure, axes = panels(3, ax, figsize or (10.5, 4.6))
    grid = _grid(asked)
    every = _every_line(asked, grid, alone)
    drawn = np.concatenate([one.heights for one in every[1:]])
    tails = drawn[:, -1].mean() + 2.5 * drawn[:, -1].std() * np.array([-1.0, 1.0])
    limits = frame(np.concatenate([drawn.ravel(), tails]), _ends(every[0].heights))
    # One scale for all densities, so that their areas are the same.
    peak = max(one.density(np.linspace(*limits, 300)).max() for one in every)
    # A level has one colour in all panels: that of its own slope.
    rise = every[0].heights[:, -2] - every[0].heights[:, 0]
    shrunk = every[2].heights[:, -2] - every[2].heights[:, 0]
    rank = np.argsort(np.argsort(np.where(np.isnan(rise), shrunk, rise)))
    shades = _shades(rank / max(1, len(rank) - 1))
    for axis, lines in zip(axes, every, strict=True):
        _draw(axis, asked, grid, lines, shades, limits, peak or 1.0)
        if ax is not None or axis is axes[0]:
            axis.set_ylabel(quantity(asked, asked.effects[0]), parse_math=False)
        else:
            axis.tick_params(labelleft=False)
    how = {"handler_map": {tuple: HandlerTuple(ndivide=None, pad=0)}}
    legend(figure, axes[0], _entries(asked, grid, every[0]), own=ax is None, **how)
    return figure


def _ends(heights: np.ndarray) -> np.ndarray:
    """The lowest and the highest point of each line."""
    return np.concatenate([heights.min(axis=1), heights.max(axis=1)])


def _shades(where: np.ndarray) -> np.ndarray:
    # Viridis without its yellow end, which is hard to see on white.
    return mpl.colormaps["viridis"](0.85 * where)


def _grid(asked: Asked) -> Grid:
    prepared = asked.fit._prepared
    (column,) = _slope_columns(asked)
    values = prepared.frame.columns[column].to_numpy(float)
    low, high = float(values.min()), float(values.max())
    near = low - NEAR * (high - low) <= 0 <= high + NEAR * (high - low)
    at = 0.0 if near else low
    x = np.append(np.linspace(min(at, low), max(at, high), PLACES), at)
    population, columns = _parts(asked, column, x)
    return Grid(column, x, low, high, population, columns[:, [e.position for e in asked.effects]])


def _parts(asked: Asked, column: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The population's linear predictor, and the columns of the group, at some places."""
    prepared, first = asked.fit._prepared, asked.effects[0]
    rows = datagrid(asked.fit, **cast(Any, {column: x}))
    design, _ = prepared.rows_of(rows, groups=[asked.group], without_labels=[asked.group])
    own = design.predictors[prepared.spec.layout.index(first.predictor)]
    names = first.predictor
    b = asked.fit.posterior[names.variable("b")].mean(("chain", "draw")) if names.coefs else []
    eta = np.asarray(own.X) @ np.asarray(b, dtype=float) + np.asarray(own.offset)
    return eta, np.asarray(own.groups[names.groups.index(first.part)].columns)


def _every_line(asked: Asked, grid: Grid, alone: Asked | None) -> list[Lines]:
    table = asked.estimates()
    estimates = [asked.of_pooling(table, effect) for effect in asked.effects]
    shared = np.array([one["complete"].iloc[0] for one in estimates])

    def lines(title: str, name: str) -> Lines:
        values = np.stack([one[name].to_numpy(float) for one in estimates], axis=1)
        heights = grid.population + (values - shared) @ grid.Z.T
        slope = values[:, 1] if values.shape[1] == 2 else None
        return Lines(title, heights, _sds(grid, heights, slope), grid.population)

    if alone is None:
        title, population = "random intercepts (sd of slopes 0)", grid.population
        first = asked.effects[0]
        b = effects_alone(asked.fit, first.part, first.position)
    else:
        title = "random intercepts"
        population, _ = _parts(alone, grid.column, grid.x)
        b = alone.effects[0].draws.mean(("chain", "draw")).to_numpy()
    level = population + b[:, None]
    return [
        lines("own regressions", "unpooled"),
        Lines(title, level, _sds(grid, level, None), population),
        lines("random slopes", "partial"),
    ]


def _sds(grid: Grid, heights: np.ndarray, slopes: np.ndarray | None) -> str:
    """The sds over levels, of those that have a line."""
    there = np.isfinite(heights[:, -1])
    if there.sum() < 2:
        return ""
    what = "intercepts" if grid.intercepts else f"lines at {grid.column} = {grid.x[-1]:g}"
    text = f"sd of {what} {_number(heights[there, -1].std(ddof=1))}"
    return text if slopes is None else f"{text}, of slopes {_number(slopes[there].std(ddof=1))}"


def _number(value: float) -> str:
    """At least two decimals, and three digits."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _intercept_fit(asked: Asked, intercepts: Any) -> Asked:
    """Read the fit with random intercepts alone.

    Raises
    ------
    BayesmmError
        If it is none, or not of the same responses, levels and predictors.
    """
    if not isinstance(intercepts, Fit):
        raise BayesmmError(
            f"intercepts is a {type(intercepts).__name__}: give what bm.fit() returned for the "
            "model with random intercepts alone."
        )
    first = asked.effects[0]
    found = choose(intercepts, asked.group, first.parameter, None)
    names = [effect.effect for effect in found.effects]
    if names != ["Intercept"]:
        raise BayesmmError(
            f"intercepts= has the effects {names!r} of the group {asked.group!r}: give a fit with "
            f"(1 | {asked.group}) in their place."
        )
    ours, theirs = asked.fit._prepared, intercepts._prepared
    same = {
        "the responses": np.array_equal(ours.response.values, theirs.response.values),
        "the levels": first.labels == found.effects[0].labels,
        "the link": first.link == found.effects[0].link,
        "the population-level predictors": first.predictor.coefs
        == found.effects[0].predictor.coefs,
    }
    if wrong := [name for name, fine in same.items() if not fine]:
        raise BayesmmError(
            f"intercepts= is of another model than fit: {wrong[0]} are not the same. Fit both to "
            "the same data, with formulas that differ in the group's slopes alone."
        )
    return found


def _draw(
    axis: Axes,
    asked: Asked,
    grid: Grid,
    lines: Lines,
    shades: np.ndarray,
    limits: tuple[float, float],
    peak: float,
) -> None:
    label_axis(axis, asked.effects[0].axis, *limits)
    left, right = grid.x[:-1].min(), grid.x[:-1].max()
    strip = MARGIN / (1 - MARGIN) * (right - left)
    axis.set_xlim(left - strip, right + 0.02 * (right - left))
    there = np.isfinite(lines.heights[:, 0])
    few = min(1.0, 24 / len(there))
    paths = [np.column_stack([grid.x[:-1], one]) for one in lines.heights[there, :-1]]
    width, opacity = 1.1 * few**0.25, 0.85 * few**0.3
    axis.add_collection(
        LineCollection(paths, colors=shades[there], linewidths=width, alpha=opacity, zorder=2)
    )
    style = {"color": COMPLETE, "linestyle": "--", "linewidth": 1.8, "zorder": 3}
    axis.plot(grid.x[:-1], lines.population[:-1], **style)

    density = lines.density(np.linspace(*limits, 300))
    edge = left - strip
    axis.fill_betweenx(
        np.linspace(*limits, 300),
        edge,
        edge + 0.85 * strip * density / peak,
        color=SPREAD,
        linewidth=0,
    )
    heights = lines.heights[there, -1]
    tick = 0.12 * strip
    ticks = [[(left - tick, at), (left, at)] for at in heights]
    axis.add_collection(
        LineCollection(ticks, colors=shades[there], linewidths=width, alpha=opacity, zorder=2)
    )
    axis.axvline(left, color="0.7", linewidth=0.8, zorder=1)
    if left < grid.x[-1]:
        axis.axvline(grid.x[-1], color="0.7", linewidth=0.8, linestyle=":", zorder=1)
    whole = bool((grid.x[[0, -2, -1]] % 1 == 0).all())
    ticks = MaxNLocator(6, integer=whole, steps=[1, 2, 5, 10]).tick_values(left, right)
    axis.set_xticks([tick for tick in ticks if left <= tick <= right])
    axis.set_xlabel(short(grid.column), parse_math=False)
    axis.set_title(f"{lines.title}\n{lines.sds}", parse_math=False, fontsize="medium")


def _entries(asked: Asked, grid: Grid, own: Lines) -> list[tuple[Any, str]]:
    marks = tuple(Line2D([], [], color=shade) for shade in _shades(np.linspace(0, 1, 4)))
    where = "the intercepts" if grid.intercepts else f"the lines at {grid.column} = {grid.x[-1]:g}"
    entries = [
        (marks, f"a level of {short(asked.group)}, by its own slope"),
        (Line2D([], [], color=COMPLETE, linestyle="--"), "complete pooling"),
        (Patch(color=SPREAD, linewidth=0), f"distribution of {where}"),
    ]
    missing = int(np.isnan(own.heights[:, 0]).sum())
    if missing:
        text = f"{missing:,} of {len(own.heights):,} without own regression"
        entries.append((Line2D([], [], linestyle="none"), text))
    return entries
