"""Which prior belongs to which number of the model.

`Slot` is one number that needs a prior; `resolve` fills the slots from the user's mapping, the most
specific key first, and refuses what does not fit. `as_prior` is the one place that reads a NumPyro
distribution.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from bayesmm.errors import PriorError, did_you_mean, listing
from bayesmm.links import SUPPORTS
from bayesmm.priors.records import LKJ, Prior, distribution_class


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
        A key of `bayesmm.links.SUPPORTS`, or ``"correlation"``.
    keys : tuple of str
        The keys that address it, the most specific first.
    default : Prior
        The prior when no key is given.
    dimensions : tuple of int
        Sizes of the correlation matrices that it is a prior of; empty for numbers.
    shape : tuple of int or None
        The shape of the variable; None for one with a slot for each element.
    ordered : bool
        Whether the variable increases along its last axis.
    """

    variable: str
    coordinate: str | None
    support: str
    keys: tuple[str, ...]
    default: Prior
    dimensions: tuple[int, ...] = ()
    shape: tuple[int, ...] | None = None
    ordered: bool = False

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


def _plain_prior(value: dist.Distribution, key: str) -> Prior:
    name = type(value).__name__
    problem = (
        f"priors[{key!r}] is a {name}, whose parameters cannot be kept as plain numbers. Write a "
        "distribution of numpyro.distributions, such as dist.Normal, dist.Gamma or dist.StudentT."
    )
    try:
        if distribution_class(name) is not type(value):
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
    if base is not None and base.name == "StudentT" and "Truncated" in name:
        # NumPyro draws truncated distributions by their quantile function, which t does not have.
        raise PriorError(
            f"priors[{key!r}] is a truncated Student-t, which cannot be simulated from. Write "
            "bm.HalfStudentT(df, scale), or truncate a dist.Normal or dist.Cauchy."
        )
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
        dimension = getattr(value, "dimension", None)
        if dimension is not None and {dimension} != set(slot.dimensions):
            raise PriorError(
                f"priors[{key!r}] is of {dimension} x {dimension} matrices, and {slot.label} has "
                f"{' and '.join(f'{d} x {d}' for d in slot.dimensions)}. Write bm.LKJ(eta), which "
                "fits any size."
            )
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
            "one_two": "between 1 and 2, so use a prior on that interval, such as "
            "dist.Uniform(1, 2)",
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
    if key == "Intercept" and "cutpoints" in known:
        hint = " The cutpoints are the intercepts: write 'cutpoints'."
    return (
        f"priors has the key {key!r}, which this model does not have.{hint} "
        f"The keys are {listing(known, 40)}."
    )
