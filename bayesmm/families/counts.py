"""Families for counts: poisson, negbinomial, negbinomial1, geometric.

To add one, write its record here and put it in `FAMILIES` at the end; see `continuous`. Those
whose normalising constant or distribution function has to be summed are in `dispersed`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.base import Family, Parameter
from bayesmm.families.incomplete import log_betainc_tails, log_gammainc_tails
from bayesmm.families.numerics import log1mexp, log1pmx, log_factorial, log_rising
from bayesmm.families.response import COUNT
from bayesmm.links import clipped_exp, log1pexp

_LARGE_RATE = 1e6


class PoissonLog(dist.Distribution):
    """Poisson distribution given the logarithm of its rate.

    NumPyro's takes the rate, whose logarithm is lost when it underflows.

    Parameters
    ----------
    log_rate : array_like
        Logarithm of the mean.
    """

    arg_constraints = {"log_rate": constraints.real}
    _support = constraints.nonnegative_integer

    def __init__(self, log_rate, *, validate_args=None):
        self.log_rate = log_rate
        super().__init__(jnp.shape(log_rate), validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw counts, shape sample_shape + batch_shape; -1 where the rate is NaN."""
        # JAX returns integers, which cannot hold what rates beyond 1e18 draw. From a rate of 1e6 on
        # a rounded normal takes over: its skewness, 0, is then wrong by 1e-3 at the most.
        shape = sample_shape + self.batch_shape
        rate = jnp.broadcast_to(self.mean, shape)
        large = rate > _LARGE_RATE
        counted = jax.random.poisson(key, jnp.where(large, 1.0, rate), shape)
        normal = rate + jnp.sqrt(rate) * jax.random.normal(key, shape, rate.dtype)
        return jnp.where(large, jnp.round(normal), counted.astype(rate.dtype))

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the count `value`."""
        return value * self.log_rate - clipped_exp(self.log_rate) - log_factorial(value)

    @property
    def log_prob_zero(self):
        """The log probability of 0, which mixtures with zeros ask for in every row."""
        return -self.mean

    @property
    def mean(self):
        """The rate."""
        return clipped_exp(self.log_rate)

    @property
    def variance(self):
        """The rate."""
        return self.mean


class NegativeBinomialLog(dist.Distribution):
    """Negative binomial (NB2) given the logarithm of its mean, and its shape.

    Parameters
    ----------
    log_mean : array_like
        Logarithm of the mean mu.
    shape_parameter : array_like
        The shape r, positive; the variance is mu + mu**2 / r.

    Notes
    -----
    The log probability is lgamma(y + r) - lgamma(r) - lgamma(y + 1) + y log(mu / (mu + r))
    + r log(r / (mu + r)). With `log_rising` for the first two terms less y log(r), what remains
    is y log(mu) - (y + r) log(1 + mu / r), which tends to the Poisson's as r grows.
    """

    arg_constraints = {"log_mean": constraints.real, "shape_parameter": constraints.positive}
    _support = constraints.nonnegative_integer

    def __init__(self, log_mean, shape_parameter, *, validate_args=None):
        (self.log_mean, self.shape_parameter), batch_shape = aligned(log_mean, shape_parameter)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw counts, shape sample_shape + batch_shape: Poisson with a gamma distributed rate."""
        key_rate, key_count = jax.random.split(key)
        shape = jnp.broadcast_to(self.shape_parameter, self.batch_shape)
        log_rate = jax.random.loggamma(key_rate, shape, sample_shape + self.batch_shape)
        return PoissonLog(self.log_mean + log_rate - jnp.log(shape)).sample(key_count)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the count `value`."""
        r = self.shape_parameter
        log1p_ratio = log1pexp(self.log_mean - jnp.log(r))
        ways = log_rising(r, value) - log_factorial(value)
        return ways + value * self.log_mean - (value + r) * log1p_ratio

    @property
    def log_prob_zero(self):
        """The log probability of 0, which mixtures with zeros ask for in every row."""
        r = self.shape_parameter
        return -r * log1pexp(self.log_mean - jnp.log(r))

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(clipped_exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, mean + mean**2 / shape."""
        return self.mean + self.mean**2 / self.shape_parameter


