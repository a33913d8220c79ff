"""A model whose response is yet to be made: the design of a formula and data, checked.

A model is prepared with a response, and here there is none. So a stand-in is put in its place:
values that the family's record says are possible (`ResponseKind.check`), of no further meaning.
What depends on them, the default priors, is not used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd

from bayesmm import families
from bayesmm.design import Design
from bayesmm.errors import DataError, FamilyError, FormulaError, listing
from bayesmm.families import Family
from bayesmm.formula import Formula, Response, parse, response_columns
from bayesmm.formula.text import quote
from bayesmm.prepare import Prepared, prepare
from bayesmm.response import read_known, read_response
from bayesmm.schema import as_pandas, read_frame
from bayesmm.simulation.parameters import categories_of
from bayesmm.simulation.responses import Responses, Target, categories_in, labels_of, target_of
from bayesmm.spec import ModelSpec

#: What the response is called where the formula has none.
UNNAMED = Response("y", "y")
#: Numbers among which some are possible responses of most kinds.
_ANY = np.concatenate(
    [[0.0], np.linspace(0.25, 0.75, 61), np.arange(1.0, 13.0), 10.0 ** np.arange(2, 10)]
)
NUMBERS = np.concatenate([_ANY, -_ANY[1:]])


@dataclass(frozen=True)
class Blueprint:
    """Everything that responses are drawn from, but for the parameters.

    Attributes
    ----------
    formula : Formula
        With a response.
    prepared : Prepared
        The model, with a stand-in for the response.
    design : Design
        Without a response.
    data : pandas.DataFrame
        The user's, in pandas; without the columns of the response where they were not there.
    responses : Responses
        Writes responses into the data.
    """

    formula: Formula
    prepared: Prepared
    design: Design
    data: pd.DataFrame
    responses: Responses

    @property
    def spec(self) -> ModelSpec:
        """What the model is, its response a plain column."""
        return self.prepared.spec

    @property
    def trials(self) -> np.ndarray | None:
        """The trials of each row, where the family has them."""
        return self.design.data.get("trials")

    @cached_property
    def empty(self) -> pd.DataFrame:
        """The data with a place for every column of the response, in the data's order."""
        frame = self.data.copy()
        for name in self.responses.target.columns:
            if name not in frame.columns:
                frame[name] = np.nan
        return frame

    def filled(self, y: np.ndarray) -> pd.DataFrame:
        """Return a copy of the data with responses."""
        return self.responses.into(self.empty.copy(), y)


def blueprint(
    formula: str | Sequence[str],
    data: Any,
    params: Mapping[str, Any],
    *,
    family: str | Family = "gaussian",
    link: str | Mapping[str, str] | None = None,
    functions: Mapping[str, Callable] | None = None,
) -> Blueprint:
    """Check a formula, data and family, and return the model without its response.

    Parameters
    ----------
    formula, data, family, link, functions
        As for `simulate`.
    params : mapping
        As for `simulate`; only what it says of the categories of the response is read.

    Raises
    ------
    BayesmmError
        Of the subclass that fits what is wrong.
    """
    parsed = parse(formula, functions, response_required=False)
    if parsed.response is None:
        if UNNAMED.name in parsed.variables:
            raise FormulaError(
                f"The formula has no response, which is called {UNNAMED.name!r} then, and "
                f"{UNNAMED.name!r} is on its right. Write a response of another name."
            )
        parsed = replace(parsed, response=UNNAMED)
    response = cast(Response, parsed.response)
    chosen = families.get(family, link)
    _check_drawable(response)
    target = target_of(response, functions)
    frame = as_pandas(data)
    _check_complete(frame, [name for name in parsed.variables if name not in target.columns])
    chosen = _with_categories(chosen, target, frame, params)
    stand_in, text = _stood_in(parsed, target, chosen, frame, functions)
    prepared = prepare(text, stand_in, family=chosen, functions=functions, missing="error")
    _check_weights(prepared)
    design = prepared.design
    bound = prepared.spec.family
    more = read_known(response, read_frame(stand_in, parsed.variables), bound, functions)
    data_of_rows = design.data | more
    if bound.response.columns and bound.response.integer:
        data_of_rows = data_of_rows | {"trials": _totals(frame, target, bound)}
    return Blueprint(
        parsed,
        prepared,
        replace(design, y=None, weights=None, data=data_of_rows),
        frame,
        Responses(
            target,
            bound,
            labels_of(response, target, bound, frame),
            _inside(bound, len(target.columns)),
        ),
    )


