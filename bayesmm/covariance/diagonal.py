"""Independent effects: the correlation matrix is the identity, and there is nothing to sample."""

import jax.numpy as jnp

from bayesmm.covariance.base import Structure


def _cholesky(site, q, eta):
    del site, eta
    return jnp.eye(q)


DIAGONAL = Structure("diagonal", correlated=False, cholesky=_cholesky)