class NegativeBinomial1Log(dist.Distribution):
    """Negative binomial whose variance is proportional to its mean (NB1).

    Parameters
    ----------
    log_mean : array_like
        Logarithm of the mean mu.
    excess : array_like
        phi, positive: the variance is mu (1 + phi).

    Notes
    -----
    An NB2 of shape r = mu / phi. Its log probability is that of `log_rising_times`, with p = mu,
    less lgamma(y + 1), less y log(1 + phi), less mu log(1 + phi) / phi. All of it stays
    accurate as phi goes to 0, and r to infinity, where it becomes the Poisson's.
    """

    arg_constraints = {"log_mean": constraints.real, "excess": constraints.positive}
    _support = constraints.nonnegative_integer

    def __init__(self, log_mean, excess, *, validate_args=None):
        (self.log_mean, self.excess), batch_shape = aligned(log_mean, excess)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key: Any, sample_shape=()):
        """Draw counts, shape sample_shape + batch_shape, as NB2 does."""
        shape = clipped_exp(self.log_mean - jnp.log(self.excess))
        return NegativeBinomialLog(self.log_mean, shape).sample(key, sample_shape)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the count `value`."""
        ways = log_rising_times(self.log_mean, self.log_mean - jnp.log(self.excess), value)
        return (
            ways
            - log_factorial(value)
            - value * jnp.log1p(self.excess)
            - clipped_exp(self.log_fall)
        )

    @property
    def log_fall(self):
        """log(-log f(0)), which is log(mu) + log(log(1 + phi) / phi)."""
        # For small phi `log1pmx` has no difference of large numbers in its derivative.
        small = self.excess < 1.0
        phi, large = jnp.where(small, self.excess, 0.5), jnp.where(small, 2.0, self.excess)
        ratio = jnp.where(
            small, jnp.log1p(log1pmx(phi) / phi), jnp.log(jnp.log1p(large)) - jnp.log(large)
        )
        return self.log_mean + ratio

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(clipped_exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, mean (1 + excess)."""
        return self.mean * (1.0 + self.excess)


def log_rising_times(log_p, log_a, y):
    """Return log(Gamma(a + y) / Gamma(a) (p / a)**y), given log(p) and log(a).

    Parameters
    ----------
    log_p, log_a : array_like
        Any real numbers.
    y : array_like
        Whole numbers, not negative.

    Returns
    -------
    jax.Array
        It tends to y log(p) as a grows, and for y > 0 to log(p) + (y - 1) log(p / a) + lgamma(y)
        as it shrinks. Both ends are accurate, also where a itself underflows, because a factor
        p (p + p / a)**(y - 1) is taken out.
    """
    more = jnp.maximum(y, 1.0) - 1.0
    step = log_p + log1pexp(-log_a)
    value = log_p + more * step + log_rising(clipped_exp(log_a) + 1.0, more)
    return jnp.where(y > 0, value, 0.0)


# --- distribution functions ---


def tails_of_counts(tails, last=None):
    """Return log_cdf and log_sf of a family, given both for the counts of its support.

    Parameters
    ----------
    tails : callable
        ``tails(values, y)``: log P(Y <= y) and log P(Y > y), for whole numbers y >= 0.
    last : callable, optional
        ``last(values)``: the largest value of the response.

    Returns
    -------
    tuple of callable
        ``log_cdf(values, y)`` and ``log_sf(values, y)`` for any y, fractions and infinities too.
    """

    def placed(which, below, beyond):
        def function(v, y):
            y = jnp.floor(jnp.asarray(y, jnp.result_type(y, float)))
            end = jnp.inf if last is None else last(v)
            inside = (y >= 0) & (y < end)
            value = tails(v, jnp.where(inside, y, 0.0))[which]
            # A value of NaN, where the parameters are impossible, stays NaN.
            outside = jnp.where(y < 0, below, beyond)
            return jnp.where(inside | jnp.isnan(value), value, outside)

        return function

    return placed(0, -jnp.inf, 0.0), placed(1, 0.0, -jnp.inf)


def from_zero(log_fall, y, below, above):
    """Return both tails, with those of y = 0 from log(-log f(0)).

    Zero truncation needs no more, and has them exactly, for the smallest and largest means too.
    """
    zero = y == 0
    return (
        jnp.where(zero, -clipped_exp(log_fall), below),
        jnp.where(zero, _log1mexp_exp(log_fall), above),
    )


_SMALL_SHAPE = 1e-8
_NEGLIGIBLE = -37.0  # exp(-37) is half a unit in the last place of 1


def _log1mexp_exp(x):
    """Return log(1 - exp(-exp(x)))."""
    far = x < _NEGLIGIBLE
    return jnp.where(far, x, log1mexp(-clipped_exp(jnp.where(far, 0.0, x))))


def _log_softplus(x):
    """Return log(log(1 + exp(x)))."""
    far = x < _NEGLIGIBLE
    return jnp.where(far, x, jnp.log(log1pexp(jnp.where(far, 0.0, x))))


