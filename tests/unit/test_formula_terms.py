"""The columns that a text makes of data: known answers, and the same on new rows."""

import itertools

import numpy as np
import pandas as pd
import pytest
from formulae import design_matrices

from bayesmm.errors import DataError, FormulaError
from bayesmm.formula import Terms, evaluate, parse

N = 60


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    f = rng.permutation(np.repeat(["b", "a", "c"], N // 3))
    g = rng.permutation(np.repeat(["u", "v"], N // 2))
    return pd.DataFrame(
        {
            "f": pd.Categorical(f, categories=["b", "a", "c"], ordered=True),
            "g": pd.Categorical(g, ordered=True),
            "x": rng.normal(size=N),
            "z": rng.normal(size=N),
            "t": rng.uniform(1, 2, size=N),
            "k": np.resize([1, 2, 3, 4], N),
            "flag": rng.random(N) < 0.5,
        }
    )


def fit(text: str, frame: pd.DataFrame, **functions):
    return Terms(text, functions).fit(frame)


def column(text: str, frame: pd.DataFrame, **functions) -> np.ndarray:
    """Return the second column of ``1 + text``."""
    columns = fit(f"1 + {text}", frame, **functions)
    assert columns.labels[0] == columns.terms[0] == "Intercept"
    return columns.matrix[:, 1]


def is_(frame: pd.DataFrame, name: str, level: str) -> np.ndarray:
    return (frame[name].astype(str) == level).to_numpy(float)


def test_intercept_and_nothing(frame):
    columns = fit("1", frame)
    assert columns.labels == ("Intercept",)
    np.testing.assert_array_equal(columns.matrix, np.ones((N, 1)))
    columns = fit("0", frame)
    assert columns.matrix.shape == (N, 0)
    assert columns.labels == columns.terms == ()
    assert columns.offset is None


def test_factor_beside_an_intercept(frame):
    columns = fit("1 + f", frame)
    assert columns.labels == ("Intercept", "f[a]", "f[c]")
    assert columns.terms == ("Intercept", "f", "f")
    assert dict(columns.factors) == {"f": ("b", "a", "c")}
    expected = np.column_stack([np.ones(N), is_(frame, "f", "a"), is_(frame, "f", "c")])
    np.testing.assert_array_equal(columns.matrix, expected)
    assert columns.matrix.dtype == np.float64
    assert columns.matrix.flags.c_contiguous


def test_factor_without_an_intercept(frame):
    columns = fit("0 + f", frame)
    assert columns.labels == ("f[b]", "f[a]", "f[c]")
    expected = np.column_stack([is_(frame, "f", level) for level in "bac"])
    np.testing.assert_array_equal(columns.matrix, expected)


def test_interactions(frame):
    columns = fit("1 + f + x + f:x", frame)
    assert columns.labels == ("Intercept", "f[a]", "f[c]", "x", "f[a]:x", "f[c]:x")
    np.testing.assert_array_equal(columns.matrix[:, 4], is_(frame, "f", "a") * frame["x"])
    # Without the main effect of x, each level has its own slope.
    assert fit("1 + f + x:f", frame).labels[3:] == ("x:f[b]", "x:f[a]", "x:f[c]")
    columns = fit("1 + f:g", frame)
    assert columns.labels[1:] == ("g[v]", "f[a]:g[u]", "f[a]:g[v]", "f[c]:g[u]", "f[c]:g[v]")
    assert columns.terms[1:3] == ("g", "f:g")
    np.testing.assert_array_equal(columns.matrix[:, 5], is_(frame, "f", "c") * is_(frame, "g", "v"))


def test_contrasts(frame):
    f = frame["f"].astype(str).to_numpy()
    columns = fit("1 + C(f, Sum)", frame)
    assert columns.labels[1:] == ("C(f, Sum)[b]", "C(f, Sum)[a]")
    np.testing.assert_array_equal(columns.matrix[:, 1], (f == "b") * 1.0 - (f == "c"))
    np.testing.assert_array_equal(fit("1 + S(f)", frame).matrix, columns.matrix)
    columns = fit('1 + C(f, Treatment("a"))', frame)
    assert columns.labels[1:] == ('C(f, Treatment("a"))[b]', 'C(f, Treatment("a"))[c]')
    np.testing.assert_array_equal(columns.matrix[:, 1], f == "b")
    np.testing.assert_array_equal(fit("1 + T(f, ref='a')", frame).matrix, columns.matrix)
    columns = fit('1 + C(f, Sum("b"))', frame)
    assert columns.labels[1:] == ('C(f, Sum("b"))[a]', 'C(f, Sum("b"))[c]')
    assert fit("1 + C(C(f, Sum))", frame).labels[1] == "C(C(f, Sum))[b]"
    assert fit("1 + I(f)", frame).labels[1:] == ("I(f)[a]", "I(f)[c]")


def test_numbers_as_factor(frame):
    columns = fit("1 + C(k) + C(flag)", frame)
    assert columns.labels[1:] == ("C(k)[2]", "C(k)[3]", "C(k)[4]", "C(flag)[True]")
    np.testing.assert_array_equal(columns.matrix[:, 1], frame["k"] == 2)
    assert columns.factors["C(k)"] == (1, 2, 3, 4)


def test_strings_as_factor(frame):
    frame = frame.assign(s=frame["f"].astype(str), o=frame["f"].astype(object))
    assert fit("1 + s", frame).labels[1:] == ("s[b]", "s[c]")
    assert fit("1 + o", frame).labels[1:] == ("o[b]", "o[c]")
    assert fit("1 + where(x > 0, 'up', 'down')", frame).labels[1].endswith("[up]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", lambda d: d.x),
        ("flag", lambda d: d.flag * 1.0),
        ("log(t)", lambda d: np.log(d.t)),
        ("np.log(t)", lambda d: np.log(d.t)),
        ("numpy.log10(t)", lambda d: np.log10(d.t)),
        ("I(x + 1)", lambda d: d.x + 1),
        ("{(x + 1) * 2}", lambda d: (d.x + 1) * 2),
        ("I(t ** (1/3))", lambda d: d.t ** (1 / 3)),
        ("I(-x)", lambda d: -d.x),
        ("I(2 / t - x)", lambda d: 2 / d.t - d.x),
        ("I(x >= 0)", lambda d: (d.x >= 0) * 1.0),
        ("I(f == 'a')", lambda d: (d.f == "a") * 1.0),
        ("I('a' != f)", lambda d: (d.f != "a") * 1.0),
        ("I(k == 2)", lambda d: (d.k == 2) * 1.0),
        ("I((x > 0) + (z > 0))", lambda d: 1.0 * (d.x > 0) + 1.0 * (d.z > 0)),
        ("I(k ** 40)", lambda d: d.k.astype(float) ** 40),
        ("I(k ** -1)", lambda d: 1 / d.k),
        ("maximum(x, 0)", lambda d: d.x.clip(lower=0)),
        ("clip(x, -1, 1)", lambda d: d.x.clip(-1, 1)),
        ("round(x, 1)", lambda d: np.round(d.x, 1)),
        ("where(x > 0, x, z)", lambda d: np.where(d.x > 0, d.x, d.z)),
        ("logical_and(x > 0, z > 0)", lambda d: ((d.x > 0) & (d.z > 0)) * 1.0),
        ("floor(x)", lambda d: np.floor(d.x)),
        ("sqrt(abs(x))", lambda d: np.sqrt(np.abs(d.x))),
        ("center(x)", lambda d: d.x - d.x.mean()),
        ("scale(x)", lambda d: (d.x - d.x.mean()) / d.x.std(ddof=0)),
        (
            "standardize(log(t))",
            lambda d: (np.log(d.t) - np.log(d.t).mean()) / np.log(d.t).std(ddof=0),
        ),
        ("center(k)", lambda d: d.k - d.k.mean()),
        ("binary(f)", lambda d: (d.f == "a") * 1.0),
        ("B(f, 'c')", lambda d: (d.f == "c") * 1.0),
        ("binary(k, 3)", lambda d: (d.k == 3) * 1.0),
    ],
)
def test_known_columns(text, expected, frame):
    np.testing.assert_allclose(column(text, frame), np.asarray(expected(frame), float), rtol=1e-12)


def test_orthogonal_polynomial(frame):
    p = fit("0 + poly(x, 2)", frame).matrix
    np.testing.assert_allclose(p.T @ p, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(p.sum(axis=0), 0, atol=1e-12)
    basis = np.column_stack([np.ones(N), frame["x"], frame["x"] ** 2])
    np.testing.assert_allclose(basis @ np.linalg.lstsq(basis, p, rcond=None)[0], p, atol=1e-12)
    raw = fit("0 + poly(k, 3, raw=True)", frame).matrix
    np.testing.assert_array_equal(raw, np.column_stack([frame["k"] ** j for j in (1, 2, 3)]))


def test_labels_of_several_columns(frame):
    columns = fit("1 + poly(x, 2) + bs(z, df=4):g", frame)
    assert columns.labels[1:3] == ("poly(x, 2)[0]", "poly(x, 2)[1]")
    assert columns.terms[1:3] == ("poly(x, 2)", "poly(x, 2)")
    assert columns.labels[3:5] == ("bs(z, df=4)[0]:g[u]", "bs(z, df=4)[0]:g[v]")


def test_parentheses_stay_in_labels(frame):
    labels = fit("1 + I((x + 1) * 2) + I(x + 1 * 2)", frame).labels
    assert labels[1:] == ("I((x + 1) * 2)", "I(x + 1 * 2)")


def test_backquotes_are_not_in_labels(frame):
    frame = frame.rename(columns={"x": "my x"})
    assert fit("1 + `my x` + log(t):`my x`", frame).labels[1:] == ("my x", "log(t):my x")


def test_labels_that_clash(frame):
    with pytest.raises(FormulaError, match="'x:z'"):
        fit("1 + x:z + `x:z`", frame.assign(**{"x:z": frame["x"]}))
    with pytest.raises(FormulaError, match="'Intercept'"):
        fit("1 + Intercept", frame.assign(Intercept=frame["x"]))


def test_offsets(frame):
    columns = fit("1 + x + offset(log(t)) + offset(2) + offset(z)", frame)
    assert columns.labels == ("Intercept", "x")
    np.testing.assert_allclose(columns.offset, np.log(frame["t"]) + 2 + frame["z"])
    np.testing.assert_array_equal(fit("1 + offset(k)", frame).offset, frame["k"])
    with pytest.raises(DataError, match="offset"):
        fit("1 + offset(f)", frame)


def test_formulae_agrees(frame):
    for text in (
        "f*g",
        "0 + f*g",
        "f:g",
        "x*f",
        "x:f",
        "0 + f + g",
        "(f + g + C(k))**2",
        "x*z*f",
        "poly(x, 2)*f",
        "0 + poly(x, 2):f + g",
        "bs(x, df=4) + cr(z, df=4) + cc(t, 2, df=3) + tp(x, df=5)",
        "scale(x)*C(f, Sum)",
    ):
        theirs = design_matrices(f"x ~ {text}", frame).common.as_dataframe()
        ours = Terms(parse(f"x ~ {text}").predictors[0].common).fit(frame)
        assert list(ours.labels) == list(theirs.columns)
        np.testing.assert_allclose(ours.matrix, theirs.to_numpy(float), atol=1e-12)


def test_where_formulae_fails(frame):
    # formulae 0.9 crashes on the first, and loses columns in the second.
    assert fit("1 + f:g + f", frame).matrix.shape[1] == 6
    cells = pd.DataFrame(list(itertools.product("pqr", "uv", "mn")), columns=["a", "b", "c"])
    matrix = fit("1 + a:b:c", cells).matrix
    assert matrix.shape[1] == np.linalg.matrix_rank(matrix) == 12


NEW_ROWS = [
    "1 + f",
    "0 + f",
    "1 + C(f)",
    "1 + C(f, Treatment('a'))",
    "1 + C(f, Sum) + S(g)",
    "1 + T(f, 'c'):x",
    "1 + f:g",
    "1 + C(k):f + C(flag)",
    "1 + scale(x) + center(z) + center(x):f",
    "1 + scale(x) + scale(scale(x)) + scale(x):z",
    "1 + poly(x, 3) + poly(z, 2, raw=True)",
    "1 + bs(x, df=4) + bs(z, df=5, degree=2)",
    "1 + cr(x, df=4) + cc(t, 2, df=3) + tp(z, df=4)",
    "1 + binary(f) + B(g, 'v')",
    "1 + where(f == 'a', x, z) + where(x > 0, 'a', 'b')",
    "1 + x + offset(log(t)) + offset(center(z))",
]


@pytest.mark.parametrize("text", NEW_ROWS)
def test_new_rows_use_what_was_learned(text, frame):
    terms = Terms(text)
    fitted = terms.fit(frame)
    loose = frame.assign(f=frame["f"].astype(object), g=frame["g"].astype(str))
    recoded = frame.assign(f=pd.Categorical(frame["f"].astype(str), ordered=True))
    for rows in ([0, 1, 2], [5], list(range(N))):
        for source in (frame, loose, recoded):
            new = source.iloc[rows].reset_index(drop=True)
            columns = terms.transform(new)
            assert columns.labels == fitted.labels
            np.testing.assert_allclose(columns.matrix, fitted.matrix[rows], atol=1e-12)
            if fitted.offset is not None:
                assert columns.offset is not None
                np.testing.assert_allclose(columns.offset, fitted.offset[rows], atol=1e-12)


def test_categories_of_new_rows_need_not_match(frame):
    terms = Terms("1 + f")
    terms.fit(frame)
    new = pd.DataFrame({"f": pd.Categorical(["c"], categories=["zz", "c"])})
    np.testing.assert_array_equal(terms.transform(new).matrix, [[1, 0, 1]])


def test_fitting_again_forgets(frame):
    terms = Terms("1 + scale(x)")
    first = terms.fit(frame).matrix
    terms.fit(frame.assign(x=frame["x"] * 10 + 3))
    np.testing.assert_allclose(terms.fit(frame).matrix, first)


def test_transform_before_fit(frame):
    with pytest.raises(RuntimeError, match="fit"):
        Terms("1 + x").transform(frame)


@pytest.mark.parametrize("text", ["1 + f", "1 + C(f, Sum)", "1 + x:f", "1 + T(f)"])
def test_unseen_levels(text, frame):
    terms = Terms(text)
    terms.fit(frame)
    new = frame.assign(f=["new", "b", "newer"] * (N // 3))
    with pytest.raises(DataError, match="'new', 'newer'.*'b', 'a', 'c'") as caught:
        terms.transform(new)
    assert "f" in str(caught.value)


def test_callers_functions(frame):
    def double(x, by=2):
        return x * by

    np.testing.assert_allclose(column("double(x)", frame, double=double), 2 * frame["x"])
    np.testing.assert_allclose(column("double(x, by=3)", frame, double=double), 3 * frame["x"])
    pair = fit("1 + pair(x)", frame, pair=lambda x: np.column_stack([x, x**2]))
    assert pair.labels[1:] == ("pair(x)[0]", "pair(x)[1]")
    assert fit("1 + cut(x)", frame, cut=lambda x: np.where(x > 0, "hi", "lo").tolist()).labels[
        1:
    ] == ("cut(x)[lo]",)


def test_callers_stateful_function(frame):
    class Top:
        __stateful_transform__ = True

        def __init__(self):
            self.top = None

        def __call__(self, x):
            self.top = x.max() if self.top is None else self.top
            return x / self.top

    terms = Terms("1 + top(t)", {"top": Top})
    fitted = terms.fit(frame)
    np.testing.assert_allclose(terms.transform(frame.iloc[:2]).matrix, fitted.matrix[:2])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 + nope", ["'nope'", "do not have", "'f', 'g'"]),
        ("1 + flagg", ["Did you mean 'flag'"]),
        ("1 + log(nope)", ["'nope'"]),
        ("1 + log(f)", ["log(f)", "needs numbers"]),
        ("1 + I(f + 1)", ["I(f + 1)", "needs numbers"]),
        ("1 + scale(C(k))", ["scale(C(k))", "factor"]),
        ("1 + C(f, Treatment('zz'))", ["'zz'", "'b', 'a', 'c'"]),
        ("1 + S(f, omit='zz')", ["'zz'", "'b', 'a', 'c'"]),
        ("1 + B(f, 'zz')", ["'zz'"]),
        ("1 + one", ["'one'", "one level", "'only'"]),
        ("0 + C(one)", ["C(one)", "one level"]),
        ("1 + bs(x, df=2)", ["bs(x, df=2)", "too small"]),
        ("1 + when", ["'when'", "datetime"]),
        ("1 + C(mixed)", ["C(mixed)", "mixes"]),
        ("1 + single(x)", ["single(x)"]),
        ("1 + short(x)", ["short(x)", "60 rows"]),
        ("1 + broken(x)", ["broken(x)", "ZeroDivisionError"]),
    ],
)
def test_refused_data(text, words, frame, capsys):
    frame = frame.assign(
        one="only", when=pd.Timestamp("2020-01-01"), mixed=np.resize(np.array([1, "a"], object), N)
    )
    functions = {
        "single": lambda x: 3.0,
        "short": lambda x: x[:2],
        "broken": lambda x: 1 // 0,
    }
    with pytest.raises(DataError) as caught:
        Terms(text, functions).fit(frame)
    assert all(word in str(caught.value) for word in words)
    assert capsys.readouterr().out == ""


def test_nan_of_a_transform_is_left_to_the_caller(frame):
    with np.errstate(all="raise"):
        matrix = fit("1 + log(x)", frame).matrix
    assert np.isnan(matrix).any()


def test_variables(frame):
    assert Terms("1 + x:f + offset(log(t)) + `a b`").variables == ("x", "f", "t", "a b")


def test_wide_and_long_data_are_quick():
    rng = np.random.default_rng(0)
    wide = pd.DataFrame({f"x{i}": rng.normal(size=4) for i in range(1_500)}).assign(f=list("abab"))
    assert Terms("1 + " + " + ".join(wide.columns)).fit(wide).matrix.shape == (4, 1_502)


def test_evaluate(frame):
    np.testing.assert_array_equal(evaluate("k", frame), frame["k"])
    assert evaluate("k", frame).dtype == frame["k"].dtype
    assert evaluate("flag", frame).dtype == bool
    np.testing.assert_allclose(evaluate("log(t)", frame), np.log(frame["t"]))
    np.testing.assert_array_equal(evaluate("12", frame), np.full(N, 12))
    np.testing.assert_allclose(evaluate("I(k + 1)", frame), frame["k"] + 1)
    np.testing.assert_allclose(evaluate("f(t)", frame, {"f": np.sqrt}), np.sqrt(frame["t"]))
    kept = evaluate("f", frame)
    assert isinstance(kept, pd.Categorical)
    assert kept.categories.tolist() == ["b", "a", "c"]
    np.testing.assert_array_equal(evaluate("`a b`", frame.assign(**{"a b": 1.0})), np.ones(N))


@pytest.mark.parametrize(
    ("text", "words"), [("nope", ["'nope'"]), ("poly(x, 2)", ["poly(x, 2)", "shape"])]
)
def test_evaluate_refuses(text, words, frame):
    with pytest.raises(DataError) as caught:
        evaluate(text, frame)
    assert all(word in str(caught.value) for word in words)
