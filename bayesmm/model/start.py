"""Where chains start: near what the prior believes, and spread enough for R-hat to mean something.

Uniform within one prior scale of the prior's location, on the sampler's unconstrained scale. The
usual uniform(-2, 2) would start an intercept of 288 at 0; draws from a half-t have wild tails, and
gamma variates take 20 s to compile.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.distributions import biject_to, constraints


def starting_region(model: Callable, inputs: Any) -> tuple[dict, dict]:
    """Return centre and half-width of where chains start, for each latent site of a NumPyro model.

    Parameters
    ----------
    model : callable
        The NumPyro model, a function of `inputs`.
    inputs : pytree
        The model's argument.

    Returns
    -------
    centre, width : dict of str to array
        Unconstrained, of each site's unconstrained shape.
    """
    centres: dict[str, jax.Array] = {}
    widths: dict[str, jax.Array] = {}

    def substitute(site):
        if site["type"] != "sample" or site["is_observed"]:
            return None
        transform = biject_to(site["fn"].support)
        shape = transform.inverse_shape(site["fn"].shape())
        centre, width = _spread(site["fn"])
        centres[site["name"]] = jnp.broadcast_to(jnp.asarray(centre, dtype=float), shape)
        widths[site["name"]] = jnp.broadcast_to(jnp.asarray(width, dtype=float), shape)
        return transform(centres[site["name"]])

    with handlers.substitute(substitute_fn=substitute):
        model(inputs)
    return centres, widths


def _spread(prior: dist.Distribution) -> tuple[Any, Any]:
    """Centre and half-width of the start, unconstrained."""
    shape = prior.batch_shape + prior.event_shape
    own = prior.base_dist if isinstance(prior, dist.Independent) else prior
    if own.support is constraints.ordered_vector:
        # Steps of 1, around 0: the first number, then the logarithms of the steps.
        first = -0.5 * (shape[-1] - 1)
        return jnp.zeros(shape).at[..., 0].set(first), 0.5
    while isinstance(prior, dist.Independent | dist.ExpandedDistribution):
        prior = prior.base_dist
    scale = getattr(prior, "scale", None)
    if scale is None or jnp.ndim(scale) > len(shape):
        return 0.0, 1.0
    if prior.support is constraints.real:
        return getattr(prior, "loc", 0.0), scale
    if prior.support is constraints.positive and not hasattr(prior, "loc"):
        return jnp.log(scale), 1.0
    return 0.0, 1.0
