"""Any correlation matrix, with the LKJ prior on its Cholesky factor."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from bayesmm.covariance.base import Structure


def _cholesky(site, q, eta):
    return jnp.asarray(numpyro.sample(site, dist.LKJCholesky(q, eta)))


UNSTRUCTURED = Structure("unstructured", correlated=True, cholesky=_cholesky)
