"""Logarithms of the incomplete beta and gamma functions, with every derivative.

They are the distribution functions of the beta, Student, gamma, binomial, Poisson and negative
binomial distributions. JAX has `betainc` and `gammainc`, but not their logarithms (so that tails
underflow), and no derivatives of `betainc` in a and b. Here both tails come in logarithms, from
arguments that may themselves be given in logarithms, and are differentiable in everything.

Method
------
In u = logit(t), or log(t) for the gamma function, the densities behind them are log-concave. The
smaller tail, measured from the argument outwards by s >= 0, is a factor in front (written without
cancellation, see `_log_beta_kernel`) times the integral of exp(g(s)), where g is concave and
falls from 0. The recurrence in a takes 8 terms off the lower tail first; what is left falls
at least like exp(-8 s), and 40 Gauss-Legendre nodes up to the s with g(s) = -34 give it to
1e-13 for a and b from 1e-3 up, without upper limit. There is no iteration that could fail to
converge. The other tail is one minus the smaller. Derivatives in a and b are those of the
integral at fixed nodes; the derivative in the argument is the density.

The gamma functions are as good for smaller a, by a series. The beta function is weaker below
1e-3: where the smaller tail is next to 1 its logarithm loses relative (not absolute) accuracy, and
near the mode the integrand has a plateau as long as log(1/b), which costs digits: an error of 1e-9
remains at b = 1e-6, and of 1e-4 at 1e-12.
"""

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.families.numerics import (
    HALF_LOG_2PI,
    expm1mx,
    log1mexp,
    log1pmx,
    log_gamma1p,
    stirling_error,
)

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS
_DEPTH = 34.0  # exp(-34) = 2e-15 of the integrand is left out
_TERMS = 8  # taken off by the recurrence


def log_betainc(a, b, x):
    """Return log I_x(a, b), the logarithm of the regularised incomplete beta function.

    Parameters
    ----------
    a, b : array_like
        Positive.
    x : array_like
        From 0 to 1. Where x is next to 1 and 1 - x matters, use `log_betainc_tails`.

    Returns
    -------
    jax.Array
        -inf at 0 and 0 at 1, where the gradients are 0. ``1 - I_x(a, b) = I_(1-x)(b, a)``.
    """
    inside = (x > 0.0) & (x < 1.0)
    safe = jnp.where(inside, x, 0.5)
    value = log_betainc_tails(a, b, jnp.log(safe), jnp.log1p(-safe))[0]
    return jnp.where(inside, value, jnp.where(x >= 1.0, 0.0, jnp.where(x <= 0.0, -jnp.inf, x)))


def log_gammainc(a, x):
    """Return log P(a, x), the logarithm of the regularised lower incomplete gamma function.

    Parameters
    ----------
    a : array_like
        Positive.
    x : array_like
        From 0 to infinity.

    Returns
    -------
    jax.Array
        -inf at 0 and 0 at infinity, where the gradients are 0.
    """
    return _gamma_tail(a, x, 0, -jnp.inf, 0.0)


def log_gammaincc(a, x):
    """Return log Q(a, x) = log(1 - P(a, x)); see `log_gammainc`."""
    return _gamma_tail(a, x, 1, 0.0, -jnp.inf)


def _gamma_tail(a, x, which, at_zero, at_infinity):
    inside = (x > 0.0) & (x < jnp.inf)
    value = log_gammainc_tails(a, jnp.log(jnp.where(inside, x, 1.0)))[which]
    outside = jnp.where(x <= 0.0, at_zero, jnp.where(x == jnp.inf, at_infinity, x))
    return jnp.where(inside, value, outside)


def log_betainc_tails(a, b, log_x, log1m_x):
    """Return log I_x(a, b) and log(1 - I_x(a, b)), given log(x) and log(1 - x).

    Parameters
    ----------
    a, b : array_like
        Positive.
    log_x, log1m_x : array_like
        Negative and finite, the logarithms of x and of 1 - x. Both are needed, as links give
        them, because neither can be had from the other without loss.

    Returns
    -------
    tuple of jax.Array
        Both tails.
    """
    return _beta_tails(*_floats(a, b, log_x, log1m_x))


