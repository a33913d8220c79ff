"""From what the user typed to a model that can be run, with every check on the way.

`prepare` is the public boundary: what comes out of it is valid, and nothing has been compiled.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import jax
import numpy as np
import pandas as pd

from bayesmm import families
from bayesmm.design import Design, DesignBuilder
from bayesmm.errors import DataError, FormulaError, NewLevelsError, listing
from bayesmm.families import Family
from bayesmm.formula import (
    Formula,
    Response,
    columns_of,
    evaluate,
    optional_columns,
    parse,
    predictor_columns,
    response_columns,
)
from bayesmm.layout import check_parameters
from bayesmm.model import Inputs, Program
from bayesmm.model.program import Parameterization
from bayesmm.response import ResponseData, known_columns
from bayesmm.schema import Frame, Missing, as_labels, column_names, read_frame
from bayesmm.spec import ModelSpec, specify

#: How many numbers a distribution function holds for a row: it is a sum or an integral.
DISTRIBUTION_FUNCTION_WIDTH = 100


@dataclass(frozen=True)
class Prepared:
    """A checked model with its data.

    Attributes
    ----------
    spec : ModelSpec
        What the model is.
    frame : Frame
        The used columns of the complete rows.
    builder : DesignBuilder
        Builds the design of other rows.
    design : Design
        The arrays of the training data.
    response : ResponseData
        The left-hand side as numbers.
    functions : mapping of str to callable
        What the user allowed in the formula.
    """

    spec: ModelSpec
    frame: Frame
    builder: DesignBuilder
    design: Design
    response: ResponseData
    functions: Mapping[str, Callable]

    def program(self, parameterization: Parameterization = "noncentered") -> Program:
        """Return the structure of the NumPyro model."""
        structures, _ = self.spec.pack()
        spec = self.spec
        return Program(
            spec.response, spec.family, spec.layout, structures, spec.numbers, parameterization
        )

    @property
    def response_text(self) -> Response:
        """The left-hand side of the formula."""
        return cast(Response, self.spec.formula.response)  # one without was refused

    @property
    def numbers_per_draw(self) -> int:
        """How many numbers the density of all rows holds for one draw, within a factor of a few."""
        family, response = self.spec.family, self.response
        width = family.width * max(1, len(family.categories))
        if response.data.keys() & {"lower", "upper", "left", "right", "interval"}:
            width *= DISTRIBUTION_FUNCTION_WIDTH
        return width * len(response.values)

    @cached_property
    def inputs(self) -> Inputs:
        """The numbers of the NumPyro model."""
        return Inputs(self.design, self.spec.pack()[1])

    def responses_of(self, newdata: Any) -> np.ndarray | None:
        """Return the responses of new rows, or None where they have no such column."""
        own = response_columns(replace(self.response_text, additions=()))
        if not set(own) <= set(column_names(newdata)):
            return None
        frame = read_frame(newdata, own, missing="error", called="newdata")
        return np.asarray(evaluate(self.response_text.expression, frame.columns, self.functions))

    def rows_of(
        self,
        newdata: Any,
        *,
        groups: Collection[str] | None = None,
        without_labels: Collection[str] = (),
        also: Sequence[str] = (),
        unlabelled: bool = False,
        called: str = "newdata",
    ) -> tuple[Design, Frame]:
        """Return the design of new rows and their frame; unseen levels have index -1.

        Parameters
        ----------
        newdata : dataframe
            With the columns of the predictors, and those of trials, bounds and known errors.
        groups : collection of str, optional
            The groups whose effects count, see `DesignBuilder.build`; all of them if left out.
        without_labels : collection of str
            Groups among them whose grouping columns are not read.
        also : sequence of str
            Further columns to read.
        unlabelled : bool
            Whether a grouping column may have missing values.
        called : str
            The argument that the rows came in.

        Raises
        ------
        DataError
            For a missing column or value, a column of another kind than the model was fitted to,
            or a level of a predictor that the model has not seen.
        """
        formula, response = self.spec.formula, self.response_text
        predictors = [
            replace(p, groups=tuple(g for g in p.groups if groups is None or g.name in groups))
            for p in formula.predictors
        ]
        names = [name for p in predictors for name in predictor_columns(p, without_labels)]
        names = list(dict.fromkeys([*names, *known_columns(response), *also]))
        labels = set(names) - columns_of_both_sides(formula)
        frame = read_frame(
            newdata,
            names,
            labels_only=labels,
            optional=labels - set(known_columns(response)) if unlabelled else (),
            missing="error",
            called=called,
        )
        read = [
            g.name
            for g in self.spec.schema.groupings
            if g.name not in without_labels
            and (g.factors == (self.spec.by,) or groups is None or g.name in groups)
        ]
        self._check_labels(frame, read, called)
        with jax.enable_x64(True):
            design = self.builder.build(frame, groups, without_labels)
        unseen = design.data.get("by", np.zeros(0)) < 0
        if unseen.any():
            found = pd.Series(frame.columns[self.spec.by])[unseen].astype(str)
            raise NewLevelsError(
                f"newdata has {listing(sorted(set(found)))} in {self.spec.by!r}, whose levels have "
                "thresholds of their own, and the model has not seen those. Leave the rows out."
            )
        return design, frame

    def _check_labels(self, frame: Frame, groups: Collection[str], called: str) -> None:
        """Refuse labels of another kind than the model has, of the groups that are read."""
        kinds = {
            name: grouping.cells[0][position]
            for grouping in self.spec.schema.groupings
            for position, name in enumerate(grouping.factors)
            if grouping.name in groups
        }
        for name, known in kinds.items():
            column = pd.Series(frame.columns[name])
            number = column.dtype.kind in "iuf"
            if number and isinstance(known, str) and self.spec.schema.column(name).kind == "number":
                continue  # fractions
            labels = as_labels(column).categories.tolist()
            if labels and isinstance(labels[0], str) != isinstance(known, str):
                arrived = "numbers" if number else "text"
                arrived = "fractions" if number and isinstance(labels[0], str) else arrived
                expected = "text" if isinstance(known, str) else "whole numbers"
                raise DataError(
                    f"{called} has {arrived} in the column {name!r} ({labels[0]!r}), and the model "
                    f"was fitted to {expected} ({known!r}). Make it the same kind."
                )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the used columns, by which a result knows its data."""
        digest = hashlib.sha256()
        for name, column in self.frame.columns.items():
            digest.update(str(name).encode())
            values = column.to_numpy()
            if values.dtype == object:
                digest.update("\x1f".join(map(str, values)).encode())
            else:
                digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


