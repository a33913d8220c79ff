"""The continuous response that a response is thought to be made of, and its variance.

A binary response is 1 where a continuous one, with a distribution of the link's kind around the
linear predictor, is above 0, and an ordered category says between which thresholds it lies. To let
another family have one, say here how it is told from the family's traits.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from bayesmm.errors import BayesmmError
from bayesmm.families import BINARY, SUCCESSES, Family
from bayesmm.layout import PredictorLayout
from bayesmm.spec import ModelSpec


def latent_family(spec: ModelSpec) -> Family:
    """Return the family with the mean and variance of the latent response.

    Raises
    ------
    BayesmmError
        Where none is known.
    """
    found = _latent(spec.family, spec.layout)
    if found is None:
        raise BayesmmError(
            f"scale='latent': of family {spec.family.name!r} with the link "
            f"{spec.family.link('mu').name!r} no latent response is known. Use scale='response'. "
            "It is for normal residuals under an identity link, and for binary responses, "
            "successes of trials and cumulative categories with the link logit, probit or cloglog "
            "and no further parameter."
        )
    return found


def is_threshold(family: Family) -> bool:
    """Whether a response says between which thresholds a latent one lies."""
    holder = family.intercept_holder
    if holder is not None:
        return holder.ordered
    return family.response in (BINARY, SUCCESSES) and len(family.parameters) == 1


@dataclass(frozen=True)
class _Constant:
    """A variance that is the same number whatever the parameters."""

    number: float

    def __call__(self, values):
        return self.number


@dataclass(frozen=True)
class _Square:
    """The square of a parameter."""

    name: str

    def __call__(self, values):
        return getattr(values, self.name) ** 2


def _linear(values):
    return values.linear("mu")


@lru_cache(maxsize=64)
def _latent(family: Family, layout: tuple[PredictorLayout, ...]) -> Family | None:
    link = family.link("mu")
    if family.normal_sd is not None:
        square = _Square(family.normal_sd)
        return replace(family, mean=_linear, variance=square) if link.is_identity else None
    # A parameter beside mu would change the latent distribution's scale, or is not of it.
    changed = family.fixed != family.plain.fixed or len(layout) > 1
    if link.latent_variance is None or changed or not is_threshold(family):
        return None
    return replace(family, mean=_linear, variance=_Constant(link.latent_variance))
