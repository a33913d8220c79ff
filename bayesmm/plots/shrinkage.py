"""The plot of shrinkage: from each level's own estimate to the partially pooled one.

This is the door: it reads the arguments and finds the kind of plot. To add a kind, write a module
``shrinkage_<kind>.py`` with a function that draws it and one that says what it does not suit, and
add a record to `KINDS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.plots.levels import Asked, choose, probability
from bayesmm.plots.shrinkage_arrows import arrows_unsuited, draw_arrows
from bayesmm.plots.shrinkage_lines import draw_lines, lines_unsuited
from bayesmm.plots.shrinkage_prior import draw_prior
from bayesmm.results import Fit


@dataclass(frozen=True)
class Kind:
    """A kind of plot.

    Attributes
    ----------
    draw : callable
        ``draw(asked, ax=, figsize=, **extra)`` draws it and returns the figure.
    unsuited : callable
        Why it does not suit what was asked, as the end of a sentence, or an empty string.
    takes : tuple of str
        Which arguments it has beside those of all kinds.
    """

    draw: Callable[..., Figure]
    unsuited: Callable[[Asked], str] = lambda asked: ""
    takes: tuple[str, ...] = ()


#: Every kind by name, those that show more first.
KINDS: Mapping[str, Kind] = {
    "arrows": Kind(draw_arrows, arrows_unsuited, ("prob",)),
    "lines": Kind(draw_lines, lines_unsuited, ("intercepts",)),
    "prior": Kind(draw_prior, takes=("prob",)),
}


def plot_shrinkage(
    fit: Fit,
    group: str | None = None,
    *,
    kind: str | None = None,
    parameter: str | None = None,
    effects: str | Sequence[str] | None = None,
    prob: float | None = None,
    intercepts: Fit | None = None,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw how far partial pooling moves each level from its own estimate.

    A level's own estimate is the ``unpooled`` one of `pooling`; the partially pooled one is the
    posterior mean of population plus group effect, on the scale of the link. The completely pooled
    one is the population's.

    Parameters
    ----------
    fit : Fit
        The fit.
    group : str, optional
        The group, such as ``"Subject"``; may be left out where the model has only one.
    kind : {"arrows", "prior", "lines"}, optional
        What is drawn; if left out, arrows where there are two or more effects, else the prior.

        ``"arrows"``: for each pair of effects an arrow for each level from its own to the partially
        pooled estimate, with ellipses that hold 50% and `prob` of the distribution that the effects
        come from (normal, with posterior means of mean, sds and correlations). Own estimates that
        are far away are left out of the frame, and the levels that move most are named.

        ``"prior"``: the levels sorted by their own estimate, which is small and dark, with the
        partially pooled one and its interval, its area growing with n, beside the distribution that
        the effects come from (normal, with posterior means of mean and sd). A panel for each
        effect. Where the model says no more than ``1 + (1 | g)`` and mu is the expected response,
        raw means stand for the own estimates. Those that the link sends to infinity, such as the
        mean of zeros only, sit beyond a break of the axis.

        ``"lines"``: three panels side by side with the lines of all levels over a number: their own
        regressions, with random intercepts alone, and with random slopes; at the left of each the
        distribution of the lines' heights. For effects that are an intercept and slopes of one
        numeric column; other predictors are held at their mean or mode.
    parameter : str, optional
        The distributional parameter whose effects are drawn; if left out, the first that has
        effects of the group, which is mu where mu has them.
    effects : str or sequence of str, optional
        Which effects, and in which order; all of them if left out.
    prob : float, optional
        Probability of the intervals, equal-tailed, and of the outer ellipse; ArviZ's
        ``stats.ci_prob`` if left out. Not for lines.
    intercepts : Fit, optional
        For lines: a fit of the same model with random intercepts alone. If left out they are the
        limit in which the sd of the slopes is 0 and all parameters stay at their posterior means:
        the most probable intercept of each level given its rows.
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
        For a group, parameter or effect that the fit does not have, a kind that does not suit them,
        an argument that the kind does not have, or another number of axes than of panels.

    Notes
    -----
    Off the Gaussian family the posterior of an effect is skewed where a level says little: of a
    level with zeros only, the posterior mean lies below the mode that lme4 reports.

    The distribution of the effects, and so the ellipses, is that of the posterior means; the
    partially pooled estimates are less spread than it says, because each of them is uncertain.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> bm.plot_shrinkage(fit, "Subject").savefig("arrows.png")
    >>> figure = bm.plot_shrinkage(fit, "Subject", kind="lines")
    >>> [axis.get_title().splitlines()[0] for axis in figure.axes]
    ['own regressions', 'random intercepts (sd of slopes 0)', 'random slopes']
    """
    asked = choose(fit, group, parameter, effects).first
    if kind is None:
        kind = "arrows" if len(asked.effects) > 1 else "prior"
    chosen = _kind(kind)
    if why := chosen.unsuited(asked):
        suits = [name for name, other in KINDS.items() if not other.unsuited(asked)]
        raise BayesmmError(f"kind={kind!r} {why} Write kind={suits[0]!r}.")
    given = {"prob": prob, "intercepts": intercepts}
    for name, value in given.items():
        if value is not None and name not in chosen.takes:
            able = [other for other, record in KINDS.items() if name in record.takes]
            raise BayesmmError(f"{name}= is for kind={listing(able)}: leave it out of {kind!r}.")
    extra: dict[str, Any] = {name: given[name] for name in chosen.takes}
    if "prob" in extra:
        extra["prob"] = probability(prob)
    return chosen.draw(asked, ax=ax, figsize=figsize, **extra)


def _kind(kind: object) -> Kind:
    if not isinstance(kind, str) or kind not in KINDS:
        raise BayesmmError(
            f"kind={kind!r}: write one of {listing(KINDS)}.{did_you_mean(str(kind), KINDS)}"
        )
    return KINDS[kind]
