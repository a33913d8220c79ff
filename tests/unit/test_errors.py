"""What bad input gets: an error of the right type, before anything is compiled, in useful words.

Each row says what is wrong, the type of the error, and words that its message must have: the column
or term that it is about, what arrived, and what to write instead. Refusals of formulas are in
`test_formula_errors` and `test_formula_safety`, of priors in `test_priors`.
"""

import inspect
import warnings

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest

import bayesmm as bm
from bayesmm import api, errors
from bayesmm.engines import driver
from bayesmm.errors import (
    BayesmmError,
    BayesmmWarning,
    DataError,
    FamilyError,
    FormulaError,
    PriorError,
    SamplerError,
)

N = 30


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    x = rng.normal(size=N)
    binary = rng.integers(0, 2, N)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": x,
            "z": rng.normal(size=N),
            "twice": 2 * x,
            "f": pd.Categorical(rng.choice(list("abc"), N)),
            "two": np.where(binary == 1, "yes", "no"),
            "binary": binary,
            "g": rng.choice(["g1", "g2", "g3"], N),
            "h": np.repeat(np.arange(10), 3),
            "only": "o",
            "count": rng.poisson(3, N),
            "total": 9,
            "few": rng.integers(0, 9, N),
            "share": rng.uniform(0.1, 0.9, N),
            "positive": np.exp(x),
            "w": rng.uniform(1, 2, N),
            "text": "t" + pd.Series(range(N)).astype(str),
        }
    )


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("something was compiled or run")

    monkeypatch.setattr(driver, "_compiled", fail)
    monkeypatch.setattr(api, "_prior_draws", fail)
    monkeypatch.setattr(api, "to_datatree", fail)


def put(row, value, column):
    """Return a change of the frame: one value of a column."""

    def change(frame):
        values = frame[column].to_numpy().copy()
        if isinstance(value, float) and values.dtype.kind != "f":
            values = values.astype(float)
        values[row] = value
        return frame.assign(**{column: values})

    return change


def same(frame):
    return frame


def new(**columns):
    return lambda frame: frame.assign(**columns)


