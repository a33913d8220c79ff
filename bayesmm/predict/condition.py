"""Conditioning on a few responses of new clusters: what a refit would say, without it.

New rows say something of everything: of the effects b of their clusters, and through them of all
parameters theta. With posterior draws theta_s of the model as it was fitted, the posterior given
the new rows too is

    p(theta, b | y, y_new)  is proportional to  p(theta | y) p(y_new | b, theta) p(b | theta),

so draws are resampled with weights p(y_new | theta_s), the integral over b, and b is drawn given
theta_s and y_new. Rows that share no new cluster are independent given theta: the integral is a
product over such components, each of few dimensions. With b = R u, u ~ N(0, I), the integrand has
a mode, found by Newton's method, and a curvature there. Where the response is Gaussian that gives
the integral exactly; elsewhere importance sampling from Student's t around the mode estimates it
without bias, and picking u among the same samples keeps the pair exact (Andrieu and Roberts 2009).
The weights are Pareto-smoothed (Vehtari et al. 2024); their k says whether new rows fit what the
model had learnt, or a refit is needed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.scipy.special import gammaln, logsumexp

from bayesmm.chunks import at_once
from bayesmm.design import Design, GroupDesign, take
from bayesmm.engines import use_compilation_cache
from bayesmm.errors import BayesmmError, warn
from bayesmm.families import Family
from bayesmm.formula import Response, evaluate, response_columns
from bayesmm.layout import GroupLayout, PredictorLayout
from bayesmm.model import is_gaussian, log_likelihood
from bayesmm.predict.clusters import Clusters, find_clusters
from bayesmm.predict.effects import covariance_root
from bayesmm.prepare import Prepared
from bayesmm.response import read_observed
from bayesmm.schema import Grouping

#: Samples of u for each posterior draw.
SAMPLES = 50
#: Degrees of freedom of what they are drawn from.
DF = 5.0
#: Newton steps to the mode, how far one goes at most (u has an sd of 1 in the prior), and the parts
#: of it among which the best is taken: a count of hundreds overshoots by many powers of 2.
STEPS, FARTHEST, LENGTHS = 30, 4.0, tuple(0.5**k for k in range(12))
#: Curvatures below this are taken for it: the prior of u alone has 1.
LEAST_CURVATURE = 0.2
#: The Pareto k above which weights cannot be relied on.
LARGEST_K = 0.7
#: With fewer posterior draws than this there is no tail of weights to look at.
FEWEST_DRAWS = 100


@dataclass(frozen=True)
class Conditioned:
    """A posterior given further rows.

    Attributes
    ----------
    quantities : dict of str to numpy.ndarray
        The posterior's variables, draws first, resampled.
    given : dict of str to numpy.ndarray
        By variable of effects: those of the new clusters, shape (draws, clusters, effects).
    groupings : dict of str to Grouping
        With the new clusters after those of the fit.
    pareto_k : float
        Of the weights.
    effective : float
        How many draws of equal weight the weights are worth.
    """

    quantities: dict[str, np.ndarray]
    given: dict[str, np.ndarray]
    groupings: dict[str, Grouping]
    pareto_k: float
    effective: float


def condition(
    prepared: Prepared, quantities: Mapping[str, np.ndarray], newdata: Any, seed: int
) -> Conditioned:
    """Return the posterior given rows with responses, some of new clusters.

    Parameters
    ----------
    prepared : Prepared
        The model.
    quantities : mapping of str to numpy.ndarray
        The posterior's variables, draws first.
    newdata : dataframe
        With all columns of the formula.
    seed : int
        For the resampling.

    Raises
    ------
    BayesmmError
        If no row is of a new cluster.
    """
    spec = prepared.spec
    draws = len(next(iter(quantities.values())))
    if draws < FEWEST_DRAWS:
        raise BayesmmError(
            f"condition_on= resamples posterior draws, and {draws} are too few: at least "
            f"{FEWEST_DRAWS} are needed, and thousands are better."
        )
    design, clusters = _observed(prepared, newdata)
    if not any(found.new for found in clusters.values()):
        raise BayesmmError(
            "condition_on= has no row of a cluster that is new. Rows of known clusters are for a "
            "refit: bm.fit() with them among the data."
        )
    exact = is_gaussian(prepared.program(), design)
    rng = np.random.default_rng([seed, 1])
    groups = [group for predictor in spec.layout for group in predictor.groups]
    roots = {group.variable("r"): covariance_root(quantities, group) for group in groups}
    log_weights = np.zeros(draws)
    parts: list[tuple[_Component, np.ndarray, np.ndarray]] = []
    use_compilation_cache()
    with jax.enable_x64(True):
        for rows in _components(clusters, design.rows):
            component = _component(design, spec.layout, clusters, rows)
            log_p, u, log_u = _integrate(
                component, spec, quantities, roots, exact, jax.random.key(rng.integers(2**32))
            )
            log_weights += log_p
            parts.append((component, u, log_u))
    picked, k, effective = _resampled(log_weights, rng)
    kept = {name: np.asarray(values)[picked] for name, values in quantities.items()}
    given = {
        group.variable("r"): np.zeros((draws, len(clusters[group.name].new), len(group.effects)))
        for group in groups
    }
    for component, u, log_u in parts:
        chosen = u[picked, _choice(log_u[picked], rng)]  # (draws, size)
        start = 0
        for group, new in zip(groups, component.new, strict=True):
            q = len(group.effects)
            size = component.table[group.name][1] * q
            own = chosen[:, start : start + size].reshape(draws, -1, q)[:, : len(new)]
            start += size
            b = np.einsum("sij,slj->sli", roots[group.variable("r")][picked], own)
            given[group.variable("r")][:, new] = b
    groupings = {name: found.extended() for name, found in clusters.items()}
    return Conditioned(kept, given, groupings, k, effective)


def _observed(prepared: Prepared, newdata: Any) -> tuple[Design, dict[str, Clusters]]:
    """The design of rows with their responses, and their clusters."""
    spec = prepared.spec
    response = cast(Response, spec.formula.response)
    design, frame = prepared.rows_of(newdata, also=response_columns(response))
    known = spec.family.categories
    if not known:
        trained = prepared.frame.columns
        values = pd.Series(np.asarray(evaluate(response.expression, trained, prepared.functions)))
        known = tuple(dict.fromkeys(map(_label, values.tolist()))) if spec.success else ()
        some = trained.iloc[: max(1, len(trained) // 2)]
        alone = np.asarray(evaluate(response.expression, some, prepared.functions))
        if not (known or np.allclose(values[: len(some)], alone)):
            raise BayesmmError(
                f"condition_on=: the response {response.name!r} is computed from all rows "
                "together, as that of new rows cannot be. Fit to a column that holds it."
            )
    y = read_observed(response, frame, spec.family, spec.success, known, prepared.functions)
    design = replace(design, y=y.values, data=y.data | design.data, weights=y.weights)
    used = dict.fromkeys(g.name for predictor in spec.layout for g in predictor.groups)
    groupings = {name: spec.schema.grouping(name) for name in used}
    return design, {name: find_clusters(g, frame.columns) for name, g in groupings.items()}


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _components(clusters: Mapping[str, Clusters], rows: int) -> list[np.ndarray]:
    """Rows that new clusters link with each other, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second, nodes = [], [], rows
    for found in clusters.values():
        new = np.flatnonzero(found.index >= len(found.grouping.cells))
        first.append(new)
        second.append(nodes + found.index[new] - len(found.grouping.cells))
        nodes += len(found.new)
    edges = np.concatenate(first), np.concatenate(second)
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(nodes, nodes))
    label = connected_components(graph, directed=False)[1][:rows]
    # Rows without new clusters have nothing to integrate over: they go together.
    label[~np.isin(np.arange(rows), edges[0])] = -1
    return [np.flatnonzero(label == one) for one in np.unique(label)]


