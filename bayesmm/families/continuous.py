"""Families for responses on the real line: gaussian, student, laplace and skewed ones.

To add one, write its record here and put it in `FAMILIES` at the end; NumPyro's distribution
serves where it is accurate, otherwise write one like those below. It then is in
`bayesmm.families`, and in the contract test, which asks for its density in mpmath. With
`tails_above` it gets distribution functions from one function for both tails, and so censoring and
truncation; `special` has the integrals that some need.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.base import Family, Parameter
from bayesmm.families.numerics import HALF_LOG_2PI, log1mexp, log_rising
from bayesmm.families.response import REAL
from bayesmm.families.shared import SIGMA, tails_above
from bayesmm.families.special import (
    log_exgaussian_cdf,
    log_exgaussian_kernel,
    log_normal_cdf,
    log_skew_normal_tails,
    log_student_cdf,
)

_LOG2 = math.log(2.0)


class StudentT(dist.Distribution):
    """Student's t, accurate for any number of degrees of freedom.

    NumPyro's takes a difference of two log-gammas of df, which leaves an error of 1e-4 at
    df = 1e12. The sampler gets there whenever the data look Gaussian.

    Parameters
    ----------
    df : array_like
        Degrees of freedom, positive.
    loc, scale : array_like
        Location and (positive) scale.
    """

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    _support = constraints.real
    reparametrized_params = ["df", "loc", "scale"]

    def __init__(self, df, loc=0.0, scale=1.0, *, validate_args=None):
        (self.df, self.loc, self.scale), batch_shape = aligned(df, loc, scale)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw values, shape sample_shape + batch_shape."""
        return dist.StudentT(self.df, self.loc, self.scale).sample(key, sample_shape)

    @validate_sample
    def log_prob(self, value):
        """Return the log density at `value`."""
        z = (value - self.loc) / self.scale
        kernel = -0.5 * (self.df + 1.0) * jnp.log1p(z**2 / self.df)
        return log_rising(0.5 * self.df, 0.5) - HALF_LOG_2PI - jnp.log(self.scale) + kernel

    @property
    def mean(self):
        """The mean, for df > 1."""
        return dist.StudentT(self.df, self.loc, self.scale).mean

    @property
    def variance(self):
        """The variance, infinite for df <= 2."""
        return dist.StudentT(self.df, self.loc, self.scale).variance


class SkewNormal(dist.Distribution):
    """Skew normal distribution given its mean, its standard deviation and its skewness parameter.

    Parameters
    ----------
    mean_value, sd : array_like
        Mean and (positive) standard deviation.
    alpha : array_like
        Skewness parameter: 0 is the normal distribution, infinity a half-normal one.

    Notes
    -----
    The density is ``2 phi(z) Phi(alpha z) / omega`` with ``z = (y - xi) / omega``. With
    ``delta = alpha / sqrt(1 + alpha**2)`` and ``m = sqrt(2 / pi) delta``, the mean is
    ``xi + omega m`` and the variance ``omega**2 (1 - m**2)``.
    """

    arg_constraints = {
        "mean_value": constraints.real,
        "sd": constraints.positive,
        "alpha": constraints.real,
    }
    _support = constraints.real
    reparametrized_params = ["mean_value", "sd", "alpha"]

    def __init__(self, mean_value, sd, alpha, *, validate_args=None):
        (self.mean_value, self.sd, self.alpha), batch_shape = aligned(mean_value, sd, alpha)
        super().__init__(batch_shape, validate_args=validate_args)

    def _location_and_scale(self):
        """Return xi, omega and delta."""
        delta = self.alpha / jnp.sqrt(1.0 + self.alpha**2)
        m = math.sqrt(2.0 / math.pi) * delta
        omega = self.sd / jnp.sqrt(1.0 - m**2)
        return self.mean_value - omega * m, omega, delta

    def sample(self, key: Any, sample_shape=()):
        """Draw values, shape sample_shape + batch_shape."""
        xi, omega, delta = self._location_and_scale()
        folded, normal = jax.random.normal(key, (2, *sample_shape, *self.batch_shape))
        return xi + omega * (delta * jnp.abs(folded) + normal / jnp.sqrt(1.0 + self.alpha**2))

    def standardised(self, value):
        """Return z."""
        xi, omega, _ = self._location_and_scale()
        return (value - xi) / omega

    @validate_sample
    def log_prob(self, value):
        """Return the log density at `value`."""
        xi, omega, _ = self._location_and_scale()
        z = (value - xi) / omega
        return _LOG2 - HALF_LOG_2PI - jnp.log(omega) - 0.5 * z**2 + log_normal_cdf(self.alpha * z)

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(self.mean_value, self.batch_shape)

    @property
    def variance(self):
        """The variance."""
        return jnp.broadcast_to(self.sd**2, self.batch_shape)


