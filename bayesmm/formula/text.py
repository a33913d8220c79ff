"""From the text of a formula to formulae's syntax tree, with every problem pointed at.

formulae scans and parses; this module adds what a user needs when the text is wrong: the place of
every token, brackets that are checked before parsing, quotes that end, and the certainty that the
whole text was read (formulae's parser stops without a word at the first token that it cannot use,
and would fit a smaller model).

To explain another character that users type from habit, add it to `_HINTS`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from formulae.expr import Assign, Binary, Call, Grouping, Unary, Variable
from formulae.parser import ParseError, Parser
from formulae.scanner import ScanError, Scanner

from bayesmm.errors import FormulaError

# Bounds that no formula written by hand comes near. They keep a hostile one from eating the machine
# (the parser takes a dozen Python frames for every bracket).
MAX_LENGTH = 100_000
MAX_DEPTH = 30

_HINTS = {
    "^": "write ** for powers: (a + b)**2, I(x**2)",
    "%": "'%' and '%in%' are not built: write a:b for b within a, or a/b",
    "_": "a name that starts with an underscore goes in backquotes: `_x`",
    "&": "write logical_and(a, b)",
    "$": "write the column's name alone, or in backquotes when it holds such a character",
    "@": "write the column's name alone, or in backquotes when it holds such a character",
}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_WINDOW = 90


@dataclass(frozen=True)
class Source:
    """The text of one formula, and how to complain about it."""

    text: str

    def error(self, message: str, at: int | None = None) -> FormulaError:
        """Return an error that shows the text, with a caret below position `at`."""
        line = "".join(" " if c.isspace() else c for c in self.text)
        offset = 0
        if len(line) > _WINDOW:
            offset = min(max((at or 0) - _WINDOW // 2, 0), len(line) - _WINDOW)
            head, tail = ("..." if offset else ""), "..." * (offset + _WINDOW < len(line))
            line = head + line[offset : offset + _WINDOW] + tail
            offset -= len(head)
        shown = f"{message}\n    {line}"
        return FormulaError(shown if at is None else f"{shown}\n    {' ' * (at - offset)}^")


@dataclass(frozen=True)
class Token:
    """A token as formulae's parser wants it, which also knows where it starts."""

    kind: str
    lexeme: str
    literal: Any = None
    start: int | None = None


@contextmanager
def shallow(source: Source) -> Iterator[None]:
    """Turn Python's recursion limit into a refusal of the formula."""
    try:
        yield
    except RecursionError:
        raise source.error("the formula is too deeply nested: make a column of a part of it") from (
            None
        )


def scan(source: Source) -> list[Token]:
    """Split the text into tokens, and check that brackets and quotes are closed.

    A backquoted name becomes an identifier whose lexeme keeps its backquotes, and ``||`` becomes
    one token.
    """
    text = source.text
    if not text.strip():
        raise source.error("the formula is empty: write one such as 'y ~ x + (1 | g)'")
    if len(text) > MAX_LENGTH:
        raise FormulaError(
            f"the formula has {len(text):,} characters, and at most {MAX_LENGTH:,} are read: "
            "make columns of its parts"
        )
    scanner = Scanner(text)
    tokens: list[Token] = []
    while not scanner.at_end():
        start = scanner.start = scanner.current
        char = text[start]
        if char in "\"'`":
            tokens.append(_quoted(source, start))
            scanner.current = start + len(tokens[-1].lexeme)
            continue
        if char in _HINTS:
            raise source.error(f"{char!r} has no meaning here: {_HINTS[char]}", start)
        try:
            scanner.scan_token()
        except (ScanError, ValueError):  # ValueError: digits that int() cannot read
            raise source.error(f"the character {char!r} has no meaning in a formula", start) from (
                None
            )
        tokens += [Token(t.kind, t.lexeme, t.literal, start) for t in scanner.tokens]
        scanner.tokens.clear()
    tokens = _join_bars(tokens)
    _check_brackets(source, tokens)
    return tokens


def _quoted(source: Source, start: int) -> Token:
    """Read a string or a backquoted name; formulae crashes or guesses where one does not end."""
    text = source.text
    quote = text[start]
    end = text.find(quote, start + 1)
    if end < 0:
        raise source.error(f"the {quote} that opens here is never closed", start)
    lexeme, inner = text[start : end + 1], text[start + 1 : end]
    if quote != "`":
        return Token("STRING", lexeme, inner, start)
    if not inner:
        raise source.error("there is no name between these backquotes", start)
    return Token("IDENTIFIER", lexeme, None, start)


def _join_bars(tokens: list[Token]) -> list[Token]:
    joined: list[Token] = []
    for token in tokens:
        last = joined[-1] if joined else None
        if token.kind == "PIPE" and last and last.lexeme == "|" and last.start == _before(token):
            joined[-1] = Token("PIPE", "||", None, last.start)
        else:
            joined.append(token)
    return joined