@dataclass(frozen=True)
class _Component:
    """Rows with their clusters numbered anew: known ones first, in tables of padded size.

    Attributes
    ----------
    design : Design
        Padded with rows of weight 0.
    known : dict of str to numpy.ndarray
        By grouping: the known clusters in the table.
    table : dict of str to (int, int)
        By grouping: how many known and how many new clusters the table has.
    new : tuple of numpy.ndarray
        By group of the layout: the numbers of the new clusters among `Clusters.new`.
    """

    design: Design
    known: dict[str, np.ndarray]
    table: dict[str, tuple[int, int]]
    new: tuple[np.ndarray, ...]


def _component(
    design: Design,
    layout: Sequence[PredictorLayout],
    clusters: Mapping[str, Clusters],
    rows: np.ndarray,
) -> _Component:
    # Sizes are powers of 2, so that few programs are compiled for many components.
    size = _power_of_two(len(rows))
    padded = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])
    part = take(design, padded)
    weights = np.ones(size) if part.weights is None else part.weights.copy()
    weights[len(rows) :] = 0.0
    known, table, numbers, local = {}, {}, {}, {}
    for name, found in clusters.items():
        count = len(found.grouping.cells)
        index = found.index[padded]
        old, new = np.unique(index[index < count]), np.unique(index[index >= count])
        table[name] = (size, _power_of_two(len(new)) if len(new) else 0)
        known[name] = np.concatenate([old, np.zeros(size - len(old), dtype=np.int64)])
        numbers[name] = new - count
        place = np.where(
            index < count, np.searchsorted(old, index), size + np.searchsorted(new, index)
        )
        local[name] = place.astype(np.int32)
    predictors = [
        replace(
            predictor,
            groups=tuple(
                GroupDesign(local[group.name], columns.columns, sum(table[group.name]))
                for group, columns in zip(names.groups, predictor.groups, strict=True)
            ),
        )
        for names, predictor in zip(layout, part.predictors, strict=True)
    ]
    new_of = tuple(numbers[group.name] for names in layout for group in names.groups)
    return _Component(
        replace(part, predictors=tuple(predictors), weights=weights), known, table, new_of
    )


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _integrate(component: _Component, spec, quantities, roots, exact: bool, key):
    """Log p(y | theta) of every draw, samples of u (draws, samples, size), their log weights."""
    groups = [group for predictor in spec.layout for group in predictor.groups]
    effects = {group.variable("r") for group in groups}
    population = {name: v for name, v in quantities.items() if name not in effects}
    tables = {
        group.variable("r"): quantities[group.variable("r")][:, component.known[group.name]]
        for group in groups
    }
    shapes = tuple((g, component.table[g.name][1]) for g in groups)
    size = sum(count * len(group.effects) for group, count in shapes)
    draws = len(next(iter(population.values())))
    samples = 1 if exact or size == 0 else SAMPLES
    batch = at_once(component.design.rows * (size * size + samples + 1) * spec.family.width)
    found = _integrals(
        (population, tables, roots, jax.random.split(key, draws)),
        component.design,
        spec.family,
        spec.layout,
        shapes,
        samples,
        exact,
        min(batch, draws),
    )
    return tuple(np.asarray(x) for x in found)


