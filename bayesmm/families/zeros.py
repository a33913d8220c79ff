"""Distributions with more zeros (or ones): zero-inflated, zero-truncated, behind a hurdle.

They wrap the distribution of another family, and `mixtures` makes families of them. Counts that
are not 0 are drawn without a loop where `_POSITIVE` says how; a distribution whose zero-truncated
draws have a construction of their own goes there.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.counts import NegativeBinomialLog, PoissonLog
from bayesmm.families.numerics import log1mexp
from bayesmm.links import clipped_exp, log1pexp, log_add

# --- numbers ---


def log_prob_zero(distribution):
    """Return log f(0), f being the probabilities of a distribution of counts."""
    own = getattr(distribution, "log_prob_zero", None)  # some know it without their whole density
    if own is not None:
        return jnp.broadcast_to(own, distribution.batch_shape)
    return distribution.log_prob(jnp.zeros(distribution.batch_shape))


def log_prob_some(distribution):
    """Return log(1 - f(0)), accurate where f(0) rounds to 1; finite also where log f(0) is 0."""
    log_none = log_prob_zero(distribution)
    tiny = jnp.finfo(log_none.dtype).tiny
    return log1mexp(jnp.where(log_none > -tiny, -tiny, log_none))


def thinned_variance(mean, variance, log_weight):
    """Return the variance of a variable that is 0, or with some weight has these moments.

    For a zero-truncated one the weight, 1 / (1 - f(0)), is above 1. No large squares are
    subtracted from each other: w (V + m**2) - (w m)**2 is written as w V + w (1 - w) m**2.
    """
    weight = jnp.exp(log_weight)
    return jnp.maximum(weight * variance - weight * jnp.expm1(log_weight) * mean**2, 0.0)


# --- draws that are not 0 ---

_TRIES = 64
_LONGEST = 100_000


def _first_event(key, rate, shape):
    """Draw when the first event of a Poisson process happens, if it does before time `rate`."""
    u = jax.random.uniform(key, shape, jnp.result_type(rate))
    return jnp.minimum(-jnp.log1p(u * jnp.expm1(-rate)), rate)


def _positive_poisson(distribution, key, shape):
    """Draw Poisson counts that are not 0: the first event, then those after it."""
    key_first, key_rest = jax.random.split(key)
    rate = jnp.broadcast_to(distribution.mean, shape)
    rest = rate - _first_event(key_first, rate, shape)
    return 1.0 + PoissonLog(jnp.log(jnp.maximum(rest, jnp.finfo(rest.dtype).tiny))).sample(key_rest)


def _positive_negbinomial(distribution, key, shape):
    """Draw negative binomial counts that are not 0.

    A negative binomial count is a Poisson number of clusters of logarithmic size (Quenouille
    1949): the first cluster, then a negative binomial count for the time that is left after it.
    """
    key_first, key_rest, key_q, key_size = jax.random.split(key, 4)
    log_mean, shape_parameter = (
        jnp.broadcast_to(x, shape) for x in (distribution.log_mean, distribution.shape_parameter)
    )
    log_ratio = log1pexp(log_mean - jnp.log(shape_parameter))  # -log(1 - p)
    rate = shape_parameter * log_ratio
    left = 1.0 - _first_event(key_first, rate, shape) / jnp.maximum(
        rate, jnp.finfo(rate.dtype).tiny
    )
    # A logarithmic variable is geometric with a random probability (Kemp 1981).
    log_q = log1mexp(-log_ratio * jax.random.uniform(key_q, shape, rate.dtype))
    log_u = jnp.log1p(-jax.random.uniform(key_size, shape, rate.dtype))
    size = 1.0 + jnp.floor(log_u / jnp.minimum(log_q, -clipped_exp(-jnp.inf)))
    floor = clipped_exp(jnp.full_like(left, -jnp.inf))
    left = jnp.maximum(left, floor)
    rest = NegativeBinomialLog(log_mean + jnp.log(left), jnp.maximum(shape_parameter * left, floor))
    return size + rest.sample(key_rest)


def _positive_counts(distribution, key, shape):
    """Draw counts that are not 0 from any distribution of counts.

    Zeros are drawn again, up to 64 times; what then is 0 still (where zeros are nearly certain)
    is found by adding up the probabilities of 1, 2, ..., up to 100,000.
    """
    key_first, key_again, key_sum = jax.random.split(key, 3)
    expanded = distribution.expand(shape)

    def redraw(state):
        tries, key, value = state
        key, sub = jax.random.split(key)
        return tries + 1, key, jnp.where(value < 1, expanded.sample(sub), value)

    state = (0, key_again, expanded.sample(key_first))
    _, _, value = jax.lax.while_loop(lambda s: (s[0] < _TRIES) & jnp.any(s[2] < 1), redraw, state)
    some = jnp.exp(log_prob_some(expanded))
    target = jax.random.uniform(key_sum, shape, some.dtype) * some

    def add(state):
        count, total, value = state
        total = total + jnp.exp(expanded.log_prob(jnp.full(shape, count)))
        here = (value < 1) & ((total >= target) | (count >= _LONGEST))
        return count + 1, total, jnp.where(here, count.astype(value.dtype), value)

    state = (jnp.asarray(1), jnp.zeros_like(target), value)
    return jax.lax.while_loop(lambda s: jnp.any(s[2] < 1), add, state)[2]


#: How to draw what is not 0 without a loop, for distributions where that is known.
_POSITIVE: dict[type, Callable] = {
    PoissonLog: _positive_poisson,
    NegativeBinomialLog: _positive_negbinomial,
}


# --- distributions ---


class _WithZeros(dist.Distribution):
    """Abstract: zeros with some probability, otherwise a draw from another distribution."""

    arg_constraints = {"log_zero": constraints.real, "log_rest": constraints.real}
    pytree_data_fields = ("base_dist", "log_zero", "log_rest")

    def __init__(self, base_dist, log_zero, log_rest, *, validate_args=None):
        self.base_dist = base_dist
        (self.log_zero, self.log_rest), shape = aligned(log_zero, log_rest)
        shape = np.broadcast_shapes(shape, base_dist.batch_shape)
        super().__init__(shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw values, shape sample_shape + batch_shape."""
        key_zero, key_base = jax.random.split(key)
        shape = sample_shape + self.batch_shape
        zero = jax.random.bernoulli(key_zero, jnp.exp(self.log_zero), shape)
        draw = self.base_dist.expand(self.batch_shape).sample(key_base, sample_shape)
        return jnp.where(zero, 0, draw)

    @property
    def mean(self):
        """The base's mean times the probability of a draw from it."""
        return jnp.broadcast_to(jnp.exp(self.log_rest) * self.base_dist.mean, self.batch_shape)

    @property
    def variance(self):
        """The variance w (V + (1 - w) m**2), w being the weight of the base."""
        base = self.base_dist
        variance = thinned_variance(base.mean, base.variance, self.log_rest)
        return jnp.broadcast_to(variance, self.batch_shape)


