"""Families for positive responses: lognormal, gamma, weibull, inverse_gaussian and others.

To add one, write its record here and put it in `FAMILIES` at the end; see `continuous`. The
distributions take the logarithm of the mean, which the log link gives without loss.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.base import Family, Parameter
from bayesmm.families.incomplete import log_gammainc_tails
from bayesmm.families.numerics import HALF_LOG_2PI, log1mexp, log_gamma1p, stirling_error
from bayesmm.families.response import POSITIVE
from bayesmm.families.shared import SIGMA, tails_above
from bayesmm.families.special import log_exgaussian_cdf, log_normal_cdf
from bayesmm.links import LINKS, Transform, clipped_exp, log_mills

#: log(1 - exp(-exp(u))): the distribution function of the logarithm of an exponential variable.
_log_cdf_of_log_exponential = cast(Transform, LINKS["cloglog"].log_inverse)


class GammaLog(dist.Distribution):
    """Gamma distribution given the logarithm of its mean, and its shape.

    Parameters
    ----------
    log_mean : array_like
        Logarithm of the mean.
    shape_parameter : array_like
        The shape k, positive; the variance is mean**2 / k.

    Notes
    -----
    With u = log(y / mean) the log density is ``k (u - exp(u)) + k log k - lgamma(k) - log y``.
    It is written with ``u - (exp(u) - 1)``, which is near 0 where the density is, and with what
    then remains of ``k log k - k - lgamma(k)`` after Stirling's formula.
    """

    arg_constraints = {"log_mean": constraints.real, "shape_parameter": constraints.positive}
    _support = constraints.positive
    reparametrized_params = ["log_mean", "shape_parameter"]

    def __init__(self, log_mean, shape_parameter, *, validate_args=None):
        (self.log_mean, self.shape_parameter), batch_shape = aligned(log_mean, shape_parameter)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw positive values, shape sample_shape + batch_shape.

        A shape below about 0.01 mostly draws values that no float holds; in logarithms they
        exist, and end as the smallest value of `clipped_exp` instead of an exact 0.
        """
        shape = jnp.broadcast_to(self.shape_parameter, self.batch_shape)
        log_draw = jax.random.loggamma(key, shape, sample_shape + self.batch_shape)
        return clipped_exp(self.log_mean + log_draw - jnp.log(shape))

    @validate_sample
    def log_prob(self, value):
        """Return the log density at a positive `value`."""
        k, log_value = self.shape_parameter, jnp.log(value)
        u = log_value - self.log_mean
        # The exponential is clipped against overflow; near u = 0 expm1 keeps the digits.
        excess = jnp.where(u < 1.0, jnp.expm1(jnp.minimum(u, 1.0)), clipped_exp(u) - 1.0)
        constant = 0.5 * jnp.log(k) - HALF_LOG_2PI - stirling_error(k)
        return k * (u - excess) + constant - log_value

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(clipped_exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, mean**2 / shape."""
        return self.mean**2 / self.shape_parameter


class ShiftedLogNormal(dist.Distribution):
    """The distribution of shift + exp(x), x being normal.

    Parameters
    ----------
    mu, sigma : array_like
        Mean and (positive) standard deviation of log(y - shift).
    shift : array_like
        Where the support begins.
    """

    arg_constraints = {
        "mu": constraints.real,
        "sigma": constraints.positive,
        "shift": constraints.real,
    }
    reparametrized_params = ["mu", "sigma", "shift"]

    def __init__(self, mu, sigma, shift, *, validate_args=None):
        (self.mu, self.sigma, self.shift), batch_shape = aligned(mu, sigma, shift)
        super().__init__(batch_shape, validate_args=validate_args)

    @property
    def support(self):
        """Positive numbers; up to the shift the log density is -inf."""
        return constraints.positive

    def sample(self, key: Any, sample_shape=()):
        """Draw values above the shift, shape sample_shape + batch_shape."""
        normal = jax.random.normal(key, sample_shape + self.batch_shape)
        return self.shift + clipped_exp(self.mu + self.sigma * normal)

    @validate_sample
    def log_prob(self, value):
        """Return the log density at `value`, -inf with gradients of 0 up to the shift."""
        inside = value > self.shift
        log_rest = jnp.log(jnp.where(inside, value - self.shift, 1.0))
        z = (log_rest - self.mu) / self.sigma
        log_density = -0.5 * z**2 - HALF_LOG_2PI - jnp.log(self.sigma) - log_rest
        return jnp.where(inside, log_density, -jnp.inf)

    @property
    def mean(self):
        """The mean."""
        mean = self.shift + jnp.exp(self.mu + 0.5 * self.sigma**2)
        return jnp.broadcast_to(mean, self.batch_shape)

    @property
    def variance(self):
        """The variance, that of the distribution without shift."""
        return jnp.broadcast_to(_lognormal_variance(self.mu, self.sigma), self.batch_shape)


class WeibullLog(dist.Distribution):
    """Weibull distribution given the logarithm of its mean, and its shape.

    Parameters
    ----------
    log_mean : array_like
        Logarithm of the mean.
    shape_parameter : array_like
        The shape k, positive; 1 makes it the exponential distribution.

    Notes
    -----
    With the scale ``s = mean / Gamma(1 + 1/k)`` and ``u = k log(y / s)``, exp(u) is a standard
    exponential variable, and the log density is ``log(k) - log(y) + u - exp(u)``.
    """

    arg_constraints = {"log_mean": constraints.real, "shape_parameter": constraints.positive}
    _support = constraints.positive
    reparametrized_params = ["log_mean", "shape_parameter"]

    def __init__(self, log_mean, shape_parameter=1.0, *, validate_args=None):
        (self.log_mean, self.shape_parameter), batch_shape = aligned(log_mean, shape_parameter)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw positive values, shape sample_shape + batch_shape."""
        log_exponential = -jax.random.gumbel(key, sample_shape + self.batch_shape)
        k = self.shape_parameter
        return clipped_exp(self.log_mean - log_gamma1p(1.0 / k) + log_exponential / k)

    def log_standardised(self, value):
        """Return u at a positive `value`."""
        k = self.shape_parameter
        return k * (jnp.log(value) - self.log_mean) + k * log_gamma1p(1.0 / k)

    @validate_sample
    def log_prob(self, value):
        """Return the log density at a positive `value`."""
        u = self.log_standardised(value)
        return jnp.log(self.shape_parameter) - jnp.log(value) + u - clipped_exp(u)

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(clipped_exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, mean**2 (Gamma(1 + 2/k) / Gamma(1 + 1/k)**2 - 1)."""
        k = self.shape_parameter
        return self.mean**2 * jnp.expm1(log_gamma1p(2.0 / k) - 2.0 * log_gamma1p(1.0 / k))


class InverseGaussianLog(dist.Distribution):
    """Inverse Gaussian (Wald) distribution given the logarithms of its mean and its shape.

    Parameters
    ----------
    log_mean, log_shape : array_like
        Logarithms of the mean mu and of the shape; the variance is mu**3 / shape.

    Notes
    -----
    With ``u = log(y / mu)`` and ``z = 2 sqrt(shape / mu) sinh(u / 2)`` the density is
    ``sqrt(shape / y**3) phi(z)``.
    """

    arg_constraints = {"log_mean": constraints.real, "log_shape": constraints.real}
    _support = constraints.positive
    reparametrized_params = ["log_mean", "log_shape"]

    def __init__(self, log_mean, log_shape, *, validate_args=None):
        (self.log_mean, self.log_shape), batch_shape = aligned(log_mean, log_shape)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw positive values, shape sample_shape + batch_shape.

        After Michael, Schucany and Haas (1976): a square of a normal variable is z**2 at two
        values of y, one of which is drawn.
        """
        shape = sample_shape + self.batch_shape
        key_square, key_side = jax.random.split(key)
        log_half = jnp.log(0.5 * jax.random.chisquare(key_square, 1.0, shape=shape))
        w = clipped_exp(self.log_mean - self.log_shape + log_half)
        u = jnp.log1p(w + jnp.sqrt(w) * jnp.sqrt(2.0 + w))
        lower = jax.random.uniform(key_side, shape) < jax.nn.sigmoid(u)
        return clipped_exp(self.log_mean + jnp.where(lower, -u, u))

    def standardised(self, value):
        """Return z, and minus its counterpart 2 sqrt(shape / mu) cosh(u / 2) less |z|."""
        u = jnp.log(value) - self.log_mean
        log_root = 0.5 * (self.log_shape - self.log_mean)
        near = jnp.abs(u) < 1.0
        small = 2.0 * clipped_exp(log_root) * jnp.sinh(jnp.where(near, 0.5 * u, 0.0))
        large = clipped_exp(log_root + 0.5 * u) - clipped_exp(log_root - 0.5 * u)
        gap = 2.0 * clipped_exp(log_root + 0.5 * jnp.where(u < 0.0, u, -u))
        return jnp.where(near, small, large), gap

    def log_kernel(self, value):
        """Return -z**2 / 2."""
        log_value = jnp.log(value)
        near = jnp.abs(log_value - self.log_mean) < 1.0
        squared = self.standardised(jnp.where(near, value, 1.0))[0] ** 2
        # Elsewhere a sum, so that the mean has no part in the term that is largest for small y.
        log_terms = self.log_shape + log_value - 2.0 * self.log_mean, self.log_shape - log_value
        product = clipped_exp(self.log_shape - self.log_mean)
        sum_ = clipped_exp(log_terms[0]) + clipped_exp(log_terms[1]) - 2.0 * product
        return -0.5 * jnp.where(near, squared, sum_)

    @validate_sample
    def log_prob(self, value):
        """Return the log density at a positive `value`."""
        constant = 0.5 * self.log_shape - HALF_LOG_2PI
        return constant - 1.5 * jnp.log(value) + self.log_kernel(value)

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(clipped_exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, mean**3 / shape."""
        return jnp.broadcast_to(clipped_exp(3.0 * self.log_mean - self.log_shape), self.batch_shape)


# --- both tails, at finite y within the support ---


def _zero(v):
    return 0.0


def _lognormal_tails(v, y):
    z = (jnp.log(y) - v.mu) / v.sigma
    return log_normal_cdf(z), log_normal_cdf(-z)


def _shifted_lognormal_tails(v, y):
    z = (jnp.log(y - v.shift) - v.mu) / v.sigma
    return log_normal_cdf(z), log_normal_cdf(-z)


def _gamma_tails(v, y):
    return log_gammainc_tails(v.shape, jnp.log(v.shape) + jnp.log(y) - v.log("mu"))


def _weibull_tails(v, y, shape=None):
    k = v.shape if shape is None else shape
    u = WeibullLog(v.log("mu"), k).log_standardised(y)
    return _log_cdf_of_log_exponential(u), -clipped_exp(u)


def _inverse_gaussian_tails(v, y):
    # The two terms of the distribution function, exp(2 shape / mu) and all, are
    # phi(z) M(z) and phi(z) M(-|z| - gap), where M = Phi / phi. Their difference for the upper
    # tail is the distribution function of a normal plus an exponential variable.
    distribution = InverseGaussianLog(v.log("mu"), v.log("shape"))
    z, gap = distribution.standardised(y)
    left = z < -1.0
    lower, upper = jnp.where(left, z, -1.0), jnp.where(left, 0.0, z)
    terms = jnp.logaddexp(log_mills(lower), log_mills(lower - gap))
    below = terms + jnp.where(left, distribution.log_kernel(y), 0.0) - HALF_LOG_2PI
    above = log_exgaussian_cdf(-upper, gap + jnp.where(upper < 0.0, -2.0 * upper, 0.0))
    # Where it is not asked for, the lower tail is at z = -1 and below 1 all the same.
    below = jnp.where(left, below, -1.0)
    return jnp.where(left, below, log1mexp(above)), jnp.where(left, log1mexp(below), above)


# --- the families ---


def _lognormal_variance(mu, sigma):
    return jnp.expm1(sigma**2) * jnp.exp(2.0 * mu + sigma**2)


_MU_OF_LOG = Parameter("mu", links=("identity", "inverse"))
_MU = Parameter("mu", links=("log", "inverse", "identity", "softplus"), support="positive")
_SHAPE = Parameter(
    "shape", links=("log", "softplus"), support="positive", prior=("InverseGamma", (0.4, 0.3))
)

# In the unit of the response: var = mu^3 / shape.
_SHAPE_IN_UNITS = Parameter(
    "shape",
    links=("log", "softplus"),
    support="positive",
    prior=("HalfStudentT", (1.0, "scale")),
    intercept_prior=("StudentT", (3.0, "link(sd)", 2.5)),
)

_log_cdf, _log_sf = tails_above(_lognormal_tails, _zero)
lognormal = Family(
    name="lognormal",
    parameters=(_MU_OF_LOG, SIGMA),
    response=POSITIVE,
    distribution=lambda v: dist.LogNormal(v.mu, v.sigma),
    mean=lambda v: jnp.exp(v.mu + 0.5 * v.sigma**2),
    variance=lambda v: _lognormal_variance(v.mu, v.sigma),
    location="log",
    normal_sd="sigma",
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="mean mu and standard deviation sigma of log(y)",
    elsewhere=(("brms", "lognormal"), ("glmmTMB", "lognormal (of y itself)")),
)

_log_cdf, _log_sf = tails_above(_shifted_lognormal_tails, lambda v: v.shift)
shifted_lognormal = Family(
    name="shifted_lognormal",
    parameters=(
        _MU_OF_LOG,
        SIGMA,
        Parameter(
            "shift",
            links=("log", "softplus"),
            support="positive",
            prior=("Uniform", (0.0, "min")),
            intercept_prior=("StudentT", (3.0, "link(min/2)", 1.0)),
        ),
    ),
    response=POSITIVE,
    distribution=lambda v: ShiftedLogNormal(v.mu, v.sigma, v.shift),
    mean=lambda v: v.shift + jnp.exp(v.mu + 0.5 * v.sigma**2),
    variance=lambda v: _lognormal_variance(v.mu, v.sigma),
    location="log",
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="mean mu and standard deviation sigma of log(y - shift)",
    elsewhere=(("brms", "shifted_lognormal"),),
)

_log_cdf, _log_sf = tails_above(_gamma_tails, _zero)
gamma = Family(
    name="gamma",
    parameters=(_MU, _SHAPE),
    response=POSITIVE,
    distribution=lambda v: GammaLog(v.log("mu"), v.shape),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu**2 / v.shape,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="mean mu, variance mu^2/shape",
    elsewhere=(("brms", "Gamma"), ("glmmTMB", "Gamma"), ("Bambi", "gamma")),
)

_log_cdf, _log_sf = tails_above(lambda v, y: _weibull_tails(v, y, 1.0), _zero)
exponential = Family(
    name="exponential",
    parameters=(_MU,),
    response=POSITIVE,
    distribution=lambda v: WeibullLog(v.log("mu")),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu**2,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="mean mu, variance mu^2",
    elsewhere=(("brms", "exponential"), ("Bambi", "exponential")),
)

_log_cdf, _log_sf = tails_above(_weibull_tails, _zero)
weibull = Family(
    name="weibull",
    parameters=(_MU, _SHAPE),
    response=POSITIVE,
    distribution=lambda v: WeibullLog(v.log("mu"), v.shape),
    mean=lambda v: v.mu,
    variance=lambda v: WeibullLog(v.log("mu"), v.shape).variance,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="mean mu, scale mu/Gamma(1 + 1/shape)",
    elsewhere=(("brms", "weibull"), ("Bambi", "weibull")),
)

_log_cdf, _log_sf = tails_above(_inverse_gaussian_tails, _zero)
inverse_gaussian = Family(
    name="inverse_gaussian",
    parameters=(_MU, _SHAPE_IN_UNITS),
    response=POSITIVE,
    distribution=lambda v: InverseGaussianLog(v.log("mu"), v.log("shape")),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu**3 / v.shape,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="mean mu, variance mu^3/shape",
    elsewhere=(("brms", "inverse.gaussian"), ("Bambi", "wald")),
)

FAMILIES = (lognormal, shifted_lognormal, gamma, exponential, weibull, inverse_gaussian)
