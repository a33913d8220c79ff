"""How a row was seen: exactly, beyond a limit (censored), or only within limits (truncated).

`observed` wraps the distribution of a response where its design says so. With F the distribution
function and S = 1 - F, the likelihood of a row is

==================  ====================================
exact               f(y)
left censored       F(y)            the value is y or less
right censored      S(y)            the value is above y
interval censored   F(y2) - F(y)    above y, and y2 or less
==================  ====================================

divided by F(upper) - F(lower) where rows outside [lower, upper] would not have been recorded; for
whole numbers that is P(lower <= Y <= upper). Everything is computed in logarithms, from whichever
of F and S is small, so that limits far out in a tail keep their digits.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from bayesmm.families import Family, Values
from bayesmm.families.numerics import log1mexp

_CENSORED = ("left", "right", "interval")
_TRUNCATED = ("lower", "upper")

# An interval is short where the distribution function grows by less than this part of itself.
_SHORT = 1e-5
# Gauss and Legendre's rule on (0, 1); of whole numbers as many are summed as it has nodes.
_FEW = 4
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_FEW)
_GAUSS = ((_NODES + 1.0) / 2.0, _WEIGHTS / 2.0)


def observed(
    distribution: dist.Distribution, family: Family, values: Values, data: Mapping[str, Any]
) -> dist.Distribution:
    """Return the distribution of what is seen of each row.

    Parameters
    ----------
    distribution : Distribution
        Of the response itself, batch shape (rows,).
    family : Family
        Whose distribution it is; for its distribution function.
    values : Values
        The parameters that it was made of.
    data : mapping of str to array
        What is known of the rows, see `bayesmm.response.ResponseData`.
    """
    if not any(name in data for name in (*_CENSORED, *_TRUNCATED)):
        return distribution
    # A family without them was refused when the response was read.
    log_cdf, log_sf = cast(Callable, family.log_cdf), cast(Callable, family.log_sf)
    return Observed(
        distribution,
        lambda y: log_cdf(values, y),
        lambda y: log_sf(values, y),
        data,
        integer=family.response.integer,
        atoms=family.base is not None,
    )


class Observed(dist.Distribution):
    """The distribution of a response of which some rows are censored, or all truncated.

    Its log density is the log-likelihood of what was seen. Draws are responses within the bounds
    of truncation; they are not censored, since a censored row is a limit of the observation and
    not of the response.

    Parameters
    ----------
    base : Distribution
        Of the response itself, batch shape (rows,).
    log_cdf, log_sf : callable
        log P(Y <= y) and log P(Y > y), for y of shape (rows,).
    data : mapping of str to array
        With some of ``left``, ``right``, ``interval``, ``interval_upper``, ``lower``, ``upper``.
    integer : bool
        Whether the response is a whole number, so that bounds belong to what they enclose.
    atoms : bool
        Whether single values, such as 0, have a probability of their own.
    """

    arg_constraints: dict = {}
    #: Draws that are thrown away before one is found by its distribution function.
    tries = 100
    #: Halvings of the interval of such a draw; enough for any float.
    halvings = 1100

    def __init__(self, base, log_cdf, log_sf, data, *, integer, atoms=False, validate_args=None):
        self.base, self.integer = base, integer
        self.log_cdf: Callable = log_cdf
        self.log_sf: Callable = log_sf
        self.data = {k: jnp.asarray(data[k]) for k in (*_CENSORED, "interval_upper") if k in data}
        shape = base.batch_shape
        self.truncated = any(bound in data for bound in _TRUNCATED)
        # P(a < Y <= b), None where there is no bound; of whole numbers from `lower` on, those above
        # the one before.
        lower, upper = data.get("lower"), data.get("upper")
        self.above = self.upto = None
        if lower is not None:
            below = jnp.ceil(lower) - 1.0 if integer else _just_below(lower) if atoms else lower
            self.above = jnp.broadcast_to(below, shape)
        if upper is not None:
            self.upto = jnp.broadcast_to(jnp.floor(upper) if integer else upper, shape)
        super().__init__(shape, base.event_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """That of the response itself."""
        return constraints.real

    @validate_sample
    def log_prob(self, value):
        """Return the log-likelihood of each row, shape (rows,)."""
        found = jnp.zeros(jnp.shape(value))
        special = jnp.zeros(jnp.shape(value), dtype=bool)
        ends = {
            "left": lambda: (self.above, value),
            "right": lambda: (value, self.upto),
            "interval": lambda: self._cut(value, self.data["interval_upper"]),
        }
        censored = [self.data[name] for name in _CENSORED if name in self.data]
        if censored:
            # What is recorded of a censored row may have no density, such as 0: there another is
            # evaluated, and not used.
            exact = ~jnp.any(jnp.stack(censored), axis=0)
            inside = jnp.where(exact, value, value[jnp.argmax(exact)])
        else:
            inside = value
        for name in _CENSORED:
            if name in self.data:
                rows, (a, b) = self.data[name], ends[name]()
                found = jnp.where(rows, self.log_between(a, b, inside), found)
                special = special | rows
        found = jnp.where(special, found, self.base.log_prob(inside))
        if not self.truncated:
            return found
        log_chance = self.log_between(self.above, self.upto, inside)
        # Bounds that exclude all: no draw of the parameters can have made the row.
        possible = log_chance > -jnp.inf
        return jnp.where(possible, found - jnp.where(possible, log_chance, 0.0), -jnp.inf)

    def _cut(self, a, b):
        """The part of an interval that lies within the bounds."""
        a = a if self.above is None else jnp.maximum(a, self.above)
        return a, b if self.upto is None else jnp.minimum(b, self.upto)

    def log_between(self, a, b, inside):
        """Return log P(a < Y <= b), from the tail in which the interval lies.

        Parameters
        ----------
        a, b : array or None
            Shape (rows,); None for an open end.
        inside : array
            Any values that are possible: where a density has to be evaluated and not used.
        """
        if a is None:
            return jnp.zeros(self.batch_shape) if b is None else self.log_cdf(b)
        if b is None:
            return self.log_sf(a)
        larger, smaller = _nearer_tail(
            (self.log_cdf(a), self.log_sf(a)), (self.log_cdf(b), self.log_sf(b))
        )
        # A difference of equal digits has none: over a short interval the density is integrated.
        short = (smaller - larger > -_SHORT) | (jnp.asarray(self.integer) & (b - a <= _FEW))
        short = short & jnp.isfinite(a) & jnp.isfinite(b) & (a < b)
        low, high = jnp.where(short, a, 0.0), jnp.where(short, b, 1.0)
        terms = []
        for i, (node, weight) in enumerate(zip(*_GAUSS, strict=True)):
            if self.integer:
                at, used = low + 1.0 + i, short & (low + 1.0 + i <= high)
                log_weight = jnp.where(used, 0.0, -jnp.inf)
            else:
                at, used = low + (high - low) * node, short
                log_weight = jnp.log(weight * (high - low))
            density = self.base.log_prob(jnp.where(used, at, inside))
            terms.append(jnp.where(used, density, 0.0) + log_weight)
        integral = jax.scipy.special.logsumexp(jnp.stack(terms), axis=0)
        return jnp.where(short, integral, _log_difference(larger, smaller))

    def sample(self, key: Any, sample_shape=()):
        """Draw responses within the bounds, shape sample_shape + (rows,)."""
        if not self.truncated:
            return self.base.sample(key, sample_shape)
        draw = self._within
        for size in reversed(sample_shape):
            draw = _repeated(draw, size)
        return draw(key)

    def _within(self, key: Any) -> jax.Array:
        """One draw for each row: of what is drawn the first within bounds; else by bisection."""
        key_first, key_uniform = jax.random.split(key)
        shape = self.batch_shape
        lowest = jnp.full(shape, -jnp.inf) if self.above is None else self.above
        highest = jnp.full(shape, jnp.inf) if self.upto is None else self.upto

        def outside(y):
            return ~((y > lowest) & (y <= highest))

        def again(state):
            tries, key, y = state
            key, sub = jax.random.split(key)
            return tries + 1, key, jnp.where(outside(y), self.base.sample(sub), y)

        def unfinished(state):
            return (state[0] < self.tries) & jnp.any(outside(state[2]))

        state = (0, key_first, jnp.full(shape, jnp.nan))
        drawn = jax.lax.while_loop(unfinished, again, state)[2]
        # Bounds that leave next to nothing: the y at which P(Y > y | bounds) is uniform.
        done = ~outside(drawn)
        target = jnp.log(jax.random.uniform(key_uniform, shape, minval=1e-12))
        above, upto = self._tails(self.above, -1.0), self._tails(self.upto, 1.0)
        target = target + _log_difference(*_nearer_tail(above, upto))

        def wide(low, high):
            least = 1.0 if self.integer else 1e-14 * jnp.maximum(jnp.abs(low), jnp.abs(high))
            # An open end makes `least` infinite, and any interval narrow.
            closed = jnp.isfinite(low) & jnp.isfinite(high)
            return ~done & ~(closed & (high - low <= least))

        def halve(state):
            step, (low, high) = state
            # Where an end is open, away from the other one in steps of 1, 2, 4, ...
            inside = jnp.where(jnp.isfinite(low), low, jnp.where(jnp.isfinite(high), high, 0.0))
            away = jnp.exp2(step) * jnp.where(jnp.isfinite(low), 1.0, -1.0)
            both = jnp.isfinite(low) & jnp.isfinite(high)
            middle = jnp.where(both, low + 0.5 * (high - low), inside + away)
            middle = jnp.floor(middle) if self.integer else middle
            past = _log_difference(*_nearer_tail(self._tails(middle, 0.0), upto)) <= target
            return step + 1, (jnp.where(past, low, middle), jnp.where(past, middle, high))

        def running(state):
            step, (low, high) = state
            return (step < self.halvings) & jnp.any(wide(low, high))

        start = (jnp.asarray(0), (lowest, highest))
        _, (_, high) = jax.lax.while_loop(running, halve, start)
        return jnp.where(done, drawn, high)

    def _tails(self, end, side: float):
        """Log P(Y <= end) and log P(Y > end); `side` is -1 or 1 for an open end (None)."""
        if end is None:
            everything, nothing = jnp.zeros(self.batch_shape), jnp.full(self.batch_shape, -jnp.inf)
            return (nothing, everything) if side < 0 else (everything, nothing)
        return self.log_cdf(end), self.log_sf(end)


def _nearer_tail(a, b):
    """Of the tails at a and b, the pair whose difference is P(a < Y <= b) with most digits."""
    (log_cdf_a, log_sf_a), (log_cdf_b, log_sf_b) = a, b
    is_left = log_cdf_b < log_sf_a
    larger = jnp.where(is_left, log_cdf_b, log_sf_a)
    return larger, jnp.where(is_left, log_cdf_a, log_sf_b)


def _just_below(x):
    """The next float below, of the normal ones."""
    tiny = jnp.finfo(jnp.result_type(x, float)).tiny
    return jnp.where(jnp.abs(x) < 2.0 * tiny, x - 2.0 * tiny, jnp.nextafter(x, -jnp.inf))


def _repeated(draw: Callable, size: int) -> Callable:
    return lambda key: jax.vmap(draw)(jax.random.split(key, size))


def _log_difference(larger, smaller):
    """Return log(exp(larger) - exp(smaller)), -inf where they are equal."""
    gap = smaller - larger
    inside = (gap < 0.0) & jnp.isfinite(larger)
    shrunk = log1mexp(jnp.where(inside, gap, -1.0))
    return jnp.where(inside, jnp.where(inside, larger, 0.0) + shrunk, -jnp.inf)
