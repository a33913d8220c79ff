"""The predictors of a model, and what their training values look like.

A predictor is a column that enters a population part or the effects of a group. A column that only
names clusters is none: what a cluster is, is said by ``clusters=``.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmm.errors import BayesmmError, DataError, did_you_mean, listing
from bayesmm.formula import columns_of
from bayesmm.prepare import Prepared
from bayesmm.results import Fit
from bayesmm.schema import as_pandas

Kind = Literal["number", "integer", "binary", "bool", "category"]


@dataclass(frozen=True)
class Variable:
    """A predictor.

    Attributes
    ----------
    name : str
        The column.
    kind : str
        ``"number"``, ``"integer"`` (whole numbers only), ``"binary"`` (0 and 1 only), ``"bool"``,
        or ``"category"`` (also of numbers that enter as a factor, ``C(x)``).
    values : pandas.Series
        In the training data.
    """

    name: str
    kind: Kind
    values: pd.Series

    @property
    def levels(self) -> list[Any]:
        """The distinct values: those of a category in its order."""
        present = self.values.dropna().unique().tolist()
        if not present:
            raise DataError(f"The column {self.name!r} has no value in these rows.")
        if isinstance(self.values.dtype, pd.CategoricalDtype):
            return [level for level in self.values.cat.categories.tolist() if level in present]
        return sorted(present, key=lambda level: (str(type(level)), level))

    @property
    def numeric(self) -> bool:
        """Whether it is a number that can take values between those it has."""
        return self.kind in ("number", "integer")

    def typical(self) -> Any:
        """Return the mean of numbers (rounded for whole ones), the most frequent of all others."""
        if self.numeric:
            numbers: Any = pd.to_numeric(self.values, errors="coerce")
            mean = float(numbers.mean())
            if np.isnan(mean):
                raise DataError(f"The column {self.name!r} has no number in these rows.")
            return round(mean) if self.kind == "integer" else mean
        values = self.values.tolist()
        return max(self.levels, key=values.count)


def check_fit(fit: Any) -> Prepared:
    """Return what a fit was made of.

    Raises
    ------
    BayesmmError
        If it is not a fit.
    """
    if not isinstance(fit, Fit):
        raise BayesmmError(f"fit is a {type(fit).__name__}: give what bm.fit() returned.")
    return fit._prepared


def check_conf_level(conf_level: Any) -> float:
    """Return the probability of intervals.

    Raises
    ------
    BayesmmError
        If it is none.
    """
    number = isinstance(conf_level, (int, float, np.number)) and not isinstance(conf_level, bool)
    if not number or not 0 < conf_level < 1:
        raise BayesmmError(
            f"conf_level={conf_level!r}: write a probability between 0 and 1, such as 0.95."
        )
    return float(conf_level)


def groups_of(prepared: Prepared) -> dict[str, tuple[str, ...]]:
    """Return the groups that have effects, and the columns that name their clusters."""
    spec = prepared.spec
    return {name: spec.schema.grouping(name).factors for name in spec.groups}


def predictors(prepared: Prepared) -> dict[str, Variable]:
    """Return the predictors of a model, in the order of the formula."""
    names: dict[str, None] = {}
    for predictor in prepared.spec.formula.predictors:
        for text in (predictor.common, *(group.effects for group in predictor.groups)):
            names.update(dict.fromkeys(columns_of(text)))
    return {name: variable(prepared, name) for name in names}


def variable(prepared: Prepared, name: str, values: Any = None) -> Variable:
    """Return a used column as a predictor, with its training values or those of other rows."""
    trained = pd.Series(prepared.frame.columns[name])
    kind = prepared.spec.schema.column(name).kind
    if kind == "number":
        kind = "category" if name in prepared.builder.coded else _kind_of_numbers(trained)
    if values is None:
        return Variable(name, kind, trained)
    return Variable(name, kind, pd.Series(values))


def _kind_of_numbers(values: pd.Series) -> Kind:
    numbers = values.to_numpy(float)
    if set(np.unique(numbers)) <= {0.0, 1.0}:
        return "binary"
    return "integer" if np.all(numbers == np.floor(numbers)) else "number"


def chosen(known: dict[str, Variable], names: Any, argument: str) -> dict[str, Variable]:
    """Return the predictors of a name, of several, or of the keys of a mapping.

    Raises
    ------
    BayesmmError
        For what is no name of a predictor; the message lists those there are.
    """
    if not isinstance(names, (str, Collection)):
        raise BayesmmError(f"{argument}={names!r}: write the name of a predictor, or several.")
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if not isinstance(name, str) or name not in known:
            raise BayesmmError(
                f"{argument}: {name!r} is not a predictor of this model."
                f"{did_you_mean(str(name), known)} Its predictors are "
                f"{listing(known) or 'none'}."
            )
    return {name: known[name] for name in wanted}


def rows_of(prepared: Prepared, newdata: Any) -> pd.DataFrame:
    """Return rows as pandas: those of the caller, or the used columns of the training data."""
    if newdata is None:
        return prepared.frame.columns.set_axis(pd.Index(prepared.frame.index), axis=0)
    frame = as_pandas(newdata)
    if len(frame) == 0:
        raise DataError("newdata has no rows.")
    return frame