def fitted_blueprint(prepared: Prepared) -> Blueprint:
    """Return the blueprint of a model that was fitted: new responses for its rows.

    Raises
    ------
    FormulaError, DataError
        For a response that a simulated one cannot take the place of.
    """
    response, family = prepared.response_text, prepared.spec.family
    _check_drawable(response)
    _check_weights(prepared)
    target = target_of(response, prepared.functions)
    data = prepared.frame.columns.set_axis(pd.Index(prepared.frame.index), axis=0)
    success = prepared.spec.success
    # What was read of a category without a named success, such as its second level, is named.
    named = response if success is None else replace(response, level=success)
    return Blueprint(
        prepared.spec.formula,
        prepared,
        replace(prepared.design, y=None, weights=None),
        data,
        Responses(
            target,
            family,
            labels_of(named, target, family, data),
            _inside(family, len(target.columns)),
        ),
    )


def _check_drawable(response: Response) -> None:
    """Refuse what has no response to simulate."""
    if "censored" in dict(response.additions):
        raise DataError(
            f"The response {response.name!r} is censored. Where a simulated one would have been "
            "censored is not part of the model. Leave censored() out, and censor the simulated "
            "responses as the study would."
        )


def _check_weights(prepared: Prepared) -> None:
    weights = prepared.response.weights
    # A row of weight 0 is not looked at, and one of weight 1 is a row.
    if weights is not None and not np.isin(weights, (0.0, 1.0)).all():
        raise DataError(
            "The rows are weighted. A weight multiplies the log-likelihood, and there is no "
            "response to simulate of which that would be the density. Leave weighted() out."
        )


def _check_complete(data: pd.DataFrame, used: Sequence[str]) -> None:
    """Refuse missing values: there is no response to simulate from them."""
    for name in used:
        missing = data[name].isna().to_numpy() if name in data.columns else np.zeros(1, dtype=bool)
        if missing.any():
            raise DataError(
                f"data: {missing.sum()} of {len(data)} rows have a missing value in {name!r} (the "
                f"first is row {data.index[int(np.argmax(missing))]!r}), and no response can be "
                "simulated for them. Fill or drop them first."
            )


def _with_categories(
    family: Family, target: Target, data: pd.DataFrame, params: Mapping[str, Any]
) -> Family:
    """Bind a family of categories to those of the data's response, or of the parameters."""
    kind = family.response
    if not kind.categories:
        return family
    name = target.columns[0]
    found: tuple[str, ...] = ()
    column = pd.Series(data[name]).dropna() if name in data.columns else pd.Series()
    if len(column):
        found = categories_in(column)
        text = not isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.kind not in "iufb"
        if kind.categories == "ordered" and text and len(found) > 2:
            raise DataError(
                f"The response {name!r} is text, whose categories have no order. Say the order: "
                f"data[{name!r}] = pd.Categorical(data[{name!r}], categories=[...], ordered=True), "
                "with the levels from lowest to highest."
            )
    found = found or family.categories or categories_of(params, family)
    if len(found) < 2:
        raise FamilyError(
            f"family={family.name!r} needs to know the categories of the response, and neither "
            f"data (which has no column {name!r} with values) nor params say them. Give all "
            f"thresholds or coefficients in params, or data a column {name!r} with the categories, "
            "which is replaced."
        )
    return family.bound(found)