def log_gammainc_tails(a, log_x):
    """Return log P(a, x) and log Q(a, x), given log(x).

    Parameters
    ----------
    a : array_like
        Positive.
    log_x : array_like
        Finite; x is held below the third root of the largest float.

    Returns
    -------
    tuple of jax.Array
        Both tails.
    """
    return _gamma_tails(*_floats(a, log_x))


def _floats(*arguments):
    """Return the arguments as floating arrays of one shape and precision."""
    kind = jnp.result_type(*arguments, float)
    return jnp.broadcast_arrays(*[jnp.asarray(each, kind) for each in arguments])


def _log_integral(exponent, slope, parameters, end):
    """Return the logarithm of the integral of exp(exponent(s, *parameters)) over s > 0.

    The exponent is concave and falls from 0, `slope` is its derivative in s, and `end` a guess of
    where it is -34.
    """
    held, end = jax.lax.stop_gradient((parameters, end))

    def newton(_, end):
        # A step on a concave function ends to the right of the root, and then comes down to it.
        fall = jnp.minimum(slope(end, *held), -jnp.finfo(end.dtype).tiny)
        return jnp.clip(end - (exponent(end, *held) + _DEPTH) / fall, 0.25 * end, 4.0 * end)

    # The integral does not depend on where it is cut off, so no derivative goes through this.
    end = jax.lax.fori_loop(0, 6, newton, end)[..., None]
    nodes, weights = (jnp.asarray(each, end.dtype) for each in (_NODES, _WEIGHTS))
    # Above 0 the exponent is rounding error, of parameters that are huge.
    values = exponent(end * nodes, *(each[..., None] for each in parameters))
    total = jnp.exp(jnp.minimum(values, 0.0)) @ weights
    return jnp.log(end[..., 0]) + jnp.log(total)


def _fall_quadratic(slope, curvature):
    """Return where slope s + curvature s**2 / 2 is 34, for slope and curvature above 0."""
    return 2.0 * _DEPTH / (slope + jnp.sqrt(slope**2 + 2.0 * _DEPTH * curvature))


# --- beta ---


@jax.custom_jvp
def _log_beta_kernel(a, b, log_x, log1m_x):
    """Return log(x**a (1 - x)**b / (x0**a (1 - x0)**b)) where x0 = a / (a + b).

    With t = x / x0 - 1 it is a (log1p(t) - t) and the same of b, for the two t cancel on paper.
    """
    (t, v), _ = _relative(a, b, log_x, log1m_x)
    return a * _log1pmx_or(t, log_x + jnp.log1p(b / a)) + b * _log1pmx_or(
        v, log1m_x + jnp.log1p(a / b)
    )


@_log_beta_kernel.defjvp
def _(primals, tangents):
    a, b, log_x, log1m_x = primals
    a_dot, b_dot, log_x_dot, log1m_x_dot = tangents
    (t, v), excess = _relative(a, b, log_x, log1m_x)
    slope_a = _log1p_or(t, log_x + jnp.log1p(b / a))
    slope_b = _log1p_or(v, log1m_x + jnp.log1p(a / b))
    along = -excess * (log_x_dot - log1m_x_dot)
    return _log_beta_kernel(*primals), slope_a * a_dot + slope_b * b_dot + along


def _relative(a, b, log_x, log1m_x):
    """Return x / x0 - 1 and (1 - x) / (1 - x0) - 1, and b x - a (1 - x)."""
    excess = b * jnp.exp(log_x) - a * jnp.exp(log1m_x)
    return (excess / a, -excess / b), excess


def _log1pmx_or(t, direct):
    near = jnp.abs(t) < 0.4
    return jnp.where(near, log1pmx(jnp.where(near, t, 0.0)), direct - t)


def _log1p_or(t, direct):
    near = jnp.abs(t) < 0.4
    return jnp.where(near, jnp.log1p(jnp.where(near, t, 0.0)), direct)


def _log_beta_density(a, b, log_x, log1m_x):
    """Return log(x**a (1 - x)**b / B(a, b)), the density of logit(x)."""
    total = a + b
    root = 0.5 * (jnp.log(a) - jnp.log1p(a / b)) - HALF_LOG_2PI
    remainder = stirling_error(total) - stirling_error(a) - stirling_error(b)
    return _log_beta_kernel(a, b, log_x, log1m_x) + root + remainder


