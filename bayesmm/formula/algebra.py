"""The algebra of formulas: from ``a*b + (1 | g)`` to a plain list of terms and group terms.

The operators mean what they mean in R: ``+`` and ``-`` add and remove terms, ``:`` is an
interaction, ``a*b`` is ``a + b + a:b``, ``a/b`` is ``a + a:b``, ``(a + b)**2`` has all interactions
of two. Terms are sets: ``a:b`` and ``b:a`` are one term, and a term given twice counts once. The
last word on the intercept holds (``1``, ``0``, ``-1``), and without one it is there.

The number of terms is bounded while they are made, so that ``(a + b + ...)**30`` is refused rather
than expanded. To add an operator, add its token to `_PRODUCTS` and a branch to `_Algebra._product`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import comb
from typing import Any

from formulae.expr import Assign, Binary, Call, Grouping, Literal, Unary, Variable

from bayesmm.formula.expression import Application, Expression
from bayesmm.formula.functions import CATEGORY_SPECIFIC, NOT_BUILT, Transform
from bayesmm.formula.parts import GroupTerm
from bayesmm.formula.safety import Builder, column_name, uses_own_function
from bayesmm.formula.text import Source, position, quote, read_tree, scan, shallow

MAX_TERMS = 2_000
# The coding of an interaction looks at every subset of its factors.
MAX_ORDER = 8

_PRODUCTS = ("COLON", "STAR", "SLASH", "STAR_STAR")
_BAR = "PIPE"


@dataclass(frozen=True)
class Term:
    """An interaction of one or more expressions."""

    parts: tuple[Expression, ...]

    @property
    def key(self) -> frozenset[str]:
        """What makes two terms the same."""
        return frozenset(part.text for part in self.parts)

    @property
    def text(self) -> str:
        """The canonical text."""
        return ":".join(part.text for part in self.parts)

    @property
    def label(self) -> str:
        """The text without backquotes."""
        return ":".join(part.label for part in self.parts)

    @property
    def is_offset(self) -> bool:
        """Whether this is ``offset(...)``, which has no coefficient."""
        first = self.parts[0]
        return isinstance(first, Application) and first.name == "offset"


@dataclass
class Sum:
    """What a piece of a formula adds up to; `intercept` is None where it is not mentioned.

    `specific` holds the terms within ``cs()``, whose effects differ between thresholds.
    """

    terms: dict[frozenset[str], Term] = field(default_factory=dict)
    intercept: bool | None = None
    groups: list[GroupTerm] = field(default_factory=list)
    specific: dict[frozenset[str], Term] = field(default_factory=dict)

    @property
    def category_specific(self) -> "Sum | None":
        """The terms within ``cs()`` as a predictor of their own."""
        return Sum(dict(self.specific)) if self.specific else None

    def add(self, terms: Iterable[Term]) -> None:
        """Add terms that are not there yet."""
        for term in terms:
            self.terms.setdefault(term.key, term)

    @property
    def text(self) -> str:
        """The canonical text of the population part, the intercept first."""
        first = "0" if self.intercept is False else "1"
        return " + ".join([first, *(term.text for term in self.terms.values())])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the population part, in order of first use."""
        parts = (part for term in self.terms.values() for part in term.parts)
        return tuple(dict.fromkeys(name for part in parts for name in part.columns))


def expand(source: Source, tree: Any, functions: Mapping[str, Transform] | None) -> Sum:
    """Return the terms and the group terms that the tree of a right-hand side stands for."""
    return _Algebra(source, functions).expand(tree)


def expand_text(text: str, functions: Mapping[str, Transform] | None) -> tuple[Source, Sum]:
    """Return the terms of a canonical text such as ``"1 + x"``, which has no group terms."""
    source = Source(text)
    with shallow(source):
        tree = read_tree(source, scan(source))
        if _is(tree, "TILDE"):
            raise source.error("'~' has no place here", tree.operator.start)
        total = expand(source, tree, functions)
    if total.groups:
        raise source.error("a group term has no place here")
    return source, total


def _is(node: Any, *kinds: str) -> bool:
    return isinstance(node, Binary) and node.operator.kind in kinds


