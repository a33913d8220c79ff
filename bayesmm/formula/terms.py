"""`Terms`: the columns that the text of a population part, or of a group's effects, makes of data.

`fit` learns on the training data what new data need: the levels of factors, and the means, knots
and norms of stateful transforms such as ``scale(x)``. `transform` makes the same columns of other
rows. Both go through `Terms._columns`, so fitting cannot differ from predicting.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from formulae.categorical import Treatment

from bayesmm.errors import DataError, FormulaError
from bayesmm.formula.algebra import Term, expand_text
from bayesmm.formula.coding import Factor, TermCoding, choose_codings
from bayesmm.formula.derivative import derivative, learn_spreads
from bayesmm.formula.expression import (
    Application,
    Column,
    Expression,
    State,
    evaluate_safely,
)
from bayesmm.formula.functions import Coded, check_functions, numbers
from bayesmm.formula.parse import expression_of

# More columns than any design that a sampler could take; interactions of factors get there fast.
MAX_COLUMNS = 20_000
_NO_FUNCTIONS: Mapping[str, Callable] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a design matrix, with what each of them means.

    Parameters
    ----------
    matrix : ndarray, shape (n, p), float64
        The columns; the intercept is the first where there is one.
    labels : tuple of str
        What each column is called: ``"Intercept"``, ``"urban[Y]"``, ``"poly(x, 2)[0]"``.
    terms : tuple of str
        The term that each column belongs to: ``"Intercept"``, ``"urban"``, ``"poly(x, 2)"``.
    factors : mapping of str to tuple
        The levels of each factor, by its label.
    offset : ndarray, shape (n,), or None
        The sum of the ``offset()`` terms.
    """

    matrix: np.ndarray
    labels: tuple[str, ...]
    terms: tuple[str, ...]
    factors: Mapping[str, tuple[Any, ...]]
    offset: np.ndarray | None


