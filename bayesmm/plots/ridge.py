"""Ridges: the whole posterior of every level's effect, from the lowest to the highest."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bayesmm.errors import BayesmmError
from bayesmm.plots.canvas import COLUMNS, height, panels, short
from bayesmm.plots.level_marks import label_rows
from bayesmm.plots.levels import choose, sorted_levels
from bayesmm.results import Fit
from bayesmm.results.posterior import joined

#: Places at which densities are found.
PLACES = 256
#: How many lines the highest ridge is high.
OVERLAP = 2.6
#: Points of height for a level below which it has a strip of shades in place of a ridge.
CROWDED = 7.0
#: The first colour of the style in force, how much white is in ridges, and the shades of strips.
COLOUR, WHITE, SHADES = "C0", 0.3, "Blues"
#: What is not seen of a density, as a part of its highest value.
FAINT = 0.004
#: Inches for a level, the least and the most for a panel, and what is around it.
ROW, LOWEST, HIGHEST, AROUND = 0.2, 1.6, 9.0, 1.1


def plot_ridge(
    fit: Fit,
    group: str | None = None,
    *,
    parameter: str | None = None,
    effects: str | Sequence[str] | None = None,
    sort: bool | str = True,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the posterior density of every level's effect, sorted: a panel for each effect.

    All ridges of a panel have the same area, and the mean is a white line. Where there are too many
    levels for ridges, each is a strip, the darker the denser.

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
    sort : bool or str
        True sorts each panel by its posterior means, the highest on top. The name of an effect that
        is drawn sorts every panel by it. False keeps the order of the levels, the first on top.
    ax : Axes, or sequence or array of Axes, optional
        Where to draw, one for each panel; a new figure if left out.
    figsize : tuple of float, optional
        Width and height of a new figure in inches; by default enough for the levels, up to a page.

    Returns
    -------
    matplotlib.figure.Figure
        The figure that was drawn on; a new one is not pyplot's, see `plot_caterpillar`.

    Raises
    ------
    BayesmmError
        For a group, parameter or effect that the fit does not have, fewer than 10 draws, or another
        number of axes than of panels.

    Notes
    -----
    Densities are those of `arviz_stats`, without a correction at the ends of the draws.

    Examples
    --------
    Those whom short nights slow least are at the bottom:

    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> figure = bm.plot_ridge(fit, "Subject", effects="Days")
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()][:3]
    ['335', '309', '310']
    """
    asked = choose(fit, group, parameter, effects)
    chosen = asked.effects
    draws = [joined(effect.draws) for effect in chosen]
    if len(draws[0]) < 10:
        raise BayesmmError(
            f"fit has {len(draws[0])} posterior draws, and a density needs 10. Draw more."
        )
    means = [values.mean(axis=0) for values in draws]
    orders = sorted_levels(chosen, means, sort)
    labels = [short(label) for label in chosen[0].labels]
    figure, axes = panels(
        len(chosen), ax, figsize or _size(len(chosen), len(labels), max(map(len, labels)))
    )
    for axis, effect, values, mean, order in zip(axes, chosen, draws, means, orders, strict=True):
        _draw(axis, values[:, order], mean[order])
        label_rows(axis, [labels[i] for i in order])
        axis.set_title(effect.title, parse_math=False)
        axis.set_xlabel(effect.scale)
        place = axis.get_subplotspec()
        if place is None or place.is_first_col():
            axis.set_ylabel(asked.group, parse_math=False)
    return figure


def _size(count: int, levels: int, label: int) -> tuple[float, float]:
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    tall = float(np.clip(ROW * (levels + OVERLAP), LOWEST, HIGHEST / rows))
    return columns * (3.4 + 0.06 * label) + 0.4, rows * (tall + AROUND)


def _draw(axis: Axes, values: np.ndarray, mean: np.ndarray) -> None:
    """Draw the levels from the bottom to the top; shape (draws, levels)."""
    at, density = densities(values)
    count = len(mean)
    axis.set_xlim(at[0], at[-1])
    # Everything stands on top of the line at 0, or a ridge would hide it.
    axis.axvline(0, color="0.4", linewidth=0.8, linestyle="--", zorder=count + 2)
    axis.grid(visible=False, axis="y")
    if 72 * height(axis) / (count + OVERLAP) < CROWDED:
        extent = (at[0], at[-1], -0.5, count - 0.5)
        axis.imshow(density, aspect="auto", origin="lower", extent=extent, cmap=SHADES)
        axis.plot(mean, np.arange(count), color="black", linewidth=0.8, zorder=count + 3)
        axis.set_ylim(-0.5, count - 0.5)
        return
    ridges = OVERLAP * density / density.max()
    # Lighter, but not transparent: what is behind a ridge is hidden.
    shade = (1 - WHITE) * np.array(to_rgb(COLOUR)) + WHITE
    for place, ridge in enumerate(ridges):
        seen = ridge > FAINT * ridge.max()
        how = {"zorder": count - place + 1, "where": seen}
        axis.fill_between(at, place, place + ridge, color=tuple(shade), linewidth=0, **how)
        line = np.where(seen, place + ridge, np.nan)
        axis.plot(at, line, color="white", linewidth=0.8, zorder=count - place + 1)
        top = place + np.interp(mean[place], at, ridge)
        axis.vlines(mean[place], place, top, color="white", linewidth=1, zorder=count - place + 1)
    axis.set_ylim(-0.4, count - 1 + max(OVERLAP, 1) + 0.2)


def densities(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return places and the density of every column of draws there.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (draws, columns).

    Returns
    -------
    at : numpy.ndarray
        Shape (places,): wide enough for all.
    density : numpy.ndarray
        Shape (columns, places).
    """
    from arviz_stats.base import array_stats

    own, found, _ = array_stats.kde(
        values.T, axis=-1, grid_len=PLACES, bound_correction=False, extend=True, extend_fct=0.5
    )
    at = np.linspace(own.min(), own.max(), PLACES)
    rows = [np.interp(at, x, y, left=0.0, right=0.0) for x, y in zip(own, found, strict=True)]
    return at, np.stack(rows)
