"""Calling a user's function for every simulated data set, in Python or compiled with it.

What goes wrong in such a function is said with the number of the data set, and what it returns is
checked: numbers by name, the same names each time.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from bayesmm.errors import BayesmmError, listing

#: The name of a number that comes without one.
UNNAMED = "statistic"


def check_callable(argument: str, function: Any, example: str) -> None:
    """Refuse what cannot be called.

    Parameters
    ----------
    argument : str
        What the caller calls it.
    function : object
        What arrived.
    example : str
        What to write instead.

    Raises
    ------
    BayesmmError
        It names the argument.
    """
    if not callable(function):
        raise BayesmmError(
            f"{argument}={function!r}: write a function of a data frame, such as {example}."
        )


def called(argument: str, function: Callable, data: Any, where: str) -> Any:
    """Call a user's function.

    Raises
    ------
    BayesmmError
        For whatever it raises; it says on which data set.
    """
    try:
        return function(data)
    except Exception as error:
        raise BayesmmError(f"{argument} raised {type(error).__name__} {where}: {error}") from error


def numbers_of(argument: str, found: Any, where: str) -> dict[str, float]:
    """Return what a statistic returned as numbers by name.

    Raises
    ------
    BayesmmError
        For anything but a number, or a mapping or Series of numbers.
    """
    if isinstance(found, pd.Series):
        found = found.to_dict()
    given = found if isinstance(found, Mapping) else {UNNAMED: found}
    numbers = {}
    for name, value in given.items():
        array = np.asarray(value)
        if array.ndim or array.dtype.kind not in "iufb":
            part = f"[{name!r}]" if given is found else ""
            raise BayesmmError(
                f"{argument}{part} is {_short(value)} {where}: return a number, or a dict or "
                "Series of numbers."
            )
        numbers[str(name)] = float(array)
    if not numbers:
        raise BayesmmError(f"{argument} returned nothing {where}: return at least one number.")
    return numbers


def same_names(argument: str, names: Any, found: Mapping[str, float], where: str) -> None:
    """Refuse numbers of other names than those of the first data set."""
    if list(names) != list(found):
        raise BayesmmError(
            f"{argument} returned {listing(found)} {where}, and {listing(names)} before. Return "
            "the same numbers for every data set."
        )


class Traced:
    """A user's JAX function, which is checked while it is traced.

    Parameters
    ----------
    argument : str
        What the caller calls it.
    function : callable
        A function of a mapping from columns to arrays.

    Attributes
    ----------
    names : list of str
        Of the numbers that it returns, in its order (JAX sorts mappings); known once it is traced.
    """

    def __init__(self, argument: str, function: Callable):
        self._argument, self._function = argument, function
        self.names: list[str] = []

    def __call__(self, columns: Mapping[str, Any]) -> list[Any]:
        """Return the numbers of one data set.

        Raises
        ------
        BayesmmError
            For whatever the function raises, and values that are no numbers.
        """
        argument = self._argument
        try:
            found = self._function(dict(columns))
        except Exception as error:
            raise BayesmmError(
                f"{argument} raised {type(error).__name__} while JAX compiled it: {error}. With "
                "vectorized=True it is a function of a mapping from columns to arrays, made of "
                "jax.numpy; without, it is any function of a data frame."
            ) from error
        given = found if isinstance(found, Mapping) else {UNNAMED: found}
        for name, value in given.items():
            part = f"[{name!r}]" if given is found else ""
            if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float | bool):
                raise BayesmmError(f"{argument}{part} is {_short(value)}: return a number.")
            if jnp.ndim(value):
                raise BayesmmError(
                    f"{argument}{part} has the shape {jnp.shape(value)}: return one number for a "
                    "data set, or a dict of such."
                )
        if not given:
            raise BayesmmError(f"{argument} returned nothing: return at least one number.")
        self.names = [str(name) for name in given]
        return [jnp.asarray(value) for value in given.values()]


def _short(value: Any) -> str:
    text = repr(value)
    return f"a {type(value).__name__} ({text[:60]}{'...' if len(text) > 60 else ''})"
