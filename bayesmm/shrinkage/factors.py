"""The pooling factors: which part of the prior variance of an effect its data leave.

    omega_jk = E[ Var(b_jk | theta, y) / Sigma_kk ],

the expectation over the posterior of the parameters theta. It is 0 where a level's own data decide
and 1 where they say nothing. With one effect, one group, n rows and a Gaussian response it is
(sigma^2 / n) / (tau^2 + sigma^2 / n): the weight that the level's mean does not get. The variance
is that of the joint distribution of all effects, so that what crossed groups know of each other
counts; off the Gaussian family it is that of the Laplace approximation.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayesmm.chunks import at_once
from bayesmm.design import Design
from bayesmm.engines import use_compilation_cache
from bayesmm.errors import BayesmmError
from bayesmm.families import Family
from bayesmm.layout import PredictorLayout
from bayesmm.model import Plan, aggregate, find_factors, linear_predictors, make_plan
from bayesmm.model.covariances import level_covariances
from bayesmm.model.information import carriers, roots_by_factor
from bayesmm.model.laplace import effects_given
from bayesmm.predict.effects import covariance_root
from bayesmm.prepare import Prepared
from bayesmm.results.posterior import flat, thinned

#: The largest dense matrix of crossed effects that is inverted for every draw.
MOST_COLUMNS = 5000
#: How long is taken if nothing is said, and for how many draws at the most and at the least.
SECONDS, MOST_DRAWS, FEWEST_DRAWS = 60.0, 1000, 20
#: What a draw takes, on 2 cores: for the dense matrix and for each row; and how many factors of all
#: draws together are kept at the most.
SECONDS_A_CUBE, SECONDS_A_ROW, NUMBERS = 1.6e-9, 1.5e-6, 50_000_000


class Factors(NamedTuple):
    """Pooling factors, averaged over posterior draws.

    Attributes
    ----------
    omega : dict of str to numpy.ndarray
        By variable of effects, shape (levels, effects).
    draws : int
        Over how many draws.
    share : float
        For which part of them the mode of the effects was found.
    """

    omega: dict[str, np.ndarray]
    draws: int
    share: float


def pooling_factors(
    prepared: Prepared,
    posterior: xr.Dataset,
    at: Mapping[str, np.ndarray],
    ndraws: int | None = None,
) -> Factors:
    """Return the pooling factors of all effects of a model.

    Parameters
    ----------
    prepared : Prepared
        The model.
    posterior : xarray.Dataset
        Its draws, group effects included.
    at : mapping of str to numpy.ndarray
        The posterior means, near which the effects of each draw are looked for.
    ndraws : int, optional
        Over how many draws; as many as take about a minute, 1,000 at most, if left out.

    Raises
    ------
    BayesmmError
        Where too many crossed effects depend on each other.
    SamplerError
        For a number of draws that makes no sense.
    """
    spec = prepared.spec
    use_compilation_cache()
    with jax.enable_x64(True):
        design = aggregate(prepared.design, spec.family)
        plan = make_plan(find_factors(spec.layout, design), design, most_columns=MOST_COLUMNS)
        if plan is None:
            raise BayesmmError(
                f"fit: more than {MOST_COLUMNS} effects of crossed groups depend on each other, "
                "and pooling factors need the inverse of their precision. Look at the levels by "
                "bm.plot_caterpillar()."
            )
        draws = posterior.sizes["chain"] * posterior.sizes["draw"]
        if ndraws is None:
            seconds = SECONDS_A_CUBE * plan.dense**3 + SECONDS_A_ROW * design.rows
            most = min(SECONDS / seconds, NUMBERS / plan.size, MOST_DRAWS)
            ndraws = min(draws, max(FEWEST_DRAWS, int(most)))
        quantities = flat(thinned(posterior, ndraws, "ndraws"))
        groups = [group for predictor in spec.layout for group in predictor.groups]
        effects = {group.variable("r") for group in groups}
        parameters = {name: x for name, x in quantities.items() if name not in effects}
        roots = {group.variable("r"): covariance_root(quantities, group) for group in groups}
        # The rows with their derivatives, and the blocks of the elimination.
        numbers = 10 * prepared.numbers_per_draw + 6 * (plan.size + plan.dense**2 + plan.products)
        total, share = _factors(
            parameters,
            roots,
            dict(at),
            design,
            plan,
            spec.family,
            spec.layout,
            min(at_once(numbers), ndraws),
        )
    found = {}
    for factor, omega in zip(plan.factors, total, strict=True):
        start = 0
        for member in factor.members:
            stop = start + len(member.names.effects)
            found[member.names.variable("r")] = np.asarray(omega[start:stop]).T
            start = stop
    return Factors(found, ndraws, float(share))


def linear_at(
    layout: Sequence[PredictorLayout], design: Design, quantities: Mapping[str, Any]
) -> jax.Array:
    """Return the linear predictors that carry group effects, shape (m, rows)."""
    linear = linear_predictors(layout, design, quantities)
    return jnp.stack([linear[layout[k].parameter] for k in carriers(layout)])


@partial(jax.jit, static_argnums=(5, 6, 7))
def _factors(
    parameters: Mapping[str, jax.Array],
    roots: Mapping[str, jax.Array],
    means: Mapping[str, jax.Array],
    design: Design,
    plan: Plan,
    family: Family,
    layout: Sequence[PredictorLayout],
    batch: int,
) -> tuple[list[jax.Array], jax.Array]:
    """The mean over draws of Var(b_jk | theta, y) / Sigma_kk, by factor: (effects, levels).

    And the share of draws for which there is one.
    """
    start = linear_at(layout, design, means)

    def one(draw: Any):
        quantities, own = draw
        Lambda = roots_by_factor(plan, own)
        mode = effects_given(plan, family, layout, design, quantities, Lambda, start)
        factors = []
        for root, V in zip(Lambda, level_covariances(mode.C), strict=True):
            variance = jnp.einsum("ka,abj,kb->kj", root, V, root)
            prior = jnp.sum(root**2, axis=1)[:, None]
            # An sd of 0 leaves nothing to be learnt.
            omega = jnp.where(prior > 0, variance / jnp.where(prior > 0, prior, 1.0), 1.0)
            factors.append(jnp.where(mode.found, omega, jnp.nan))
        return factors, mode.found

    every, found = jax.lax.map(one, (parameters, roots), batch_size=batch)
    return [jnp.nanmean(omega, axis=0) for omega in every], found.mean()
