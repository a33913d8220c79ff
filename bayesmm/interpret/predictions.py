"""`bm.predictions`: what is expected of rows, alone or averaged."""

from typing import Any

import pandas as pd
import xarray as xr

from bayesmm.errors import BayesmmError
from bayesmm.interpret.answers import answer, question
from bayesmm.interpret.average import average
from bayesmm.interpret.grid import counterfactual, datagrid
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
    type: str = "response",  # noqa: A002
    clusters: str | None = None,
    conf_level: float = 0.95,
    draws: bool = False,
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
    clusters : {"given", "typical", "average", "new"}, optional
        Of which clusters: those that the rows name; the typical one, with effects of 0; the average
        over the estimated distribution of clusters; or a new one, drawn from it in every posterior
        draw. If left out, ``"given"`` where the rows have all grouping columns, else ``"typical"``;
        the table's ``attrs`` say which it was.
    conf_level : float
        Probability of the equal-tailed interval.
    draws : bool
        Whether to return the posterior draws instead of their summary.
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
    >>> bm.predictions(fit, bm.datagrid(fit, Days=[0, 9]))
    >>> bm.predictions(fit, by="urban", clusters="average")
    """
    newdata = grid_by_name(fit, newdata)
    asked = question(fit, newdata, type=type, clusters=clusters, conf_level=conf_level, seed=seed)
    rows = asked.rows
    if variables is not None:
        named = _imposed(asked.prepared, variables)
        rows = counterfactual(rows, named)
        by = list(named) if by is True else by
    over = average(rows, by, wts)
    return answer(
        asked,
        [asked.asked(rows)],
        used_columns(rows, asked.prepared),
        over,
        each=lambda found, _: [found[0]["value"]],
        draws=draws,
    )


def grid_by_name(fit: Fit, newdata: Any) -> Any:
    """Return the grid that a name stands for, and anything else as it is.

    Raises
    ------
    BayesmmError
        For a name of none.
    """
    if not isinstance(newdata, str):
        return newdata
    types = {"mean": "mean_or_mode", "balanced": "balanced"}
    if newdata not in types:
        raise BayesmmError(
            f"newdata={newdata!r}: give a dataframe such as bm.datagrid(fit, x=[0, 1]), or write "
            "'mean' or 'balanced'."
        )
    return datagrid(fit, grid_type=types[newdata])  # pyright: ignore[reportArgumentType]


def _imposed(prepared: Any, variables: Any) -> dict[str, list[Any]]:
    given = variables if isinstance(variables, dict) else {}
    names = [variables] if isinstance(variables, str) else list(variables)
    found = chosen(predictors(prepared), names, "variables")
    values = {}
    for name, variable in found.items():
        if name in given:
            value = given[name]
            values[name] = (
                [value]
                if isinstance(value, str) or not hasattr(value, "__len__")
                else (list(value))
            )
        elif variable.numeric:
            values[name] = variable.values.quantile([0, 0.25, 0.5, 0.75, 1]).unique().tolist()
        else:
            values[name] = variable.levels
    return values
