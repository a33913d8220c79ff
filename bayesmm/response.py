"""The left-hand side: from the response's text and a frame to numbers a family can take.

Which shapes of response are right is a trait of the family (`ResponseKind`), so nothing here asks
which family it is. A new addition to the left-hand side is a function in `_ADDITIONS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayesmm.errors import DataError, FamilyError, listing, warn
from bayesmm.families import Family
from bayesmm.formula import Response, evaluate
from bayesmm.schema import Frame


@dataclass(frozen=True)
class ResponseData:
    """The response as numbers, with what was added to it.

    Attributes
    ----------
    values : numpy.ndarray
        Shape (rows,), float64.
    trials : numpy.ndarray or None
        Trials of each row, for families that count successes.
    weights : numpy.ndarray or None
        Factors on the log-likelihood of each row.
    success : str or None
        The level that counts as 1, where the response is a category.
    """

    values: np.ndarray
    trials: np.ndarray | None = None
    weights: np.ndarray | None = None
    success: str | None = None

    @property
    def counted(self) -> np.ndarray:
        """The rows that carry weight, shape (rows,), bool."""
        if self.weights is None:
            return np.ones(len(self.values), dtype=bool)
        return self.weights > 0


def read_response(
    response: Response,
    frame: Frame,
    family: Family,
    functions: Mapping[str, Callable] | None = None,
) -> ResponseData:
    """Evaluate and check the left-hand side.

    Parameters
    ----------
    response : Response
        The parsed left-hand side.
    frame : Frame
        The training data.
    family : Family
        Whose kind of response it has to be.
    functions : mapping of str to callable, optional
        What the user allowed in the formula.

    Returns
    -------
    ResponseData

    Raises
    ------
    DataError
        For values outside the family's support, a constant continuous response, bad weights.
    FamilyError
        For an addition that the family has no use for, or one that it needs and lacks.
    """
    functions = functions or {}
    kind = family.response
    value = evaluate(response.expression, frame.columns, functions)
    data = _as_numbers(value, response, family)
    _check_finite(data.values, response.name, frame.index)
    for name, arguments in response.additions:
        read = _ADDITIONS[name]
        columns = [evaluate(text, frame.columns, functions) for text in arguments]
        data = read(data, response, family, arguments, columns, frame.index)
    if kind.trials and data.trials is None:
        raise FamilyError(
            f"family={family.name!r} needs the trials of each row: write "
            f"prop({response.name}, n) on the left-hand side"
            + (", or family='bernoulli' for 0/1 data." if _is_binary(data.values) else ".")
        )
    kind.validate(data.values, response.name, family.name, data.trials, rows=frame.index.tolist())
    counted = data.values[data.counted]
    if counted.size == 0:
        raise DataError("Every row has weight 0, so there is nothing to fit.")
    constant = bool(np.all(counted == counted[0]))
    if constant and not kind.integer:
        raise DataError(
            f"The response {response.name!r} is constant ({counted[0]:g} in every row), so there "
            "is no variation to model."
        )
    if constant and kind.binary:
        warn(
            f"The response {response.name!r} is {counted[0]:g} in every row: its coefficients are "
            "held by their priors alone."
        )
    return data


def _as_numbers(
    value: np.ndarray | pd.Categorical, response: Response, family: Family
) -> ResponseData:
    name = response.name
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, pd.CategoricalDtype):
        levels = [str(level) for level in dtype.categories]
        labels = np.asarray(pd.Series(value).astype(str))
        if not family.response.binary:
            raise DataError(
                f"The response {name!r} is a category (levels {listing(levels)}), and "
                f"family={family.name!r} takes {family.response.description}. Use numbers, or "
                "family='bernoulli' for two levels."
            )
        success = response.level
        if success is None:
            if len(levels) != 2:
                raise DataError(
                    f"The response {name!r} has {len(levels)} levels ({listing(levels)}); "
                    f"family={family.name!r} takes two. Name the success: "
                    f'{name}["{levels[-1]}"].'
                )
            success = levels[1]
        return _dichotomy(labels, levels, success, name)
    values = np.asarray(value)
    if values.ndim != 1:
        raise DataError(f"The response {name!r} has {values.shape[1]} columns. It needs one.")
    if response.level is not None:
        if not family.response.binary:
            raise FamilyError(
                f'{name}["{response.level}"] names a success, which family={family.name!r} has no '
                "use for. Write family='bernoulli', or the response alone."
            )
        labels = np.asarray([f"{x:g}" if isinstance(x, float) else str(x) for x in values.tolist()])
        return _dichotomy(labels, sorted(set(labels)), response.level, name)
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"The response {name!r} is not numeric ({values.dtype}).") from error
    return ResponseData(values)


def _check_finite(values: np.ndarray, name: str, rows: np.ndarray) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argmin(finite))
        raise DataError(
            f"The response {name!r} is {values[first]} in row {rows.tolist()[first]!r} although "
            "the data are finite. Use a transform that is defined for every row."
        )


def _dichotomy(labels: np.ndarray, levels: list[str], success: str, name: str) -> ResponseData:
    if success not in levels:
        raise DataError(
            f'{name}["{success}"]: {name!r} has no level {success!r}. Its levels are '
            f"{listing(levels)}."
        )
    return ResponseData((labels == success).astype(np.float64), success=success)


def _prop(data, response, family, texts, columns, rows) -> ResponseData:
    if not family.response.trials:
        raise FamilyError(
            f"prop({response.name}, {texts[0]}) counts successes of trials, which "
            f"family={family.name!r} does not take. Write family='binomial'."
        )
    trials = np.broadcast_to(np.asarray(columns[0]), data.values.shape)
    return replace(data, trials=_numbers(trials, texts[0], "the trials"))


def _weighted(data, response, family, texts, columns, rows) -> ResponseData:
    weights = _numbers(
        np.broadcast_to(np.asarray(columns[0]), data.values.shape), texts[0], "the weights"
    )
    if (weights < 0).any():
        first = int(np.argmax(weights < 0))
        raise DataError(
            f"weighted({response.name}, {texts[0]}): {int((weights < 0).sum())} rows have a "
            f"negative weight (the first is {weights[first]:g}, row {rows.tolist()[first]!r}). "
            "Weights are 0 or more."
        )
    return replace(data, weights=weights)


def _numbers(values: np.ndarray, text: str, what: str) -> np.ndarray:
    if values.dtype.kind not in "iufb" or not np.isfinite(values.astype(np.float64)).all():
        raise DataError(f"{text!r} gives {what}, so it has to be finite numbers.")
    return np.ascontiguousarray(values, dtype=np.float64)


def _is_binary(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


_ADDITIONS = {"prop": _prop, "weighted": _weighted}
