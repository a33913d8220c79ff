"""Families for continuous responses: gaussian, student, lognormal, gamma.

To add one, write its record here and put it in `FAMILIES` at the end; NumPyro's distribution
serves where it is accurate, otherwise write one like those below. It then is in
`bayesmm.families`, and in the contract test, which asks for its density in mpmath.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.base import Family, Parameter
from bayesmm.families.numerics import HALF_LOG_2PI, log_rising, stirling_error
from bayesmm.families.response import POSITIVE, REAL
from bayesmm.links import clipped_exp


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


_SIGMA = Parameter(
    "sigma",
    links=("log", "softplus"),
    support="positive",
    prior=("HalfStudentT", (3.0, "scale")),
    intercept_prior=("StudentT", (3.0, "link(sd)", 2.5)),
)


def _student_variance(v):
    finite = v.nu > 2.0
    return jnp.where(finite, v.sigma**2 * v.nu / jnp.where(finite, v.nu - 2.0, 1.0), jnp.inf)


gaussian = Family(
    name="gaussian",
    parameters=(Parameter("mu", links=("identity", "log", "inverse")), _SIGMA),
    response=REAL,
    distribution=lambda v: dist.Normal(v.mu, v.sigma),
    mean=lambda v: v.mu,
    variance=lambda v: v.sigma**2,
)

student = Family(
    name="student",
    parameters=(
        Parameter("mu", links=("identity", "log", "inverse")),
        _SIGMA,
        # Above 1, so that the mean exists; hence not the log link.
        Parameter(
            "nu", links=("logm1",), support="above_one", prior=("TruncatedGamma", (2.0, 0.1, 1.0))
        ),
    ),
    response=REAL,
    distribution=lambda v: StudentT(v.nu, v.mu, v.sigma),
    mean=lambda v: v.mu,
    variance=_student_variance,
)

lognormal = Family(
    name="lognormal",
    parameters=(Parameter("mu", links=("identity", "inverse")), _SIGMA),
    response=POSITIVE,
    distribution=lambda v: dist.LogNormal(v.mu, v.sigma),
    mean=lambda v: jnp.exp(v.mu + 0.5 * v.sigma**2),
    variance=lambda v: jnp.expm1(v.sigma**2) * jnp.exp(2.0 * v.mu + v.sigma**2),
    location="log",
)

gamma = Family(
    name="gamma",
    parameters=(
        Parameter("mu", links=("log", "inverse", "identity", "softplus"), support="positive"),
        Parameter(
            "shape",
            links=("log", "softplus"),
            support="positive",
            prior=("InverseGamma", (0.4, 0.3)),
        ),
    ),
    response=POSITIVE,
    distribution=lambda v: GammaLog(v.log("mu"), v.shape),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu**2 / v.shape,
)

FAMILIES = (gaussian, student, lognormal, gamma)
