"""The caterpillar plot: every level's effect with its uncertainty, from the lowest to the highest.

How far the levels spread, beside how wide each interval is, shows what the standard deviation of a
group is made of, and which levels stand out of it.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmm.errors import BayesmmError
from bayesmm.plots.canvas import COLUMNS, height, panels, short
from bayesmm.plots.level_marks import label_rows
from bayesmm.plots.levels import LevelEffect, choose, probability, sorted_levels
from bayesmm.results import Fit
from bayesmm.results.posterior import joined

#: The first colour of the style in force.
COLOUR = "C0"
#: Points of height for a level below which panels are drawn as crowded.
CROWDED = 5.0
#: Inches for a level, the least and the most for a panel, and what is around it.
ROW, LOWEST, HIGHEST, AROUND = 0.2, 1.4, 9.0, 1.1


def plot_caterpillar(
    fit: Fit,
    group: str | None = None,
    *,
    parameter: str | None = None,
    effects: str | Sequence[str] | None = None,
    prob: float | None = None,
    inner_prob: float = 0.5,
    sort: bool | str = True,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the effects of a group's levels, sorted, with their intervals: a panel for each effect.

    Points are posterior means, thick and thin lines equal-tailed intervals.

    Parameters
    ----------
    fit : Fit
        The fit.
    group : str, optional
        The group, such as ``"Subject"``; may be left out where the model has only one.
    parameter : str, optional
        The distributional parameter, such as ``"mu"``, whose effects are drawn; if left out, all
        that have effects of the group.
    effects : str or sequence of str, optional
        Which effects, and in which order; all of them if left out.
    prob : float, optional
        Probability of the thin intervals; ArviZ's ``stats.ci_prob`` if left out.
    inner_prob : float
        Probability of the thick intervals, less than `prob`.
    sort : bool or str
        True sorts each panel by its posterior means, the highest on top. The name of an effect that
        is drawn sorts every panel by it, so that a level is on one line throughout. False keeps the
        order of the levels, the first on top.
    ax : Axes, or sequence or array of Axes, optional
        Where to draw, one for each panel; a new figure if left out.
    figsize : tuple of float, optional
        Width and height of a new figure in inches; by default enough for the levels, up to a page.

    Returns
    -------
    matplotlib.figure.Figure
        The figure that was drawn on. A new one is not pyplot's: a notebook shows it as the value of
        a cell, ``.savefig(path)`` writes it, and nothing has to be closed. For a window, give
        pyplot's axes in `ax`.

    Raises
    ------
    BayesmmError
        For a group, parameter or effect that the fit does not have, probabilities that are not in
        order, or another number of axes than of panels.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> figure = bm.plot_caterpillar(fit, "Subject", sort="Intercept")
    >>> [axis.get_title() for axis in figure.axes]
    ['Intercept', 'Days']
    >>> figure.savefig("subjects.png")
    """
    asked = choose(fit, group, parameter, effects)
    prob = probability(prob)
    _check_inner(inner_prob, prob)
    group, chosen = asked.group, asked.effects
    means = [panel.draws.mean(("chain", "draw")).to_numpy() for panel in chosen]
    orders = sorted_levels(chosen, means, sort)
    levels = [short(label) for label in chosen[0].labels]

    size = figsize or _size(len(chosen), len(levels), max(map(len, levels)))
    figure, axes = panels(len(chosen), ax, size)
    # Where panels share an order, each line is labelled once: on the left.
    shared = ax is None and sort is not True
    for i, (panel, axis) in enumerate(zip(chosen, axes, strict=True)):
        _draw(axis, panel, means[i][orders[i]], orders[i], prob, inner_prob)
        named = not shared or i % COLUMNS == 0
        label_rows(axis, [levels[j] for j in orders[i]] if named else None)
        axis.set_title(panel.title, parse_math=False)
        axis.set_xlabel(panel.scale)
        place = axis.get_subplotspec()
        if place is None or place.is_first_col():
            axis.set_ylabel(group, parse_math=False)
    if ax is None:
        figure.suptitle(
            f"Posterior mean, {100 * inner_prob:g}% and {100 * prob:g}% intervals",
            fontsize="medium",
        )
    return figure


def _check_inner(inner_prob: float, prob: float) -> None:
    if probability(inner_prob, "inner_prob") >= prob:
        raise BayesmmError(
            f"inner_prob={inner_prob!r} is not less than prob={prob!r}: the thick interval lies "
            "within the thin one."
        )


def _size(count: int, levels: int, label: int) -> tuple[float, float]:
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    tall = float(np.clip(ROW * levels, LOWEST, HIGHEST / rows))
    return columns * (3.2 + 0.06 * label) + 0.4, rows * (tall + AROUND)


def _draw(
    axis: Axes,
    panel: LevelEffect,
    mean: np.ndarray,
    order: np.ndarray,
    prob: float,
    inner_prob: float,
) -> None:
    values = joined(panel.draws)
    tails = [(1 - prob) / 2, (1 - inner_prob) / 2, (1 + inner_prob) / 2, (1 + prob) / 2]
    low, inner_low, inner_high, high = np.quantile(values[:, order], tails, axis=0)
    where = np.arange(len(mean))
    # What a level has of the height, in points. Where that is little, intervals run into each
    # other: then shades tell thin from thick, and the means and the zero stand on top of them.
    share = 72 * height(axis) / len(mean)
    crowded = share < CROWDED
    axis.axvline(0, color="0.6", linewidth=0.8, linestyle="--", zorder=3 if crowded else 0)
    axis.hlines(
        where,
        low,
        high,
        color=COLOUR,
        linewidth=np.clip(0.35 * share, 0.3, 1.2),
        alpha=0.5 if crowded else 1,
    )
    axis.hlines(
        where, inner_low, inner_high, color=COLOUR, linewidth=np.clip(0.6 * share, 0.4, 3.5)
    )
    axis.plot(
        mean,
        where,
        linestyle="none",
        marker="o",
        markersize=np.clip(0.45 * share, 1, 5),
        markerfacecolor=rcParams["text.color"] if crowded else "white",
        markeredgecolor=rcParams["text.color"] if crowded else COLOUR,
        markeredgewidth=0 if crowded else 1,
        zorder=4,
    )
    axis.set_ylim(-0.75, len(mean) - 0.25)
    axis.grid(visible=False, axis="y")