class ZeroInflated(_WithZeros):
    """A distribution of counts with zeros added.

    Parameters
    ----------
    base_dist : Distribution
        Of counts; its probability of y is f(y).
    log_zero, log_rest : array_like
        log(zi) and log(1 - zi), zi being the probability of an added zero.

    Notes
    -----
    P(0) = zi + (1 - zi) f(0), and P(y) = (1 - zi) f(y).
    """

    @property
    def support(self):
        """That of the base."""
        return self.base_dist.support

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the count `value`."""
        rest = self.log_rest + self.base_dist.log_prob(value)
        return jnp.where(value == 0, log_add(self.log_zero, rest), rest)


class ZeroTruncated(dist.Distribution):
    """A distribution of counts given that they are not 0.

    Parameters
    ----------
    base_dist : Distribution
        Of counts; its probability of y is f(y).

    Notes
    -----
    P(y) = f(y) / (1 - f(0)) for y = 1, 2, ...; the logarithm of 1 - f(0) keeps its digits where
    f(0) rounds to 1.
    """

    arg_constraints = {}
    pytree_data_fields = ("base_dist",)
    _support = constraints.positive_integer

    def __init__(self, base_dist, *, validate_args=None):
        self.base_dist = base_dist
        super().__init__(base_dist.batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw counts from 1, shape sample_shape + batch_shape."""
        draw = _POSITIVE.get(type(self.base_dist), _positive_counts)
        return draw(self.base_dist, key, sample_shape + self.batch_shape)

    @property
    def _log_some(self):
        return log_prob_some(self.base_dist)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of a `value` from 1."""
        return self.base_dist.log_prob(value) - self._log_some

    @property
    def mean(self):
        """The base's over 1 - f(0)."""
        return self.base_dist.mean * jnp.exp(-self._log_some)

    @property
    def variance(self):
        """The variance, (V + m**2) / (1 - f(0)) less the squared mean."""
        return thinned_variance(self.base_dist.mean, self.base_dist.variance, -self._log_some)


