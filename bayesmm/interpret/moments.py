"""The mean and the variance of a response over the distribution of its clusters, row by row.

For a posterior draw, a row's mean m depends on its clusters through one normal number for each
linear predictor p with group effects: x_p ~ N(0, v_p), where v_p = sum over groupings g of v_pg =
z' Sigma z. With x_p = sqrt(v_p) u_p and orthonormal Hermite polynomials h_k,

    m(x) = sum over k of c_k h_k1(u_1) h_k2(u_2) ...,

and two rows that share the clusters of g, and no other, have numbers u that correlate by
rho_pg = v_pg / v_p. Mehler's formula then gives the covariance of their means, which is the
variance of what g explains alone (a first-order Sobol index):

    Var(E[m | effects of g]) = sum over k > 0 of c_k**2 rho_1g**k1 rho_2g**k2 ...

So one grid in as many dimensions as there are linear predictors with group effects (one, mostly)
serves any number of groupings, and no double integral over a grouping and the others is needed.
Where a grid would grow too large, the covariance is averaged over a quasi-random sequence of both
rows' numbers instead.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.chunks import at_once
from bayesmm.design import Design, take
from bayesmm.engines import Crew, use_compilation_cache
from bayesmm.families import Family
from bayesmm.layout import PredictorLayout
from bayesmm.model import family_values, linear_predictors
from bayesmm.predict.marginal import NODES, affine_in, effect_variances, normal_rule

type Layout = tuple[PredictorLayout, ...]

#: Arrays of rows times nodes that are held at a time, about.
HELD = 8


class Moments(NamedTuple):
    """What is found for some draws, all rows of each.

    Attributes
    ----------
    mean : numpy.ndarray
        Shape (draws, rows): the expected response, averaged over clusters.
    alone : numpy.ndarray
        Shape (draws, groups, rows): what each grouping explains alone, Var(E[m | its effects]).
    explained : numpy.ndarray
        Shape (draws, rows): what all groupings explain together, Var(m).
    residual : numpy.ndarray
        Shape (draws, rows): the variance of the response given its clusters, averaged over them.
    """

    mean: np.ndarray
    alone: np.ndarray
    explained: np.ndarray
    residual: np.ndarray


#: From the moments of some draws to an array, draws first.
type Reduce = Callable[[Moments], np.ndarray]


@dataclass(frozen=True)
class Rule:
    """How clusters are averaged over.

    Attributes
    ----------
    parameters : tuple of str
        Those with group effects.
    nodes : tuple of int
        Of Gauss-Hermite quadrature, for each of them; empty for a quasi-random sequence.
    size : int
        How many points there are.
    """

    parameters: tuple[str, ...]
    nodes: tuple[int, ...]
    size: int


def moments(
    family: Family,
    layout: Layout,
    design: Design,
    quantities: Mapping[str, np.ndarray],
    averaged: Sequence[str],
    reduce: Reduce,
) -> np.ndarray:
    """Return what `reduce` makes of the moments of every posterior draw.

    Draws are taken a few at a time with all rows of each, and rows of those in blocks, so that
    memory grows neither with draws times rows nor with rows times nodes.

    Parameters
    ----------
    family, layout
        Of the model; the family has a variance.
    design : Design
        The rows.
    quantities : mapping of str to numpy.ndarray
        The posterior's variables, draws first.
    averaged : sequence of str
        The groupings that are averaged over: all, or none. With none, every row is of the cluster
        that the design names.
    reduce : callable
        See `Reduce`.

    Returns
    -------
    numpy.ndarray
        As from `reduce`, with all draws.
    """
    quantities, groups = dict(quantities), tuple(averaged)
    rule = rule_for(family, layout, tuple(design.data), groups)
    if groups:
        quantities = _without_effects(quantities, layout)
    draws, rows = len(next(iter(quantities.values()))), design.rows
    few = min(at_once(rows * (3 + len(groups))), draws)
    held = HELD * family.width * rule.size
    step = min(at_once(held), rows)
    batch = min(at_once(held * step), few)
    use_compilation_cache()
    starts = range(0, draws, few)
    crew = Crew(len(starts))

    def work(number: int) -> np.ndarray:
        # The last draws and rows are padded with their own last: one program serves all.
        first = starts[number]
        chosen = np.minimum(np.arange(first, first + few), draws - 1)
        some = {name: values[chosen] for name, values in quantities.items()}
        parts = []
        for start in range(0, rows, step):
            block = np.minimum(np.arange(start, start + step), rows - 1)
            part = replace(take(design, block), y=None, weights=None)
            found = _evaluate(some, part, family, layout, groups, rule, batch)
            parts.append([np.asarray(x)[..., : rows - start] for x in found])
        count = min(few, draws - first)
        whole = [np.concatenate(x, axis=-1)[:count] for x in zip(*parts, strict=True)]
        mean, alone, explained, residual = whole  # alone has a row for no groups too
        return reduce(Moments(mean, alone[:, : len(groups)], explained, residual))

    try:
        with jax.enable_x64(True):
            return np.concatenate(crew.each(work))
    finally:
        crew.close()


def rule_for(
    family: Family, layout: Layout, data: tuple[str, ...], averaged: Sequence[str]
) -> Rule:
    """Return how clusters are averaged over.

    Parameters
    ----------
    family, layout
        Of the model.
    data : tuple of str
        The names of what mean and variance may read beside parameters.
    averaged : sequence of str
        The groupings.
    """
    parameters = tuple(
        names.parameter for names in layout if any(g.name in averaged for g in names.groups)
    )
    straight: set[str] = set()
    if parameters:
        spread = replace(family, mean=family.variance)  # pyright: ignore[reportArgumentType]
        with np.errstate(invalid="ignore"):  # of a variance that is infinite
            straight = set(affine_in(family, data)) & set(affine_in(spread, data))
    # There the squared mean is of degree 2, and two nodes are exact to degree 3.
    exact = [family.link(name).is_identity and name in straight for name in parameters]
    curved = len(exact) - sum(exact)
    if curved > max(NODES):
        size = len(normal_rule(2 * len(parameters))[1])
        return Rule(parameters, (), size * (1 + len(averaged)))
    nodes = tuple(2 if straight else NODES[curved] for straight in exact)
    return Rule(parameters, nodes, math.prod(nodes))


@partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
def _evaluate(
    draws: Any,
    design: Design,
    family: Family,
    layout: Layout,
    groups: tuple[str, ...],
    rule: Rule,
    batch: int,
) -> tuple[jax.Array, ...]:
    def one(draw):
        return _of_draw(draw, design, family, layout, groups, rule)

    return jax.lax.map(one, draws, batch_size=batch)


def _of_draw(draw, design: Design, family: Family, layout: Layout, groups, rule: Rule):
    """Mean, alone (one row at least, for each group), explained and residual, for one draw."""
    linear = linear_predictors(layout, design, draw)
    own = [effect_variances(layout, design, draw, (name,)) for name in groups]
    nothing = jnp.zeros(design.rows)
    v = [[found.get(name, nothing) for found in own] for name in rule.parameters]
    total = [sum(of_groups, nothing) for of_groups in v]
    # Where nothing varies nothing is explained, whatever the correlation.
    rho = [
        [x / jnp.where(whole > 0.0, whole, 1.0) for x in of_groups]
        for of_groups, whole in zip(v, total, strict=True)
    ]
    sds = [jnp.sqrt(jnp.maximum(whole, 0.0)) for whole in total]

    def both(u):
        """The mean and the variance of the response where the parameters' numbers are u."""
        shifted = {name: linear[name] + sds[i] * u[i] for i, name in enumerate(rule.parameters)}
        values = family_values(family, design, {**linear, **shifted}, draw)
        found = family.mean(values), family.variance(values)  # pyright: ignore[reportOptionalCall]
        return tuple(jnp.broadcast_to(jnp.asarray(x, float), design.rows) for x in found)

    if rule.parameters and not rule.nodes:
        return _by_sequence(both, rho, len(groups))
    points, weights, transforms = _grid(rule.nodes)
    means, variances = jax.vmap(both)(jnp.asarray(points))
    mean, residual = weights @ means, weights @ variances
    centred = means - mean
    explained = weights @ centred**2
    if len(groups) < 2:
        return mean, explained[None], explained, residual
    coefs = centred.reshape(*rule.nodes, design.rows)
    for axis, transform in enumerate(transforms):
        coefs = jnp.moveaxis(jnp.tensordot(transform, coefs, (1, axis)), 0, axis)
    alone = []
    for g in range(len(groups)):
        series = coefs**2
        for of_groups in rho:
            series = _series(series, of_groups[g])
        alone.append(series)
    return mean, jnp.stack(alone), explained, residual


