"""Link functions: how a parameter of a family is read from its linear predictor.

A `Link` holds both directions between the natural scale of a parameter (a mean, a probability, a
standard deviation) and the linear scale on which predictors add up, and the logarithm of the
natural value (and of one minus it) computed straight from the linear predictor. The logarithms
are what densities are made of: ``log(inverse(eta))`` loses everything where the inverse rounds to
0 or 1, ``log_inverse(eta)`` does not.

Branches are chosen by `where`, never by `minimum` or `maximum`, whose gradient at a tie (often at
eta = 0, where samplers start) is half of the right one. Functions that would overflow work with
`clipped_exp`, so that values and gradients stay finite for every linear predictor a sampler may
try. Two links, ``identity`` and ``inverse``, reach the whole real line; where a positive parameter
uses one of them, a linear predictor of the wrong sign gives NaN for the logarithm, hence a NaN log
density, which samplers reject.

To add a link, write its functions and add one `Link` to `_ALL` below. It then joins `LINKS`, the
families may name it, and `tests/unit/test_links.py` tests it (add its inverse in mpmath there).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc, ndtr, ndtri

from bayesmm.errors import FamilyError, did_you_mean, listing

type Transform = Callable[[jax.typing.ArrayLike], jax.Array]

#: The natural values that a link can produce, or a parameter can have, as open intervals.
SUPPORTS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "real": (-math.inf, math.inf),
        "positive": (0.0, math.inf),
        "unit": (0.0, 1.0),
        "above_one": (1.0, math.inf),
        "one_two": (1.0, 2.0),
    }
)

# Exponentials are kept between max**-0.3 and max**0.3, max being the largest float (about 1e-92
# and 1e92 in float64). A gradient through a standardised residual needs the cube of 1 / sigma:
# with 0.3 it still fits, and no infinity times zero can turn into NaN.
_EXP_POWER = 0.3


@dataclass(frozen=True)
class Link:
    """A link function, with what is needed to work in its tails.

    Parameters
    ----------
    name : str
        What the user types.
    forward : callable
        From the natural scale to the linear scale, elementwise, in JAX.
    inverse : callable
        From the linear scale to the natural scale. Finite, with a finite gradient, for every
        finite linear predictor.
    log_inverse : callable or None
        Logarithm of the natural value as a function of the linear predictor, accurate where the
        natural value underflows. None for links whose natural values may be negative.
    log1m_inverse : callable or None
        Logarithm of one minus the natural value. Only links onto the unit interval have it.
    support : str
        Which natural values the link can produce, one of `SUPPORTS`.
    scales_response : bool
        Whether the linked response has a location and a scale that default priors are made from.
    normal_mean : callable or None
        The mean of the natural value where the linear predictor is normal, as a function of its
        mean and variance. None for links where only quadrature finds it.
    has_normal_mean : bool
        Whether there is such a mean at all.
    latent_variance : float or None
        Of links onto the unit interval: the variance of the distribution whose distribution
        function `inverse` is, which a latent response varies by around the linear predictor. None
        where it has none.
    """

    name: str
    forward: Transform = field(repr=False)
    inverse: Transform = field(repr=False)
    log_inverse: Transform | None = field(repr=False)
    log1m_inverse: Transform | None = field(repr=False)
    support: str
    scales_response: bool = False
    normal_mean: Callable | None = field(default=None, repr=False)
    has_normal_mean: bool = True
    latent_variance: float | None = None

    @property
    def is_identity(self) -> bool:
        """Whether the linear predictor is the parameter itself."""
        return self.forward is _identity


def _as_float(x):
    """Return `x` as a floating array: integers become floats, floats keep their precision."""
    return jnp.asarray(x, jnp.result_type(x, float))


def clipped_exp(x):
    """Return exp(x), held within finite positive floats.

    Parameters
    ----------
    x : array_like
        Any real values.

    Returns
    -------
    jax.Array
        exp(x), clipped to about [1e-92, 1e92] in float64 and [3e-12, 3e11] in float32, where the
        gradient is 0.
    """
    x = _as_float(x)
    limit = _EXP_POWER * math.log(float(jnp.finfo(x.dtype).max))
    return jnp.exp(jnp.clip(x, -limit, limit))


@jax.custom_jvp
def log1pexp(x):
    """Return log(1 + exp(x)), with a gradient of the same exponential.

    The derivative that `jax.nn.softplus` brings along computes two exponentials more, which is
    most of what a density of logistic terms costs.
    """
    x = _as_float(x)
    return jnp.where(x > 0.0, x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@log1pexp.defjvp
def _(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    x = _as_float(x)
    e = jnp.exp(-jnp.abs(x))
    return log1pexp(x), jnp.where(x > 0.0, 1.0, e) / (1.0 + e) * x_dot


def log_add(a, b):
    """Return log(exp(a) + exp(b)) for finite a and b, with as cheap a gradient."""
    return a + log1pexp(b - a)


def _identity(x):
    return _as_float(x)


def _log(x):
    return jnp.log(_as_float(x))


# --- logit: mu = 1 / (1 + exp(-eta)) ---


def _logit(x):
    x = _as_float(x)
    return jnp.log(x) - jnp.log1p(-x)


def _log_sigmoid(eta):
    return -log1pexp(-_as_float(eta))


def _log1m_sigmoid(eta):
    return -log1pexp(_as_float(eta))


# --- probit: mu = Phi(eta), the standard normal distribution function ---


_FAR = -20.0
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def log_mills(z):
    """Return log(Phi(z) / phi(z)): the normal distribution function relative to its density.

    Parameters
    ----------
    z : array_like
        Any real values; the ratio is made for negative ones.

    Returns
    -------
    jax.Array
        For large negative z about ``-log(-z)``.
    """
    logs, near, is_far = _normal_tail(z)
    return logs + jnp.where(is_far, 0.0, 0.5 * near**2 + _HALF_LOG_2PI)


def _log_ndtr(eta):
    # Several times as fast as JAX's log_ndtr, whose gradient moreover is a difference of terms of
    # the size of eta**2: it has lost all digits, or is infinite, from -1e8 on.
    eta = _as_float(eta)
    logs, _, is_far = _normal_tail(eta)
    return logs - jnp.where(is_far, 0.5 * eta**2 + _HALF_LOG_2PI, 0.0)


def _normal_tail(z):
    """Return log(Phi / phi) where z is far below 0, else log(Phi); z, held there; where that is."""
    z = _as_float(z)
    is_far, above = z <= _FAR, z > 0.0
    far, near = jnp.where(is_far, z, _FAR), jnp.where(is_far, _FAR, z)
    # 1 - u (1 - 3 u (1 - 5 u (...))) with u = 1 / z**2; the first term left out is below 2e-16.
    u, series = 1.0 / far**2, 1.0
    for odd in (15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0):
        series = 1.0 - odd * u * series
    tail = 0.5 * erfc(jnp.where(above, near, -near) / math.sqrt(2.0))
    # Logarithms are the expensive part, so there is one of each kind.
    logs = jnp.log(jnp.where(is_far, -series / far, jnp.where(above, 1.0, tail)))
    return logs + jnp.log1p(-jnp.where(above, tail, 0.0)), near, is_far


def _log1m_ndtr(eta):
    return _log_ndtr(-_as_float(eta))


# --- cloglog: mu = 1 - exp(-exp(eta)) ---


def _cloglog(x):
    return jnp.log(-jnp.log1p(-_as_float(x)))


def _inv_cloglog(eta):
    return -jnp.expm1(-clipped_exp(eta))


def _log_inv_cloglog(eta):
    # log(1 - exp(-t)) with t = exp(eta). For t < 1 the factor t, which may underflow, is taken
    # out as eta; for t > 1 the value is log1p of a small number. The branch that is not taken
    # gets a harmless t, because a NaN there would survive `where` in the gradient.
    eta = _as_float(eta)
    t = clipped_exp(eta)
    small, large = jnp.where(t < 1.0, t, 1.0), jnp.where(t < 1.0, 1.0, t)
    return jnp.where(
        t < 1.0, eta + jnp.log(-jnp.expm1(-small) / small), jnp.log1p(-jnp.exp(-large))
    )


def _log1m_inv_cloglog(eta):
    return -clipped_exp(eta)


# --- cauchit: mu = 1/2 + atan(eta) / pi ---


def _cauchit(x):
    x = _as_float(x)
    return -jnp.cos(jnp.pi * x) / jnp.sin(jnp.pi * x)


def _inv_cauchit(eta):
    # The same angle as 1/2 + atan(eta) / pi, without the cancellation for large negative eta.
    eta = _as_float(eta)
    return jnp.arctan2(jnp.ones_like(eta), -eta) / jnp.pi


def _log_inv_cauchit(eta):
    eta = _as_float(eta)
    below = jnp.log(_inv_cauchit(jnp.where(eta < 0.0, eta, 0.0)))
    above = jnp.log1p(-_inv_cauchit(-jnp.where(eta < 0.0, 0.0, eta)))
    return jnp.where(eta < 0.0, below, above)


def _log1m_inv_cauchit(eta):
    return _log_inv_cauchit(-_as_float(eta))


# --- inverse: mu = 1 / eta ---


def _reciprocal(eta):
    # 1 / 0 is read as 1 / (a very small positive number), so that no gradient is NaN.
    eta = _as_float(eta)
    floor = clipped_exp(jnp.full_like(eta, -jnp.inf))
    return 1.0 / jnp.where(jnp.abs(eta) < floor, jnp.copysign(floor, eta), eta)


# --- sqrt: mu = eta**2 ---


def _magnitude(eta):
    # |eta|, not below the root of the smallest value of `clipped_exp`: mu stays positive at 0.
    eta = _as_float(eta)
    return jnp.maximum(jnp.abs(eta), jnp.sqrt(clipped_exp(jnp.full_like(eta, -jnp.inf))))


def _square(eta):
    return _magnitude(eta) ** 2


def _log_square(eta):
    return 2.0 * jnp.log(_magnitude(eta))


# --- softplus: mu = log(1 + exp(eta)) ---


def _inv_softplus(x):
    x = _as_float(x)
    return x + jnp.log(-jnp.expm1(-x))


def _softplus(eta):
    # log1p of a clipped exponential keeps the value positive; above 0 the usual form serves.
    eta = _as_float(eta)
    above = eta > 0.0
    return jnp.where(above, eta, 0.0) + jnp.log1p(clipped_exp(jnp.where(above, -eta, eta)))


def _log_softplus(eta):
    # For eta < 0, as in cloglog: take the factor exp(eta), which may underflow, out as eta.
    eta = _as_float(eta)
    t = clipped_exp(jnp.where(eta < 0.0, eta, 0.0))
    below = eta + jnp.log(jnp.log1p(t) / t)
    above = jnp.log(_softplus(jnp.where(eta < 0.0, 0.0, eta)))
    return jnp.where(eta < 0.0, below, above)


# --- tan_half: mu = 2 atan(eta), for angles ---


def _tan_half(x):
    return jnp.tan(0.5 * _as_float(x))


def _inv_tan_half(eta):
    return 2.0 * jnp.arctan(_as_float(eta))


# --- logm1: mu = 1 + exp(eta), for degrees of freedom above 1 ---


def _logm1(x):
    return jnp.log(_as_float(x) - 1.0)


def _inv_logm1(eta):
    return 1.0 + clipped_exp(eta)


def _log_inv_logm1(eta):
    return log1pexp(_as_float(eta))


# --- logit_1_2: mu = 1.01 + 0.98 / (1 + exp(-eta)), for the power of a variance function ---
# The densities that have one degenerate at 1 and at 2; mgcv and cplm stop short of them likewise.

_POWER_LOW, _POWER_HIGH = 1.01, 1.99


def _logit_1_2(x):
    x = _as_float(x)
    return jnp.log(x - _POWER_LOW) - jnp.log(_POWER_HIGH - x)


def _inv_logit_1_2(eta):
    # Of the two forms of the sigmoid this one has a gradient that does not cancel.
    return _POWER_LOW + (_POWER_HIGH - _POWER_LOW) * jnp.exp(_log_sigmoid(eta))


def _log_inv_logit_1_2(eta):
    return jnp.log(_inv_logit_1_2(eta))


# --- means of natural values where the linear predictor is N(m, v) ---


def _normal_itself(m, v):
    del v
    return m


def _lognormal_mean(m, v):
    return clipped_exp(m + 0.5 * v)


def _logm1_normal_mean(m, v):
    return 1.0 + _lognormal_mean(m, v)


def _probit_normal_mean(m, v):
    return ndtr(m / jnp.sqrt(1.0 + v))


def _square_mean(m, v):
    return m**2 + v


_ALL = (
    Link("identity", _identity, _identity, None, None, "real", True, _normal_itself),
    # The reciprocal of a normal has no mean: its density at 0 is not 0.
    Link("inverse", _reciprocal, _reciprocal, None, None, "real", True, has_normal_mean=False),
    Link("log", _log, clipped_exp, _identity, None, "positive", True, _lognormal_mean),
    Link("sqrt", jnp.sqrt, _square, _log_square, None, "positive", True, _square_mean),
    Link("softplus", _inv_softplus, _softplus, _log_softplus, None, "positive"),
    Link("tan_half", _tan_half, _inv_tan_half, None, None, "real"),
    Link(
        "logm1",
        _logm1,
        _inv_logm1,
        _log_inv_logm1,
        None,
        "above_one",
        normal_mean=_logm1_normal_mean,
    ),
    Link(
        "logit",
        _logit,
        jax.nn.sigmoid,
        _log_sigmoid,
        _log1m_sigmoid,
        "unit",
        latent_variance=math.pi**2 / 3.0,
    ),
    Link(
        "probit",
        ndtri,
        ndtr,
        _log_ndtr,
        _log1m_ndtr,
        "unit",
        normal_mean=_probit_normal_mean,
        latent_variance=1.0,
    ),
    Link(
        "cloglog",
        _cloglog,
        _inv_cloglog,
        _log_inv_cloglog,
        _log1m_inv_cloglog,
        "unit",
        latent_variance=math.pi**2 / 6.0,
    ),
    # The Cauchy distribution has no variance.
    Link("cauchit", _cauchit, _inv_cauchit, _log_inv_cauchit, _log1m_inv_cauchit, "unit"),
    Link("logit_1_2", _logit_1_2, _inv_logit_1_2, _log_inv_logit_1_2, None, "one_two"),
)

#: Every link, by name.
LINKS: Mapping[str, Link] = MappingProxyType({link.name: link for link in _ALL})


def get_link(name: str) -> Link:
    """Return the link of that name.

    Parameters
    ----------
    name : str
        One of the keys of `LINKS`.

    Raises
    ------
    FamilyError
        If there is no such link; the message lists those there are.
    """
    if not isinstance(name, str):
        raise FamilyError(
            f"link must be the name of a link, such as 'log'; got {name!r} "
            f"({type(name).__name__}). The links are {listing(LINKS, 20)}."
        )
    if name not in LINKS:
        raise FamilyError(
            f"link {name!r} is not known.{did_you_mean(name, LINKS)} "
            f"The links are {listing(LINKS, 20)}."
        )
    return LINKS[name]