@partial(jax.jit, static_argnums=(2, 3, 4, 5, 6, 7))
def _integrals(
    draws: Any,
    design: Design,
    family: Family,
    layout: tuple[PredictorLayout, ...],
    shapes: tuple[tuple[GroupLayout, int], ...],
    samples: int,
    exact: bool,
    batch: int,
):
    size = sum(count * len(group.effects) for group, count in shapes)

    def one(draw):
        population, tables, roots, key = draw

        def log_joint(u):
            quantities, start = dict(population), 0
            for group, count in shapes:
                variable, stop = group.variable("r"), start + count * len(group.effects)
                b = u[start:stop].reshape(count, len(group.effects)) @ roots[variable].T
                quantities[variable] = jnp.concatenate([tables[variable], b])
                start = stop
            rows = log_likelihood(family, layout, design, quantities)
            return rows.sum() - 0.5 * u @ u - 0.5 * size * math.log(2.0 * math.pi)

        if size == 0:
            return log_joint(jnp.zeros(0)), jnp.zeros((1, 0)), jnp.zeros(1)
        mode, root, log_det = _mode(log_joint, size)
        normal = jax.random.normal(key, (samples, size))
        if exact:
            integral = log_joint(mode) + log_det + 0.5 * size * math.log(2.0 * math.pi)
            return integral, mode + normal @ root.T, jnp.zeros(1)
        heavy = jax.random.chisquare(jax.random.fold_in(key, 1), DF, shape=(samples, 1)) / DF
        t = normal / jnp.sqrt(heavy)
        log_q = _log_t(t) - log_det
        u = mode + t @ root.T
        log_weights = jax.vmap(log_joint)(u) - log_q
        log_weights = jnp.where(jnp.isfinite(log_weights), log_weights, -jnp.inf)
        return logsumexp(log_weights) - math.log(samples), u, log_weights

    return jax.lax.map(one, draws, batch_size=batch)


