"""Families for counts that vary more or less than Poisson: generalized_poisson, com_poisson.

Their distribution functions have to be summed (`summed_tails` in `counts`), and the second has no
closed form for its normalising constant or its mean either: `ComPoisson` says how they are
computed. To add a family, see `continuous`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.distributions import aligned
from bayesmm.families.base import Family, Parameter
from bayesmm.families.counts import PoissonLog, summed_tails, tails_of_counts
from bayesmm.families.numerics import log1pmx, log_factorial, stirling_error
from bayesmm.families.response import COUNT
from bayesmm.links import clipped_exp, log1pexp

_GENERATIONS = 40


class GeneralizedPoisson(dist.Distribution):
    """Consul's generalised Poisson distribution, overdispersed, given its mean and variance.

    Parameters
    ----------
    log_mean : array_like
        Logarithm of the mean mu.
    log_excess : array_like
        log(phi - 1), where the variance is mu phi. (phi itself may round to 1.)

    Notes
    -----
    With s = sqrt(phi), theta = mu / s and lambda = 1 - 1 / s the probability of y is
    ``theta (theta + lambda y)**(y - 1) exp(-theta - lambda y) / y!`` (Consul and Jain 1973), as
    in glmmTMB. For phi < 1 it would end where theta + lambda y does, and no longer sum to 1:
    hence the bound. It is the number of all members of families with Poisson(theta) founders,
    each of whose members has Poisson(lambda) children, and drawn as a Poisson sum of Borel sizes.
    """

    arg_constraints = {"log_mean": constraints.real, "log_excess": constraints.real}
    _support = constraints.nonnegative_integer

    def __init__(self, log_mean, log_excess, *, validate_args=None):
        (self.log_mean, self.log_excess), batch_shape = aligned(log_mean, log_excess)
        super().__init__(batch_shape, validate_args=validate_args)

    def _parts(self):
        """Return log(theta), s and lambda."""
        excess = clipped_exp(self.log_excess)
        root = jnp.sqrt(1.0 + excess)
        return self.log_mean - jnp.log(root), root, excess / (root * (root + 1.0))

    def sample(self, key: Any, sample_shape=()):
        """Draw counts, shape sample_shape + batch_shape: generation after generation.

        What is alive after 40 of them (3 families in 10**8 at phi = 8, in 1000 at phi = 100) has
        descendants by the inverse Gaussian law with the right mean and variance, to which theirs
        tends.
        """
        key, key_founders, key_z, key_u = jax.random.split(key, 4)
        shape = sample_shape + self.batch_shape
        log_theta, root, fertility = (jnp.broadcast_to(x, shape) for x in self._parts())
        founders = PoissonLog(log_theta).sample(key_founders)

        def next_generation(state):
            number, key, alive, total = state
            key, sub = jax.random.split(key)
            expected = jnp.maximum(fertility * alive, jnp.finfo(alive.dtype).tiny)
            born = PoissonLog(jnp.log(expected)).sample(sub)
            return number + 1, key, born, total + born

        _, _, alive, total = jax.lax.while_loop(
            lambda state: (state[0] < _GENERATIONS) & jnp.any(state[2] > 0),
            next_generation,
            (0, key, founders, founders),
        )
        # Michael, Schucany and Haas (1976), in a form that does not cancel.
        some = jnp.maximum(alive, 1.0) * fertility
        mean = some * root
        ratio = 4.0 * some / (root * jax.random.normal(key_z, shape, root.dtype) ** 2)
        low = mean * ratio / (1.0 + jnp.sqrt(1.0 + ratio)) ** 2
        is_low = jax.random.uniform(key_u, shape, root.dtype) * (mean + low) <= mean
        rest = jnp.round(jnp.where(is_low, low, mean * (mean / low)))
        return jnp.where(alive > 0, total + rest, total)

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the count `value`."""
        log_theta, _, fertility = self._parts()
        rate = clipped_exp(log_theta) + fertility * value
        some = value > 0
        # Of a count of 0 only exp(-theta) remains.
        powers = log_theta + (value - 1.0) * jnp.log(rate) - log_factorial(value)
        return jnp.where(some, powers, 0.0) - rate

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(clipped_exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, mean times phi."""
        return self.mean * (1.0 + clipped_exp(self.log_excess))


class ComPoisson(dist.Distribution):
    """Conway-Maxwell-Poisson distribution given its mean.

    Parameters
    ----------
    log_mean : array_like
        Logarithm of the mean mu.
    nu : array_like
        Positive: 1 is the Poisson, above 1 the variance is below the mean, and below 1 above it;
        at 0 it would be geometric. The variance is about mu / nu for large mu.

    Notes
    -----
    The probability of y is ``rate**y / (y!)**nu / Z``, where rate is such that the mean is mu
    (Huang 2017; the dispersion of glmmTMB is 1 / nu). With k = floor(mu) the logarithm of its
    numerator is written ``(y - mu) l - nu log(y! / (k! (k + 1)**(y - k)))`` plus a constant:
    l, which takes the place of log(rate), then is of order 1 and no large numbers cancel.

    Z is a sum over 128 nodes (`_grid`), good to about 1e-13 for all mu and nu: over all
    counts that matter if those are no more than 128; otherwise over equidistant nodes, the error
    of which is exponentially small in (standard deviation / step)**2; and where the distribution
    is wide and reaches down to 0, over the first counts, with Gauss's rule and Euler and
    Maclaurin's correction for the others. l is found by Newton's method, and its derivatives
    follow from those of Z. Parameters that are scalars are solved for once, not for each row.
    """

    arg_constraints = {"log_mean": constraints.real, "nu": constraints.positive}
    _support = constraints.nonnegative_integer

    def __init__(self, log_mean, nu, *, validate_args=None):
        (self.log_mean, self.nu), batch_shape = aligned(log_mean, nu)
        super().__init__(batch_shape, validate_args=validate_args)

    def solved(self):
        """Return l, nu and the nodes."""
        kind = jnp.result_type(self.log_mean, self.nu, float)
        mu = clipped_exp(jnp.asarray(self.log_mean, kind))
        mu, nu = jnp.broadcast_arrays(mu, jnp.asarray(self.nu, kind))
        return _solve(mu, nu), nu, _grid(mu, nu)

    def sample(self, key: Any, sample_shape=()):
        """Draw counts, shape sample_shape + batch_shape; -1 where a parameter is NaN.

        By rejection, as Devroye (1987) does for any log-concave distribution with known mode.
        """
        shape = sample_shape + self.batch_shape
        tilt, nu, grid = self.solved()
        mode = jnp.maximum(jnp.floor(1.0 + grid.base * jnp.expm1(tilt / nu)), -grid.floor)
        at_mode = self._exponent(mode, tilt, nu, grid)
        top = jnp.exp(at_mode - _log_total(tilt, nu, grid))
        width = 1.0 + 0.5 * top

        def propose(state):
            tries, key, drawn, done = state
            key, key_side, key_u, key_v, key_e, key_w = jax.random.split(key, 6)
            u, v, w = (jax.random.uniform(k, shape, top.dtype) for k in (key_u, key_v, key_w))
            e = jax.random.exponential(key_e, shape, top.dtype)
            distance = jnp.where(u * (1.0 + width) <= width, v * width, width + e)
            away = jnp.round(distance / top)
            offset = mode + jnp.where(jax.random.bernoulli(key_side, shape=shape), away, -away)
            inside = offset >= -grid.floor
            safe = jnp.where(inside, offset, mode)
            ratio = jnp.exp(self._exponent(safe, tilt, nu, grid) - at_mode)
            bound = w * jnp.exp(jnp.minimum(width - distance, 0.0))
            # Written so that NaN is accepted, and the loop ends.
            accepted = inside & ~(bound > ratio) & ~done
            return tries + 1, key, jnp.where(accepted, safe, drawn), done | accepted

        state = (0, key, jnp.broadcast_to(mode, shape), jnp.zeros(shape, bool))
        drawn = jax.lax.while_loop(
            lambda state: (state[0] < 1000) & ~jnp.all(state[3]), propose, state
        )[2]
        return jnp.where(jnp.isnan(tilt), -1.0, grid.floor + drawn)

    @staticmethod
    def _exponent(offset, tilt, nu, grid):
        """Return the logarithm of the numerator at floor + offset."""
        fall = _log_factorial_ratio(offset, grid.base + offset, grid.base)
        return (offset - grid.part) * tilt - nu * fall

    @validate_sample
    def log_prob(self, value):
        """Return the log probability of the count `value`."""
        tilt, nu, grid = self.solved()
        offset = value - grid.floor
        fall = _log_factorial_ratio(offset, value + 1.0, grid.base)
        return (offset - grid.part) * tilt - nu * fall - _log_total(tilt, nu, grid)

    @property
    def mean(self):
        """The mean."""
        return jnp.broadcast_to(clipped_exp(self.log_mean), self.batch_shape)

    @property
    def variance(self):
        """The variance, the second derivative of log Z in l."""
        tilt, nu, grid = self.solved()
        return _mean_slopes(tilt, nu, grid)[0]


# --- the normalising constant of com_poisson ---

_NODES = 128
_HEAD = 32  # counts that are added one by one where the distribution is wide and reaches 0
_DEPTH = 42.0  # exp(-42) of the largest term is left out


def _panels(number, order):
    """Return nodes and weights of Gauss-Legendre rules on equal panels of (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    starts = np.arange(number)[:, None]
    return (starts + 0.5 * (nodes + 1.0)).ravel() / number, np.tile(0.5 * weights, number) / number


_UNIT, _UNIT_WEIGHTS = _panels(6, (_NODES - _HEAD) // 6)
# B_2j / (2j) for j = 1 ... 6, and Taylor's coefficients 1 ... 11 of lgamma(1 + y) at y = _HEAD.
_BERNOULLI = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760)
_LOG_FACTORIAL = (
    3.4812795305349872,
    0.015383402010151045,
    -0.00015775360066068179,
    2.42640453664745e-6,
    -4.4781040830816886e-8,
    9.1822364494363621e-10,
    -2.0171204615641625e-11,
    4.6523285623544342e-13,
    -1.1126769833631822e-14,
    2.7369586674508075e-16,
    -6.8848297078018471e-18,
)


class _Grid(NamedTuple):
    """The nodes of the sum Z, which its value does not depend on: no gradient goes through them.

    Attributes
    ----------
    floor, base, part : jax.Array, shape (...)
        floor(mu), floor(mu) + 1, mu - floor(mu).
    away, fall, log_weight : jax.Array, shape (..., 128)
        y - mu at the nodes; log(y! / (floor! base**(y - floor))); logarithms of the weights.
    every, wide : jax.Array of bool, shape (...)
        Whether the nodes are all the counts that matter; whether Gauss's rule is in use.
    """

    floor: jax.Array
    base: jax.Array
    part: jax.Array
    away: jax.Array
    fall: jax.Array
    log_weight: jax.Array
    every: jax.Array
    wide: jax.Array


def _log_factorial_ratio(offset, above, base):
    """Return log(y! / (k! (k + 1)**(y - k))) for offset = y - k, above = y + 1, base = k + 1.

    It is convex, and 0 at the offsets 0 and 1. Both `offset` and `above` are asked for because
    one of them may be small next to the other.
    """
    t = offset / base
    near = jnp.abs(t) < 0.4
    small, ratio = jnp.where(near, t, 0.0), jnp.where(near, 1.0, above / base)
    log_ratio = jnp.where(near, jnp.log1p(small), jnp.log(ratio))
    excess = jnp.where(
        near, (1.0 + small) * log1pmx(small) + small**2, ratio * jnp.log(ratio) - (ratio - 1.0)
    )
    value = base * excess - 0.5 * log_ratio + stirling_error(above) - stirling_error(base)
    return jnp.where(offset * (offset - 1.0) == 0, 0.0, value)


def _guess(mu, nu):
    """Return beta in log(rate) = nu log(mu) - beta / mu, nearly."""
    spread = nu * mu
    return (1.0 - nu) * (1.0 + spread) / (1.0 + 2.0 * spread)


# These are compiled once for all that call them: traced anew each time they take seconds.
@jax.jit
def _grid(mu, nu):
    """Return the nodes for mu and nu of equal shape."""
    mu, nu = jax.lax.stop_gradient(mu), jax.lax.stop_gradient(nu)
    floor = jnp.floor(mu)
    base, part = floor + 1.0, mu - floor
    # In t = y / mu - 1 the terms fall from the middle like
    # exp(-beta t - spread ((1 + t) log(1 + t) - t)), and the bracket is at least
    # t**2 / (2 (1 + t / 3)) above, and t**2 / 2 below.
    middle = jnp.maximum(mu, 2.0)
    spread, beta = nu * middle, _guess(middle, nu)
    p, q = beta / 3.0 + 0.5 * spread, beta - _DEPTH / 3.0
    end = middle * (jnp.sqrt(q**2 + 4.0 * p * _DEPTH) - q) / (2.0 * p) + 3.0
    reaches_zero = spread < _DEPTH + 1.0
    below = (jnp.abs(beta) + jnp.sqrt(beta**2 + 2.0 * spread * _DEPTH)) / spread
    start = -jnp.where(reaches_zero, floor, jnp.minimum(floor, jnp.ceil(middle * below) + 2.0))
    step = jnp.maximum((end - start) / (_NODES - 1.0), 1.0)
    every = step == 1.0
    wide = ~every & reaches_zero
    kind = mu.dtype
    # Equidistant nodes, by offsets from floor.
    offset = start[..., None] + step[..., None] * jnp.arange(_NODES, dtype=kind)
    # The first counts, and then a scale that is finer towards 0, where y log(y) is not smooth.
    length = floor + end - _HEAD
    head = jnp.arange(_HEAD, dtype=kind)
    tail = _HEAD + jnp.maximum(length, 1.0)[..., None] * jnp.asarray(_UNIT**3, kind)
    count = jnp.concatenate([jnp.broadcast_to(head, (*mu.shape, _HEAD)), tail], axis=-1)
    log_tail = np.log(3.0 * _UNIT**2 * _UNIT_WEIGHTS)
    log_relative = jnp.asarray(np.concatenate([np.zeros(_HEAD), log_tail]), kind)
    in_head, log_length = jnp.arange(_NODES) < _HEAD, jnp.log(jnp.maximum(length, 1.0))
    log_length = jnp.where(in_head, 0.0, log_length[..., None])
    is_wide = wide[..., None]
    offset_here = jnp.where(is_wide, count - floor[..., None], offset)
    above = jnp.where(is_wide, count + 1.0, base[..., None] + offset)
    return _Grid(
        floor=floor,
        base=base,
        part=part,
        away=offset_here - part[..., None],
        fall=_log_factorial_ratio(offset_here, above, base[..., None]),
        log_weight=jnp.where(is_wide, log_relative + log_length, jnp.log(step)[..., None]),
        every=every,
        wide=wide,
    )


@jax.jit
def _log_total(tilt, nu, grid):
    """Return log Z for l and nu, differentiable in both."""
    exponent = grid.away * tilt[..., None] - nu[..., None] * grid.fall + grid.log_weight
    top = jax.lax.stop_gradient(exponent.max(axis=-1))
    total = jnp.exp(exponent - top[..., None]).sum(axis=-1)
    # What the integral from _HEAD lacks to the sum: half of the first term and corrections by
    # its derivatives, whose Taylor coefficients follow from those of its logarithm.
    slope, small_nu, base, floor = (
        jnp.where(grid.wide, x, 1.0) for x in (tilt, nu, grid.base, grid.floor)
    )
    logs = [-small_nu * c for c in _LOG_FACTORIAL]
    logs[0] = logs[0] + slope + small_nu * jnp.log(base)
    taylor: list[Any] = [jnp.ones_like(slope)]
    for n in range(1, 2 * len(_BERNOULLI)):
        taylor.append(sum((j + 1) * logs[j] * taylor[n - 1 - j] for j in range(n)) / n)
    factor = 0.5 - sum(b * taylor[2 * j + 1] for j, b in enumerate(_BERNOULLI))
    fall = _log_factorial_ratio(_HEAD - floor, jnp.full_like(base, _HEAD + 1.0), base)
    first = (_HEAD - floor - grid.part) * slope - small_nu * jax.lax.stop_gradient(fall)
    extra = factor * jnp.exp(jnp.where(grid.wide, first - top, 0.0))
    return top + jnp.log(total + jnp.where(grid.wide, extra, 0.0))


def _mean_excess(tilt, nu, grid):
    """Return E[y] - mu, the derivative of log Z in l."""
    return jax.jvp(lambda x: _log_total(x, nu, grid), (tilt,), (jnp.ones_like(tilt),))[1]


@jax.jit
def _mean_slopes(tilt, nu, grid):
    """Return the derivatives of E[y] in l, which is the variance, and in nu."""
    one, zero = jnp.ones_like(tilt), jnp.zeros_like(tilt)

    def excess(x, y):
        return _mean_excess(x, y, grid)

    return (
        jax.jvp(excess, (tilt, nu), (one, zero))[1],
        jax.jvp(excess, (tilt, nu), (zero, one))[1],
    )


@jax.custom_jvp
@jax.jit
def _solve(mu, nu):
    """Return l for mu and nu of equal shape."""
    grid = _grid(mu, nu)
    # Where all counts are nodes, Newton's method is for the logarithm of the ratio of
    # E[max(y - mu, 0)] to E[max(mu - y, 0)]. Its slope is at least 1, also where nearly all of
    # the mass is on a single count and the mean says nothing about l.
    log_away = jnp.log(jnp.abs(jnp.where(grid.away == 0, 1.0, grid.away)))

    def side(exponent, part):
        exponent = jnp.where(part, exponent + log_away, -jnp.inf)
        top = exponent.max(axis=-1)
        terms = jnp.exp(exponent - top[..., None])
        total = terms.sum(axis=-1)
        return top + jnp.log(total), (terms * grid.away).sum(axis=-1) / total

    def newton(state):
        tries, tilt, _ = state
        exponent = grid.away * tilt[..., None] - nu[..., None] * grid.fall
        (log_above, above), (log_below, below) = (
            side(exponent, part) for part in (grid.away > 0, grid.away < 0)
        )
        by_ratio = (log_above - log_below) / (above - below)
        excess, variance = jax.jvp(
            lambda x: _mean_excess(x, nu, grid), (tilt,), (jnp.ones_like(tilt),)
        )
        spread = jnp.sqrt(variance)
        by_mean = jnp.clip(excess / variance, -2.0 / spread, 2.0 / spread)
        move = jnp.where(grid.every, by_ratio, by_mean)
        # Convergence is quadratic: a move of 1e-8 of what matters is the last.
        scale = jnp.where(grid.every, 1.0 + jnp.abs(tilt), 1.0 / spread)
        return tries + 1, tilt - move, jnp.abs(move) > 1e-8 * scale

    start = nu * jnp.where(
        grid.floor > 0, jnp.log1p((grid.part - 1.0) / grid.base), jnp.log(mu)
    ) - _guess(mu, nu) * jnp.log1p(1.0 / mu)
    state = (0, start, jnp.ones_like(start, bool))
    return jax.lax.while_loop(lambda s: (s[0] < 100) & jnp.any(s[2]), newton, state)[1]


@_solve.defjvp
def _(primals, tangents):
    (mu, nu), (mu_dot, nu_dot) = primals, tangents
    tilt = _solve(mu, nu)
    variance, slope = _mean_slopes(tilt, nu, _grid(mu, nu))
    # The variance of a single count that has all the mass is not quite 0.
    variance = jnp.maximum(variance, clipped_exp(jnp.full_like(variance, -jnp.inf)))
    return tilt, (mu_dot - slope * nu_dot) / variance


# --- distribution functions ---


def _generalized_poisson_at(parameters, y):
    return GeneralizedPoisson(*parameters).log_prob(y)


def _generalized_poisson_tails(v, y):
    log_mean, log_excess = v.log("mu"), v.linear("phi")
    log_theta = log_mean - 0.5 * log1pexp(log_excess)
    return summed_tails(
        _generalized_poisson_at, (log_mean, log_excess), y, clipped_exp(log_mean), log_theta
    )


def _com_poisson_at(parameters, y):
    tilt, nu, log_total, floor, part = parameters
    fall = _log_factorial_ratio(y - floor, y + 1.0, floor + 1.0)
    return (y - floor - part) * tilt - nu * fall - log_total


def _com_poisson_tails(v, y):
    distribution = ComPoisson(v.log("mu"), v.nu)
    tilt, nu, grid = distribution.solved()
    parameters = (tilt, nu, _log_total(tilt, nu, grid), grid.floor, grid.part)
    return summed_tails(_com_poisson_at, parameters, y, distribution.mean)


_MU = Parameter("mu", links=("log", "identity", "sqrt", "softplus"), support="positive")

_gp_log_cdf, _gp_log_sf = tails_of_counts(_generalized_poisson_tails)
generalized_poisson = Family(
    name="generalized_poisson",
    parameters=(
        _MU,
        # From 1, the Poisson, where its density is highest, to any overdispersion. On the link
        # scale log(phi - 1).
        Parameter(
            "phi",
            links=("logm1",),
            support="above_one",
            prior=("TruncatedGamma", (1.0, 0.2, 1.0)),
        ),
    ),
    response=COUNT,
    # Of the link logm1 the linear predictor is log(phi - 1).
    distribution=lambda v: GeneralizedPoisson(v.log("mu"), v.linear("phi")),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu * v.phi,
    log_cdf=_gp_log_cdf,
    log_sf=_gp_log_sf,
    about="mean mu, variance mu phi, phi > 1",
    elsewhere=(("glmmTMB", "genpois"),),
)

_com_log_cdf, _com_log_sf = tails_of_counts(_com_poisson_tails)
com_poisson = Family(
    name="com_poisson",
    width=1500,
    parameters=(
        _MU,
        # The Poisson in the middle.
        Parameter(
            "nu",
            links=("log", "softplus"),
            support="positive",
            prior=("LogNormal", (0.0, 1.0)),
            intercept_prior=("Normal", (0.0, 1.0)),
        ),
    ),
    response=COUNT,
    distribution=lambda v: ComPoisson(v.log("mu"), v.nu),
    mean=lambda v: v.mu,
    variance=lambda v: ComPoisson(v.log("mu"), v.nu).variance,
    log_cdf=_com_log_cdf,
    log_sf=_com_log_sf,
    about="mean mu, variance about mu / nu: P(y) proportional to rate^y / (y!)^nu",
    elsewhere=(("brms", "com_poisson (mode)"), ("glmmTMB", "compois")),
)

FAMILIES = (generalized_poisson, com_poisson)