class ExGaussian(dist.Distribution):
    """The sum of a normal and an exponential variable, given its mean.

    Parameters
    ----------
    mean_value : array_like
        Mean of the sum.
    sigma, beta : array_like
        Standard deviation of the normal, and mean of the exponential part; positive.

    Notes
    -----
    With ``z = (y - mean + beta) / sigma`` and ``r = sigma / beta`` the density is
    ``exp(r**2 / 2 - r z) Phi(z - r) / beta``.
    """

    arg_constraints = {
        "mean_value": constraints.real,
        "sigma": constraints.positive,
        "beta": constraints.positive,
    }
    _support = constraints.real
    reparametrized_params = ["mean_value", "sigma", "beta"]

    def __init__(self, mean_value, sigma, beta, *, validate_args=None):
        (self.mean_value, self.sigma, self.beta), batch_shape = aligned(mean_value, sigma, beta)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw values, shape sample_shape + batch_shape."""
        shape = sample_shape + self.batch_shape
        key_normal, key_exponential = jax.random.split(key)
        normal = jax.random.normal(key_normal, shape)
        exponential = jax.random.exponential(key_exponential, shape)
        return self.mean_value + self.sigma * normal + self.beta * (exponential - 1.0)

    def standardised(self, value):
        """Return z and r."""
        return (value - self.mean_value + self.beta) / self.sigma, self.sigma / self.beta

    @validate_sample
    def log_prob(self, value):
        """Return the log density at `value`."""
        return log_exgaussian_kernel(*self.standardised(value)) - jnp.log(self.beta)

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(self.mean_value, self.batch_shape)

    @property
    def variance(self):
        """The variance, sigma**2 + beta**2."""
        return jnp.broadcast_to(self.sigma**2 + self.beta**2, self.batch_shape)


class AsymmetricLaplace(dist.Distribution):
    """Asymmetric Laplace distribution, whose location is a quantile.

    Parameters
    ----------
    loc, scale : array_like
        The quantile, and the (positive) scale sigma.
    quantile : array_like
        The probability q of a value below `loc`, between 0 and 1.

    Notes
    -----
    The density is ``q (1 - q) / sigma exp(-rho(z))`` with ``z = (y - loc) / sigma`` and the check
    function ``rho(z) = z (q - (z < 0))`` of quantile regression.
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "quantile": constraints.unit_interval,
    }
    _support = constraints.real
    reparametrized_params = ["loc", "scale"]

    def __init__(self, loc, scale, quantile=0.5, *, validate_args=None):
        (self.loc, self.scale, self.quantile), batch_shape = aligned(loc, scale, quantile)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw values, shape sample_shape + batch_shape."""
        above, below = jax.random.exponential(key, (2, *sample_shape, *self.batch_shape))
        return self.loc + self.scale * (above / self.quantile - below / (1.0 - self.quantile))

    @validate_sample
    def log_prob(self, value):
        """Return the log density at `value`."""
        z = (value - self.loc) / self.scale
        check = z * jnp.where(z < 0.0, self.quantile - 1.0, self.quantile)
        return jnp.log(self.quantile) + jnp.log1p(-self.quantile) - jnp.log(self.scale) - check

    @property
    def mean(self):
        """The mean."""
        q = self.quantile
        return jnp.broadcast_to(
            self.loc + self.scale * (1.0 - 2.0 * q) / (q * (1.0 - q)), self.batch_shape
        )

    @property
    def variance(self):
        """The variance."""
        q = self.quantile
        squares = (1.0 - 2.0 * q + 2.0 * q**2) / (q * (1.0 - q)) ** 2
        return jnp.broadcast_to(self.scale**2 * squares, self.batch_shape)


# --- both tails, at finite y ---


def _gaussian_tails(v, y):
    z = (y - v.mu) / v.sigma
    return log_normal_cdf(z), log_normal_cdf(-z)


def _student_tails(v, y):
    z = (y - v.mu) / v.sigma
    return log_student_cdf(z, v.nu), log_student_cdf(-z, v.nu)


def _skew_normal_tails(v, y):
    return log_skew_normal_tails(SkewNormal(v.mu, v.sigma, v.alpha).standardised(y), v.alpha)


def _exgaussian_tails(v, y):
    z, rate = ExGaussian(v.mu, v.sigma, v.beta).standardised(y)
    above = jnp.logaddexp(log_normal_cdf(-z), log_exgaussian_kernel(z, rate))
    return log_exgaussian_cdf(z, rate), above


def _asymmetric_laplace_tails(v, y):
    q, z = v.quantile, (y - v.mu) / v.sigma
    left = z < 0.0
    # P(Y <= y) to the left of mu, P(Y > y) to the right of it; the other follows.
    below = jnp.log(q) + (1.0 - q) * jnp.where(left, z, 0.0)
    above = jnp.log1p(-q) - q * jnp.where(left, 0.0, z)
    return jnp.where(left, below, log1mexp(above)), jnp.where(left, log1mexp(below), above)


def _laplace_tails(v, y):
    z = (y - v.mu) / v.sigma
    left = z < 0.0
    below, above = jnp.where(left, z, 0.0) - _LOG2, -jnp.where(left, 0.0, z) - _LOG2
    return jnp.where(left, below, log1mexp(above)), jnp.where(left, log1mexp(below), above)


# --- the families ---


def _student_variance(v):
    finite = v.nu > 2.0
    return jnp.where(finite, v.sigma**2 * v.nu / jnp.where(finite, v.nu - 2.0, 1.0), jnp.inf)


_MU = Parameter("mu", links=("identity", "log", "inverse"))

_log_cdf, _log_sf = tails_above(_gaussian_tails)
gaussian = Family(
    name="gaussian",
    parameters=(_MU, SIGMA),
    response=REAL,
    distribution=lambda v: dist.Normal(v.mu, v.sigma),
    mean=lambda v: v.mu,
    variance=lambda v: v.sigma**2,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    known_error="sigma",
    normal_sd="sigma",
    about="mean mu, standard deviation sigma",
    elsewhere=(("brms", "gaussian"), ("glmmTMB", "gaussian"), ("Bambi", "gaussian")),
)

_log_cdf, _log_sf = tails_above(_student_tails)
student = Family(
    name="student",
    parameters=(
        _MU,
        SIGMA,
        # Above 1, so that the mean exists; hence not the log link.
        Parameter(
            "nu", links=("logm1",), support="above_one", prior=("TruncatedGamma", (2.0, 0.1, 1.0))
        ),
    ),
    response=REAL,
    distribution=lambda v: StudentT(v.nu, v.mu, v.sigma),
    mean=lambda v: v.mu,
    variance=_student_variance,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    known_error="sigma",
    about="location mu, scale sigma, nu degrees of freedom; variance sigma^2 nu/(nu - 2)",
    elsewhere=(("brms", "student"), ("glmmTMB", "t_family"), ("Bambi", "t")),
)

_log_cdf, _log_sf = tails_above(_skew_normal_tails)
skew_normal = Family(
    name="skew_normal",
    parameters=(_MU, SIGMA, Parameter("alpha", prior=("Normal", (0.0, 4.0)))),
    response=REAL,
    distribution=lambda v: SkewNormal(v.mu, v.sigma, v.alpha),
    mean=lambda v: v.mu,
    variance=lambda v: v.sigma**2,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="mean mu, standard deviation sigma, skewness parameter alpha (0: gaussian)",
    elsewhere=(("brms", "skew_normal"), ("glmmTMB", "skewnormal")),
)

_log_cdf, _log_sf = tails_above(_exgaussian_tails)
exgaussian = Family(
    name="exgaussian",
    parameters=(
        _MU,
        SIGMA,
        Parameter(
            "beta",
            links=("log", "softplus"),
            support="positive",
            # In the unit of the response, unlike the Gamma(1, 0.1) of brms.
            prior=("HalfStudentT", (3.0, "scale")),
            intercept_prior=("StudentT", (3.0, "link(sd)", 2.5)),
        ),
    ),
    response=REAL,
    distribution=lambda v: ExGaussian(v.mu, v.sigma, v.beta),
    mean=lambda v: v.mu,
    variance=lambda v: v.sigma**2 + v.beta**2,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="mean mu of the sum of a gaussian (sd sigma) and an exponential part (mean beta)",
    elsewhere=(("brms", "exgaussian"),),
)

_log_cdf, _log_sf = tails_above(_laplace_tails)
laplace = Family(
    name="laplace",
    parameters=(_MU, SIGMA),
    response=REAL,
    distribution=lambda v: dist.Laplace(v.mu, v.sigma),
    mean=lambda v: v.mu,
    variance=lambda v: 2.0 * v.sigma**2,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="mean mu, scale sigma, variance 2 sigma^2",
    elsewhere=(("Bambi", "laplace"),),
)

_log_cdf, _log_sf = tails_above(_asymmetric_laplace_tails)
asymmetric_laplace = Family(
    name="asymmetric_laplace",
    parameters=(_MU, SIGMA, Parameter("quantile", links=(), support="unit", fixed=0.5)),
    response=REAL,
    distribution=lambda v: AsymmetricLaplace(v.mu, v.sigma, v.quantile),
    mean=lambda v: AsymmetricLaplace(v.mu, v.sigma, v.quantile).mean,
    variance=lambda v: AsymmetricLaplace(v.mu, v.sigma, v.quantile).variance,
    log_cdf=_log_cdf,
    log_sf=_log_sf,
    about="quantile mu, scale sigma; the density exp(-rho((y - mu)/sigma)) of quantile regression",
    elsewhere=(("brms", "asym_laplace"), ("Bambi", "asymmetriclaplace")),
)

FAMILIES = (gaussian, student, skew_normal, exgaussian, laplace, asymmetric_laplace)
