"""Fewer rows with the same likelihood.

Rows with equal predictors, levels and response contribute equally: one of them with their number as
its weight does as well. Where the log-likelihood is linear in the response (Bernoulli, binomial,
Poisson), the response may differ, and its mean stands for it. The likelihood is the same function
of the parameters up to a constant; what is said of single rows afterwards is computed from all.
"""

import numpy as np
import pandas as pd

from bayesmm.design import Design, take
from bayesmm.families import Family

#: Rows are put together where this part of them, or less, is left.
WORTH_WHILE = 0.75
#: Fewer rows than this are not looked at.
FEWEST = 500


def aggregate(design: Design, family: Family) -> Design:
    """Return the design with rows that are alike put together, or as it is where few are.

    Parameters
    ----------
    design : Design
        With the response.
    family : Family
        Its distribution.
    """
    y = np.asarray(design.y)
    if design.rows < FEWEST or y.ndim > 1:
        return design
    # The log-likelihood of a censored row is not linear in its limit.
    linear = family.linear_in_response and not design.data.keys() & {"left", "right", "interval"}
    columns = _columns(design)
    if not linear:
        columns.append(y)
    for values in columns:
        # Soon found out in most data: a measurement has nearly as many values as there are rows.
        if len(pd.unique(values)) > WORTH_WHILE * design.rows:
            return design
    cell = pd.DataFrame(dict(enumerate(columns))).groupby(list(range(len(columns))), sort=False)
    number = cell.ngroup().to_numpy()
    cells = int(number.max()) + 1
    if cells > WORTH_WHILE * design.rows:
        return design
    weights = np.ones(design.rows) if design.weights is None else np.asarray(design.weights)
    total = np.bincount(number, weights, cells)
    first = np.zeros(cells, dtype=np.int64)
    first[number[::-1]] = np.arange(design.rows)[::-1]
    kept = take(design, first)
    response = y[first]
    if linear:
        mean = np.bincount(number, weights * np.where(weights > 0, y, 0.0), cells)
        # A cell without weight keeps the response of a row: it is not looked at.
        response = np.where(total > 0, mean / np.where(total > 0, total, 1.0), response)
    return Design(kept.predictors, response, kept.data, total)


def _columns(design: Design) -> list[np.ndarray]:
    """All that a row's likelihood depends on beside its response, without constant columns."""
    found: list[np.ndarray] = []
    for predictor in design.predictors:
        found += list(predictor.X.T)
        found += [predictor.offset] if predictor.offset.ndim else []
        for group in predictor.groups:
            found += [group.index, *group.columns.T]
    found += [np.asarray(values) for values in design.data.values()]
    return [values for values in found if (values != values[0]).any()] or [np.zeros(design.rows)]
