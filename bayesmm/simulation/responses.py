"""From the numbers that were drawn to the columns that the left-hand side of a formula names.

A response on the left may be computed, such as ``log(y)``; what is drawn is then ``log(y)``, and
the column is found by undoing the function. To allow another function, add how it is undone to
`UNDO`; it has to reach every real number, or some draws could not be responses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from bayesmm.errors import DataError, FormulaError, listing
from bayesmm.families import Family
from bayesmm.formula import Response
from bayesmm.formula.expression import Application, Column, Expression, Parenthesis
from bayesmm.formula.functions import check_functions
from bayesmm.formula.parse import expression_of
from bayesmm.schema import read_frame

#: By function of the response: its inverse, for NumPy and for JAX.
UNDO: Mapping[str, Callable[[Any, Any], Any]] = {
    "I": lambda xp, x: x,
    "arcsinh": lambda xp, x: xp.sinh(x),
    "cbrt": lambda xp, x: x**3,
    "log": lambda xp, x: xp.exp(x),
    "log10": lambda xp, x: 10.0**x,
    "log1p": lambda xp, x: xp.expm1(x),
    "log2": lambda xp, x: xp.exp2(x),
}


#: Whole numbers above this are not told apart by floats.
LARGEST = 2.0**53


@dataclass(frozen=True)
class Target:
    """The columns of a response, and what is done to its numbers before they are put there.

    Attributes
    ----------
    columns : tuple of str
        One, or those of ``c(y1, y2, ...)``.
    undo : tuple of str
        The functions of `UNDO` that stand around the column, outermost first.
    """

    columns: tuple[str, ...]
    undo: tuple[str, ...] = ()

    def given(self, xp: Any, y: Any) -> Any:
        """Return the values of the column for numbers that were drawn."""
        for name in self.undo:
            y = UNDO[name](xp, y)
        return y


def target_of(response: Response, functions: Mapping[str, Callable] | None = None) -> Target:
    """Return which columns a response is made of.

    Parameters
    ----------
    response : Response
        The left-hand side.
    functions : mapping of str to callable, optional
        What the user allowed in the formula.

    Raises
    ------
    FormulaError
        For a computed response that cannot be undone.
    """
    table = check_functions(functions)
    further = dict(response.additions).get("c", ())
    texts = [response.expression, *(text for _, text in further)]
    found = [_undone(expression_of(text, table), response.name) for text in texts]
    columns = tuple(name for name, _ in found)
    if len(found) > 1 and any(undo for _, undo in found):
        raise FormulaError(
            f"{response.name} computes its columns, and a simulated response cannot be taken "
            "apart. Write plain columns: c(y1, y2, y3)."
        )
    return Target(columns, found[0][1])


def _undone(expression: Expression, name: str) -> tuple[str, tuple[str, ...]]:
    """The column of an expression, and the functions around it, outermost first."""
    match expression:
        case Column(column):
            return column, ()
        case Parenthesis(inner):
            return _undone(inner, name)
        case Application(function, _, (inner,), ()) if function in UNDO:
            column, rest = _undone(inner, name)
            return column, (function, *rest)
    known = [function for function in UNDO if function != "I"]
    raise FormulaError(
        f"The response {name!r} is computed, and cannot be undone to give the column: only "
        f"{listing(known)} of a column can. Write a plain column on the left, and compute "
        "afterwards."
    )


@dataclass(frozen=True)
class Labels:
    """What the numbers of a response of categories, or of failure and success, stand for.

    Attributes
    ----------
    values : tuple
        The label of 0, of 1, and so on.
    dtype : dtype or None
        That of the column: a category with these labels, or None for plain values.
    """

    values: tuple[Any, ...]
    dtype: Any = None

    def of(self, codes: np.ndarray) -> Any:
        """Return the column for some numbers."""
        codes = codes.astype(np.int64)
        if self.dtype is not None:
            labels = pd.Index(self.values, dtype=object)
            place = pd.Index(self.dtype.categories, dtype=object).get_indexer(labels)
            return pd.Categorical.from_codes(place[codes], dtype=self.dtype)
        plain = np.asarray(self.values)
        return (plain if plain.dtype.kind in "iufb" else np.asarray(self.values, object))[codes]


@dataclass(frozen=True)
class Responses:
    """Writes responses into data frames.

    Attributes
    ----------
    target : Target
        The columns.
    family : Family
        Bound to its categories.
    labels : Labels or None
        Where responses are not numbers.
    inside : float
        A number that the family allows, from which one that was rounded out of its range is
        brought back.
    """

    target: Target
    family: Family
    labels: Labels | None = None
    inside: float = 0.5

    def possible(
        self, y: np.ndarray, trials: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return responses as the family allows them, and which rows are none even so.

        A beta response of 1 - 1e-17 is the float 1, which no model of a beta takes: it becomes
        the float below.

        Parameters
        ----------
        y : numpy.ndarray
            Shape (rows,) or (rows, columns).
        trials : numpy.ndarray, optional
            Shape (rows,).
        """
        kind = self.family.response
        bad = kind.check(y, trials)
        if not bad.any() or kind.integer:
            return y, bad | _too_large(y) if kind.integer else bad
        inward = np.where(np.isfinite(y), np.nextafter(y, self.inside), y)
        y = np.where(bad[:, None] if kind.columns else bad, inward, y)
        return y, kind.check(y, trials)

    def into(self, frame: pd.DataFrame, y: np.ndarray) -> pd.DataFrame:
        """Put responses into a frame, which is changed and returned."""
        if self.family.response.columns:
            for name, column in zip(self.target.columns, y.T, strict=True):
                frame[name] = self._column(column)
        else:
            frame[self.target.columns[0]] = self._column(y)
        return frame

    def arrays(self, y: Any) -> dict[str, Any]:
        """Return the columns of responses as JAX arrays; labels stay their numbers."""
        if self.family.response.columns:
            return {name: y[:, k] for k, name in enumerate(self.target.columns)}
        return {self.target.columns[0]: self.target.given(jnp, y)}

    def _column(self, y: np.ndarray) -> Any:
        if self.labels is not None:
            return self.labels.of(y)
        y = self.target.given(np, y)
        return y.astype(np.int64) if self.family.response.integer else y.astype(np.float64)


