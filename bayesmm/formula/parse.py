"""`parse`: the formula, or the formulas, of a model.

The first formula has the response on its left and the predictor of ``mu`` on its right; each other
has a distributional parameter on its left. This module reads the left-hand sides and puts the
pieces together; the right-hand sides are read by `algebra`.

To add a function of the response such as ``truncated(y, lower, upper)``, list it in `ADDITIONS` of
`functions`; `bayesmm.response` says what it means.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from formulae.expr import Assign, Binary, Call, Grouping, Literal, Variable

from bayesmm.errors import FormulaError
from bayesmm.formula.algebra import Sum, expand, expand_text, group_text
from bayesmm.formula.expression import Application, Expression
from bayesmm.formula.functions import (
    ADDITIONS,
    CATEGORY_SPECIFIC,
    Addition,
    Transform,
    check_functions,
)
from bayesmm.formula.parts import GroupTerm, Predictor, Response
from bayesmm.formula.safety import Builder, column_name, plain_name
from bayesmm.formula.text import (
    MAX_LENGTH,
    Source,
    Token,
    position,
    read_tree,
    scan,
    shallow,
    split_sides,
)

_EXAMPLE = "write one such as 'y ~ x + (1 | g)'"


@dataclass(frozen=True)
class Formula:
    """The formula of a model; `parse` makes it, and ``parse(formula.texts) == formula``.

    Parameters
    ----------
    response : Response or None
        The left-hand side; None only where `parse` was told that none is required.
    predictors : tuple of Predictor
        That of ``mu`` first.
    """

    response: Response | None
    predictors: tuple[Predictor, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The canonical text of each predictor's formula."""
        lefts = [_response_text(self.response), *(p.parameter for p in self.predictors[1:])]
        return tuple(
            f"{left} ~ {_predictor_text(predictor)}".lstrip()
            for left, predictor in zip(lefts, self.predictors, strict=True)
        )

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """The columns used: those of the response first, then those of each predictor."""
        names = list(response_columns(self.response)) if self.response else []
        for predictor in self.predictors:
            names += predictor_columns(predictor)
        return tuple(dict.fromkeys(names))

    def __str__(self) -> str:
        return "\n".join(self.texts)


def columns_of(text: str) -> tuple[str, ...]:
    """Return the columns that the canonical text of a population part, or of effects, uses."""
    return expand_text(text, None)[1].columns


def response_columns(response: Response) -> tuple[str, ...]:
    """Return the columns that a response and its additions use."""
    texts = [response.expression, *addition_texts(response)]
    return tuple(name for text in texts for name in columns_of_expression(text))


def columns_of_expression(text: str) -> tuple[str, ...]:
    """Return the columns that the canonical text of a response, or of an argument of it, uses."""
    return expression_of(text, None).columns


def addition_texts(response: Response) -> list[str]:
    """Return the texts of the arguments of a response's additions that name data."""
    return [
        text
        for name, arguments in response.additions
        for argument, text in arguments
        if argument not in ADDITIONS[name].flags
    ]


def optional_columns(response: Response) -> set[str]:
    """Return the columns that only rows of an interval need: those of t2 in censored(t, s, t2)."""
    ends = [
        text
        for name, arguments in response.additions
        for argument, text in arguments
        if (name, argument) == ("censored", "upper")
    ]
    columns = {column for text in ends for column in columns_of_expression(text)}
    others = [text for text in (response.expression, *addition_texts(response)) if text not in ends]
    return columns.difference(*(columns_of_expression(text) for text in others))