class Hurdle(_WithZeros):
    """Zeros, and a distribution of values that are not 0.

    Parameters
    ----------
    base_dist : Distribution
        Of values that are never 0, continuous or not, with density f(y).
    log_zero, log_rest : array_like
        log(hu) and log(1 - hu), hu being the probability of 0.
    inside : float
        Any value that the base allows. Its density is evaluated there where the value is 0.

    Notes
    -----
    P(0) = hu; otherwise the density (or probability) is (1 - hu) f(y).
    """

    pytree_aux_fields = ("inside",)

    def __init__(self, base_dist, log_zero, log_rest, inside=1.0, *, validate_args=None):
        self.inside = inside
        super().__init__(base_dist, log_zero, log_rest, validate_args=validate_args)

    @property
    def support(self):
        """That of the base, and 0."""
        base = self.base_dist.support
        if base is constraints.positive_integer:
            return constraints.nonnegative_integer
        return constraints.nonnegative if base is constraints.positive else base

    @validate_sample
    def log_prob(self, value):
        """Return the log density at `value`; at 0 it is a log probability."""
        above = jnp.where(value == 0, jnp.asarray(self.inside, jnp.result_type(value)), value)
        rest = self.log_rest + self.base_dist.log_prob(above)
        return jnp.where(value == 0, self.log_zero, rest)


class ZerosBetaOnes(dist.Distribution):
    """A beta distribution with zeros and ones.

    Parameters
    ----------
    base_dist : BetaLog
        Of what is between 0 and 1.
    log_zero, log_rest, log_one : array_like
        The logarithms of the probabilities of 0, of a value in between and of 1.
    """

    arg_constraints = {
        "log_zero": constraints.real,
        "log_rest": constraints.real,
        "log_one": constraints.real,
    }
    pytree_data_fields = ("base_dist", "log_zero", "log_rest", "log_one")
    _support = constraints.unit_interval

    def __init__(self, base_dist, log_zero, log_rest, log_one, *, validate_args=None):
        self.base_dist = base_dist
        (self.log_zero, self.log_rest, self.log_one), shape = aligned(log_zero, log_rest, log_one)
        shape = np.broadcast_shapes(shape, base_dist.batch_shape)
        super().__init__(shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw values from 0 to 1, shape sample_shape + batch_shape."""
        key_kind, key_base = jax.random.split(key)
        shape = sample_shape + self.batch_shape
        draw = self.base_dist.expand(self.batch_shape).sample(key_base, sample_shape)
        u = jax.random.uniform(key_kind, shape, draw.dtype)
        # Ones at the upper end of u, zeros at the lower one: no sum of probabilities is needed.
        draw = jnp.where(u < jnp.exp(self.log_zero), 0.0, draw)
        return jnp.where(1.0 - u <= jnp.exp(self.log_one), 1.0, draw)

    @validate_sample
    def log_prob(self, value):
        """Return the log density at `value`; at 0 and 1 it is a log probability."""
        within = (value > 0) & (value < 1)
        rest = self.log_rest + self.base_dist.log_prob(jnp.where(within, value, 0.5))
        return jnp.where(within, rest, jnp.where(value == 0, self.log_zero, self.log_one))

    @property
    def mean(self):
        """The mean."""
        mean = jnp.exp(self.log_one) + jnp.exp(self.log_rest) * self.base_dist.mean
        return jnp.broadcast_to(mean, self.batch_shape)

    @property
    def variance(self):
        """The variance of the base, and of the three means."""
        zero, rest, one = (jnp.exp(x) for x in (self.log_zero, self.log_rest, self.log_one))
        mean, base = self.mean, self.base_dist
        between = zero * mean**2 + rest * (base.mean - mean) ** 2 + one * (1.0 - mean) ** 2
        return rest * base.variance + between
