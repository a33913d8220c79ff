"""From what the user typed to a model that can be run, with every check on the way.

`prepare` is the public boundary: what comes out of it is valid, and nothing has been compiled.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from bayesmm import families
from bayesmm.design import Design, DesignBuilder
from bayesmm.errors import FormulaError, listing
from bayesmm.families import Family
from bayesmm.formula import Formula, columns_of, parse, response_columns
from bayesmm.model import Inputs, Program
from bayesmm.model.program import Parameterization
from bayesmm.response import ResponseData
from bayesmm.schema import Frame, Missing, read_frame
from bayesmm.spec import ModelSpec, check_parameters, specify


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
        return Program(spec.response, spec.family, spec.layout, structures, parameterization)

    @cached_property
    def inputs(self) -> Inputs:
        """The numbers of the NumPyro model."""
        return Inputs(self.design, self.spec.pack()[1])

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
    check_parameters(parsed, chosen)
    used = columns_of_both_sides(parsed)
    frame = read_frame(
        data, parsed.variables, labels_only=set(parsed.variables) - used, missing=missing
    )
    # Links are JAX functions, and outside this scope they would round the priors to float32.
    with jax.enable_x64(True):
        builder = DesignBuilder(parsed, functions)
        design, response = builder.train(frame, chosen)
        spec = specify(
            parsed, builder.schema, chosen, builder.layout, design, priors, response.success
        )
    return Prepared(spec, frame, builder, design, response, dict(functions or {}))
