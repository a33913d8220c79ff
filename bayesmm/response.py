"""The left-hand side: from the response's text and a frame to numbers a family can take.

Which shapes of response are right is a trait of the family (`ResponseKind`), so nothing here asks
which family it is. A new addition to the left-hand side is a function in `_ADDITIONS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from bayesmm.errors import DataError, FamilyError, listing, warn
from bayesmm.families import FAMILIES, Family
from bayesmm.formula import Response, addition_texts, columns_of_expression, evaluate
from bayesmm.schema import Frame

#: More categories than an ordinal or nominal response has; a number mistaken for one has more.
MAX_CATEGORIES = 100
#: What brms and survival write for the status of a row, and bayesmm's words for it.
_STATUS = {"-1": "left", "0": "none", "1": "right", "2": "interval"}
_STATUS |= {"False": "none", "True": "right"}
_STATUSES = ("none", "left", "right", "interval")


@dataclass(frozen=True)
class ResponseData:
    """The response as numbers, with what was added to it.

    Attributes
    ----------
    values : numpy.ndarray
        Shape (rows,), or (rows, columns) for ``c(y1, y2, ...)``; float64. Categories are their
        positions 0, 1, ...
    data : dict of str to numpy.ndarray
        What else is known of each row, shape (rows,): ``trials``; ``se``; the bounds of a
        truncation, ``lower`` and ``upper``; and of a censored response which rows are ``left``,
        ``right`` or ``interval`` censored (there only if some are), with ``interval_upper``.
    weights : numpy.ndarray or None
        Factors on the log-likelihood of each row.
    success : str or None
        The level that counts as 1, where the response is a category.
    categories : tuple of str
        The labels of the categories, or of the columns.
    by : str or None
        The column whose levels have thresholds of their own.
    adds_error : bool
        Whether the family's own error comes on top of the known one, ``se``.
    """

    values: np.ndarray
    data: dict[str, np.ndarray] = field(default_factory=dict)
    weights: np.ndarray | None = None
    success: str | None = None
    categories: tuple[str, ...] = ()
    by: str | None = None
    adds_error: bool = False

    @property
    def counted(self) -> np.ndarray:
        """The rows that carry weight, shape (rows,), bool."""
        if self.weights is None:
            return np.ones(len(self.values), dtype=bool)
        return self.weights > 0

    def with_data(self, **more: np.ndarray) -> "ResponseData":
        """Return the same with more known of each row."""
        return replace(self, data={**self.data, **more})


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
        For values outside the family's support or the bounds of a truncation, a constant
        continuous response, gaps in its categories, bad weights, trials, statuses or errors.
    FamilyError
        For an addition that the family has no use for, or one that it needs and lacks.
    """
    context = _Context(response, family, frame, functions or {})
    kind = family.response
    data = _read_values(context)
    for name, arguments in response.additions:
        if name in _ADDITIONS:
            data = _ADDITIONS[name](data, context, dict(arguments))
    if kind.trials and "trials" not in data.data:
        raise FamilyError(
            f"family={family.name!r} needs the trials of each row: write "
            f"prop({response.name}, n) on the left-hand side"
            + (", or family='bernoulli' for 0/1 data." if _is_binary(data.values) else ".")
        )
    data = _supported(data, context)
    _check_variation(data, context)
    return data


def read_known(
    response: Response,
    frame: Frame,
    family: Family,
    functions: Mapping[str, Callable] | None = None,
) -> dict[str, np.ndarray]:
    """Return what the distribution of new rows needs beside their predictors: trials, errors ...

    Only what does not depend on the response is read; weights and statuses are of the past.
    """
    context = _Context(response, family, frame, functions or {})
    data = ResponseData(np.zeros(len(frame.columns)))
    for name, arguments in response.additions:
        if name in ("prop", "se", "truncated"):
            data = _ADDITIONS[name](data, context, dict(arguments))
    trials = data.data.get("trials")
    if trials is not None and ((trials < 0) | (trials != np.floor(trials))).any():
        bad = (trials < 0) | (trials != np.floor(trials))
        raise DataError(
            f"The trials of new rows are whole numbers from 0 on, and not in {context.first(bad)}: "
            f"{trials[bad][0]:g}."
        )
    return data.data