def predictor_columns(
    predictor: Predictor, without_labels: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the columns that a predictor uses, those of its population part first.

    Parameters
    ----------
    predictor : Predictor
        Population part and group terms.
    without_labels : collection of str
        Groups whose grouping columns are left out.
    """
    names = list(columns_of(predictor.common))
    for group in predictor.groups:
        factors = () if group.name in without_labels else group.factors
        names += [*columns_of(group.effects), *factors]
    return tuple(dict.fromkeys(names))


def expression_of(text: str, functions: Mapping[str, Transform] | None) -> Expression:
    """Read the canonical text of a response, or of an argument of one of its functions."""
    source = Source(text)
    with shallow(source):
        return _part_of_response(source, read_tree(source, scan(source)), functions, computed=True)


def parse(
    formula: str | Sequence[str],
    functions: Mapping[str, Callable] | None = None,
    *,
    response_required: bool = True,
) -> Formula:
    """Read a formula, and check that it is safe to evaluate.

    Parameters
    ----------
    formula : str or sequence of str
        ``"y ~ x + (1 | g)"``; in a sequence, the formulas after the first are those of further
        distributional parameters, such as ``"sigma ~ x"``.
    functions : mapping of str to callable, optional
        Functions of the caller's that the formula may call.
    response_required : bool
        Whether a formula without a response, ``"~ x"``, is refused.

    Returns
    -------
    Formula

    Raises
    ------
    FormulaError
        Where the text cannot be read to its end, or says something that is not allowed or not
        built; the message points at the place.
    """
    texts = _texts(formula)
    table = check_functions(functions)
    response, specific, predictors = None, None, []
    for i, text in enumerate(texts):
        source = Source(text)
        with shallow(source):
            left, right = split_sides(source, scan(source))
            if left is None:
                raise source.error(
                    "this is a formula with no response, as there is no '~': " + _EXAMPLE
                )
            if i == 0:
                response = _response(source, left, response_required, table)
                parameter = "mu"
            else:
                parameter = _parameter(source, left, [p.parameter for p in predictors])
            total = expand(source, read_tree(source, right), table)
            predictors.append(_predictor(source, parameter, total))
            if total.category_specific:
                if i > 0:
                    raise source.error("cs() stands in the first formula, that of the response")
                specific = _predictor(source, CATEGORY_SPECIFIC, total.category_specific)
    if specific:
        if any(p.parameter == specific.parameter for p in predictors):
            raise FormulaError("Category-specific effects are given as cs(x) or as 'cs ~ x'.")
        predictors.append(specific)
    return Formula(response, tuple(predictors))


def _texts(formula: Any) -> list[str]:
    texts = [formula] if isinstance(formula, str) else formula
    if isinstance(texts, (bytes, bytearray)) or not isinstance(texts, Sequence):
        raise FormulaError(
            f"formula must be a string or a sequence of strings, and is of type "
            f"{type(formula).__name__}: {_EXAMPLE}"
        )
    if not texts:
        raise FormulaError(f"formula is an empty {type(formula).__name__}: {_EXAMPLE}")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise FormulaError(
                f"formula[{i}] must be a string, and is of type {type(text).__name__}: {_EXAMPLE}"
            )
    return list(texts)


def _predictor(source: Source, parameter: str, total: Sum) -> Predictor:
    predictor = Predictor(parameter, total.text, tuple(total.groups))
    seen: set[tuple[str, frozenset[str]]] = set()
    for group in predictor.groups:
        key = (group.effects, frozenset(group.factors))
        if key in seen:
            raise source.error(
                f"the group term {group_text(group)} is given twice: leave one out, since the data "
                "could not tell their variances apart"
            )
        seen.add(key)
    if len(_predictor_text(predictor)) > MAX_LENGTH // 2:
        raise source.error("the formula stands for too many terms: choose those that matter")
    return predictor


def _parameter(source: Source, tokens: list[Token], taken: list[str]) -> str:
    """Read the left side of a further formula."""
    if not tokens or tokens[0].kind != "IDENTIFIER" or len(tokens) > 1:
        raise source.error(
            "the left of a further formula is the name of one parameter: 'sigma ~ x'",
            tokens[0].start if tokens else 0,
        )
    name = column_name(source, tokens[0])
    if name in taken:
        first = " (the first formula is that of 'mu')" if name == taken[0] else ""
        raise source.error(f"the parameter {name!r} has a formula already{first}", tokens[0].start)
    return name


def _response(
    source: Source, tokens: list[Token], required: bool, functions: Mapping[str, Transform]
) -> Response | None:
    if not tokens:
        if required:
            raise source.error("this is a formula with no response: write y ~ ...", 0)
        return None
    node = read_tree(source, tokens)
    if isinstance(node, Binary) and node.operator.kind == "PIPE":
        raise source.error(
            "what is said of the response stands around it: prop(y, n) for y | trials(n), "
            "censored(y, status), truncated(y, lower, upper), weighted(y, w), se(y, s), "
            "thresholds(y, item)",
            node.operator.start,
        )
    additions: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    while isinstance(node, (Call, Grouping)):
        if isinstance(node, Grouping):
            node = node.expression
            continue
        name = node.callee.name.lexeme if isinstance(node.callee, Variable) else ""
        if name not in ADDITIONS:
            break
        additions.insert(0, _addition(source, ADDITIONS[name], node, functions))
        node = node.args[0]
    level = None
    if isinstance(node, Variable) and node.level is not None:
        # y[yes] and y[`a b`] arrive as names, y["yes"] as a string with its lexeme.
        level = node.level.value
        if not node.level.lexeme:
            level = plain_name(source, level, position(node))
        node = Variable(node.name)
    expression = _part_of_response(source, node, functions)
    if not expression.columns:
        raise source.error("the response uses no column of the data", position(node))
    names = [name for name, _ in additions]
    for name in names:
        if names.count(name) > 1:
            raise source.error(f"{name}() stands around the response twice", 0)
    if level is not None and {"prop", "c"}.intersection(names):
        raise source.error("prop() and c() take columns, not a level of one", position(node))
    label = expression.label
    if "c" in names:
        name, further = additions[0]
        if name != "c":
            raise source.error("c() stands innermost: weighted(c(y1, y2), w)", 0)
        others = [expression_of(text, functions).label for _, text in further]
        label = f"c({', '.join([label, *others])})"
    return Response(expression.text, label, level, tuple(additions))


def _addition(
    source: Source, addition: Addition, node: Call, functions: Mapping[str, Transform]
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Read the arguments that follow the response, each with its name."""
    at = position(node)
    usage = source.error(f"{addition.name}() is written {addition.usage}", at)
    first, *rest = node.args or [None]
    if first is None or isinstance(first, Assign):
        raise usage
    if addition.columns:
        if not rest or any(isinstance(a, Assign) for a in rest):
            raise usage
        texts = [_part_of_response(source, argument, functions).text for argument in rest]
        return addition.name, tuple(("column", text) for text in texts)
    found: dict[str, str] = {}
    for i, argument in enumerate(rest):
        if isinstance(argument, Assign):
            key, argument = argument.name.name.lexeme, argument.value
        elif i < len(addition.arguments) and len(found) == i:
            key = addition.arguments[i]
        else:
            raise usage
        if key not in addition.arguments or key in found:
            raise usage
        if key in addition.flags:
            if not (isinstance(argument, Literal) and isinstance(argument.value, bool)):
                raise source.error(f"{addition.name}(): {key} is True or False", at)
            found[key] = str(argument.value)
        else:
            found[key] = _part_of_response(source, argument, functions, computed=True).text
    if len(found) < addition.required:
        raise usage
    ordered = tuple((key, found[key]) for key in addition.arguments if key in found)
    return addition.name, ordered


def _part_of_response(
    source: Source,
    node: Any,
    functions: Mapping[str, Transform] | None,
    *,
    computed: bool = False,
) -> Expression:
    """Read one expression on the left: a column, a number, a call; `computed`, also arithmetic."""
    at = position(node)
    if isinstance(node, Literal) and (
        isinstance(node.value, bool) or not isinstance(node.value, (int, float))
    ):
        raise source.error(f"{node.value!r} is neither a column nor a number")
    if not (computed or isinstance(node, (Literal, Variable, Call))):
        raise source.error(
            "the left of '~' is a column or a call: for successes out of trials write prop(y, n), "
            "for a computed response I(y + 1)",
            at,
        )
    expression = Builder(source, functions).build(node)
    if isinstance(expression, Application) and expression.name == "offset":
        raise source.error("offset() stands on the right of '~'", at)
    return expression


def _response_text(response: Response | None) -> str:
    if response is None:
        return ""
    text = response.expression
    if response.level is not None:
        mark = next(m for m in "\"'`" if m not in response.level)
        text += f"[{mark}{response.level}{mark}]"
    for name, arguments in response.additions:
        places = ADDITIONS[name].arguments or ("column",) * len(arguments)
        written = [
            value if place == key and key not in ADDITIONS[name].flags else f"{key}={value}"
            for (key, value), place in zip(arguments, places, strict=False)
        ]
        text = f"{name}({', '.join((text, *written))})"
    return text


def _predictor_text(predictor: Predictor) -> str:
    groups: list[GroupTerm] = list(predictor.groups)
    return " + ".join([predictor.common, *(group_text(group) for group in groups)])
