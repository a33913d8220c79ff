"""Link functions: how a parameter of a family is read from its linear predictor.

A `Link` holds both directions between the natural scale of a parameter (a mean, a probability, a
standard deviation) and the linear scale on which predictors add up, and the logarithm of the
natural value (and of one minus it) computed straight from the linear predictor. The logarithms
are what densities are made of: ``log(inverse(eta))`` loses everything where the inverse rounds to
0 or 1, ``log_inverse(eta)`` does not.

Functions that would overflow work with `clipped_exp`, so that values and gradients stay finite
for every linear predictor a sampler may try. Two links, ``identity`` and ``inverse``, reach the
whole real line; where a positive parameter uses one of them, a linear predictor of the wrong sign
gives NaN for the logarithm, hence a NaN log density, which samplers reject.

To add a link, write its functions and add one `Link` to `_ALL` below. It then joins `LINKS`, the
families may name it, and `tests/unit/test_links.py` tests it (add its inverse in mpmath there).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtr, ndtri

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
    """

    name: str
    forward: Transform = field(repr=False)
    inverse: Transform = field(repr=False)
    log_inverse: Transform | None = field(repr=False)
    log1m_inverse: Transform | None = field(repr=False)
    support: str
    scales_response: bool = False

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


def _identity(x):
    return _as_float(x)


def _log(x):
    return jnp.log(_as_float(x))


# --- logit: mu = 1 / (1 + exp(-eta)) ---


def _logit(x):
    x = _as_float(x)
    return jnp.log(x) - jnp.log1p(-x)


def _log_sigmoid(eta):
    return -jax.nn.softplus(-_as_float(eta))


def _log1m_sigmoid(eta):
    return -jax.nn.softplus(_as_float(eta))


# --- probit: mu = Phi(eta), the standard normal distribution function ---


def _log_ndtr(eta):
    # Below -20 JAX uses an asymptotic series; its default of 3 terms is off by 3e-9 there.
    return log_ndtr(_as_float(eta), series_order=8)


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
    small, large = jnp.minimum(t, 1.0), jnp.maximum(t, 1.0)
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
    below = jnp.log(_inv_cauchit(jnp.minimum(eta, 0.0)))
    above = jnp.log1p(-_inv_cauchit(-jnp.maximum(eta, 0.0)))
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
    return jnp.maximum(eta, 0.0) + jnp.log1p(clipped_exp(-jnp.abs(eta)))


def _log_softplus(eta):
    # For eta < 0, as in cloglog: take the factor exp(eta), which may underflow, out as eta.
    eta = _as_float(eta)
    t = clipped_exp(jnp.minimum(eta, 0.0))
    below = eta + jnp.log(jnp.log1p(t) / t)
    above = jnp.log(_softplus(jnp.maximum(eta, 0.0)))
    return jnp.where(eta < 0.0, below, above)


# --- logm1: mu = 1 + exp(eta), for degrees of freedom above 1 ---


def _logm1(x):
    return jnp.log(_as_float(x) - 1.0)


def _inv_logm1(eta):
    return 1.0 + clipped_exp(eta)


def _log_inv_logm1(eta):
    return jax.nn.softplus(_as_float(eta))


_ALL = (
    Link("identity", _identity, _identity, None, None, "real", True),
    Link("inverse", _reciprocal, _reciprocal, None, None, "real", True),
    Link("log", _log, clipped_exp, _identity, None, "positive", True),
    Link("sqrt", jnp.sqrt, _square, _log_square, None, "positive", True),
    Link("softplus", _inv_softplus, _softplus, _log_softplus, None, "positive"),
    Link("logm1", _logm1, _inv_logm1, _log_inv_logm1, None, "above_one"),
    Link("logit", _logit, jax.nn.sigmoid, _log_sigmoid, _log1m_sigmoid, "unit"),
    Link("probit", ndtri, ndtr, _log_ndtr, _log1m_ndtr, "unit"),
    Link("cloglog", _cloglog, _inv_cloglog, _log_inv_cloglog, _log1m_inv_cloglog, "unit"),
    Link("cauchit", _cauchit, _inv_cauchit, _log_inv_cauchit, _log1m_inv_cauchit, "unit"),
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
