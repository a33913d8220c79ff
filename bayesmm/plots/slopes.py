"""The plot of slopes: how fast the expected response changes with a predictor, over others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmm.interpret import slopes
from bayesmm.interpret.variables import check_fit, chosen, predictors
from bayesmm.plots.effect_axes import draw, open_stage
from bayesmm.plots.effects import Condition, read
from bayesmm.results import Fit

#: By slope, how it is called.
WORDS: Mapping[str, str] = {
    "dydx": "slope of {}",
    "eyex": "elasticity of {}",
    "eydx": "relative slope of {}",
    "dyex": "change in {} by a relative change",
}


def plot_slopes(
    fit: Fit,
    variables: Any,
    condition: Condition | None = None,
    *,
    by: str | Sequence[str] | None = None,
    slope: str = "dydx",
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
    """Draw the derivative of the expected response by a predictor, over values of columns.

    A dashed line is at 0; several predictors have a panel each. Give one of `condition` and `by`.

    Parameters
    ----------
    fit : Fit
        The fit.
    variables : str, sequence of str or None
        The predictors, numbers all of them, as for `slopes`; None for all that are.
    condition, by
        What it is drawn over, as for `plot_predictions`.
    slope : {"dydx", "eyex", "eydx", "dyex"}
        As for `slopes`.
    newdata, type, clusters, new_clusters, conf_level, wts, ax, figsize, seed
        As for `plot_predictions`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure that was drawn on; a new one is not pyplot's, see `plot_caterpillar`.

    Raises
    ------
    BayesmmError
        For an argument that makes no sense: see `plot_predictions` and `slopes`.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> figure = bm.plot_slopes(fit, "Days", by="Subject")
    >>> figure.axes[0].get_ylabel()
    'Days: dY/dX, slope of Reaction'
    """
    known = predictors(check_fit(fit))
    wanted = [name for name, found in known.items() if found.numeric]
    names = wanted if variables is None else variables
    contrasts = max(1, len(chosen(known, names, "variables")))
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
    table, behind = request.tables(slopes, variables=variables, slope=slope)
    quantity = WORDS.get(slope, f"{slope} of {{}}").replace("{}", request.quantity())
    return draw(stage, request, table, behind, quantity=quantity, reference=0.0)
