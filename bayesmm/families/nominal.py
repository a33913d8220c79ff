"""Families for several categories without an order: one of them, counts of each, shares of each.

Each category but the first, the reference, has a linear predictor of its own. They are log odds
against the reference, and the probabilities (the mean shares) are their softmax. Densities are
written with the logarithms of the probabilities, which `log_softmax` keeps accurate where a
probability underflows, and where it rounds to 1.

To add one, write its record here and put it in `FAMILIES` at the end; see `continuous`. A
distribution of a vector has the categories as its event: batch shape (n,), event shape (K,).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.families.base import Family, Parameter
from bayesmm.families.numerics import HALF_LOG_2PI, stirling_error
from bayesmm.families.response import COUNTS, NOMINAL, SHARES
from bayesmm.links import clipped_exp


def log_softmax(x):
    """Return x - log(sum(exp(x))) along the last axis, each element to full relative accuracy.

    `jax.nn.log_softmax` gives 0 for a category so likely that the others are lost beside it.
    """
    first = jnp.argmax(x, axis=-1, keepdims=True) == jnp.arange(x.shape[-1])
    shifted = x - jnp.where(first, x, 0.0).sum(axis=-1, keepdims=True)
    others = jnp.where(first, 0.0, jnp.exp(shifted)).sum(axis=-1, keepdims=True)
    return shifted - jnp.log1p(others)


class Categories(dist.Distribution):
    """One of K categories, coded 0 to K - 1, given the logarithms of their probabilities.

    Parameters
    ----------
    log_probabilities : array_like, shape (..., K)
        Logarithms of probabilities that add up to 1. They are taken as they are: unlike NumPyro's
        categorical distribution this one does not normalise, which would cost the accuracy of
        the smallest.
    """

    arg_constraints = {"log_probabilities": constraints.real_vector}

    def __init__(self, log_probabilities, *, validate_args=None):
        self.log_probabilities = jnp.asarray(log_probabilities)
        super().__init__(self.log_probabilities.shape[:-1], validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Whole numbers from 0 to K - 1."""
        return constraints.integer_interval(0, self.log_probabilities.shape[-1] - 1)

    def sample(self, key: Any, sample_shape=()):
        """Draw codes, as integers of shape sample_shape + batch_shape."""
        shape = sample_shape + self.batch_shape
        return jax.random.categorical(key, self.log_probabilities, shape=shape)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the category with the code `value`, a float or integer."""
        codes = jnp.arange(self.log_probabilities.shape[-1])
        # A sum over few categories; picking by index would scatter in the gradient.
        here = jnp.asarray(value)[..., None] == codes
        return jnp.where(here, self.log_probabilities, 0.0).sum(axis=-1)


class MultinomialLog(dist.Distribution):
    """Multinomial distribution given the logarithms of the probabilities.

    Parameters
    ----------
    log_probabilities : array_like, shape (..., K)
        Logarithms of probabilities that add up to 1.
    total_count : array_like
        Number of trials n of each row, a whole number from 0.

    Notes
    -----
    The log probability of counts y is ``log(n! / (y_1! ... y_K!)) + sum(y log(p))``. With
    Stirling's formula for the factorials, y log(y / n) meets y log(p), and the large terms cancel.
    """

    arg_constraints = {
        "log_probabilities": constraints.real_vector,
        "total_count": constraints.nonnegative_integer,
    }

    def __init__(self, log_probabilities, total_count, *, validate_args=None):
        log_p, total = jnp.asarray(log_probabilities), jnp.asarray(total_count)
        batch_shape = jax.lax.broadcast_shapes(log_p.shape[:-1], total.shape)
        self.log_probabilities = jnp.broadcast_to(log_p, batch_shape + log_p.shape[-1:])
        self.total_count = jnp.broadcast_to(total, batch_shape)
        super().__init__(batch_shape, log_p.shape[-1:], validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Whole numbers that add up to the number of trials."""
        return constraints.multinomial(self.total_count)

    def sample(self, key: Any, sample_shape=()):
        """Draw counts (whole numbers as floats), shape sample_shape + batch_shape + (K,)."""
        shape = sample_shape + self.batch_shape
        p = jnp.exp(self.log_probabilities)
        return jax.random.multinomial(key, self.total_count.astype(p.dtype), p, shape=shape)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the counts `value`, shape (..., K)."""
        total = self.total_count.astype(self.log_probabilities.dtype)
        some, n = value > 0, jnp.maximum(total, 1.0)
        # What has no counts does not matter, even when its probability is 0.
        y = jnp.where(some, value, 1.0)
        excess = self.log_probabilities - jnp.log(y) + jnp.log(n)[..., None]
        terms = y * excess - 0.5 * jnp.log(y) - HALF_LOG_2PI - stirling_error(y)
        whole = 0.5 * jnp.log(n) + HALF_LOG_2PI + stirling_error(n)
        return jnp.where(total > 0, whole, 0.0) + jnp.where(some, terms, 0.0).sum(axis=-1)

    @property
    def mean(self):
        """Trials times probabilities."""
        return self.total_count[..., None] * jnp.exp(self.log_probabilities)

    @property
    def variance(self):
        """Trials times probabilities times one minus them."""
        return self.mean * -jnp.expm1(self.log_probabilities)


def _entropy_less_gammaln(x, log_x):
    """Return x log(x) - x - lgamma(x): half of log(x / (2 pi)) for large x, log(x) for tiny x."""
    # The logarithm comes apart, for an x so tiny that it was held at the smallest float.
    is_large = x >= 1.0
    large, small = jnp.where(is_large, x, 1.0), jnp.where(is_large, 1.0, x)
    far = 0.5 * log_x - HALF_LOG_2PI - stirling_error(large)
    near = log_x - gammaln(1.0 + small) + small * (log_x - 1.0)
    return jnp.where(is_large, far, near)


class DirichletLog(dist.Distribution):
    """Dirichlet distribution given the logarithms of its means, and its precision.

    Parameters
    ----------
    log_mean : array_like, shape (..., K)
        Logarithms of the mean shares, which add up to 1.
    precision : array_like
        phi, positive: the concentrations are ``alpha = phi * mean``, the variances
        ``mean (1 - mean) / (1 + phi)``.

    Notes
    -----
    The log density is ``lgamma(phi) + sum((alpha - 1) log(y) - lgamma(alpha))``. It is computed as
    ``sum(alpha (log(y) - log(mean)) - log(y) + g(alpha)) - g(phi)`` with
    ``g(x) = x log(x) - x - lgamma(x)``, in which the terms of the order of phi log(phi) are gone.
    """

    arg_constraints = {"log_mean": constraints.real_vector, "precision": constraints.positive}

    def __init__(self, log_mean, precision, *, validate_args=None):
        log_mean, precision = jnp.asarray(log_mean), jnp.asarray(precision)
        batch_shape = jax.lax.broadcast_shapes(log_mean.shape[:-1], precision.shape)
        self.log_mean = jnp.broadcast_to(log_mean, batch_shape + log_mean.shape[-1:])
        self.precision = jnp.broadcast_to(precision, batch_shape)
        super().__init__(batch_shape, log_mean.shape[-1:], validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Positive numbers that add up to 1."""
        return constraints.simplex

    def _log_alpha(self):
        return self.log_mean + jnp.log(self.precision)[..., None]

    def sample(self, key: Any, sample_shape=()):
        """Draw positive shares, shape sample_shape + batch_shape + (K,).

        A share that underflows becomes the smallest float.
        """
        alpha = clipped_exp(self._log_alpha())
        shape = sample_shape + alpha.shape
        # Of gammas with tiny alpha only the logarithms can be told apart.
        draw = jax.nn.softmax(jax.random.loggamma(key, alpha, shape), axis=-1)
        return jnp.maximum(draw, jnp.finfo(draw.dtype).tiny)

    @validate_sample
    def log_prob(self, value):
        """Return the log density at the positive shares `value`, shape (..., K)."""
        log_y, log_alpha = jnp.log(value), self._log_alpha()
        alpha = clipped_exp(log_alpha)
        terms = alpha * (log_y - self.log_mean) - log_y + _entropy_less_gammaln(alpha, log_alpha)
        whole = _entropy_less_gammaln(self.precision, jnp.log(self.precision))
        return terms.sum(axis=-1) - whole

    @property
    def mean(self):
        """The mean shares."""
        return jnp.exp(self.log_mean)

    @property
    def variance(self):
        """The variances, mean (1 - mean) / (1 + phi)."""
        return self.mean * -jnp.expm1(self.log_mean) / (1.0 + self.precision)[..., None]


