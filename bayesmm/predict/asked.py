"""The rows that are asked about: the one way from a dataframe to what predictions are made of.

Training rows and new rows, of known clusters, new ones and none, come through `ask`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bayesmm.design import Design, take
from bayesmm.formula import response_columns
from bayesmm.predict.clusters import REMEDY, Clusters, find_clusters, refuse_new
from bayesmm.predict.effects import Effects
from bayesmm.predict.marginal import check_means
from bayesmm.prepare import Prepared
from bayesmm.schema import Frame, Grouping


@dataclass(frozen=True)
class Scope:
    """Which clusters count, and how.

    Attributes
    ----------
    kept : tuple of str
        The groups whose effects count, as those of each row's own cluster.
    averaged : tuple of str
        The groups that are averaged over.
    new_levels : str
        What becomes of a cluster that the model has not seen.
    new : tuple of str
        The groups of which all rows are of one new cluster.
    remedy : str
        What to say to whoever asks about clusters that the model has not seen.
    """

    kept: tuple[str, ...] = ()
    averaged: tuple[str, ...] = ()
    new_levels: str = "error"
    new: tuple[str, ...] = ()
    remedy: str = REMEDY


@dataclass(frozen=True)
class Known:
    """What is known of clusters.

    Attributes
    ----------
    quantities : mapping of str to numpy.ndarray
        The posterior's variables, draws first.
    given : mapping of str to numpy.ndarray
        By variable: the effects of clusters that follow those of the fit.
    groupings : mapping of str to Grouping
        The groupings with those.
    """

    quantities: Mapping[str, np.ndarray]
    given: Mapping[str, np.ndarray] = field(default_factory=dict)
    groupings: Mapping[str, Grouping] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """Rows to predict for.

    Attributes
    ----------
    design : Design
        Their arrays.
    frame : Frame
        The columns that were used.
    effects : Effects
        Of their clusters.
    slope : Design, optional
        Derivatives of the design's columns by a column of the data.
    """

    design: Design
    frame: Frame
    effects: Effects
    slope: Design | None = None

    def part(self, rows: np.ndarray) -> "Asked":
        """Return some of the rows."""
        clusters = {
            name: replace(found, index=found.index[rows])
            for name, found in self.effects.clusters.items()
        }
        frame = replace(
            self.frame, columns=self.frame.columns.iloc[rows], index=self.frame.index[rows]
        )
        slope = None if self.slope is None else take(self.slope, rows)
        effects = replace(self.effects, clusters=clusters)
        return Asked(take(self.design, rows), frame, effects, slope)


def ask(
    prepared: Prepared,
    known: Known,
    newdata: Any,
    scope: Scope,
    *,
    seed: int = 0,
    responses: bool = True,
    along: str | None = None,
    clusters_of: Asked | None = None,
) -> Asked:
    """Read the rows that are asked about.

    Parameters
    ----------
    prepared : Prepared
        The model.
    known : Known
        Its posterior, and clusters beside those of the fit.
    newdata : dataframe or None
        The rows; None for those of the training data.
    scope : Scope
        Which clusters count.
    seed : int
        For the effects of new clusters.
    responses : bool
        Whether the scale is the response's: for counts of several columns their total is then
        needed.
    along : str, optional
        A column of numbers: derivatives by it are asked for too.
    clusters_of : Asked, optional
        Rows whose clusters these rows are of, where a column that names clusters is a predictor
        too, and has been changed.

    Raises
    ------
    DataError, NewLevelsError
        See `Prepared.rows_of` and `refuse_new`.
    BayesmmError
        If an average over clusters does not exist.
    """
    spec = prepared.spec
    check_means(spec.family, spec.layout, scope.averaged)
    groups = (*scope.kept, *scope.averaged, *scope.new)
    without_labels = (*scope.averaged, *scope.new)
    if clusters_of is not None:
        without_labels = groups
    # Of a multinomial response the trials are the sum of its columns.
    columns = spec.family.response.columns and spec.family.response.integer and responses
    if newdata is None:
        frame = prepared.frame
        design = prepared.builder.build(frame, groups, without_labels)
        trials = prepared.response.data.get("trials")
    else:
        also = response_columns(prepared.response_text) if columns else ()
        design, frame = prepared.rows_of(
            newdata,
            groups=groups,
            without_labels=without_labels,
            also=also,
            unlabelled=scope.new_levels != "error",
        )
        trials = frame.columns[list(also)].sum(axis=1).to_numpy(float) if columns else None
    if columns:
        design = replace(design, data={**design.data, "trials": trials})
    clusters = {
        grouping.name: find_clusters(known.groupings.get(grouping.name, grouping), frame.columns)
        for grouping in spec.schema.groupings
        if grouping.name in scope.kept and clusters_of is None
    }
    if scope.new_levels == "error":
        for found in clusters.values():
            refuse_new(found, scope.remedy)
    for name in scope.new:
        grouping = spec.schema.grouping(name)
        index = np.full(len(frame.index), len(grouping.cells))
        clusters[name] = Clusters(grouping, index, (("new",) * len(grouping.factors),))
    if clusters_of is not None:
        clusters = clusters_of.effects.clusters
    new_levels = "sample" if scope.new else scope.new_levels
    effects = Effects(
        known.quantities, clusters, new_levels, seed, known.given, frozenset(scope.averaged)
    )
    slope = None
    if along is not None:
        slope = prepared.builder.build(frame, groups, without_labels, along)
    return Asked(design, frame, effects, slope)
