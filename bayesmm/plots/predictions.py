"""The plot of predictions: what the model expects over values of predictors, or on average."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmm.interpret import predictions
from bayesmm.plots.effect_axes import draw, open_stage
from bayesmm.plots.effects import Condition, read
from bayesmm.results import Fit


def plot_predictions(
    fit: Fit,
    condition: Condition | None = None,
    *,
    by: str | Sequence[str] | None = None,
    newdata: Any = None,
    type: str = "response",
    clusters: str | Mapping[str, str] | None = None,
    new_clusters: bool = False,
    points: float = 0.0,
    conf_level: float = 0.95,
    wts: Any = None,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
    figsize: tuple[float, float] | None = None,
    seed: int | None = None,
) -> Figure:
    """Draw the expected response over values of predictors, or averages of it over the data.

    Over a number on x the posterior median is a line with a band, the equal-tailed interval; over a
    factor, or a number with few values, they are points with error bars. Give one of
    `condition` and `by`.

    Parameters
    ----------
    fit : Fit
        The fit.
    condition : str, sequence of str, or mapping, optional
        Predictors, up to four: the first is on x, the second in colours, the third makes panels
        side by side, the fourth rows of panels. A mapping gives their values (None for the usual
        ones): a fine grid over the range of a number on x; mean - sd, mean and mean + sd of a
        number elsewhere; the values of a number that has few; the levels of a factor. All other
        predictors are at their mean or mode, see `datagrid`. Grouping columns may be named too:
        lines are then those of the clusters.
    by : str or sequence of str, optional
        Columns, up to four, as for `condition`: the average over the rows of each of their values.
    newdata : dataframe or {"mean", "balanced"}, optional
        With `by`, the rows that are averaged; with `condition`, a dataframe whose means and modes
        the other predictors are at. The training data if left out.
    type : {"response", "link"}
        The scale: the expected response (of categories, the probability of each), or the linear
        predictor of its location.
    clusters : {"given", "typical", "average", "new"} or mapping, optional
        Of which clusters, see `predictions`; a mapping says it by group, such as ``{"item":
        "given", "id": "average"}`` where `condition` names items only. If left out, the typical one
        with `condition`, unless that names clusters; those of the rows with `by`.
    new_clusters : bool
        Whether a lighter band behind shows the expected response of a new cluster, drawn from the
        estimated distribution of clusters, in place of a typical one or the average; clusters of
        groups that are given stay. Categories of the response have a panel each then.
    points : float
        The opacity of the training data underneath, from 0 to 1; 0 leaves them out. Of factors in
        colours and panels they have the colour and the panel.
    conf_level : float
        Probability of the intervals.
    wts : str or array, optional
        Weights of the rows, with `by`.
    ax : Axes, or sequence or array of Axes, optional
        Where to draw, one for each panel, row by row; a new figure if left out.
    figsize : tuple of float, optional
        Width and height of a new figure in inches.
    seed : int, optional
        For new clusters.

    Returns
    -------
    matplotlib.figure.Figure
        The figure that was drawn on; a new one is not pyplot's, see `plot_caterpillar`.

    Raises
    ------
    BayesmmError
        For an argument that makes no sense, more than 12 colours or panels, or another number of
        axes than of panels; see also `predictions`.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> bm.plot_predictions(fit, "Days", new_clusters=True, points=0.3).savefig("days.png")
    >>> figure = bm.plot_predictions(fit, {"Days": None, "Subject": ["308", "309", "310"]})
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('Days', 'expected Reaction')
    """
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
    )
    observed = request.observed(points)
    stage = open_stage(request, ax, figsize)
    table, behind = request.tables(predictions)
    return draw(
        stage,
        request,
        table,
        behind,
        quantity=request.quantity("expected "),
        points=observed,
        opacity=points,
    )
