"""Special functions of continuous families, in logarithms and stable in their tails.

Those that are integrals are computed with Gauss-Legendre nodes from where the integrand is
largest to where it is below exp(-34) of that, so that automatic derivatives of all orders are
right; `incomplete` has the incomplete beta and gamma functions, in the same way.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import i0e

from bayesmm.families.incomplete import log_betainc_tails
from bayesmm.families.numerics import HALF_LOG_2PI, log1mexp, log_rising
from bayesmm.links import log1pexp, log_mills

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS
_DEPTH = 34.0
_LOG2 = math.log(2.0)

# Of Hankel's expansion of I0(x) exp(-x) sqrt(2 pi x) in 1 / x: prod (2j - 1)**2 / (k! 8**k).
_HANKEL = tuple(
    math.prod((2 * j - 1) ** 2 for j in range(1, k + 1)) / (math.factorial(k) * 8**k)
    for k in range(17)
)
_LARGE = 30.0


def log_normal_cdf(z):
    """Return log Phi(z), with its relative accuracy where it is next to 0 too."""
    left = z < 0.0
    outer = jnp.where(left, z, -z)
    tail = log_mills(outer) - 0.5 * outer**2 - HALF_LOG_2PI
    return jnp.where(left, tail, log1mexp(tail))


def log_i0e(x):
    """Return log(I0(x)) - x for x >= 0, I0 being the modified Bessel function of order 0.

    JAX's `i0e` has a derivative that is a difference of two nearly equal numbers for large x.
    """
    x = jnp.asarray(x, jnp.result_type(x, float))
    is_large = x > _LARGE
    large, small = jnp.where(is_large, x, _LARGE), jnp.where(is_large, 1.0, x)
    series = 0.0
    for coefficient in reversed(_HANKEL[1:]):
        series = (series + coefficient) / large
    asymptotic = jnp.log1p(series) - 0.5 * jnp.log(large) - HALF_LOG_2PI
    return jnp.where(is_large, asymptotic, jnp.log(i0e(small)))


@jax.custom_jvp
def log_student_cdf(z, df):
    """Return the logarithm of Student's distribution function.

    Parameters
    ----------
    z : array_like
        Finite.
    df : array_like
        Degrees of freedom, positive.

    Notes
    -----
    For z < 0 it is half of I_x(df / 2, 1 / 2) with x = df / (df + z**2).
    """
    size = jnp.maximum(jnp.abs(z), jnp.finfo(jnp.result_type(z, float)).tiny ** 0.3)
    log_square = 2.0 * jnp.log(size) - jnp.log(df)
    x = -log1pexp(log_square), -log1pexp(-log_square)
    tail = log_betainc_tails(0.5 * df, 0.5, *x)[0] - _LOG2
    return jnp.where(z < 0.0, tail, log1mexp(tail))


@log_student_cdf.defjvp
def _(primals, tangents):
    z, df = primals
    value, from_df = jax.jvp(lambda df: log_student_cdf.fun(z, df), (df,), tangents[1:])
    kernel = -0.5 * (df + 1.0) * jnp.log1p(z**2 / df)
    log_density = log_rising(0.5 * df, 0.5) - HALF_LOG_2PI + kernel
    return value, from_df + jnp.exp(log_density - value) * tangents[0]


def log_exgaussian_kernel(z, rate):
    """Return log(phi(z) Phi(w) / phi(w)) with w = z - rate.

    It is the density at z of a standard normal plus an exponential of that rate, divided by the
    rate, and also ``exp(rate**2 / 2 - z rate) Phi(z - rate)``.
    """
    w = z - rate
    left = w < 0.0
    from_left = log_mills(jnp.where(left, w, -1.0)) - 0.5 * z**2 - HALF_LOG_2PI
    rate_, z_ = jnp.where(left, 1.0, rate), jnp.where(left, 1.0, z)
    from_right = log_normal_cdf(jnp.where(left, 1.0, w)) - rate_ * (z_ - 0.5 * rate_)
    return jnp.where(left, from_left, from_right)


def log_exgaussian_cdf(z, rate):
    """Return log P(Z + X <= z), Z being standard normal and X exponential of that rate.

    Parameters
    ----------
    z : array_like
        Finite.
    rate : array_like
        Positive.

    Notes
    -----
    It is the logarithm of ``Phi(z) - exp(rate**2 / 2 - z rate) Phi(z - rate)``. Where these are
    nearly equal, the integral of phi(t - z) (1 - exp(-rate t)) over t > 0 is used instead.
    """
    z, rate = jnp.broadcast_arrays(z, rate)
    whole, left = log_normal_cdf(z), z < 0.0
    log_ratio = jnp.where(
        left,
        log_mills(jnp.where(left, z - rate, -1.0)) - log_mills(jnp.where(left, z, 0.0)),
        log_exgaussian_kernel(jnp.where(left, 0.0, z), rate) - whole,
    )
    apart = log_ratio < -_LOG2
    direct = whole + log1mexp(jnp.where(apart, log_ratio, -1.0))
    return jnp.where(apart, direct, _log_exgaussian_integral(z, rate))


def _log_exgaussian_integral(z, rate):
    # In steps from t = 0 for z < 0, where the integrand falls, and else from t = z.
    left = z < 0.0
    width = math.sqrt(2.0 * _DEPTH)
    low = jnp.where(left, 0.0, jnp.where(z < width, -z, -width))
    high = jnp.where(left, _normal_reach(jnp.abs(z)), width)
    low, high = (jax.lax.stop_gradient(end)[..., None] for end in (low, high))
    step = low + (high - low) * jnp.asarray(_NODES, z.dtype)
    # A drift of 0, whose derivative holds the nodes where they are while they begin at t = 0;
    # farther up they move with z.
    drift = jnp.where(z < width, jax.lax.stop_gradient(z) - z, 0.0)[..., None]
    z_, left_ = z[..., None], left[..., None]
    t = jnp.where(left_, step, z_ + step + drift)
    exponent = jnp.where(left_, step * (z_ - 0.5 * step), -0.5 * (step + drift) ** 2)
    total = (jnp.exp(exponent) * -jnp.expm1(-rate[..., None] * t)) @ _WEIGHTS.astype(z.dtype)
    factor = jnp.where(left, -0.5 * z**2, 0.0) - HALF_LOG_2PI
    return factor + jnp.log((high - low)[..., 0]) + jnp.log(total)


def _normal_reach(slope):
    """Return where slope t + t**2 / 2 is 34."""
    return 2.0 * _DEPTH / (slope + jnp.sqrt(slope**2 + 2.0 * _DEPTH))


def log_skew_normal_tails(z, alpha):
    """Return log P(Z <= z) and log P(Z > z) for the density 2 phi(z) Phi(alpha z).

    Parameters
    ----------
    z, alpha : array_like
        Finite.

    Returns
    -------
    tuple of jax.Array
        Both tails.

    Notes
    -----
    For alpha > 0 and z < 0 the lower tail is an integral over one side of a Gaussian. For z > 0
    the upper tail is that of 2 phi(z) less the lower tail at -z, which is at most half of it. A
    negative alpha is the mirror image.
    """
    z, alpha = jnp.broadcast_arrays(z, alpha)
    mirrored = alpha < 0.0
    z, alpha = jnp.where(mirrored, -z, z), jnp.where(mirrored, -alpha, alpha)
    left = z <= 0.0
    outer = jnp.where(left, z, -z)
    relative = _skew_normal_lower(outer, alpha)
    tail = _LOG2 - 0.5 * outer**2 - HALF_LOG_2PI + relative
    above = _LOG2 + log_normal_cdf(outer) + log1mexp(relative - log_mills(outer))
    smaller = jnp.where(left, tail, above)
    larger = log1mexp(smaller)
    below = left != mirrored  # whether the smaller tail is the lower one
    return jnp.where(below, smaller, larger), jnp.where(below, larger, smaller)


def _skew_normal_lower(z, alpha):
    """Return log(P(Z <= z) / (2 phi(z))) for z <= 0 and alpha >= 0."""
    c = jnp.sqrt(1.0 + alpha**2)
    slope = -c * z
    end = jax.lax.stop_gradient(_normal_reach(slope))[..., None]
    t = end * jnp.asarray(_NODES, z.dtype)
    exponent = -t * (slope[..., None] + 0.5 * t)
    inner = log_mills((alpha * z)[..., None] - (alpha / c)[..., None] * t)
    total = jnp.exp(exponent + inner) @ _WEIGHTS.astype(z.dtype)
    size = jnp.log(end[..., 0]) + jnp.log(total)
    return size - 0.5 * (alpha * z) ** 2 - HALF_LOG_2PI - jnp.log(c)
