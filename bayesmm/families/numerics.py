"""Differences of log-gamma functions that keep their digits.

Densities of overdispersed families contain lgamma(a + b) - lgamma(a). For large a both terms are
huge and their difference is small: at a = 1e12 double precision leaves 3 digits after the point,
and the automatic derivative is worse. The functions below take the large part out by hand
(Stirling's formula), so that it cancels on paper and not in floating point, in the value and in
the gradient. Density code should use them instead of `gammaln` wherever a parameter is inside.
"""

import math

import jax.numpy as jnp
from jax.scipy.special import gammaln

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

# Coefficients B_2k / (2k (2k - 1)) of Stirling's series in 1/x, 1/x**3, ... (Abramowitz and
# Stegun 6.1.41). The first one left out, 43867 / (244188 x**17), is below 2e-18 for x >= 10.
_STIRLING = (
    1 / 12,
    -1 / 360,
    1 / 1260,
    -1 / 1680,
    1 / 1188,
    -691 / 360360,
    1 / 156,
    -3617 / 122400,
)
_LARGE = 10.0


def stirling_error(x):
    """Return lgamma(x) less Stirling's approximation to it.

    Parameters
    ----------
    x : array_like
        Positive values.

    Returns
    -------
    jax.Array
        ``lgamma(x) - ((x - 1/2) log(x) - x + log(2 pi) / 2)``, about ``1 / (12 x)`` for large x.
    """
    x = jnp.asarray(x, jnp.result_type(x, float))
    is_large = x >= _LARGE
    # Each branch sees only arguments it can take, so that the other's gradient is not NaN.
    large, small = jnp.where(is_large, x, _LARGE), jnp.where(is_large, 1.0, x)
    square, series = 1.0 / large**2, 0.0
    for coefficient in reversed(_STIRLING):
        series = series * square + coefficient
    direct = gammaln(small) - (small - 0.5) * jnp.log(small) + small - HALF_LOG_2PI
    return jnp.where(is_large, series / large, direct)


def log_rising(x, y):
    """Return log(Gamma(x + y) / (Gamma(x) x**y)).

    The rising factorial x (x + 1) ... (x + y - 1) relative to x**y, which tends to 1 as x grows.

    Parameters
    ----------
    x : array_like
        Positive values, from tiny to huge.
    y : array_like
        Non-negative values, not necessarily whole.

    Returns
    -------
    jax.Array
        The error is of the order of y log(1 + y / x) roundings, whatever the size of x.
    """
    main = (x + y - 0.5) * jnp.log1p(y / x) - y
    return main + stirling_error(x + y) - stirling_error(x)


def log_beta(a, b):
    """Return the logarithm of the beta function, for positive a and b.

    `jax.scipy.special.betaln` is off by 7e-7 at (8, 6), as of JAX 0.12: hence this one.
    """
    total = a + b
    small, large = jnp.minimum(a, b), jnp.maximum(a, b)
    powers = (small - 0.5) * jnp.log(small / total) + (large - 0.5) * jnp.log1p(-small / total)
    remainder = stirling_error(a) + stirling_error(b) - stirling_error(total)
    return powers - 0.5 * jnp.log(total) + HALF_LOG_2PI + remainder


def log_choose(n, k):
    """Return the logarithm of the binomial coefficient of n over k, for 0 <= k <= n."""
    n, k = (jnp.asarray(v, jnp.result_type(v, float)) for v in (n, k))
    return -jnp.log1p(n) - log_beta(n - k + 1.0, k + 1.0)
