"""The one door for data: from a formula and a frame to arrays.

Training and prediction both come through `DesignBuilder`: `train` learns levels and the state of
transforms such as `scale` and `poly`, `build` applies them to other rows. The indicator matrix Z
of the group effects is never formed, dense or sparse: a group is an integer index and a narrow
block of columns, so that 73,000 rows with 4,000 levels cost megabytes.

Arrays are NumPy float64: JAX arrays made outside the float64 scope would be float32.
"""

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import jax
import numpy as np

from bayesmm.errors import DataError, FormulaError, listing
from bayesmm.families import Family
from bayesmm.formula import Columns, Formula, Response, Terms
from bayesmm.layout import GroupLayout, PredictorLayout, expand_predictors, predictor_layout
from bayesmm.response import ResponseData, read_known, read_response
from bayesmm.schema import Frame, Schema, read_schema


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GroupDesign:
    """The rows' levels of one group and the columns that vary over it.

    Attributes
    ----------
    index : numpy.ndarray
        Level of each row, shape (rows,), int32; -1 for a level that the model has not seen.
    columns : numpy.ndarray
        Shape (rows, effects): z_i, the narrow block of the row.
    levels : int
        How many levels the model knows (part of the structure, not an array).
    """

    index: np.ndarray
    columns: np.ndarray
    levels: int = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PredictorDesign:
    """The design of one linear predictor, eta = X b + offset + sum of the groups' effects.

    Attributes
    ----------
    X : numpy.ndarray
        Shape (rows, coefs), the intercept's column first where there is one.
    centre : numpy.ndarray
        Shape (coefs,): what is subtracted inside from each column, 0 for the intercept, and 0
        everywhere in a predictor without intercept.
    offset : numpy.ndarray
        Shape (rows,) or () where there is none.
    groups : tuple of GroupDesign
        In the order of the predictor's layout.
    """

    X: np.ndarray
    centre: np.ndarray
    offset: np.ndarray
    groups: tuple[GroupDesign, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Design:
    """All arrays of a model, the predictors in the order of its layout.

    Attributes
    ----------
    predictors : tuple of PredictorDesign
        One for each linear predictor.
    y : numpy.ndarray or None
        The response, shape (rows,) or (rows, columns).
    data : dict of str to numpy.ndarray
        What else is known of the rows, see `ResponseData.data`; with ``by``, the index of the
        thresholds of each row, where they differ.
    weights : numpy.ndarray or None
        Factors on the log-likelihood, shape (rows,).
    """

    predictors: tuple[PredictorDesign, ...]
    y: np.ndarray | None = None
    data: dict[str, np.ndarray] = field(default_factory=dict)
    weights: np.ndarray | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.predictors[0].X.shape[0]


class DesignBuilder:
    """Builds the arrays of a formula: first of the training data, then of any other.

    Parameters
    ----------
    formula : Formula
        The parsed model.
    functions : mapping of str to callable, optional
        What the user allowed in the formula beside the built-in transforms.

    Attributes
    ----------
    schema : Schema
        Columns and levels, known after `train`.
    layout : tuple of PredictorLayout
        Names of everything in the design, known after `train`.
    family : Family
        The family, bound to the categories of the response; known after `train`.
    """

    schema: Schema
    layout: tuple[PredictorLayout, ...]
    family: Family

    def __init__(self, formula: Formula, functions: Mapping[str, Callable] | None = None):
        self.formula = formula
        self.functions = dict(functions or {})
        # By text: predictors that say the same share their columns.
        texts = [t for p in formula.predictors for t in (p.common, *(g.effects for g in p.groups))]
        self._terms = {text: Terms(text, self.functions) for text in texts}

    def train(self, frame: Frame, family: Family) -> tuple[Design, ResponseData]:
        """Learn levels and transforms from the training data, and return its design.

        Parameters
        ----------
        frame : Frame
            Complete rows of the used columns.
        family : Family
            Which response it takes.

        Returns
        -------
        design : Design
        response : ResponseData

        Raises
        ------
        DataError, FormulaError, FamilyError
            For data that no model of this formula and family can be fitted to: see the modules
            `schema` and `response`; also a rank-deficient population part.
        """
        if self.formula.response is None:
            raise FormulaError("The formula has no response. Write one on the left: y ~ x.")
        response = read_response(self.formula.response, frame, family, self.functions)
        self.family = family.bound(response.categories) if response.categories else family
        self._predictors = expand_predictors(self.formula, self.family)
        self._by = response.by
        factors = dict.fromkeys(g.factors for p in self._predictors for g in p.groups)
        if response.by is not None:
            factors.setdefault((response.by,))
        _check_groups(list(factors))
        self.schema = read_schema(frame, factors)
        counted = response.counted
        evaluated = {text: _fit(terms, frame, counted) for text, terms in self._terms.items()}
        _check_finite(evaluated, frame.index)
        self.layout = tuple(
            predictor_layout(predictor, evaluated, self.family) for predictor in self._predictors
        )
        populations = [
            _population(layout, evaluated[predictor.common].matrix)
            for layout, predictor in zip(self.layout, self._predictors, strict=True)
        ]
        self._centres = tuple(
            _centre(layout, X[counted]) for layout, X in zip(self.layout, populations, strict=True)
        )
        _check_ranks(self.layout, [X[counted] for X in populations])
        return self._assemble(frame, evaluated, response), response

    @property
    def coded(self) -> set[str]:
        """The columns that enter as factors and in no other way, known after `train`."""
        coded = {name for terms in self._terms.values() for name in terms.coded}
        return coded - {name for terms in self._terms.values() for name in terms.measured}

    def build(
        self,
        frame: Frame,
        groups: Container[str] | None = None,
        without_labels: Collection[str] = (),
        along: str | None = None,
    ) -> Design:
        """Return the design of other rows, with the levels and transforms of the training data.

        Levels of a group that the model has not seen have index -1; unseen levels of a
        population-level factor are a `DataError`.

        Parameters
        ----------
        frame : Frame
            The rows.
        groups : container of str, optional
            The groups whose effects count; those of others are 0, and their columns need not be
            there. All of them if left out.
        without_labels : collection of str
            Groups among them whose grouping columns need not be there: their index is 0.
        along : str, optional
            A column of numbers: the derivatives of all columns by it are returned instead.
        """
        kept = [g.name for g in self.schema.groupings if groups is None or g.name in groups]
        texts = [p.common for p in self._predictors]
        texts += [t.effects for p in self._predictors for t in p.groups if t.name in kept]
        evaluated = {
            text: self._terms[text].differentiate(frame.columns, along)
            if along
            else self._terms[text].transform(frame.columns)
            for text in texts
        }
        _check_finite(evaluated, frame.index)
        return self._assemble(frame, evaluated, None, kept, without_labels)

    def _assemble(
        self,
        frame: Frame,
        evaluated: Mapping[str, Columns],
        response: ResponseData | None,
        kept: Sequence[str] | None = None,
        without_labels: Collection[str] = (),
    ) -> Design:
        labelled = [
            g
            for g in self.schema.groupings
            if g.name == self._by
            or ((kept is None or g.name in kept) and g.name not in without_labels)
        ]
        index = {g.name: g.index(frame.columns) for g in labelled}
        nowhere = np.zeros(len(frame.columns), dtype=np.int32)
        levels = {g.name: len(g.cells) for g in self.schema.groupings}
        predictors = []
        for predictor, layout, centre in zip(
            self._predictors, self.layout, self._centres, strict=True
        ):
            groups = []
            for group in layout.groups:
                if kept is not None and group.name not in kept:
                    groups.append(_no_effect(group, len(frame.columns), levels[group.name]))
                    continue
                own = [
                    evaluated[term.effects].matrix
                    for term in predictor.groups
                    if term.name == group.name
                ]
                columns = own[0] if len(own) == 1 else np.concatenate(own, axis=1)
                place = index.get(group.name, nowhere)
                groups.append(GroupDesign(place, columns, levels[group.name]))
            common = evaluated[predictor.common]
            offset = np.zeros(()) if common.offset is None else common.offset
            X = _population(layout, common.matrix)
            predictors.append(PredictorDesign(X, centre, offset, tuple(groups)))
        by = {} if self._by is None else {"by": index[self._by]}
        if response is None:
            left = cast(Response, self.formula.response)  # `train` refused a formula without one
            known = read_known(left, frame, self.family, self.functions)
            return Design(tuple(predictors), data=known | by)
        return Design(tuple(predictors), response.values, response.data | by, response.weights)


def _no_effect(group: GroupLayout, rows: int, levels: int) -> GroupDesign:
    """The design of a group whose effects do not count."""
    index = np.zeros(rows, dtype=np.int32)
    return GroupDesign(index, np.zeros((rows, len(group.effects))), levels)


def _population(layout: PredictorLayout, matrix: np.ndarray) -> np.ndarray:
    """The columns of the population part, without the intercept's where something else holds it."""
    return matrix[:, matrix.shape[1] - len(layout.coefs) :]


def _fit(terms: Terms, frame: Frame, counted: np.ndarray) -> Columns:
    """Learn transforms on the rows that carry weight, and return the columns of every row."""
    if counted.all():
        return terms.fit(frame.columns)
    terms.fit(frame.columns.loc[counted])
    return terms.transform(frame.columns)


def _check_groups(factors: list[tuple[str, ...]]) -> None:
    """Refuse two groups that would have one name, or are one group written in two ways."""
    for i, one in enumerate(factors):
        for other in factors[:i]:
            if ":".join(one) == ":".join(other):
                raise DataError(
                    f"The group {':'.join(one)!r} is both a column and an interaction of columns. "
                    "Rename the column."
                )
            if sorted(one) == sorted(other):
                raise FormulaError(
                    f"{':'.join(one)!r} and {':'.join(other)!r} are the same group. Write the "
                    "factors in one order."
                )


def _check_finite(evaluated: Mapping[str, Columns], rows: np.ndarray) -> None:
    """Refuse NaN or infinity that a transform made of finite data."""
    parts = []
    for columns in evaluated.values():
        parts += zip(columns.matrix.T, columns.terms, strict=True)
        if columns.offset is not None:
            parts.append((columns.offset, "offset"))
    for values, term in parts:
        finite = np.isfinite(values)
        if not finite.all():
            first = int(np.argmin(finite))
            raise DataError(
                f"{term!r} makes {values[first]} of finite data in {int((~finite).sum())} rows "
                f"(the first is row {rows.tolist()[first]!r}). Use a transform that is defined for "
                "every row, or drop those rows."
            )


def _centre(layout: PredictorLayout, X: np.ndarray) -> np.ndarray:
    if not (layout.has_intercept or layout.intercept_in):
        return np.zeros(X.shape[1])
    centre = X.mean(axis=0)
    if layout.has_intercept:
        centre[0] = 0.0
    return centre


def _check_ranks(layouts: Sequence[PredictorLayout], populations: Sequence[np.ndarray]) -> None:
    """Check each population part once, and what differs by category together with what does not."""
    checked: set[tuple[str, ...]] = set()
    for layout, X in zip(layouts, populations, strict=True):
        if layout.elements:
            main = replace(
                layouts[0],
                parameter=layout.parameter,
                coefs=(*layouts[0].coefs, *layout.coefs),
            )
            _check_rank(main, np.concatenate([populations[0], X], axis=1))
        elif layout.coefs not in checked:
            _check_rank(layout, X)
            checked.add(layout.coefs)


def _check_rank(layout: PredictorLayout, X: np.ndarray) -> None:
    """Refuse columns that are linear combinations of earlier ones, and say of which."""
    if X.shape[1] == 0:
        return
    # Centring first keeps a column of mean 1e6 and sd 1 from looking like the intercept.
    centred = X - _centre(layout, X)
    norms = np.sqrt((centred**2).sum(axis=0))
    zero = [layout.coefs[j] for j in np.flatnonzero(norms <= 1e-13 * np.abs(X).max(axis=0))]
    if zero:
        raise DataError(
            f"The column {listing(zero)} of {layout.parameter} is constant, so its coefficient "
            "cannot be told from the intercept's. Leave it out."
        )
    unit = centred / norms
    triangle = np.linalg.qr(unit, mode="r")
    depth = min(triangle.shape)
    pivots = np.zeros(unit.shape[1])
    pivots[:depth] = np.abs(np.diag(triangle))
    dependent = np.flatnonzero(pivots < 1e-10 * np.sqrt(unit.shape[1]))
    if dependent.size == 0:
        return
    j = int(dependent[0])
    weights = np.linalg.lstsq(unit[:, :j], unit[:, j], rcond=None)[0]
    of = [layout.coefs[i] for i in np.flatnonzero(np.abs(weights) > 1e-8)]
    names = [layout.coefs[i] for i in dependent]
    raise DataError(
        f"The design of {layout.parameter} is rank-deficient: {listing(names)} cannot be told from "
        f"the other columns ({names[0]!r} is a linear combination of {listing(of)}). Leave it out, "
        "or combine the predictors."
    )


def group_design(
    layout: Sequence[PredictorLayout], design: Design, group: GroupLayout
) -> GroupDesign:
    """Return the arrays of a group, in the predictor that it is in.

    Parameters
    ----------
    layout : sequence of PredictorLayout
        The names of the predictors.
    design : Design
        Their arrays.
    group : GroupLayout
        Group and parameter.
    """
    place = next(k for k, names in enumerate(layout) if names.parameter == group.parameter)
    return design.predictors[place].groups[layout[place].groups.index(group)]


def take(design: Design, rows: slice | np.ndarray) -> Design:
    """Return the design of some rows, so that work over rows can be done in chunks."""

    def cut(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[rows]

    predictors = tuple(
        PredictorDesign(
            p.X[rows],
            p.centre,
            p.offset[rows] if p.offset.ndim else p.offset,
            tuple(GroupDesign(g.index[rows], g.columns[rows], g.levels) for g in p.groups),
        )
        for p in design.predictors
    )
    data = {name: values[rows] for name, values in design.data.items()}
    return Design(predictors, cut(design.y), data, cut(design.weights))
