"""The caterpillar plot: every level's effect with its uncertainty, from the lowest to the highest.

How far the levels spread, beside how wide each interval is, shows what the standard deviation of a
group is made of, and which levels stand out of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.plots.canvas import COLUMNS, height, panels, short
from bayesmm.results import Fit
from bayesmm.results.tables import groups, interval
from bayesmm.spec import ModelSpec

#: The first colour of the style in force.
COLOUR = "C0"
#: Points of height for a level below which panels are drawn as crowded.
CROWDED = 5.0
#: Inches for a level, the least and the most for a panel, and what is around it.
ROW, LOWEST, HIGHEST, AROUND = 0.2, 1.4, 9.0, 1.1


@dataclass(frozen=True)
class Panel:
    """One effect: its name, its scale, and draws of it for every level."""

    parameter: str
    effect: str
    link: str
    draws: xr.DataArray

    @property
    def title(self) -> str:
        """What stands above the panel."""
        return self.effect if self.parameter == "mu" else f"{self.parameter}: {self.effect}"

    @property
    def scale(self) -> str:
        """What stands below the panel."""
        on = "" if self.link == "identity" else f" ({self.link} scale)"
        return f"difference from the population{on}"


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
    >>> bm.plot_caterpillar(fit, "Subject", sort="Intercept").savefig("subjects.png")
    """
    if not isinstance(fit, Fit):
        raise BayesmmError(f"fit is a {type(fit).__name__}: give what bm.fit() returned.")
    prob = interval()[0] if prob is None else prob
    _check_probabilities(prob, inner_prob)
    group = _choose_group(fit.spec, group)
    chosen = _choose_panels(fit, group, parameter, effects)
    means = [panel.draws.mean(("chain", "draw")).to_numpy() for panel in chosen]
    orders = _orders(chosen, means, sort)
    levels = [short(label) for label in chosen[0].draws[group].to_numpy()]

    size = figsize or _size(len(chosen), len(levels), max(map(len, levels)))
    figure, axes = panels(len(chosen), ax, size)
    # Where panels share an order, each line is labelled once: on the left.
    shared = ax is None and sort is not True
    for i, (panel, axis) in enumerate(zip(chosen, axes, strict=True)):
        _draw(axis, panel, means[i][orders[i]], orders[i], prob, inner_prob)
        named = not shared or i % COLUMNS == 0
        _label_levels(axis, [levels[j] for j in orders[i]] if named else None)
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


def _check_probabilities(prob: float, inner_prob: float) -> None:
    for name, value in (("prob", prob), ("inner_prob", inner_prob)):
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not number or not 0 < value < 1:
            raise BayesmmError(f"{name}={value!r}: write a probability between 0 and 1.")
    if inner_prob >= prob:
        raise BayesmmError(
            f"inner_prob={inner_prob!r} is not less than prob={prob!r}: the thick interval lies "
            "within the thin one."
        )


def _choose_group(spec: ModelSpec, group: str | None) -> str:
    known = list(dict.fromkeys(part.name for _, part in groups(spec, group)))
    if not known:
        raise BayesmmError("The model has no group effects, such as (1 | g): nothing to draw.")
    if len(known) > 1:
        raise BayesmmError(
            f"group=None: the model has several groups. Write one of {listing(known)}."
        )
    return known[0]


def _choose_panels(
    fit: Fit, group: str, parameter: str | None, effects: str | Sequence[str] | None
) -> list[Panel]:
    spec = fit.spec
    draws = fit.ranef(group, draws=True)
    every = []
    for predictor, part in groups(spec, group):
        values = draws[part.variable("r")]
        for position, effect in enumerate(part.effects):
            every.append(
                Panel(
                    predictor.parameter,
                    effect,
                    spec.family.link(predictor.parameter).name,
                    values.isel({str(values.dims[-1]): position}),
                )
            )
    if parameter is not None:
        known = list(dict.fromkeys(panel.parameter for panel in every))
        if parameter not in known:
            raise BayesmmError(
                f"parameter={parameter!r} has no effects of the group {group!r}."
                f"{did_you_mean(parameter, known)} Write one of {listing(known)}."
            )
        every = [panel for panel in every if panel.parameter == parameter]
    if effects is None:
        return every
    wanted = [effects] if isinstance(effects, str) else list(effects)
    if not wanted:
        raise BayesmmError("effects is empty: name an effect, or leave it out for all of them.")
    for effect in wanted:
        _check_effect("effects", effect, every)
    return [panel for effect in wanted for panel in every if panel.effect == effect]


def _check_effect(argument: str, effect: object, drawn: list[Panel]) -> None:
    known = list(dict.fromkeys(panel.effect for panel in drawn))
    if effect not in known:
        raise BayesmmError(
            f"{argument}: there is no effect {effect!r} to draw.{did_you_mean(str(effect), known)} "
            f"There are {listing(known)}."
        )


def _orders(chosen: list[Panel], means: list[np.ndarray], sort: bool | str) -> list[np.ndarray]:
    """For each panel the positions of its levels from the bottom to the top."""
    if sort is True:
        return [np.argsort(mean, kind="stable") for mean in means]
    if sort is False:
        return [np.arange(len(mean))[::-1] for mean in means]
    _check_effect("sort", sort, chosen)
    by = next(i for i, panel in enumerate(chosen) if panel.effect == sort)
    return [np.argsort(means[by], kind="stable")] * len(means)


def _size(count: int, levels: int, label: int) -> tuple[float, float]:
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    tall = float(np.clip(ROW * levels, LOWEST, HIGHEST / rows))
    return columns * (3.2 + 0.06 * label) + 0.4, rows * (tall + AROUND)


def _draw(
    axis: Axes, panel: Panel, mean: np.ndarray, order: np.ndarray, prob: float, inner_prob: float
) -> None:
    values = panel.draws.stack(sample=("chain", "draw")).transpose("sample", ...).to_numpy()
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


def _label_levels(axis: Axes, labels: list[str] | None) -> None:
    """Write the levels beside their lines, or as many of them as are legible, evenly spread."""
    if labels is None:
        axis.set_yticks([])
        return
    room = max(1.0, 72 * height(axis) / (1.2 * FontProperties(size="small").get_size_in_points()))
    # An even step: a few left out here and there would look like levels that are not there.
    step = math.ceil(len(labels) / room)
    kept = np.arange(len(labels) - 1, -1, -step)[::-1]
    axis.set_yticks(kept, [labels[i] for i in kept], parse_math=False, fontsize="small")