def _poisson_tails(v, y):
    above, below = log_gammainc_tails(y + 1.0, v.log("mu"))
    return from_zero(v.log("mu"), y, below, above)


def _negbinomial_tails_at(log_fall, shape, log_odds, y):
    """Return both tails of an NB2, log_odds being log(mu / shape)."""
    # Below, P(Y > y) is proportional to the shape (at given odds), and `log_betainc_tails` is
    # about to lose its digits.
    small = shape < _SMALL_SHAPE
    safe = jnp.where(small, _SMALL_SHAPE, shape)
    above, below = log_betainc_tails(y + 1.0, safe, -log1pexp(-log_odds), -log1pexp(log_odds))
    above = above + jnp.where(small, jnp.log(shape / _SMALL_SHAPE), 0.0)
    below = jnp.where(small, log1mexp(above), below)
    return from_zero(log_fall, y, below, above)


def _negbinomial_tails(v, y):
    log_shape = jnp.log(v.shape)
    log_odds = v.log("mu") - log_shape
    return _negbinomial_tails_at(log_shape + _log_softplus(log_odds), v.shape, log_odds, y)


def _negbinomial1_tails(v, y):
    shape = clipped_exp(v.log("mu") - v.log("phi"))
    log_fall = NegativeBinomial1Log(v.log("mu"), v.phi).log_fall
    return _negbinomial_tails_at(log_fall, shape, v.log("phi"), y)


def _geometric_tails(v, y):
    log_fall = jnp.log1p(y) + _log_softplus(-v.log("mu"))
    return _log1mexp_exp(log_fall), -clipped_exp(log_fall)


# --- distribution functions by addition ---

_BLOCK = 32
_LONGEST = 100_000


def summed_tails(log_prob, parameters, y, mean, log_fall=None, last=None):
    """Return log P(Y <= y) and log P(Y > y) by adding up the tail that starts at y.

    Parameters
    ----------
    log_prob : callable
        ``log_prob(parameters, y)``, elementwise, defined once (it is a key of compilation).
    parameters : tuple of array_like
        What the probabilities depend on.
    y : array_like
        Whole numbers, not negative.
    mean : array_like
        Up to one less the lower tail is added up, from there on the upper one.
    log_fall : array_like, optional
        log(-log f(0)), see `from_zero`. Without it the tails at 0 come from log f(0).
    last : array_like, optional
        The largest value of the response.

    Returns
    -------
    tuple of jax.Array
        Both tails, the longer one by the complement. It takes as many terms as matter, which for
        y next to the mean are some 20 standard deviations, and at most 100,000: wider
        distributions than that allows lose accuracy. Differentiable once.
    """
    kind = jnp.result_type(y, *parameters, float)
    *parameters, y, mean, last = jnp.broadcast_arrays(
        *(jnp.asarray(x, kind) for x in (*parameters, y, mean, jnp.inf if last is None else last))
    )
    parameters = tuple(parameters)
    lower = y + 1.0 <= jax.lax.stop_gradient(mean)
    direct = jnp.minimum(_log_tail(log_prob, parameters, y, lower, last), 0.0)
    other = log1mexp(direct)
    below, above = jnp.where(lower, direct, other), jnp.where(lower, other, direct)
    if log_fall is not None:
        return from_zero(log_fall, y, below, above)
    return below, above


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_tail(log_prob, parameters, y, lower, last):
    """Return the logarithm of the sum over y, y - 1, ... 0, or over y + 1, y + 2, ... last."""
    return _add(log_prob, parameters, y, lower, last, ())[0]


@_log_tail.defjvp
def _(log_prob, primals, tangents):
    parameters, y, lower, last = primals
    total, means = _add(log_prob, parameters, y, lower, last, range(len(parameters)))
    return total, sum(mean * dot for mean, dot in zip(means, tangents[0], strict=True))