def _beta_exponent(s, a, b, x, y):
    """Return what a log(t) + b log(1 - t) falls by when logit(t) falls from logit(x) by s."""
    log_ratio = jnp.log1p(y * jnp.expm1(s))  # of x to t
    # The same of 1 - x to 1 - t is log1p(x expm1(-s)), which is inaccurate for x near 1.
    near = x > 0.5
    log_ratio_1m = jnp.where(
        near, log_ratio - s, jnp.log1p(jnp.where(near, 0.5, x) * jnp.expm1(-s))
    )
    return -a * log_ratio - b * log_ratio_1m


def _lower_beta(a, b, log_x, log1m_x):
    """Return log I_x(a, b) for x up to about the mode of logit(x), and less the log density."""
    x, y = jnp.exp(log_x), jnp.exp(log1m_x)
    # I_x(a, b) = x**a y**b / (a B(a, b)) (sum of the terms) + I_x(a + 8, b)
    term, total = jnp.ones_like(a), jnp.zeros_like(a)
    for k in range(_TERMS):
        total = total + term
        term = term * x * ((a + b + k) / (a + 1.0 + k))
    a_raised = a + _TERMS
    end = jnp.minimum(
        _fall_quadratic(jnp.maximum(a_raised * y - b * x, 0.0), (a_raised + b) * x * y),
        jnp.log1p(_DEPTH / (a_raised * y)),
    )
    rest = _log_integral(
        _beta_exponent,
        lambda s, a, b, x, y: (b * x - a * y * jnp.exp(s)) / (x + y * jnp.exp(s)),
        (a_raised, b, x, y),
        end,
    )
    mills = jnp.log(total + a_raised * term * jnp.exp(rest)) - jnp.log(a)
    return _log_beta_density(a, b, log_x, log1m_x) + mills, mills


def _beta_direct(a, b, log_x, log1m_x):
    """Return the logarithm of the smaller tail, less the log density, and if it is the lower."""
    lower = jnp.log(b) + log_x <= jnp.log(a) + log1m_x
    direct, mills = _lower_beta(
        jnp.where(lower, a, b),
        jnp.where(lower, b, a),
        jnp.where(lower, log_x, log1m_x),
        jnp.where(lower, log1m_x, log_x),
    )
    # A tail that rounds to 1 leaves the other one a last bit, not the logarithm of 0.
    return jnp.minimum(direct, -(jnp.finfo(direct.dtype).eps ** 2)), mills, lower


@jax.custom_jvp
def _beta_tails(a, b, log_x, log1m_x):
    direct, _, lower = _beta_direct(a, b, log_x, log1m_x)
    return _both(direct, lower)


@_beta_tails.defjvp
def _(primals, tangents):
    a, b, log_x, log1m_x = primals
    (direct, mills, lower), (direct_dot, _, _) = jax.jvp(
        lambda a, b: _beta_direct(a, b, log_x, log1m_x), (a, b), tangents[:2]
    )
    # Of log(x) and log(1 - x) together: d logit(x) is the difference of their differentials.
    return _with_tangents(direct, mills, lower, direct_dot, tangents[2] - tangents[3])


def _both(direct, lower):
    """Return the lower and the upper tail, given one of them."""
    other = log1mexp(direct)
    return jnp.where(lower, direct, other), jnp.where(lower, other, direct)


def _with_tangents(direct, mills, lower, direct_dot, argument_dot):
    """Return both tails and their tangents, given those of the smaller one in a and b.

    In the argument, the derivative of a tail is the density, exp(-mills) of the smaller tail.
    """
    below, above = _both(direct, lower)
    direct_dot = direct_dot + jnp.exp(-mills) * jnp.where(lower, argument_dot, -argument_dot)
    other_dot = -jnp.exp(direct - jnp.where(lower, above, below)) * direct_dot
    below_dot = jnp.where(lower, direct_dot, other_dot)
    above_dot = jnp.where(lower, other_dot, direct_dot)
    return (below, above), (below_dot, above_dot)


# --- gamma ---


