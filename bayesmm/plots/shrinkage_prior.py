"""Levels beside the distribution that their effects come from: raw means, shrunken estimates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import norm

from bayesmm.errors import BayesmmError
from bayesmm.plots.canvas import COLUMNS, panels, short
from bayesmm.plots.level_marks import COMPLETE, OWN, PARTIAL, SPREAD, frame, label_columns, legend
from bayesmm.plots.levels import Asked, LevelEffect, quantity
from bayesmm.plots.link_axis import label_axis, to_link
from bayesmm.shrinkage import mean_is_mu

#: What part of the width the density has, and how many sds of it have to be seen.
DENSITY, SDS = 0.15, 1.5
#: Area of a level with the mean n, in points squared, of few levels; least and largest factor.
AREA, SMALLEST, LARGEST = 60.0, 0.25, 3.0
#: Inches for a letter of a label.
LETTER = 0.075
#: From that many levels on marks get smaller.
MANY = 40


@dataclass(frozen=True)
class Estimates:
    """What a panel shows of the levels, in their order.

    Attributes
    ----------
    own : numpy.ndarray
        Own estimates on the scale of the link, shape (levels,); infinite beyond a break, NaN where
        there is none.
    raw : bool
        Whether they are raw means.
    below, above : float or None
        The values of the parameter that sit beyond breaks.
    most : float or None
        The largest finite own estimate, on the scale of the parameter.
    partial, low, high : numpy.ndarray
        Posterior means and bounds of the intervals, on the scale of the link.
    n : numpy.ndarray
        Rows of the levels.
    beta, tau : float
        Mean and sd of the estimated distribution of the levels: posterior means.
    """

    own: np.ndarray
    raw: bool
    below: float | None
    above: float | None
    most: float | None
    partial: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    beta: float
    tau: float

    @property
    def limits(self) -> tuple[float, float]:
        """What is seen: intervals, most of the distribution, own estimates that are not far out."""
        spread = self.beta + SDS * self.tau * np.array([-1.0, 1.0])
        core = np.concatenate([self.low, self.high, spread])
        return frame(core, self.own[np.isfinite(self.own)])

    @property
    def outside(self) -> np.ndarray:
        """Which own estimates are finite, and out of the frame: -1 below, 1 above, else 0."""
        low, high = self.limits
        beyond = np.where(self.own < low, -1, np.where(self.own > high, 1, 0))
        return np.where(np.isfinite(self.own), beyond, 0)

    def order(self) -> np.ndarray:
        """Return the positions of the levels from left to right: by own estimate, then partial."""
        known = np.where(np.isnan(self.own), self.partial, self.own)
        return np.lexsort((self.partial, known))


def draw_prior(
    asked: Asked,
    *,
    ax: Axes | Sequence[Axes] | np.ndarray | None,
    figsize: tuple[float, float] | None,
    prob: float,
) -> Figure:
    """Draw a panel for each effect; see `plot_shrinkage`.

    Parameters
    ----------
    asked : Asked
        Of one parameter.
    ax, figsize
        As for `plot_shrinkage`.
    prob : float
        Probability of the intervals.

    Raises
    ------
    BayesmmError
        For axes of the caller that share y.
    """
    own = asked.estimates()
    plain = all(_is_plain(asked, effect, own) for effect in asked.effects)
    table = None if plain else own
    found = [_estimates(asked, effect, prob, table) for effect in asked.effects]
    levels = len(found[0].n)
    size = figsize or _size(len(found), levels, max(map(len, map(short, asked.effects[0].labels))))
    figure, axes = panels(len(found), ax, size)
    if any(len(axis.get_shared_y_axes().get_siblings(axis)) > 1 for axis in axes):
        raise BayesmmError(
            "ax: the axes share y with others, and each panel has limits and breaks of its own. "
            "Make them without sharey."
        )
    for axis, effect, estimates in zip(axes, asked.effects, found, strict=True):
        _draw(axis, asked, effect, estimates)
    entries = _entries(found, prob)
    # The upper left and the lower right are free: levels ascend.
    how = {"handler_map": {tuple: HandlerTuple(ndivide=None)}}
    legend(figure, axes[0], entries, own=ax is None, **how | ({} if ax is None else {"loc": 4}))
    if ax is None:
        what = f"Posterior mean{asked.effects[0].on_scale}, {100 * prob:g}% interval"
        figure.suptitle(what, fontsize="medium")
    return figure


def _size(count: int, levels: int, label: int) -> tuple[float, float]:
    columns = min(count, COLUMNS)
    wide = float(np.clip(0.24 * levels, 6.0, 9.0)) if count == 1 else 4.2
    rows = -(-count // columns)
    # Labels that do not fit beside each other stand upright.
    turned = LETTER * label if LETTER * label * levels > wide else 0.0
    return columns * wide + 0.4, rows * (3.8 + turned) + 0.8


def _estimates(
    asked: Asked, effect: LevelEffect, prob: float, table: pd.DataFrame | None
) -> Estimates:
    """What is shown of an effect; without a table of own estimates raw means stand for them."""
    draws = asked.coefficients(effect)
    low, high = np.quantile(draws, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    means = _level_means(asked, effect)
    if table is None:
        own = to_link(effect.link, np.asarray(means))
    else:
        own = asked.of_pooling(table, effect)["unpooled"].to_numpy(float)
        if means is not None:
            # There is none where it would be infinite, as where all responses are 0.
            beyond = to_link(effect.link, means)
            own = np.where(np.isnan(own) & np.isinf(beyond), beyond, own)
    below = above = most = None
    if means is not None:
        below, above = (_first(means[own == end]) for end in (-np.inf, np.inf))
        most = float(np.max(means, where=np.isfinite(own), initial=0.0)) if table is None else None
    return Estimates(
        own=own,
        raw=table is None,
        below=below,
        above=above,
        most=most,
        partial=draws.mean(axis=0),
        low=low,
        high=high,
        n=asked.rows(),
        beta=float(asked.population(effect).mean()),
        tau=float(asked.sd(effect).mean()),
    )


def _first(values: np.ndarray) -> float | None:
    return float(values[0]) if len(values) else None


def _level_means(asked: Asked, effect: LevelEffect) -> np.ndarray | None:
    """Mean responses of the levels, successes by trials where there are some.

    None where a mean says nothing of the effect: beside slopes, of another parameter than mu, of
    categories and of several columns.
    """
    prepared = asked.fit._prepared
    kind, data = prepared.spec.family.response, prepared.response
    alone = (effect.parameter, effect.part.effects) == ("mu", ("Intercept",))
    if not alone or kind.categories or kind.columns:
        return None
    index, levels = asked.index()
    trials = data.data["trials"] if kind.trials else np.ones(len(index))
    sums = np.bincount(index, data.values, levels)
    return sums / np.bincount(index, np.broadcast_to(trials, len(index)), levels)


def _is_plain(asked: Asked, effect: LevelEffect, table: pd.DataFrame) -> bool:
    """Whether a raw mean is a level's own estimate: mu ~ 1 + (1 | g), and mu is the mean.

    Of Student's t, say, another number than the mean maximises the likelihood: both are compared.
    """
    prepared = asked.fit._prepared
    design, predictor = prepared.design, effect.predictor
    alone = (
        predictor.coefs in ((), ("Intercept",))
        and [part.effects for part in predictor.groups] == [("Intercept",)]
        and not np.any(design.predictors[prepared.spec.layout.index(predictor)].offset)
    )
    means, own = _level_means(asked, effect), asked.of_pooling(table, effect)["unpooled"]
    there = own.notna().to_numpy()
    return (
        alone
        and means is not None
        and np.allclose(to_link(effect.link, means)[there], own[there], rtol=1e-5, atol=1e-5)
        and design.weights is None
        and not design.data.keys() - {"trials"}
        and effect.link != "tan_half"  # the mean direction of angles is not their mean
        and mean_is_mu(asked.fit)
    )


def _draw(axis: Axes, asked: Asked, effect: LevelEffect, found: Estimates) -> None:
    order, levels = found.order(), len(found.n)
    own, outside = found.own[order], found.outside[order]
    low, high = found.limits
    natural = effect.effect == "Intercept"
    ends = label_axis(
        axis,
        effect.axis if natural else "identity",
        low,
        high,
        below=found.below,
        above=found.above,
        most=found.most,
    )
    left = -0.7 - levels * DENSITY / (1 - DENSITY)
    axis.set_xlim(left, levels - 0.3)
    _draw_density(axis, found, left)
    axis.axhline(found.beta, color=COMPLETE, linewidth=1, linestyle="--", zorder=1)

    where, many = np.arange(levels), min(1.0, MANY / levels)
    axis.vlines(
        where,
        found.low[order],
        found.high[order],
        color=PARTIAL,
        linewidth=1.2 * many**0.4,
        alpha=0.6 * many**0.3,
        zorder=2,
    )
    areas = _areas(found.n)[order] * many**0.7
    shade = {"color": PARTIAL, "alpha": 0.5 * many**0.2, "linewidths": 0}
    axis.scatter(where, found.partial[order], s=areas, zorder=3, **shade)
    shown = np.select([own == -np.inf, own == np.inf], ends, own)
    shown = np.where(outside == 0, shown, np.where(outside < 0, low, high))
    for side, marker, area in ((0, "o", 11), (-1, "v", 18), (1, "^", 18)):
        at = outside == side
        axis.scatter(
            where[at],
            shown[at],
            s=area * many**0.7,
            marker=marker,
            color=OWN,
            linewidths=0,
            zorder=4,
            clip_on=False,
        )

    axis.grid(visible=False, axis="x")
    labels = [short(label) for label in effect.labels]
    label_columns(axis, [labels[i] for i in order])
    by = "raw mean" if found.raw else "own estimate"
    axis.set_xlabel(f"{asked.group}, by {by}", parse_math=False)
    axis.set_ylabel(_quantity(asked, effect, found), parse_math=False)
    if len(asked.effects) > 1:
        axis.set_title(effect.title, parse_math=False)


def _areas(n: np.ndarray) -> np.ndarray:
    return AREA * np.clip(n / n.mean(), SMALLEST, LARGEST)


def _draw_density(axis: Axes, found: Estimates, left: float) -> None:
    """Draw N(beta, tau^2), with posterior means of both, from the y axis to the right."""
    at = np.linspace(*found.limits, 300)
    density = norm.pdf(at, found.beta, found.tau)
    width = 0.9 * (-0.7 - left) * density / density.max()
    axis.fill_betweenx(at, left, left + width, color=SPREAD, linewidth=0, zorder=0.6)


def _quantity(asked: Asked, effect: LevelEffect, found: Estimates) -> str:
    """What is on y."""
    if found.raw:
        return quantity(asked, effect)
    if effect.effect != "Intercept":
        return f"coefficient of {short(effect.effect)}{effect.on_scale}"
    of = "" if effect.parameter == "mu" else f" of {effect.parameter}"
    return f"intercept{of}{effect.on_scale}"


def _entries(found: list[Estimates], prob: float) -> list:
    n, raw = found[0].n, all(one.raw for one in found)
    dot = Line2D([], [], color=OWN, marker="o", markersize=3.3, linestyle="none")
    red = {"color": PARTIAL, "linestyle": "none", "marker": "o", "markeredgewidth": 0}
    sizes = np.sqrt(_areas(n)[[n.argmin(), n.argmax()]])
    marks = tuple(Line2D([], [], markersize=size, alpha=0.5, **red) for size in sizes)
    rows = f"n = {n.min():,} to {n.max():,}" if n.min() < n.max() else f"n = {n.min():,}"
    entries = [
        (dot, "raw mean" if raw else "own estimate"),
        (marks if n.min() < n.max() else marks[0], f"partial pooling, {rows}"),
        (Line2D([], [], color=PARTIAL, alpha=0.6, linewidth=1.2), f"{100 * prob:g}% interval"),
        (Line2D([], [], color=COMPLETE, linestyle="--", linewidth=1), "complete pooling"),
        (Patch(color=SPREAD, linewidth=0), "estimated distribution"),
    ]
    if any(one.outside.any() for one in found):
        beyond = Line2D([], [], color=OWN, marker="^", markersize=4, linestyle="none")
        entries.append((beyond, "own estimate beyond the frame"))
    missing = max(int(np.isnan(one.own).sum()) for one in found)
    if missing:
        entries.append((Line2D([], [], linestyle="none"), f"{missing:,} without own estimate"))
    return entries
