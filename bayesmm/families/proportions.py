"""Families for successes and proportions: bernoulli, binomial, beta.

Their densities take log(mu) and log(1 - mu), both straight from the linear predictor: mu itself
rounds to 1 from about eta = 37 on, and log(1 - mu) would be lost.

To add one, write its record here and put it in `FAMILIES` at the end; see `continuous`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.base import Family, Parameter
from bayesmm.families.numerics import HALF_LOG_2PI, log_choose, stirling_error
from bayesmm.families.response import BINARY, SUCCESSES, UNIT_OPEN
from bayesmm.links import clipped_exp


class BinomialLog(dist.Distribution):
    """Binomial distribution given the logarithms of the probabilities of success and failure.

    Parameters
    ----------
    log_success, log_failure : array_like
        log(p) and log(1 - p).
    total_count : array_like
        Number of trials.
    """

    arg_constraints = {
        "log_success": constraints.real,
        "log_failure": constraints.real,
        "total_count": constraints.nonnegative_integer,
    }

    def __init__(self, log_success, log_failure, total_count, *, validate_args=None):
        (self.log_success, self.log_failure, self.total_count), batch_shape = aligned(
            log_success, log_failure, total_count
        )
        super().__init__(batch_shape, validate_args=validate_args)

    @property
    def support(self):
        """Whole numbers from 0 to the number of trials."""
        return constraints.integer_interval(0, self.total_count)

    def sample(self, key: Any, sample_shape=()):
        """Draw numbers of successes, shape sample_shape + batch_shape."""
        trials = jnp.asarray(self.total_count).astype(int)  # NumPyro's sampler counts with it
        draw = dist.Binomial(total_count=trials, probs=jnp.exp(self.log_success))
        return draw.expand(self.batch_shape).sample(key, sample_shape)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of `value` successes."""
        failures = self.total_count - value
        # Where there are no successes their probability does not matter, even when it is 0.
        success = value * jnp.where(value == 0, 0.0, self.log_success)
        failure = failures * jnp.where(failures == 0, 0.0, self.log_failure)
        return log_choose(self.total_count, value) + success + failure

    @property
    def mean(self):
        """Trials times probability."""
        return jnp.broadcast_to(self.total_count * jnp.exp(self.log_success), self.batch_shape)

    @property
    def variance(self):
        """Trials times the probabilities of success and failure."""
        return self.mean * jnp.exp(self.log_failure)


class BetaLog(dist.Distribution):
    """Beta distribution given the logarithms of its mean mu and of 1 - mu, and its precision.

    Parameters
    ----------
    log_mean, log1m_mean : array_like
        log(mu) and log(1 - mu).
    precision : array_like
        phi, positive: a = mu phi and b = (1 - mu) phi.

    Notes
    -----
    The log density is (a - 1) log(y) + (b - 1) log(1 - y) - log B(a, b). With Stirling's formula
    for the three log-gammas in log B, a log(y) meets a log(mu), and the large terms cancel.
    """

    arg_constraints = {
        "log_mean": constraints.real,
        "log1m_mean": constraints.real,
        "precision": constraints.positive,
    }
    _support = constraints.unit_interval

    def __init__(self, log_mean, log1m_mean, precision, *, validate_args=None):
        (self.log_mean, self.log1m_mean, self.precision), batch_shape = aligned(
            log_mean, log1m_mean, precision
        )
        super().__init__(batch_shape, validate_args=validate_args)

    def _a_and_b(self):
        log_precision = jnp.log(self.precision)
        return (
            clipped_exp(self.log_mean + log_precision),
            clipped_exp(self.log1m_mean + log_precision),
        )

    def sample(self, key: Any, sample_shape=()):
        """Draw values strictly between 0 and 1, shape sample_shape + batch_shape.

        Draws that round to 0 or 1 become the float next to it inside.
        """
        a, b = (jnp.broadcast_to(x, self.batch_shape) for x in self._a_and_b())
        draw = jax.random.beta(key, a, b, sample_shape + self.batch_shape)
        limits = jnp.finfo(draw.dtype)
        return jnp.clip(draw, limits.tiny, 1.0 - limits.epsneg)

    @validate_sample
    def log_prob(self, value):
        """Return the log density at a `value` strictly between 0 and 1."""
        a, b = self._a_and_b()
        log_y, log1m_y = jnp.log(value), jnp.log1p(-value)
        kernel = a * (log_y - self.log_mean) + b * (log1m_y - self.log1m_mean) - log_y - log1m_y
        root = 0.5 * (self.log_mean + self.log1m_mean + jnp.log(self.precision)) - HALF_LOG_2PI
        remainder = stirling_error(self.precision) - stirling_error(a) - stirling_error(b)
        return kernel + root + remainder

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(jnp.exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, mu (1 - mu) / (1 + phi)."""
        return jnp.exp(self.log_mean + self.log1m_mean) / (1.0 + self.precision)


_MU = Parameter("mu", links=("logit", "probit", "cloglog", "cauchit"), support="unit")


def _binary_variance(v):
    return jnp.exp(v.log("mu") + v.log1m("mu"))


bernoulli = Family(
    name="bernoulli",
    parameters=(_MU,),
    response=BINARY,
    distribution=lambda v: dist.Bernoulli(logits=v.log("mu") - v.log1m("mu")),
    mean=lambda v: v.mu,
    variance=_binary_variance,
)

binomial = Family(
    name="binomial",
    parameters=(_MU,),
    response=SUCCESSES,
    distribution=lambda v: BinomialLog(v.log("mu"), v.log1m("mu"), v.trials),
    mean=lambda v: v.trials * v.mu,
    variance=lambda v: v.trials * _binary_variance(v),
)

beta = Family(
    name="beta",
    parameters=(
        _MU,
        Parameter(
            "phi",
            links=("log", "softplus"),
            support="positive",
            prior=("InverseGamma", (0.4, 0.3)),
        ),
    ),
    response=UNIT_OPEN,
    distribution=lambda v: BetaLog(v.log("mu"), v.log1m("mu"), v.phi),
    mean=lambda v: v.mu,
    variance=lambda v: _binary_variance(v) / (1.0 + v.phi),
)

FAMILIES = (bernoulli, binomial, beta)
