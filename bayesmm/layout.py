"""The names of a design: which linear predictors there are, and what their columns are called.

A formula says what the user wants, a family which parameters may have a formula, and the data which
columns a term has. `expand_predictors` lists one predictor for each linear predictor (one for each
category of a nominal response), and `predictor_layout` names what is in it; `design` has the
arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bayesmm.errors import FamilyError, FormulaError, did_you_mean, listing
from bayesmm.families import FAMILIES, Family
from bayesmm.formula import CATEGORY_SPECIFIC, Columns, Formula, Predictor


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
    """The names that go with a `PredictorDesign`.

    Attributes
    ----------
    parameter : str
        The parameter that it is the linear predictor of.
    coefs, terms : tuple of str
        One label a column, and the term that each column belongs to.
    groups : tuple of GroupLayout
        Its groups.
    intercept_in : str
        The variable that holds its intercept (``"cutpoints"``), where it has none of its own.
    elements : tuple of str
        For the predictor of a vector, the labels of the elements: each has its own coefficients.
    """

    parameter: str
    coefs: tuple[str, ...]
    terms: tuple[str, ...]
    groups: tuple[GroupLayout, ...]
    intercept_in: str = ""
    elements: tuple[str, ...] = ()

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


def expand_predictors(formula: Formula, family: Family) -> tuple[Predictor, ...]:
    """Return one predictor for each linear predictor of the family that has a formula.

    The main formula is that of every category which has none of its own.

    Raises
    ------
    FamilyError
        For a formula of a parameter that the family does not have, or that takes none; the message
        lists those that it has.
    FormulaError
        For an intercept left out where it is not there to be, and for groups or an offset of a
        vector.
    """
    main, *others = formula.predictors
    check_parameters(formula, family)
    own = {predictor.parameter for predictor in others}
    names = family.predictors_of(family.parameters[0])
    expanded = [replace(main, parameter=name) for name in names if name not in own]
    for predictor in (main, *others):
        parameter = family.parameter(predictor.parameter)
        without = predictor.common.split(" + ")[0] == "0"
        if without and not parameter.intercept:
            holder = family.intercept_holder if predictor is main else None
            holds = f"the {holder.name} hold it" if holder else f"{parameter.name} has none"
            raise FormulaError(
                f"The formula of {predictor.parameter!r} leaves the intercept out, and {holds}: "
                "write it without 0 or -1."
            )
        if parameter.labels and predictor.groups:
            raise FormulaError(
                f"{predictor.parameter!r} has one value for each threshold, and no group terms: "
                "put them into the first formula."
            )
    return (*expanded, *others)


def check_parameters(formula: Formula, family: Family, *, categories: bool = True) -> None:
    """Refuse a formula of a parameter that the family does not have, or that takes none.

    Parameters
    ----------
    formula : Formula
        With a predictor for each formula.
    family : Family
        The response distribution.
    categories : bool
        Whether the categories of the response are known already; if not, the names of parameters
        of one category are not looked at.

    Raises
    ------
    FamilyError
        Lists the parameters that it has.
    """
    names = {name: p for p in family.parameters for name in family.predictors_of(p)}
    known = [name for name, p in names.items() if p.links]
    main = family.parameters[0]
    for predictor in formula.predictors[1:]:
        name = predictor.parameter
        if name in known and dict(family.fixed).get(name) != names[name].fixed:
            raise FamilyError(
                f"There is a formula for {name!r}, which the family holds at "
                f"{dict(family.fixed)[name]:g}. Leave one of them out."
            )
        if name in known or (not categories and name.startswith(f"{main.name}_")):
            continue
        if name in names:
            held = dict(family.fixed).get(name)
            why = (
                f"is a constant ({held:g}): give it as bm.families.{family.name}({name}=...)"
                if held is not None
                else "is estimated as it is, and takes no formula"
            )
            raise FamilyError(f"There is a formula for {name!r}, which {why}.")
        able = [f.name for f in FAMILIES.values() if name in f.parameter_names]
        others = f" Families that have it are {listing(able, 20)}." if able else ""
        if name == CATEGORY_SPECIFIC:
            raise FamilyError(
                f"cs() gives every threshold an effect of its own, and family={family.name!r} "
                f"takes none.{others}"
            )
        raise FamilyError(
            f"There is a formula for {name!r}, which family={family.name!r} does not have."
            f"{did_you_mean(name, known)} Its parameters are {listing(known)}.{others}"
        )


def predictor_layout(
    predictor: Predictor, evaluated: Mapping[str, Columns], family: Family
) -> PredictorLayout:
    """Return the names that go with a predictor.

    Parameters
    ----------
    predictor : Predictor
        Population part and group terms.
    evaluated : mapping of str to Columns
        What each of its texts makes of the data.
    family : Family
        Whose parameter it is of.

    Raises
    ------
    FormulaError
        If a group has an effect twice, or a vector an offset.
    """
    groups: dict[str, list[tuple[Columns, bool]]] = {}
    for term in predictor.groups:
        groups.setdefault(term.name, []).append((evaluated[term.effects], term.correlated))
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
    common, parameter = evaluated[predictor.common], family.parameter(predictor.parameter)
    first = 0 if parameter.intercept else 1
    holder = family.intercept_holder
    if holder and parameter is not family.parameters[0] and parameter.labels is not holder.labels:
        holder = None
    if parameter.labels and common.offset is not None:
        raise FormulaError(f"{parameter.name!r} has one value for each threshold, and no offset.")
    return PredictorLayout(
        predictor.parameter,
        common.labels[first:],
        common.terms[first:],
        tuple(layouts),
        holder.name if holder else "",
        family.labels(parameter),
    )
