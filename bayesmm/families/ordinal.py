"""Families for ordered categories: cumulative, sratio, cratio, acat.

A category is read off a latent scale that K - 1 cutpoints divide. The link names the distribution
function F of the latent scale, and nothing is "linked" to mu: with the linear predictor mu, the
discrimination disc and, for all but cumulative, category-specific effects cs, threshold k has the
argument ``z_k = disc (c_k - mu - cs_k)``, and with G(w) = F(-z), the probability of category k is

==========  ==========================================================================
cumulative  ``F(z_k) - F(z_{k-1})``
sratio      ``F(z_k) prod_{j<k} (1 - F(z_j))``, stopping at k having passed all before it
cratio      ``(1 - F(-z_k)) prod_{j<k} F(-z_j)``, continuing through all before k
acat        proportional to ``prod_{j<k} F(-z_j) prod_{j>=k} (1 - F(-z_j))``
==========  ==========================================================================

as in brms (Buerkner and Vuorre 2019, doi:10.1177/2515245918823199). In all of them a larger mu
means higher categories. All is done with logarithms: of F and 1 - F, which the links have, and of
F(b) - F(a), which is in `_LOG_INTERVAL` for each link.

To add a family, write the function that gives the log probabilities and its record, and put it in
`FAMILIES` at the end. To allow another link, write its log(F(b) - F(a)) and enter it in the table.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.families.base import Family, Parameter
from bayesmm.families.nominal import Categories, log_softmax
from bayesmm.families.numerics import HALF_LOG_2PI, log1mexp
from bayesmm.families.response import ORDINAL
from bayesmm.links import clipped_exp, log_mills

# --- log(F(b) - F(a)), given the link F, a, b and the gap b - a > 0 ---
#
# The gap comes apart because it is known to full precision from the cutpoints, whatever mu is:
# b - a has lost the gap of two cutpoints 1e-12 apart, and with it the gradient.


def _log_interval_logistic(link, a, b, gap):
    # F(b) - F(a) = F(b) (1 - F(a)) (1 - exp(a - b)), exactly.
    return link.log_inverse(b) + link.log1m_inverse(a) + log1mexp(-gap)


def _log_interval_cloglog(link, a, b, gap):
    # exp(-e^a) - exp(-e^b) = exp(-e^a) (1 - exp(-(e^b - e^a))), and e^b - e^a is an e^c.
    return link.log1m_inverse(a) + link.log_inverse(b + log1mexp(-gap))


def _log_interval_cauchy(link, a, b, gap):
    # The angle between two directions, without the difference of two arctangents.
    return jnp.log(jnp.arctan2(gap, 1.0 + a * b) / jnp.pi)


def _log_interval_normal(link, a, b, gap):
    middle = 0.5 * (a + b)
    is_short = gap * (1.0 + jnp.abs(middle)) < 1.0

    # Short: the density at the middle times the gap times a Taylor series, whose terms
    # He_2j(middle) (gap / 2)^2j / (2j + 1)! come from the recurrence of Hermite's polynomials.
    half = jnp.where(is_short, 0.5 * gap, 0.1)
    centre = jnp.where(is_short, middle, 0.0)
    before, now, series, factorial = jnp.ones_like(half), half * centre, 1.0, 1.0
    for n in range(1, 15):
        before, now = now, half * centre * now - n * half**2 * before
        factorial *= n + 1
        if n % 2:
            series = series + now / (factorial * (n + 2))
    short = jnp.log(2.0 * half) - 0.5 * centre**2 - HALF_LOG_2PI + jnp.log(series)

    # Long: turned so that the middle is below 0, F(high) (1 - F(low) / F(high)). Squares are
    # taken out of the ratio and meet as gap times middle.
    turned = middle > 0.0
    high = jnp.where(is_short, 0.5, jnp.where(turned, -a, b))
    low = jnp.where(is_short, -0.5, jnp.where(turned, -b, a))
    product = jnp.where(is_short, 0.0, gap * jnp.abs(middle))
    ratio = product + log_mills(high) - log_mills(low)
    long = link.log_inverse(high) + log1mexp(-ratio)
    return jnp.where(is_short, short, long)


_LOG_INTERVAL = {
    "logit": _log_interval_logistic,
    "probit": _log_interval_normal,
    "cloglog": _log_interval_cloglog,
    "cauchit": _log_interval_cauchy,
}


# --- the distribution of cumulative, which needs only the two cutpoints around a category ---

# Stands for an infinite argument: its square is still a float.
_END = 1e100


def _log_cumulative(link, mu, cutpoints, disc, code):
    """Return the log probability of the category `code`; cutpoints have shape (..., K - 1)."""
    thresholds = jnp.arange(cutpoints.shape[-1])
    below, above = (
        jnp.where(thresholds == k[..., None], cutpoints, 0.0).sum(axis=-1) for k in (code - 1, code)
    )
    is_first, is_last = code == 0, code == cutpoints.shape[-1]
    gap = disc * (above - below)
    # Cutpoints that rounding made equal are read as very close; those out of order have no density.
    floor = clipped_exp(jnp.full_like(gap, -jnp.inf))
    gap = jnp.where(gap < 0.0, jnp.nan, jnp.maximum(gap, floor))
    a = jnp.where(is_first, -_END, disc * (below - mu))
    b = jnp.where(is_last, _END, disc * (above - mu))
    return _LOG_INTERVAL[link.name](link, a, b, jnp.where(is_first | is_last, _END, gap))


class Cumulative(dist.Distribution):
    """One of K ordered categories, coded 0 to K - 1, that cutpoints mark on a latent scale.

    Parameters
    ----------
    mu : array_like
        Location on the latent scale.
    cutpoints : array_like, shape (..., K - 1)
        Increasing.
    disc : array_like
        Discrimination, positive: the inverse of the scale.
    link : Link
        F is its inverse, a distribution function.

    Notes
    -----
    ``P(y <= k) = F(disc (cutpoint_k - mu))``.
    """

    arg_constraints = {
        "mu": constraints.real,
        "cutpoints": constraints.real_vector,
        "disc": constraints.positive,
    }
    pytree_aux_fields = ("link",)

    def __init__(self, mu, cutpoints, disc, link, *, validate_args=None):
        self.mu, self.cutpoints, self.disc = map(jnp.asarray, (mu, cutpoints, disc))
        self.link = link
        batch_shape = jax.lax.broadcast_shapes(
            self.mu.shape, self.disc.shape, self.cutpoints.shape[:-1]
        )
        super().__init__(batch_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Whole numbers from 0 to K - 1."""
        return constraints.integer_interval(0, self.cutpoints.shape[-1])

    @property
    def log_probabilities(self):
        """Logarithms of the probabilities of all categories, shape batch_shape + (K,)."""
        codes = jnp.arange(self.cutpoints.shape[-1] + 1)
        return _log_cumulative(
            self.link,
            self.mu[..., None],
            self.cutpoints[..., None, :],
            self.disc[..., None],
            codes,
        )

    def sample(self, key: Any, sample_shape=()):
        """Draw codes, as integers of shape sample_shape + batch_shape."""
        return Categories(self.log_probabilities).sample(key, sample_shape)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the category with the code `value`, a float or integer."""
        return _log_cumulative(self.link, self.mu, self.cutpoints, self.disc, jnp.asarray(value))


def _cumulative(v):
    return Cumulative(v.linear("mu"), v.cutpoints, v.disc, v.link("mu"))


# --- log probabilities of the others, shape (..., K) ---


def _arguments(v):
    """Return disc (c_k - mu - cs_k), shape (..., K - 1)."""
    mu, disc = jnp.asarray(v.linear("mu")), jnp.asarray(v.disc)
    return disc[..., None] * (v.cutpoints - mu[..., None] - v.cs)


def _before(terms):
    """Return for each of the K categories the sum of the terms before it, 0 for the first."""
    sums = jnp.cumsum(terms, axis=-1)
    return jnp.concatenate([jnp.zeros_like(terms[..., :1]), sums], axis=-1)


def _with_last(terms):
    """Return the terms of the first K - 1 categories and 0 for the last."""
    return jnp.concatenate([terms, jnp.zeros_like(terms[..., :1])], axis=-1)


def _sratio(v):
    link, z = v.link("mu"), _arguments(v)
    return _with_last(link.log_inverse(z)) + _before(link.log1m_inverse(z))


def _cratio(v):
    link, w = v.link("mu"), -_arguments(v)
    return _with_last(link.log1m_inverse(w)) + _before(link.log_inverse(w))


def _acat(v):
    link, w = v.link("mu"), -_arguments(v)
    log_odds = link.log_inverse(w) - link.log1m_inverse(w)
    return log_softmax(_before(log_odds))


# --- records ---


def threshold_labels(categories: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the thresholds between categories: ``("a|b", "b|c")``."""
    return tuple(f"{low}|{high}" for low, high in zip(categories, categories[1:], strict=False))


