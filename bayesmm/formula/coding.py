"""How factors become columns: which levels there are, and which coding each term needs.

A factor has one column a level ("full"), or one less where the columns before it already span its
constant. Which of both holds for each factor of each term is decided by patsy's algorithm, in
formulae's version (`pick_contrasts`). formulae's own `Model` runs it twice over, and thereby loses
columns of ``a:b:c`` where the lower interactions are not in the formula, so it is called here.

A further contrast is a class like `formulae.categorical.Sum`, listed in `CONTRASTS` of `functions`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulae.categorical import Encoding
from formulae.contrasts import pick_contrasts

from bayesmm.errors import DataError, listing
from bayesmm.formula.functions import Coded

_INTERCEPT = -1


@dataclass(frozen=True)
class TermCoding:
    """A term of the matrix: positions of its parts, and for each whether it is coded in full."""

    owner: int
    parts: tuple[int, ...]
    full: tuple[bool, ...]


def choose_codings(
    terms: Sequence[tuple[int, ...]], categorical: frozenset[int], intercept: bool
) -> list[TermCoding]:
    """Decide the coding of every factor, so that the columns span what the formula says, once.

    Parameters
    ----------
    terms : sequence of tuple of int
        Each term as the numbers of its parts.
    categorical : frozenset of int
        The parts that are factors.
    intercept : bool
        Whether there is an intercept.

    Returns
    -------
    list of TermCoding
        In the order of `terms`. A term may take several codings, which then have the same `owner`:
        beside an intercept, ``a:b`` needs columns of ``b`` alone too.
    """
    # Factors can make each other redundant only where they multiply the same numbers. Lower orders
    # go first, or a main effect would find that its interaction has taken its columns.
    buckets: dict[frozenset[int], dict[int, list[int]]] = {}
    if intercept:
        buckets[frozenset()] = {_INTERCEPT: []}
    for i in sorted(range(len(terms)), key=lambda i: len(terms[i])):
        numeric = frozenset(terms[i]) - categorical
        factors = [part for part in terms[i] if part in categorical]
        buckets.setdefault(numeric, {})[i] = factors
    chosen: dict[int, list[dict[int, bool]]] = {}
    for bucket in buckets.values():
        chosen.update(pick_contrasts(bucket))
    return [
        TermCoding(i, kept, tuple(full.get(part, False) for part in kept))
        for i, parts in enumerate(terms)
        for full in chosen[i]
        for kept in [tuple(p for p in parts if p in full or p not in categorical)]
    ]


@dataclass(frozen=True)
class Factor:
    """A factor as the training data showed it: its label, levels and contrast."""

    label: str
    levels: tuple[Any, ...]
    contrast: Encoding

    @classmethod
    def learn(cls, label: str, coded: Coded) -> "Factor":
        """Read the levels: those of a categorical column in its order, others sorted."""
        values = coded.values
        dtype = getattr(values, "dtype", None)
        if isinstance(dtype, pd.CategoricalDtype):
            present = set(pd.unique(np.asarray(values, dtype=object)).tolist())
            levels = [level for level in dtype.categories.tolist() if level in present]
        else:
            unique = pd.unique(np.asarray(values, dtype=object)).tolist()
            try:
                levels = sorted(unique)
            except TypeError:
                raise DataError(
                    f"the factor {label!r} mixes values that have no order ({listing(unique)}): "
                    "make it a column of strings, or a pandas Categorical"
                ) from None
        if len(levels) < 2:
            raise DataError(
                f"the factor {label!r} has one level ({listing(levels)}), so it has no effect to "
                "estimate: leave it out of the formula"
            )
        for option in ("reference", "omit"):
            level = getattr(coded.contrast, option, None)
            if level is not None and level not in levels:
                raise DataError(
                    f"the contrast of {label!r} names the level {level!r}, and the levels are "
                    f"{listing(levels)}"
                )
        return cls(label, tuple(levels), coded.contrast)

    def columns(self, full: bool) -> tuple[np.ndarray, list[str]]:
        """Return the contrast matrix (levels by columns) and the labels of its columns."""
        contrast = self.contrast
        code = contrast.code_with_intercept if full else contrast.code_without_intercept
        coded: Any = code(list(self.levels))
        return np.asarray(coded.matrix, np.float64), [f"{self.label}[{x}]" for x in coded.labels]

    def codes(self, values: Any) -> np.ndarray:
        """Return the number of each row's level; levels not seen in training are refused."""
        values = np.asarray(values, dtype=object)
        codes = pd.Index(self.levels, dtype=object).get_indexer(pd.Index(values, dtype=object))
        if (codes < 0).any():
            unseen = list(dict.fromkeys(values[codes < 0].tolist()))
            number = isinstance(self.levels[0], str) and not isinstance(unseen[0], str)
            raise DataError(
                f"the factor {self.label!r} has levels that the model has not seen: "
                f"{listing(unseen)}; it knows {listing(self.levels)}"
                f"{', which are text: make the column text' if number else ''}"
            )
        return codes