class Terms:
    """The terms of one canonical text, such as ``"1 + x:f + offset(log(t))"``.

    Parameters
    ----------
    text : str
        The population part of a predictor, or the effects of a group term.
    functions : mapping of str to callable
        The functions of the caller's that the text may call.

    Attributes
    ----------
    variables : tuple of str
        The columns that it uses, in order of first use.
    """

    def __init__(self, text: str, functions: Mapping[str, Callable] = _NO_FUNCTIONS) -> None:
        self._source, total = expand_text(text, check_functions(functions))
        terms = list(total.terms.values())
        self.text = text
        self.variables = total.columns
        self._intercept = total.intercept is not False
        self._offsets = [term.parts[0] for term in terms if term.is_offset]
        self._terms: list[Term] = [term for term in terms if not term.is_offset]
        unique = {part.text: part for term in self._terms for part in term.parts}
        self._parts: list[Expression] = list(unique.values())
        number = {text: i for i, text in enumerate(unique)}
        self._indices = [tuple(number[part.text] for part in term.parts) for term in self._terms]
        self._state: State = {}
        self._factors: dict[int, Factor] = {}
        self._codings: list[TermCoding] | None = None

    @property
    def coded(self) -> set[str]:
        """The columns that enter as factors themselves, known after `fit`."""
        return {name for part in self._bare() for name in part.columns}

    @property
    def measured(self) -> set[str]:
        """The columns that enter in any other way, known after `fit`."""
        others = [p for p in (*self._parts, *self._offsets) if p not in self._bare()]
        return {name for part in others for name in part.columns}

    def _bare(self) -> list[Expression]:
        return [p for i, p in enumerate(self._parts) if i in self._factors and _is_bare(p)]

    def fit(self, frame: pd.DataFrame) -> Columns:
        """Learn levels and transforms from the training data, and return its columns.

        Parameters
        ----------
        frame : pandas.DataFrame
            Rows without missing values in the columns used. The levels of a categorical column are
            taken in its order; those of any other factor are sorted.
        """
        self._state, self._factors = {}, {}
        for i, part in enumerate(self._parts):
            value = _column(part, evaluate_safely(part, frame, self._state), len(frame))
            if isinstance(value, Coded):
                self._factors[i] = Factor.learn(part.label, value)
        for part in (*self._parts, *self._offsets):
            learn_spreads(part, frame, self._state)
        self._codings = choose_codings(self._indices, frozenset(self._factors), self._intercept)
        columns = self._columns(frame)
        label, times = Counter(columns.labels).most_common(1)[0] if columns.labels else ("", 0)
        if times > 1:
            raise self._source.error(
                f"{times} columns of the model would be called {label!r}: rename a column or a "
                "level of the data"
            )
        return columns

    def transform(self, frame: pd.DataFrame) -> Columns:
        """Return the columns of new rows, by what `fit` learned.

        Raises
        ------
        DataError
            Where a factor has a level that the training data did not have, or a column is missing.
        """
        if self._codings is None:
            raise RuntimeError("Terms.transform() was called before Terms.fit()")
        return self._columns(frame)

    def differentiate(self, frame: pd.DataFrame, column: str) -> Columns:
        """Return the derivatives of the columns of new rows by a column of numbers.

        Raises
        ------
        DataError
            As `transform`; also where a term reads the column as a factor.
        """
        if self._codings is None:
            raise RuntimeError("Terms.differentiate() was called before Terms.fit()")
        return self._columns(frame, along=column)

    def _columns(self, frame: pd.DataFrame, along: str | None = None) -> Columns:
        n = len(frame)
        slopes: dict[int, np.ndarray] = {}
        for i, part in enumerate(self._parts if along else []):
            if i in self._factors and along in part.columns:
                raise DataError(
                    f"{part.label!r} reads {along!r} as a factor, which has no slope: "
                    "bm.comparisons() compares its levels"
                )
            slope = derivative(part, frame, self._state, along) if along else None
            if slope is not None:
                slopes[i] = slope.reshape(n, -1)
        values = [
            _column(part, evaluate_safely(part, frame, self._state), n, i in self._factors)
            for i, part in enumerate(self._parts)
        ]
        codes = {i: f.codes(values[i].values) for i, f in self._factors.items()}
        blocks: list[np.ndarray] = []
        labels: list[str] = []
        terms: list[str] = []
        if self._intercept:
            blocks.append(np.zeros((n, 1)) if along else np.ones((n, 1)))
            labels.append("Intercept")
            terms.append("Intercept")
        for coding in self._codings or []:
            pieces, names = [], []
            for part, full in zip(coding.parts, coding.full, strict=True):
                if part in self._factors:
                    contrast, levels = self._factors[part].columns(full)
                    pieces.append((contrast, codes[part]))
                    names.append(levels)
                else:
                    pieces.append((values[part], None))
                    names.append(_labels(self._parts[part].label, values[part].shape[1]))
            width = int(np.prod([piece.shape[1] for piece, _ in pieces], dtype=object))
            if len(labels) + width > MAX_COLUMNS:
                raise FormulaError(
                    f"{self.text!r} stands for more than {MAX_COLUMNS:,} columns: the term "
                    f"{self._terms[coding.owner].label!r} alone has {width:,}"
                )
            block = _interaction(pieces)
            if along:
                # The product rule: one factor at a time is replaced by its derivative.
                block = np.zeros_like(block)
                for k, part in enumerate(coding.parts):
                    if part in slopes:
                        block += _interaction([*pieces[:k], (slopes[part], None), *pieces[k + 1 :]])
            blocks.append(block)
            labels += [":".join(chosen) for chosen in product(*names)]
            terms += [":".join(self._parts[part].label for part in coding.parts)] * width
        matrix = np.concatenate(blocks, axis=1) if blocks else np.empty((n, 0))
        factors = {f.label: f.levels for f in self._factors.values()}
        return Columns(
            np.ascontiguousarray(matrix),
            tuple(labels),
            tuple(terms),
            MappingProxyType(factors),
            self._offset(frame, along),
        )

    def _offset(self, frame: pd.DataFrame, along: str | None = None) -> np.ndarray | None:
        if not self._offsets:
            return None
        total = np.zeros(len(frame))
        for part in self._offsets:
            if along:
                value = derivative(part, frame, self._state, along)
                value = 0.0 if value is None else value
            else:
                value = evaluate_safely(part, frame, self._state)
            if not isinstance(value, (int, float)):
                column = _column(part, value, len(frame))
                if isinstance(column, Coded) or column.shape[1] != 1:
                    raise DataError(f"{part.label!r} must be one column of numbers")
                value = column[:, 0]
            total += value
        return total


