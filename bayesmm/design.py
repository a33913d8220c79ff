"""The one door for data: from a formula and a frame to arrays.

Training and prediction both come through `DesignBuilder`: `train` learns levels and the state of
transforms such as `scale` and `poly`, `build` applies them to other rows. The indicator matrix Z
of the group effects is never formed, dense or sparse: a group is an integer index and a narrow
block of columns, so that 73,000 rows with 4,000 levels cost megabytes.

Arrays are NumPy float64: JAX arrays made outside the float64 scope would be float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax
import numpy as np

from bayesmm.errors import DataError, FormulaError, listing
from bayesmm.families import Family
from bayesmm.formula import Columns, Formula, Predictor, Terms
from bayesmm.response import ResponseData, read_response
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
    """All arrays of a model, the predictors in the order of the formula.

    `y`, `trials` and `weights` have shape (rows,) or are None where there are none.
    """

    predictors: tuple[PredictorDesign, ...]
    y: np.ndarray | None = None
    trials: np.ndarray | None = None
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class GroupLayout:
    """The names that go with a `GroupDesign`.

    Attributes
    ----------
    name : str
        The group: ``"Subject"`` or ``"a:b"``.
    parameter : str
        The parameter in whose predictor it is.
    effects : tuple of str
        One label a column.
    terms : tuple of str
        The term that each column belongs to.
    blocks : tuple of (tuple of int, bool)
        Which columns form a block, and whether its effects are correlated.
    """

    name: str
    parameter: str
    effects: tuple[str, ...]
    terms: tuple[str, ...]
    blocks: tuple[tuple[tuple[int, ...], bool], ...]

    @property
    def correlated(self) -> bool:
        """Whether any block estimates a correlation."""
        return any(correlated for _, correlated in self.blocks)

    def variable(self, kind: str) -> str:
        """Return the name of a variable of the group: ``sd_Subject``, ``r_sigma_Subject``.

        Parameters
        ----------
        kind : str
            ``"sd"``, ``"cor"``, ``"r"``; ``"z"`` and ``"L"`` for sites of the NumPyro model.
        """
        return f"{kind}{_suffix(self.parameter)}_{self.name}"

    @property
    def effect_dim(self) -> str:
        """The dimension of its effects in the posterior."""
        return f"{_suffix(self.parameter)[1:]}_{self.name}_effect".removeprefix("_")


@dataclass(frozen=True)
class PredictorLayout:
    """The names that go with a `PredictorDesign`."""

    parameter: str
    coefs: tuple[str, ...]
    terms: tuple[str, ...]
    groups: tuple[GroupLayout, ...]

    @property
    def main(self) -> bool:
        """Whether this is the predictor of the response's own location, mu."""
        return self.parameter == "mu"

    def variable(self, kind: str) -> str:
        """Return the name of a variable of the predictor: ``b``, ``Intercept_sigma``.

        Parameters
        ----------
        kind : str
            ``"b"``, ``"Intercept"``, or ``"coef"`` for the dimension of b.
        """
        return f"{kind}{_suffix(self.parameter)}"

    @property
    def has_intercept(self) -> bool:
        """Whether the first coefficient is the intercept."""
        return self.coefs[:1] == ("Intercept",)


