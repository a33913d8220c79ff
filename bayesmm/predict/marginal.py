"""The expected response averaged over the distribution of clusters.

A curved link makes of the typical cluster (effects of 0) something else than the average over
clusters: E[g(eta + z'b)] is not g(eta). Whatever the number and size of blocks, z'b is normal with
mean 0 and a variance v = z' Sigma z, summed over blocks, so that the average is over one number for
each linear predictor with group effects. Most families have a mean that is affine in most of their
parameters (mu in mu; (1 - zi) mu in both), and group effects of different parameters are
independent: such a parameter is replaced by its own mean, in closed form where its link knows one,
else by quadrature in one dimension. Those that are left are integrated over together, in as many
dimensions as there are of them.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.design import Design
from bayesmm.errors import BayesmmError
from bayesmm.families import Family, Values
from bayesmm.layout import PredictorLayout
from bayesmm.links import Link
from bayesmm.model import family_values, linear_predictors

#: Nodes of the Gauss-Hermite rule for each dimension: 64 integrate an sd of 4 on the logit scale to
#: 4e-6, one of 1.5 to rounding.
NODES = {1: 64, 2: 20, 3: 14}
#: Points of a normal quasi-random sequence, which takes over where a grid would grow too large.
POINTS = 4096
#: Three values that each kind of parameter can have, evenly spaced: see `affine_in`.
TRIED = {
    "real": (-0.7, 0.4, 1.5),
    "positive": (0.4, 1.1, 1.8),
    "unit": (0.2, 0.45, 0.7),
    "above_one": (1.3, 2.1, 2.9),
    "one_two": (1.2, 1.45, 1.7),
}


def marginal_mean(
    family: Family,
    layout: Sequence[PredictorLayout],
    design: Design,
    draw: Mapping[str, Any],
    averaged: Collection[str],
) -> jax.Array:
    """Return the expected response of every row for one draw, averaged over clusters.

    Parameters
    ----------
    family : Family
        The response distribution.
    layout : sequence of PredictorLayout
        The names of each predictor's variables.
    design : Design
        The rows, with the columns of the groups that are averaged over.
    draw : mapping of str to array
        One draw of the posterior's variables; effects of those groups are 0 in it.
    averaged : collection of str
        The groups.

    Returns
    -------
    array
        Shape (rows,), or (rows, categories).
    """
    linear = linear_predictors(layout, design, draw)
    variances = effect_variances(layout, design, draw, averaged)
    affine = affine_in(family, tuple(design.data))
    alone = {
        name: _natural_mean(family.link(name), linear[name], v)
        for name, v in variances.items()
        if name in affine
    }
    together = [name for name in variances if name not in affine]
    sds = {name: _root(variances[name]) for name in together}

    def mean(point: Any) -> jax.Array:
        shifted = {n: linear[n] + sds[n] * point[i] for i, n in enumerate(together)}
        values = family_values(family, design, {**linear, **shifted}, draw)
        for name, value in alone.items():
            values = values.replace(name, value)
        return jnp.asarray(family.mean(values))

    if not together:
        return mean(())
    nodes, weights = normal_rule(len(together))
    return _integrated(mean, nodes, weights)


def effect_variances(
    layout: Sequence[PredictorLayout],
    design: Design,
    draw: Mapping[str, Any],
    averaged: Collection[str],
) -> dict[str, jax.Array]:
    """Return v = z' Sigma z of every row, by parameter, over some groups; shape (rows,)."""
    found: dict[str, Any] = {}
    for names, rows in zip(layout, design.predictors, strict=True):
        for group, columns in zip(names.groups, rows.groups, strict=True):
            if group.name not in averaged:
                continue
            scaled = jnp.asarray(columns.columns) * draw[group.variable("sd")]
            mixed = scaled @ draw[group.variable("cor")] if group.correlated else scaled
            v = (scaled * mixed).sum(axis=1)
            found[names.parameter] = found.get(names.parameter, 0.0) + v
    return found


