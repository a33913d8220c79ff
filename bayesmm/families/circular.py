"""Families for angles: von_mises.

To add one, write its record here and put it in `FAMILIES` at the end; see `continuous`. The link
``tan_half`` maps the real line to angles, with mu = 0 in the middle: where the directions
cluster around pi, turn the response by pi first.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.base import Family, Parameter
from bayesmm.families.numerics import HALF_LOG_2PI
from bayesmm.families.response import ANGLE
from bayesmm.families.special import log_i0e

_LARGE_CONCENTRATION = 1e6


class VonMises(dist.Distribution):
    """Von Mises distribution, accurate for any concentration.

    Parameters
    ----------
    direction : array_like
        The mean direction mu, an angle in radians.
    concentration : array_like
        kappa, positive.

    Notes
    -----
    The log density is ``kappa cos(y - mu) - log(2 pi I0(kappa))``, written with
    ``cos(d) - 1 = -2 sin(d / 2)**2``. It has the period 2 pi.
    """

    arg_constraints = {"direction": constraints.real, "concentration": constraints.positive}
    _support = constraints.circular
    reparametrized_params = ["direction"]

    def __init__(self, direction, concentration, *, validate_args=None):
        (self.direction, self.concentration), batch_shape = aligned(direction, concentration)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw angles from -pi to pi, shape sample_shape + batch_shape."""
        shape = sample_shape + self.batch_shape
        kappa = jnp.broadcast_to(self.concentration, self.batch_shape)
        # From 1e6 on a normal is as good, and the sampler of NumPyro loses digits.
        large = kappa > _LARGE_CONCENTRATION
        around = dist.VonMises(0.0, jnp.where(large, 1.0, kappa)).sample(key, sample_shape)
        normal = jax.random.normal(key, shape) / jnp.sqrt(kappa)
        angle = self.direction + jnp.where(large, normal, around)
        return jnp.clip((angle + jnp.pi) % (2.0 * jnp.pi) - jnp.pi, -jnp.pi, jnp.pi)

    @validate_sample
    def log_prob(self, value):
        """Return the log density at an angle `value`."""
        bend = -2.0 * self.concentration * jnp.sin(0.5 * (value - self.direction)) ** 2
        return bend - log_i0e(self.concentration) - 2.0 * HALF_LOG_2PI

    @property
    def mean(self):
        """The mean direction."""
        return jnp.broadcast_to(self.direction, self.batch_shape)


von_mises = Family(
    name="von_mises",
    parameters=(
        Parameter("mu", links=("tan_half",)),
        Parameter(
            "kappa",
            links=("log", "softplus"),
            support="positive",
            prior=("Gamma", (2.0, 0.01)),
            intercept_prior=("Normal", (5.0, 0.8)),
        ),
    ),
    response=ANGLE,
    distribution=lambda v: VonMises(v.mu, v.kappa),
    # The direction: angles have no other mean that turns with them, and no variance.
    mean=lambda v: v.mu,
    about="mean direction mu, concentration kappa (about 1/variance when large)",
    elsewhere=(("brms", "von_mises"), ("Bambi", "vonmises")),
)

FAMILIES = (von_mises,)