def read_observed(
    response: Response,
    frame: Frame,
    family: Family,
    success: str | None,
    known: Sequence[str],
    functions: Mapping[str, Callable] | None = None,
) -> ResponseData:
    """Return the responses of new rows, in the categories that the model was fitted to.

    Parameters
    ----------
    response : Response
        The parsed left-hand side.
    frame : Frame
        New rows, with the columns of both sides.
    family : Family
        Bound to the categories of the training data.
    success : str or None
        The level that counts as 1, where the training response was a category.
    known : sequence of str
        The labels that a response of categories, or of success and failure, may have.
    functions : mapping of str to callable, optional
        What the user allowed in the formula.

    Raises
    ------
    DataError
        For a value outside the family's support, or a category that the model has not seen.
    """
    context = _Context(response, family, frame, functions or {})
    kind, name = family.response, response.name
    if kind.columns:
        data = _columns(context, dict(response.additions).get("c"))
    elif kind.categories or success is not None:
        found = pd.Series(context.evaluate(response.expression))
        labels = [f"{x:g}" if isinstance(x, float) else str(x) for x in found.tolist()]
        unseen = sorted(set(labels).difference(known))
        if unseen:
            raise DataError(
                f"The response {name!r} has {listing(unseen)}, which the model has not seen. Its "
                f"categories are {listing(known)}."
            )
        place = {label: i for i, label in enumerate(known)}
        codes = [place[label] if kind.categories else label == success for label in labels]
        data = ResponseData(np.asarray(codes, dtype=np.float64))
    else:
        values = np.asarray(context.evaluate(response.expression))
        data = ResponseData(_finite(values, name, context))
    for addition, arguments in response.additions:
        if addition in _ADDITIONS:
            data = _ADDITIONS[addition](data, context, dict(arguments))
    return _supported(data, context)


def _supported(data: ResponseData, context: "_Context") -> ResponseData:
    """Check values and bounds, and return the data with the trials that columns add up to."""
    kind, rows = context.family.response, context.rows
    trials = data.data.get("trials")
    censored = np.zeros(len(data.values), dtype=bool)
    for word in _STATUSES[1:]:
        censored |= data.data.get(word, False)
    # Of a censored row only a limit is known, which need not be a possible response itself.
    exact = np.flatnonzero(~censored)
    kind.validate(
        data.values[exact],
        context.response.name,
        context.family.name,
        None if trials is None else trials[exact],
        rows=[rows[i] for i in exact],
    )
    if kind.columns and kind.integer:
        data = data.with_data(trials=data.values.sum(axis=1))
    _check_bounds(data, context)
    return data


def known_columns(response: Response) -> tuple[str, ...]:
    """Return the columns that the distribution of new rows needs: those of `read_known`."""
    needed = ("prop", "se", "truncated", "thresholds")
    kept = tuple(addition for addition in response.additions if addition[0] in needed)
    return tuple(
        name
        for text in addition_texts(replace(response, additions=kept))
        for name in columns_of_expression(text)
    )


@dataclass(frozen=True)
class _Context:
    """What an addition is read with."""

    response: Response
    family: Family
    frame: Frame
    functions: Mapping[str, Callable]

    @property
    def rows(self) -> list:
        return self.frame.index.tolist()

    def evaluate(self, text: str) -> np.ndarray | pd.Categorical:
        return evaluate(text, self.frame.columns, self.functions)

    def numbers(self, text: str, what: str) -> np.ndarray:
        values = np.asarray(self.evaluate(text))
        if values.dtype.kind not in "iufb" or not np.isfinite(values.astype(np.float64)).all():
            raise DataError(f"{text!r} gives {what}, so it has to be finite numbers.")
        return np.ascontiguousarray(values, dtype=np.float64)

    def first(self, bad: np.ndarray) -> str:
        """Say how many rows are bad, and which is the first."""
        return f"{int(bad.sum())} rows (the first is row {self.rows[int(np.argmax(bad))]!r})"


# --- the response itself ---


def _read_values(context: _Context) -> ResponseData:
    response, kind = context.response, context.family.response
    further = dict(response.additions).get("c")
    if further is not None or kind.columns:
        return _columns(context, further)
    value = context.evaluate(response.expression)
    if kind.categories:
        return _categories(value, context)
    if isinstance(getattr(value, "dtype", None), pd.CategoricalDtype):
        return _of_category(pd.Categorical(value), context)
    values = np.asarray(value)
    if values.ndim != 1:
        raise DataError(
            f"The response {response.name!r} has {values.shape[1]} columns. It needs one."
        )
    if response.level is not None:
        _check_binary(context)
        labels = np.asarray([f"{x:g}" if isinstance(x, float) else str(x) for x in values.tolist()])
        return _dichotomy(labels, sorted(set(labels)), response.level, response.name)
    return ResponseData(_finite(values, response.name, context))