def _held_exp(log_x):
    # Beyond the reach of `clipped_exp`, but with a cube that is finite, for the sake of gradients.
    return jnp.exp(jnp.minimum(log_x, 0.33 * jnp.log(jnp.finfo(log_x.dtype).max)))


@jax.custom_jvp
def _log_gamma_kernel(a, log_x):
    """Return log((x / a)**a exp(a - x))."""
    t = (_held_exp(log_x) - a) / a
    return a * _log1pmx_or(t, log_x - jnp.log(a))


@_log_gamma_kernel.defjvp
def _(primals, tangents):
    a, log_x = primals
    excess = _held_exp(log_x) - a
    slope = _log1p_or(excess / a, log_x - jnp.log(a))
    return _log_gamma_kernel(a, log_x), slope * tangents[0] - excess * tangents[1]


def _log_gamma_density(a, log_x):
    """Return log(x**a exp(-x) / Gamma(a)), the density of log(x)."""
    root = 0.5 * jnp.log(a) - HALF_LOG_2PI
    return _log_gamma_kernel(a, log_x) + root - stirling_error(a)


def _lower_gamma(a, log_x):
    """Return log P(a, x) for x up to about a, and less the log density."""
    x = _held_exp(log_x)
    term, total = jnp.ones_like(a), jnp.zeros_like(a)
    for k in range(_TERMS):
        total = total + term
        term = term * (x / (a + 1.0 + k))
    a_raised = a + _TERMS
    end = jnp.minimum(_fall_quadratic(jnp.maximum(a_raised - x, 0.0), x), _DEPTH)
    rest = _log_integral(
        lambda s, a, x: (x - a) * s - x * expm1mx(-s),
        lambda s, a, x: x * jnp.exp(-s) - a,
        (a_raised, x),
        end,
    )
    mills = jnp.log(total + a_raised * term * jnp.exp(rest)) - jnp.log(a)
    return _log_gamma_density(a, log_x) + mills, mills


def _upper_gamma(a, log_x):
    """Return log Q(a, x) for x from about a, and less the log density."""
    x = _held_exp(log_x)
    end = jnp.minimum(_fall_quadratic(jnp.maximum(x - a, 0.0), x), jnp.log1p(_DEPTH / x))
    rest = _log_integral(
        lambda s, a, x: (a - x) * s - x * expm1mx(s),
        lambda s, a, x: a - x * jnp.exp(s),
        (a, x),
        end,
    )
    return _log_gamma_density(a, log_x) + rest, rest


def _lower_gamma_of_small(a, log_x):
    """Return log P(a, x) for a < 0.1 and x < 1, relatively accurate, and less the log density.

    There P(a, x) is next to 1 unless x is tiny, and the upper integral would have a plateau.
    """
    x = jnp.exp(log_x)
    series = 0.0
    for n in range(20, 0, -1):
        series = -x / n * (1.0 / (a + n) + series)
    rest = jnp.log1p(a * series)
    return a * log_x - log_gamma1p(a) + rest, x - jnp.log(a) + rest


def _gamma_direct(a, log_x):
    """Return the logarithm of one tail, less the log density, and whether it is the lower one.

    It is the smaller tail, or one that is accurate although it is next to 1.
    """
    log_a = jax.lax.stop_gradient(jnp.log(a))
    small = (a < 0.1) & (log_x < 0.0)
    lower = log_x <= log_a
    # Each sees only arguments that it is made for.
    below = _lower_gamma(a, jnp.minimum(log_x, log_a))
    above = _upper_gamma(a, jnp.maximum(log_x, log_a))
    of_small = _lower_gamma_of_small(jnp.where(small, a, 0.05), jnp.where(small, log_x, -1.0))
    return *(
        jnp.where(small, first, jnp.where(lower, second, third))
        for first, second, third in zip(of_small, below, above, strict=True)
    ), small | lower


@jax.custom_jvp
def _gamma_tails(a, log_x):
    direct, _, lower = _gamma_direct(a, log_x)
    return _both(direct, lower)


@_gamma_tails.defjvp
def _(primals, tangents):
    a, log_x = primals
    (direct, mills, lower), (direct_dot, _, _) = jax.jvp(
        lambda a: _gamma_direct(a, log_x), (a,), tangents[:1]
    )
    return _with_tangents(direct, mills, lower, direct_dot, tangents[1])
