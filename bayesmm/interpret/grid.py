"""Grids of predictor values: rows to predict for that need not be in the data."""

from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.formula import response_columns
from bayesmm.interpret.variables import check_fit, predictors, rows_of, variable
from bayesmm.prepare import Prepared
from bayesmm.response import known_columns
from bayesmm.results import Fit

GRID_TYPES = ("mean_or_mode", "balanced", "counterfactual")


def datagrid(
    fit: Fit,
    *,
    newdata: Any = None,
    grid_type: Literal["mean_or_mode", "balanced", "counterfactual"] = "mean_or_mode",
    **values: Any,
) -> pd.DataFrame:
    """Return a grid of predictor values: all combinations of those given, the rest held.

    Parameters
    ----------
    fit : Fit
        The fit.
    newdata : dataframe, optional
        The rows that unnamed predictors are summarised from; the training data if left out.
    grid_type : {"mean_or_mode", "balanced", "counterfactual"}
        What becomes of predictors that are not named. ``"mean_or_mode"``: numbers are at their mean
        (whole ones rounded), others at their most frequent value. ``"balanced"``: the same, with
        every level of factors. ``"counterfactual"``: all rows are repeated for each combination,
        with everything but the named columns as it is; ``rowidcf`` is the row they come from.
    **values : scalar, sequence or callable
        By column: a value, several, or a function of the column's values (``np.unique``).

    Returns
    -------
    pandas.DataFrame
        The last column named varies fastest. Grouping columns are in it where they are named (or
        the grid is counterfactual). Trials that are not named are 1 (unless they are a
        predictor too), so that a count of successes is a probability.

    Raises
    ------
    BayesmmError
        For a column that the model does not use, or values that are none.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> bm.datagrid(fit, Subject=["308", "309"], Days=[0, 9])
      Subject  Days
    0     308     0
    1     308     9
    2     309     0
    3     309     9
    """
    prepared = check_fit(fit)
    if grid_type not in GRID_TYPES:
        raise BayesmmError(f"grid_type={grid_type!r}: write one of {listing(GRID_TYPES)}.")
    rows = rows_of(prepared, newdata)
    used = list(prepared.frame.columns.columns)
    for name in values:
        if name not in used and name not in rows.columns:
            raise BayesmmError(
                f"datagrid has no column {name!r} to set.{did_you_mean(name, used)} The model "
                f"uses {listing(used)}."
            )
    named = {name: listed(name, given, rows.get(name)) for name, given in values.items()}
    if grid_type == "counterfactual":
        return counterfactual(rows, named)
    held: dict[str, list[Any]] = {}
    for name in _needed(prepared):
        if name in named:
            continue
        held[name] = _held(prepared, name, rows, newdata is not None, grid_type == "balanced")
    columns = {**named, **held}
    cells = list(product(*columns.values()))
    made = {}
    for position, name in enumerate(columns):
        source = rows if name in rows.columns else prepared.frame.columns
        made[name] = like(source, name, [cell[position] for cell in cells])
    return pd.DataFrame(made, index=pd.RangeIndex(len(cells)))


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


def counterfactual(rows: pd.DataFrame, named: dict[str, list[Any]]) -> pd.DataFrame:
    """Return the rows once for each combination of values, with ``rowidcf`` for where they were."""
    parts = []
    for cell in product(*named.values()):
        part = rows.copy()
        if "rowidcf" not in part:
            part.insert(0, "rowidcf", rows.index.to_numpy())
        for name, value in zip(named, cell, strict=True):
            part[name] = like(rows, name, [value] * len(rows), part.index)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def like(
    rows: pd.DataFrame, name: str, values: list[Any], index: pd.Index | None = None
) -> pd.Series:
    """Return values as a column of the kind that rows have."""
    column = rows.get(name)
    if column is not None and isinstance(column.dtype, pd.CategoricalDtype):
        known = column.cat.categories.tolist()
        extra = [v for v in dict.fromkeys(values) if v not in known]
        made = pd.Categorical(values, [*known, *extra], ordered=column.cat.ordered)
        return pd.Series(made, index=index)
    return pd.Series(values, index=index)


def listed(name: str, given: Any, column: Any) -> list[Any]:
    """Return the values that were given for a column: one, several, or a function of the column.

    Raises
    ------
    BayesmmError
        If there is none, or they are not a list of values.
    """
    if callable(given):
        if column is None:
            raise BayesmmError(f"{name}= is a function of a column that the rows do not have.")
        given = given(np.asarray(column))
    if isinstance(given, np.ndarray):
        given = given.tolist() if given.ndim else [given.item()]
    single = isinstance(given, str) or not hasattr(given, "__iter__")
    values = [given] if single else list(given)
    if not values:
        raise BayesmmError(f"{name}= has no values: give at least one.")
    if any(np.ndim(value) for value in values):
        raise BayesmmError(f"{name}= has lists among its values: give a flat list.")
    return values


def _needed(prepared: Prepared) -> list[str]:
    """What the rows of a grid need: predictors, and what the left-hand side says of rows."""
    left = known_columns(prepared.response_text)
    return list(dict.fromkeys([*predictors(prepared), *left, *_one_trial(prepared)]))


def _held(
    prepared: Prepared, name: str, rows: pd.DataFrame, own: bool, balanced: bool
) -> list[Any]:
    trials = _one_trial(prepared)
    if name in trials and name not in predictors(prepared):
        return [trials[name]]
    found = variable(prepared, name)
    if own and name in rows.columns:
        found = variable(prepared, name, rows[name])
    every = balanced and not found.numeric and name in predictors(prepared)
    return found.levels if every else [found.typical()]


def _one_trial(prepared: Prepared) -> dict[str, int]:
    """Columns of trials, and what makes them one trial."""
    response, kind = prepared.response_text, prepared.spec.family.response
    if kind.columns and kind.integer:  # their sum
        return {name: int(i == 0) for i, name in enumerate(response_columns(response))}
    texts = [text for _, named in response.additions for what, text in named if what == "trials"]
    return {name: 1 for name in texts if name in prepared.frame.columns}
