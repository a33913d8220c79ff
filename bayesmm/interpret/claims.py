"""Reading hypotheses: from a text such as ``"b[Days] > 10"`` to a `Claim` about the posterior.

Nothing of a text is run: `_Reader` copies numbers, signs, known functions and known quantities,
refuses all else, and Python's `ast` sorts out which sign binds what. To add a function of one
argument, put it into `FUNCTIONS`; to add a comparison, into `RELATIONS` and into `hypothesis`.
"""

import ast
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from bayesmm.errors import BayesmmError, did_you_mean, listing

#: The functions that a hypothesis may call, each of one argument.
FUNCTIONS: dict[str, Callable] = {
    "abs": np.abs,
    "exp": np.exp,
    "expm1": np.expm1,
    "expit": special.expit,
    "log": np.log,
    "log1p": np.log1p,
    "logit": special.logit,
    "plogis": special.expit,
    "pnorm": special.ndtr,
    "qlogis": special.logit,
    "sqrt": np.sqrt,
}
#: The sign of left - right that a comparison claims; 0 for a point hypothesis.
RELATIONS = {"<": -1, "<=": -1, ">": 1, ">=": 1, "=": 0, "==": 0}
# Longer than anybody writes by hand, and far from the limits of Python's parser.
_LONGEST, _DEEPEST = 2_000, 50
_OPERATORS: dict[type, Callable] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.UAdd: np.positive,
    ast.USub: np.negative,
}
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORD = re.compile(r"[^\W\d][\w.:]*")
_COMPARISON = re.compile(r"[<>=!]+")

#: One number of the posterior: its variable, and its position in it after chain and draw.
Quantity = tuple[str, tuple[int, ...]]
Values = Mapping[Quantity, Any]


@dataclass(frozen=True)
class Claim:
    """A hypothesis that has been read.

    Attributes
    ----------
    name : str
        Its text, where the user gave it no other.
    sign : int
        As in `RELATIONS`.
    quantities : tuple of Quantity
        What it is about.
    left, right : callable
        The two sides, functions of values by quantity.
    """

    name: str
    sign: int
    quantities: tuple[Quantity, ...]
    left: Callable[[Values], Any]
    right: Callable[[Values], Any]

    def difference(self, values: Values) -> Any:
        """Return left - right, an array of the shape of the values, which may not be finite."""
        with np.errstate(all="ignore"):
            return np.subtract(self.left(values), self.right(values))


def read_claims(hypotheses: Any, names: Mapping[str, Sequence[Sequence[str]]]) -> list[Claim]:
    """Return what hypotheses claim.

    Parameters
    ----------
    hypotheses : str, sequence of str, or mapping of str to str
        Their texts, or their texts by name.
    names : mapping of str to sequences of str
        By variable of the posterior: the labels of each of its dimensions.

    Raises
    ------
    BayesmmError
        For one that is no text, cannot be read, is there twice, or names an unknown quantity.
    """
    return [_Reader(name, text, names).read() for name, text in _named(hypotheses).items()]


def _named(hypotheses: Any) -> dict[str, str]:
    """The texts by name, checked."""
    if isinstance(hypotheses, Mapping):
        pairs = list(hypotheses.items())
    else:
        texts = hypotheses if isinstance(hypotheses, list | tuple) else [hypotheses]
        pairs = [(text, text) for text in texts]
    for part in itertools.chain(*pairs):
        if not (isinstance(part, str) and part.strip()):
            raise BayesmmError(f"hypotheses has {part!r}. Write a text such as 'b[x] > 0'.")
    found = dict(pairs)
    if not found or len(found) < len(pairs):
        raise BayesmmError(f"hypotheses={hypotheses!r}: write at least one, and none twice.")
    return found


