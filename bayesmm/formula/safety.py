"""The safety walk: from formulae's syntax tree to an `Expression`, or a refusal.

Nothing is evaluated here. What `Builder.build` does not know it refuses, so a formula from an
untrusted form can name columns and call the functions of the table, and no more.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from formulae.expr import Assign, Binary, Call, Grouping, Literal, Unary, Variable

from bayesmm.errors import FormulaError, did_you_mean, listing
from bayesmm.formula.expression import (
    Application,
    Column,
    Constant,
    Expression,
    Operation,
    Parenthesis,
)
from bayesmm.formula.functions import (
    ADDITIONS,
    CATEGORY_SPECIFIC,
    CONTRASTS,
    ELEMENTWISE,
    HINTS,
    NOT_BUILT,
    TRANSFORMS,
    Transform,
)
from bayesmm.formula.text import MAX_DEPTH, Source, position, unquote

# Options that set the number of columns of a basis, and the most that each may ask for.
_SIZES = {"df": 1_000, "degree": 1_000, "max_knots": 2_000}
_LARGEST = 2**53  # a larger whole number is not exact as a float
# Deep enough for any sum written by hand, and far from Python's own limit.
_MAX_CHAIN = 10 * MAX_DEPTH
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_OPERATORS = ("+", "-", "*", "/", "**", *_COMPARISONS)


def column_name(source: Source, token: Any) -> str:
    """Return the column that a name token stands for."""
    return plain_name(source, token.lexeme, getattr(token, "start", None))


def plain_name(source: Source, lexeme: str, at: int | None) -> str:
    """Return a name without its backquotes, and refuse those that Python gives a meaning."""
    name = unquote(lexeme)
    if any(piece.startswith("__") for piece in name.split(".")):
        raise source.error(
            f"the name {name!r} is not allowed, since names with leading double underscores belong "
            "to Python: rename it in the data",
            at,
        )
    return name


class Builder:
    """Builds expressions of one formula.

    Parameters
    ----------
    source : Source
        The formula, for messages.
    functions : mapping of str to Transform, or None
        The caller's functions. None accepts any function name, for reading which columns a
        checked formula uses; what is built then cannot be evaluated.
    """

    def __init__(self, source: Source, functions: Mapping[str, Transform] | None) -> None:
        self.source = source
        self.functions = functions

    def build(self, node: Any, depth: int = 0) -> Expression:
        """Return the expression of a tree, or refuse it with a `FormulaError`."""
        at = position(node)
        if depth > _MAX_CHAIN:
            raise self.source.error("the expression is too long: make a column of it", at)
        match node:
            case Variable(name=token, level=level):
                if level is not None:
                    raise self.source.error(
                        f"a level in brackets can only follow the response: compare with '==', "
                        f"as in I({token.lexeme} == {level.value!r})",
                        at,
                    )
                return Column(column_name(self.source, token))
            case Literal(value=value, lexeme=lexeme):
                return self._constant(value, lexeme)
            case Grouping(expression=inner):
                return Parenthesis(self.build(inner, depth + 1))
            case Unary(operator=sign, right=right):
                return Operation(sign.lexeme, (self._operand(right, sign, depth),))
            case Binary(operator=sign) if sign.lexeme in _OPERATORS:
                return self._operation(node, depth)
            case Call():
                return self._call(node, depth)
            case Assign():
                raise self.source.error("'=' only names an argument of a call", at)
            case Binary(operator=sign):
                raise self.source.error(
                    f"{sign.lexeme!r} has no meaning within an expression", sign.start
                )
        raise self.source.error("this expression cannot be read", at)

    def _constant(self, value: Any, lexeme: str | None) -> Constant:
        if isinstance(value, str):
            return Constant(value, lexeme or repr(value))
        if value is None or isinstance(value, bool):
            return Constant(value, str(value))
        if not abs(value) <= _LARGEST:
            raise self.source.error("a number in the formula is too large: rescale the column")
        if isinstance(value, int):
            return Constant(value, str(value))
        # repr() may give 1e-05, which the scanner does not read.
        return Constant(value, np.format_float_positional(value, trim="0"))

    def _operand(self, node: Any, sign: Any, depth: int) -> Expression:
        if isinstance(node, Literal) and type(node.value) not in (int, float):
            if not (sign.lexeme in ("==", "!=") and isinstance(node.value, str)):
                raise self.source.error(
                    f"{sign.lexeme!r} works on numbers, and {node.value!r} is none", sign.start
                )
        return self.build(node, depth + 1)

    def _operation(self, node: Binary, depth: int) -> Expression:
        sign, left, right = node.operator, node.left, node.right
        inner = left.operator.lexeme if isinstance(left, (Binary, Unary)) else ""
        # formulae reads these two otherwise than Python and R do, so neither reading is safe.
        if sign.lexeme == "**" and isinstance(left, Unary):
            raise self.source.error(
                f"'{inner}a**b' is ambiguous: write ({inner}a)**b or {inner}(a**b)",
                left.operator.start,
            )
        if sign.lexeme == "**" and inner == "**":
            raise self.source.error(
                "'a**b**c' is ambiguous: write (a**b)**c or a**(b**c)", sign.start
            )
        if sign.lexeme in _COMPARISONS and inner in _COMPARISONS:
            raise self.source.error(
                "a chain of comparisons is ambiguous: write logical_and(a < b, b < c)", sign.start
            )
        operands = (self._operand(left, sign, depth), self._operand(right, sign, depth))
        if sign.lexeme == "**" and not any(o.columns or uses_own_function(o) for o in operands):
            raise self.source.error("a power of constants: write the number itself", sign.start)
        return Operation(sign.lexeme, operands)

    def _call(self, node: Call, depth: int) -> Expression:
        at = position(node)
        callee = node.callee
        if not isinstance(callee, Variable) or callee.level is not None:
            raise self.source.error("only a function's name can be called", at)
        name = callee.name.lexeme
        transform = self._lookup(name, at)
        if name == "offset" and depth:
            raise self.source.error(
                "offset() is a term of its own, and cannot stand in another", at
            )
        positional: list[Expression] = []
        named: dict[str, Expression] = {}
        for i, argument in enumerate(node.args):
            key = None
            if isinstance(argument, Assign):
                key = self._argument_name(argument, named)
                argument = argument.value
            elif named:
                raise self.source.error(
                    f"{name}() has an argument without a name after one with a name",
                    position(argument),
                )
            if name == "C" and (key == "contrast" or (key is None and i == 1)):
                value = self._contrast(argument)
            else:
                value = self.build(argument, depth + 1)
            if key is None:
                positional.append(value)
            else:
                named[key] = value
        self._check_arguments(name, transform, positional, named, at)
        return Application(name, transform, tuple(positional), tuple(named.items()))

    def _argument_name(self, node: Assign, named: Mapping[str, Expression]) -> str:
        token = node.name.name
        key = token.lexeme
        if node.name.level is not None or not key.isidentifier() or key.startswith("_"):
            raise self.source.error(f"{key!r} cannot name an argument", position(node))
        if key in named:
            raise self.source.error(f"the argument {key!r} is given twice", position(node))
        return key

    def _lookup(self, name: str, at: int | None) -> Transform:
        if name in NOT_BUILT:
            raise self.source.error(f"{name}() is not built: {NOT_BUILT[name]}", at)
        if name in ADDITIONS:
            raise self.source.error(
                f"{name}() describes the response, and stands on the left of '~'", at
            )
        if name == CATEGORY_SPECIFIC:
            raise self.source.error(
                "cs() stands around a whole term of the first formula: rating ~ x + cs(z)", at
            )
        if name in CONTRASTS:
            raise self.source.error(
                f"{name} is a contrast, and stands as the second argument of C: C(f, {name})", at
            )
        if name in TRANSFORMS:
            return TRANSFORMS[name]
        module, _, function = name.rpartition(".")
        if module in ("np", "numpy") and function in ELEMENTWISE:
            return ELEMENTWISE[function]
        if self.functions is None:
            return Transform(_unavailable, numeric=False)
        if name in self.functions:
            return self.functions[name]
        if module and name not in HINTS:
            raise self.source.error(
                f"{name!r} cannot be called: a formula calls functions by their bare names, and "
                "reaches into no module or object (except np.log and the like). Pass a function of "
                f"yours as functions={{'{function}': ...}}",
                at,
            )
        if name in HINTS:
            raise self.source.error(
                f"there is no function {name!r} for formulas. Write {HINTS[name]}", at
            )
        known = sorted({*TRANSFORMS, *self.functions})
        hint = did_you_mean(name, known)
        raise self.source.error(
            f"there is no function {name!r} for formulas.{hint} A function of yours is passed as "
            f"functions={{'{name}': {name}}}, and the others are {listing(known, 99)}",
            at,
        )

    def _contrast(self, node: Any) -> Constant:
        """Read Sum, Treatment, Sum("a") or Treatment("a") (or None, the default)."""
        arguments: tuple[Any, ...] = ()
        named: dict[str, Any] = {}
        if isinstance(node, Literal) and node.value is None:
            return Constant(None, "None")
        written = ""
        if isinstance(node, Call):
            constants = []
            for argument in node.args:
                key = ""
                if isinstance(argument, Assign):
                    key, argument = self._argument_name(argument, named), argument.value
                if not isinstance(argument, Literal):
                    raise self.source.error(
                        "the level that a contrast takes is written in quotes, as in "
                        'Treatment("b")',
                        position(argument),
                    )
                constants.append((key, self._constant(argument.value, argument.lexeme)))
            arguments = tuple(c.constant for key, c in constants if not key)
            named = {key: c.constant for key, c in constants if key}
            parts = [f"{key}={c.written}" if key else c.written for key, c in constants]
            written = f"({', '.join(parts)})"
            node = node.callee
        name = node.name.lexeme if isinstance(node, Variable) else ""
        if name not in CONTRASTS:
            raise self.source.error(
                'the contrasts of C() are Sum and Treatment: C(f, Sum), C(f, Treatment("b"))',
                position(node),
            )
        try:
            return Constant(CONTRASTS[name](*arguments, **named), name + written)
        except TypeError:
            raise self.source.error(
                f'{name}() takes one level: {name}("b")', position(node)
            ) from None

    def _check_arguments(
        self,
        name: str,
        transform: Transform,
        positional: list[Expression],
        named: dict[str, Expression],
        at: int | None,
    ) -> None:
        if transform.signature is None:
            return
        try:
            bound = transform.signature.bind(*positional, **named).arguments
        except TypeError as error:
            raise self.source.error(
                f"{name}(): {error}; it is called as {name}{_shown(transform.signature)}", at
            ) from None
        for option, most in _SIZES.items():
            given = bound.get(option)
            if given is None or uses_own_function(given):
                continue
            value = given.constant if isinstance(given, Constant) else given
            whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
            if not (whole or value is None):
                raise self.source.error(
                    f"{name}() takes a whole number of at most {most:,} for {option}, "
                    f"and got {given.label}",
                    at,
                )


def _unavailable(*_: Any, **__: Any) -> Any:
    raise FormulaError("a formula that was only read for its columns cannot be evaluated")


def _shown(signature: inspect.Signature) -> str:
    """Return the signature as a user writes it, without Python's mark for positional arguments."""
    parameters: list[str] = []
    for p in signature.parameters.values():
        default = "" if p.default is p.empty else f"={p.default}"
        parameters.append(p.name + default)
    return f"({', '.join(parameters)})"


def uses_own_function(expression: Expression) -> bool:
    """Whether a caller's function is called somewhere: it may make columns of nothing."""
    match expression:
        case Application(transform=transform, arguments=arguments, named=named):
            inner = (*arguments, *(a for _, a in named))
            return transform.signature is None or any(uses_own_function(a) for a in inner)
        case Operation(operands=operands):
            return any(uses_own_function(o) for o in operands)
        case Parenthesis(inner=inner):
            return uses_own_function(inner)
    return False
