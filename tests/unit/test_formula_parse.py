"""What a formula says: terms, group terms, responses, and the texts that they print as."""

import subprocess
import sys

import pytest

from bayesmm.errors import FormulaError
from bayesmm.formula import (
    Formula,
    GroupTerm,
    Predictor,
    Response,
    columns_of,
    parse,
    predictor_columns,
    response_columns,
)


def common(text: str) -> str:
    return parse(f"y ~ {text}").predictors[0].common


def groups(text: str) -> list[tuple[str, str, bool]]:
    terms = parse(f"y ~ {text}").predictors[0].groups
    return [(g.effects, g.name, g.correlated) for g in terms]


def test_sleepstudy():
    formula = parse("Reaction ~ Days + (Days | Subject)")
    assert formula == Formula(
        Response("Reaction", "Reaction", None, ()),
        (Predictor("mu", "1 + Days", (GroupTerm("1 + Days", ("Subject",), True),)),),
    )
    assert str(formula) == "Reaction ~ 1 + Days + (1 + Days | Subject)"
    assert formula.variables == ("Reaction", "Days", "Subject")
    assert hash(formula) == hash(parse(formula.texts))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", "1"),
        ("0", "0"),
        ("x", "1 + x"),
        ("0 + x", "0 + x"),
        ("-1 + x", "0 + x"),
        ("x - 1", "0 + x"),
        ("x + 0", "0 + x"),
        ("1 - 1", "0"),
        ("0 + 1", "1"),
        ("x - 0", "1 + x"),
        ("-(-1)", "1"),
        ("+x", "1 + x"),
        ("x + x", "1 + x"),
        ("x:x", "1 + x"),
        ("a*b", "1 + a + b + a:b"),
        ("a*b + c", "1 + a + b + a:b + c"),
        ("a*b*c - a:b:c", "1 + a + b + a:b + c + a:c + b:c"),
        ("a*b - b:a", "1 + a + b"),
        ("a:b + b:a", "1 + a:b"),
        ("a/b", "1 + a + a:b"),
        ("a/b/c", "1 + a + a:b + a:b:c"),
        ("a/(b + c)", "1 + a + a:b + a:c"),
        ("(a + b)/c", "1 + a + b + a:b:c"),
        ("(a + b):c", "1 + a:c + b:c"),
        ("(a + b + c)**2", "1 + a + b + c + a:b + a:c + b:c"),
        ("(a + b)**5", "1 + a + b + a:b"),
        ("(a + b)**1", "1 + a + b"),
        ("(x + y) - (x + u)", "1 + y"),
        ("a*b:c", "1 + a + b:c + a:b:c"),
        ("(x + (z - 1))", "0 + x + z"),
        ("total.fruits + x_1", "1 + total.fruits + x_1"),
        ("`x` + `my col`:z", "1 + x + `my col`:z"),
        ("{x**2}", "1 + I(x ** 2)"),
        ("I(x ** (1/3))", "1 + I(x ** (1 / 3))"),
        ("I((x+1)*2) + I(x+1*2)", "1 + I((x + 1) * 2) + I(x + 1 * 2)"),
        ("I(-x) + I(-(x**2))", "1 + I(-x) + I(-(x ** 2))"),
        ("I(x * 0.00001)", "1 + I(x * 0.00001)"),
        ("I(.5*x > 2.0)", "1 + I(0.5 * x > 2.0)"),
        ("offset( log(t) )", "1 + offset(log(t))"),
        ("offset(2)", "1 + offset(2)"),
        ("bs(x,df=4,degree=2)", "1 + bs(x, df=4, degree=2)"),
        ("poly(x, 2, raw=True)", "1 + poly(x, 2, raw=True)"),
        ("C(f,Sum) + C(f, Treatment( 'b' ))", "1 + C(f, Sum) + C(f, Treatment('b'))"),
        ('T(f, ref="b") + S(f)', '1 + T(f, ref="b") + S(f)'),
        ("C(Treatment, contrast=Treatment)", "1 + C(Treatment, contrast=Treatment)"),
        ("np.log(x) + numpy.sqrt(x)", "1 + np.log(x) + numpy.sqrt(x)"),
        ("where(x > 0, 'a', \"it's\")", "1 + where(x > 0, 'a', \"it's\")"),
        ("x\n  + z\t", "1 + x + z"),
        ("log + scale + C", "1 + log + scale + C"),
    ],
)
def test_population_part(text: str, expected: str):
    assert common(text) == expected
    assert common(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1|g)", [("1", "g", True)]),
        ("(x|g)", [("1 + x", "g", True)]),
        ("(0+x|g)", [("0 + x", "g", True)]),
        ("(-1 + x|g)", [("0 + x", "g", True)]),
        ("(x - 1|g)", [("0 + x", "g", True)]),
        ("(x||g)", [("1 + x", "g", False)]),
        ("(x*z|g)", [("1 + x + z + x:z", "g", True)]),
        ("(poly(x,2)|g)", [("1 + poly(x, 2)", "g", True)]),
        ("(bs(x, df=4)|g)", [("1 + bs(x, df=4)", "g", True)]),
        ("(1|a:b)", [("1", "a:b", True)]),
        ("(1|a/b)", [("1", "a", True), ("1", "a:b", True)]),
        ("(x||a/b/c)", [("1 + x", "a", False), ("1 + x", "a:b", False), ("1 + x", "a:b:c", False)]),
        ("(1|(a:b)/c)", [("1", "a:b", True), ("1", "a:b:c", True)]),
        ("(1|a/(b/c))", [("1", "a", True), ("1", "a:b", True), ("1", "a:b:c", True)]),
        ("(1|g) + (0+x|g)", [("1", "g", True), ("0 + x", "g", True)]),
        ("(1|a) + (1|b)", [("1", "a", True), ("1", "b", True)]),
        ("((1|g)) + (x + (1|h))", [("1", "g", True), ("1", "h", True)]),
        ("(`my x`|`my g`)", [("1 + `my x`", "my g", True)]),
    ],
)
def test_group_terms(text: str, expected: list):
    assert groups(text) == expected
    formula = parse(f"y ~ {text}")
    assert parse(formula.texts) == formula


