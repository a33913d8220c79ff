"""Families for successes and proportions: bernoulli, binomial, beta_binomial, beta.

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
from bayesmm.families.counts import (
    from_zero,
    log_rising_times,
    summed_tails,
    tails_of_counts,
)
from bayesmm.families.incomplete import log_betainc_tails
from bayesmm.families.numerics import HALF_LOG_2PI, log_choose, stirling_error
from bayesmm.families.response import BINARY, SUCCESSES, UNIT_OPEN
from bayesmm.links import clipped_exp, log1pexp


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


class BetaBinomialLog(dist.Distribution):
    """Binomial distribution whose probability is beta distributed.

    Parameters
    ----------
    log_mean, log1m_mean : array_like
        log(mu) and log(1 - mu), of the mean of the probability.
    precision : array_like
        phi, positive: a = mu phi and b = (1 - mu) phi.
    total_count : array_like
        Number of trials n.

    Notes
    -----
    The log probability of y is that of choosing y of n, plus log B(y + a, n - y + b) less
    log B(a, b). The beta functions come as three rising factorials (`log_rising_times`), which
    tend to the binomial's y log(mu) + (n - y) log(1 - mu) as phi grows. The variance is
    n mu (1 - mu) (phi + n) / (phi + 1).
    """

    arg_constraints = {
        "log_mean": constraints.real,
        "log1m_mean": constraints.real,
        "precision": constraints.positive,
        "total_count": constraints.nonnegative_integer,
    }

    def __init__(self, log_mean, log1m_mean, precision, total_count, *, validate_args=None):
        parameters, batch_shape = aligned(log_mean, log1m_mean, precision, total_count)
        self.log_mean, self.log1m_mean, self.precision, self.total_count = parameters
        super().__init__(batch_shape, validate_args=validate_args)

    @property
    def support(self):
        """Whole numbers from 0 to the number of trials."""
        return constraints.integer_interval(0, self.total_count)

    def sample(self, key: Any, sample_shape=()):
        """Draw numbers of successes, shape sample_shape + batch_shape."""
        key_success, key_failure, key_count = jax.random.split(key, 3)
        shape, log_precision = sample_shape + self.batch_shape, jnp.log(self.precision)
        success, failure = (
            jax.random.loggamma(k, clipped_exp(log_part + log_precision), shape)
            for k, log_part in ((key_success, self.log_mean), (key_failure, self.log1m_mean))
        )
        return BinomialLog(
            -log1pexp(failure - success),
            -log1pexp(success - failure),
            jnp.broadcast_to(self.total_count, shape),
        ).sample(key_count)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of `value` successes."""
        n, log_precision = jnp.asarray(self.total_count), jnp.log(self.precision)
        ways = (
            log_rising_times(self.log_mean, self.log_mean + log_precision, value)
            + log_rising_times(self.log1m_mean, self.log1m_mean + log_precision, n - value)
            - log_rising_times(jnp.zeros_like(log_precision), log_precision, n)
        )
        return log_choose(n, value) + ways

    @property
    def mean(self):
        """Trials times mu."""
        return jnp.broadcast_to(self.total_count * jnp.exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The binomial variance times (phi + n) / (phi + 1)."""
        inflation = (self.precision + self.total_count) / (self.precision + 1.0)
        return self.mean * jnp.exp(self.log1m_mean) * inflation


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

    @property
    def concentrations(self):
        """The parameters a and b."""
        log_precision = jnp.log(self.precision)
        return (
            clipped_exp(self.log_mean + log_precision),
            clipped_exp(self.log1m_mean + log_precision),
        )

    def sample(self, key: Any, sample_shape=()):
        """Draw values strictly between 0 and 1, shape sample_shape + batch_shape.

        Draws that round to 0 or 1 become the float next to it inside.
        """
        a, b = (jnp.broadcast_to(x, self.batch_shape) for x in self.concentrations)
        draw = jax.random.beta(key, a, b, sample_shape + self.batch_shape)
        limits = jnp.finfo(draw.dtype)
        return jnp.clip(draw, limits.tiny, 1.0 - limits.epsneg)

    @validate_sample
    def log_prob(self, value):
        """Return the log density at a `value` strictly between 0 and 1."""
        a, b = self.concentrations
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


# --- distribution functions ---


def _bernoulli_tails(v, y):
    shape = jnp.zeros_like(y)
    return v.log1m("mu") + shape, v.log("mu") + shape


def _binomial_tails(v, y):
    log_mu, log1m_mu = v.log("mu"), v.log1m("mu")
    above, below = log_betainc_tails(y + 1.0, jnp.maximum(v.trials - y, 1.0), log_mu, log1m_mu)
    # log(-log(1 - mu)), which is log(mu) where mu is too small for the difference to 1 to show.
    small = log_mu < -37.0
    log_fall = jnp.where(small, log_mu, jnp.log(-jnp.where(small, -1.0, log1m_mu)))
    return from_zero(log_fall + jnp.log(jnp.maximum(v.trials, 1.0)), y, below, above)


def _beta_binomial_at(parameters, y):
    return BetaBinomialLog(*parameters).log_prob(y)


def _beta_binomial_tails(v, y):
    trials = jnp.asarray(v.trials, y.dtype)
    parameters = (v.log("mu"), v.log1m("mu"), jnp.asarray(v.phi), trials)
    return summed_tails(_beta_binomial_at, parameters, y, trials * v.mu, last=trials)


def _beta_tails(v, y, which):
    inside = (y > 0) & (y < 1)
    safe = jnp.where(inside, y, 0.5)
    a, b = BetaLog(v.log("mu"), v.log1m("mu"), v.phi).concentrations
    value = log_betainc_tails(a, b, jnp.log(safe), jnp.log1p(-safe))[which]
    outside = jnp.where((y <= 0) == (which == 0), -jnp.inf, 0.0)
    return jnp.where(inside | jnp.isnan(value), value, outside)


_MU = Parameter("mu", links=("logit", "probit", "cloglog", "cauchit"), support="unit")


def _binary_variance(v):
    return jnp.exp(v.log("mu") + v.log1m("mu"))


_PHI = Parameter(
    "phi", links=("log", "softplus"), support="positive", prior=("InverseGamma", (0.4, 0.3))
)

_bernoulli_log_cdf, _bernoulli_log_sf = tails_of_counts(_bernoulli_tails, lambda v: 1.0)
bernoulli = Family(
    name="bernoulli",
    parameters=(_MU,),
    response=BINARY,
    distribution=lambda v: dist.Bernoulli(logits=v.log("mu") - v.log1m("mu")),
    mean=lambda v: v.mu,
    variance=_binary_variance,
    log_cdf=_bernoulli_log_cdf,
    log_sf=_bernoulli_log_sf,
    linear_in_response=True,
    about="probability mu, variance mu (1 - mu)",
    elsewhere=(("brms", "bernoulli"), ("glmmTMB", "binomial"), ("Bambi", "bernoulli")),
)

_binomial_log_cdf, _binomial_log_sf = tails_of_counts(_binomial_tails, lambda v: v.trials)
binomial = Family(
    name="binomial",
    parameters=(_MU,),
    response=SUCCESSES,
    distribution=lambda v: BinomialLog(v.log("mu"), v.log1m("mu"), v.trials),
    mean=lambda v: v.trials * v.mu,
    variance=lambda v: v.trials * _binary_variance(v),
    log_cdf=_binomial_log_cdf,
    log_sf=_binomial_log_sf,
    linear_in_response=True,
    about="probability mu, variance n mu (1 - mu)",
    elsewhere=(("brms", "binomial"), ("glmmTMB", "binomial"), ("Bambi", "binomial")),
)

_beta_binomial_log_cdf, _beta_binomial_log_sf = tails_of_counts(
    _beta_binomial_tails, lambda v: v.trials
)
beta_binomial = Family(
    name="beta_binomial",
    parameters=(_MU, _PHI),
    response=SUCCESSES,
    distribution=lambda v: BetaBinomialLog(v.log("mu"), v.log1m("mu"), v.phi, v.trials),
    mean=lambda v: v.trials * v.mu,
    variance=lambda v: v.trials * _binary_variance(v) * (v.phi + v.trials) / (v.phi + 1.0),
    log_cdf=_beta_binomial_log_cdf,
    log_sf=_beta_binomial_log_sf,
    about="mean probability mu, variance n mu (1 - mu) (phi + n) / (phi + 1)",
    elsewhere=(("brms", "beta_binomial"), ("glmmTMB", "betabinomial"), ("Bambi", "beta_binomial")),
)

beta = Family(
    name="beta",
    parameters=(_MU, _PHI),
    response=UNIT_OPEN,
    distribution=lambda v: BetaLog(v.log("mu"), v.log1m("mu"), v.phi),
    mean=lambda v: v.mu,
    variance=lambda v: _binary_variance(v) / (1.0 + v.phi),
    log_cdf=lambda v, y: _beta_tails(v, y, 0),
    log_sf=lambda v, y: _beta_tails(v, y, 1),
    about="mean mu, variance mu (1 - mu) / (1 + phi)",
    elsewhere=(("brms", "beta"), ("glmmTMB", "beta_family"), ("Bambi", "beta")),
)

FAMILIES = (bernoulli, binomial, beta_binomial, beta)