def _too_large(y: np.ndarray) -> np.ndarray:
    large = ~(np.abs(y) <= LARGEST)
    return large.any(axis=-1) if large.ndim > 1 else large


def labels_of(
    response: Response, target: Target, family: Family, data: pd.DataFrame
) -> Labels | None:
    """Return what the numbers of a response stand for; None where they are what they are.

    Parameters
    ----------
    response : Response
        The left-hand side.
    target : Target
        Its columns.
    family : Family
        Bound to its categories.
    data : pandas.DataFrame
        Whose column of responses, if it is there, says what kind of column is wanted.
    """
    kind, name = family.response, target.columns[0]
    dtype = data[name].dtype if name in data.columns else None
    category = isinstance(dtype, pd.CategoricalDtype)
    if kind.categories:
        return _category_labels(family, kind.categories == "ordered", data.get(name))
    if not kind.binary:
        return None
    levels: tuple[Any, ...] = ()
    if name in data.columns and dtype is not None and dtype.kind not in "iuf":
        levels = _levels(data, name)
    success = response.level
    if success is None and len(levels) < 2:
        return None
    if success is None:
        if len(levels) > 2:
            raise DataError(
                f"The response {name!r} has {len(levels)} levels ({listing(levels)}). Name the "
                f'success: {name}["{levels[-1]}"].'
            )
        pair = levels
    else:
        others = [level for level in levels if str(level) != success]
        there = [level for level in levels if str(level) == success] or [success]
        pair = (others[0] if others else f"not {success}", there[0])
    fits = category and {*pair} <= {*dtype.categories}
    return Labels(tuple(pair), dtype if fits else None)


def _category_labels(family: Family, ordered: bool, column: pd.Series | None) -> Labels:
    """Those of the column that is there; else a category of the family's labels."""
    labels = family.categories
    if column is not None and isinstance(column.dtype, pd.CategoricalDtype):
        by_text = {str(value): value for value in column.dtype.categories}
        if set(labels) <= set(by_text):
            return Labels(tuple(by_text[label] for label in labels), column.dtype)
    elif column is not None:
        by_text = {_text(value): value for value in column.dropna().unique()}
        if set(labels) <= set(by_text):
            return Labels(tuple(by_text[label] for label in labels))
    whole = all(label.isdecimal() for label in labels)
    values = tuple(int(label) if whole else label for label in labels)
    return Labels(values, pd.CategoricalDtype(list(values), ordered=ordered))


def categories_in(column: pd.Series) -> tuple[str, ...]:
    """Return the labels of a column of categories: those that it declares, or those it has."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(str(level) for level in column.dtype.categories)
    return tuple(_text(value) for value in sorted(column.dropna().unique().tolist()))


def _levels(data: pd.DataFrame, name: str) -> tuple[Any, ...]:
    """The levels of a column as a model reads them."""
    plain = pd.Series(read_frame(data, [name], optional=[name]).columns[name])
    if isinstance(plain.dtype, pd.CategoricalDtype):
        return tuple(plain.cat.categories)
    return tuple(sorted(plain.dropna().unique().tolist()))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
