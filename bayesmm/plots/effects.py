"""What the plots of predictions, comparisons and slopes are asked for, checked before any is made.

The three differ in what is on y. Here is what they share: `read` turns `condition` or `by` into
rows to predict and into `Facet`s (what is on x, what a colour, what a panel), and `Request.tables`
asks for them. How they are drawn is `effect_axes`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from bayesmm.errors import BayesmmError, listing
from bayesmm.interpret import datagrid
from bayesmm.interpret.answers import CLUSTERS, Question, question
from bayesmm.interpret.average import average
from bayesmm.interpret.grid import grid_by_name
from bayesmm.interpret.variables import check_fit, groups_of, predictors
from bayesmm.plots.canvas import COLUMNS
from bayesmm.plots.effect_facets import (
    Facet,
    averaged,
    check_numbers,
    grouping_factors,
    names_of,
    wanted,
)
from bayesmm.prepare import Prepared
from bayesmm.results import Fit

type Condition = str | Sequence[str] | Mapping[str, Any]

#: A panel: the facets and values that its rows of the table have.
type Panel = tuple[tuple[Facet, Any], ...]


@dataclass(frozen=True)
class Request:
    """What is drawn.

    Attributes
    ----------
    fit : Fit
        The fit.
    asked : Question
        The rows that are predicted, and the arguments that all three functions have.
    by : list of str or bool
        Columns that are averaged by; False for none.
    wts : object
        Weights of the rows in averages.
    x, colour, down : Facet or None
        What is on x, what a colour, and what a row of panels.
    across : tuple of Facet
        What panels side by side.
    behind : dict of str to str
        Of which clusters, by group, the intervals behind are; empty for none.
    chance : bool
        Whether the expected response is a probability.
    """

    fit: Fit
    asked: Question
    by: list[str] | bool
    wts: Any
    x: Facet
    colour: Facet | None
    across: tuple[Facet, ...]
    down: Facet | None
    behind: Mapping[str, str]
    chance: bool

    def tables(
        self, function: Callable[..., Any], **arguments: Any
    ) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Return what `bm.predictions` (or another of them) says, and of a new cluster if asked."""
        asked = self.asked
        shared: dict[str, Any] = {
            "newdata": asked.rows,
            "by": self.by,
            "wts": self.wts,
            "type": "link" if asked.kind == "linpred" else "response",
            "conf_level": asked.conf_level,
            "seed": asked.seed,
        }
        table = function(self.fit, **arguments, **shared, clusters=asked.clusters)
        if not self.behind:
            return table, None
        return table, function(self.fit, **arguments, **shared, clusters=self.behind)

    def arranged(self, contrasts: Sequence[Any] = ()) -> tuple[int, int, list[Panel]]:
        """Return the rows and columns of the panels, and what each one shows, row by row."""
        across, down = list(self.across), self.down
        if len(contrasts) > 1:
            across.append(Facet("contrast", "", tuple(contrasts)))
        if down is None and len(across) > 1:
            down = across.pop()
        beside = list(product(*([(facet, value) for value in facet.values] for facet in across)))
        if down is None:
            columns = min(len(beside), COLUMNS)
            return -(-len(beside) // columns), columns, beside
        every = [((down, value), *panel) for value in down.values for panel in beside]
        return len(down.values), len(beside), every

    def quantity(self, expected: str = "") -> str:
        """Return what is predicted, in words; an expected response has `expected` before it."""
        if self.asked.kind == "linpred":
            return "linear predictor"
        prepared = self.asked.prepared
        name = prepared.response_text.name
        if not self.chance:
            return f"{expected}{name}"
        success = prepared.response.success
        return f"probability of {name}" + ("" if success is None else f" = {success}")

    def observed(self, points: Any) -> tuple[pd.DataFrame, np.ndarray] | None:
        """Return the training data and their responses.

        Parameters
        ----------
        points : float
            The opacity with which they are drawn; 0 for not at all.

        Raises
        ------
        BayesmmError
            If that is no opacity, or there is nothing to draw it of.
        """
        number = isinstance(points, (int, float, np.number)) and not isinstance(points, bool)
        if not number or not 0 <= points <= 1:
            raise BayesmmError(f"points={points!r}: write an opacity, from 0 (no points) to 1.")
        if points == 0:
            return None
        prepared = self.asked.prepared
        kind, data = prepared.spec.family.response, prepared.response
        if self.asked.kind == "linpred":
            raise BayesmmError(
                f"points={points!r}: the data are not on the scale of the linear predictor. Write "
                "type='response', or points=0."
            )
        if kind.categories or kind.columns:
            raise BayesmmError(
                f"points={points!r}: the response {prepared.response_text.name!r} is not one "
                "number a row. Write points=0."
            )
        facets = [self.x, self.colour, *self.across, self.down]
        unknown = [f.column for f in facets if f and f.column not in prepared.frame.columns]
        if unknown:
            raise BayesmmError(
                f"points={points!r}: the model does not use {listing(unknown)}, so it has no "
                "training data of it. Write points=0."
            )
        values = data.values / data.data["trials"] if kind.trials and self.chance else data.values
        return prepared.frame.columns.reset_index(drop=True), values


def read(
    fit: Fit,
    condition: Condition | None,
    by: str | Sequence[str] | None,
    *,
    newdata: Any,
    type: str,
    clusters: str | Mapping[str, str] | None,
    new_clusters: bool,
    conf_level: float,
    wts: Any,
    seed: int | None,
    contrasts: int = 1,
) -> Request:
    """Check what is asked, and return what is predicted and where it is drawn.

    Parameters
    ----------
    fit, condition, by, newdata, type, clusters, new_clusters, conf_level, wts, seed
        As for `plot_predictions`.
    contrasts : int
        How many are drawn, each in a panel.

    Raises
    ------
    BayesmmError
        For an argument that makes no sense, or more colours or panels than can be told apart.
    """
    prepared = check_fit(fit)
    if not isinstance(new_clusters, (bool, np.bool_)):
        raise BayesmmError(f"new_clusters={new_clusters!r}: write True or False.")
    if condition is not None and by is not None:
        raise BayesmmError(
            f"condition={condition!r} and by={by!r}: give one of them. condition= is for predictor "
            "values of your choice, by= for averages over the data."
        )
    if condition is None and by is None:
        raise BayesmmError(
            "condition=None and by=None: write condition='x' for what is predicted at values of "
            "the column x, or by='x' for averages over the data."
        )
    if condition is not None:
        given = condition if isinstance(condition, Mapping) else {}
        names = names_of("condition", condition)
        if wts is not None:
            raise BayesmmError("wts= weighs averages over the data: write by=, not condition=.")
        facets = [wanted(prepared, name, given.get(name), i) for i, name in enumerate(names)]
        if isinstance(newdata, str):
            raise BayesmmError(
                f"newdata={newdata!r} makes a grid, and condition= makes its own: leave it out, or "
                "write by=."
            )
        clusters = _clusters_of_grid(prepared, names, clusters)
        values: dict[str, Any] = {facet.column: list(facet.values) for facet in facets}
        newdata = datagrid(fit, newdata=newdata, **values)
    else:
        names = names_of("by", by)
        newdata = grid_by_name(fit, newdata)
    asked = question(fit, newdata, type=type, clusters=clusters, conf_level=conf_level, seed=seed)
    if by is not None:
        over = average(asked.rows, names, wts)
        cells = asked.rows if over is None else over.cells
        facets = [averaged(prepared, name, cells) for name in names]
    behind = _new_of(asked) if new_clusters else {}
    x, colour, side, down = [*facets, None, None, None][:4]
    across = [] if side is None else [side]
    if asked.labels:
        group = Facet("group", prepared.response_text.name, tuple(asked.labels))
        # Bands behind bands of all categories could not be told apart.
        if colour is None and not behind:
            colour = group
        else:
            across.append(group)
    argument = "by" if condition is None else "condition"
    check_numbers(argument, x, colour, [f for f in (*across, down) if f], contrasts)
    return Request(
        fit,
        asked,
        names if by is not None else False,
        wts,
        x,
        colour,
        tuple(across),
        down,
        behind,
        _is_chance(asked),
    )


def _is_chance(asked: Question) -> bool:
    """Whether the expected response is a probability: of a count, it is where trials are 1."""
    kind = asked.prepared.spec.family.response
    if asked.kind != "mean" or kind.binary or kind.categories:
        return asked.kind == "mean"
    trials = None
    if kind.trials or (kind.columns and kind.integer):
        trials = asked.read(asked.rows).design.data.get("trials")
    return trials is not None and bool((np.asarray(trials) == 1).all())


def _clusters_of_grid(
    prepared: Prepared, names: list[str], clusters: str | Mapping[str, str] | None
) -> str | Mapping[str, str] | None:
    """Which clusters a grid is of: given ones where it names them, else the typical one.

    Raises
    ------
    BayesmmError
        If the clusters are to be those that the grid names, and it does not, or the reverse.
    """
    groups, in_grid = groups_of(prepared), {*predictors(prepared), *names}
    factors = grouping_factors(prepared)
    labels = [name for name in names if name in factors and name not in predictors(prepared)]
    each = {name: "given" if set(own) <= in_grid else "average" for name, own in groups.items()}
    by_group = f"say it by group: clusters={each}"
    if clusters is None and groups:
        missing = [factor for factor in factors if factor not in in_grid]
        if labels and missing:
            raise BayesmmError(
                f"condition names clusters by {listing(labels)}, and the model groups by "
                f"{listing(missing)} too: add it, such as {{..., {missing[0]!r}: [a level]}}, "
                f"leave all grouping columns out, or {by_group}."
            )
        return "given" if labels else "typical"
    whose = clusters if isinstance(clusters, Mapping) else dict.fromkeys(groups, clusters)
    fine = set(whose) <= set(groups) and all(own in CLUSTERS for own in whose.values())
    if not groups or not fine:
        return clusters  # `question` says what is wrong
    named = {f for name, own in groups.items() if whose.get(name, "given") == "given" for f in own}
    missing = [factor for factor in factors if factor in named and factor not in in_grid]
    if missing:
        raise BayesmmError(
            f"clusters={clusters!r}: given clusters are those that the rows name, and condition= "
            f"does not say which of {listing(missing)}. Name some, such as condition={{..., "
            f"{missing[0]!r}: [a level]}}, write clusters='typical', or by= for averages over the "
            "data."
        )
    unused = [label for label in labels if label not in named]
    if unused:
        raise BayesmmError(
            f"clusters={clusters!r} are the same for every level of {listing(unused)}: leave "
            "clusters= out, or the grouping column out of condition="
            + (f", or {by_group}." if len(groups) > 1 else ".")
        )
    return clusters


def _new_of(asked: Question) -> dict[str, str]:
    """Of which clusters the intervals behind are: new ones of all groups that are not given."""
    if not asked.clusters:
        raise BayesmmError(
            "new_clusters=True: the model has no group effects, such as (1 | g). Leave it out."
        )
    whose = set(asked.clusters.values())
    if "new" in whose or whose == {"given"}:
        raise BayesmmError(
            f"new_clusters=True draws a new cluster behind the typical one or the average, and "
            f"these are {asked.whose!r} ones: write clusters='typical' or 'average'"
            ", without grouping columns in condition=."
        )
    return {name: "given" if own == "given" else "new" for name, own in asked.clusters.items()}
