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
from bayesmm.families import Family
from bayesmm.formula import parse
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
    frame = read_frame(data, parsed.variables, missing=missing)
    # Links are JAX functions, and outside this scope they would round the priors to float32.
    with jax.enable_x64(True):
        builder = DesignBuilder(parsed, functions)
        design, response = builder.train(frame, chosen)
        spec = specify(
            parsed, builder.schema, chosen, builder.layout, design, priors, response.success
        )
    return Prepared(spec, frame, builder, design, response, dict(functions or {}))
