"""What a model is, without its data: frozen, free of arrays, compared by value, kept as text.

`specify` is where a formula's names meet a family and its priors: it lists every number that needs
a prior (`Slot`), gives it its default, scaled to the data, lets the user's priors take over, and
refuses names that would clash in the posterior.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bayesmm.design import Design, PredictorDesign
from bayesmm.errors import DataError, FamilyError, listing
from bayesmm.families import FAMILIES, Family, Parameter, PriorRecord, resolve_prior
from bayesmm.formula import Formula
from bayesmm.layout import PredictorLayout
from bayesmm.links import get_link
from bayesmm.priors import (
    Assigned,
    Prior,
    Scale,
    Slot,
    half_student_t,
    normal,
    normal_mad,
    pack,
    resolve,
    robust_scale,
    student_t,
)
from bayesmm.response import ResponseData
from bayesmm.schema import Schema

#: Scale of intercepts and sds where the link has no use for the data's.
UNIT_SCALE = 2.5
#: Zeros count as this before a link that is infinite there.
ZERO_STANDS_FOR = 0.1


#: The dimension of what there is one of for each category of the response.
CATEGORY_DIM = "category"


@dataclass(frozen=True)
class ModelSpec:
    """A model: formula, columns, family, the names of its variables, and its priors.

    Attributes
    ----------
    formula : Formula
        The parsed text.
    schema : Schema
        Columns and levels of the training data.
    family : Family
        The response distribution, with its links.
    layout : tuple of PredictorLayout
        One for each predictor.
    priors : tuple of Assigned
        Every slot with the prior in force.
    success : str or None
        The level of the response that counts as 1.
    by : str or None
        The column whose levels have thresholds of their own.
    """

    formula: Formula
    schema: Schema
    family: Family
    layout: tuple[PredictorLayout, ...]
    priors: tuple[Assigned, ...]
    success: str | None = None
    by: str | None = None

    @property
    def numbers(self) -> tuple[Parameter, ...]:
        """The parameters of the family that are estimated as they are, without a formula."""
        estimated = {assigned.slot.variable for assigned in self.priors}
        return tuple(p for p in self.family.parameters if p.name in estimated)

    @property
    def response(self) -> str:
        """The name of the response; a computed one without slashes, which result files reserve."""
        return self.formula.response.name.replace("/", "÷") if self.formula.response else ""

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups that have effects."""
        return tuple(dict.fromkeys(g.name for names in self.layout for g in names.groups))

    def pack(self):
        """Return the priors' structure, and their numbers by variable."""
        variables: dict[str, list[Assigned]] = {}
        for assigned in self.priors:
            variables.setdefault(assigned.slot.variable, []).append(assigned)
        structures, numbers = [], {}
        for variable, rows in variables.items():
            slot = rows[0].slot
            shape = () if slot.coordinate is None else slot.shape
            structure, values = pack(
                variable, [row.prior for row in rows], shape=shape, ordered=slot.ordered
            )
            structures.append(structure)
            numbers[variable] = values
        return tuple(structures), numbers

    def to_text(self) -> str:
        """Return what a file holds of the model, as JSON."""
        return json.dumps(
            {
                "formula": list(self.formula.texts),
                "family": self.family.name,
                "own_family": self.family.plain != FAMILIES.get(self.family.name),
                "options": self.family.options,
                "success": self.success,
                "columns": [asdict(column) for column in self.schema.columns],
                "priors": [
                    {"label": a.slot.label, "key": a.key, "prior": a.prior.as_data()}
                    for a in self.priors
                ],
            }
        )