def _is_bare(part: Expression) -> bool:
    """Whether a part is a column, or a factor made of one: C(x)."""
    match part:
        case Column():
            return True
        case Application(name, _, (Column(), *_)):
            return name in ("C", "T", "S")
    return False


def _labels(label: str, width: int) -> list[str]:
    return [label] if width == 1 else [f"{label}[{i}]" for i in range(width)]


def _interaction(pieces: list[tuple[np.ndarray, np.ndarray | None]]) -> np.ndarray:
    """Multiply the columns of every piece with those of every other, the last varying fastest."""
    result = None
    for piece, codes in pieces:
        block = piece if codes is None else piece[codes]
        if result is None:
            result = block
        else:
            result = (result[:, :, None] * block[:, None, :]).reshape(len(block), -1)
    return np.empty((0, 0)) if result is None else result


def _column(part: Expression, value: Any, n: int, factor: bool | None = None) -> Any:
    """Return a part's value as a `Coded` factor, or as a float64 array of shape (n, columns).

    `factor` says what the part was in training; None, for training itself, asks the value.
    """
    if isinstance(value, (list, tuple)):
        value = np.asarray(value)
    if factor or (factor is None and _is_factor(part, value)):
        coded = value if isinstance(value, Coded) else Coded(value, Treatment())
        if np.ndim(coded.values) != 1 or len(coded.values) != n:
            raise _misshapen(part, coded.values, n)
        return coded
    if np.ndim(value) not in (1, 2) or len(value) != n:
        raise _misshapen(part, value, n)
    try:
        array = np.asarray(numbers(value, repr(part.label)), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{part.label!r} in the formula is not numeric: {error}") from error
    return array[:, None] if array.ndim == 1 else array


def _is_factor(part: Expression, value: Any) -> bool:
    if isinstance(value, Coded):
        return True
    dtype = getattr(value, "dtype", None)
    if isinstance(value, pd.DataFrame) or pd.api.types.is_numeric_dtype(dtype):
        return False
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(value):
        return True
    kind = dtype if dtype is not None else type(value).__name__
    raise DataError(
        f"{part.label!r} in the formula is of type {kind}: make it numeric, or categories"
    )


def _misshapen(part: Expression, value: Any, n: int) -> DataError:
    what = "a single value" if np.ndim(value) == 0 else f"an array of shape {np.shape(value)}"
    return DataError(f"{part.label!r} in the formula gives {what} for data of {n:,} rows")


def evaluate(
    text: str, frame: pd.DataFrame, functions: Mapping[str, Callable] = _NO_FUNCTIONS
) -> np.ndarray | pd.Categorical:
    """Evaluate the text of a response, or of an argument of one of its functions.

    Parameters
    ----------
    text : str
        An expression of columns: ``"y"``, ``"log(y)"``, or a number, ``"12"``.
    frame : pandas.DataFrame
        The data.
    functions : mapping of str to callable
        The functions of the caller's that the text may call.

    Returns
    -------
    ndarray of shape (n,), or pandas.Categorical
        The type of a column is kept; a number is repeated for every row.
    """
    expression = expression_of(text, check_functions(functions))
    value = evaluate_safely(expression, frame, {})
    value = value.values if isinstance(value, Coded) else value
    if np.ndim(value) == 0:
        return np.full(len(frame), value)
    if np.ndim(value) != 1 or len(value) != len(frame):
        raise _misshapen(expression, value, len(frame))
    if isinstance(getattr(value, "dtype", None), pd.CategoricalDtype):
        return pd.Categorical(value)
    return value.to_numpy() if isinstance(value, pd.Series) else np.asarray(value)
