"""Prior distributions that NumPyro does not have, or cannot simulate from.

Each is a NumPyro distribution that can be simulated from, because a prior that cannot be drawn
from has no prior predictive. To add one, write it here: `bayesmm.priors` finds it by its
class name.
`aligned` is the one line that every distribution's constructor needs.
"""

import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import promote_shapes
from numpyro.util import is_prng_key

# ArviZ loads NumPyro lazily. `import numpyro.distributions` then runs that package twice, and the
# second copy lacks its submodules as attributes, through which NumPyro itself reaches them.
for _module in [name for name in sys.modules if name.startswith("numpyro.distributions.")]:
    _name = _module.removeprefix("numpyro.distributions.")
    if not hasattr(dist, _name):
        setattr(dist, _name, sys.modules[_module])


def aligned(*parameters) -> tuple[Any, tuple[int, ...]]:
    """Return a distribution's parameters with equal numbers of axes, and their batch shape."""
    shape = jax.lax.broadcast_shapes(*map(jnp.shape, parameters))
    return promote_shapes(*parameters, shape=shape), shape


class HalfStudentT(dist.Distribution):
    """Student's t with location 0, folded at 0.

    Parameters
    ----------
    df : float or array
        Degrees of freedom, positive.
    scale : float or array
        Scale, positive, in units of the parameter.

    Notes
    -----
    The density is ``2 t(x; df, 0, scale)`` for x >= 0. It is drawn as ``|t|``, which needs no
    quantile function.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> priors = {"sd_Subject[Days]": bm.HalfStudentT(3, 10)}  # slopes differ by some 10 ms a day
    >>> bm.Model("Reaction ~ Days + (Days | Subject)", data, priors=priors).priors.tail(4)
                                            prior                      source
    parameter
    sd_Subject[Intercept]  HalfStudentT(3, 59.34)                     default
    sd_Subject[Days]          HalfStudentT(3, 10)  priors['sd_Subject[Days]']
    cor_Subject                            LKJ(1)                     default
    sigma                  HalfStudentT(3, 59.34)                     default
    """

    arg_constraints = {"df": constraints.positive, "scale": constraints.positive}
    reparametrized_params = ["scale"]

    def __init__(self, df, scale=1.0, *, validate_args=None):
        (self.df, self.scale), batch_shape = aligned(df, scale)
        super().__init__(batch_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Positive values."""
        return constraints.positive

    def sample(self, key: Any, sample_shape=()):
        """Draw ``|t|``, shape sample_shape + batch_shape."""
        return jnp.abs(dist.StudentT(self.df, 0.0, self.scale).sample(key, sample_shape))

    def log_prob(self, value):
        """Return the log density at a non-negative value."""
        return dist.StudentT(self.df, 0.0, self.scale).log_prob(value) + jnp.log(2.0)

    @property
    def mean(self):
        """The mean, infinite for df <= 1."""
        df = jnp.maximum(self.df, 1.0)
        log_ratio = jax.scipy.special.gammaln((df + 1) / 2) - jax.scipy.special.gammaln(df / 2)
        value = 2 * self.scale * jnp.exp(log_ratio) * jnp.sqrt(df / jnp.pi)
        return jnp.where(self.df > 1, value / jnp.where(self.df > 1, df - 1, 1.0), jnp.inf)

    @property
    def variance(self):
        """The variance, infinite for df <= 2."""
        second = self.scale**2 * self.df / jnp.where(self.df > 2, self.df - 2, 1.0)
        mean = jnp.where(self.df > 2, self.mean, 0.0)
        return jnp.where(self.df > 2, second - mean**2, jnp.inf)


class TruncatedGamma(dist.Distribution):
    """A gamma distribution given that its value exceeds `low`.

    Parameters
    ----------
    concentration, rate : float or array
        Of the gamma before truncation, positive.
    low : float or array
        The lower bound, non-negative.

    Notes
    -----
    The density is ``gamma(x) / Q(concentration, rate low)`` with Q the regularised upper
    incomplete gamma function. It is drawn by rejection, so `low` should leave most of the mass.
    """

    arg_constraints = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
        "low": constraints.nonnegative,
    }

    def __init__(self, concentration, rate=1.0, low=0.0, *, validate_args=None):
        (self.concentration, self.rate, self.low), batch_shape = aligned(concentration, rate, low)
        super().__init__(batch_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Values above `low`."""
        return constraints.greater_than(self.low)

    def sample(self, key: Any, sample_shape=()):
        """Draw by rejection, shape sample_shape + batch_shape."""
        if not is_prng_key(key):
            raise ValueError("key must be a single PRNG key.")
        shape = sample_shape + self.batch_shape

        def propose(key):
            return jax.random.gamma(key, self.concentration, shape) / self.rate

        def redraw(state):
            key, value = state
            key, sub = jax.random.split(key)
            return key, jnp.where(value > self.low, value, propose(sub))

        key, first = jax.random.split(key)
        state = (key, jnp.broadcast_to(propose(first), shape))
        return jax.lax.while_loop(lambda s: jnp.any(s[1] <= self.low), redraw, state)[1]

    def log_prob(self, value):
        """Return the log density at a value above `low`."""
        upper = jax.scipy.special.gammaincc(self.concentration, self.rate * self.low)
        return dist.Gamma(self.concentration, self.rate).log_prob(value) - jnp.log(upper)


class Ordered(dist.Distribution):
    """Independent numbers, given that they increase along the last axis.

    Parameters
    ----------
    parts : sequence of Distribution
        Of the numbers without the order, each of batch shape (k,).
    positions : sequence of sequence of int
        Which numbers, in C order, each part is of.
    shape : tuple of int
        The shape of the whole; the last axis is the event.
    alike : bool
        Whether the numbers of a row have the same prior, so that sorting puts them in order.

    Notes
    -----
    The density is the product of those of the parts where the numbers increase, times L! for rows
    of length L: exact where the numbers of a row are alike, otherwise right but for a constant.
    """

    arg_constraints: dict = {}
    #: Proposals for rows whose numbers are not alike; what is then not in order is sorted.
    tries = 1000

    def __init__(self, parts, positions, shape, *, alike=True, validate_args=None):
        self.parts, self.whole, self.alike = tuple(parts), tuple(shape), alike
        places = [place for part in positions for place in part]
        self.order = sorted(range(len(places)), key=places.__getitem__)
        self.positions = [jnp.asarray(part) for part in positions]
        super().__init__(self.whole[:-1], self.whole[-1:], validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Increasing vectors."""
        return constraints.ordered_vector

    def sample(self, key: Any, sample_shape=()):
        """Draw rows, by rejection where sorting would not do."""

        def propose(key):
            keys = jax.random.split(key, len(self.parts))
            drawn = [p.sample(k, sample_shape) for p, k in zip(self.parts, keys, strict=True)]
            return self._assembled(drawn)

        def unordered(rows):
            return jnp.any(jnp.diff(rows, axis=-1) <= 0, axis=-1, keepdims=True)

        def again(state):
            tries, key, rows = state
            key, sub = jax.random.split(key)
            return tries + 1, key, jnp.where(unordered(rows), propose(sub), rows)

        def unfinished(state):
            return (state[0] < self.tries) & jnp.any(unordered(state[2]))

        key, first = jax.random.split(key)
        rows = propose(first)
        if not self.alike:
            rows = jax.lax.while_loop(unfinished, again, (0, key, rows))[2]
        return jnp.sort(rows, axis=-1)

    def _assembled(self, values) -> jax.Array:
        """Values of the parts, put in their places: shape (..., *whole)."""
        flat = jnp.concatenate(values, axis=-1)[..., jnp.asarray(self.order)]
        return flat.reshape((*flat.shape[:-1], *self.whole))

    def log_prob(self, value):
        """Return the log density of increasing rows."""
        flat = value.reshape((*value.shape[: value.ndim - len(self.whole)], -1))
        terms = [
            part.log_prob(flat[..., place])
            for part, place in zip(self.parts, self.positions, strict=True)
        ]
        return self._assembled(terms).sum(axis=-1) + math.lgamma(self.whole[-1] + 1)