def test_factors_of_a_nested_group():
    assert parse("y ~ (1 | a/b)").predictors[0].groups[1].factors == ("a", "b")


def _with(name, level=None, **additions):
    return Response(name, name, level, tuple((k, tuple(v.items())) for k, v in additions.items()))


@pytest.mark.parametrize(
    ("left", "expected", "text"),
    [
        ("y", Response("y", "y"), "y"),
        ("(y)", Response("y", "y"), "y"),
        ("log(y)", Response("log(y)", "log(y)"), "log(y)"),
        ("{y / 2}", Response("I(y / 2)", "I(y / 2)"), "I(y / 2)"),
        ("`my col`", Response("`my col`", "my col"), "`my col`"),
        ("log(`my col`)", Response("log(`my col`)", "log(my col)"), "log(`my col`)"),
        ('y["yes"]', Response("y", "y", "yes"), 'y["yes"]'),
        ("y[yes]", Response("y", "y", "yes"), 'y["yes"]'),
        ("y['a \"b\"']", Response("y", "y", 'a "b"'), "y['a \"b\"']"),
        ("`my y`[`a b`]", Response("`my y`", "my y", "a b"), '`my y`["a b"]'),
        ("p(y, n)", _with("y", prop={"trials": "n"}), "prop(y, n)"),
        ("proportion(y, 12)", _with("y", prop={"trials": "12"}), "prop(y, 12)"),
        ("prop(y, trials=n)", _with("y", prop={"trials": "n"}), "prop(y, n)"),
        (
            "weighted(prop(y, `n 1`), w)",
            _with("y", prop={"trials": "`n 1`"}, weighted={"weights": "w"}),
            "weighted(prop(y, `n 1`), w)",
        ),
        ("weighted(y[yes], w)", _with("y", "yes", weighted={"weights": "w"}), None),
        ("censored(t, s)", _with("t", censored={"status": "s"}), "censored(t, s)"),
        (
            "censored(t, s, t2)",
            _with("t", censored={"status": "s", "upper": "t2"}),
            "censored(t, s, t2)",
        ),
        ("truncated(y, 1)", _with("y", truncated={"lower": "1"}), "truncated(y, 1)"),
        ("truncated(y, -1, 5)", _with("y", truncated={"lower": "-1", "upper": "5"}), None),
        ("truncated(y, upper=u)", _with("y", truncated={"upper": "u"}), "truncated(y, upper=u)"),
        ("se(y, s)", _with("y", se={"se": "s"}), "se(y, s)"),
        (
            "weighted(y, 1 / s**2)",
            _with("y", weighted={"weights": "1 / s ** 2"}),
            "weighted(y, 1 / s ** 2)",
        ),
        ("se(y, s, True)", _with("y", se={"se": "s", "sigma": "True"}), "se(y, s, sigma=True)"),
        ("thresholds(y, item)", _with("y", thresholds={"by": "item"}), "thresholds(y, item)"),
        (
            "c(a, `b c`, log(d))",
            Response(
                "a",
                "c(a, b c, log(d))",
                None,
                (("c", (("column", "`b c`"), ("column", "log(d)"))),),
            ),
            "c(a, `b c`, log(d))",
        ),
    ],
)
def test_response(left: str, expected: Response, text: str):
    formula = parse(f"{left} ~ 1")
    assert formula.response == expected
    if text is not None:
        assert formula.texts == (f"{text} ~ 1",)
    assert parse(formula.texts) == formula


