"""What is refused: each refusal says what is wrong, points at the place, says what to write."""

import pandas as pd
import pytest

from bayesmm.errors import FormulaError
from bayesmm.formula import Terms, evaluate, parse


def refusal(formula, **kwargs) -> str:
    with pytest.raises(FormulaError) as caught:
        parse(formula, **kwargs)
    return str(caught.value)


# (text, place of the caret or None, words of the message)
REFUSED = [
    # The whole text is read.
    ("y ~ x | g", 6, ["parentheses", "(x | g)"]),
    ("y ~ 1 + x | g + h", 10, ["parentheses"]),
    ("y ~ x y2", 6, ["'y2'", "operator"]),
    ("y ~ x )", 6, ["')'", "closes nothing"]),
    ("y ~ (x", 4, ["'('", "never closed"]),
    ("y ~ log(x]", 9, ["']'"]),
    ("y ~ x, z", 5, ["','"]),
    ('y ~ f"{x}"', 5, ["operator"]),
    ("y ~ x 3", 6, ["'3'"]),
    ("y ~ log(x z)", 10, ["'z'"]),
    ("y ~", 3, ["ends where a term is expected"]),
    ("y ~ x +", 7, ["ends where a term is expected"]),
    ("y ~ x + * z", 8, ["'*'"]),
    ("y ~ ()", 5, ["')'"]),
    ("y ~ 'abc", 4, ["never closed"]),
    ("y ~ `abc", 4, ["never closed"]),
    ("y ~ ``", 4, ["no name"]),
    ("y ~ x ~ z", 6, ["one '~'", "second"]),
    ("(y ~ x)", 3, ["'~'", "brackets"]),
    ("y ~ f(x ~ z)", 8, ["'~'", "brackets"]),
    ("y ~ x = z", 4, ["'='", "=="]),
    ("y ~ x + z = 1", 10, ["'='"]),
    ("~ x", 0, ["no response", "y ~"]),
    ("x + z", None, ["no response", "'~'"]),
    ("", None, ["empty"]),
    ("  \n", None, ["empty"]),
    # Characters with another meaning elsewhere.
    ("y ~ (a + b)^2", 11, ["'^'", "**"]),
    ("y ~ a %in% b", 6, ["%in%", "not built", "a:b"]),
    ("y ~ _x", 4, ["underscore", "backquotes", "`_x`"]),
    ("y ~ a$b", 5, ["'$'", "backquotes"]),
    ("y ~ a & b", 6, ["logical_and"]),
    ("y ~ a; b", 5, ["';'"]),
    ("y ~ ²", 4, ["'²'"]),
    ("y ~ .", 4, ["name the columns"]),
    ("y ~ 1e5", 5, ["exponent"]),
    ("y ~ a // b", 6, ["floor"]),
    # Terms.
    ("y ~ x + 2", 6, ["2 is no term"]),
    ("y ~ 1.0", None, ["1.0 is no term"]),
    ("y ~ True", None, ["True is no term"]),
    ("y ~ 'x'", None, ["'x' is no term"]),
    ("y ~ -x", 4, ["nothing here to remove"]),
    ("y ~ a == b", 6, ["I(a == b)"]),
    ("y ~ x**2", 5, ["I(x**2)", "poly(x, 2)"]),
    ("y ~ (a + b)**x", 11, ["whole number"]),
    ("y ~ (a + b)**2.0", 11, ["whole number"]),
    ("y ~ (a + b)**0", 11, ["whole number"]),
    ("y ~ (a + b)**True", 11, ["whole number"]),
    ("y ~ x:1", 5, ["intercept"]),
    ("y ~ (0 + x)*z", 11, ["intercept"]),
    ("y ~ x:offset(z)", 5, ["offset", "product"]),
    ("y ~ log(offset(z))", 8, ["offset", "term of its own"]),
    ("y ~ I(3)", 4, ["no column"]),
    ("y ~ x[a]", 4, ["level", "=="]),
    ("y ~ I(x[a] + 1)", 6, ["level", "=="]),
    ("y ~ a:b:c:d:e:f:g:h:i", 19, ["more than 8"]),
    # Arithmetic that formulae reads otherwise than R and Python.
    ("y ~ I(-x**2)", 6, ["ambiguous", "(-a)**b", "-(a**b)"]),
    ("y ~ I(2**x**2)", 10, ["ambiguous", "(a**b)**c"]),
    ("y ~ I(a < x < b)", 12, ["ambiguous", "logical_and"]),
    # Calls.
    ("y ~ foo(x)", 4, ["'foo'", "functions="]),
    ("y ~ lgo(x)", 4, ["Did you mean 'log'?", "functions="]),
    ("y ~ factor(x)", 4, ["C(x)"]),
    ("y ~ as.factor(x)", 4, ["C(x)"]),
    ("y ~ log(x, z)", 4, ["log(x)"]),
    ("y ~ poly(x, dgree=2)", 4, ["dgree", "degree=1"]),
    ("y ~ poly()", 4, ["'x'", "poly(x"]),
    ("y ~ bs(df=4, x)", 13, ["without a name"]),
    ("y ~ bs(x, df=4, df=5)", 16, ["'df'", "twice"]),
    ("y ~ bs(x, df=x)", 4, ["whole number", "df"]),
    ("y ~ bs(x, df='a')", 4, ["whole number", "df"]),
    ("y ~ C(f, levels=x)", 4, ["levels"]),
    ("y ~ C(f, Helmert)", 9, ["Sum and Treatment"]),
    ("y ~ C(f, Sum(x))", 13, ["quotes"]),
    ('y ~ C(f, Treatment("a", "b"))', 9, ["one level"]),
    ("y ~ Sum(f)", 4, ["second argument", "C(f, Sum)"]),
    ("y ~ prop(x, n)", 4, ["left of '~'"]),
    ("y ~ weighted(x, n)", 4, ["left of '~'"]),
    ("y ~ log(censored(x, n))", 8, ["left of '~'"]),
    # Not built, by name.
    ("y ~ s(x)", 4, ["s() is not built"]),
    ("y ~ t2(x, z)", 4, ["t2() is not built"]),
    ("y ~ gp(x)", 4, ["gp() is not built"]),
    ("y ~ mo(x)", 4, ["mo() is not built"]),
    ("y ~ x + cs((1 | g))", 8, ["cs() takes predictors alone"]),
    ("y ~ (1 | gr(g))", 9, ["gr() is not built"]),
    ("y ~ (1 | mm(g, h))", 9, ["mm() is not built"]),
    ("y ~ (1 + x | ID | g)", 11, ["(x | ID | g)", "not built"]),
    # Group terms.
    ("y ~ (0 | g)", 7, ["no effects", "(1 | g)"]),
    ("y ~ (x - 1 - x | g)", 15, ["no effects"]),
    ("y ~ (1 | a + b)", 11, ["(1 | a) + (1 | b)"]),
    ("y ~ (1 | a * b)", 11, ["(1 | a:b)"]),
    ("y ~ (1 | a:(b/c))", 10, ["ambiguous"]),
    ("y ~ (1 | a:a)", 10, ["twice"]),
    ("y ~ (1 | C(g))", 9, ["grouping columns", "made a column"]),
    ("y ~ (1 | 1)", 7, ["grouping columns"]),
    ("y ~ (1 | a == b)", 9, ["grouping columns"]),
    ("y ~ x * (1 | g)", 6, ["product"]),
    ("y ~ (1 | g):x", 11, ["product"]),
    ("y ~ ((1 | g) + x)**2", 17, ["product"]),
    ("y ~ x - (1 | g)", 6, ["cannot be removed"]),
    ("y ~ ((1 | g) | h)", 13, ["within another"]),
    ("y ~ (offset(x) | g)", 15, ["offset"]),
    ("y ~ log(x | g)", 10, ["'|'"]),
    ("y ~ (1 | g) + x + (1 | g)", None, ["(1 | g)", "twice"]),
    ("y ~ (x | a:b) + (1 + x || b:a)", None, ["twice"]),
    ("y ~ (x | | g)", 9, ["'|'"]),
    # The left-hand side.
    ("y ~ cs(x):z", 9, ["cs() cannot be part of a product"]),
    ("y ~ (cs(x) | g)", 11, ["cannot vary by group"]),
    ("y ~ log(cs(x))", 8, ["cs() stands around a whole term"]),
    ("y ~ x - cs(z)", 6, ["cs() cannot be removed"]),
    ("y | trials(n) ~ x", 2, ["prop(y, n)", "censored(y, status)"]),
    ("censored(t) ~ x", 0, ["censored(t, status)"]),
    ("weighted(truncated(y, 0, 1, 2), w) ~ x", 9, ["truncated(y, lower, upper)"]),
    ("truncated(y, lower=1, low=2) ~ x", 0, ["truncated(y, lower, upper)"]),
    ("se(y, s, sigma=2) ~ x", 0, ["sigma is True or False"]),
    ("c(a) ~ x", 0, ["c(y1, y2, y3)"]),
    ("c(weighted(a, w), b) ~ x", 0, ["c() stands innermost"]),
    ('c(a["x"], b) ~ x', 2, ["take columns"]),
    ("prop(y) ~ x", 0, ["prop(y, n)"]),
    ("prop(y, n, m) ~ x", 0, ["prop(y, n)"]),
    ("weighted(y, weight=w) ~ x", 0, ["weighted(y, w)"]),
    ("weighted(weighted(y, w), w) ~ x", 0, ["twice"]),
    ('prop(y["a"], n) ~ x', 5, ["level"]),
    ("prop(y, 'n') ~ x", None, ["'n'", "neither a column nor a number"]),
    ("y + 1 ~ x", 0, ["I(y + 1)"]),
    ("3 ~ x", None, ["no column"]),
    ("'y' ~ x", None, ["neither"]),
    ("I(3) ~ x", 0, ["no column"]),
    ("offset(y) ~ x", 0, ["offset()", "right"]),
    ("y | g ~ x", 2, ["stands around it"]),
    ("foo(y) ~ x", 0, ["'foo'", "functions="]),
    ("y[1] ~ x", 3, ["level", "quotes"]),
]