def _before(token: Token) -> int | None:
    return None if token.start is None else token.start - 1


def _check_brackets(source: Source, tokens: list[Token]) -> None:
    open_: list[Token] = []
    for token in tokens:
        if token.kind.startswith("LEFT_"):
            open_.append(token)
            if len(open_) > MAX_DEPTH:
                raise source.error("the formula is too deeply nested", token.start)
        elif token.kind.startswith("RIGHT_"):
            if not open_ or _CLOSING[open_[-1].lexeme] != token.lexeme:
                raise source.error(f"this {token.lexeme!r} closes nothing", token.start)
            open_.pop()
        elif token.kind == "TILDE" and open_:
            raise source.error("'~' cannot stand within brackets", token.start)
    if open_:
        raise source.error(f"this {open_[-1].lexeme!r} is never closed", open_[-1].start)


def split_sides(source: Source, tokens: list[Token]) -> tuple[list[Token] | None, list[Token]]:
    """Return the tokens left of ``~`` (None where there is no ``~``) and those right of it."""
    tildes = [i for i, token in enumerate(tokens) if token.kind == "TILDE"]
    if len(tildes) > 1:
        raise source.error("a formula has one '~', and this is the second", tokens[tildes[1]].start)
    if not tildes:
        return None, tokens
    return tokens[: tildes[0]], tokens[tildes[0] + 1 :]


def read_tree(source: Source, tokens: list[Token]) -> Any:
    """Parse tokens with formulae, to their very end.

    Returns
    -------
    An expression of `formulae.expr`.
    """
    end = Token("EOF", "", None, _end(tokens, len(source.text)))
    parser = Parser([*tokens, end])
    try:
        tree = parser.parse()
    except ParseError as error:
        place = parser.peek()
        if "assignment" in str(error):  # found when its right side has been read already
            place = next(t for t in reversed(tokens[: parser.current]) if t.kind == "EQUAL")
        raise source.error(_parse_problem(parser, error), place.start) from None
    rest = parser.peek()
    if rest.kind != "EOF":
        raise source.error(_rest_problem(rest, parser.previous()), rest.start)
    return tree


def _end(tokens: list[Token], default: int) -> int:
    last = tokens[-1] if tokens else None
    return default if last is None or last.start is None else last.start + len(last.lexeme)


def _parse_problem(parser: Parser, error: ParseError) -> str:
    token = parser.peek()
    if "Invalid assignment" in str(error):
        return "'=' gives a named argument within a call, and its left side is a name: bs(x, df=4)"
    if "Subset" in str(error) or "bracket" in str(error):
        return 'between brackets stands one level of the response, in quotes: y["yes"]'
    if token.kind == "EOF":
        return "the formula ends where a term is expected"
    if token.kind == "PERIOD":
        return "'.' for all other columns is not built: name the columns"
    if "Expect" in str(error):
        return _rest_problem(token, parser.previous())
    return f"a term is expected here, and {token.lexeme!r} is none"


def _rest_problem(token: Token, previous: Token) -> str:
    if token.kind == "PIPE":
        return "a group term stands in parentheses: write (x | g)"
    if token.kind == "SLASH_SLASH":
        return "'//' has no meaning here: write floor(a / b)"
    if token.kind == "EQUAL":
        return "'=' gives a named argument within a call, such as bs(x, df=4); compare with '=='"
    if previous.kind == "NUMBER" and token.lexeme[:1] in "eE" and token.kind == "IDENTIFIER":
        return "numbers are written out, without an exponent: 0.001"
    return (
        f"the formula cannot go on with {token.lexeme!r} here: is an operator such as '+' missing?"
    )


def position(node: Any) -> int | None:
    """Return where in the text a node of the tree starts, as nearly as the tree tells."""
    match node:
        case Variable(name=token):
            return getattr(token, "start", None)
        case Call(callee=callee, args=args):
            at = position(callee)  # None for the I() that braces stand for
            return position(args[0]) if at is None and args else at
        case Grouping(expression=inner):
            return position(inner)
        case Assign(name=name):
            return position(name)
        case Unary(operator=operator):
            return operator.start
        case Binary(left=left, operator=operator):
            # A walk along the left side would be as deep as the formula is long.
            return position(left) if not isinstance(left, Binary) else operator.start
        case _:
            return None


def unquote(lexeme: str) -> str:
    """Return a name without its backquotes."""
    return lexeme[1:-1] if lexeme.startswith("`") else lexeme


def quote(name: str) -> str:
    """Return a name as a formula writes it: in backquotes where it needs them."""
    plain = name[:1].isalpha() and all(c.isalnum() or c in "._" for c in name)
    return name if plain and name not in ("True", "False", "None") else f"`{name}`"
