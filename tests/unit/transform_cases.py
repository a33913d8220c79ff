"""Models, coordinates and dense algebra that the tests of transforms share.

A transform of a program is tested at arbitrary coordinates, without a pilot fit: `transformed`
makes them of random numbers. What is expected comes from the plain program and from NumPy, with
the indicator matrix written out (`indicators`).
"""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd

import bayesmm as bm
from bayesmm.engines import use_compilation_cache
from bayesmm.model import (
    Coordinates,
    Marginal,
    TransformedInputs,
    collect,
    cross_products,
    find_factors,
    make_plan,
    starting_region,
)

EPS = np.finfo(float).eps
#: What runs once is compiled as fast as can be.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@contextmanager
def float64():
    """In float64, and with compiled programs kept that are too small for that otherwise."""
    use_compilation_cache()
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    try:
        with jax.enable_x64(True):
            yield
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", before)


def table(rows=36):
    """Numbers x, w; groups g and h, crossed; b within a; responses of several kinds."""
    rng = np.random.default_rng(11)

    def shuffled(levels):
        return rng.permutation(np.resize(np.array(levels), rows))

    x = rng.normal(2.0, 1.5, rows)
    data = pd.DataFrame(
        {
            "y": rng.normal(0.4, 1.3, rows),
            "x": x,
            "w": rng.normal(size=rows),
            "x10000": 1e4 + x,
            "f": shuffled(list("uvw")),
            "g": shuffled(list("pqrstm")),
            "h": shuffled(list("klmn")),
            "a": np.resize(list("AAAABBBBCCCC"), rows),
            "b": np.resize([1, 2, 1, 2, 1, 2, 3, 3, 2, 2, 2, 4], rows),
            "count": rng.poisson(3, rows) * rng.integers(0, 2, rows),
            "yes": shuffled([0, 1]),
            "grade": shuffled([1, 2, 3, 4]),
            "kind": shuffled(["one", "three", "two"]),
            "weight": rng.gamma(3, 0.4, rows) * (np.arange(rows) != 7),
            "s": rng.gamma(9, 0.1, rows),
        }
    )
    data["positive"] = np.exp(data["y"])
    return data


@dataclass(frozen=True)
class Case:
    """A program and its inputs, its transform and those inputs, and the quadratic of these."""

    program: Any
    plain: Any
    made: Any
    inputs: TransformedInputs
    quadratic: Any = None

    @property
    def design(self):
        return self.plain.design

    @property
    def factors(self):
        return self.inputs.plan.factors


def transformed(
    formula, data, family="gaussian", *, kind, seed, centre=None, diagonal=False, **arguments
):
    """A model in random coordinates: around `centre` (by site), else around 0.

    Parameters
    ----------
    kind : type
        `Marginal` or `Whitened`; of a whitened one the quadratic is random as well.
    """
    rng = np.random.default_rng(seed)
    model = bm.Model(formula, data, family, **arguments)
    program, plain = model._prepared.program(), model._prepared.inputs
    factors = find_factors(program.layout, plain.design)
    most = 0 if diagonal else 100
    plan = make_plan(factors, plain.design, most_columns=most, diagonal=diagonal)
    shapes, _ = jax.eval_shape(partial(starting_region, program.parameters), plain)
    sites = tuple((name, shapes[name].shape) for name in sorted(shapes))
    middle = [
        np.ravel((centre or {}).get(name, 0.0) + rng.normal(0.0, 0.3, shape))
        for name, shape in sites
    ]
    size = sum(part.size for part in middle)
    scale = np.tril(rng.normal(0.0, 0.2, (size, size)), -1) + np.diag(rng.uniform(0.3, 0.9, size))
    coordinates = Coordinates(np.concatenate(middle), scale)
    if kind is Marginal:
        quadratic = None
        information, sums = cross_products(program, plan, plain.design)
    else:
        quadratic = random_quadratic(program, plain, rng)
        information, sums = collect(plan, program.layout, plain.design, **quadratic), {}
    inputs = TransformedInputs(plain, plan, information, coordinates, sums)
    return Case(program, plain, kind(program, sites), inputs, quadratic)


def carrying(program):
    """The places of predictors that have groups."""
    return [k for k, names in enumerate(program.layout) if names.groups]


def population_shapes(program, inputs):
    """The shapes of the population-level parameters, by name and in order."""
    names = []

    def values(inputs):
        centre, _ = starting_region(program.parameters, inputs)
        found = program.population(program.evaluate(centre, inputs).quantities, inputs)
        names.extend(found)
        return list(found.values())

    shapes = jax.eval_shape(values, inputs)
    return {name: shape.shape for name, shape in zip(names, shapes, strict=True)}


def random_quadratic(program, inputs, rng):
    """Reference, W (positive definite), score and `other` as `Whitened.linearise` gives them."""
    own = carrying(program)
    m, rows = len(own), inputs.design.rows
    shapes = population_shapes(program, inputs)
    root = rng.normal(size=(m, m, rows))
    W = np.einsum("kin,min->kmn", root, root) + 0.1 * np.eye(m)[:, :, None]
    with_groups = {program.layout[k].variable("b") for k in own}
    return {
        "reference": {name: rng.normal(size=shape) for name, shape in shapes.items()},
        "W": W,
        "score": rng.normal(size=(m, rows)),
        "other": {
            name: rng.normal(size=(int(np.prod(shape)), m, rows))
            for name, shape in shapes.items()
            if name not in with_groups
        },
    }


def indicators(case):
    """Z of all factors, by predictor: shape (m, rows, effects of all levels).

    Columns are ordered by factor, effect, and level, as `Factorised` has them.
    """
    own, design = carrying(case.program), case.design
    parts = []
    for factor in case.factors:
        for member in factor.members:
            group = design.predictors[member.predictor].groups[member.group]
            level = group.index[:, None] == np.arange(factor.levels)
            for column in group.columns.T:
                part = np.zeros((len(own), design.rows, factor.levels))
                part[own.index(member.predictor)] = column[:, None] * level
                parts.append(part)
    return np.concatenate(parts, axis=2)


def covariance(case, quantities):
    """The covariance matrix of all effects, in the order of `indicators`."""
    parts = []
    for factor in case.factors:
        for member in factor.members:
            sd = np.asarray(quantities[member.names.variable("sd")])
            cor = quantities.get(member.names.variable("cor"), np.eye(len(sd)))
            parts.append((sd[:, None] * np.asarray(cor) * sd, factor.levels))
    size = sum(len(Sigma) * levels for Sigma, levels in parts)
    found, start = np.zeros((size, size)), 0
    for Sigma, levels in parts:
        stop = start + len(Sigma) * levels
        found[start:stop, start:stop] = np.kron(Sigma, np.eye(levels))
        start = stop
    return found


def by_factor(case, effects):
    """Effects by variable, (..., levels, effects), as flat arrays in the order of `indicators`."""
    parts = []
    for factor in case.factors:
        for member in factor.members:
            r = np.asarray(effects[member.names.variable("r")])
            parts.append(np.moveaxis(r, -1, -2).reshape(*r.shape[:-2], -1))
    return np.concatenate(parts, axis=-1)