def _parameters(*, ordered: bool, specific: bool) -> tuple[Parameter, ...]:
    cutpoints = Parameter(
        "cutpoints",
        links=(),
        prior=("StudentT", (3.0, 0.0, 2.5)),
        labels=threshold_labels,
        ordered=ordered,
    )
    cs = Parameter("cs", fixed=0.0, labels=threshold_labels, intercept=False)
    return (
        # The links are those of F; the cutpoints are the intercepts.
        Parameter("mu", links=tuple(_LOG_INTERVAL), intercept=False),
        cutpoints,
        # 1 at the reference: the scale of the latent variable is set by F, not estimated twice.
        Parameter("disc", links=("log",), support="positive", fixed=1.0, intercept=False),
        *((cs,) if specific else ()),
    )


cumulative = Family(
    name="cumulative",
    parameters=_parameters(ordered=True, specific=False),
    response=ORDINAL,
    distribution=_cumulative,
    mean=lambda v: jnp.exp(_cumulative(v).log_probabilities),
    about="P(y <= k) = F(disc (cutpoint_k - mu)), the link naming F",
    elsewhere=(("brms", "cumulative"), ("glmmTMB", "ordinal"), ("Bambi", "cumulative")),
)

sratio = Family(
    name="sratio",
    parameters=_parameters(ordered=False, specific=True),
    response=ORDINAL,
    distribution=lambda v: Categories(_sratio(v)),
    mean=lambda v: jnp.exp(_sratio(v)),
    about="P(y = k | y >= k) = F(disc (cutpoint_k - mu - cs_k)), the link naming F",
    elsewhere=(("brms", "sratio"), ("Bambi", "sratio")),
)

cratio = Family(
    name="cratio",
    parameters=_parameters(ordered=False, specific=True),
    response=ORDINAL,
    distribution=lambda v: Categories(_cratio(v)),
    mean=lambda v: jnp.exp(_cratio(v)),
    about="P(y > k | y >= k) = F(disc (mu + cs_k - cutpoint_k)), the link naming F",
    elsewhere=(("brms", "cratio"),),
)

acat = Family(
    name="acat",
    parameters=_parameters(ordered=False, specific=True),
    response=ORDINAL,
    distribution=lambda v: Categories(_acat(v)),
    mean=lambda v: jnp.exp(_acat(v)),
    about="P(y = k + 1 | y is k or k + 1) = F(disc (mu + cs_k - cutpoint_k)), the link naming F",
    elsewhere=(("brms", "acat"),),
)

FAMILIES = (cumulative, sratio, cratio, acat)
