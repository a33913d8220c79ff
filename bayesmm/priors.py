"""Priors as plain data: what they are, which parameter they belong to, and their defaults.

A `Prior` is the name of a distribution and its numbers, so that a model can be compared by value,
saved as text, and compiled once for priors that differ only in their numbers. `Slot` is one place
that needs a prior; `resolve` fills the slots from the user's mapping, the most specific key first.
`pack` groups the priors of a vector by distribution, and `sample_vector` is the NumPyro side of it.

Any NumPyro distribution with scalar parameters can be a prior as it stands; one that NumPyro lacks
is added in `distributions.py`.
"""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints, truncated

from bayesmm import distributions
from bayesmm.errors import PriorError, did_you_mean, listing

#: What a parameter may be, as the open interval of its values.
SUPPORTS: Mapping[str, tuple[float, float]] = {
    "real": (-math.inf, math.inf),
    "positive": (0.0, math.inf),
    "above_one": (1.0, math.inf),
    "unit": (0.0, 1.0),
    "correlation": (math.nan, math.nan),
}


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
        names = list(inspect.signature(_distribution_class(name).__init__).parameters)[1:]
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
        """Return the prior probability of (0, value), by the midpoint rule on 400 points."""
        points = (np.arange(400) + 0.5) / 400 * value
        with jax.enable_x64(True):
            density = np.exp(np.asarray(self.distribution().log_prob(points)))
        return float(density.mean() * value)

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
            _distribution_class(data["name"])
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
        return _distribution_class(self.name)(**args)


@dataclass(frozen=True)
class Slot:
    """One number of the model that needs a prior.

    Attributes
    ----------
    variable : str
        The variable in the posterior, such as ``"b"`` or ``"sd_Subject"``.
    coordinate : str or None
        Its label there; None for a scalar.
    support : str
        A key of `SUPPORTS`.
    keys : tuple of str
        The keys that address it, the most specific first.
    default : Prior
        The prior when no key is given.
    """

    variable: str
    coordinate: str | None
    support: str
    keys: tuple[str, ...]
    default: Prior

    @property
    def label(self) -> str:
        """The slot's own key."""
        return self.keys[0]


@dataclass(frozen=True)
class Assigned:
    """A slot with the prior in force, and the key that it came from (None: the default)."""

    slot: Slot
    prior: Prior
    key: str | None


@dataclass(frozen=True)
class Scale:
    """Location and scale of a response on its link scale, from which defaults are made.

    Attributes
    ----------
    location : float
        Median of link(y), or 0 where the link has no use for it.
    s : float
        Robust scale of link(y): 1.4826 mad (see `response_scale`).
    spread : float
        The standard deviation of y under the identity link, else 1.
    residual, sd : float
        Robust scale and standard deviation of y itself, in its own units: those of sigma.
    """

    location: float
    s: float
    spread: float
    residual: float
    sd: float


def student_t(df: float, loc: float, scale: float) -> Prior:
    """Return Student's t as a `Prior`."""
    return Prior("StudentT", (("df", float(df)), ("loc", float(loc)), ("scale", float(scale))))


def half_student_t(df: float, scale: float) -> Prior:
    """Return Student's t folded at 0 as a `Prior`."""
    return Prior("HalfStudentT", (("df", float(df)), ("scale", float(scale))))


def normal(loc: float, scale: float) -> Prior:
    """Return a normal as a `Prior`."""
    return Prior("Normal", (("loc", float(loc)), ("scale", float(scale))))


