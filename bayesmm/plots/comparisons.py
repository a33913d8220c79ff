"""The plot of comparisons: what changes when a predictor does, over values of others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmm.interpret import comparisons
from bayesmm.interpret.comparisons import CONTRASTS, OF_PROBABILITIES
from bayesmm.interpret.variables import check_fit, chosen, predictors
from bayesmm.plots.effect_axes import draw, open_stage
from bayesmm.plots.effects import Condition, read
from bayesmm.results import Fit

#: By comparison: how it is called, and its value where nothing changes.
WORDS: Mapping[str, tuple[str, float]] = {
    "difference": ("difference in {}", 0.0),
    "ratio": ("ratio of {}", 1.0),
    "lnratio": ("log ratio of {}", 0.0),
    "lift": ("relative difference in {}", 0.0),
    "odds_ratio": ("odds ratio, {}", 1.0),
    "lnor": ("log odds ratio, {}", 0.0),
}


def plot_comparisons(
    fit: Fit,
    variables: Any,
    condition: Condition | None = None,
    *,
    by: str | Sequence[str] | None = None,
    comparison: str | Callable[[np.ndarray, np.ndarray], np.ndarray] = "difference",
    newdata: Any = None,
    type: str = "response",
    clusters: str | Mapping[str, str] | None = None,
    new_clusters: bool = False,
    conf_level: float = 0.95,
    wts: Any = None,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
    figsize: tuple[float, float] | None = None,
    seed: int | None = None,
) -> Figure:
    """Draw how the expected response differs between values of a predictor, over other columns.

    A dashed line is where nothing changes; several contrasts have a panel each. Give one of
    `condition` and `by`.

    Parameters
    ----------
    fit : Fit
        The fit.
    variables : str, sequence of str, mapping or None
        What is compared, as for `comparisons`; None for all predictors.
    condition, by
        What it is drawn over, as for `plot_predictions`.
    comparison : str or callable
        As for `comparisons`.
    newdata, type, clusters, new_clusters, conf_level, wts, ax, figsize, seed
        As for `plot_predictions`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure that was drawn on; a new one is not pyplot's, see `plot_caterpillar`.

    Raises
    ------
    BayesmmError
        For an argument that makes no sense: see `plot_predictions` and `comparisons`.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("cbpp")
    >>> formula = "prop(incidence, size) ~ period + (1 | herd)"
    >>> fit = bm.fit(formula, data, family="binomial", seed=1)
    >>> figure = bm.plot_comparisons(fit, "period", "herd", comparison="ratio")
    >>> [axis.get_title() for axis in figure.axes]
    ['period: 2 / 1', 'period: 3 / 1', 'period: 4 / 1']
    """
    contrasts = _count(fit, variables)
    request = read(
        fit,
        condition,
        by,
        newdata=newdata,
        type=type,
        clusters=clusters,
        new_clusters=new_clusters,
        conf_level=conf_level,
        wts=wts,
        seed=seed,
        contrasts=contrasts,
    )
    stage = open_stage(request, ax, figsize, contrasts)
    table, behind = request.tables(comparisons, variables=variables, comparison=comparison)
    words, reference = "comparison of {}", None
    if isinstance(comparison, str):
        words, reference = WORDS.get(comparison, (f"{comparison} of {{}}", None))
        if comparison in OF_PROBABILITIES:  # of one trial, whatever the trials
            request = replace(request, chance=True)
    quantity = words.replace("{}", request.quantity())
    return draw(stage, request, table, behind, quantity=quantity, reference=reference)


def _count(fit: Fit, variables: Any) -> int:
    """How many contrasts there will be: known before any is predicted."""
    known = predictors(check_fit(fit))
    given = variables if isinstance(variables, Mapping) else {}
    names = list(known) if variables is None else variables
    count = 0
    for name, variable in chosen(known, names, "variables").items():
        pairs = "reference" if given.get(name) is None else given[name]
        several = not variable.numeric and isinstance(pairs, str) and pairs in CONTRASTS
        count += len(CONTRASTS[pairs](variable.levels)) if several else 1
    return max(1, count)
