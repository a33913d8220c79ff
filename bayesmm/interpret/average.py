"""Averages over rows: which rows, with which weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from bayesmm.errors import BayesmmError, did_you_mean, listing


@dataclass(frozen=True)
class Average:
    """Which rows are averaged, with which weights.

    Attributes
    ----------
    cells : pandas.DataFrame
        The columns that name each average.
    weights : scipy.sparse.csr_array
        Shape (cells, rows); the weights of a cell sum to 1.
    """

    cells: pd.DataFrame
    weights: csr_array

    def of(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return what some rows add to the averages.

        Parameters
        ----------
        rows : numpy.ndarray
            Their positions.
        values : numpy.ndarray
            Shape (draws, rows, labels).
        """
        draws, count, labels = values.shape
        by_row = values.transpose(1, 0, 2).reshape(count, -1)
        return (self.weights[:, rows] @ by_row).reshape(-1, draws, labels).transpose(1, 0, 2)


def average(rows: pd.DataFrame, by: Any, wts: Any) -> Average | None:
    """Return how rows are averaged: None for not at all.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows.
    by : bool, str or sequence of str
        True for all of them together, or the columns whose values make cells.
    wts : str, array or None
        Weights of the rows, or the column that holds them.

    Raises
    ------
    BayesmmError
        For a column that is not there, or weights that are none.
    """
    if by is False or by is None:
        if wts is not None:
            raise BayesmmError("wts= weighs an average over rows: say which one by by=.")
        return None
    if not isinstance(by, (bool, str, Sequence)):
        raise BayesmmError(f"by={by!r}: write True, the name of a column, or a list of names.")
    columns: Any = by
    names = [] if by is True else [by] if isinstance(by, str) else list(columns)
    for name in names:
        if name not in rows.columns:
            raise BayesmmError(
                f"by={by!r}: the rows have no column {name!r}."
                f"{did_you_mean(str(name), rows.columns)} They have {listing(rows.columns)}. "
                "Columns that the model does not use have to be in newdata=."
            )
    weights = _weights(rows, wts)
    if not names:
        cell, cells = np.zeros(len(rows), dtype=int), pd.DataFrame(index=range(1))
    else:
        grouped = rows.groupby(names, sort=True, observed=True, dropna=False)
        cell = grouped.ngroup().to_numpy()
        first = np.unique(cell, return_index=True)[1]
        cells = rows.iloc[first][names].reset_index(drop=True)
    total = np.bincount(cell, weights, minlength=len(cells))
    if not (total > 0).all():
        raise BayesmmError("wts=: the weights of some average are all 0.")
    places = (cell, np.arange(len(rows)))
    return Average(cells, csr_array((weights / total[cell], places), (len(cells), len(rows))))


def _weights(rows: pd.DataFrame, wts: Any) -> np.ndarray:
    if wts is None:
        return np.ones(len(rows))
    if isinstance(wts, str):
        if wts not in rows.columns:
            raise BayesmmError(
                f"wts={wts!r}: the rows have no such column. They have {listing(rows.columns)}."
            )
        wts = rows[wts]
    weights = np.asarray(wts)
    if weights.shape != (len(rows),) or weights.dtype.kind not in "iuf":
        raise BayesmmError(
            f"wts= has shape {weights.shape}: give one number for each of {len(rows):,} rows, or "
            "the column that holds them."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise BayesmmError("wts= has negative or missing weights.")
    return weights.astype(float)