@pytest.mark.parametrize(("text", "place", "words"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(text: str, place: int | None, words: list[str]):
    message = refusal(text)
    for word in words:
        assert word in message
    if place is not None:
        shown, caret = message.splitlines()[-2:]
        assert shown == "    " + text
        assert caret == "    " + " " * place + "^"


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (b"y ~ x", ["formula", "bytes", "string"]),
        (bytearray(b"y"), ["formula", "bytearray"]),
        (3, ["formula", "int"]),
        (None, ["formula", "NoneType"]),
        ({"y": "x"}, ["formula", "dict"]),
        ([], ["formula", "empty list"]),
        (["y ~ x", 3], ["formula[1]", "int"]),
        (["y ~ x", "mu ~ z"], ["'mu'", "already", "first formula"]),
        (["y ~ x", "sigma ~ z", "sigma ~ x"], ["'sigma'", "already"]),
        (["y ~ x", "~ z"], ["one parameter", "sigma ~ x"]),
        (["y ~ x", "log(sigma) ~ z"], ["one parameter"]),
        (["y ~ x", "z"], ["'~'"]),
    ],
)
def test_refused_arguments(formula, words: list[str]):
    message = refusal(formula)
    assert all(word in message for word in words)


def test_a_formula_without_response_has_a_tilde():
    assert "'~'" in refusal("x", response_required=False)