def _log_softmax(v):
    return log_softmax(v.linear("mu"))


def _softmax(v):
    return jnp.exp(_log_softmax(v))


_MU = Parameter("mu", links=("identity",), each_category=True)
_SOFTMAX = "mu_k the log odds of category k against the first: p_k = exp(mu_k) / sum(exp(mu))"

categorical = Family(
    name="categorical",
    parameters=(_MU,),
    response=NOMINAL,
    distribution=lambda v: Categories(_log_softmax(v)),
    mean=_softmax,
    about=f"softmax: {_SOFTMAX}, with mu = 0 for the first",
    elsewhere=(("brms", "categorical"), ("Bambi", "categorical")),
)

multinomial = Family(
    name="multinomial",
    parameters=(_MU,),
    response=COUNTS,
    distribution=lambda v: MultinomialLog(_log_softmax(v), v.trials),
    mean=lambda v: jnp.asarray(v.trials)[..., None] * _softmax(v),
    about=f"softmax: {_SOFTMAX}; means n p_k, n the sum of a row's counts",
    elsewhere=(("brms", "multinomial"), ("Bambi", "multinomial")),
)

dirichlet = Family(
    name="dirichlet",
    parameters=(
        _MU,
        Parameter(
            "phi",
            links=("log", "softplus"),
            support="positive",
            prior=("InverseGamma", (0.4, 0.3)),
        ),
    ),
    response=SHARES,
    distribution=lambda v: DirichletLog(_log_softmax(v), v.phi),
    mean=_softmax,
    about=f"softmax: {_SOFTMAX}; means p_k, variances p_k (1 - p_k) / (1 + phi)",
    elsewhere=(("brms", "dirichlet"),),
)

FAMILIES = (categorical, multinomial, dirichlet)
