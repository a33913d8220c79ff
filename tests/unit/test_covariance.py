"""Covariance structures: what each gives is the Cholesky factor of a correlation matrix."""

import jax
import numpy as np
import numpyro
import pytest

from bayesmm.covariance import STRUCTURES

every_structure = pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)


@every_structure
@pytest.mark.parametrize("q", [2, 4])  # one effect has no correlations to ask for
@pytest.mark.parametrize("eta", [0.5, 1.0, 20.0])
def test_cholesky_is_the_factor_of_a_correlation_matrix(structure, q, eta):
    with jax.enable_x64(True), numpyro.handlers.seed(rng_seed=1):
        L = np.asarray(structure.cholesky("L", q, eta))
    assert L.shape == (q, q)
    np.testing.assert_array_equal(L, np.tril(L))
    np.testing.assert_allclose((L**2).sum(axis=1), 1.0, rtol=1e-12)
    assert (np.diag(L) > 0).all()


@every_structure
def test_a_structure_that_estimates_no_correlations_has_none(structure):
    with jax.enable_x64(True), numpyro.handlers.seed(rng_seed=1):
        L = np.asarray(structure.cholesky("L", 3, 1.0))
    assert structure.correlated == bool(np.abs(L - np.eye(3)).max() > 0)