def test_long_text_is_shown_around_the_place():
    message = refusal("y ~ " + " + ".join(f"x{i}" for i in range(200)) + " ? z")
    shown, caret = message.splitlines()[-2:]
    assert len(shown) < 110
    assert shown[caret.index("^")] == "?"


def test_place_in_a_text_of_several_lines():
    shown, caret = refusal("y ~ x\n  + z z2").splitlines()[-2:]
    assert shown[caret.index("^") :] == "z2"


@pytest.mark.parametrize(
    "text",
    [
        "y ~ " + "(" * 500 + "x" + ")" * 500,
        "y ~ " + "log(" * 200 + "x" + ")" * 200,
        "y ~ " + "-" * 5_000 + "1",
        "y ~ " + ":".join("x" * 5_000),
        "y ~ I(" + "+".join(["x"] * 3_000) + ")",
        "y ~ I(" + "-" * 3_000 + "x)",
    ],
)
def test_deep_nesting(text: str):
    assert any(word in refusal(text) for word in ("nested", "too long"))


def test_too_long():
    assert "characters" in refusal("y ~ " + "x" * 200_000)


def test_texts_of_parts_are_checked_too(frame):
    for text in ("1 + (1 | g)", "y ~ x", "x | g", "1 + foo(x)"):
        with pytest.raises(FormulaError):
            Terms(text)
    for text in ("x z", "foo(x)", "y ~ x", "x.__class__"):
        with pytest.raises(FormulaError):
            evaluate(text, frame)


@pytest.fixture
def frame():
    return pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]})
