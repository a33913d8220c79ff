"""The record of a covariance structure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class Structure:
    """How the correlations of a block are sampled.

    Attributes
    ----------
    name : str
        What the structure is called.
    correlated : bool
        Whether it estimates correlations, and so has a prior on them.
    cholesky : callable
        ``cholesky(site, q, eta)`` is called inside a NumPyro model: it samples what the structure
        needs under the name `site` and returns L, the lower Cholesky factor of the correlation
        matrix R = L L', shape (q, q).
    """

    name: str
    correlated: bool
    cholesky: Callable[[str, int, Any], jax.Array]
