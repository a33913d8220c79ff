"""The derivative of an expression by one of its columns, row by row: what slopes are made of.

Forward mode over the tree: every node gives its value and its derivative. Arithmetic and the
elementwise functions of the table are differentiated by JAX, as the functions of the same names
there. What only NumPy can evaluate (splines, polynomials, a caller's own functions) gets a
difference quotient of fourth order along the derivative of its argument, which is exact for
polynomials up to the fourth degree, so for splines between their knots. Its step is a thousandth of
the argument's standard deviation in the training data, which `learn_spreads` remembers: the slope
of a row does not depend on the rows beside it. Comparisons and rounding are steps, whose derivative
is 0 but at the step.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayesmm.errors import DataError
from bayesmm.formula.expression import (
    Application,
    Column,
    Expression,
    Operation,
    Parenthesis,
    State,
    evaluate_safely,
)
from bayesmm.formula.functions import ELEMENTWISE, Coded, numbers

#: The step of the difference quotient, in standard deviations of the argument, and its weights.
STEP, STENCIL = 1e-3, {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
_SMOOTH: Mapping[str, Callable] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}
_PASSED_ON, _STEPS = ("I", "offset"), ("round",)
_SPREAD = "spread of "  # before the text of a call, in the state: no expression reads like it


def learn_spreads(expression: Expression, frame: pd.DataFrame, state: State) -> None:
    """Remember how much the arguments of functions vary that only NumPy can evaluate."""
    match expression:
        case Parenthesis(inner):
            learn_spreads(inner, frame, state)
        case Operation(_, operands):
            for operand in operands:
                learn_spreads(operand, frame, state)
        case Application(name, transform, arguments, named):
            parts = {**dict(enumerate(arguments)), **dict(named)}
            for part in parts.values():
                learn_spreads(part, frame, state)
            if name in (*_PASSED_ON, *_STEPS) or transform is ELEMENTWISE.get(name):
                return
            values = {key: evaluate_safely(part, frame, state) for key, part in parts.items()}
            state[_SPREAD + expression.text] = {
                key: _spread(values[key]) for key, part in parts.items() if part.columns
            }


def _spread(value: Any) -> float:
    dtype = getattr(value, "dtype", None)
    if dtype is None or not pd.api.types.is_numeric_dtype(dtype):
        return 1.0
    return float(np.std(np.asarray(value, dtype=np.float64))) or 1.0


def derivative(
    expression: Expression, frame: pd.DataFrame, state: State, column: str
) -> np.ndarray | None:
    """Return the derivative of an expression by a column, or None where it does not use it.

    Parameters
    ----------
    expression : Expression
        What is differentiated; its stateful transforms have learnt.
    frame : pandas.DataFrame
        The rows.
    state : dict
        What they have learnt.
    column : str
        The column of numbers.

    Returns
    -------
    numpy.ndarray or None
        Shape (rows,), or (rows, columns) where the expression gives several.

    Raises
    ------
    DataError
        If the expression reads the column as a factor, or has no finite derivative somewhere.
    """
    import jax  # which reading formulas does not need, and takes seconds

    if column not in expression.columns:
        return None
    with np.errstate(all="ignore"), jax.enable_x64(True):
        slope = _Forward(frame, state, column).slope(expression)
    if slope is None:
        return None
    slope = np.broadcast_to(slope, (len(frame), *np.shape(slope)[1:]))
    if not np.isfinite(slope).all():
        raise DataError(
            f"{expression.label!r} has no finite derivative by {column!r} in "
            f"{int((~np.isfinite(slope)).sum())} rows: leave them out."
        )
    return slope


class _Forward:
    def __init__(self, frame: pd.DataFrame, state: State, column: str):
        self.frame, self.state, self.column = frame, state, column

    def value(self, expression: Expression) -> Any:
        found = evaluate_safely(expression, self.frame, self.state)
        if isinstance(found, Coded):
            raise DataError(
                f"{expression.label!r} reads {self.column!r} as a factor, which has no slope: "
                "bm.comparisons() compares its levels."
            )
        return found if isinstance(found, (str, type(None))) else numbers(found, expression.label)

    def slope(self, node: Expression) -> Any:
        """The derivative of a node, None where it is 0 everywhere."""
        if self.column not in node.columns:
            return None
        match node:
            case Column():
                return np.ones(len(self.frame))
            case Parenthesis(inner):
                return self.slope(inner)
            case Operation(symbol, operands):
                if len(operands) == 1:
                    inner = self.slope(operands[0])
                    return -inner if symbol == "-" and inner is not None else inner
                # A comparison is a step.
                return self._pushed(_SMOOTH[symbol], operands) if symbol in _SMOOTH else None
            case Application(name, transform, arguments, named):
                if name in _PASSED_ON:
                    return self.slope(arguments[0])
                if name in _STEPS:
                    return None
                if transform is ELEMENTWISE.get(name) and not named:
                    return self._pushed(name, arguments)
                return self._quotient(node)
        raise TypeError(f"no derivative is written for {type(node).__name__}")

    def _pushed(self, function: Callable | str, nodes: tuple[Expression, ...]) -> Any:
        """The derivative of a function that JAX can evaluate, or has one of that name."""
        import jax
        import jax.numpy as jnp

        apply: Callable = getattr(jnp, function) if isinstance(function, str) else function
        slopes = [self.slope(node) for node in nodes]
        if all(slope is None for slope in slopes):
            return None
        values = [np.asarray(self.value(node), dtype=np.float64) for node in nodes]
        moving = [k for k, slope in enumerate(slopes) if slope is not None]
        shape = np.broadcast_shapes(*(v.shape for v in values))

        def along(*moved):
            # Constants stay outside: the derivative by the exponent of x**2 is NaN where x <= 0.
            return apply(*[moved[moving.index(k)] if k in moving else v for k, v in fixed])

        fixed = [(k, jnp.asarray(value)) for k, value in enumerate(values)]
        primals = tuple(jnp.broadcast_to(values[k], shape) for k in moving)
        tangents = tuple(jnp.broadcast_to(jnp.asarray(slopes[k]), shape) for k in moving)
        slope = jax.jvp(along, primals, tangents)[1]
        return None if slope.dtype == jax.dtypes.float0 else np.asarray(slope)  # of truth values

    def _quotient(self, node: Application) -> Any:
        """The difference quotient of a function along the derivatives of its arguments."""
        function = self.state.get(node.text, node.transform.function)
        parts = {**dict(enumerate(node.arguments)), **dict(node.named)}
        values = {key: evaluate_safely(a, self.frame, self.state) for key, a in parts.items()}
        if any(
            isinstance(values[key], Coded) and self.column in a.columns for key, a in parts.items()
        ):
            self.value(node)  # says that a factor has no slope
        slopes = {key: self.slope(argument) for key, argument in parts.items()}
        slopes = {key: slope for key, slope in slopes.items() if slope is not None}
        if not slopes:
            return None
        spreads = self.state[_SPREAD + node.text]
        starts = {key: np.asarray(numbers(values[key], node.label)) for key in slopes}
        reach: Any = _largest([np.abs(slope) / spreads[key] for key, slope in slopes.items()])
        step = STEP / np.where(reach > 0.0, reach, 1.0)
        total: Any = 0.0
        for times, weight in STENCIL.items():
            moved = {key: starts[key] + times * step * slope for key, slope in slopes.items()}
            for key, value in moved.items():
                # A caller's function gets what it gets elsewhere.
                if isinstance(values[key], pd.Series) and not node.transform.numeric:
                    moved[key] = pd.Series(value, index=values[key].index)
            given = values | moved
            result = function(
                *[given[k] for k in range(len(node.arguments))],
                **{key: given[key] for key, _ in node.named},
            )
            if isinstance(result, Coded):
                self.value(node)
            total = total + weight * np.asarray(result, dtype=np.float64)
        return total / step.reshape(-1, *[1] * (np.ndim(total) - 1))


def _largest(arrays: list[np.ndarray]) -> np.ndarray:
    """The largest of several arrays, element by element."""
    return np.max(np.broadcast_arrays(*arrays), axis=0)