def _add(log_prob, parameters, y, lower, last, wanted):
    """Return the logarithm of the sum, and the mean of the derivative in each parameter wanted."""
    wide = tuple(p[..., None] for p in parameters)

    def block(start):
        steps = start + jnp.arange(_BLOCK, dtype=y.dtype)
        count = jnp.where(lower[..., None], y[..., None] - steps, y[..., None] + 1.0 + steps)
        inside = (count >= 0) & (count <= last[..., None])
        safe = jnp.where(inside, count, 0.0)
        value = jnp.where(inside, log_prob(wide, safe), -jnp.inf)
        slopes = [
            jax.jvp(
                lambda x, i=i: log_prob((*wide[:i], x, *wide[i + 1 :]), safe),
                (wide[i],),
                (jnp.ones_like(wide[i]),),
            )[1]
            for i in wanted
        ]
        return value, slopes, inside[..., -1]

    def add(state):
        start, top, total, sums, _ = state
        value, slopes, more = block(start)
        new_top = jnp.maximum(top, value.max(axis=-1))
        # Before the first term, and after the last one, there may be nothing to compare.
        shift = jnp.where(new_top == -jnp.inf, 0.0, new_top)
        weights, kept = jnp.exp(value - shift[..., None]), jnp.exp(top - shift)
        total = kept * total + weights.sum(axis=-1)
        sums = [
            kept * s + jnp.where(weights > 0, weights * d, 0.0).sum(axis=-1)
            for s, d in zip(sums, slopes, strict=True)
        ]
        # Terms that fall within a block fall from then on.
        falls = value[..., -1] < value[..., 0]
        small = weights[..., -1] * _BLOCK < 1e-16 * total
        done = (falls & small) | jnp.isnan(total)
        return start + _BLOCK, new_top, total, sums, more & ~done

    def go_on(state):
        return (state[0] < _LONGEST) & jnp.any(state[4])

    zero = jnp.zeros_like(y)
    state = (0, zero - jnp.inf, zero, [zero for _ in wanted], jnp.ones_like(lower))
    _, top, total, sums, _ = jax.lax.while_loop(go_on, add, state)
    empty = total == 0
    safe_total = jnp.where(empty, 1.0, total)
    log_total = jnp.where(empty, -jnp.inf, jnp.where(empty, 0.0, top) + jnp.log(safe_total))
    return log_total, [jnp.where(empty, 0.0, s / safe_total) for s in sums]


_MU = Parameter("mu", links=("log", "identity", "sqrt", "softplus"), support="positive")

_poisson_log_cdf, _poisson_log_sf = tails_of_counts(_poisson_tails)
poisson = Family(
    name="poisson",
    parameters=(_MU,),
    response=COUNT,
    distribution=lambda v: PoissonLog(v.log("mu")),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu,
    log_cdf=_poisson_log_cdf,
    log_sf=_poisson_log_sf,
    linear_in_response=True,
    about="mean mu, variance mu",
    elsewhere=(("brms", "poisson"), ("glmmTMB", "poisson"), ("Bambi", "poisson")),
)

_negbinomial_log_cdf, _negbinomial_log_sf = tails_of_counts(_negbinomial_tails)
negbinomial = Family(
    name="negbinomial",
    parameters=(
        _MU,
        Parameter(
            "shape",
            links=("log", "softplus"),
            support="positive",
            prior=("InverseGamma", (0.4, 0.3)),
        ),
    ),
    response=COUNT,
    distribution=lambda v: NegativeBinomialLog(v.log("mu"), v.shape),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu + v.mu**2 / v.shape,
    log_cdf=_negbinomial_log_cdf,
    log_sf=_negbinomial_log_sf,
    about="mean mu, variance mu + mu^2/shape",
    elsewhere=(("brms", "negbinomial"), ("glmmTMB", "nbinom2"), ("Bambi", "negativebinomial")),
)

_negbinomial1_log_cdf, _negbinomial1_log_sf = tails_of_counts(_negbinomial1_tails)
negbinomial1 = Family(
    name="negbinomial1",
    parameters=(
        _MU,
        # Finite at 0, which is the Poisson, and with a heavy tail.
        Parameter(
            "phi",
            links=("log", "softplus"),
            support="positive",
            prior=("HalfStudentT", (3.0, 2.5)),
        ),
    ),
    response=COUNT,
    distribution=lambda v: NegativeBinomial1Log(v.log("mu"), v.phi),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu * (1.0 + v.phi),
    log_cdf=_negbinomial1_log_cdf,
    log_sf=_negbinomial1_log_sf,
    about="mean mu, variance mu (1 + phi)",
    elsewhere=(("glmmTMB", "nbinom1"),),
)

_geometric_log_cdf, _geometric_log_sf = tails_of_counts(_geometric_tails)
geometric = Family(
    name="geometric",
    parameters=(_MU,),
    response=COUNT,
    distribution=lambda v: NegativeBinomialLog(v.log("mu"), 1.0),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu + v.mu**2,
    log_cdf=_geometric_log_cdf,
    log_sf=_geometric_log_sf,
    linear_in_response=True,
    about="mean mu, variance mu + mu^2: negbinomial of shape 1",
    elsewhere=(("brms", "geometric"),),
)

FAMILIES = (poisson, negbinomial, negbinomial1, geometric)
