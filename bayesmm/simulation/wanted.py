"""Which parameters a model's responses are drawn from, by the names and labels of the posterior.

What a covariance structure or a family adds to the posterior is found here by itself: names and
labels come from `dimensions`, free correlations from the tables of a fit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesmm.layout import GroupLayout
from bayesmm.results.convert import dimensions
from bayesmm.results.tables import pairs
from bayesmm.spec import ModelSpec

#: By support, a value for the template.
EXAMPLES = {"real": 0.0, "positive": 1.0, "unit": 0.5, "above_one": 2.0, "one_two": 1.5}


@dataclass(frozen=True)
class Wanted:
    """A variable that has to be given.

    Attributes
    ----------
    name : str
        As in the posterior.
    labels : tuple of tuple of str
        Those of each of its dimensions; of correlations, one label for each free pair.
    support : str
        One of `SUPPORTS`, or ``"sd"``, ``"correlation"``.
    ordered, equidistant : bool
        Whether the elements of the last dimension increase, and whether by equal steps.
    inorder : bool
        Whether a plain sequence says which element of the last dimension is which: of thresholds.
    group : GroupLayout or None
        Of which it is the correlations.
    """

    name: str
    labels: tuple[tuple[str, ...], ...]
    support: str
    ordered: bool = False
    equidistant: bool = False
    inorder: bool = False
    group: GroupLayout | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """How many labels each dimension has."""
        return tuple(len(labels) for labels in self.labels)

    def example(self) -> np.ndarray:
        """Return values for a template."""
        if self.support in ("sd", "correlation"):
            return np.full(self.shape, 1.0 if self.support == "sd" else 0.0)
        found = np.full(self.shape, EXAMPLES[self.support])
        steps = np.arange(self.shape[-1]) if self.ordered else 0.0
        return found + steps


def wanted(spec: ModelSpec) -> list[Wanted]:
    """Return the variables that a model's responses are drawn from, group effects apart."""
    dims, coords = dimensions(spec)

    def labels(name: str) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(f"{label}" for label in coords[dim]) for dim in dims[name])

    found = []
    for layout in spec.layout:
        if layout.coefs:
            b = layout.variable("b")
            found.append(Wanted(b, labels(b), "real", inorder=bool(layout.elements)))
        for group in layout.groups:
            sd, cor = group.variable("sd"), group.variable("cor")
            found.append(Wanted(sd, labels(sd), "sd"))
            if cor in dims:
                free, _, _ = free_pairs(group)
                found.append(Wanted(cor, (free,), "correlation", group=group))
    for parameter in spec.numbers:
        found.append(
            Wanted(
                parameter.name,
                labels(parameter.name),
                parameter.support,
                parameter.ordered and len(spec.family.labels(parameter)) > 1,
                parameter.equidistant,
                inorder=bool(spec.family.labels(parameter)),
            )
        )
    return found


def free_pairs(group: GroupLayout) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Return the labels, rows and columns of the correlations of a group that can differ from 0."""
    q = len(group.effects)
    numbered = np.arange(q * q).reshape(1, 1, q, q)
    dims = ("chain", "draw", group.effect_dim, f"{group.effect_dim}_2")
    coords = {"chain": [0], "draw": [0]}
    found = pairs(group, xr.DataArray(numbered, coords, dims, name=group.variable("cor")))
    rows, columns = np.divmod(found.to_numpy().ravel(), q)
    labels = found.coords[found.dims[-1]].to_numpy()
    return tuple(f"{label}" for label in labels), rows, columns


def template(variables: Iterable[Wanted], values: Mapping[str, np.ndarray]) -> str:
    """Return text that can be pasted.

    Parameters
    ----------
    variables : iterable of Wanted
        What is written.
    values : mapping of str to numpy.ndarray
        Their values, in the shapes of their labels.
    """
    lines = [f"    {w.name!r}: {_written(values[w.name], w.labels)}," for w in variables]
    return "params = {\n" + "\n".join(lines) + "\n}"


def _written(values: np.ndarray, labels: Sequence[Sequence[str]]) -> str:
    if not labels:
        return repr(float(values))
    parts = [
        f"{label!r}: {_written(part, labels[1:])}"
        for label, part in zip(labels[0], values, strict=True)
    ]
    return "{" + ", ".join(parts) + "}"
