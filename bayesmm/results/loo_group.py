"""Leave-one-cluster-out cross-validation: how well a model predicts clusters it has not seen.

PSIS-LOO over rows asks how well one more row of a known cluster is predicted. Here all rows of a
cluster are left out together, and with them goes what is known of its effects: they are integrated
out of the density (see `bayesmm.predict.integrals`), and what is left of the model is weighted by
its inverse. What ArviZ makes of the densities, `arviz.loo` and `arviz.compare`, is the same.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayesmm.engines import Crew, use_compilation_cache
from bayesmm.errors import BayesmmError, listing, warn
from bayesmm.model import is_gaussian
from bayesmm.predict.integrals import NODES, Component, Integrator, Method, component
from bayesmm.prepare import Prepared
from bayesmm.results.convert import telling
from bayesmm.results.fit import Fit
from bayesmm.results.loo import relative_efficiency
from bayesmm.results.posterior import flat
from bayesmm.results.tables import groups

#: Samples for each posterior draw where there are too many effects for quadrature.
SAMPLES = 400


def loo_group(fit: Fit, group: str | None = None, **kwargs):
    """Return PSIS leave-one-cluster-out cross-validation, through ArviZ.

    Parameters
    ----------
    fit : Fit
        Of a model with group effects.
    group : str, optional
        The grouping whose clusters are left out, one after the other, such as ``"Subject"`` or
        ``"batch:cask"``; may be left out where the model has one.
    **kwargs
        For `arviz.loo`.

    Returns
    -------
    arviz.ELPDData
        As `arviz.loo` returns it, with a cluster for an observation: ``elpd_i`` and ``pareto_k``
        have the dim `group`, with its labels. A cluster without a row that says anything (of
        weight 0, or of no trials) is not in it.

    Raises
    ------
    BayesmmError
        If the model has no such group, or several and none is named; if the density of a cluster
        is not finite in some posterior draw; if the group effects are not there (`fit(
        effects=False)`, loaded from a file).

    Warns
    -----
    BayesmmWarning
        With the names of the clusters whose Pareto k is too large to rely on.

    See Also
    --------
    Fit.loo : over rows.

    Notes
    -----
    For the rows y_j of cluster j the log predictive density is::

        log p(y_j | y_-j) = log of the integral of p(y_j | theta, r) p(theta, r | y_-j),

    r the effects of clusters that have rows elsewhere too. All others, of cluster j and of clusters
    within it, are integrated out of p(y_j | theta, r) as of clusters that nobody has seen (the
    marginal likelihood of Merkle, Furr and Rabe-Hesketh 2019): leaving out a batch makes its casks
    new, while items that other subjects have answered too keep what is known of them. Draws (theta,
    r) of the posterior are weighted by 1 / p(y_j | theta, r), Pareto-smoothed. The integral is
    exact for a Gaussian response, found by adaptive Gauss-Hermite quadrature in up to three
    dimensions, and estimated with 400 samples beyond; of 1 / p, which that makes too large by the
    relative variance of the estimate, this is taken away.

    References
    ----------
    Vehtari, Gelman and Gabry (2017). Practical Bayesian model evaluation using leave-one-out
    cross-validation and WAIC. Statistics and Computing 27, 1413-1432.

    Merkle, Furr and Rabe-Hesketh (2019). Bayesian comparison of latent variable models: conditional
    versus marginal likelihoods. Psychometrika 84, 802-829.

    Examples
    --------
    How well a herd is predicted by the others, and which is predicted worst:

    >>> import bayesmm as bm
    >>> data = bm.datasets.load("cbpp")
    >>> formula = "prop(incidence, size) ~ period + (1 | herd)"
    >>> fit = bm.fit(formula, data, family="binomial", seed=1)
    >>> found = bm.loo_group(fit, "herd")
    >>> round(found.elpd)
    -98
    >>> found.elpd_i.to_series().idxmin()
    '11'
    """
    import arviz_stats

    prepared = fit._prepared
    name = _name_of(fit, group)
    posterior = fit.whole_posterior()
    labels = np.asarray(prepared.spec.schema.grouping(name).labels)
    numbers, values = _densities(prepared, flat(posterior), name)
    labels = labels[numbers]
    broken = ~np.isfinite(values).all(axis=0)
    if broken.any():
        raise BayesmmError(
            f"group={name!r}: the density of {listing(labels[broken])} is not finite in some "
            "posterior draw. Look at their responses, or refit without them."
        )
    sample = (posterior.sizes["chain"], posterior.sizes["draw"])
    log_likelihood = xr.Dataset(
        {prepared.spec.response: (("chain", "draw", name), values.reshape(*sample, -1))},
        coords={"chain": posterior.chain, "draw": posterior.draw, name: labels},
    )
    tree = {"posterior": posterior, "log_likelihood": log_likelihood}
    options = {"reff": None, **kwargs, "pointwise": True}
    if options["reff"] is None:
        options["reff"] = relative_efficiency(posterior)
    with warnings.catch_warnings():
        # Below is the same, with names.
        warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto")
        found: Any = arviz_stats.loo(xr.DataTree.from_dict(tree), **options)
    k = found.pareto_k.to_numpy()
    large = ~(k <= found.good_k)
    if large.any():
        worst = np.argsort(-k)[: large.sum()]
        warn(
            f"group={name!r}: the Pareto k of {listing(labels[worst].tolist())} is above "
            f"{found.good_k:.2f}. They say so much of the model that draws of its posterior with "
            "them do not tell what it is without: their elpd_i cannot be relied on. Refit without "
            "each of them, and predict its rows."
        )
    if kwargs.get("pointwise") is False:
        found.elpd_i = found.pareto_k = None
    return found


def _name_of(fit: Fit, group: str | None) -> str:
    names = list(dict.fromkeys(part.name for _, part in groups(fit.spec, group)))
    if len(names) == 1:
        return names[0]
    if names:
        raise BayesmmError(
            f"The model has several groups. Say whose clusters are left out: group= is one of "
            f"{listing(names)}."
        )
    raise BayesmmError("The model has no group effects, so no clusters to leave out. Use loo().")


def _densities(
    prepared: Prepared, quantities: dict[str, np.ndarray], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Which clusters have rows, and their log p(y_j | theta, r), shape (draws, clusters)."""
    numbers, parts = zip(*_left_out(prepared, name), strict=True)
    exact = is_gaussian(prepared.program(), prepared.design)
    use_compilation_cache()
    crew = Crew(len(parts))
    with jax.enable_x64(True):
        integrate = Integrator(prepared, quantities)
        key = jax.random.key(0)

        def one(at: int) -> np.ndarray:
            few = parts[at].size(integrate.groups) <= max(NODES)
            method = Method("quadrature") if few else Method("sampling", SAMPLES)
            found = integrate(
                parts[at], Method("exact") if exact else method, jax.random.fold_in(key, at)
            )
            # E[1 / estimate] = (1 + noise) / p, to first order.
            return found.log_p + np.log1p(found.noise)

        try:
            return np.asarray(numbers), np.stack(crew.each(one), axis=1)
        finally:
            crew.close()


def _left_out(prepared: Prepared, name: str) -> Iterator[tuple[int, Component]]:
    """Each cluster that has rows, and those rows, with all new that has no row elsewhere."""
    layout, design = prepared.spec.layout, prepared.design
    index, known = {}, {}
    for names, predictor in zip(layout, design.predictors, strict=True):
        for group, rows in zip(names.groups, predictor.groups, strict=True):
            index[group.name], known[group.name] = rows.index.astype(np.int64), rows.levels
    rows = np.flatnonzero(telling(prepared))
    of_row = index[name]
    within = {}
    for other, clusters in index.items():
        first = np.full(known[other], known[name])
        last = np.full(known[other], -1)
        np.minimum.at(first, clusters[rows], of_row[rows])
        np.maximum.at(last, clusters[rows], of_row[rows])
        within[other] = first == last
    rows = rows[np.argsort(of_row[rows], kind="stable")]
    found, starts = np.unique(of_row[rows], return_index=True)
    for number, own in zip(found, np.split(rows, starts[1:]), strict=True):
        local = {
            other: clusters[own] + known[other] * within[other][clusters[own]]
            for other, clusters in index.items()
        }
        yield int(number), component(design, layout, local, known, own)
