"""`bm.predictions`: what is expected of rows, alone or averaged."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from bayesmm.interpret.answers import answer, question
from bayesmm.interpret.average import average
from bayesmm.interpret.grid import counterfactual, grid_by_name, listed
from bayesmm.interpret.tables import used_columns
from bayesmm.interpret.variables import chosen, predictors
from bayesmm.results import Fit


def predictions(
    fit: Fit,
    newdata: Any = None,
    *,
    variables: Any = None,
    by: Any = False,
    wts: Any = None,
    type: str = "response",
    clusters: str | Mapping[str, str] | None = None,
    conf_level: float = 0.95,
    draws: bool = False,
    ndraws: int | None = None,
    seed: int | None = None,
) -> pd.DataFrame | xr.DataArray:
    """Return the expected response of rows, or averages of it, as a tidy table.

    Parameters
    ----------
    fit : Fit
        The fit.
    newdata : dataframe or {"mean", "balanced"}, optional
        The rows: the training data if left out, a grid by `datagrid`, or one of its types by name.
    variables : str, sequence of str, or mapping, optional
        Predictors whose values are imposed on every row (counterfactually): all levels of a
        factor, the five numbers of Tukey of a number, or the values that a mapping gives.
    by : bool, str or sequence of str
        Columns of the rows: the average over the rows of each of their values. True averages over
        all rows (with `variables`, for each of their values).
    wts : str or array, optional
        Weights of the rows in averages, or the column that holds them.
    type : {"response", "link"}
        The scale: the expected response (of categories, the probability of each, named in
        ``group``), or the linear predictor of its location.
    clusters : {"given", "typical", "average", "new"} or mapping, optional
        Of which clusters: those that the rows name; the typical one, with effects of 0; the average
        over the estimated distribution of clusters; or a new one, drawn from it in every posterior
        draw, the same for all rows. A mapping says it by group, ``{"subject": "new"}``, and groups
        that are not in it are ``"given"``. If left out, ``"given"`` where the rows have all
        grouping columns, ``"typical"`` where they have none; the table's ``attrs`` say which it
        was.
    conf_level : float
        Probability of the equal-tailed interval.
    draws : bool
        Whether to return the posterior draws instead of their summary.
    ndraws : int, optional
        How many posterior draws to use, spread evenly; all of them if left out.
    seed : int, optional
        For new clusters.

    Returns
    -------
    pandas.DataFrame
        A row for each row, or average: the columns that name it, ``estimate`` (posterior median),
        ``std_error`` (posterior sd), ``conf_low``, ``conf_high``.
    xarray.DataArray
        With ``draws=True``: dims chain, draw, row, and the naming columns as coordinates of row.

    Raises
    ------
    BayesmmError
        For an argument that makes no sense, or rows that the model cannot be asked about: see
        `Fit.predict`.

    Examples
    --------
    What is expected of the typical subject, and how much less is known of a new one:

    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> grid = bm.datagrid(fit, Days=[0, 4])
    >>> bm.predictions(fit, grid)[["estimate", "std_error"]].round(-1)
       estimate  std_error
    0     250.0       10.0
    1     290.0       10.0
    >>> found = bm.predictions(fit, grid, clusters="new", seed=1)
    >>> found[["estimate", "std_error"]].round(-1)
       estimate  std_error
    0     250.0       30.0
    1     290.0       40.0
    """
    newdata = grid_by_name(fit, newdata)
    asked = question(
        fit,
        newdata,
        type=type,
        clusters=clusters,
        conf_level=conf_level,
        seed=seed,
        ndraws=ndraws,
    )
    rows, own = asked.rows, None
    if variables is not None:
        named = _imposed(asked.prepared, variables)
        rows = counterfactual(asked.rows, named)
        own = asked.read(pd.concat([asked.rows] * (len(rows) // len(asked.rows))))
        by = list(named) if by is True else by
    over = average(rows, by, wts)
    return answer(
        asked,
        [asked.read(rows, clusters_of=own)],
        used_columns(rows, asked.prepared),
        over,
        each=lambda found, _: [found[0]["value"]],
        draws=draws,
    )


def _imposed(prepared: Any, variables: Any) -> dict[str, list[Any]]:
    given = variables if isinstance(variables, Mapping) else {}
    values = {}
    for name, variable in chosen(predictors(prepared), variables, "variables").items():
        if name in given:
            values[name] = listed(name, given[name], variable.values)
        elif variable.numeric:
            values[name] = variable.values.quantile([0, 0.25, 0.5, 0.75, 1]).unique().tolist()
        else:
            values[name] = variable.levels
    return values
