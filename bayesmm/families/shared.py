"""What families of several modules share: common parameters, and the ends of a support."""

import jax.numpy as jnp

from bayesmm.families.base import Parameter

#: The scale of the residuals of families on the real line, or of the logarithm.
SIGMA = Parameter(
    "sigma",
    links=("log", "softplus"),
    support="positive",
    prior=("HalfStudentT", (3.0, "scale")),
    intercept_prior=("StudentT", (3.0, "link(sd)", 2.5)),
)


def tails_above(tails, low=None):
    """Return log_cdf and log_sf of a family, given both for finite numbers within its support.

    Parameters
    ----------
    tails : callable
        ``tails(values, y)``: log P(Y <= y) and log P(Y > y).
    low : callable, optional
        ``low(values)``: the lower end of the support; without it the support is the real line.

    Returns
    -------
    tuple of callable
        ``log_cdf(values, y)`` and ``log_sf(values, y)`` for any y: outside the support and at
        infinity they are exactly 0 or -inf, with gradients of 0.
    """

    def placed(which, below, above):
        def function(v, y):
            y = jnp.asarray(y, jnp.result_type(y, float))
            end = -jnp.inf if low is None else low(v)
            inside = (y > end) & (y < jnp.inf)
            somewhere = 0.0 if low is None else end + 1.0 + jnp.abs(end)
            value = tails(v, jnp.where(inside, y, somewhere))[which]
            # A value of NaN, where the parameters are impossible, stays NaN.
            outside = jnp.where(y <= end, below, above)
            return jnp.where(inside | jnp.isnan(value), value, outside)

        return function

    return placed(0, -jnp.inf, 0.0), placed(1, 0.0, -jnp.inf)