def _stood_in(
    parsed: Formula,
    target: Target,
    family: Family,
    data: pd.DataFrame,
    functions: Mapping[str, Callable] | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return data with possible responses, and the formula with the plain column on its left."""
    kind, rows = family.response, len(data)
    if rows < 2:
        raise DataError(f"data has {rows} rows. Responses are simulated for two rows or more.")
    first, response = target.columns[0], cast(Response, parsed.response)
    # A truncated response is a response all the same, and bounds would be asked of the stand-in.
    additions = tuple(a for a in response.additions if a[0] != "truncated")
    plain = Response(quote(first), first, None, additions)
    text = list(replace(parsed, response=plain).texts)
    if kind.columns:
        count = len(target.columns)
        values = np.full((rows, count), 1.0 if kind.integer else 1.0 / count)
        if kind.integer:
            values[::2, 0] = 2.0
        if kind.check(values).any():
            raise _unknown_kind(family)
        return data.assign(**dict(zip(target.columns, values.T, strict=True))), text
    if kind.categories:
        if rows < len(family.categories):
            raise DataError(
                f"data has {rows} rows, fewer than the response has categories "
                f"({listing(family.categories)})."
            )
        codes = np.resize(np.arange(len(family.categories)), rows)
        labels = pd.Categorical.from_codes(codes, list(family.categories), ordered=True)
        return data.assign(**{first: labels}), text
    if kind.trials:
        trials = _trials(plain, data, family, functions)
        values = np.where(np.arange(rows) % 2, 0.0, trials)
    else:
        values = np.resize(_possible(family), rows)
    return data.assign(**{first: values}), text


def _trials(
    response: Response,
    data: pd.DataFrame,
    family: Family,
    functions: Mapping[str, Callable] | None,
) -> np.ndarray:
    """The trials of each row; 1 where the formula has none, which is refused later."""
    only = replace(response, additions=tuple(a for a in response.additions if a[0] == "prop"))
    zeros = data.assign(**{response.name: 0.0})
    frame = read_frame(zeros, response_columns(only))
    return read_known(only, frame, family, functions).get("trials", np.ones(len(data)))


def _possible(family: Family) -> np.ndarray:
    """Return numbers that a response can be, 0 first where it is one."""
    kind = family.response
    numbers = NUMBERS[NUMBERS == np.floor(NUMBERS)] if kind.integer else NUMBERS
    found = numbers[~kind.check(numbers)]
    if len(found) < 2:
        raise _unknown_kind(family)
    return found


def _unknown_kind(family: Family) -> FamilyError:
    return FamilyError(
        f"family={family.name!r} takes {family.response.description}, and none of the numbers that "
        "are tried are. Simulation needs a kind of response that allows some numbers of ordinary "
        "size."
    )


def _inside(family: Family, columns: int) -> float:
    """A number within what is possible, away from the limits."""
    kind = family.response
    if kind.columns:
        return 1.0 / columns
    if kind.categories or kind.trials:
        return 0.0
    return float(_possible(family)[1])


def _totals(data: pd.DataFrame, target: Target, family: Family) -> np.ndarray:
    """How many each row has in all columns of a response together: that of the data's columns."""
    lacking = [name for name in target.columns if name not in data.columns]
    if lacking:
        raise DataError(
            f"family={family.name!r} needs the total of each row, which the columns of the "
            f"response add up to, and data has no column {listing(lacking)}. Give data these "
            f"columns with the right sum, such as data.assign({target.columns[0]}=n, "
            f"{target.columns[1]}=0, ...); they are replaced."
        )
    response = Response(
        quote(target.columns[0]),
        target.columns[0],
        None,
        (("c", tuple(("column", quote(name)) for name in target.columns[1:])),),
    )
    frame = read_frame(data, target.columns, missing="error")
    return read_response(response, frame, family).data["trials"]
