"""What the contract tests of the families share: independent densities, rows to try, evaluation.

The densities in mpmath are in `densities/<kind>.py`, one function for each family. A new module
there is found by itself. Rows are chosen from traits of the family alone: its response, and for
each parameter its links, labels, fixed value and categories.

Every array has `ROWS` rows, and nothing is jitted: JAX compiles an operation outside jit once for
each shape, so all families share what one of them has compiled.
"""

import importlib
import pkgutil
import zlib
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import densities
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from test_links import INVERSES

from bayesmm.families import FAMILIES, Family, Values
from bayesmm.links import SUPPORTS

TRIALS = 12
CATEGORIES = ("a", "b", "c")
ROWS = 256

MODULES = [
    importlib.import_module(f"densities.{module.name}")
    for module in pkgutil.iter_modules(densities.__path__)
]


def _merged(name: str) -> dict[str, Any]:
    return {k: v for module in MODULES for k, v in getattr(module, name, {}).items()}


DENSITIES, LOG_CDF, LOG_SF = map(_merged, ("DENSITIES", "LOG_CDF", "LOG_SF"))
SCIPY = _merged("SCIPY")
# Values of the linear predictor for draws: light enough tails for a test of mean and variance.
TYPICAL = {"sigma": -1.0, "nu": 3.0, "shape": 1.2, "phi": 2.0, "disc": 0.0} | _merged("TYPICAL")
# Where the density in mpmath can be had, for families whose series gets too long further out.
TAILS = _merged("TAILS")

RESPONSES = {
    "real": [-1e3, -4.0, -0.5, 0.0, 0.01, 3.3, 70.0],
    "positive": [1e-8, 0.01, 0.8, 1.0, 5.5, 120.0, 1e5],
    "nonnegative": [0.0, 1e-8, 0.01, 0.8, 1.0, 5.5, 120.0, 1e4],
    "angle": [-3.1, -1.2, -0.01, 0.0, 0.4, 2.0, 3.14],
    "unit_open": [1e-9, 0.02, 0.3, 0.5, 0.81, 0.999],
    "unit_from_zero": [0.0, 1e-9, 0.02, 0.3, 0.5, 0.81, 0.999],
    "unit_closed": [0.0, 1e-9, 0.02, 0.3, 0.5, 0.81, 0.999, 1.0],
    "count": [0, 1, 2, 7, 50, 1200, 100_000],
    "binary": [0, 1],
    "successes": [0, 1, 5, TRIALS],
    "ordinal": [0, 1, 2],
    "nominal": [0, 1, 2],
    "counts": [[0, 0, 1], [1, 0, 0], [3, 0, 2], [0, 7, 5], [40, 3, 900], [0, 0, 0]],
    "shares": [[0.2, 0.5, 0.3], [1e-9, 0.4, 0.6 - 1e-9], [0.9, 0.05, 0.05], [0.01, 0.98, 0.01]],
}
_MODERATE = [-2.1, -0.6, 0.4, 1.7]
_TAILS = [-27.6, -9.0, 9.0, 27.6]  # a log link makes 1e-12 to 1e12 of them
_FAR = [-1e3, -300.0, -45.0, -3.0, 0.5, 20.0, 300.0, 1e3]
# Vectors without a link are on the scale of a linear predictor; these are their gaps if ordered.
_GAPS = [1e-3, 0.3, 1.0, 4.0]
_FAR_GAPS = [1e-12, 0.1, 30.0, 900.0]

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@dataclass(frozen=True)
class Rows:
    """Responses and parameters, one row each: `linear` and `natural` as `Values` takes them."""

    y: np.ndarray
    linear: dict[str, np.ndarray]
    natural: dict[str, np.ndarray] = field(default_factory=dict)

    def data(self, family: Family) -> dict[str, Any]:
        """What `Values` is given beside the parameters."""
        if family.response.trials:
            return {"trials": jnp.asarray(TRIALS)}
        if family.response.columns and family.response.integer:
            return {"trials": jnp.asarray(self.y.sum(axis=-1))}
        return {}

    def values(self, family: Family, linear=None, natural=None) -> Values:
        """The `Values` of these rows, with other arrays for the parameters if they are given."""
        linear, natural = linear or _arrays(self.linear), natural or _arrays(self.natural)
        return Values(family, linear=linear, natural=natural, data=self.data(family))

    def row(self, i: int):
        """Row i in Python's numbers: y, and the linear and natural values by name."""
        linear, natural = (
            {name: each[i].tolist() for name, each in values.items()}
            for values in (self.linear, self.natural)
        )
        return self.y[i].tolist(), linear, natural


def _arrays(values):
    return {name: jnp.asarray(each) for name, each in values.items()}


def bound(family: Family) -> Family:
    """The family as a model has it: with categories, if it has any."""
    has_categories = family.response.categories or family.response.columns
    return family.bound(CATEGORIES) if has_categories else family


def generator(family: Family, *more) -> np.random.Generator:
    """A random generator that depends on the family's name, and not on the order of tests."""
    return np.random.default_rng([zlib.crc32(family.name.encode()), *more])


def responses(family: Family, n: int, rng=None) -> np.ndarray:
    """Return n responses: all of `RESPONSES` again and again, in random order."""
    table = np.asarray(RESPONSES[family.response.name])
    order = np.arange(n) % len(table)
    return table[order if rng is None else rng.permuted(order)]


def _within(family: Family, name: str, eta: np.ndarray) -> np.ndarray:
    """Keep a linear predictor where the parameter has values: identity for a positive one."""
    parameter = family.parameter(name)
    outside = parameter.support != "real" and family.link(name).support == "real"
    return np.abs(eta) if outside and not family.response.categories else eta