class _Algebra:
    def __init__(self, source: Source, functions: Mapping[str, Transform] | None) -> None:
        self.source = source
        self.builder = Builder(source, functions)
        self._made = 0

    def expand(self, node: Any, near: int | None = None) -> Sum:
        """Expand a tree; `near` is the place to point at where the tree has none (a number)."""
        at = position(node)
        at = near if at is None else at
        if _is(node, "PLUS", "MINUS"):
            return self._sum(node)
        if _is(node, *_PRODUCTS):
            return self._product(node)
        match node:
            case Grouping(expression=inner):
                return self._group(inner) if _is(inner, _BAR) else self.expand(inner, near)
            case Literal(value=value):
                if type(value) is int and value in (0, 1):
                    return Sum(intercept=value == 1)
                raise self.source.error(
                    f"{value!r} is no term: only 1 (an intercept) and 0 (none) stand alone", at
                )
            case Call(callee=Variable(name=token)) if token.lexeme == CATEGORY_SPECIFIC:
                return self._specific(node, at)
            case Unary(operator=sign, right=right):
                inner = self.expand(right, sign.start)
                if sign.kind == "PLUS":
                    return inner
                if inner.intercept is None or inner.terms or inner.groups:
                    raise self.source.error(
                        "there is nothing here to remove a term from: only -1 may come first",
                        sign.start,
                    )
                return Sum(intercept=not inner.intercept)
            case Binary(operator=sign) if sign.kind == _BAR:
                raise self.source.error(
                    "a group term stands in parentheses: write (x | g)", sign.start
                )
            case Binary(operator=sign):
                raise self.source.error(
                    f"a comparison stands in I(): write I(a {sign.lexeme} b)", sign.start
                )
            case Assign():
                raise self.source.error(
                    "'=' only names an argument within a call; compare with '=='", at
                )
        part = self.builder.build(node)
        is_offset = isinstance(part, Application) and part.name == "offset"
        if not (part.columns or is_offset or uses_own_function(part)):
            raise self.source.error(f"{part.label!r} uses no column of the data", at)
        term = Term((part,))
        return Sum({term.key: term})

    def _specific(self, node: Any, at: int | None) -> Sum:
        """Read ``cs(terms)``."""
        if len(node.args) != 1 or isinstance(node.args[0], Assign):
            raise self.source.error("cs() takes terms of the formula: cs(x), cs(x * z)", at)
        inner = self.expand(node.args[0], at)
        if inner.groups or inner.specific or inner.intercept is not None or not inner.terms:
            raise self.source.error(
                "cs() takes predictors alone: the thresholds are its intercepts", at
            )
        if any(term.is_offset for term in inner.terms.values()):
            raise self.source.error("an offset has no effect to differ by category", at)
        return Sum(specific=dict(inner.terms))

    def _sum(self, node: Any) -> Sum:
        # A loop rather than a recursion: a long sum is a deep tree, leaning to the left.
        steps = []
        while _is(node, "PLUS", "MINUS"):
            steps.append((node.operator, node.right))
            node = node.left
        total = self.expand(node)
        for sign, right in reversed(steps):
            other = self.expand(right, sign.start)
            if sign.kind == "PLUS":
                total.add(other.terms.values())
                total.groups += other.groups
                total.specific |= other.specific
                self._bound(len(total.terms) + len(total.groups), sign)
            elif other.groups or other.specific:
                what = "a group term" if other.groups else "cs()"
                raise self.source.error(f"{what} cannot be removed: leave it out", sign.start)
            else:
                for key in other.terms:
                    total.terms.pop(key, None)
            if other.intercept is not None:
                total.intercept = other.intercept == (sign.kind == "PLUS")
        return total

    def _product(self, node: Any) -> Sum:
        sign = node.operator
        left = self._factor(node.left, sign)
        if sign.kind == "STAR_STAR":
            return self._power(left, node.right, sign)
        right = self._factor(node.right, sign)
        result = Sum()
        if sign.kind == "SLASH":
            # (a + b)/c is a + b + a:b:c, as in R.
            parents = [tuple(part for term in left for part in term.parts)]
        else:
            parents = [term.parts for term in left]
        self._spend(len(left) + len(right) + len(parents) * len(right), sign)
        if sign.kind in ("STAR", "SLASH"):
            result.add(left)
        if sign.kind == "STAR":
            result.add(right)
        result.add(self._interaction((*p, *r.parts), sign) for p in parents for r in right)
        return result

    def _factor(self, node: Any, sign: Any) -> list[Term]:
        """Return the terms of one side of a product."""
        side = self.expand(node, sign.start)
        at = sign.start
        if side.groups:
            raise self.source.error(
                "a group term cannot be part of a product: for a slope that varies write (x | g)",
                at,
            )
        if side.specific:
            raise self.source.error("cs() cannot be part of a product: write cs(x * z)", at)
        if side.intercept is not None:
            raise self.source.error(
                f"the intercept (1, 0 or -1) stands in a sum, not beside {sign.lexeme!r}",
                at,
            )
        if any(term.is_offset for term in side.terms.values()):
            raise self.source.error("an offset cannot be part of a product", at)
        return list(side.terms.values())

    def _power(self, terms: list[Term], exponent: Any, sign: Any) -> Sum:
        value = exponent.value if isinstance(exponent, Literal) else None
        if type(value) is not int or value < 1:
            raise self.source.error(
                "the exponent in a formula is a whole number from 1, as in (a + b)**2; "
                "for a power of numbers write I(x**y)",
                sign.start,
            )
        if len(terms) == 1 and value > 1:
            name = terms[0].label
            raise self.source.error(
                f"for the power of a column write I({name}**{value}) or poly({name}, {value}): "
                f"in a formula {name}**{value} would be {name} itself",
                sign.start,
            )
        orders = range(2, min(value, len(terms)) + 1)
        self._spend(len(terms) + sum(comb(len(terms), k) for k in orders), sign)
        result = Sum()
        result.add(terms)
        for k in orders:
            for chosen in combinations(terms, k):
                parts = tuple(part for term in chosen for part in term.parts)
                result.add([self._interaction(parts, sign)])
        return result

    def _interaction(self, parts: Iterable[Expression], sign: Any) -> Term:
        unique = {part.text: part for part in parts}  # a:a is a
        if len(unique) > MAX_ORDER:
            raise self.source.error(
                f"an interaction of more than {MAX_ORDER} variables is refused", sign.start
            )
        return Term(tuple(unique.values()))

    def _spend(self, count: int, sign: Any) -> None:
        """Bound the terms of one product, and of all products: many may come to the same terms."""
        self._made += count
        self._bound(max(count, self._made // 10), sign)

    def _bound(self, count: int, sign: Any) -> None:
        if count > MAX_TERMS:
            raise self.source.error(
                f"this stands for more than {MAX_TERMS:,} terms: choose those that matter",
                sign.start,
            )

    def _group(self, node: Any) -> Sum:
        """Read what stands in ``( | )``."""
        left, sign, right = node.left, node.operator, node.right
        if _is(left, _BAR):
            raise self.source.error(
                "(x | ID | g), which correlates several group terms, is not built: write (x | g)",
                left.operator.start,
            )
        effects = self.expand(left, sign.start)
        if effects.groups:
            raise self.source.error("a group term cannot stand within another", sign.start)
        if any(term.is_offset for term in effects.terms.values()):
            raise self.source.error("an offset cannot vary by group", sign.start)
        if effects.specific:
            raise self.source.error(
                "category-specific effects cannot vary by group: leave cs() out here", sign.start
            )
        if effects.intercept is False and not effects.terms:
            raise self.source.error(
                "this group term has no effects: write (1 | g) or (0 + x | g)", sign.start
            )
        groups = [
            GroupTerm(effects.text, factors, sign.lexeme == "|")
            for factors in self._factors(right, sign)
        ]
        return Sum(groups=groups)

    def _factors(self, node: Any, bar: Any) -> list[tuple[str, ...]]:
        """Return the groups that the right of a bar stands for: a/b is a, and a:b."""
        if _is(node, "COLON", "SLASH"):
            left = self._factors(node.left, bar)
            right = self._factors(node.right, bar)
            nested = _is(node, "SLASH")
            if not nested and len(left) + len(right) > 2:
                raise self.source.error(
                    "a nested group within ':' is ambiguous: write the groups one by one, as in "
                    "(1 | a) + (1 | a:b)",
                    node.operator.start,
                )
            groups = [*left, *((*left[-1], *r) for r in right)] if nested else [left[0] + right[0]]
            if any(len(set(group)) < len(group) for group in groups):
                raise self.source.error(
                    "a grouping factor stands in a group twice", node.operator.start
                )
            return groups
        if _is(node, "PLUS"):
            raise self.source.error(
                "groups are given one by one: write (1 | a) + (1 | b)", node.operator.start
            )
        if _is(node, "STAR"):
            raise self.source.error(
                "groups are given one by one: write (1 | a) + (1 | b) + (1 | a:b)",
                node.operator.start,
            )
        match node:
            case Grouping(expression=inner):
                return self._factors(inner, bar)
            case Variable(name=token, level=None):
                return [(column_name(self.source, token),)]
        at = position(node)
        name = getattr(getattr(getattr(node, "callee", None), "name", None), "lexeme", "")
        if name in NOT_BUILT:
            raise self.source.error(f"{name}() is not built: {NOT_BUILT[name]}", at)
        raise self.source.error(
            "the right of the bar names grouping columns: (1 | g), (1 | a:b), (1 | a/b); "
            "a group that must be computed is made a column of the data first",
            bar.start if at is None else at,
        )


def group_text(group: GroupTerm) -> str:
    """Return the canonical text of a group term."""
    bar = "|" if group.correlated else "||"
    return f"({group.effects} {bar} {':'.join(quote(f) for f in group.factors)})"