def _finite(values: np.ndarray, name: str, context: _Context) -> np.ndarray:
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"The response {name!r} is not numeric ({values.dtype}).") from error
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argmin(finite))
        raise DataError(
            f"The response {name!r} is {values[first]} in row {context.rows[first]!r} although "
            "the data are finite. Use a transform that is defined for every row."
        )
    return values


def _check_binary(context: _Context) -> None:
    response, family = context.response, context.family
    if not family.response.binary:
        raise FamilyError(
            f'{response.name}["{response.level}"] names a success, which family={family.name!r} '
            "has no use for. Write family='bernoulli', or the response alone."
        )


def _of_category(value: pd.Categorical, context: _Context) -> ResponseData:
    """Read a category as failure and success."""
    name, family = context.response.name, context.family
    levels = [str(level) for level in value.categories]
    labels = np.asarray(pd.Series(value).astype(str))
    if not family.response.binary:
        raise DataError(
            f"The response {name!r} is a category (levels {listing(levels)}), and "
            f"family={family.name!r} takes {family.response.description}. Use numbers, "
            "family='bernoulli' for two levels, 'cumulative' for ordered ones or 'categorical' for "
            "others."
        )
    success = context.response.level
    if success is None:
        if len(levels) != 2:
            raise DataError(
                f"The response {name!r} has {len(levels)} levels ({listing(levels)}); "
                f"family={family.name!r} takes two. Name the success: "
                f'{name}["{levels[-1]}"].'
            )
        success = levels[1]
    return _dichotomy(labels, levels, success, name)


def _dichotomy(labels: np.ndarray, levels: list[str], success: str, name: str) -> ResponseData:
    if success not in levels:
        raise DataError(
            f'{name}["{success}"]: {name!r} has no level {success!r}. Its levels are '
            f"{listing(levels)}."
        )
    return ResponseData((labels == success).astype(np.float64), success=success)


def _categories(value: np.ndarray | pd.Categorical, context: _Context) -> ResponseData:
    """Read a response of several categories as their positions."""
    response, family = context.response, context.family
    name = response.name
    if response.level is not None:
        _check_binary(context)
    if isinstance(getattr(value, "dtype", None), pd.CategoricalDtype):
        category = pd.Categorical(value)
        codes, labels = np.asarray(category.codes), [str(level) for level in category.categories]
        _check_order(category, context)
        empty = context.frame.unused.get(response.expression.strip("`"), ())
        if empty:
            warn(
                f"Nobody has the categories {listing(empty)} of the response {name!r}; the model "
                "leaves them out."
            )
    else:
        numbers = _finite(np.asarray(value), name, context)
        distinct, codes = np.unique(numbers, return_inverse=True)
        if (distinct != np.floor(distinct)).any():
            raise DataError(
                f"The response {name!r} has fractions (such as {distinct[distinct % 1 != 0][0]:g}),"
                f" and family={family.name!r} takes {family.response.description}: whole numbers, "
                "or a category of the data frame."
            )
        labels = [f"{level:.0f}" for level in distinct]
        gaps = [f"{level + 1:.0f}" for level in distinct[:-1][np.diff(distinct) > 1]]
        if family.response.categories == "ordered" and gaps and len(distinct) <= MAX_CATEGORIES:
            raise DataError(
                f"The response {name!r} has gaps in its categories: {listing(labels, 20)}, and "
                f"nobody has {listing(gaps, 5)}. If those do not exist, number the "
                "others 1, 2, 3, ...; if they do and nobody chose them, make it an ordered "
                "category of the data frame, and the model leaves them out."
            )
    if not 2 <= len(labels) <= MAX_CATEGORIES:
        raise DataError(
            f"The response {name!r} has {len(labels)} different values; family={family.name!r} "
            f"takes from 2 to {MAX_CATEGORIES} categories."
            + (" For a count use 'poisson' or 'negbinomial'." if len(labels) > 2 else "")
        )
    return ResponseData(codes.astype(np.float64), categories=tuple(labels))


