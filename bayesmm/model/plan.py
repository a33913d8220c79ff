"""In which order group effects are eliminated, found from which levels occur together.

Given everything else, the effects of all groups have a joint normal distribution (in a Gaussian
model), or one is used as coordinates (in others). Its precision matrix has a block for each level,
and a block for each pair of levels that occur together in a row. `make_plan` looks at the design
once, in NumPy, and says how that matrix is to be factorised by `elimination.py`:

* A factor of which every level lies in one level of each factor that is left (children in
  schools, plots in blocks, every single row) is eliminated level by level: what it adds to the
  others is one sum over levels for each of them, and nothing is filled in. These are the `steps`.
* When no factor is nested in all the others, they are crossed. The largest is eliminated level by
  level, and what is left of the others is a dense matrix: the `core`.

A *factor* is a grouping with all effects that vary over it, of whatever linear predictor: with
``(1 | g)`` for mu and for zi, g is one factor with two effects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from bayesmm.design import Design
from bayesmm.layout import GroupLayout, PredictorLayout

#: More products than this are not listed one by one (12 bytes each, 60 while they are listed).
MOST_PRODUCTS = 20_000_000
#: How many multiplications of a dense product take the time of one listed product.
DENSE_IS_FASTER_BY = 20


@dataclass(frozen=True)
class Member:
    """A group of one predictor, as part of a factor.

    Attributes
    ----------
    predictor, group : int
        Where it stands in the layout.
    names : GroupLayout
        Its names.
    """

    predictor: int
    group: int
    names: GroupLayout


@dataclass(frozen=True)
class Factor:
    """A grouping with all effects that vary over its levels.

    Attributes
    ----------
    name : str
        The group, such as ``"Subject"``.
    levels, effects : int
        How many levels it has, and effects a level.
    members : tuple of Member
        The groups that the effects are of, in order.
    """

    name: str
    levels: int
    effects: int
    members: tuple[Member, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pairs:
    """The levels of two factors that occur together, sorted by the first.

    Attributes
    ----------
    first, second : numpy.ndarray
        Shape (pairs,), int32.
    rows : numpy.ndarray
        Shape (rows,), int32: the pair that each row is of.
    """

    first: np.ndarray
    second: np.ndarray
    rows: np.ndarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Step:
    """The elimination of a factor that is nested in all `others`.

    Attributes
    ----------
    parents : tuple of numpy.ndarray
        For each of the others, the level that each level lies in, shape (levels,).
    into : dict
        For two of the others, the pair of them that each level lies in, shape (levels,).
    factor : int
        Which one is eliminated.
    others : tuple of int
        Those that are left.
    """

    parents: tuple[np.ndarray, ...]
    into: dict[tuple[int, int], np.ndarray]
    factor: int = field(metadata={"static": True})
    others: tuple[int, ...] = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Core:
    """The elimination of the largest of several crossed factors, and what is left of the `others`.

    What is left is a dense matrix of `columns`: those of a factor begin at its offset, ordered by
    effect and then by level. An entry is a column that a level of the eliminated factor occurs
    with.

    Attributes
    ----------
    level, column : numpy.ndarray
        Of each entry, shape (entries,); empty where the products are made densely, like all that
        follow.
    left, right : numpy.ndarray
        The entries whose product goes into each element of the dense matrix, shape (products,).
    target : numpy.ndarray
        Which of `elements` each product belongs to, shape (products,), sorted.
    elements : numpy.ndarray
        Flat positions in the lower triangle of the dense matrix.
    factor : int
        Which one is eliminated.
    others, offsets : tuple of int
        Those that are left, and where their columns begin.
    columns : int
        How many columns there are.
    sparse : bool
        Whether the products are listed.
    """

    level: np.ndarray
    column: np.ndarray
    left: np.ndarray
    right: np.ndarray
    target: np.ndarray
    elements: np.ndarray
    factor: int = field(metadata={"static": True})
    others: tuple[int, ...] = field(metadata={"static": True})
    offsets: tuple[int, ...] = field(metadata={"static": True})
    columns: int = field(metadata={"static": True})
    sparse: bool = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Plan:
    """How the group effects of a model are eliminated.

    Attributes
    ----------
    pairs : dict
        `Pairs` of the factors (f, g), f before g in the order of elimination.
    steps : tuple of Step
        The factors that are eliminated level by level, in order.
    core : Core or None
        What is left, where factors are crossed.
    factors : tuple of Factor
        All factors; others are named by their place here.
    """

    pairs: dict[tuple[int, int], Pairs]
    steps: tuple[Step, ...]
    core: Core | None
    factors: tuple[Factor, ...] = field(metadata={"static": True})

    @property
    def dense(self) -> int:
        """How many columns the dense matrix has that is factorised for every density."""
        return self.core.columns if self.core else 0

    @property
    def products(self) -> int:
        """How many numbers the elimination of the crossed factors holds at once."""
        if self.core is None:
            return 0
        first = self.factors[self.core.factor]
        if self.core.sparse:
            return first.effects * (self.core.left.shape[0] + self.core.level.shape[0])
        return first.effects * first.levels * self.core.columns

    @property
    def size(self) -> int:
        """How many group effects there are."""
        return sum(f.levels * f.effects for f in self.factors)


def find_factors(layout: Sequence[PredictorLayout], design: Design) -> tuple[Factor, ...]:
    """Return the factors of a model, those with most levels first.

    Parameters
    ----------
    layout : sequence of PredictorLayout
        The names of the predictors.
    design : Design
        Their arrays.
    """
    members: dict[str, list[Member]] = {}
    levels: dict[str, int] = {}
    for k, (names, rows) in enumerate(zip(layout, design.predictors, strict=True)):
        for i, (group, columns) in enumerate(zip(names.groups, rows.groups, strict=True)):
            members.setdefault(group.name, []).append(Member(k, i, group))
            levels[group.name] = int(columns.levels)
    found = [
        Factor(name, levels[name], sum(len(m.names.effects) for m in of), tuple(of))
        for name, of in members.items()
    ]
    return tuple(sorted(found, key=lambda factor: -factor.levels))


def make_plan(
    factors: Sequence[Factor], design: Design, *, most_columns: int, diagonal: bool = False
) -> Any:
    """Return how to eliminate the effects of these factors, None where that is too large.

    Parameters
    ----------
    factors : sequence of Factor
        From `find_factors`.
    design : Design
        The rows.
    most_columns : int
        The largest dense matrix of crossed factors that is worth while.
    diagonal : bool
        Whether crossed factors are taken to be independent of each other: an approximation,
        for coordinates alone, that is always small.

    Returns
    -------
    Plan or None
    """
    index = [_index(factor, design) for factor in factors]
    pairs = {
        (f, g): _pairs(index[f], index[g], factors[g].levels)
        for f in range(len(factors))
        for g in range(f + 1, len(factors))
    }
    # A factor that is nested in all others has at least as many levels as each: it comes first.
    left, chain = list(range(len(factors))), []
    while left and all(_is_nested(pairs[left[0], g], factors[left[0]]) for g in left[1:]):
        chain.append(left.pop(0))
    core = None
    if left and diagonal:
        pairs = {(f, g): pair for (f, g), pair in pairs.items() if f not in left}
    elif left:
        core = _core(left, pairs, factors, most_columns)
        if core is None:
            return None
        if not core.sparse:
            # Then nothing has to be looked up: pairs that do not occur have blocks of zeros.
            first = left[0]
            for g in left[1:]:
                pairs[first, g] = _all_pairs(index[first], index[g], factors[first], factors[g])
    steps = [_step(f, index, pairs, factors) for f in (*chain, *(left if diagonal else ()))]
    return Plan(pairs, tuple(steps), core, tuple(factors))


def _index(factor: Factor, design: Design) -> np.ndarray:
    """The level of each row."""
    member = factor.members[0]
    return design.predictors[member.predictor].groups[member.group].index


def _pairs(first: np.ndarray, second: np.ndarray, levels: int) -> Pairs:
    """The pairs of levels that occur; `levels` of the second factor."""
    both = first.astype(np.int64) * levels + second
    found, rows = np.unique(both, return_inverse=True)
    return Pairs(
        (found // levels).astype(np.int32),
        (found % levels).astype(np.int32),
        rows.astype(np.int32),
    )


def _all_pairs(first: np.ndarray, second: np.ndarray, one: Factor, other: Factor) -> Pairs:
    """All pairs of levels, whether they occur or not."""
    return Pairs(
        np.repeat(np.arange(one.levels, dtype=np.int32), other.levels),
        np.tile(np.arange(other.levels, dtype=np.int32), one.levels),
        (first.astype(np.int64) * other.levels + second).astype(np.int32),
    )


def _is_nested(pairs: Pairs, factor: Factor) -> bool:
    """Whether every level of the first factor occurs with one level of the second."""
    return len(pairs.first) == factor.levels


def _step(
    f: int,
    index: Sequence[np.ndarray],
    pairs: Mapping[tuple[int, int], Pairs],
    factors: Sequence[Factor],
) -> Step:
    others = tuple(g for (first, g) in pairs if first == f)
    # Any row of a level will do: the level lies in one level, and one pair, of the others.
    row = np.zeros(factors[f].levels, dtype=np.int64)
    row[index[f]] = np.arange(len(index[f]))
    into = {(g, h): pair.rows[row] for (g, h), pair in pairs.items() if g in others and h in others}
    return Step(tuple(pairs[f, g].second for g in others), into, f, others)


def _core(
    left: Sequence[int],
    pairs: Mapping[tuple[int, int], Pairs],
    factors: Sequence[Factor],
    most_columns: int,
) -> Core | None:
    """The elimination of crossed factors; None where its dense matrix, or lists, are too large."""
    first, *others = left
    sizes = [factors[g].levels * factors[g].effects for g in others]
    offsets, columns = np.cumsum([0, *sizes[:-1]]), sum(sizes)
    if columns > most_columns:
        return None
    level, column = [], []
    for g, offset in zip(others, offsets, strict=True):
        pair, effects = pairs[first, g], np.arange(factors[g].effects)[:, None]
        level.append(np.broadcast_to(pair.first, (len(effects), len(pair.first))).ravel())
        column.append((offset + effects * factors[g].levels + pair.second).ravel())
    entry_level = np.concatenate(level).astype(np.int32)
    entry_column = np.concatenate(column).astype(np.int32)
    per_level = np.bincount(entry_level, minlength=factors[first].levels).astype(np.int64)
    products = int((per_level * (per_level + 1) // 2).sum())
    sparse = products * DENSE_IS_FASTER_BY < factors[first].levels * columns**2
    if not sparse:
        empty = np.zeros(0, dtype=np.int32)
        entry_level = entry_column = empty
        listed = (empty, empty, empty, empty)
    elif products > MOST_PRODUCTS:
        return None
    else:
        listed = _products(entry_level, entry_column, per_level, columns)
    return Core(
        entry_level,
        entry_column,
        *listed,
        first,
        tuple(others),
        tuple(int(offset) for offset in offsets),
        columns,
        bool(sparse),
    )


def _products(
    level: np.ndarray, column: np.ndarray, per_level: np.ndarray, columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """List the products of two entries of one level, in the lower triangle, sorted by element."""
    order = np.argsort(level, kind="stable")
    # Each entry is multiplied by itself and those before it in its level.
    before = np.arange(len(order)) - np.repeat(np.cumsum(per_level) - per_level, per_level)
    left = np.repeat(np.arange(len(order)), before + 1)
    steps = np.arange(len(left)) - np.repeat(np.cumsum(before + 1) - (before + 1), before + 1)
    left, right = order[left], order[left - steps]
    row = np.maximum(column[left], column[right]).astype(np.int64)
    element = row * columns + np.minimum(column[left], column[right])
    order = np.argsort(element, kind="stable")
    elements, target = np.unique(element[order], return_inverse=True)
    return (
        left[order].astype(np.int32),
        right[order].astype(np.int32),
        target.astype(np.int32),
        elements,
    )
