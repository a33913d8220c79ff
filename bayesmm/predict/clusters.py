"""Clusters: which one each row belongs to, those that the model has not seen among them.

A cluster is a level of a grouping. Those of the model are numbered as in its schema, those that it
has not seen after them, in the order in which the rows name them. Nested terms need nothing of
their own: of a new cask in a known batch, ``batch`` is known and ``batch:cask`` new; in a new batch
both are new.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayesmm.errors import NewLevelsError, listing
from bayesmm.schema import Grouping, Label, labels_like

#: What to do about clusters that the model has not seen.
REMEDY = (
    "Say what they are: new_levels='sample' draws new clusters from their estimated distribution, "
    "'population' takes the typical one, 'existing' one that was fitted; group_effects=() leaves "
    "group effects out."
)


@dataclass(frozen=True)
class Clusters:
    """The clusters of some rows, in one grouping.

    Attributes
    ----------
    grouping : Grouping
        The clusters that are known.
    index : numpy.ndarray
        Shape (rows,): the number of each row's cluster; from the number of known ones on, `new`.
    new : tuple of tuple of (int or str)
        The cells of the others, one label for each factor; empty for a row without a label, which
        is a cluster of its own.
    """

    grouping: Grouping
    index: np.ndarray
    new: tuple[tuple[Label, ...], ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """A text for each new cluster."""
        return tuple(":".join(map(str, cell)) for cell in self.new)

    def extended(self) -> Grouping:
        """Return the grouping with the new clusters, all with labels, among the known ones."""
        return replace(self.grouping, cells=self.grouping.cells + self.new)


def find_clusters(grouping: Grouping, frame: pd.DataFrame) -> Clusters:
    """Return the cluster of each row.

    Parameters
    ----------
    grouping : Grouping
        The clusters that are known.
    frame : pandas.DataFrame
        With the columns of its factors, where labels may be missing.
    """
    index = grouping.index(frame).astype(np.int64)
    unseen = np.flatnonzero(index < 0)
    if unseen.size == 0:
        return Clusters(grouping, index)
    parts = [
        labels_like(pd.Series(frame[factor]).iloc[unseen], known)
        for factor, known in zip(grouping.factors, grouping.cells[0], strict=True)
    ]
    levels = [part.categories.tolist() for part in parts]
    columns = [
        [known[code] if code >= 0 else None for code in part.codes]
        for known, part in zip(levels, parts, strict=True)
    ]
    numbers: dict[tuple, int] = {}
    cells: list[tuple[Label, ...]] = []
    for row, cell in zip(unseen, zip(*columns, strict=True), strict=True):
        whole = None not in cell
        # Nobody said that two rows without a label belong together.
        key = cell if whole else (None, int(row))
        if key not in numbers:
            numbers[key] = len(grouping.cells) + len(cells)
            cells.append(cell if whole else ())
        index[row] = numbers[key]
    return Clusters(grouping, index, tuple(cells))


def refuse_new(found: Clusters, remedy: str = REMEDY) -> None:
    """Refuse clusters that the model has not seen.

    Raises
    ------
    NewLevelsError
        It lists them, and the choices there are.
    """
    if not found.new:
        return
    name = found.grouping.name
    labelled = [label for label in found.labels if label]
    what = []
    if labelled:
        what.append(
            f"levels of the group {name!r} that the model has not seen: {listing(labelled)}"
        )
    if len(labelled) < len(found.new):
        what.append(f"rows without a label in {name!r}")
    raise NewLevelsError(f"newdata has {', and '.join(what)}. {remedy}")
