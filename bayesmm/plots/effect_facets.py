"""What is on x, what a colour and what a panel: the columns that such a plot tells apart.

Effects are drawn over the columns of a condition (values of the caller's choice, or the usual ones)
or of an average (those that the data have). Either is checked here, before anything is predicted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.interpret.grid import listed
from bayesmm.interpret.variables import Variable, groups_of, predictors, variable
from bayesmm.plots.canvas import short
from bayesmm.prepare import Prepared
from bayesmm.response import known_columns

#: Where the columns go: how many there can be.
PLACES = ("x", "colours", "panels side by side", "rows of panels")
#: Points of a line.
FINE = 50
#: Colours, and panels, at the most: more cannot be told apart, or are too small.
MOST = 12
#: Values of a number, at the most, that are drawn as points: those the caller chose, those it has.
CHOSEN, FEW = 5, 3
#: Values that a number has, at the most, for all of them to have a colour or a panel.
ALL = 5


@dataclass(frozen=True)
class Facet:
    """A column of a table whose values are drawn apart.

    Attributes
    ----------
    column : str
        In the table.
    title : str
        What the figure calls it; empty where its values speak for themselves.
    values : tuple
        What is drawn, in this order.
    numeric : bool
        Whether it is a number, and not a factor.
    few : bool
        Whether these are so few numbers that no line is drawn through them.
    """

    column: str
    title: str
    values: tuple[Any, ...]
    numeric: bool = False
    few: bool = False

    @property
    def spaced(self) -> bool:
        """Whether its values have, on x, the distances that they have as numbers."""
        return self.numeric and len(self.values) > 1

    @property
    def line(self) -> bool:
        """Whether it makes a line, on x."""
        return self.spaced and not self.few

    @property
    def labels(self) -> list[str]:
        """A text for each value."""
        if not self.numeric:
            return [short(value) for value in self.values]
        # As many digits as tell the values apart.
        gaps = np.diff(np.unique(np.asarray(self.values, dtype=float)))
        apart = float(gaps.min()) if gaps.size else abs(float(self.values[0])) or 1.0
        digits = max(0, 2 - math.floor(math.log10(apart)))
        return [f"{round(float(value), digits):.12g}" for value in self.values]

    def named(self, value: Any) -> str:
        """Return what a panel of that value is called."""
        label = self.labels[self.values.index(value)] if self.title else str(value)
        return f"{short(self.title)} = {label}" if self.title else label


def names_of(argument: str, given: Any) -> list[str]:
    """Return the columns that `condition` or `by` names, in their order.

    Raises
    ------
    BayesmmError
        For no names, more than there are places for, or one twice.
    """
    names = [given] if isinstance(given, str) else given
    fine = isinstance(names, Sequence | Mapping) and all(isinstance(n, str) for n in names)
    if not fine or not names:
        more = ", or a dict from names to values" if argument == "condition" else ""
        raise BayesmmError(f"{argument}={given!r}: write a column's name, a list of names{more}.")
    names = list(names)
    if len(names) > len(PLACES):
        raise BayesmmError(
            f"{argument} has {len(names)} columns, {listing(names)}: a figure has place for "
            f"{len(PLACES)} ({', '.join(PLACES)}). Leave some out."
        )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise BayesmmError(f"{argument} has {listing(twice)} twice: name each column once.")
    return names


def grouping_factors(prepared: Prepared) -> list[str]:
    """Return the columns that name clusters."""
    return list(dict.fromkeys(name for own in groups_of(prepared).values() for name in own))


def wanted(prepared: Prepared, name: str, given: Any, place: int) -> Facet:
    """Return what a condition asks of one column: the values given, or the usual ones.

    Raises
    ------
    BayesmmError
        For a column that predictions do not depend on, or values it cannot have.
    """
    known = [*predictors(prepared), *known_columns(prepared.response_text)]  # such as trials
    names = list(dict.fromkeys([*known, *grouping_factors(prepared)]))
    if name not in names:
        raise BayesmmError(
            f"condition: {name!r} is neither a predictor nor a grouping column of this model."
            f"{did_you_mean(name, names)} Write one of {listing(names)}."
        )
    found = variable(prepared, name)
    numeric = found.numeric and name in known
    if given is None:
        values = _default(found, place) if numeric else found.levels
        return Facet(name, name, tuple(values), numeric, numeric and len(values) <= FEW)
    values = listed(f"condition: {name}", given, found.values)
    values = list(dict.fromkeys(v.item() if isinstance(v, np.generic) else v for v in values))
    if numeric:
        fine = [isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in values]
        if not all(fine) or not np.isfinite(np.asarray(values, dtype=float)).all():
            raise BayesmmError(
                f"condition={{{name!r}: {given!r}}}: {name!r} is a number, write finite numbers."
            )
        values = sorted(values) if place == 0 else values
        return Facet(name, name, tuple(values), numeric, len(values) <= CHOSEN)
    unknown = [value for value in values if value not in found.levels]
    if unknown:
        raise BayesmmError(
            f"condition: {name!r} has no level {unknown[0]!r}."
            f"{did_you_mean(str(unknown[0]), map(str, found.levels))} It has "
            f"{listing(found.levels)}."
        )
    return Facet(name, name, tuple(values))


def _default(found: Variable, place: int) -> list[float]:
    """Values for a number: a line over its range on x, three of them elsewhere; all, if few."""
    values = found.values.to_numpy(float)
    if len(found.levels) <= (FEW if place == 0 else ALL):
        return found.levels
    if place == 0:
        return np.linspace(values.min(), values.max(), FINE).tolist()
    mean, sd = values.mean(), values.std(ddof=1)
    return [float(mean - sd), float(mean), float(mean + sd)]


def averaged(prepared: Prepared, name: str, cells: pd.DataFrame) -> Facet:
    """Return what the averages have in one column.

    Raises
    ------
    BayesmmError
        If it has missing values.
    """
    column = pd.Series(cells[name])
    if bool(column.isna().any()):
        raise BayesmmError(f"by: the column {name!r} has missing values. Leave those rows out.")
    found = Variable(name, "category", column)
    if name in prepared.frame.columns:
        numeric = name in (known := predictors(prepared)) and known[name].numeric
        if name not in known and name not in grouping_factors(prepared):
            numeric = variable(prepared, name).numeric  # such as trials
        order = list(prepared.spec.schema.column(name).levels)
    else:
        numeric = column.dtype.kind in "iuf" and column.nunique() > 2
        order = []
    try:
        present = set(column)
        ordered = [value for value in order if value in present]
        values = [*ordered, *(value for value in found.levels if value not in ordered)]
    except TypeError:  # values of several types
        values = sorted(column.unique().tolist(), key=str)
    return Facet(name, name, tuple(values), bool(numeric), bool(numeric) and len(values) <= FEW)


def check_numbers(
    argument: str, x: Facet, colour: Facet | None, panels: list[Facet], contrasts: int
) -> None:
    """Refuse more colours or panels than can be told apart.

    Raises
    ------
    BayesmmError
        It says what to write instead.
    """
    if colour is not None and len(colour.values) > MOST:
        raise BayesmmError(
            f"{argument}: {colour.title!r} has {len(colour.values)} values, and {MOST} colours at "
            f"most can be told apart. {_fewer(argument, colour)}"
        )
    count = math.prod(len(facet.values) for facet in panels) * contrasts
    if count > MOST:
        parts = [f"{len(facet.values)} of {facet.title!r}" for facet in panels]
        parts += [f"{contrasts} contrasts"] if contrasts > 1 else []
        worst = max(panels, key=lambda facet: len(facet.values), default=x)
        fewer = _fewer(argument, worst) if panels else "Name fewer variables, or fewer contrasts."
        raise BayesmmError(
            f"{argument}: there would be {count} panels ({' times '.join(parts)}), and a "
            f"figure has {MOST} at most. {fewer}"
        )


def _fewer(argument: str, facet: Facet) -> str:
    if facet.column == "group":
        return "Write type='link', or draw bm.predictions() yourself."
    if argument == "by":
        return f"Put {facet.column!r} first (on x), or leave it out."
    some = [facet.values[0], facet.values[1]]
    return (
        f"Put {facet.column!r} first (on x), or choose some: condition={{..., {facet.column!r}: "
        f"{some!r}}}."
    )