def test_category_specific_effects_are_a_predictor_of_their_own():
    formula = parse(["y ~ x + cs(z * f) + (1 | g) + cs(w)", "disc ~ x"])
    assert formula.texts == ("y ~ 1 + x + (1 | g)", "disc ~ 1 + x", "cs ~ 1 + z + f + z:f + w")
    assert parse(formula.texts) == formula
    assert parse(["y ~ x", "cs ~ z"]) == parse("y ~ x + cs(z)")


def test_no_response_where_none_is_required():
    formula = parse("~ x + (1 | f)", response_required=False)
    assert formula.response is None
    assert formula.texts == ("~ 1 + x + (1 | f)",)
    assert formula.variables == ("x", "f")
    assert parse(formula.texts, response_required=False) == formula


def test_further_parameters():
    formula = parse(["y ~ x", "sigma ~ z + (1 | g)", "zi ~ 0 + x"])
    assert [p.parameter for p in formula.predictors] == ["mu", "sigma", "zi"]
    assert formula.texts == ("y ~ 1 + x", "sigma ~ 1 + z + (1 | g)", "zi ~ 0 + x")
    assert parse(formula.texts) == formula
    assert parse("y ~ x") == parse(("y ~ 1 + x",))


def test_variables_in_order_of_first_use():
    formula = parse(
        ["weighted(prop(y, n), w) ~ b + log(a):b + C(f, Sum) + (x | g/h)", "phi ~ `odd name` + y"]
    )
    assert formula.variables == ("y", "n", "w", "b", "a", "f", "x", "g", "h", "odd name")
    assert formula.response is not None
    assert response_columns(formula.response) == ("y", "n", "w")
    assert predictor_columns(formula.predictors[0]) == ("b", "a", "f", "x", "g", "h")
    assert columns_of("1 + poly(x, degree=2) + offset(log(t))") == ("x", "t")


def test_variables_of_a_callers_function_need_no_function():
    assert parse("y ~ f(x, k=z)", {"f": max}).variables == ("y", "x", "z")


def test_long_sums_are_fine():
    names = [f"x{i}" for i in range(1_900)]
    assert parse("y ~ " + " + ".join(names)).variables == ("y", *names)


def test_callers_functions():
    assert common_with("f(x)", {"f": abs}) == "1 + f(x)"
    assert common_with("f()", {"f": abs}) == "1 + f()"


def common_with(text: str, functions: dict) -> str:
    return parse(f"y ~ {text}", functions).predictors[0].common


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ({"log": abs}, ["functions=", "'log'", "my_log"]),
        ({"Sum": abs}, ["'Sum'"]),
        ({"np": abs}, ["'np'"]),
        ({"prop": abs}, ["'prop'"]),
        ({"s": abs}, ["'s'"]),
        ({"a b": abs}, ["'a b'", "letter"]),
        ({"_f": abs}, ["'_f'"]),
        ({"__class__": abs}, ["'__class__'"]),
        ({3: abs}, ["3"]),
        ({"f": 3}, ["cannot be called", "'f'"]),
        ([abs], ["mapping", "list"]),
    ],
)
def test_functions_argument_is_checked(functions, words: list[str]):
    with pytest.raises(FormulaError) as caught:
        parse("y ~ x", functions)
    assert all(word in str(caught.value) for word in words)


def test_no_sampler_is_imported():
    code = (
        "import sys, bayesmm.formula; "
        "print([m for m in ('jax', 'numpyro', 'arviz') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
