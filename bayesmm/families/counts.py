"""Families for counts: poisson, negbinomial.

To add one, write its record here and put it in `FAMILIES` at the end; see `continuous`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.base import Family, Parameter
from bayesmm.families.numerics import log_rising
from bayesmm.families.response import COUNT
from bayesmm.links import clipped_exp

_LARGE_RATE = 1e6


class PoissonLog(dist.Distribution):
    """Poisson distribution given the logarithm of its rate.

    NumPyro's takes the rate, whose logarithm is lost when it underflows.

    Parameters
    ----------
    log_rate : array_like
        Logarithm of the mean.
    """

    arg_constraints = {"log_rate": constraints.real}
    _support = constraints.nonnegative_integer

    def __init__(self, log_rate, *, validate_args=None):
        self.log_rate = log_rate
        super().__init__(jnp.shape(log_rate), validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw counts, shape sample_shape + batch_shape; -1 where the rate is NaN."""
        # JAX returns integers, which cannot hold what rates beyond 1e18 draw. From a rate of 1e6 on
        # a rounded normal takes over: its skewness, 0, is then wrong by 1e-3 at the most.
        shape = sample_shape + self.batch_shape
        rate = jnp.broadcast_to(self.mean, shape)
        large = rate > _LARGE_RATE
        counted = jax.random.poisson(key, jnp.where(large, 1.0, rate), shape)
        normal = rate + jnp.sqrt(rate) * jax.random.normal(key, shape, rate.dtype)
        return jnp.where(large, jnp.round(normal), counted.astype(rate.dtype))

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the count `value`."""
        return value * self.log_rate - clipped_exp(self.log_rate) - gammaln(value + 1.0)

    @property
    def mean(self):
        """The rate."""
        return clipped_exp(self.log_rate)

    @property
    def variance(self):
        """The rate."""
        return self.mean


class NegativeBinomialLog(dist.Distribution):
    """Negative binomial (NB2) given the logarithm of its mean, and its shape.

    Parameters
    ----------
    log_mean : array_like
        Logarithm of the mean mu.
    shape_parameter : array_like
        The shape r, positive; the variance is mu + mu**2 / r.

    Notes
    -----
    The log probability is lgamma(y + r) - lgamma(r) - lgamma(y + 1) + y log(mu / (mu + r))
    + r log(r / (mu + r)). With `log_rising` for the first two terms less y log(r), what remains
    is y log(mu) - (y + r) log(1 + mu / r), which tends to the Poisson's as r grows.
    """

    arg_constraints = {"log_mean": constraints.real, "shape_parameter": constraints.positive}
    _support = constraints.nonnegative_integer

    def __init__(self, log_mean, shape_parameter, *, validate_args=None):
        (self.log_mean, self.shape_parameter), batch_shape = aligned(log_mean, shape_parameter)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw counts, shape sample_shape + batch_shape: Poisson with a gamma distributed rate."""
        key_rate, key_count = jax.random.split(key)
        shape = jnp.broadcast_to(self.shape_parameter, self.batch_shape)
        log_rate = jax.random.loggamma(key_rate, shape, sample_shape + self.batch_shape)
        return PoissonLog(self.log_mean + log_rate - jnp.log(shape)).sample(key_count)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the count `value`."""
        r = self.shape_parameter
        log1p_ratio = jax.nn.softplus(self.log_mean - jnp.log(r))
        ways = log_rising(r, value) - gammaln(value + 1.0)
        return ways + value * self.log_mean - (value + r) * log1p_ratio

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(clipped_exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, mean + mean**2 / shape."""
        return self.mean + self.mean**2 / self.shape_parameter


_MU = Parameter("mu", links=("log", "identity", "sqrt", "softplus"), support="positive")

poisson = Family(
    name="poisson",
    parameters=(_MU,),
    response=COUNT,
    distribution=lambda v: PoissonLog(v.log("mu")),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu,
)

negbinomial = Family(
    name="negbinomial",
    parameters=(
        _MU,
        Parameter(
            "shape",
            links=("log", "softplus"),
            support="positive",
            prior=("InverseGamma", (0.4, 0.3)),
        ),
    ),
    response=COUNT,
    distribution=lambda v: NegativeBinomialLog(v.log("mu"), v.shape),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu + v.mu**2 / v.shape,
)

FAMILIES = (poisson, negbinomial)
