"""Families for amounts that are often exactly 0, with no separate part for the zeros: tweedie.

Those that model zeros apart (hurdle families) are in `mixtures`. To add one, see `continuous`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.base import Family, Parameter
from bayesmm.families.counts import PoissonLog
from bayesmm.families.numerics import HALF_LOG_2PI, log1pmx, stirling_error
from bayesmm.families.response import NONNEGATIVE
from bayesmm.links import clipped_exp

_TERMS = 128


class Tweedie(dist.Distribution):
    """Tweedie distribution with a power between 1 and 2: a Poisson number of gamma amounts.

    Parameters
    ----------
    log_mean : array_like
        Logarithm of the mean mu.
    dispersion : array_like
        phi, positive: the variance is phi mu**p.
    power : array_like
        p, between 1 and 2.

    Notes
    -----
    There are Poisson(mu**(2 - p) / (phi (2 - p))) amounts, each gamma distributed with shape
    a = (2 - p) / (p - 1) and scale phi (p - 1) mu**(p - 1). With no amounts y is 0. For y > 0 the
    density is a sum over their number j (Dunn and Smyth 2005). With c = y**(2 - p) / (phi (2 - p)),
    where its terms are largest, and Stirling's formula for both factorials it becomes

        f(y) = sqrt(a) / (2 pi y) exp(-D / (2 phi)) sum_j exp(-c h(j / c) / (p - 1) - e(j) - e(a j))

    where D is the unit deviance, h(r) = r log(r) - r + 1, and e is `stirling_error`. Nothing large
    cancels in it. The terms are log-concave in j with standard deviation s = sqrt(c (p - 1)).
    128 nodes reach beyond 9 s on either side: every j up to about s = 6, and above that
    equidistant nodes, where the error is below exp(-2 pi**2 (s / step)**2) < 1e-300 and that of
    what is left out, below exp(-40). There is no y, mu or phi at which more would be needed.
    Next to p = 1 the distribution is on multiples of phi and the density oscillates; the link
    keeps p between 1.01 and 1.99, as is customary (Wood, Pya and Saefken 2016).
    """

    arg_constraints = {
        "log_mean": constraints.real,
        "dispersion": constraints.positive,
        "power": constraints.interval(1.0, 2.0),
    }
    _support = constraints.nonnegative

    def __init__(self, log_mean, dispersion, power, *, validate_args=None):
        parameters, batch_shape = aligned(log_mean, dispersion, power)
        self.log_mean, self.dispersion, self.power = parameters
        super().__init__(batch_shape, validate_args=validate_args)

    def _log_rate(self, log_mean):
        """Return log(mean**(2 - p) / (phi (2 - p)))."""
        q = 2.0 - self.power
        return q * log_mean - jnp.log(self.dispersion) - jnp.log(q)

    def sample(self, key: Any, sample_shape=()):
        """Draw amounts, shape sample_shape + batch_shape."""
        key_number, key_amount = jax.random.split(key)
        shape = sample_shape + self.batch_shape
        log_rate = jnp.broadcast_to(self._log_rate(self.log_mean), shape)
        number = PoissonLog(log_rate).sample(key_number)
        some = number > 0
        each = (2.0 - self.power) / (self.power - 1.0)
        log_unit = jax.random.loggamma(key_amount, each * jnp.where(some, number, 1.0), shape)
        log_scale = jnp.log(self.dispersion * (self.power - 1.0))
        amount = clipped_exp(log_unit + log_scale + (self.power - 1.0) * self.log_mean)
        return jnp.where(some, amount, 0.0)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of 0, or the log density at a positive `value`."""
        some = value > 0
        log_y = jnp.log(jnp.where(some, value, 1.0))
        p, q = self.power - 1.0, 2.0 - self.power
        # The deviance: with r = log(y / mu) it is mu**q / phi times
        # (q (exp(r) - 1 - r) - (exp(q r) - 1 - q r)) / (p q).
        log_ratio = log_y - self.log_mean
        unit = clipped_exp(q * self.log_mean - jnp.log(self.dispersion))
        fall = unit * (_expm1mx(log_ratio) - _expm1mx(q * log_ratio) / q) / p
        log_sum = _log_sum(clipped_exp(self._log_rate(log_y)), p, q)
        positive = 0.5 * jnp.log(q / p) - 2.0 * HALF_LOG_2PI - log_y - fall + log_sum
        return jnp.where(some, positive, -clipped_exp(self._log_rate(self.log_mean)))

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(clipped_exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, phi mu**p."""
        return self.dispersion * clipped_exp(self.power * self.log_mean)


def _expm1mx(x):
    """Return exp(x) - 1 - x, without cancellation near 0, and held within finite floats."""
    near = jnp.abs(x) < 0.5
    small, series = jnp.where(near, x, 0.0), 0.0
    for k in range(16, 1, -1):
        series = (1.0 + series) * small / k
    # series = x / 2 + x**2 / 6 + ...
    return jnp.where(near, series * small, clipped_exp(x) - 1.0 - x)


def _log_sum(centre, p, q):
    """Return the logarithm of the sum over j, for p = power - 1 and q = 2 - power."""
    kind = jnp.result_type(centre, p, q, float)
    centre, p, q = jnp.broadcast_arrays(*(jnp.asarray(x, kind)[..., None] for x in (centre, p, q)))
    # The sum does not depend on its nodes, so that no gradient goes through them.
    fixed, spread = jax.lax.stop_gradient(centre), jax.lax.stop_gradient(jnp.sqrt(centre * p))
    start = jnp.maximum(jnp.floor(fixed - 9.5 * spread) - 1.0, 1.0) - fixed
    step = jnp.maximum((10.5 * spread + 20.0 - start) / (_TERMS - 1.0), 1.0)
    # j - c, and j. A node next to a huge c is known by its distance alone.
    apart = start + step * jnp.arange(_TERMS, dtype=kind)
    j = jnp.maximum(fixed + apart, 1.0)
    distance = apart + (fixed - centre)
    t = distance / centre
    near = jnp.abs(t) < 0.4
    small, far = jnp.where(near, t, 0.0), jnp.where(near, 1.0, j)
    h = jnp.where(
        near,
        centre * ((1.0 + small) * log1pmx(small) + small**2),
        far * jnp.log(far / centre) - (far - centre),
    )
    terms = -h / p - stirling_error(j) - stirling_error(j * (q / p))
    return jnp.log(step[..., 0]) + jax.scipy.special.logsumexp(terms, axis=-1)


tweedie = Family(
    name="tweedie",
    width=400,
    parameters=(
        Parameter("mu", links=("log", "identity", "sqrt", "softplus"), support="positive"),
        Parameter(
            # phi has the unit of the response to the power 2 - p, which is 1/2 for p = 1.5.
            "phi",
            links=("log", "softplus"),
            support="positive",
            prior=("HalfStudentT", (1.0, "sqrt(scale)")),
        ),
        Parameter(
            "power",
            links=("logit_1_2",),
            support="one_two",
            prior=("Uniform", (1.01, 1.99)),
            intercept_prior=("Normal", (0.0, 1.5)),
        ),
    ),
    response=NONNEGATIVE,
    distribution=lambda v: Tweedie(v.log("mu"), v.phi, v.power),
    mean=lambda v: v.mu,
    variance=lambda v: v.phi * clipped_exp(v.power * v.log("mu")),
    about="mean mu, variance phi mu^power, 1 < power < 2; P(0) > 0",
    elsewhere=(("glmmTMB", "tweedie"),),
)

FAMILIES = (tweedie,)