def _by_sequence(both, rho, groups: int):
    """The same over a quasi-random sequence: for each grouping, of pairs of rows that share it."""
    points, weights = normal_rule(2 * len(rho))
    one, other = np.split(points, 2, axis=1)

    def all_of(point):
        u, others = point
        mean, variance = both(u)
        sharing = []
        for g in range(groups):
            correlated = [
                of_groups[g] * u[i] + jnp.sqrt(jnp.maximum(1.0 - of_groups[g] ** 2, 0.0)) * w
                for i, (of_groups, w) in enumerate(zip(rho, others, strict=True))
            ]
            sharing.append(both(correlated)[0])
        return mean, variance, jnp.stack(sharing)

    means, variances, sharing = jax.vmap(all_of)((jnp.asarray(one), jnp.asarray(other)))
    mean, residual = weights @ means, weights @ variances
    centred = means - mean
    theirs = sharing - jnp.tensordot(weights, sharing, 1)
    alone = jnp.tensordot(weights, centred[:, None] * theirs, 1)
    return mean, alone, weights @ centred**2, residual


def _series(coefs: jax.Array, rho: jax.Array) -> jax.Array:
    """The sum over k of coefs[k] rho**k, by Horner's rule."""
    total = coefs[-1]
    for k in range(len(coefs) - 2, -1, -1):
        total = total * rho + coefs[k]
    return total


@lru_cache(maxsize=32)
def _grid(nodes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Points (K, dimensions), weights (K,), and by dimension what makes coefficients of values."""
    rules, transforms = [], []
    for count in nodes:
        node, weight = np.polynomial.hermite_e.hermegauss(count)
        weight = weight / weight.sum()
        h = [np.ones(count), node]
        for k in range(1, count - 1):
            h.append((node * h[k] - math.sqrt(k) * h[k - 1]) / math.sqrt(k + 1))
        rules.append((node, weight))
        transforms.append(np.stack(h[:count]) * weight)
    grid = np.meshgrid(*[node for node, _ in rules], indexing="ij")
    products = np.meshgrid(*[weight for _, weight in rules], indexing="ij")
    if not nodes:
        return np.zeros((1, 0)), np.ones(1), []
    points = np.stack([x.ravel() for x in grid], axis=1)
    return points, np.prod(products, axis=0).ravel(), transforms


def _without_effects(quantities: dict[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
    """The variables with one cluster of each group, whose effects are 0."""
    draws = len(next(iter(quantities.values())))
    zero = {
        group.variable("r"): np.zeros((draws, 1, len(group.effects)))
        for names in layout
        for group in names.groups
    }
    return quantities | zero
