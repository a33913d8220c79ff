"""Arrows from each level's own estimates to the partially pooled ones, for each pair of effects.

They point to where the distribution of the effects says that levels are more likely to be: to the
middle of its ellipse, along its long axis where effects are correlated.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import chi2

from bayesmm.errors import BayesmmError
from bayesmm.plots.canvas import Picture, check_size, panels, short
from bayesmm.plots.level_marks import COMPLETE, OWN, PARTIAL, frame, legend
from bayesmm.plots.levels import Asked

#: The probability of the inner ellipse, and the colour of both.
INNER, RING = 0.5, "0.45"
#: The most effects of which all pairs are drawn.
MOST = 6
#: From that many levels on marks get smaller; labels are written for up to that many moved most.
MANY, NAMED = 40, 5


def arrows_unsuited(asked: Asked) -> str:
    """Return why there are no pairs, or an empty text."""
    if len(asked.effects) > 1:
        return ""
    return f"is for pairs of effects, and here is only {asked.effects[0].effect!r}."


def draw_arrows(
    asked: Asked,
    *,
    ax: Axes | Sequence[Axes] | np.ndarray | None,
    figsize: tuple[float, float] | None,
    prob: float,
) -> Figure:
    """Draw a panel for each pair of effects; see `plot_shrinkage`.

    Parameters
    ----------
    asked : Asked
        Of one parameter, with two effects or more.
    ax, figsize
        As for `plot_shrinkage`.
    prob : float
        The probability of the outer ellipse.
    """
    count = len(asked.effects)
    if count > MOST:
        raise BayesmmError(
            f"effects: there are {count}, of which {count * (count - 1) // 2} pairs would be too "
            f"small to read. Name up to {MOST} of them."
        )
    # Row by row of a lower triangle: effect i > j is on y, j on x.
    pairs = sorted((i, j) for j, i in combinations(range(count), 2))
    own_figure = ax is None
    if own_figure:
        side = 5.0 if count == 2 else max(2.2, 8.5 / (count - 1))
        size = figsize or (side * (count - 1) + 0.6, side * 0.86 * (count - 1) + 0.9)
        check_size(size)
        figure = Picture(figsize=size, layout="constrained")
        grid = figure.subplots(count - 1, count - 1, squeeze=False)
        for unused in grid[np.triu_indices(count - 1, 1)]:
            unused.remove()
        axes = [grid[i - 1, j] for i, j in pairs]
    else:
        figure, axes = panels(len(pairs), ax, figsize or (1.0, 1.0))
    table = asked.estimates()
    estimates = [asked.of_pooling(table, effect) for effect in asked.effects]
    far = 0
    for axis, (i, j) in zip(axes, pairs, strict=True):
        far = max(far, _draw(axis, asked, (j, i), (estimates[j], estimates[i]), prob))
        if not own_figure or i == count - 1:
            axis.set_xlabel(_label(asked, j), parse_math=False)
        if not own_figure or j == 0:
            axis.set_ylabel(_label(asked, i), parse_math=False)
    own = np.stack([one["unpooled"].to_numpy(float) for one in estimates])
    missing = int(np.isnan(own).any(axis=0).sum())
    legend(figure, axes[0], _entries(len(estimates[0]), missing, far, prob), own=own_figure)
    return figure


def _label(asked: Asked, position: int) -> str:
    effect = asked.effects[position]
    return short(effect.title) + effect.on_scale


def _draw(
    axis: Axes,
    asked: Asked,
    pair: tuple[int, int],
    estimates: tuple[pd.DataFrame, pd.DataFrame],
    prob: float,
) -> int:
    """Draw a pair of effects, the first on x; return how many own estimates are outside."""
    own, partial, complete = (
        np.stack([one[name].to_numpy(float) for one in estimates], axis=1)
        for name in ("unpooled", "partial", "complete")
    )
    middle = complete[0]
    covariance = asked.covariance([asked.effects[i] for i in pair])
    rings = [_ellipse(middle, covariance, p) for p in (INNER, prob)]
    core = np.concatenate([*rings, partial])
    limits = np.array([frame(core[:, k], own[:, k]) for k in (0, 1)])
    axis.set_xlim(*limits[0])
    axis.set_ylim(*limits[1])
    for ring, style in zip(rings, (":", "-"), strict=True):
        axis.plot(*ring.T, color=RING, linewidth=1, linestyle=style, zorder=4.5)
    there = ~np.isnan(own).any(axis=1)
    many = min(1.0, MANY / len(own))
    # Quiver does without the arrows' lengths in points, which 1,000 of them would take.
    axis.quiver(
        *own[there].T,
        *(partial - own)[there].T,
        angles="xy",
        scale_units="xy",
        scale=1,
        units="dots",
        width=1.1 * many**0.25,
        headwidth=5,
        headlength=6,
        headaxislength=5,
        minlength=0.5,
        color="0.35",
        alpha=0.8 * many**0.3,
        zorder=2,
    )
    size = 22 * many**0.7
    axis.scatter(*own[there].T, s=0.5 * size, color=OWN, linewidths=0, zorder=3)
    axis.scatter(*partial[there].T, s=size, color=PARTIAL, linewidths=0, zorder=4)
    axis.scatter(
        *partial[~there].T,
        s=size,
        marker="D",
        facecolor="none",
        edgecolor=PARTIAL,
        linewidth=1.1 * many**0.2,
        zorder=4,
    )
    axis.scatter(*middle, s=90, marker="X", color=COMPLETE, edgecolor="white", zorder=5)
    inside = ((own >= limits[:, 0]) & (own <= limits[:, 1])).all(axis=1)
    moved = np.linalg.norm((partial - own) / np.sqrt(np.diag(covariance)), axis=1)
    order = np.argsort(-np.where(there & inside, moved, -1.0), kind="stable")
    named = [i for i in order[:NAMED] if inside[i]] if len(own) <= MANY else []
    _name(axis, [short(asked.effects[0].labels[i]) for i in named], own[named], partial[named])
    return int((there & ~inside).sum())


def _ellipse(middle: np.ndarray, covariance: np.ndarray, prob: float) -> np.ndarray:
    """Points around the ellipse that holds that much of a normal distribution, shape (n, 2)."""
    values, vectors = np.linalg.eigh(covariance)
    angle = np.linspace(0, 2 * np.pi, 181)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    root = vectors * np.sqrt(np.maximum(values, 0.0) * chi2.ppf(prob, 2))
    return middle + (root @ circle).T


def _name(axis: Axes, labels: list[str], own: np.ndarray, partial: np.ndarray) -> None:
    """Write names beside own estimates: away from the arrow, and within the frame."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    for label, (x, y), (_, goal) in zip(labels, own, partial, strict=True):
        high = (y - bottom) / (top - bottom)
        above = high < 0.06 or (y > goal and high < 0.94)
        before = x > (left + right) / 2
        axis.annotate(
            label,
            (x, y),
            xytext=(-4 if before else 4, 3 if above else -3),
            textcoords="offset points",
            ha="right" if before else "left",
            va="bottom" if above else "top",
            fontsize="x-small",
            color="0.25",
            parse_math=False,
            zorder=6,
        )


def _entries(levels: int, missing: int, far: int, prob: float) -> list[tuple[Any, str]]:
    def mark(colour: str, marker: str, size: float, **how: Any) -> Line2D:
        return Line2D([], [], color=colour, marker=marker, markersize=size, linestyle="none", **how)

    entries = [
        (mark(OWN, "o", 3.5), "own estimate (no pooling)"),
        (mark(PARTIAL, "o", 5), "partial pooling"),
        (mark(COMPLETE, "X", 8, markeredgecolor="white"), "complete pooling"),
        (Line2D([], [], color=RING, linestyle=":"), f"holds {100 * INNER:g}% of levels"),
        (Line2D([], [], color=RING), f"holds {100 * prob:g}% of levels"),
    ]
    if missing:
        lost = mark(PARTIAL, "D", 5, markerfacecolor="none")
        entries.append((lost, f"{missing:,} of {levels:,} without own estimate"))
    if far:
        entries.append(
            (Line2D([], [], color="0.35"), f"{far:,} of {levels:,} begin outside of the frame")
        )
    return entries