def _suffix(parameter: str) -> str:
    """What the names of a parameter's variables end in: nothing for the main one."""
    return "" if parameter == "mu" else f"_{parameter}"


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
    """

    schema: Schema
    layout: tuple[PredictorLayout, ...]

    def __init__(self, formula: Formula, functions: Mapping[str, Callable] | None = None):
        self.formula = formula
        self.functions = dict(functions or {})
        self._terms = [
            (Terms(p.common, self.functions), [Terms(g.effects, self.functions) for g in p.groups])
            for p in formula.predictors
        ]

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
        factors = dict.fromkeys(g.factors for p in self.formula.predictors for g in p.groups)
        _check_groups(list(factors))
        self.schema = read_schema(frame, factors)
        counted = response.counted
        evaluated = [
            (_fit(common, frame, counted), [_fit(block, frame, counted) for block in blocks])
            for common, blocks in self._terms
        ]
        _check_finite(evaluated, frame.index)
        self.layout = tuple(
            _layout(predictor, common, blocks)
            for predictor, (common, blocks) in zip(self.formula.predictors, evaluated, strict=True)
        )
        self._centres = tuple(
            _centre(layout, common.matrix[counted])
            for layout, (common, _) in zip(self.layout, evaluated, strict=True)
        )
        for layout, (common, _) in zip(self.layout, evaluated, strict=True):
            _check_rank(layout, common.matrix[counted])
        return self._assemble(frame, evaluated, response), response

    def build(self, frame: Frame) -> Design:
        """Return the design of other rows, with the levels and transforms of the training data.

        Levels of a group that the model has not seen have index -1; unseen levels of a
        population-level factor are a `DataError`.
        """
        evaluated = [
            (common.transform(frame.columns), [b.transform(frame.columns) for b in blocks])
            for common, blocks in self._terms
        ]
        _check_finite(evaluated, frame.index)
        return self._assemble(frame, evaluated, None)

    def _assemble(
        self,
        frame: Frame,
        evaluated: list[tuple[Columns, list[Columns]]],
        response: ResponseData | None,
    ) -> Design:
        index = {g.name: g.index(frame.columns) for g in self.schema.groupings}
        levels = {g.name: len(g.cells) for g in self.schema.groupings}
        predictors = []
        for i, (common, blocks) in enumerate(evaluated):
            groups = []
            for group in self.layout[i].groups:
                terms = self.formula.predictors[i].groups
                own = [b.matrix for t, b in zip(terms, blocks, strict=True) if t.name == group.name]
                columns = own[0] if len(own) == 1 else np.concatenate(own, axis=1)
                groups.append(GroupDesign(index[group.name], columns, levels[group.name]))
            offset = np.zeros(()) if common.offset is None else common.offset
            predictors.append(
                PredictorDesign(common.matrix, self._centres[i], offset, tuple(groups))
            )
        if response is None:
            return Design(tuple(predictors))
        return Design(tuple(predictors), response.values, response.trials, response.weights)


def _fit(terms: Terms, frame: Frame, counted: np.ndarray) -> Columns:
    """Learn transforms on the rows that carry weight, and return the columns of every row."""
    if counted.all():
        return terms.fit(frame.columns)
    terms.fit(frame.columns.loc[counted])
    return terms.transform(frame.columns)


def _layout(predictor: Predictor, common: Columns, blocks: list[Columns]) -> PredictorLayout:
    groups: dict[str, list[tuple[Columns, bool]]] = {}
    for term, columns in zip(predictor.groups, blocks, strict=True):
        groups.setdefault(term.name, []).append((columns, term.correlated))
    layouts = []
    for name, parts in groups.items():
        effects = tuple(label for columns, _ in parts for label in columns.labels)
        doubled = sorted({e for e in effects if effects.count(e) > 1})
        if doubled:
            raise FormulaError(
                f"The group {name!r} has the effect {listing(doubled)} twice. Independent terms of "
                f"one group need different effects: write (0 + x | {name}) for a second one."
            )
        start, spans = 0, []
        for columns, correlated in parts:
            stop = start + len(columns.labels)
            spans.append((tuple(range(start, stop)), correlated and stop - start > 1))
            start = stop
        terms = tuple(term for columns, _ in parts for term in columns.terms)
        layouts.append(GroupLayout(name, predictor.parameter, effects, terms, tuple(spans)))
    return PredictorLayout(predictor.parameter, common.labels, common.terms, tuple(layouts))


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


def _check_finite(evaluated: list[tuple[Columns, list[Columns]]], rows: np.ndarray) -> None:
    """Refuse NaN or infinity that a transform made of finite data."""
    parts = []
    for columns in (c for common, blocks in evaluated for c in (common, *blocks)):
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
    if not layout.has_intercept:
        return np.zeros(X.shape[1])
    centre = X.mean(axis=0)
    centre[0] = 0.0
    return centre


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
    return Design(predictors, cut(design.y), cut(design.trials), cut(design.weights))