def specify(
    formula: Formula,
    schema: Schema,
    family: Family,
    layout: Sequence[PredictorLayout],
    design: Design,
    response: ResponseData,
    priors: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """Return the specification of a model.

    Parameters
    ----------
    formula, schema, family, layout
        As in `ModelSpec`.
    design : Design
        Of the training data; default priors are scaled to it.
    response : ResponseData
        What is known of the response beside its numbers.
    priors : mapping of str to NumPyro distribution, optional
        The user's priors, by key.

    Raises
    ------
    PriorError
        For a prior that does not fit.
    DataError
        For a model without any parameter, a response or predictor that no prior can be scaled to,
        and a used name that clashes with a variable or dimension of the posterior.
    """
    known = _known_error(family, layout, response)
    levels = schema.grouping(response.by).labels if response.by else ()
    counted, scale, smallest = _training_scale(family, design)
    slots: list[Slot] = []
    for names, rows in zip(layout, design.predictors, strict=True):
        slots += _predictor_slots(family, names, rows, scale, smallest, counted)
    slots += _number_slots(family, layout, scale, smallest, levels, known)
    if not slots:
        raise DataError(
            f"The model {formula.texts[0]!r} has nothing to estimate: no coefficient, no group and "
            "no further parameter. Add an intercept (1) or a predictor."
        )
    assigned = resolve(slots, priors)
    spec = ModelSpec(
        formula, schema, family, tuple(layout), assigned, response.success, response.by
    )
    _check_names(spec)
    return spec


def element_dim(family: Family, parameter: Parameter) -> str:
    """Return the dimension of a vector: ``"cutpoint"`` for cutpoints and what goes with them."""
    first = next(p for p in family.parameters if p.labels is parameter.labels)
    return first.name.removesuffix("s") if first.name.endswith("s") else f"{first.name}_element"


def _known_error(
    family: Family, layout: Sequence[PredictorLayout], response: ResponseData
) -> str | None:
    """The parameter that ``se(y, s)`` gives, where it is not to be estimated beside it."""
    if "se" not in response.data or response.adds_error:
        return None
    name = family.known_error
    if name in dict(family.fixed):
        raise FamilyError(
            f"The family holds {name!r} at {dict(family.fixed)[name]:g}, and se() gives it. Leave "
            "one of them out, or write se(y, s, sigma=True) to have the two errors added."
        )
    if any(names.parameter == name for names in layout):
        raise FamilyError(
            f"There is a formula for {name!r}, which se() gives. Leave one of them out, or write "
            "se(y, s, sigma=True) to have the two errors added."
        )
    return name


def response_scale(y: np.ndarray, family: Family, offset: np.ndarray | float = 0.0) -> Scale:
    """Return location and scale of a response on the scale of its linear predictor.

    With s = 1.4826 mad(y) under the identity link (the sd where that is 0, and no floor, so that
    the unit of y is of no account); s = max(2.5, 1.4826 mad(link(y))) under the other links that
    give a response a scale; location 0 and s = 2.5 under the rest.

    Parameters
    ----------
    y : numpy.ndarray
        The response in the rows that count, shape (rows,).
    family : Family
        Whose mu is meant: for a lognormal, y is log(y) throughout.
    offset : numpy.ndarray or float
        What the linear predictor is given: the intercept is located around link(y) less it.
    """
    if family.response.categories or family.response.columns:
        return Scale(0.0, UNIT_SCALE, 1.0, UNIT_SCALE, UNIT_SCALE)
    # The zeros of a mixture say nothing of the rest, and amounts of 0 have no logarithm.
    linked = family.location != "identity" or not family.link("mu").is_identity
    amounts = not family.response.integer and bool(family.response.check(np.array([-1.0]))[0])
    if (y != 0).any() and (family.base is not None or (linked and amounts)):
        y, offset = y[y != 0], np.broadcast_to(offset, y.shape)[y != 0]
    y = np.asarray(get_link(family.location).forward(y), dtype=np.float64)
    peak = float(np.abs(y).max()) or 1.0
    if not 1e-80 < peak < 1e80:
        raise DataError(
            f"The response is as large as {peak:.3g}. Rescale it: no prior can be scaled to that."
        )
    residual = robust_scale(y)
    sd = float(np.std(y, ddof=1)) if len(y) > 1 else 0.0
    if sd == 0:  # only counts can be constant (`read_response`); they have a unit of their own
        residual = sd = UNIT_SCALE
    link = family.link("mu")
    if link.is_identity:
        return Scale(float(np.median(y - offset)), residual, sd, residual, sd)
    if not link.scales_response:
        return Scale(0.0, UNIT_SCALE, 1.0, residual, sd)
    linked = np.asarray(link.forward(np.where(y == 0, ZERO_STANDS_FOR, y)), dtype=np.float64)
    usable = np.isfinite(linked)  # negative values have no logarithm
    if not usable.any():
        return Scale(0.0, UNIT_SCALE, 1.0, residual, sd)
    s = max(UNIT_SCALE, normal_mad(linked[usable]))
    return Scale(float(np.median((linked - offset)[usable])), s, 1.0, residual, sd)


def _training_scale(family: Family, design: Design) -> tuple[Any, Scale, float]:
    """The rows that count, the scale of the response in them, and the smallest response."""
    counted = slice(None) if design.weights is None else design.weights > 0
    y = np.asarray(design.y)
    offset = np.broadcast_to(design.predictors[0].offset, y.shape[:1])
    possible = y[counted][
        ~(family.base or family).response.check(y[counted], _trials(design, counted))
    ]
    smallest = float(possible.min()) if possible.size else math.nan
    return counted, response_scale(y[counted], family, offset[counted]), smallest


def _trials(design: Design, counted: Any) -> np.ndarray | None:
    return design.data["trials"][counted] if "trials" in design.data else None


def _number_slots(
    family: Family,
    layout: Sequence[PredictorLayout],
    scale: Scale,
    smallest: float,
    levels: Sequence[Any],
    known: str | None,
) -> Iterator[Slot]:
    """What the family's parameters need that have no formula.

    Parameters
    ----------
    scale, smallest : Scale, float
        The scale of the response, and its smallest value.
    levels : sequence
        The levels that have thresholds of their own, if any.
    known : str or None
        A parameter that is given by the data.
    """
    modelled = {family.parameter(names.parameter).name for names in layout}
    held = dict(family.fixed)
    for parameter in family.parameters:
        if parameter.name in modelled or parameter.name in held or parameter.name == known:
            continue
        # Every parameter but mu has a default of its own: `Family` sees to it.
        record = parameter.prior or parameter.intercept_prior
        prior = _parameter_prior(record, parameter, family, scale, smallest)
        own_levels = levels if parameter is family.intercept_holder else ()
        yield from _elements(parameter, family.labels(parameter), own_levels, prior)


def _elements(
    parameter: Parameter, labels: Sequence[str], levels: Sequence[Any], prior: Prior
) -> Iterator[Slot]:
    """One slot for each number of a parameter; equidistant ones are a first number and a step."""
    name = parameter.name
    rows = tuple(f"{level}" for level in levels)
    if not labels or parameter.equidistant:
        yield from _level_slots(name, parameter.support, rows, prior)
        if parameter.equidistant:
            yield from _level_slots("delta", "positive", rows, half_student_t(3, UNIT_SCALE))
        return
    shape = (len(rows), len(labels)) if rows else (len(labels),)
    for row in rows or ("",):
        for label in labels:
            coordinate = f"{row}, {label}" if row else label
            keys = tuple(dict.fromkeys((f"{name}[{coordinate}]", f"{name}[{label}]", name)))
            yield Slot(
                name,
                coordinate,
                parameter.support,
                keys,
                prior,
                shape=shape,
                ordered=parameter.ordered and len(labels) > 1,
            )


def _level_slots(name: str, support: str, levels: Sequence[str], prior: Prior) -> Iterator[Slot]:
    if not levels:
        yield Slot(name, None, support, (name,), prior)
    for level in levels:
        yield Slot(name, level, support, (f"{name}[{level}]", name), prior)


def _predictor_slots(
    family: Family,
    names: PredictorLayout,
    rows: PredictorDesign,
    scale: Scale,
    smallest: float,
    counted: Any,
) -> Iterator[Slot]:
    main = names.main
    spread = scale.spread if main else 1.0
    s = scale.s if main else UNIT_SCALE
    first = int(names.has_intercept)
    if names.has_intercept:
        parameter = family.parameter(names.parameter)
        default = (
            student_t(3, scale.location, scale.s)
            if main
            else _parameter_prior(parameter.intercept_prior, parameter, family, scale, smallest)
        )
        variable = names.variable("Intercept")
        yield Slot(variable, None, "real", (variable,), default)
    widths = _spreads(rows.X[counted])
    variable = names.variable("b")
    for j in range(first, len(names.coefs)):
        keys = _keys(variable, names.coefs[j], names.terms[j])
        default = normal(0.0, UNIT_SCALE * spread / widths[j])
        if not names.elements:
            yield Slot(variable, names.coefs[j], "real", keys, default)
        shape = (len(names.coefs), len(names.elements))
        for element in names.elements:
            label = f"{names.coefs[j]}, {element}"
            yield Slot(variable, label, "real", (f"{variable}[{label}]", *keys), default, (), shape)
    for group, block in zip(names.groups, rows.groups, strict=True):
        variable = group.variable("sd")
        widths = _spreads(block.columns[counted])
        for j, effect in enumerate(group.effects):
            keys = (*_keys(variable, effect, group.terms[j]), "sd")
            width = 1.0 if effect == "Intercept" else widths[j]
            yield Slot(variable, effect, "positive", keys, half_student_t(3, s / width))
        if group.correlated:
            variable = group.variable("cor")
            prior = Prior("LKJ", (("eta", 1.0),))
            sizes = tuple(len(positions) for positions, correlated in group.blocks if correlated)
            yield Slot(variable, None, "correlation", (variable, "cor"), prior, sizes)


def _keys(variable: str, label: str, term: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((f"{variable}[{label}]", f"{variable}[{term}]", variable)))


def _spreads(columns: np.ndarray) -> np.ndarray:
    """The sd of each column; of a constant one its size, so that no prior is infinitely wide."""
    if columns.shape[1] == 0:
        return np.ones(0)
    # Squares of what is 1e200 or 1e-200 are not numbers, so each column is taken by its largest.
    peak = np.abs(columns).max(axis=0)
    scaled = columns / np.where(peak > 0, peak, 1.0)
    sd = scaled.std(axis=0, ddof=1) if len(columns) > 1 else np.zeros(columns.shape[1])
    size = np.sqrt((scaled**2).mean(axis=0))
    width = np.where(sd > 1e-10 * size, sd, size) * peak
    return np.where(width > 0, width, 1.0)


def _parameter_prior(
    record: PriorRecord,
    parameter: Parameter,
    family: Family,
    scale: Scale,
    smallest: float = math.nan,
) -> Prior:
    """A parameter's default prior, with the words in its record replaced by the data's numbers."""
    words = {"scale": scale.residual, "min": smallest, "sqrt(scale)": math.sqrt(scale.residual)}
    if "link(min/2)" in record[1]:
        half = smallest / 2
        words["link(min/2)"] = float(family.link(parameter.name).forward(half))
    if "link(sd)" in record[1]:  # links are JAX functions, and the first use of one takes a while
        words["link(sd)"] = float(family.link(parameter.name).forward(scale.sd))
    return Prior.of(*resolve_prior(record, words))


def _check_names(spec: ModelSpec) -> None:
    """Refuse used names that would meet a variable or a dimension of the posterior."""
    dims = ["chain", "draw", "obs_id"]
    names = list(dims)
    for layout in spec.layout:
        names += [layout.variable(kind) for kind in ("Intercept", "b", "coef")]
        for group in layout.groups:
            # r is in the posterior; z and L are sites of the NumPyro model.
            names += [group.variable(kind) for kind in ("sd", "cor", "r", "z", "L")]
            names += [group.effect_dim, f"{group.effect_dim}_2"]
    names += [p.name for p in spec.family.parameters[1:]]
    vectors = [p for p in spec.family.parameters if p.labels]
    names += dict.fromkeys(element_dim(spec.family, p) for p in vectors)
    names += ["delta" for p in vectors if p.equidistant]
    if spec.family.response.categories or spec.family.response.columns:
        names.append(CATEGORY_DIM)
    groups = [group.name for layout in spec.layout for group in layout.groups]
    groups += [spec.by] if spec.by else []
    for kind, name in [*(("group", g) for g in groups), ("response", spec.response)]:
        if name in names:
            raise DataError(
                f"The {kind} {name!r} has the name of a variable or dimension of the posterior "
                f"({listing(names, 40)}). Rename the column."
            )
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise DataError(
            f"Two things in the posterior would be called {doubled[0]!r}. Rename a grouping column."
        )
    if spec.response in groups:
        raise DataError(
            f"The response {spec.response!r} is also a grouping factor. Leave "
            f"(... | {spec.response}) out."
        )
    for label in spec.family.categories:
        if "/" in label:  # it would be part of the name of a variable
            raise DataError(
                f"The category {label!r} of the response holds a '/', which no variable of a "
                "result can. Rename the category."
            )
    for name in (column.name for column in spec.schema.columns):
        if name in dims:
            raise DataError(
                f"The column {name!r} has the name of a dimension of the results. Rename it."
            )
        if "/" in name:  # DataTree, netCDF and zarr read it as a path
            raise DataError(
                f"The name {name!r} holds a '/', which no variable of a result can. Rename the "
                "column."
            )
