"""The functions that a formula may call: a closed table.

Formula text is data, so a name in it is looked up here and nowhere else. What is not in the table
cannot be called, whatever the text says. A caller adds functions of their own with
``functions={"f": f}``.

To add a function that works on numbers element by element, add its NumPy name to `_ONE` or `_TWO`.
To add any other, write it below and list it in `TRANSFORMS`; one that must remember the training
data is a class whose instances are called, and is marked ``stateful``. Keep parameters explicit:
the signature is what stops a formula from reaching, say, NumPy's ``out=``.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulae.categorical import Encoding, Sum, Treatment
from formulae.transforms import TRANSFORMS as FORMULAE

from bayesmm.errors import FormulaError, listing


@dataclass(frozen=True)
class Transform:
    """One callable of the table.

    Parameters
    ----------
    function : callable
        What is called; for a stateful one, the class whose instance is.
    signature : inspect.Signature or None
        The arguments it takes; None for a caller's function, which gets them as written.
    stateful : bool
        Whether an instance is made on the training data, and used again on new data.
    numeric : bool
        Whether columns reach it as float64 arrays (a factor is then refused); otherwise they
        arrive as they are.
    """

    function: Callable
    signature: inspect.Signature | None = None
    stateful: bool = False
    numeric: bool = True


@dataclass(frozen=True)
class Coded:
    """A column read as a factor, with the contrast that codes it."""

    values: Any
    contrast: Encoding


def _identity(x: Any) -> Any:
    return x


def _treatment(x: Any, ref: Any = None) -> Coded:
    return Coded(_bare(x), Treatment(ref))


def _sum(x: Any, omit: Any = None) -> Coded:
    return Coded(_bare(x), Sum(omit))


def _factor(x: Any, contrast: Any = None) -> Coded:
    if contrast is None:
        contrast = x.contrast if isinstance(x, Coded) else Treatment()
    return Coded(_bare(x), contrast)


def _bare(x: Any) -> Any:
    return x.values if isinstance(x, Coded) else x


def _round(x: Any, decimals: int = 0) -> Any:
    return np.round(x, max(-300, min(300, int(decimals))))


def _clip(x: Any, lower: Any, upper: Any) -> Any:
    return np.clip(x, lower, upper)


class _Binary:
    """1 where x is `success` (by default the first of its sorted values), 0 elsewhere.

    formulae's own picks the success anew for new data, which turns the predictor round when the
    new rows lack the first level.
    """

    def __init__(self) -> None:
        self.success: Any = None

    def __call__(self, x: Any, success: Any = None) -> np.ndarray:
        values = np.asarray(x, dtype=object)
        if self.success is None:
            levels = sorted(set(values.tolist()))
            self.success = levels[0] if success is None else success
            if self.success not in levels:
                raise ValueError(f"no row equals {self.success!r}; there are {listing(levels)}")
        return np.asarray(values == self.success, dtype=np.float64)


_ONE = (
    "abs cbrt ceil cos cosh arccos arccosh arcsin arcsinh arctan arctanh deg2rad exp exp2 expm1 "
    "floor isfinite isnan log log10 log1p log2 logical_not rad2deg reciprocal sign sin sinh sqrt "
    "square tan tanh trunc"
).split()
_TWO = (
    "arctan2 floor_divide fmax fmin hypot logical_and logical_or logical_xor maximum minimum power "
    "remainder"
).split()


def _numpy(name: str, *parameters: str) -> Transform:
    kind = inspect.Parameter.POSITIONAL_ONLY
    signature = inspect.Signature([inspect.Parameter(p, kind) for p in parameters])
    return Transform(getattr(np, name), signature)


def _own(function: Callable, *, stateful: bool = False, numeric: bool = False) -> Transform:
    return Transform(
        function, inspect.signature(_called(function, stateful)), stateful, numeric=numeric
    )


def _called(function: Callable, stateful: bool) -> Callable:
    # A bound method of a blank instance: its signature has no `self`.
    return function().__call__ if stateful else function


# These may also be written np.log(x), numpy.log(x).
ELEMENTWISE: Mapping[str, Transform] = {
    **{name: _numpy(name, "x") for name in _ONE},
    **{name: _numpy(name, "x", "y") for name in _TWO},
    "where": _numpy("where", "condition", "x", "y"),
    "clip": _own(_clip, numeric=True),
    "round": _own(_round, numeric=True),
}

TRANSFORMS: Mapping[str, Transform] = {
    **ELEMENTWISE,
    **{
        name: _own(FORMULAE[name], stateful=True, numeric=True)
        for name in ("center", "scale", "standardize", "poly", "bs", "cr", "cc", "tp")
    },
    "I": _own(_identity),
    "offset": _own(_identity),
    "C": _own(_factor),
    "T": _own(_treatment),
    "S": _own(_sum),
    "B": _own(_Binary, stateful=True),
    "binary": _own(_Binary, stateful=True),
}

CONTRASTS: Mapping[str, type[Encoding]] = {"Sum": Sum, "Treatment": Treatment}


@dataclass(frozen=True)
class Addition:
    """A function that stands around the response, left of ``~`` only.

    Parameters
    ----------
    name : str
        As in `Response.additions`.
    arguments : tuple of str
        The names of the arguments after the response, in order.
    required : int
        How many of them have to be there.
    usage : str
        What a user writes.
    flags : tuple of str
        The arguments that are True or False, and not columns.
    columns : bool
        Whether it takes any number of further columns instead of named arguments.
    """

    name: str
    arguments: tuple[str, ...]
    required: int
    usage: str
    flags: tuple[str, ...] = ()
    columns: bool = False


_PROP = Addition("prop", ("trials",), 1, "prop(y, n)")
#: By the names that formulas may use.
ADDITIONS: Mapping[str, Addition] = {
    "prop": _PROP,
    "proportion": _PROP,
    "p": _PROP,
    "weighted": Addition("weighted", ("weights",), 1, "weighted(y, w)"),
    "censored": Addition(
        "censored", ("status", "upper"), 1, "censored(t, status) or censored(t, status, t2)"
    ),
    "truncated": Addition(
        "truncated", ("lower", "upper"), 1, "truncated(y, lower, upper) or truncated(y, upper=10)"
    ),
    "se": Addition("se", ("se", "sigma"), 1, "se(y, s) or se(y, s, sigma=True)", ("sigma",)),
    "thresholds": Addition("thresholds", ("by",), 1, "thresholds(rating, item)"),
    "c": Addition("c", (), 1, "c(y1, y2, y3)", columns=True),
}
#: Around terms of the right-hand side: effects that differ between the thresholds of a response.
CATEGORY_SPECIFIC = "cs"

# Names that brms, mgcv or bambi give a meaning which bayesmm does not build, and what to do.
NOT_BUILT: Mapping[str, str] = {
    "gr": "write the grouping column itself: (1 | g)",
    "mm": "multi-membership groups cannot be written yet",
    "s": "for a fixed spline basis write bs(x, df=5), cr(x, df=5) or tp(x, df=5)",
    "t2": "for a fixed spline basis write bs(x, df=5) : bs(z, df=5)",
    "te": "for a fixed spline basis write bs(x, df=5) : bs(z, df=5)",
    "ti": "for a fixed spline basis write bs(x, df=5) : bs(z, df=5)",
    "gp": "for a smooth curve write bs(x, df=5) or tp(x, df=5)",
    "hsgp": "for a smooth curve write bs(x, df=5) or tp(x, df=5)",
    "mo": "write C(x), or poly(x, 2) of a numeric column",
    "me": "measurement error cannot be written yet",
    "mi": "missing values cannot be modelled yet",
}

# What R calls these.
HINTS: Mapping[str, str] = {
    "factor": "C(x)",
    "as.factor": "C(x)",
    "ns": "cr(x, df=4)",
    "rcs": "cr(x, df=4)",
    "ifelse": "where(x > 0, 1, 0)",
    "cbind": "prop(successes, successes + failures) for family='binomial', or c(y1, y2, y3) for "
    "'multinomial'",
    "trials": "prop(successes, trials), with family='binomial'",
    "cens": "censored(t, status) on the left of '~'",
    "trunc": "truncated(y, lower, upper) on the left of '~'",
    "Surv": "censored(t, status) on the left of '~'",
    "mvbind": "c(y1, y2, y3) on the left of '~', with family='multinomial' or 'dirichlet'",
    "pmin": "minimum(x, y)",
    "pmax": "maximum(x, y)",
}

_RESERVED = {
    *TRANSFORMS,
    *CONTRASTS,
    *ADDITIONS,
    *NOT_BUILT,
    CATEGORY_SPECIFIC,
    "np",
    "numpy",
}


def check_functions(functions: Mapping[str, Callable] | None) -> dict[str, Transform]:
    """Check what a caller passed as ``functions=`` and return it as transforms.

    Parameters
    ----------
    functions : mapping of str to callable, or None
        Names that the formula may call. A class with a true ``__stateful_transform__`` is made an
        instance of on the training data, as formulae does.
    """
    if functions is None:
        return {}
    if not isinstance(functions, Mapping):
        raise FormulaError(
            f"functions= takes a mapping such as {{'f': f}}, and got {type(functions).__name__}"
        )
    table = {}
    for name, function in functions.items():
        if not (isinstance(name, str) and name.isidentifier() and name[0].isalpha()):
            raise FormulaError(
                f"functions= has the name {name!r}: a name that a formula can call starts with a "
                "letter and holds letters, digits and underscores"
            )
        if name in _RESERVED:
            raise FormulaError(
                f"functions= redefines {name!r}, which already has a meaning in formulas: choose "
                f"another name, such as 'my_{name}'"
            )
        if not callable(function):
            raise FormulaError(
                f"functions= gives {function!r} for {name!r}, which cannot be called: pass the "
                "function itself"
            )
        stateful = bool(getattr(function, "__stateful_transform__", False))
        table[name] = Transform(function, stateful=stateful, numeric=False)
    return table


def numbers(value: Any, what: str) -> Any:
    """Return a column or array as float64; single values pass as they are.

    Whole numbers become floats so that a power cannot overflow silently, and truth values so that
    their sum counts (NumPy's is a logical or).
    """
    if isinstance(value, Coded):
        raise TypeError(f"{what} needs numbers, and got a factor")
    if not isinstance(value, (pd.Series, np.ndarray, pd.Categorical)):
        return value
    if isinstance(value, pd.Categorical) or not pd.api.types.is_numeric_dtype(value.dtype):
        raise TypeError(f"{what} needs numbers, and got categories or text ({value.dtype})")
    return pd.Series(value).to_numpy(np.float64, na_value=np.nan) if value.ndim == 1 else value
