"""`bm.slopes`: how fast the expected response changes with a predictor.

JAX differentiates the prediction by the columns of the design, and the formula's own expressions
give the derivative of those by the predictor: see `bayesmm.formula.derivative` for how exact it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.interpret.answers import answer, question
from bayesmm.interpret.average import average
from bayesmm.interpret.grid import grid_by_name
from bayesmm.interpret.tables import concatenated, named, used_columns
from bayesmm.interpret.variables import chosen, predictors
from bayesmm.response import known_columns
from bayesmm.results import Fit

#: From derivative, prediction and predictor to what is returned, and how it is written.
SLOPES: Mapping[str, tuple[Callable, str]] = {
    "dydx": (lambda slope, y, x: slope, "dY/dX"),
    "eyex": (lambda slope, y, x: slope * x / y, "eY/eX"),
    "eydx": (lambda slope, y, x: slope / y, "eY/dX"),
    "dyex": (lambda slope, y, x: slope * x, "dY/eX"),
}


def slopes(
    fit: Fit,
    variables: Any = None,
    newdata: Any = None,
    *,
    slope: str = "dydx",
    by: Any = False,
    wts: Any = None,
    type: str = "response",
    clusters: str | Mapping[str, str] | None = None,
    conf_level: float = 0.95,
    draws: bool = False,
    ndraws: int | None = None,
    seed: int | None = None,
) -> pd.DataFrame | xr.DataArray:
    """Return the derivative of the expected response by a predictor, for rows or on average.

    Parameters
    ----------
    fit : Fit
        The fit.
    variables : str or sequence of str, optional
        The predictors, numbers all of them; all that are if left out. Levels of factors are
        compared by `comparisons`.
    newdata : dataframe or {"mean", "balanced"}, optional
        The rows: see `predictions`.
    slope : {"dydx", "eyex", "eydx", "dyex"}
        The derivative, or an elasticity: a relative change of y (e), of x, or of both.
    by, wts, type, clusters, conf_level, draws, ndraws, seed
        As for `predictions`. Slopes of rows are averaged.

    Returns
    -------
    pandas.DataFrame or xarray.DataArray
        As for `predictions`, with ``term`` (the predictor) and ``contrast``.

    Raises
    ------
    BayesmmError
        For an argument that makes no sense, or a predictor that is not a number.
    DataError
        Where there is no finite derivative.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> bm.slopes(fit, "Days", by="Subject").head(3)[["Subject", "estimate"]].round()
      Subject  estimate
    0     308      20.0
    1     309       2.0
    2     310       5.0
    """
    asked = question(
        fit,
        grid_by_name(fit, newdata),
        type=type,
        clusters=clusters,
        conf_level=conf_level,
        seed=seed,
        ndraws=ndraws,
    )
    if not isinstance(slope, str) or slope not in SLOPES:
        raise BayesmmError(
            f"slope={slope!r}: write one of {listing(SLOPES)}.{did_you_mean(str(slope), SLOPES)}"
        )
    make, written = SLOPES[slope]
    known = predictors(asked.prepared)
    numbers = {n: v for n, v in known.items() if v.kind in ("number", "integer", "binary")}
    wanted = [n for n, v in numbers.items() if v.numeric] if variables is None else variables
    names = list(chosen(known, wanted, "variables"))
    if not names:
        raise BayesmmError("The model has no numeric predictor: bm.comparisons() is for factors.")
    for name in names:
        if name not in numbers:
            raise BayesmmError(
                f"variables: {name!r} is a factor, which has no slope: bm.comparisons(fit, "
                f"{name!r}) compares its levels."
            )
        if name not in asked.rows:
            raise BayesmmError(f"variables: newdata has no column {name!r}.")
        if name in known_columns(asked.prepared.response_text):
            raise BayesmmError(
                f"variables: {name!r} stands left of '~' too, where it has no slope: "
                f"bm.comparisons(fit, {{{name!r}: 1}}) compares responses at two values of it."
            )
    over = average(asked.rows, by, wts)
    labels = used_columns(asked.rows, asked.prepared)
    adds, parts = ("term", "contrast"), []
    for name in names:
        x = asked.rows[name].to_numpy(float)[None, :, None]

        def each(found: list, rows: np.ndarray, x: np.ndarray = x) -> list[np.ndarray]:
            return [make(found[0]["slope"], found[0]["value"], x[:, rows])]

        arm = asked.read(asked.rows, along=name)
        found = answer(asked, [arm], labels, over, each=each, adds=adds, draws=draws)
        parts.append(named(found, name, written))
    return concatenated(parts, draws=draws)
