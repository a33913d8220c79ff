"""What each row says of its linear predictors: the slope and the curvature of its log-likelihood.

The log-likelihood of a row is a function of the m linear predictors that carry group effects, all
else being given. Its derivatives there are what a quadratic of the effects is made of: for the
coordinates of the sampler (`whiten.py`), for the Laplace approximation (`laplace.py`), and for the
estimates without pooling.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from bayesmm.design import Design
from bayesmm.families import Family
from bayesmm.model.predictor import log_likelihood_at


@dataclass(frozen=True)
class RowLikelihood:
    """The log-likelihood of rows as a function of some of their linear predictors.

    Attributes
    ----------
    family : Family
        The distribution of the response.
    design : Design
        The rows.
    names : tuple of str
        The m parameters whose linear predictors vary.
    linear : mapping of str to array
        All linear predictors, shape (rows,); what stands there for `names` is not used.
    numbers : mapping of str to array
        The parameters without a formula.
    """

    family: Family
    design: Design
    names: tuple[str, ...]
    linear: Mapping[str, jax.Array]
    numbers: Mapping[str, Any]

    def __call__(self, eta: jax.Array) -> jax.Array:
        """Return the weighted log-likelihood of each row, shape (rows,), at eta, (m, rows)."""
        linear = {**self.linear, **dict(zip(self.names, eta, strict=True))}
        return log_likelihood_at(self.family, self.design, linear, self.numbers)

    def score(self, eta: jax.Array) -> jax.Array:
        """Return the derivatives by the m linear predictors, shape (m, rows)."""
        return jax.grad(lambda eta: self(eta).sum())(eta)

    def score_and_information(self, eta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return score (m, rows) and information (m, m, rows), positive semidefinite.

        It is for the steps of a search; the variance at a mode is of the `observed` one.
        """
        score, observed = self.observed(eta)
        return score, positive_information(observed, score, self.design.weights)

    def observed(self, eta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return score (m, rows) and minus the second derivatives, shape (m, m, rows)."""

        def column(direction):
            return jax.jvp(self.score, (eta,), (direction[:, None] * jnp.ones_like(eta),))[1]

        score = self.score(eta)
        # Row i depends on the elements i alone: one pass gives a column for all rows.
        return score, -jax.lax.map(column, jnp.eye(len(eta)))


def positive_information(observed: jax.Array, score: jax.Array, weights: Any = None) -> jax.Array:
    """Return the observed information, the squared score where it is not positive.

    The expectation of the squared score is that of the information, in every direction; it is
    what remains of a row where the log-likelihood is not concave.

    Parameters
    ----------
    observed : array
        Shape (m, m, rows).
    score : array
        Shape (m, rows).
    weights : array, optional
        Shape (rows,): factors on the log-likelihood that are in both.
    """
    if weights is not None:
        score = score / jnp.sqrt(jnp.where(weights > 0, weights, 1.0))
    if len(score) == 1:
        squared = score[None] ** 2
        return jnp.where(observed > 1e-8 * squared, observed, squared)
    symmetric = jnp.moveaxis(0.5 * (observed + jnp.swapaxes(observed, 0, 1)), -1, 0)
    values, vectors = jnp.linalg.eigh(symmetric)
    along = jnp.einsum("nkv,kn->nv", vectors, score) ** 2
    values = jnp.where(values > 1e-8 * along, values, along)
    return jnp.einsum("nkv,nv,nmv->kmn", vectors, values, vectors)