def rows(family: Family, etas, rng, n: int, *, gaps=_GAPS) -> Rows:
    """Return n rows with every parameter's linear predictor chosen among `etas`."""
    linear, natural = {}, {}
    for parameter in family.parameters:
        labels = family.labels(parameter)
        shape = (n, len(labels)) if labels else (n,)
        chosen = rng.choice(etas, shape)
        if parameter.links:
            for name in family.predictors_of(parameter):
                linear[name] = _within(family, name, rng.permuted(chosen))
        elif labels:
            if parameter.ordered:
                steps = rng.choice(gaps, (n, len(labels) - 1))
                chosen = chosen[:, :1] + np.hstack([np.zeros((n, 1)), steps.cumsum(axis=1)])
            natural[parameter.name] = chosen
        else:
            low, high = np.clip(SUPPORTS[parameter.support], -3.0, 3.0)
            low = low + 0.07 * (high - low)
            options = [parameter.fixed, low, 0.3 * low + 0.7 * high]
            natural[parameter.name] = rng.choice(options, n)
    return Rows(responses(family, n, rng), linear, natural)


def star(family: Family, etas, rng, n: int, *, gaps=_FAR_GAPS) -> Rows:
    """Return n rows in which one parameter is chosen among `etas`, and the others are moderate."""
    base = rows(family, _MODERATE, rng, n)
    far = rows(family, etas, rng, n, gaps=gaps)
    names = [*base.linear, *base.natural]
    turn = rng.permuted(np.arange(n) % len(names))

    def mixed(which):
        mine, theirs = getattr(base, which), getattr(far, which)
        return {
            name: np.where(
                (turn == names.index(name)).reshape(-1, *[1] * (mine[name].ndim - 1)),
                theirs[name],
                mine[name],
            )
            for name in mine
        }

    return Rows(base.y, mixed("linear"), mixed("natural"))


def joined(*parts: Rows) -> Rows:
    """Return the rows of several, one after the other."""

    def together(which):
        names = getattr(parts[0], which)
        return {n: np.concatenate([getattr(part, which)[n] for part in parts]) for n in names}

    y = np.concatenate([part.y for part in parts])
    return Rows(y, together("linear"), together("natural"))


# What is in the rows of `evaluated`.
MODERATE_ROWS = range(40)
TAIL_ROWS = range(40, 64)
FAR_ROWS = range(64, ROWS)


@dataclass(frozen=True)
class Evaluated:
    """A function of the rows of a family: its values, and the gradient for each parameter."""

    rows: Rows
    values: np.ndarray
    slopes: dict[str, np.ndarray]


def evaluate(family: Family, table: Rows, function) -> Evaluated:
    """Evaluate `function(values, y)` and its gradient, row by row."""
    y = jnp.asarray(table.y)

    def total(parameters):
        linear, natural = parameters
        result = function(table.values(family, linear, natural), y)
        return result.sum(), result

    parameters = (_arrays(table.linear), _arrays(table.natural))
    (_, result), slopes = jax.value_and_grad(total, has_aux=True)(parameters)
    by_name = {n: np.asarray(s) for part in slopes for n, s in part.items()}
    return Evaluated(table, np.asarray(result), by_name)


def log_prob(values: Values, y, family: Family):
    """Return the log density."""
    return family.distribution(values).log_prob(y)


@cache
def evaluated(family: Family) -> Evaluated:
    """Evaluate the log density at moderate rows, in the tails and far out, in this order."""
    rng = generator(family)
    family = bound(family)
    table = joined(
        rows(family, _MODERATE, rng, len(MODERATE_ROWS)),
        rows(family, TAILS.get(family.name, _TAILS), rng, len(TAIL_ROWS)),
        star(family, _FAR, rng, len(FAR_ROWS)),
    )
    return evaluate(family, table, partial(log_prob, family=family))


# --- in mpmath ---


def _numbers(value):
    return [mp.mpf(x) for x in value] if isinstance(value, list) else mp.mpf(value)


def exact(functions, family: Family, y, linear, natural):
    """Return what one of the tables of mpmath functions has for one row."""
    function = functions[family.name]
    given = {name: _numbers(value) for name, value in natural.items()}
    for name, eta in linear.items():
        inverse, complement = INVERSES[family.link(name).name]
        if family.response.categories:  # the link is that of the categories, not of mu
            inverse, complement = (lambda e: e), None
            if family.parameter(name).support == "positive":
                inverse = mp.exp
        eta = _numbers(eta)
        given[name] = [inverse(e) for e in eta] if isinstance(eta, list) else inverse(eta)
        if complement is not None:
            given[f"one_minus_{name}"] = complement(eta)
    if family.response.categories:
        given["link"] = family.link("mu").name
    if family.response.trials:
        given["trials"] = mp.mpf(TRIALS)
    return mp.mpf(function(_numbers(y), **given))


def exact_slopes(functions, family: Family, y, linear, natural):
    """Yield the name, the index (() for a number) and the derivative for each parameter."""
    for group, values in (("linear", linear), ("natural", natural)):
        for name, value in values.items():
            for index in [(i,) for i in range(len(value))] if isinstance(value, list) else [()]:

                def along(t, group=group, name=name, value=value, index=index):
                    changed = (
                        [t if (i,) == index else v for i, v in enumerate(value)] if index else t
                    )
                    parts = {"linear": linear, "natural": natural}
                    parts[group] = {**parts[group], name: changed}
                    return exact(functions, family, y, **parts)

                at = value[index[0]] if index else value
                yield name, index, mp.diff(along, mp.mpf(at))
