"""Conditioning on a few responses of new clusters: what a refit would say, without it.

New rows say something of everything: of the effects b of their clusters, and through them of all
parameters theta. With posterior draws theta_s of the model as it was fitted, the posterior given
the new rows too is

    p(theta, b | y, y_new)  is proportional to  p(theta | y) p(y_new | b, theta) p(b | theta),

so draws are resampled with weights p(y_new | theta_s), the integral over b, and b is drawn given
theta_s and y_new. Rows that share no new cluster are independent given theta: the integral is a
product over such components, each of few dimensions (see `integrals`). Where it is estimated by
importance sampling, it is so without bias, and picking b among the same samples keeps the pair
exact (Andrieu and Roberts 2009). The weights are Pareto-smoothed (Vehtari et al. 2024); their k
says whether new rows fit what the model had learnt, or a refit is needed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pandas as pd

from bayesmm.design import Design
from bayesmm.engines import use_compilation_cache
from bayesmm.errors import BayesmmError, warn
from bayesmm.formula import evaluate, response_columns
from bayesmm.model import is_gaussian
from bayesmm.predict.clusters import Clusters, find_clusters
from bayesmm.predict.integrals import Component, Integrator, Method, component
from bayesmm.prepare import Prepared
from bayesmm.response import read_observed
from bayesmm.schema import Grouping

#: Samples of u for each posterior draw.
SAMPLES = 50
#: The Pareto k above which weights cannot be relied on.
LARGEST_K = 0.7
#: With fewer posterior draws than this there is no tail of weights to look at.
FEWEST_DRAWS = 100
#: With weights worth fewer draws than this there is no posterior to speak of.
FEWEST_EFFECTIVE = 3.0


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
    method = Method("exact") if exact else Method("sampling", SAMPLES)
    rng = np.random.default_rng([seed, 1])
    log_weights = np.zeros(draws)
    parts: list[tuple[Component, np.ndarray | None]] = []
    use_compilation_cache()
    known = {name: len(found.grouping.cells) for name, found in clusters.items()}
    with jax.enable_x64(True):
        integrate = Integrator(prepared, quantities)
        for rows in _components(clusters, design.rows):
            index = {name: found.index[rows] for name, found in clusters.items()}
            part = component(design, spec.layout, index, known, rows)
            found = integrate(part, method, jax.random.key(rng.integers(2**32)))
            log_weights += found.log_p
            parts.append((part, found.u))
    picked, k, effective = _resampled(log_weights, rng)
    kept = {name: np.asarray(values)[picked] for name, values in quantities.items()}
    given = {
        group.variable("r"): np.zeros((draws, len(clusters[group.name].new), len(group.effects)))
        for group in integrate.groups
    }
    for part, u in parts:
        if u is None:
            continue
        start = 0
        for group in integrate.groups:
            q, new = len(group.effects), part.new[group.name] - known[group.name]
            size = part.count[group.name] * q
            own = u[picked, start : start + size].reshape(draws, -1, q)
            start += size
            root = integrate.roots[group.variable("r")][picked]
            given[group.variable("r")][:, new] = np.einsum("sij,slj->sli", root, own[:, : len(new)])
    groupings = {name: found.extended() for name, found in clusters.items()}
    return Conditioned(kept, given, groupings, k, effective)


def _observed(prepared: Prepared, newdata: Any) -> tuple[Design, dict[str, Clusters]]:
    """The design of rows with their responses, and their clusters."""
    spec = prepared.spec
    response = prepared.response_text
    design, frame = prepared.rows_of(
        newdata, also=response_columns(response), called="condition_on"
    )
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
    weights /= weights.sum()
    effective = float(1.0 / (weights**2).sum())
    if effective < FEWEST_EFFECTIVE:
        raise BayesmmError(
            "condition_on=: these responses are all but impossible under nearly every posterior "
            "draw, so that resampling draws cannot answer. Look at their units, or fit again with "
            "these rows."
        )
    if not k <= LARGEST_K:
        warn(
            f"condition_on=: the Pareto k of the weights is {k:.2f}, above {LARGEST_K}. These rows "
            "say so much that is new that posterior draws without them are too few to answer. Fit "
            "again with them."
        )
    # Stratified: each draw is there as often as its weight says, within one.
    edges = np.cumsum(weights)
    at = (np.arange(len(weights)) + rng.uniform(size=len(weights))) / len(weights)
    picked = np.minimum(np.searchsorted(edges, at), len(weights) - 1)
    return rng.permutation(picked), k, effective
