"""Covariance structures of a block of group effects, one file each.

A structure says how a block's correlations are sampled in a NumPyro model. To add one, write a
module with a `Structure` record and name it in `STRUCTURES`; its tests come with the table.
"""

from collections.abc import Mapping

from bayesmm.covariance.base import Structure
from bayesmm.covariance.diagonal import DIAGONAL
from bayesmm.covariance.unstructured import UNSTRUCTURED

STRUCTURES: Mapping[str, Structure] = {s.name: s for s in (UNSTRUCTURED, DIAGONAL)}


def structure_for(correlated: bool) -> Structure:
    """Return the structure of a formula's block: LKJ where effects are correlated."""
    return UNSTRUCTURED if correlated else DIAGONAL


__all__ = ["DIAGONAL", "STRUCTURES", "UNSTRUCTURED", "Structure", "structure_for"]