def _check_order(category: pd.Categorical, context: _Context) -> None:
    """An ordinal response needs an order that somebody gave: the alphabet's is seldom it."""
    name, frame = context.response.name, context.frame
    column = context.response.expression.strip("`")
    if context.family.response.categories != "ordered" or column not in frame.unordered:
        return
    levels = [str(level) for level in category.categories]
    advice = (
        f"Say the order: data[{column!r}] = pd.Categorical(data[{column!r}], "
        "categories=[...], ordered=True), with the levels from lowest to highest."
    )
    if len(levels) < 3:
        return
    if frame.unordered[column] == "text":
        raise DataError(f"The response {name!r} is text, whose categories have no order. {advice}")
    warn(f"The response {name!r} is a category without order; taken is {listing(levels)}. {advice}")


def _columns(context: _Context, further) -> ResponseData:
    response, family = context.response, context.family
    if further is None:
        raise FamilyError(
            f"family={family.name!r} takes several columns, and {response.name!r} is one: write "
            "c(y1, y2, y3) on the left of the formula."
        )
    if not family.response.columns:
        raise FamilyError(
            f"{response.name} has several columns, and family={family.name!r} takes "
            f"{family.response.description}. Write family='multinomial' or 'dirichlet'."
        )
    texts = [response.expression, *(text for _, text in further)]
    columns = [_finite(np.asarray(context.evaluate(t)), t, context) for t in texts]
    labels = tuple(t.strip("`") for t in texts)
    if len(set(labels)) < len(labels):
        raise DataError(f"{response.name} names a column twice.")
    return ResponseData(np.stack(columns, axis=1), categories=labels)


# --- what may stand around it ---


def _prop(data: ResponseData, context: _Context, texts: Mapping[str, str]) -> ResponseData:
    if not context.family.response.trials:
        raise FamilyError(
            f"prop({context.response.name}, {texts['trials']}) counts successes of trials, which "
            f"family={context.family.name!r} does not take. Write family='binomial'."
        )
    return data.with_data(trials=context.numbers(texts["trials"], "the trials"))


def _weighted(data: ResponseData, context: _Context, texts: Mapping[str, str]) -> ResponseData:
    weights = context.numbers(texts["weights"], "the weights")
    if (weights < 0).any():
        first = int(np.argmax(weights < 0))
        raise DataError(
            f"weighted({context.response.name}, {texts['weights']}): {int((weights < 0).sum())} "
            f"rows have a negative weight (the first is {weights[first]:g}, row "
            f"{context.rows[first]!r}). Weights are 0 or more."
        )
    return replace(data, weights=weights)


def _se(data: ResponseData, context: _Context, texts: Mapping[str, str]) -> ResponseData:
    family, text = context.family, texts["se"]
    if family.known_error is None:
        able = [f.name for f in FAMILIES.values() if f.known_error]
        raise FamilyError(
            f"se({context.response.name}, {text}) gives the standard error of each row, which "
            f"family={family.name!r} has no place for. Those that do are {listing(able)}."
        )
    errors = context.numbers(text, "the standard errors")
    if (errors <= 0).any():
        raise DataError(
            f"se({context.response.name}, {text}): standard errors are above 0, and those of "
            f"{context.first(errors <= 0)} are not."
        )
    return replace(data.with_data(se=errors), adds_error=texts.get("sigma") == "True")


def _thresholds(data: ResponseData, context: _Context, texts: Mapping[str, str]) -> ResponseData:
    family, by = context.family, texts["by"]
    holder = family.intercept_holder
    if holder is None:
        raise FamilyError(
            f"thresholds({context.response.name}, {by}): family={family.name!r} has no thresholds; "
            "ordinal families such as 'cumulative' do."
        )
    name = by.strip("`")
    if name not in context.frame.columns:
        raise DataError(f"thresholds(): {by!r} has to be a column, whose levels have thresholds.")
    return replace(data, by=name)


def _needs_distribution_function(context: _Context, what: str) -> None:
    if context.family.log_cdf is None:
        able = [f.name for f in FAMILIES.values() if f.log_cdf]
        raise FamilyError(
            f"{what} needs the distribution function of the family, and family="
            f"{context.family.name!r} declares none. Those that do are {listing(able, 40)}."
        )


def _truncated(data: ResponseData, context: _Context, texts: Mapping[str, str]) -> ResponseData:
    _needs_distribution_function(context, f"truncated({context.response.name}, ...)")
    found = {}
    for bound in ("lower", "upper"):
        if bound in texts:
            found[bound] = context.numbers(texts[bound], f"the {bound} bounds")
    if len(found) == 2 and (found["lower"] > found["upper"]).any():
        bad = found["lower"] > found["upper"]
        raise DataError(
            f"truncated({context.response.name}, ...): the lower bound is above the upper one in "
            f"{context.first(bad)}."
        )
    return data.with_data(**found)


