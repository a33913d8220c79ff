"""Priors as plain data: the name of a distribution and its numbers.

So a model can be compared by value and saved as text, and one compiled program serves all priors
that differ only in their numbers. Any NumPyro distribution with scalar parameters can be a prior as
it stands; one that NumPyro lacks is added in `bayesmm.distributions`.
"""

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import truncated

from bayesmm import distributions
from bayesmm.errors import PriorError


@dataclass(frozen=True)
class LKJ:
    """The LKJ prior of a correlation matrix, of whatever size the block has.

    The density is proportional to det(R)^(eta - 1) (Lewandowski, Kurowicka and Joe 2009): eta = 1
    is uniform over correlation matrices, larger values favour weak correlations.

    Parameters
    ----------
    eta : float
        The concentration, positive.

    Raises
    ------
    PriorError
        If eta is not a positive number.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> priors = {"cor_Subject": bm.LKJ(2)}  # or "cor", for all groups
    >>> bm.Model("Reaction ~ Days + (Days | Subject)", data, priors=priors).priors.tail(2)
                                  prior                 source
    parameter
    cor_Subject                  LKJ(2)  priors['cor_Subject']
    sigma        HalfStudentT(3, 59.34)                default
    """

    eta: float = 1.0

    def __post_init__(self):
        if not isinstance(self.eta, int | float) or not 0 < self.eta < math.inf:
            raise PriorError(f"LKJ(eta={self.eta!r}): eta is a positive number, such as LKJ(2).")


@dataclass(frozen=True)
class Prior:
    """A prior distribution as plain data.

    Attributes
    ----------
    name : str
        The class in `numpyro.distributions` or `bayesmm.distributions`, or ``"LKJ"``.
    args : tuple of (str, float)
        Its parameters by name.
    base : Prior or None
        What is truncated or folded, for the distributions that have a base.
    """

    name: str
    args: tuple[tuple[str, float], ...]
    base: "Prior | None" = None

    def __str__(self) -> str:
        numbers = [f"{value:.4g}" for _, value in self.args]
        inner = [str(self.base)] if self.base else []
        return f"{self.name}({', '.join(inner + numbers)})"

    @classmethod
    def of(cls, name: str, args: Sequence[float]) -> "Prior":
        """Return the prior with these parameters, in the order of its distribution's."""
        names = list(inspect.signature(distribution_class(name).__init__).parameters)[1:]
        return cls(name, tuple((n, float(a)) for n, a in zip(names, args, strict=False)))

    @property
    def structure(self) -> "PriorStructure":
        """The prior without its numbers."""
        names = tuple(name for name, _ in self.args)
        return PriorStructure(self.name, names, self.base.structure if self.base else None)

    def numbers(self) -> dict[str, Any]:
        """Return the numbers alone, nested under ``"base"`` where there is one."""
        values: dict[str, Any] = dict(self.args)
        if self.base is not None:
            values["base"] = self.base.numbers()
        return values

    def distribution(self) -> dist.Distribution:
        """Return the NumPyro distribution (not for LKJ, which needs a dimension)."""
        return self.structure.distribution(self.numbers())

    def mass_below(self, value: float) -> float:
        """Return the prior probability of (0, value), by the trapezium rule.

        The grid is even in the logarithm, because some priors are singular at 0; it is finest
        where a prior that is not has its mass.
        """
        below = np.concatenate([np.linspace(-650.0, -40.0, 2000), np.linspace(-39.99, 0.0, 8000)])
        log_points = np.log(value) + below
        with jax.enable_x64(True):
            prior: Any = self.distribution()
            inside = np.asarray(prior.support(np.exp(log_points)), dtype=bool)
            points = np.where(inside, np.exp(log_points), value)
            with warnings.catch_warnings():
                # `value` itself may lie outside, where NumPyro warns of what is masked here.
                warnings.simplefilter("ignore")
                log_density = np.where(inside, np.asarray(prior.log_prob(points)), -np.inf)
        return float(np.trapezoid(np.exp(log_density + log_points), log_points))

    def as_data(self) -> dict[str, Any]:
        """Return what a file holds of it."""
        base = self.base.as_data() if self.base else None
        return {"name": self.name, "args": dict(self.args), "base": base}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Prior":
        """Return the prior that `as_data` described.

        Raises
        ------
        PriorError
            If there is no such distribution.
        """
        if data["name"] != "LKJ":
            distribution_class(data["name"])
        base = cls.from_data(data["base"]) if data["base"] else None
        return cls(data["name"], tuple(data["args"].items()), base)


@dataclass(frozen=True)
class PriorStructure:
    """A prior without its numbers: what decides the compiled program."""

    name: str
    arg_names: tuple[str, ...]
    base: "PriorStructure | None" = None

    def distribution(self, numbers: Mapping[str, Any]) -> dist.Distribution:
        """Return the distribution with these numbers, which may be arrays or tracers."""
        args = {name: numbers[name] for name in self.arg_names}
        if self.base is not None:
            args["base_dist"] = self.base.distribution(numbers["base"])
        return distribution_class(self.name)(**args)


def student_t(df: float, loc: float, scale: float) -> Prior:
    """Return Student's t as a `Prior`."""
    return Prior("StudentT", (("df", float(df)), ("loc", float(loc)), ("scale", float(scale))))


def half_student_t(df: float, scale: float) -> Prior:
    """Return Student's t folded at 0 as a `Prior`."""
    return Prior("HalfStudentT", (("df", float(df)), ("scale", float(scale))))


def normal(loc: float, scale: float) -> Prior:
    """Return a normal as a `Prior`."""
    return Prior("Normal", (("loc", float(loc)), ("scale", float(scale))))


def distribution_class(name: str) -> type[dist.Distribution]:
    """Return the distribution of that name: ours, or NumPyro's.

    Raises
    ------
    PriorError
        If there is none.
    """
    for module in (distributions, dist, truncated):
        found = getattr(module, name, None)
        if inspect.isclass(found) and issubclass(found, dist.Distribution):
            return found
    raise PriorError(f"There is no distribution called {name!r}.")
