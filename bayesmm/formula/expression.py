"""Expressions of columns, such as ``log(x)`` or ``C(f, Sum)``, and how they are evaluated.

The safety walk (`safety.Builder`) turns a piece of formulae's syntax tree into an `Expression`, and
only these come out of it: columns, constants, arithmetic, and calls of functions from the table in
`functions`. A call holds the function itself, found while it was built, so nothing in the text is
looked up by name in a Python namespace, and there is no attribute access at all.

To allow a further kind of syntax, add a node here, a case to `safety.Builder.build`, and an attack
on it to ``tests/unit/test_formula_safety.py``.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, override

import numpy as np
import pandas as pd

from bayesmm.errors import DataError, did_you_mean, listing
from bayesmm.formula.functions import Transform, numbers
from bayesmm.formula.text import quote

# What stateful transforms learned, by the text of the call: scale(x) written twice is one of them.
State = dict[str, Any]


class Expression(ABC):
    """A checked expression. `text` parses back to it; `label` is for people and coordinates."""

    @property
    def text(self) -> str:
        """The canonical text, with the backquotes that it needs."""
        return self.render(quote)

    @property
    def label(self) -> str:
        """The text without backquotes, as formulae labels its columns."""
        return self.render(str)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns used, in order of first use."""
        return tuple(dict.fromkeys(self.walk()))

    @abstractmethod
    def render(self, name: Callable[[str], str]) -> str:
        """Return the text, with `name` applied to column names."""

    @abstractmethod
    def walk(self) -> Iterator[str]:
        """Yield the name of each column, as often as it is used."""

    @abstractmethod
    def value(self, frame: pd.DataFrame, state: State) -> Any:
        """Evaluate; stateful transforms learn if `state` does not know them yet."""


@dataclass(frozen=True)
class Column(Expression):
    """A column of the data."""

    name: str

    @override
    def render(self, name: Callable[[str], str]) -> str:
        return name(self.name)

    @override
    def walk(self) -> Iterator[str]:
        yield self.name

    @override
    def value(self, frame: pd.DataFrame, state: State) -> Any:
        if self.name not in frame.columns:
            known = [str(c) for c in frame.columns]
            raise DataError(
                f"the formula uses the column {self.name!r}, which the data do not have."
                f"{did_you_mean(self.name, known)} The columns are {listing(known)}"
            )
        return frame[self.name]


@dataclass(frozen=True)
class Constant(Expression):
    """A number, string, True, False, None, or a contrast."""

    constant: Any
    written: str

    @override
    def render(self, name: Callable[[str], str]) -> str:
        return self.written

    @override
    def walk(self) -> Iterator[str]:
        return iter(())

    @override
    def value(self, frame: pd.DataFrame, state: State) -> Any:
        return self.constant


@dataclass(frozen=True)
class Parenthesis(Expression):
    """Parentheses, kept because `(x + 1) * 2` and `x + 1 * 2` must not share a label."""

    inner: Expression

    @override
    def render(self, name: Callable[[str], str]) -> str:
        return f"({self.inner.render(name)})"

    @override
    def walk(self) -> Iterator[str]:
        return self.inner.walk()

    @override
    def value(self, frame: pd.DataFrame, state: State) -> Any:
        return self.inner.value(frame, state)


_ARITHMETIC: Mapping[str, Callable] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITY: Mapping[str, Callable] = {"==": operator.eq, "!=": operator.ne}


@dataclass(frozen=True)
class Operation(Expression):
    """Arithmetic or a comparison, of one operand or two."""

    symbol: str
    operands: tuple[Expression, ...]

    @override
    def render(self, name: Callable[[str], str]) -> str:
        parts = [o.render(name) for o in self.operands]
        return f"{self.symbol}{parts[0]}" if len(parts) == 1 else f" {self.symbol} ".join(parts)

    @override
    def walk(self) -> Iterator[str]:
        for operand in self.operands:
            yield from operand.walk()

    @override
    def value(self, frame: pd.DataFrame, state: State) -> Any:
        values = [operand.value(frame, state) for operand in self.operands]
        if self.symbol in _EQUALITY:
            # As objects: categories compare by what they are, whatever categories both sides know.
            left, right = (_objects(v) for v in values)
            return np.asarray(_EQUALITY[self.symbol](left, right), dtype=bool)
        operands = [_float(v, f"{self.symbol!r}") for v in values]
        if len(operands) == 1:
            return -operands[0] if self.symbol == "-" else operands[0]
        return _ARITHMETIC[self.symbol](*operands)


def _objects(value: Any) -> Any:
    if isinstance(value, (pd.Series, pd.Categorical, np.ndarray)):
        return np.asarray(value, dtype=object)
    return value


def _float(value: Any, what: str) -> Any:
    # Constants too: 9**9 of floats is cheap whatever its exponent, of integers it is not.
    return float(value) if isinstance(value, (bool, int)) else numbers(value, what)


@dataclass(frozen=True)
class Application(Expression):
    """A call of a function from the table."""

    name: str
    transform: Transform
    arguments: tuple[Expression, ...]
    named: tuple[tuple[str, Expression], ...] = ()

    @override
    def render(self, name: Callable[[str], str]) -> str:
        parts = [a.render(name) for a in self.arguments]
        parts += [f"{key}={a.render(name)}" for key, a in self.named]
        return f"{self.name}({', '.join(parts)})"

    @override
    def walk(self) -> Iterator[str]:
        for argument in (*self.arguments, *(a for _, a in self.named)):
            yield from argument.walk()

    @override
    def value(self, frame: pd.DataFrame, state: State) -> Any:
        function = self.transform.function
        if self.transform.stateful:
            if self.text not in state:
                state[self.text] = function()
            function = state[self.text]
        values = [a.value(frame, state) for a in self.arguments]
        named = {key: a.value(frame, state) for key, a in self.named}
        if self.transform.numeric:
            values = [numbers(v, f"{self.name}()") for v in values]
            named = {key: numbers(v, f"{self.name}()") for key, v in named.items()}
        return function(*values, **named)


def evaluate_safely(expression: Expression, frame: pd.DataFrame, state: State) -> Any:
    """Evaluate, and turn whatever goes wrong into a `DataError` that names the expression.

    NumPy's warnings are silenced: the caller looks for NaN and infinity in the result, and can
    name the term.
    """
    try:
        with np.errstate(all="ignore"):
            return expression.value(frame, state)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{expression.label!r} in the formula could not be computed from the data: "
            f"{type(error).__name__}: {error}"
        ) from error