def columns_of_both_sides(formula: Formula) -> set[str]:
    """Return the columns that are used for their values, not as grouping factors alone.

    Raises
    ------
    FormulaError
        If the response stands among its own predictors.
    """
    predictors: set[str] = set()
    for predictor in formula.predictors:
        for text in (predictor.common, *(group.effects for group in predictor.groups)):
            predictors.update(columns_of(text))
    response = formula.response
    if response is None:
        return predictors
    own = predictors.intersection(columns_of(response.expression))
    if own:
        raise FormulaError(
            f"The response {response.name!r} stands on both sides of the formula ({listing(own)}): "
            "it would explain itself. Leave it out on the right."
        )
    return predictors.union(response_columns(response))


def prepare(
    formula: str | Sequence[str],
    data: Any,
    *,
    family: str | Family = "gaussian",
    priors: Mapping[str, Any] | None = None,
    link: str | Mapping[str, str] | None = None,
    functions: Mapping[str, Callable] | None = None,
    missing: Missing = "drop",
) -> Prepared:
    """Check a model and build its arrays; see `bayesmm.Model` for the parameters.

    Raises
    ------
    BayesmmError
        Of the subclass that fits what is wrong.
    """
    parsed = parse(formula, functions)
    chosen = families.get(family, link)
    check_parameters(parsed, chosen, categories=False)
    used = columns_of_both_sides(parsed)
    frame = read_frame(
        data,
        parsed.variables,
        labels_only=set(parsed.variables) - used,
        optional=optional_columns(parsed.response) if parsed.response else (),
        missing=missing,
    )
    # Links are JAX functions, and outside this scope they would round the priors to float32.
    with jax.enable_x64(True):
        builder = DesignBuilder(parsed, functions)
        design, response = builder.train(frame, chosen)
        spec = specify(
            parsed, builder.schema, builder.family, builder.layout, design, response, priors
        )
    return Prepared(spec, frame, builder, design, response, dict(functions or {}))