# (formula, change of the frame, arguments of Model, error, words)
REFUSED = {
    # Formulas.
    "no response": ("~ x", same, {}, FormulaError, ["no response", "y ~"]),
    "no tilde": ("y + x", same, {}, FormulaError, ["no response"]),
    "not a string": (3, same, {}, FormulaError, ["formula", "string", "int"]),
    "bytes": (b"y ~ x", same, {}, FormulaError, ["string", "bytes"]),
    "no formula": ([], same, {}, FormulaError, ["empty list"]),
    "a list with a number": (["y ~ x", 1], same, {}, FormulaError, ["formula[1]", "int"]),
    "a smaller model": ("y ~ x | g", same, {}, FormulaError, ["(x | g)", "^"]),
    "the same effect twice": (
        "y ~ (1 | g) + (x | g)",
        same,
        {},
        FormulaError,
        ["'g'", "'Intercept' twice", "(0 + x | g)"],
    ),
    "two formulas of one parameter": (
        ["y ~ x", "sigma ~ x", "sigma ~ z"],
        same,
        {},
        FormulaError,
        ["'sigma'", "already"],
    ),
    # Columns.
    "unknown column": ("y ~ xx", same, {}, DataError, ["'xx'", "Did you mean 'x'?", "'twice'"]),
    "unknown group": ("y ~ (1 | G)", same, {}, DataError, ["'G'", "do not have"]),
    "unknown response": ("Y ~ x", same, {}, DataError, ["'Y'"]),
    "empty table": ("y ~ x", lambda d: d.iloc[:0], {}, DataError, ["no rows"]),
    "all missing": ("y ~ x", new(x=np.nan), {}, DataError, ["'x'", "every row is missing"]),
    "infinite": ("y ~ x", put(4, np.inf, "x"), {}, DataError, ["'x'", "inf", "row 4"]),
    "infinite response": ("y ~ x", put(4, -np.inf, "y"), {}, DataError, ["'y'", "-inf"]),
    "missing": (
        "y ~ x",
        put(4, np.nan, "x"),
        {"missing": "error"},
        DataError,
        ["1 of 30 rows", "'x'", "missing='error'"],
    ),
    "missing what": ("y ~ x", same, {"missing": "na"}, DataError, ["missing='na'", "'drop'"]),
    "doubled": (
        "y ~ x",
        lambda d: pd.concat([d, d["z"]], axis=1),
        {},
        DataError,
        ["two columns", "'z'", "Rename"],
    ),
    "no dataframe": ("y ~ x", lambda d: d.to_dict(), {}, DataError, ["dict", "pandas"]),
    "text as a number": ("y ~ log(g)", same, {}, DataError, ["log(g)", "numbers"]),
    # Levels and designs.
    "group with one level": (
        "y ~ (1 | only)",
        same,
        {},
        DataError,
        ["group 'only'", "one level ('o')", "(... | only)"],
    ),
    "factor with one level": ("y ~ only", same, {}, DataError, ["'only'", "one level", "leave"]),
    "constant predictor": (
        "y ~ total",
        same,
        {},
        DataError,
        ["'total'", "constant", "Leave it out"],
    ),
    "rank": ("y ~ x + twice", same, {}, DataError, ["rank-deficient", "'twice'", "of 'x'"]),
    "too many columns": (
        "y ~ poly(x, 3) + z + w",
        lambda d: d.iloc[:4],
        {},
        DataError,
        ["rank-deficient", "'w'"],
    ),
    "log of a negative": ("y ~ log(x)", same, {}, DataError, ["'log(x)'", "nan", "row"]),
    "log of a negative response": ("log(y) ~ x", same, {}, DataError, ["'log(y)'", "nan"]),
    # Families.
    "unknown family": (
        "y ~ x",
        same,
        {"family": "gausian"},
        FamilyError,
        ["'gausian'", "Did you mean 'gaussian'?", "'poisson'"],
    ),
    "family of a wrong type": ("y ~ x", same, {"family": 3}, FamilyError, ["3", "'poisson'"]),
    "unknown link": (
        "binary ~ x",
        same,
        {"family": "bernoulli", "link": "probbit"},
        FamilyError,
        ["'probbit'", "Did you mean 'probit'?", "'logit'"],
    ),
    "unsuitable link": (
        "binary ~ x",
        same,
        {"family": "bernoulli", "link": "log"},
        FamilyError,
        ["'log'", "'mu'", "'logit'"],
    ),
    "link of no parameter": (
        "y ~ x",
        same,
        {"link": {"shape": "log"}},
        FamilyError,
        ["'shape'", "'sigma'"],
    ),
    "link of a wrong type": ("y ~ x", same, {"link": 3}, FamilyError, ["link", "3"]),
    "formula of no parameter": (
        ["count ~ x", "sigma ~ x"],
        same,
        {"family": "poisson"},
        FamilyError,
        ["'sigma'", "'poisson'", "'mu'"],
    ),
    "zi of a family without": (
        ["count ~ x", "zi ~ x"],
        same,
        {"family": "negbinomial"},
        FamilyError,
        ["'zi'", "'shape'"],
    ),
    # Responses.
    "constant": ("total ~ x", same, {}, DataError, ["'total'", "constant", "9"]),
    "negative count": (
        "count ~ x",
        put(3, -1, "count"),
        {"family": "poisson"},
        DataError,
        ["count", "-1", "row 3", "never negative"],
    ),
    "count with a fraction": (
        "count ~ x",
        put(3, 2.5, "count"),
        {"family": "negbinomial"},
        DataError,
        ["count", "2.5", "row 3", "whole"],
    ),
    "more successes than trials": (
        "prop(few, total) ~ x",
        put(5, 10, "few"),
        {"family": "binomial"},
        DataError,
        ["few", "10", "9", "row 5", "prop(successes, trials)"],
    ),
    "trials with a fraction": (
        "prop(few, total) ~ x",
        new(total=9.5),
        {"family": "binomial"},
        DataError,
        ["few", "9.5", "whole"],
    ),
    "text as trials": (
        "prop(few, g) ~ x",
        same,
        {"family": "binomial"},
        DataError,
        ["'g'", "trials", "numbers"],
    ),
    "beta with 0": (
        "share ~ x",
        put(2, 0.0, "share"),
        {"family": "beta"},
        DataError,
        ["share", "0.0", "row 2", "strictly between 0 and 1"],
    ),
    "beta with 1": (
        "share ~ x",
        put(2, 1.0, "share"),
        {"family": "beta"},
        DataError,
        ["share", "1.0", "row 2"],
    ),
    "gamma with 0": (
        "positive ~ x",
        put(2, 0.0, "positive"),
        {"family": "gamma"},
        DataError,
        ["positive", "0.0", "above 0"],
    ),
    "lognormal with a negative": (
        "positive ~ x",
        put(2, -1.0, "positive"),
        {"family": "lognormal"},
        DataError,
        ["positive", "-1.0", "above 0"],
    ),
    "bernoulli with 2": (
        "count ~ x",
        same,
        {"family": "bernoulli"},
        DataError,
        ["count", "0 and 1"],
    ),
    "binomial without trials": (
        "few ~ x",
        same,
        {"family": "binomial"},
        FamilyError,
        ["trials", "prop(few, n)"],
    ),
    "binomial of 0 and 1": (
        "binary ~ x",
        same,
        {"family": "binomial"},
        FamilyError,
        ["prop(binary, n)", "bernoulli"],
    ),
    "poisson with trials": (
        "prop(few, total) ~ x",
        same,
        {"family": "poisson"},
        FamilyError,
        ["prop(few, total)", "'poisson'", "binomial"],
    ),
    "bernoulli with trials": (
        "prop(binary, total) ~ x",
        same,
        {"family": "bernoulli"},
        FamilyError,
        ["prop(binary, total)", "binomial"],
    ),
    "category as a number": (
        "two ~ x",
        same,
        {},
        DataError,
        ["'two'", "category", "'no', 'yes'", "bernoulli"],
    ),
    "three levels": (
        "f ~ x",
        same,
        {"family": "bernoulli"},
        DataError,
        ["'f'", "3 levels", "'a', 'b', 'c'", 'f["c"]'],
    ),
    "unknown level": (
        'two["maybe"] ~ x',
        same,
        {"family": "bernoulli"},
        DataError,
        ["'two'", "'maybe'", "'no', 'yes'"],
    ),
    "a level for a count": (
        'count["1"] ~ x',
        same,
        {"family": "poisson"},
        FamilyError,
        ['count["1"]', "bernoulli"],
    ),
    "two columns": ("poly(x, 2) ~ z", same, {}, DataError, ["poly(x, 2)"]),
    "negative weight": (
        "weighted(y, w) ~ x",
        put(6, -0.5, "w"),
        {},
        DataError,
        ["weighted(y, w)", "1 row", "-0.5", "row 6"],
    ),
    "no weight": ("weighted(y, w) ~ x", new(w=0), {}, DataError, ["weight 0"]),
    "text as weights": ("weighted(y, g) ~ x", same, {}, DataError, ["'g'", "weights"]),
    # Priors.
    "unknown prior": (
        "y ~ x + (1 | g)",
        same,
        {"priors": {"sd_G": dist.HalfNormal(1)}},
        PriorError,
        ["'sd_G'", "Did you mean 'sd_g'?", "'b[x]'"],
    ),
    "prior of the wrong support": (
        "y ~ x",
        same,
        {"priors": {"sigma": dist.Normal(0, 1)}},
        PriorError,
        ["'sigma'", "positive", "dist.HalfNormal"],
    ),
    "prior of the wrong shape": (
        "y ~ x + z",
        same,
        {"priors": {"b": dist.Normal(0, np.ones(3))}},
        PriorError,
        ["'b'", "(3,)", "(2,)"],
    ),
    # Names.
    **{
        f"group called {name}": (
            f"y ~ x + (1 | {name})",
            lambda d, name=name: d.assign(**{name: d["g"]}),
            {},
            DataError,
            [f"The group '{name}'", "posterior", "Rename"],
        )
        for name in ("draw", "chain", "obs_id", "b", "coef", "sigma", "Intercept")
    },
    "response called sigma": (
        "sigma ~ x",
        lambda d: d.assign(sigma=d["y"]),
        {},
        DataError,
        ["The response 'sigma'", "Rename"],
    ),
    "response called draw": (
        "draw ~ x",
        lambda d: d.assign(draw=d["y"]),
        {},
        DataError,
        ["'draw'", "Rename"],
    ),
    "predictor called chain": (
        "y ~ chain",
        lambda d: d.assign(chain=d["x"]),
        {},
        DataError,
        ["column 'chain'", "Rename"],
    ),
    "predictor called Intercept": (
        "y ~ Intercept",
        lambda d: d.assign(Intercept=d["x"]),
        {},
        FormulaError,
        ["'Intercept'", "rename"],
    ),
    **{
        f"group called {name}, as a site of the model": (
            f"y ~ (x | g) + (1 | {name})",
            lambda d, name=name: d.assign(**{name: d["h"]}),
            {},
            DataError,
            [f"The group '{name}'", "Rename"],
        )
        for name in ("z_g", "L_g", "r_g", "sd_g", "cor_g", "g_effect", "g_effect_2")
    },
    "group as response": ("h ~ x + (1 | h)", same, {}, DataError, ["'h'", "(... | h)"]),
    "two things with one name": (
        ["y ~ (1 | sigma_g)", "sigma ~ (1 | g)"],
        lambda d: d.assign(sigma_g=d["h"]),
        {},
        DataError,
        ["sigma_g", "Rename"],
    ),
    "a slash in a column": (
        "y ~ `a/b`",
        lambda d: d.assign(**{"a/b": d["x"]}),
        {},
        DataError,
        ["'a/b'", "'/'", "Rename"],
    ),
    "a slash in a group": (
        "y ~ (1 | `a/b`)",
        lambda d: d.assign(**{"a/b": d["g"]}),
        {},
        DataError,
        ["'a/b'", "'/'"],
    ),
    "a slash in the response": (
        "`a/b` ~ x",
        lambda d: d.assign(**{"a/b": d["y"]}),
        {},
        DataError,
        ["'a/b'", "'/'"],
    ),
    "two groups of one name": (
        "y ~ (1 | g:f) + (0 + x | `g:f`)",
        lambda d: d.assign(**{"g:f": d["h"]}),
        {},
        DataError,
        ["'g:f'", "column and an interaction", "Rename"],
    ),
    "one group in two orders": (
        "y ~ (1 | g:f) + (1 + x | f:g)",
        same,
        {},
        FormulaError,
        ["'f:g'", "'g:f'", "one order"],
    ),
    "nothing to estimate": (
        "count ~ 0",
        same,
        {"family": "poisson"},
        DataError,
        ["'count ~ 0'", "nothing to estimate"],
    ),
    "the response on both sides": ("log(y) ~ x + y", same, {}, FormulaError, ["log(y)", "'y'"]),
    "the response in sigma": (["y ~ x", "sigma ~ y"], same, {}, FormulaError, ["'y'"]),
    "a date as a predictor": (
        "y ~ date",
        lambda d: d.assign(date=pd.date_range("2020-01-01", periods=len(d))),
        {},
        DataError,
        ["'date'", "times", "days since"],
    ),
    "a response out of all scale": (
        "y ~ x",
        lambda d: d.assign(y=1e200 * d["y"]),
        {},
        DataError,
        ["Rescale"],
    ),
    "NaN of a transform, by row label": (
        "y ~ log(z)",
        lambda d: d.assign(z=[1.0] * 5 + [-1.0] + [1.0 + i for i in range(len(d) - 6)]).set_index(
            pd.Index([f"r{i}" for i in range(len(d))])
        ),
        {},
        DataError,
        ["'log(z)'", "'r5'"],
    ),
    "a bad count, by row label": (
        "count ~ x",
        lambda d: put(5, -1, "count")(d).set_index(pd.Index([f"r{i}" for i in range(len(d))])),
        {"family": "poisson"},
        DataError,
        ["count", "-1", "'r5'"],
    ),
    # Functions.
    "unknown function": ("y ~ foo(x)", same, {}, FormulaError, ["'foo'", "functions="]),
    "function that is none": (
        "y ~ foo(x)",
        same,
        {"functions": {"foo": 3}},
        FormulaError,
        ["'foo'", "function itself"],
    ),
    "functions that are no mapping": (
        "y ~ foo(x)",
        same,
        {"functions": np.log},
        FormulaError,
        ["functions=", "mapping"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_models(case, frame):
    formula, change, arguments, kind, words = REFUSED[case]
    data = change(frame)
    before = data.copy(deep=True) if isinstance(data, pd.DataFrame) else None
    with pytest.raises(BayesmmError) as caught:
        bm.Model(formula, data, **arguments)
    assert type(caught.value) is kind, repr(caught.value)
    assert isinstance(caught.value, ValueError)
    message = str(caught.value)
    assert all(word in message for word in words), message
    if before is not None:
        pd.testing.assert_frame_equal(data, before)
    # `fit` is the same door.
    with pytest.raises(kind):
        bm.fit(formula, data, **arguments)


SAMPLING = {
    "no draws": ({"draws": 0}, ["draws=0", "at least 1"]),
    "draws with a fraction": ({"draws": 10.0}, ["draws=10.0", "whole number"]),
    "true draws": ({"draws": True}, ["draws=True"]),
    "text as draws": ({"draws": "many"}, ["draws='many'"]),
    "no number of draws": ({"draws": None}, ["draws=None"]),
    "negative chains": ({"chains": -1}, ["chains=-1", "at least 1"]),
    "no chains": ({"chains": 0}, ["chains=0"]),
    "warm-up with a fraction": ({"warmup": 1.5}, ["warmup=1.5", "whole number"]),
    "negative warm-up": ({"warmup": -5}, ["warmup=-5"]),
    "text as seed": ({"seed": "a"}, ["seed='a'", "whole number", "None"]),
    "negative seed": ({"seed": -1}, ["seed=-1", "2**32 - 1"]),
    "large seed": ({"seed": 2**32}, ["seed=4294967296"]),
    "true seed": ({"seed": True}, ["seed=True"]),
    "seed with a fraction": ({"seed": 1.0}, ["seed=1.0"]),
    "parameterization": (
        {"parameterization": "whitened"},
        ["parameterization='whitened'", "'centered'"],
    ),
    "log_likelihood": ({"log_likelihood": "yes"}, ["log_likelihood='yes'", "True, False"]),
    "engine by name": ({"engine": "nuts"}, ["engine='nuts'", "bm.NUTS()"]),
    "engine as a class": ({"engine": bm.NUTS}, ["NUTS", "bm.NUTS()"]),
}


@pytest.mark.parametrize("case", SAMPLING)
def test_refused_sampler_arguments(case, frame):
    arguments, words = SAMPLING[case]
    model = bm.Model("y ~ x + (1 | g)", frame)
    with pytest.raises(SamplerError) as caught:
        model.fit(**arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    if set(arguments) <= {"draws", "seed"}:
        with pytest.raises(SamplerError):
            model.prior_predictive(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target_accept": 1.2}, ["target_accept=1.2", "between 0 and 1"]),
        ({"target_accept": 0}, ["target_accept=0"]),
        ({"target_accept": True}, ["target_accept=True"]),
        ({"target_accept": "high"}, ["target_accept='high'"]),
        ({"target_accept": float("nan")}, ["target_accept=nan"]),
        ({"max_tree_depth": 0}, ["max_tree_depth=0"]),
        ({"max_tree_depth": 2.5}, ["max_tree_depth=2.5"]),
    ],
)
def test_refused_engine_settings(arguments, words):
    with pytest.raises(SamplerError) as caught:
        bm.NUTS(**arguments)
    assert all(word in str(caught.value) for word in words)


def test_numpy_numbers_are_numbers(frame):
    model = bm.Model("y ~ x", frame)
    with pytest.raises(AssertionError, match="compiled or run"):
        model.fit(draws=np.int64(10), chains=np.int32(2), warmup=np.int64(5), seed=np.uint32(3))


@pytest.mark.parametrize("formula", ["binary ~ x + (1 | g)", 'two["yes"] ~ x'])
def test_one_value_of_a_bernoulli_is_a_warning(formula, frame):
    data = frame.assign(binary=1, two="yes")
    with pytest.warns(BayesmmWarning, match="is 1 in every row.*priors alone") as caught:
        bm.Model(formula, data, "bernoulli")
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_warnings_point_at_the_caller(frame):
    with pytest.warns(BayesmmWarning, match="1 of 30 rows") as caught:
        bm.Model("y ~ x", put(3, np.nan, "x")(frame))
    assert caught[0].filename == __file__
    with pytest.warns(BayesmmWarning, match="1 of 30 rows") as caught:
        with pytest.raises(AssertionError, match="compiled or run"):
            bm.fit("y ~ x", put(3, np.nan, "x")(frame))
    assert caught[0].filename == __file__


def test_constant_counts_are_allowed(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bm.Model("total ~ x", frame, "poisson")
        bm.Model("prop(total, 20) ~ x", frame, "binomial")


def test_more_effects_than_rows_are_allowed(frame):
    model = bm.Model("y ~ x + (x | text)", frame)
    assert len(model.spec.schema.grouping("text").cells) == N


@pytest.mark.parametrize(
    ("formula", "family", "success"),
    [
        ("binary ~ x", "bernoulli", None),
        ("flag ~ x", "bernoulli", None),
        ("two ~ x", "bernoulli", "yes"),
        ('two["no"] ~ x', "bernoulli", "no"),
        ('f["b"] ~ x', "bernoulli", "b"),
        ("order ~ x", "bernoulli", "low"),
        ("one_two ~ x", "bernoulli", "2"),
        ('binary["0"] ~ x', "bernoulli", "0"),
    ],
)
def test_what_counts_as_success_is_printed(formula, family, success, frame):
    data = frame.assign(
        flag=frame["binary"] == 1,
        order=pd.Categorical(
            np.where(frame["binary"] == 1, "high", "low"), categories=["high", "low"]
        ),
        one_two=pd.Categorical(frame["binary"] + 1),
    )
    model = bm.Model(formula, data, family)
    assert model.spec.success == success
    assert (f"success: '{success}'" in str(model)) == (success is not None)
    name = model.spec.response
    expected = data[name] == 1 if success is None else data[name].astype(str) == success
    np.testing.assert_array_equal(model._prepared.response.values, expected.astype(float))


def test_a_good_model_leaves_the_frame_alone(frame):
    data = put(3, np.nan, "x")(frame)
    before = data.copy(deep=True)
    with pytest.warns(BayesmmWarning):
        model = bm.Model("weighted(y, w) ~ scale(x) + f + (x | g) + (1 | h)", data)
    assert len(str(model)) > 100
    pd.testing.assert_frame_equal(data, before)
    assert isinstance(data["f"].dtype, pd.CategoricalDtype)


def test_every_error_is_exported_and_derives_from_one():
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception)
    ]
    assert len(kinds) == 8
    for kind in kinds:
        assert getattr(bm, kind.__name__) is kind
        if not issubclass(kind, Warning):
            assert issubclass(kind, BayesmmError)
            assert issubclass(kind, ValueError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target_accept": 0.95}, "'target_accept'.*engine=bm.NUTS\\(target_accept"),
        ({"draw": 10}, "'draw'.*Did you mean 'draws'"),
        ({"iter": 10}, "'iter'.*'warmup'"),
    ],
)
def test_unknown_sampling_arguments(arguments, words, frame):
    with pytest.raises(SamplerError, match=words):
        bm.fit("y ~ x", frame, **arguments)


def test_names_of_other_packages_are_translated(frame):
    for formula in ("cbind(few, total) ~ x", "few | trials(total) ~ x", "few/total ~ x"):
        with pytest.raises(FormulaError, match=r"prop\("):
            bm.Model(formula, frame, "binomial")
    with pytest.raises(FamilyError, match="Write 'negbinomial'"):
        bm.Model("count ~ x", frame, "nb")