def check_means(family: Family, layout: Sequence[PredictorLayout], groups: Collection[str]) -> None:
    """Refuse to average over clusters where there is no such average.

    Raises
    ------
    BayesmmError
        For group effects under a link whose natural value then has no mean.
    """
    for names in layout:
        link = family.link(names.parameter)
        if not link.has_normal_mean and any(group.name in groups for group in names.groups):
            raise BayesmmError(
                f"{names.parameter} has the link {link.name!r} and group effects: over normal "
                "effects its mean does not exist. Use link='log', or ask for the typical cluster: "
                "fit.predict(newdata, group_effects=())."
            )


@lru_cache(maxsize=256)
def affine_in(family: Family, data: tuple[str, ...]) -> tuple[str, ...]:
    """Return the parameters in which a family's mean is affine, the others being held.

    Asked of the mean itself, at three values of each parameter: a user's family need not say it.

    Parameters
    ----------
    family : Family
        The response distribution.
    data : tuple of str
        The names of what its mean may read beside parameters (``"trials"``).
    """
    if any(p.labels or p.each_category for p in family.parameters):
        return ()
    # The numbers are needed now, also when the caller is being traced.
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        natural = {
            p.name: dict(family.fixed).get(p.name, TRIED[p.support][1] * 1.01)
            for p in family.parameters
        }
        at = {p.name: natural | {p.name: np.array(TRIED[p.support])} for p in family.parameters}
        counts = {name: np.full(3, 3.0) for name in data}
        means = {
            name: np.broadcast_to(family.mean(Values(family, natural=v, data=counts)), (3,))
            for name, v in at.items()
        }
    bends = {name: abs(m[0] - 2.0 * m[1] + m[2]) for name, m in means.items()}
    return tuple(n for n, bend in bends.items() if bend <= 1e-10 * (1.0 + abs(means[n]).max()))


def normal_rule(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points (K, dimensions) and weights (K,) of the mean over N(0, I).

    A product of Gauss-Hermite rules up to three dimensions; beyond, a Sobol sequence put through
    the normal quantile function, of equal weights.
    """
    if dimensions not in NODES:
        from scipy.special import ndtri
        from scipy.stats import qmc

        # Its first point is the corner 0, whose quantile is infinite: all move by half a step.
        uniform = qmc.Sobol(dimensions, scramble=False).random(POINTS)
        return ndtri(uniform + 0.5 / POINTS), np.full(POINTS, 1.0 / POINTS)
    node, weight = np.polynomial.hermite_e.hermegauss(NODES[dimensions])
    weight = weight / weight.sum()
    grid = np.meshgrid(*[node] * dimensions, indexing="ij")
    products = np.meshgrid(*[weight] * dimensions, indexing="ij")
    return np.stack([g.ravel() for g in grid], axis=1), np.prod(products, axis=0).ravel()


def _natural_mean(link: Link, m: jax.Array, v: jax.Array) -> jax.Array:
    """The mean of a parameter whose linear predictor is N(m, v)."""
    if link.normal_mean is not None:
        return link.normal_mean(m, v)
    sd = _root(v)
    nodes, weights = normal_rule(1)
    return _integrated(lambda point: link.inverse(m + sd * point[0]), nodes, weights)


def _integrated(function: Any, nodes: np.ndarray, weights: np.ndarray) -> jax.Array:
    """The weighted sum of a function's values, one node after the other: memory stays that of one.

    Unrolled, it would be compiled as many times as there are nodes.
    """

    def add(total, node):
        point, weight = node
        return total + weight * function(point), None

    zero = jnp.zeros_like(function(nodes[0]))
    return jax.lax.scan(add, zero, (jnp.asarray(nodes), jnp.asarray(weights)))[0]


def _root(v: jax.Array) -> jax.Array:
    """The square root, with a gradient of 0 at 0."""
    positive = v > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, v, 1.0)), 0.0)