def normal_mad(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation: the sd, where values are normal."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def robust_scale(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation, or the sd where that is 0."""
    return normal_mad(values) or float(np.std(values, ddof=min(1, len(values) - 1)))


def as_prior(value: Any, key: str) -> tuple[Prior, tuple[int, ...]]:
    """Return a user's distribution as plain data, and its batch shape.

    The numbers of a vector prior stay arrays in the returned prior; `resolve` takes it apart.

    Raises
    ------
    PriorError
        For anything that is not a distribution with parameters that can be stored.
    """
    if isinstance(value, LKJ):
        return Prior("LKJ", (("eta", float(value.eta)),)), ()
    if isinstance(value, dist.LKJ | dist.LKJCholesky):
        if np.ndim(value.concentration):
            raise PriorError(
                f"priors[{key!r}] is an LKJ of shape {np.shape(value.concentration)}. Write "
                "bm.LKJ(eta) with one number."
            )
        return Prior("LKJ", (("eta", np.asarray(value.concentration).item()),)), ()
    if inspect.isclass(value) and issubclass(value, dist.Distribution):
        raise PriorError(
            f"priors[{key!r}] is the class {value.__name__}. Write an instance, with its numbers."
        )
    if not isinstance(value, dist.Distribution):
        raise PriorError(
            f"priors[{key!r}] is {value!r}. Write a NumPyro distribution, such as "
            "dist.Normal(0, 2.5), bm.HalfStudentT(3, 1), or bm.LKJ(2) for correlations."
        )
    if isinstance(value, dist.ExpandedDistribution | dist.Independent):
        inner, _ = as_prior(value.base_dist, key)
        return inner, tuple(value.batch_shape + value.event_shape)
    shape = tuple(value.batch_shape)
    prior = _plain_prior(value, key)
    if value.event_shape:
        raise PriorError(
            f"priors[{key!r}] is a joint distribution of {value.event_shape[0]} numbers "
            f"({type(value).__name__}). Give each coefficient its own prior."
        )
    return prior, shape


def resolve(slots: Sequence[Slot], given: Mapping[str, Any] | None) -> tuple[Assigned, ...]:
    """Fill the slots from the user's mapping; the most specific key wins.

    Parameters
    ----------
    slots : sequence of Slot
        Every number that needs a prior.
    given : mapping of str to NumPyro distribution, or None
        The user's priors.

    Returns
    -------
    tuple of Assigned
        One for each slot, in order.

    Raises
    ------
    PriorError
        For an unknown key, and for a prior of the wrong kind, support or shape.
    """
    if given is not None and not isinstance(given, Mapping):
        raise PriorError(
            f"priors is a {type(given).__name__}. Write a mapping from a key to a distribution, "
            'such as {"b": dist.Normal(0, 2.5)}.'
        )
    known = list(dict.fromkeys(key for slot in slots for key in slot.keys))
    fitting: dict[str, list[Prior]] = {}
    positions = {key: [i for i, s in enumerate(slots) if key in s.keys] for key in known}
    for key, value in (given or {}).items():
        if key not in known:
            raise PriorError(_unknown_key(key, known))
        prior, shape = as_prior(value, key)
        addressed = [slots[i] for i in positions[key]]
        for slot in addressed:
            _check_support(key, value, prior, slot)
        fitting[key] = _spread(key, prior, shape, len(addressed))
    assigned = []
    for i, slot in enumerate(slots):
        key = next((k for k in slot.keys if k in fitting), None)
        prior = slot.default if key is None else fitting[key][positions[key].index(i)]
        assigned.append(Assigned(slot, prior, key))
    return tuple(assigned)


@dataclass(frozen=True)
class Site:
    """One NumPyro site: the coordinates of a variable whose priors are of one structure."""

    name: str
    structure: PriorStructure
    positions: tuple[int, ...]


@dataclass(frozen=True)
class VectorPrior:
    """The sites of one variable; `size` is None for a scalar."""

    variable: str
    size: int | None
    sites: tuple[Site, ...]


def pack(variable: str, priors: Sequence[Prior], *, scalar: bool = False):
    """Group the priors of one variable by structure, so that each group is one site.

    Parameters
    ----------
    variable : str
        The name of the variable, and of its site where there is one.
    priors : sequence of Prior
        One for each coordinate.
    scalar : bool
        Whether the variable has no dimension.

    Returns
    -------
    structure : VectorPrior
        What decides the program.
    numbers : tuple of dict
        The parameters of each site as arrays, in order.
    """
    groups: dict[PriorStructure, list[int]] = {}
    for i, prior in enumerate(priors):
        groups.setdefault(prior.structure, []).append(i)
    sites, numbers = [], []
    for structure, positions in groups.items():
        name = variable if len(groups) == 1 else f"{variable}:{structure.name}:{positions[0]}"
        sites.append(Site(name, structure, tuple(positions)))
        chosen = [priors[i].numbers() for i in positions]
        numbers.append(chosen[0] if scalar else _stack(chosen))
    return VectorPrior(variable, None if scalar else len(priors), tuple(sites)), tuple(numbers)


def sample_vector(prior: VectorPrior, numbers: Sequence[Mapping[str, Any]]) -> jax.Array:
    """Sample a variable in a NumPyro model, shape () or (size,)."""
    if prior.size is None:
        site = prior.sites[0]
        return jnp.asarray(numpyro.sample(site.name, site.structure.distribution(numbers[0])))
    parts, order = [], []
    for site, values in zip(prior.sites, numbers, strict=True):
        # Arrays of distinct shape () and (k,) meet here; expand says how many there are.
        each = site.structure.distribution(values).expand((len(site.positions),)).to_event(1)
        parts.append(jnp.asarray(numpyro.sample(site.name, each)))
        order.extend(site.positions)
    if len(parts) == 1:
        return parts[0]
    return jnp.concatenate(parts)[np.argsort(order)]


def _stack(numbers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: _stack([n[name] for n in numbers])
        if name == "base"
        else np.asarray([n[name] for n in numbers], dtype=np.float64)
        for name in numbers[0]
    }


def _distribution_class(name: str) -> type[dist.Distribution]:
    for module in (distributions, dist, truncated):
        found = getattr(module, name, None)
        if inspect.isclass(found) and issubclass(found, dist.Distribution):
            return found
    raise PriorError(f"There is no distribution called {name!r}.")


def _plain_prior(value: dist.Distribution, key: str) -> Prior:
    name = type(value).__name__
    problem = (
        f"priors[{key!r}] is a {name}, whose parameters cannot be kept as plain numbers. Write a "
        "distribution of numpyro.distributions, such as dist.Normal, dist.Gamma or dist.StudentT."
    )
    try:
        if _distribution_class(name) is not type(value):
            raise PriorError(problem)
    except PriorError as error:
        raise PriorError(problem) from error
    if isinstance(value, dist.Delta):
        raise PriorError(
            f"priors[{key!r}] is a Delta, and a parameter that is fixed cannot be sampled. Leave "
            "the term out, or give a known coefficient as offset(2 * x)."
        )
    wants = inspect.signature(type(value).__init__).parameters
    names = [n for n in type(value).arg_constraints if n in wants]
    base = _plain_prior(value.base_dist, key) if "base_dist" in wants else None  # type: ignore[attr-defined]
    required = {n for n, p in wants.items() if p.default is p.empty and n != "self"}
    if not (names or base) or required - {*names, "base_dist"}:
        raise PriorError(problem)
    args = []
    for n in names:
        number = np.asarray(getattr(value, n), dtype=np.float64)
        args.append((n, number.item() if number.ndim == 0 else number))
        if not np.isfinite(number).all():
            raise PriorError(f"priors[{key!r}]: {name} has {n}={getattr(value, n)!r}. Use numbers.")
        # Out of a parameter's own constraint, a density is NaN long after the mistake was made.
        constraint = type(value).arg_constraints[n]
        if not constraints.is_dependent(constraint) and not np.all(constraint(number)):
            raise PriorError(
                f"priors[{key!r}]: {name} has {n}={number.tolist()}, which is not allowed there "
                f"({type(constraint).__name__.strip('_').lower()} is wanted)."
            )
    return Prior(name, tuple(args), base)


def _spread(key: str, prior: Prior, shape: tuple[int, ...], count: int) -> list[Prior]:
    """One prior for each addressed slot."""
    if shape in ((), (1,)):
        shape = ()
    elif shape != (count,):
        raise PriorError(
            f"priors[{key!r}] has shape {shape}, and the key addresses {count} "
            f"number{'s' * (count != 1)}. Give a scalar prior, or one of shape ({count},)."
        )
    return [_element(prior, i) for i in range(count)]


def _element(prior: Prior, i: int) -> Prior:
    args = tuple(
        (name, float(np.ravel(value)[i if np.size(value) > 1 else 0])) for name, value in prior.args
    )
    return Prior(prior.name, args, _element(prior.base, i) if prior.base else None)


def _check_support(key: str, value: Any, prior: Prior, slot: Slot) -> None:
    if (prior.name == "LKJ") != (slot.support == "correlation"):
        wanted = "bm.LKJ(eta)" if slot.support == "correlation" else f"a prior on {slot.support}"
        raise PriorError(
            f"priors[{key!r}] is {prior}, but {slot.label} needs {wanted}"
            + (" values, such as dist.Normal or bm.HalfStudentT." if wanted[0] == "a" else ".")
        )
    if prior.name == "LKJ":
        return
    support = value.support
    support = getattr(support, "base_constraint", support)
    if support.is_discrete:
        raise PriorError(f"priors[{key!r}] is discrete ({prior.name}); {slot.label} is not.")
    low = np.min(getattr(support, "lower_bound", -np.inf))
    high = np.max(getattr(support, "upper_bound", np.inf))
    allowed_low, allowed_high = SUPPORTS[slot.support]
    if low < allowed_low or high > allowed_high:
        wanted = {
            "positive": "positive, so use a prior on positive values: bm.HalfStudentT(3, 2.5), "
            "dist.HalfNormal(1), dist.Exponential(1), dist.Gamma(2, 0.1)",
            "above_one": "above 1, so use a prior on values above 1, such as "
            "dist.TruncatedNormal(10, 5, low=1)",
            "unit": "between 0 and 1, so use a prior on that interval, such as dist.Beta(1, 1)",
        }[slot.support]
        raise PriorError(
            f"priors[{key!r}] is {type(value).__name__}, which reaches from {low:g} to {high:g}; "
            f"{slot.label} is {wanted}."
        )


def _unknown_key(key: Any, known: Iterable[str]) -> str:
    known = list(known)
    hint = did_you_mean(key, known)
    if isinstance(key, str) and key.startswith("b") and key.endswith("[Intercept]"):
        name = key[: key.index("[")].replace("b", "Intercept", 1)
        if name in known:
            hint = f" The intercept's prior is on the centred predictors: write {name!r}."
    return (
        f"priors has the key {key!r}, which this model does not have.{hint} "
        f"The keys are {listing(known, 40)}."
    )
