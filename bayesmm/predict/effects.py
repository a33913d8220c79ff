"""The group effects of clusters, for every posterior draw: known ones, and those of new clusters.

What becomes of a cluster that the model has not seen is the caller's choice, one function each in
`NEW_LEVELS`; to add a choice, write such a function. All random numbers of a cluster come from a
generator of its own, made of seed, group and label: its effect is the same in every row, whatever
is predicted beside it, and independent of that of any other.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bayesmm.layout import GroupLayout
from bayesmm.predict.clusters import Clusters


@dataclass(frozen=True)
class Effects:
    """The group effects of any cluster.

    Attributes
    ----------
    quantities : mapping of str to numpy.ndarray
        The posterior's variables, draws first.
    clusters : mapping of str to Clusters
        By grouping.
    new_levels : str
        What becomes of new clusters, one of `NEW_LEVELS`.
    seed : int
        For random numbers.
    given : mapping of str to numpy.ndarray
        By variable: effects of clusters that follow those of the fit in the grouping's numbers,
        shape (draws, clusters, effects).
    averaged : frozenset of str
        Groupings whose clusters are averaged over: they have a distribution, and no clusters.
    """

    quantities: Mapping[str, np.ndarray]
    clusters: Mapping[str, Clusters]
    new_levels: str
    seed: int
    given: Mapping[str, np.ndarray] = field(default_factory=dict)
    averaged: frozenset[str] = frozenset()

    def of(self, group: GroupLayout, numbers: np.ndarray) -> np.ndarray:
        """Return the effects of some clusters, shape (draws, clusters, effects).

        Parameters
        ----------
        group : GroupLayout
            Group and parameter.
        numbers : numpy.ndarray
            The clusters, as `Clusters.index` numbers them.
        """
        variable, clusters = group.variable("r"), self.clusters[group.name]
        fitted = self.quantities[variable]
        known = len(clusters.grouping.cells)
        found = np.zeros((len(fitted), len(numbers), len(group.effects)))
        in_fit = np.flatnonzero(numbers < fitted.shape[1])
        found[:, in_fit] = fitted[:, numbers[in_fit]]
        added = np.flatnonzero((numbers >= fitted.shape[1]) & (numbers < known))
        if added.size:
            found[:, added] = self.given[variable][:, numbers[added] - fitted.shape[1]]
        new = np.flatnonzero(numbers >= known)
        if new.size:
            make = NEW_LEVELS[self.new_levels](self.quantities, group)
            for at in new:
                found[:, at] = make(self._generator(group, int(numbers[at]) - known))
        return found

    def _generator(self, group: GroupLayout, number: int) -> np.random.Generator:
        # Picking a fitted cluster is picking all its effects, those of other parameters too.
        scope = group.name if self.new_levels == "existing" else group.variable("r")
        label = self.clusters[group.name].labels[number] or f"\0{number}"
        digest = hashlib.blake2b(f"{scope}\0{label}".encode(), digest_size=16).digest()
        return np.random.default_rng([self.seed, int.from_bytes(digest)])


def _population(quantities: Mapping[str, np.ndarray], group: GroupLayout):
    """The typical cluster: an effect of 0."""
    shape = quantities[group.variable("r")].shape
    return lambda _: np.zeros((shape[0], shape[2]))


def _sample(quantities: Mapping[str, np.ndarray], group: GroupLayout):
    """A fresh draw from N(0, Sigma) for every posterior draw."""
    root = covariance_root(quantities, group)

    def make(generator: np.random.Generator) -> np.ndarray:
        return np.einsum("sij,sj->si", root, generator.standard_normal(root.shape[:2]))

    return make


def _existing(quantities: Mapping[str, np.ndarray], group: GroupLayout):
    """A cluster that was fitted, picked anew for every posterior draw."""
    fitted = quantities[group.variable("r")]

    def make(generator: np.random.Generator) -> np.ndarray:
        picked = generator.integers(fitted.shape[1], size=len(fitted))
        return fitted[np.arange(len(fitted)), picked]

    return make


#: What becomes of a cluster that the model has not seen, beside ``"error"``.
NEW_LEVELS: dict[str, Callable[..., Callable[[np.random.Generator], np.ndarray]]] = {
    "population": _population,
    "sample": _sample,
    "existing": _existing,
}


def covariance_root(quantities: Mapping[str, Any], group: GroupLayout) -> np.ndarray:
    """Return R with R R' = Sigma of a group's effects, shape (draws, effects, effects).

    Of the eigenvectors of the correlations, which are there where Cholesky's root rounds below 0.
    """
    sd = np.asarray(quantities[group.variable("sd")])
    if not group.correlated:
        return sd[:, :, None] * np.eye(sd.shape[1])
    values, vectors = np.linalg.eigh(np.asarray(quantities[group.variable("cor")]))
    return sd[:, :, None] * vectors * np.sqrt(np.clip(values, 0.0, None))[:, None, :]