class _Reader:
    """Reads one hypothesis; `names` are as in `read_claims`."""

    def __init__(self, name: str, text: str, names: Mapping[str, Sequence[Sequence[str]]]):
        self.name = name
        self.text = text
        self.names = names
        self.longest_first = sorted(names, key=len, reverse=True)
        self.quantities: list[Quantity] = []

    def read(self) -> Claim:
        """Return the hypothesis, or refuse it."""
        if len(self.text) > _LONGEST:
            raise self.error(f"it has more than {_LONGEST:,} characters")
        sides, relations, at = [[]], [], 0
        while (at := self._after_spaces(at)) < len(self.text):
            if compares := _COMPARISON.match(self.text, at):
                relations.append(compares.group())
                sides.append([])
                at = compares.end()
                continue
            token, at = self._token(at)
            sides[-1].append(token)
        unknown = [r for r in relations if r not in RELATIONS]
        if unknown:
            more = ": the evidence against '=' is 1 / evidence_ratio" if unknown[0] == "!=" else ""
            raise self.error(f"{unknown[0]!r} is not one of {', '.join(RELATIONS)}{more}")
        if len(relations) != 1:
            have = "several comparisons" if relations else "no comparison"
            each = ", and each comparison as a hypothesis of its own" if relations else ""
            raise self.error(f"it has {have}. Write one, such as 'b[x] > 0' or 'b[x] = 0'{each}")
        left, right = (self._side(tokens) for tokens in sides)
        if not self.quantities:
            raise self.error(f"it names no quantity of the posterior, {listing(self.names, 40)}")
        quantities = tuple(dict.fromkeys(self.quantities))
        return Claim(self.name, RELATIONS[relations[0]], quantities, left, right)

    def error(self, problem: str) -> BayesmmError:
        """Return a refusal of this text."""
        return BayesmmError(f"The hypothesis {self.text[:200]!r} cannot be read: {problem}.")

    def _after_spaces(self, at: int) -> int:
        return len(self.text) - len(self.text[at:].lstrip())

    def _token(self, at: int) -> tuple[str, int]:
        """Return what stands at a position in Python's words, and where it ends."""
        for name in self.longest_first:
            end = at + len(name)
            if self.text.startswith(name, at) and not re.match(r"[\w.:]", self.text[end:]):
                index, end = self._element(name, end)
                self.quantities.append((name, index))
                return f"q{len(self.quantities) - 1}", end
        if number := _NUMBER.match(self.text, at):
            value = float(number.group())
            if not np.isfinite(value):
                raise self.error(f"{number.group()[:20]} is too large a number")
            return repr(value), number.end()
        if word := _WORD.match(self.text, at):
            if word.group() in FUNCTIONS:
                return word.group(), word.end()
            raise self.error(self._unknown(word.group()))
        if self.text.startswith("**", at):
            return "**", at + 2
        if self.text[at] in "+-*/()":
            return self.text[at], at + 1
        hint = " (write a power as a**b)" if self.text[at] == "^" else ""
        raise self.error(f"{self.text[at]!r} has no meaning here{hint}")

    def _unknown(self, word: str) -> str:
        if word.casefold() in ("nan", "inf", "infinity"):
            return f"{word!r} is no number to compare with"
        homes = [n for n, of in self.names.items() if of and word in of[-1]]
        hint = did_you_mean(word, [*self.names, *FUNCTIONS])
        if homes:
            hint = f" A label goes with its variable: {' or '.join(f'{n}[...]' for n in homes)}."
            if len(self.names[homes[0]]) == 1:
                hint = f" Did you mean {f'{homes[0]}[{word}]'!r}?"
        return (
            f"there is no quantity {word!r}.{hint} The quantities are {listing(self.names, 40)}, "
            f"and the functions {', '.join(FUNCTIONS)}"
        )

    def _element(self, name: str, at: int) -> tuple[tuple[int, ...], int]:
        """Return which element of a variable is meant by the labels at a position, if any."""
        dims = self.names[name]
        after = self._after_spaces(at)
        bracket = self.text.startswith("[", after)
        if not bracket and all(len(labels) == 1 for labels in dims):
            return (0,) * len(dims), at
        if bracket and not dims:
            raise self.error(f"{name!r} is one number, and has no labels")
        known = [", ".join(labels) for labels in itertools.product(*dims)]
        if not bracket:
            raise self.error(
                f"{name!r} has {len(known)} values. Write which one, as in "
                f"'{name}[{known[0]}]'; its labels are {listing(known)}"
            )
        found = list(self._labels(after + 1, dims))
        if not found:  # dimensions with one label can be left out
            several = [k for k, labels in enumerate(dims) if len(labels) > 1]
            for index, end in self._labels(after + 1, [dims[k] for k in several]):
                given = dict(zip(several, index, strict=True))
                found.append((tuple(given.get(k, 0) for k in range(len(dims))), end))
        # Labels may hold brackets and commas: the longest reading is the one with them.
        longest = [f for f in found if f[1] == max(end for _, end in found)]
        if len(longest) == 1:
            return longest[0]
        arrived = self._bracketed(after)
        if longest:
            raise self.error(f"{arrived!r} is more than one element of {name!r}")
        raise self.error(
            f"{name!r} has no label {arrived!r}.{did_you_mean(arrived, known)} Its labels are "
            f"{listing(known)}"
        )

    def _labels(
        self, at: int, dims: Sequence[Sequence[str]]
    ) -> Iterator[tuple[tuple[int, ...], int]]:
        """Every way to read labels of the dimensions at a position, and where each ends."""
        start = self._after_spaces(at)
        for i, label in enumerate(dims[0] if dims else ()):
            if not self.text.startswith(label.strip(), start):
                continue
            end = self._after_spaces(start + len(label.strip()))
            if len(dims) == 1 and self.text.startswith("]", end):
                yield (i,), end + 1
            elif len(dims) > 1 and self.text.startswith(",", end):
                yield from (((i, *rest), e) for rest, e in self._labels(end + 1, dims[1:]))

    def _bracketed(self, at: int) -> str:
        """What stands in the brackets that open at a position, for a message."""
        depth = 0
        for end in range(at, len(self.text)):
            depth += (self.text[end] == "[") - (self.text[end] == "]")
            if not depth:
                return self.text[at + 1 : end].strip()
        raise self.error(f"the bracket in {self.text[at:][:40]!r} is not closed")

    def _side(self, tokens: Sequence[str]) -> Callable[[Values], Any]:
        if not tokens:
            raise self.error("nothing stands on one side of the comparison")
        try:
            tree = ast.parse(" ".join(tokens), mode="eval")
        except (SyntaxError, RecursionError, MemoryError):
            raise self.error("a sign, a number or a parenthesis is missing or too many") from None
        return self._built(tree.body)

    def _built(self, node: ast.AST, depth: int = 0) -> Callable[[Values], Any]:
        """Return the function of values by quantity that a tree stands for; no other node passes.

        Numbers are NumPy's, of one size, so that no power takes long.
        """
        if depth > _DEEPEST:
            raise self.error("it is too deep: write it as several hypotheses")
        match node:
            case ast.Constant(value=float(value)):
                return lambda values: np.float64(value)
            case ast.Name(id=name) if name not in FUNCTIONS:
                quantity = self.quantities[int(name[1:])]
                return lambda values: values[quantity]
            case ast.UnaryOp(op=op, operand=inner) if type(op) in _OPERATORS:
                sign, operand = _OPERATORS[type(op)], self._built(inner, depth + 1)
                return lambda values: sign(operand(values))
            case ast.BinOp(op=op, left=a, right=b) if type(op) in _OPERATORS:
                operator = _OPERATORS[type(op)]
                left, right = self._built(a, depth + 1), self._built(b, depth + 1)
                return lambda values: operator(left(values), right(values))
            case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]) if name in FUNCTIONS:
                function, argument = FUNCTIONS[name], self._built(inner, depth + 1)
                return lambda values: function(argument(values))
        raise self.error("write '*' between factors, and a function with one argument: exp(b[x])")
