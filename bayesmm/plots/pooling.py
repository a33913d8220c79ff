"""The pooling factor of every level against its rows: who is shrunk, and how much."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bayesmm.plots.canvas import COLUMNS, panels, short
from bayesmm.plots.level_marks import COMPLETE, PARTIAL, SPREAD
from bayesmm.plots.levels import Asked, LevelEffect, choose
from bayesmm.plots.link_axis import ticks
from bayesmm.results import Fit
from bayesmm.results.posterior import joined

#: The ratio of the most rows to the fewest from which n is on a logarithmic axis.
WIDE = 20
#: What part of the width the density has.
MARGIN = 0.2
#: Levels from which points get smaller and lighter.
MANY = 40
#: Up to that many numbers of rows are all written.
FEW = 7


def plot_pooling(
    fit: Fit,
    group: str | None = None,
    *,
    parameter: str | None = None,
    effects: str | Sequence[str] | None = None,
    ndraws: int | None = None,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the pooling factor of every level against its number of rows: a panel for each effect.

    The pooling factor is the part of an effect's prior variance that the data leave: 0 is no
    pooling, 1 is complete pooling. At the right is the density of the levels' pooling factors, and
    above the panel Gelman and Pardoe's factor for all levels together; see `pooling`.

    Parameters
    ----------
    fit : Fit
        The fit.
    group : str, optional
        The group, such as ``"Subject"``; may be left out where the model has only one.
    parameter : str, optional
        The distributional parameter whose effects are drawn; if left out, all that have effects of
        the group.
    effects : str or sequence of str, optional
        Which effects, and in which order; all of them if left out.
    ndraws : int, optional
        Over how many posterior draws pooling factors are averaged, see `pooling`.
    ax : Axes, or sequence or array of Axes, optional
        Where to draw, one for each panel; a new figure if left out.
    figsize : tuple of float, optional
        Width and height of a new figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The figure that was drawn on; a new one is not pyplot's, see `plot_caterpillar`.

    Raises
    ------
    BayesmmError
        For a group, parameter or effect that the fit does not have, or another number of axes than
        of panels.

    Notes
    -----
    Of a Gaussian model with one random intercept and no other effects the line is
    E[1 / (1 + n tau^2 / sigma^2)] over the posterior, on which the levels lie. Levels with the same
    n are moved aside a little.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> figure = bm.plot_pooling(fit, "Subject")
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('n, rows of a level of Subject', 'pooling factor (0: none, 1: complete)')
    """
    asked = choose(fit, group, parameter, effects)
    count = len(asked.effects)
    columns = min(count, COLUMNS)
    size = figsize or (4.2 * columns + 0.3, 3.6 * -(-count // columns) + 0.2)
    figure, axes = panels(count, ax, size)
    table = asked.pooling(ndraws)
    for axis, effect in zip(axes, asked.effects, strict=True):
        own = asked.of_pooling(table, effect)
        _draw(axis, asked, effect, own["n"].to_numpy(float), own["pooling"].to_numpy(float))
        shrunk = table.attrs["lambda"][effect.parameter][effect.effect]
        text = effect.title if np.isnan(shrunk) else f"{effect.title} (λ = {shrunk:.2f})"
        axis.set_title(text, parse_math=False)
        place = axis.get_subplotspec()
        if place is None or place.is_first_col():
            axis.set_ylabel("pooling factor (0: none, 1: complete)")
    return figure


def _draw(axis: Axes, asked: Asked, effect: LevelEffect, n: np.ndarray, omega: np.ndarray) -> None:
    logarithmic = n.max() > WIDE * n.min()
    scale = np.log if logarithmic else np.asarray
    low, high = float(scale(n.min())), float(scale(n.max()))
    room = 0.06 * (high - low) or 0.5
    if logarithmic:
        axis.set_xscale("log")
        found = ticks("log", low, high)
        axis.set_xticks(np.exp(list(found)), list(found.values()))
        axis.set_xticks([], minor=True)
    else:
        few = np.unique(n)
        even = np.asarray(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(low, high))
        axis.set_xticks(few if len(few) < FEW else even[(even >= low) & (even <= high)])
    back = np.exp if logarithmic else np.asarray
    strip = MARGIN / (1 - MARGIN) * (high - low + 2 * room)
    axis.set_xlim(*back(np.array([low - room, high + room + strip])))
    axis.set_ylim(0, 1)
    at = np.linspace(low, high, 200)
    curve = _closed_form(asked, effect, back(at))
    if curve is not None:
        line = {"color": COMPLETE, "linewidth": 1, "label": "1 / (1 + n τ²/σ²)"}
        axis.plot(back(at), curve, zorder=2, **line)
        axis.legend(fontsize="small", frameon=False)
    many = min(1.0, MANY / len(n))
    axis.scatter(
        back(_aside(scale(n), room)),
        omega,
        s=30 * many**0.3,
        color=PARTIAL,
        alpha=max(0.1, 0.6 * many**0.5),
        linewidths=0,
        zorder=3,
        clip_on=False,
    )
    _draw_density(axis, omega[np.isfinite(omega)])
    axis.set_xlabel(f"n, rows of a level of {short(asked.group)}", parse_math=False)


def _aside(places: np.ndarray, room: float) -> np.ndarray:
    """Places with those of several levels moved aside, or they would hide each other."""
    _, which, count = np.unique(places, return_inverse=True, return_counts=True)
    distinct = np.unique(places)
    apart = min(room, np.diff(distinct).min() if len(distinct) > 1 else room)
    moved = np.random.default_rng(0).uniform(-0.3 * apart, 0.3 * apart, len(places))
    return places + np.where(count[which] > 1, moved, 0.0)


def _closed_form(asked: Asked, effect: LevelEffect, n: np.ndarray) -> np.ndarray | None:
    """E[1 / (1 + n tau^2 / sigma^2)], where that is what pooling factors are; else None."""
    spec, design = asked.fit.spec, asked.fit._prepared.design
    groups = [part for predictor in spec.layout for part in predictor.groups]
    exact = (
        spec.family.normal_sd in asked.fit.posterior
        and len(spec.layout) == len(groups) == 1
        and effect.part.effects == ("Intercept",)
        and effect.link == "identity"
        and design.weights is None
        and not design.data
    )
    if not exact:
        return None
    sigma = joined(asked.fit.posterior[spec.family.normal_sd])
    ratio = (asked.sd(effect) / sigma) ** 2
    return (1 / (1 + n[:, None] * ratio)).mean(axis=1)


def _draw_density(axis: Axes, omega: np.ndarray) -> None:
    """Draw the density of pooling factors at the right, from the edge to the left."""
    if len(omega) < 3 or np.ptp(omega) < 1e-6:
        return
    from arviz_stats.base import array_stats

    at, density, _ = array_stats.kde(omega, custom_lims=(0.0, 1.0))
    axis.fill_betweenx(
        at,
        1 - 0.9 * MARGIN * density / density.max(),
        1,
        color=SPREAD,
        linewidth=0,
        transform=axis.get_yaxis_transform(),
        zorder=0.6,
    )