def _censored(data: ResponseData, context: _Context, texts: Mapping[str, str]) -> ResponseData:
    name = context.response.name
    _needs_distribution_function(context, f"censored({name}, {texts['status']})")
    column = context.evaluate(texts["status"])
    status = np.asarray([_status_word(value) for value in np.asarray(column).tolist()])
    unknown = ~np.isin(status, _STATUSES)
    if unknown.any():
        raise DataError(
            f"censored({name}, {texts['status']}): the status of a row is one of "
            f"{listing(_STATUSES)} (or 0 for none, 1 for right, -1 for left, 2 for "
            f"interval), and {str(status[unknown][0])!r} is in "
            f"{context.first(unknown)}."
        )
    masks = {word: status == word for word in _STATUSES[1:] if (status == word).any()}
    if "interval" not in masks:
        return data.with_data(**masks)
    if "upper" not in texts:
        raise DataError(
            f"censored({name}, {texts['status']}): {context.first(masks['interval'])} "
            "are interval censored. Give the upper ends: censored(t, status, t2)."
        )
    inside = masks["interval"]
    upper = np.asarray(context.evaluate(texts["upper"]))
    if upper.dtype.kind not in "iufb":
        raise DataError(f"{texts['upper']!r} gives the ends of intervals: it has to be numbers.")
    upper = np.where(inside, upper.astype(np.float64), data.values)
    bad = inside & ~(upper > data.values)
    if bad.any():
        raise DataError(
            f"censored({name}, ..., {texts['upper']}): an interval ends above where it starts, and "
            f"that of {context.first(bad)} does not."
        )
    return data.with_data(**masks, interval_upper=upper)


def _status_word(value) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return _STATUS.get(text, text.lower())


#: By the name of the addition; ``c`` is read with the response itself.
_ADDITIONS: Mapping[str, Callable[..., ResponseData]] = {
    "prop": _prop,
    "weighted": _weighted,
    "se": _se,
    "thresholds": _thresholds,
    "truncated": _truncated,
    "censored": _censored,
}


# --- checks of the whole ---


def _check_bounds(data: ResponseData, context: _Context) -> None:
    """Refuse responses outside the bounds of a truncation: they could not have been seen."""
    for bound, outside in (("lower", np.less), ("upper", np.greater)):
        if bound in data.data:
            bad = outside(data.values, data.data[bound])
            limit = "right" if bound == "upper" else "left"
            if limit in data.data and not context.family.response.integer:
                # Beyond the bound there is nothing that the row could have been.
                bad |= data.data[limit] & (data.values == data.data[bound])
            if bad.any():
                first = int(np.argmax(bad))
                raise DataError(
                    f"truncated({context.response.name}, ...): the response is "
                    f"{data.values[first]:g} and the {bound} bound {data.data[bound][first]:g} in "
                    f"{context.first(bad)}. Truncated data have no rows outside; if values beyond "
                    "a limit were recorded at the limit, write censored(y, status)."
                )


def _check_variation(data: ResponseData, context: _Context) -> None:
    name, family = context.response.name, context.family
    counted = data.values[data.counted]
    if counted.size == 0:
        raise DataError("Every row has weight 0, so there is nothing to fit.")
    constant = bool(np.all(counted == counted[0])) and not family.response.columns
    # Of censored rows only a bound is known: they may well be the same for all.
    censored = any(word in data.data for word in _STATUSES[1:])
    # With known errors, a constant response is as informative as any.
    if constant and not (family.response.integer or censored or "se" in data.data):
        raise DataError(
            f"The response {name!r} is constant ({counted[0]:g} in every row), so there "
            "is no variation to model."
        )
    if constant and (family.response.binary or not counted[0]) and "se" not in data.data:
        warn(
            f"The response {name!r} is {counted[0]:g} in every row: its coefficients are "
            "held by their priors alone."
        )
    if family.base is not None:
        trials = data.data["trials"][data.counted] if "trials" in data.data else None
        extra = (counted == 0) | family.base.response.check(counted, trials)
        if not extra.any():
            plainer = f"family={family.base.name!r}"
            if family.structural_zero is None and family.base.response.integer:
                # Behind a hurdle counts are without their zeros.
                plainer += f" with truncated({name}, 1)"
            warn(
                f"The response {name!r} has no zeros for family={family.name!r} to explain: the "
                f"plainer {plainer} is for such data."
            )


def _is_binary(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())