def _mode(log_joint, size: int):
    """The mode of u, a root of the inverse curvature there, and the log of its determinant."""

    def curvature(u):
        values, vectors = jnp.linalg.eigh(-jax.hessian(log_joint)(u))
        return jnp.where(values > LEAST_CURVATURE, values, LEAST_CURVATURE), vectors

    lengths = jnp.array((0.0, *LENGTHS))  # the first wins where nothing else is finite

    def step(_, u):
        values, vectors = curvature(u)
        move = vectors @ ((vectors.T @ jax.grad(log_joint)(u)) / values)
        move = move * jnp.minimum(1.0, FARTHEST / (jnp.linalg.norm(move) + 1e-300))
        candidates = u + lengths[:, None] * move
        heights = jax.vmap(log_joint)(candidates)
        return candidates[jnp.argmax(jnp.where(jnp.isfinite(heights), heights, -jnp.inf))]

    mode = jax.lax.fori_loop(0, STEPS, step, jnp.zeros(size))
    values, vectors = curvature(mode)
    return mode, vectors / jnp.sqrt(values), -0.5 * jnp.log(values).sum()


def _log_t(t: jax.Array) -> jax.Array:
    """The log density of Student's t in several dimensions, shape (samples,)."""
    size = t.shape[1]
    constant = gammaln((DF + size) / 2) - gammaln(DF / 2) - size / 2 * math.log(DF * math.pi)
    return constant - (DF + size) / 2 * jnp.log1p((t**2).sum(axis=1) / DF)


def _resampled(
    log_weights: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, float, float]:
    """Which draws are kept, by Pareto-smoothed weights; their k; what they are worth."""
    from arviz_stats.base import array_stats

    log_weights = np.where(np.isnan(log_weights), -np.inf, log_weights)
    if not np.isfinite(log_weights).any():
        raise BayesmmError(
            "condition_on=: under every posterior draw these responses have probability 0. Look at "
            "their units, or fit again with these rows."
        )
    if np.ptp(log_weights) < 1e-12:
        return np.arange(len(log_weights)), -math.inf, float(len(log_weights))
    # ArviZ takes log weights with the other sign.
    smoothed, k = array_stats.psislw(-log_weights[None], r_eff=1)
    weights = np.exp(np.asarray(smoothed).ravel())
    k = float(np.asarray(k).item())
    if not k <= LARGEST_K:
        warn(
            f"condition_on=: the Pareto k of the weights is {k:.2f}, above {LARGEST_K}. These rows "
            "say so much that is new that posterior draws without them are too few to answer. Fit "
            "again with them."
        )
    # Stratified: each draw is there as often as its weight says, within one.
    weights /= weights.sum()
    edges = np.cumsum(weights)
    at = (np.arange(len(weights)) + rng.uniform(size=len(weights))) / len(weights)
    picked = np.minimum(np.searchsorted(edges, at), len(weights) - 1)
    return rng.permutation(picked), k, float(1.0 / (weights**2).sum())


def _choice(log_weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pick one of the samples of each draw, by their weights, shape (draws,)."""
    return np.argmax(log_weights + rng.gumbel(size=log_weights.shape), axis=1)
