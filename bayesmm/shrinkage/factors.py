"""The pooling factors: which part of the prior variance of an effect its data leave.

    omega_jk = E[ Var(b_jk | theta, y) / Sigma_kk ],

the expectation over the posterior of the parameters theta. It is 0 where a level's own data decide
and 1 where they say nothing. With one effect, n rows and a Gaussian response it is
(sigma^2 / n) / (tau^2 + sigma^2 / n): the weight that the level's mean does not get. The variance
is that of the joint distribution of all effects, so that what crossed groups know of each other
counts; off the Gaussian family it is that of the Laplace approximation.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.chunks import at_once
from bayesmm.design import Design
from bayesmm.engines import use_compilation_cache
from bayesmm.errors import BayesmmError
from bayesmm.families import Family
from bayesmm.layout import PredictorLayout
from bayesmm.model import Plan, aggregate, find_factors, linear_predictors, make_plan
from bayesmm.model.covariances import level_covariances
from bayesmm.model.information import carriers, roots_by_factor
from bayesmm.model.laplace import ENOUGH, effects_given
from bayesmm.predict.effects import covariance_root
from bayesmm.prepare import Prepared

#: The largest dense matrix of crossed effects that is inverted for every draw.
MOST_COLUMNS = 5000


def pooling_factors(
    prepared: Prepared, quantities: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return omega by variable of effects, shape (levels, effects).

    Parameters
    ----------
    prepared : Prepared
        The model.
    quantities : mapping of str to numpy.ndarray
        Draws of the posterior's variables, draws first.
    means : mapping of str to numpy.ndarray
        Their posterior means, near which the effects of each draw are looked for.

    Raises
    ------
    BayesmmError
        Where too many crossed effects depend on each other.
    """
    spec = prepared.spec
    use_compilation_cache()
    with jax.enable_x64(True):
        design = aggregate(prepared.design, spec.family)
        factors = find_factors(spec.layout, design)
        plan = make_plan(factors, design, most_columns=MOST_COLUMNS)
        if plan is None:
            raise BayesmmError(
                f"fit: more than {MOST_COLUMNS} effects of crossed groups depend on each other, "
                "and pooling factors need the inverse of their precision. Look at the levels by "
                "bm.plot_caterpillar()."
            )
        groups = [group for predictor in spec.layout for group in predictor.groups]
        effects = {group.variable("r") for group in groups}
        parameters = {name: x for name, x in quantities.items() if name not in effects}
        roots = {group.variable("r"): covariance_root(quantities, group) for group in groups}
        # The rows with their derivatives, and the blocks of the elimination.
        numbers = 10 * prepared.numbers_per_draw + 6 * (plan.size + plan.dense**2 + plan.products)
        draws = len(next(iter(quantities.values())))
        total = _factors(
            parameters,
            roots,
            dict(means),
            design,
            plan,
            spec.family,
            spec.layout,
            min(at_once(numbers), draws),
        )
    found = {}
    for factor, omega in zip(plan.factors, total, strict=True):
        start = 0
        for member in factor.members:
            stop = start + len(member.names.effects)
            found[member.names.variable("r")] = np.asarray(omega[start:stop]).T
            start = stop
    return found


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
) -> list[jax.Array]:
    """The mean over draws of Var(b_jk | theta, y) / Sigma_kk, by factor: (effects, levels)."""
    linear = linear_predictors(layout, design, means)
    start = jnp.stack([linear[layout[k].parameter] for k in carriers(layout)])

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
            factors.append(jnp.where(mode.decrement <= ENOUGH, omega, jnp.nan))
        return factors

    found = jax.lax.map(one, (parameters, roots), batch_size=batch)
    return [jnp.nanmean(omega, axis=0) for omega in found]
