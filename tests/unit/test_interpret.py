"""Predictions, comparisons and slopes: against the formula by hand, and against each other."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

import bayesmm as bm
from bayesmm.interpret import answers
from bayesmm.interpret.tables import summary

QUICK = {"draws": 100, "chains": 2, "warmup": 200, "seed": 3, "progress": False}
ESTIMATE = ["estimate", "std_error", "conf_low", "conf_high"]


@pytest.fixture(scope="module")
def data():
    """A number x, a factor f, 0/1 b, truth t, whole k, groups g; a region no model uses."""
    rng = np.random.default_rng(3)
    n = 240
    frame = pd.DataFrame(
        {
            "x": rng.normal(1.0, 1.0, n),
            "f": pd.Categorical(np.resize(["low", "mid", "top"], n), ["low", "mid", "top"]),
            "b": rng.integers(0, 2, n),
            "t": rng.integers(0, 2, n).astype(bool),
            "k": rng.integers(1, 5, n),
            "g": np.repeat([f"g{j:02d}" for j in range(20)], 12),
            "w": rng.uniform(0.2, 3.0, n),
            "region": np.resize(["north", "south"], n),
        }
    )
    effect = np.repeat(rng.normal(0, 1.0, 20), 12)
    eta = -0.5 + 0.6 * frame["x"] + 0.5 * (frame["f"] == "top") + 0.4 * frame["b"] + effect
    frame["y"] = rng.binomial(1, expit(eta))
    frame["n"] = 6
    frame["s"] = rng.binomial(6, expit(eta))
    frame["o"] = np.digitize(eta + rng.logistic(size=n), [-1.0, 1.0])
    frame["z"] = eta + rng.normal(size=n)
    return frame


@pytest.fixture(scope="module")
def fit(data):
    return bm.fit("y ~ x * f + b + t + (1 + x | g)", data, family="bernoulli", **QUICK)


@pytest.fixture(scope="module")
def curved(data):
    return bm.fit("z ~ poly(x, 2) + f + C(k) + (1 | g)", data, **QUICK)


@pytest.fixture(scope="module")
def ordinal(data):
    return bm.fit("o ~ x + (1 | g)", data, family="cumulative", **QUICK)


def drawn(fit, name):
    values = fit.whole_posterior()[name].to_numpy()
    return values.reshape(-1, *values.shape[2:])


def expected(fit, rows, **how):
    values = fit.predict(rows, **how)["predictions"]["mean"].to_numpy()
    return values.reshape(-1, *values.shape[2:])


def same(table, values, conf_level=0.95):
    """Whether a table has the summaries of these draws."""
    return np.allclose(table[ESTIMATE].to_numpy().T, summary(values, conf_level), rtol=1e-9)


# --- predictions ---


def test_summaries_are_median_sd_and_equal_tails():
    values = np.random.default_rng(0).normal(size=(1000, 3))
    median, sd, low, high = summary(values, 0.8)
    assert np.allclose(median, np.median(values, axis=0))
    assert np.allclose(sd, values.std(axis=0))
    assert np.allclose([low, high], np.quantile(values, [0.1, 0.9], axis=0))


def test_rows_of_the_training_data(fit, data):
    table = bm.predictions(fit)
    assert same(table, expected(fit, None))
    assert table.attrs == {"clusters": "given", "conf_level": 0.95}
    assert table.index.tolist() == data.index.tolist()
    assert {"x", "f", "g", "y"} < set(table.columns)
    assert "region" not in table.columns


@pytest.mark.parametrize(
    ("clusters", "how"),
    [("given", {}), ("typical", {"group_effects": ()})],
)
def test_clusters(fit, data, clusters, how):
    rows = data.head(7)
    assert same(bm.predictions(fit, rows, clusters=clusters), expected(fit, rows, **how))


def test_the_average_over_clusters_is_the_marginal_mean(fit, data):
    rows = data.head(7).drop(columns="g")
    found = bm.marginal_mean(fit, rows)["predictions"]["mean"].to_numpy().reshape(200, -1)
    assert same(bm.predictions(fit, rows, clusters="average"), found)


def test_a_new_cluster_is_one_for_all_rows(fit, data):
    rows = data.head(5).assign(g="new", x=0.7, f="low", b=0, t=False)
    table = bm.predictions(fit, rows, clusters="new", seed=4, draws=True)
    assert np.allclose(table, table[..., :1])
    typical = bm.predictions(fit, rows, clusters="typical")
    assert (table.std(("chain", "draw")) > typical["std_error"].iloc[0]).all()
    again = bm.predictions(fit, rows, clusters="new", seed=4, draws=True)
    assert np.array_equal(table, again)


def test_rows_without_clusters_are_of_the_typical_one(fit, data):
    rows = data.head(3).drop(columns="g")
    table = bm.predictions(fit, rows)
    assert table.attrs["clusters"] == "typical"
    assert same(table, expected(fit, rows, group_effects=()))


def test_the_link_scale(fit, data):
    rows = data.head(4)
    table = bm.predictions(fit, rows, type="link", draws=True)
    assert np.allclose(expit(table.to_numpy().reshape(200, -1)), expected(fit, rows), rtol=1e-9)


def test_averages(fit, data):
    values = expected(fit, None)
    assert same(bm.predictions(fit, by=True), values.mean(axis=1, keepdims=True))
    table = bm.predictions(fit, by=["f", "b"])
    cells = [
        values[:, ((data["f"] == f) & (data["b"] == b)).to_numpy()].mean(axis=1)
        for f in ["low", "mid", "top"]
        for b in [0, 1]
    ]
    assert table["f"].tolist() == ["low", "low", "mid", "mid", "top", "top"]
    assert same(table, np.stack(cells, axis=1))
    weighted = (values * data["w"].to_numpy()).sum(axis=1) / data["w"].sum()
    assert same(bm.predictions(fit, by=True, wts=data["w"]), weighted[:, None])
    assert same(bm.predictions(fit, data, by=True, wts="w"), weighted[:, None])


def test_averages_over_columns_that_the_model_does_not_use(fit, data):
    table = bm.predictions(fit, data, by="region")
    assert table["region"].tolist() == ["north", "south"]
    with pytest.raises(bm.BayesmmError, match=r"newdata="):
        bm.predictions(fit, by="region")


def test_blocks_of_rows_change_nothing(fit, monkeypatch):
    whole, cells = bm.predictions(fit), bm.comparisons(fit, "f", by="b", comparison="ratio")
    slopes = bm.slopes(fit, "x")
    monkeypatch.setattr(answers, "at_once", lambda numbers: 3)
    assert np.allclose(bm.predictions(fit)[ESTIMATE], whole[ESTIMATE])
    again = bm.comparisons(fit, "f", by="b", comparison="ratio")
    assert np.allclose(again[ESTIMATE], cells[ESTIMATE])
    assert np.allclose(bm.slopes(fit, "x")[ESTIMATE], slopes[ESTIMATE])


def test_imposed_values(fit, data):
    table = bm.predictions(fit, variables={"f": ["top", "low"]}, by=True)
    assert table["f"].tolist() == ["low", "top"]
    by_hand = [expected(fit, data.assign(f=f)).mean(axis=1) for f in ["low", "top"]]
    assert same(table, np.stack(by_hand, axis=1))
    rows = bm.predictions(fit, variables="t")
    assert len(rows) == 2 * len(data)
    assert len(bm.predictions(fit, data.head(2), variables="x")) == 10


def test_draws_come_with_names(fit):
    found = bm.predictions(fit, by="f", draws=True)
    assert found.dims == ("chain", "draw", "row")
    assert found.sizes == {"chain": 2, "draw": 100, "row": 3}
    assert found["f"].to_numpy().tolist() == ["low", "mid", "top"]


def test_categories(ordinal, data):
    table = bm.predictions(ordinal, data.head(3))
    assert table["group"].tolist() == ["0", "1", "2"] * 3
    assert same(table, expected(ordinal, data.head(3)).reshape(200, -1))
    average = bm.predictions(ordinal, by=True, draws=True)
    assert np.allclose(average.sum("row"), 1.0)
    assert np.allclose(bm.slopes(ordinal, by=True, draws=True).sum("row"), 0.0)
    assert len(bm.predictions(ordinal, data.head(3), type="link")) == 3


# --- comparisons ---


def test_differences_of_probabilities(fit, data):
    table = bm.comparisons(fit, "f", data)
    low, top = (expected(fit, data.assign(f=f)) for f in ["low", "top"])
    of_top = table[table["contrast"] == "top - low"]
    assert same(of_top, top - low)
    assert set(table["contrast"]) == {"mid - low", "top - low"}
    assert set(table["term"]) == {"f"}


def test_numbers_zeros_and_ones_and_truth(fit, data):
    table = bm.comparisons(fit, by=True)
    assert list(zip(table["term"], table["contrast"], strict=True)) == [
        ("x", "+1"),
        ("f", "mid - low"),
        ("f", "top - low"),
        ("b", "1 - 0"),
        ("t", "True - False"),
    ]
    step = expected(fit, data.assign(x=data["x"] + 1)) - expected(fit, data)
    assert same(table[table["term"] == "x"], step.mean(axis=1, keepdims=True))
    ones = expected(fit, data.assign(b=1)) - expected(fit, data.assign(b=0))
    assert same(table[table["term"] == "b"], ones.mean(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("wanted", "values", "contrast"),
    [
        (2, None, "+2"),
        (-0.5, None, "-0.5"),
        ([0, 2], (0, 2), "2 - 0"),
        ("sd", lambda x: x.mean() + x.std() * np.array([-0.5, 0.5]), None),
        ("2sd", lambda x: x.mean() + x.std() * np.array([-1.0, 1.0]), None),
        ("iqr", lambda x: x.quantile([0.25, 0.75]), None),
        ("minmax", lambda x: (x.min(), x.max()), None),
    ],
)
def test_steps_of_numbers(curved, data, wanted, values, contrast):
    table = bm.comparisons(curved, {"x": wanted}, data.head(3))
    if values is None:
        low, high = data["x"].head(3), data["x"].head(3) + wanted
    else:
        low, high = values(data["x"]) if callable(values) else values
    rows = data.head(3)
    by_hand = expected(curved, rows.assign(x=high)) - expected(curved, rows.assign(x=low))
    assert same(table, by_hand)
    assert contrast is None or (table["contrast"] == contrast).all()


@pytest.mark.parametrize(
    ("wanted", "contrasts"),
    [
        (None, ["mid - low", "top - low"]),
        ("sequential", ["mid - low", "top - mid"]),
        ("pairwise", ["mid - low", "top - low", "top - mid"]),
        ("revpairwise", ["low - mid", "low - top", "mid - top"]),
        ("minmax", ["top - low"]),
        (["mid", "top"], ["top - mid"]),
    ],
)
def test_contrasts_of_factors(curved, wanted, contrasts):
    table = bm.comparisons(curved, {"f": wanted}, "mean")
    assert table["contrast"].tolist() == contrasts


def test_numbers_that_enter_as_factors(curved):
    table = bm.comparisons(curved, "k", "mean")
    assert table["contrast"].tolist() == ["2 - 1", "3 - 1", "4 - 1"]
    coefs = list(curved.posterior.coef.to_numpy())
    b = drawn(curved, "b")[:, coefs.index("C(k)[3]")]
    assert same(table.iloc[[1]], b[:, None])


def test_ratios_are_of_averages(fit, data):
    low, top = (expected(fit, data.assign(f=f)).mean(axis=1) for f in ["low", "top"])
    table = bm.comparisons(fit, {"f": ["low", "top"]}, by=True, comparison="ratio")
    assert same(table, (top / low)[:, None])
    assert table["contrast"].tolist() == ["top / low"]
    for name, value in {
        "lnratio": np.log(top / low),
        "lift": top / low - 1,
        "odds_ratio": np.exp(logit(top) - logit(low)),
        "lnor": logit(top) - logit(low),
    }.items():
        table = bm.comparisons(fit, {"f": ["low", "top"]}, by=True, comparison=name)
        assert same(table, value[:, None])
    own = bm.comparisons(fit, {"f": ["low", "top"]}, by=True, comparison=lambda hi, lo: hi**2 - lo)
    assert same(own, (top**2 - low)[:, None])


def test_odds_ratios_of_the_typical_cluster_are_coefficients(fit):
    table = bm.comparisons(fit, "b", "mean", comparison="odds_ratio")
    coefs = list(fit.posterior.coef.to_numpy())
    assert same(table, np.exp(drawn(fit, "b")[:, [coefs.index("b")]]))


def test_a_new_cluster_is_the_same_on_both_sides(fit):
    table = bm.comparisons(fit, "b", "mean", clusters="new", type="link", seed=1)
    coefs = list(fit.posterior.coef.to_numpy())
    assert same(table, drawn(fit, "b")[:, [coefs.index("b")]])


def test_trials_that_are_a_predictor_too(data):
    data = data.assign(n=np.resize([4, 6, 9], len(data)))
    data["s"] = np.random.default_rng(1).binomial(data["n"], 0.4)
    fit = bm.fit("prop(s, n) ~ n + x + (1 | g)", data, family="binomial", **QUICK)
    table = bm.comparisons(fit, "n", data.head(4), comparison="odds_ratio", clusters="typical")
    assert same(table, np.exp(np.repeat(drawn(fit, "b")[:, [1]], 4, axis=1)))
    with pytest.raises(bm.BayesmmError, match="left of '~'"):
        bm.slopes(fit, "n")
    assert bm.datagrid(fit)["n"].tolist() == [round(data["n"].mean())]
    for bad in (-1, 1.5):
        with pytest.raises(bm.DataError, match="whole numbers from 0 on"):
            fit.predict(data.head(2).assign(n=bad))


def test_a_choice_of_clusters_for_each_group(data):
    data = data.assign(h=np.resize(np.arange(8), len(data)))
    fit = bm.fit("z ~ x + (1 | g) + (1 | h)", data, **QUICK)
    rows = pd.DataFrame({"x": 0.5, "h": [1, 4]})
    with pytest.raises(bm.BayesmmError, match="'h' and not 'g'.*'h': 'given'"):
        bm.predictions(fit, rows)
    found = bm.predictions(fit, rows, clusters={"g": "average"})
    b, r = drawn(fit, "b"), drawn(fit, "r_h")[:, [1, 4], 0]
    assert same(found, (b @ [1.0, 0.5])[:, None] + r)
    assert found.attrs["clusters"] == "g: average, h: given"
    new = bm.predictions(fit, rows, clusters={"g": "new"}, seed=1, draws=True)
    assert np.allclose(new[..., 1] - new[..., 0], (r[:, 1] - r[:, 0]).reshape(2, 100))
    assert (new.std(("chain", "draw")) > found["std_error"].to_numpy()).all()
    with pytest.raises(bm.BayesmmError, match="no group 'k'"):
        bm.predictions(fit, rows, clusters={"k": "new"})


def test_fewer_draws(fit):
    assert bm.predictions(fit, "mean", ndraws=20, draws=True).sizes["draw"] == 20
    assert len(bm.comparisons(fit, "f", "mean", ndraws=20)) == 2
    assert len(bm.slopes(fit, "x", "mean", ndraws=20)) == 1


def test_a_number_that_also_enters_through_a_factor(data):
    fit = bm.fit("z ~ x + C(round(x)) + (1 | g)", data.assign(x=data["x"].clip(0, 2)), **QUICK)
    assert bm.comparisons(fit, {"x": [1.0, 1.2]}, "mean")["contrast"].tolist() == ["1.2 - 1"]
    assert bm.datagrid(fit)["x"].iloc[0] == pytest.approx(data["x"].clip(0, 2).mean())


# --- slopes ---


def test_slopes_of_a_logistic_curve(fit, data):
    rows = data.head(6)
    p = expected(fit, rows)
    coefs = list(fit.posterior.coef.to_numpy())
    b = drawn(fit, "b")
    slope = b[:, [coefs.index("x")]] + np.zeros(6)
    for level in ("mid", "top"):
        at = (rows["f"] == level).to_numpy()
        slope[:, at] += b[:, [coefs.index(f"x:f[{level}]")]]
    slope += drawn(fit, "r_g")[:, [0] * 6, 1]
    assert same(bm.slopes(fit, "x", rows), p * (1 - p) * slope)
    assert same(bm.slopes(fit, "x", rows, type="link"), slope)


@pytest.mark.parametrize("clusters", ["given", "typical", "average"])
def test_slopes_are_limits_of_comparisons(curved, fit, data, clusters):
    for model in (curved, fit):
        slope = bm.slopes(model, "x", by="f", clusters=clusters)
        h = 1e-4
        up, down = (
            bm.predictions(
                model, data.assign(x=data["x"] + s * h), by="f", clusters=clusters, draws=True
            )
            for s in (1, -1)
        )
        quotient = ((up - down) / (2 * h)).to_numpy().reshape(200, -1)
        assert np.allclose(slope[ESTIMATE].to_numpy().T, summary(quotient, 0.95), atol=1e-6)


def test_elasticities(curved, data):
    rows = data.head(4)
    y, x = expected(curved, rows), rows["x"].to_numpy()
    plain = bm.slopes(curved, "x", rows, draws=True).to_numpy().reshape(200, -1)
    for name, value in {"eyex": plain * x / y, "eydx": plain / y, "dyex": plain * x}.items():
        assert same(bm.slopes(curved, "x", rows, slope=name), value)
    assert bm.slopes(curved, "x", rows)["contrast"].unique().tolist() == ["dY/dX"]


# --- grids ---


def test_grids(fit, data):
    grid = bm.datagrid(fit, x=[0, 1], f=np.unique)
    assert grid["x"].tolist() == [0, 0, 0, 1, 1, 1]
    assert grid["f"].tolist() == ["low", "mid", "top"] * 2
    assert (grid["b"] == data["b"].mode()[0]).all()
    assert grid["t"].dtype == bool
    assert "g" not in grid
    assert bm.datagrid(fit)["x"].tolist() == pytest.approx([data["x"].mean()])
    assert bm.datagrid(fit, g=["g01", "g02"])["g"].tolist() == ["g01", "g02"]
    balanced = bm.datagrid(fit, grid_type="balanced")
    assert len(balanced) == 12
    one = data[data["f"] == "mid"]
    assert bm.datagrid(fit, newdata=one)["x"].iloc[0] == pytest.approx(one["x"].mean())
    assert bm.datagrid(fit, newdata=one)["f"].tolist() == ["mid"]
    every = bm.datagrid(fit, grid_type="counterfactual", f=["low", "top"])
    assert len(every) == 2 * len(data)
    assert every["rowidcf"].tolist() == list(data.index) * 2
    assert bm.predictions(fit, every).attrs["clusters"] == "given"


def test_whole_numbers_and_trials(curved, data):
    assert bm.datagrid(curved)["k"].tolist() == [data["k"].mode()[0]]
    binomial = bm.fit("prop(s, n) ~ x + k + (1 | g)", data, family="binomial", **QUICK)
    grid = bm.datagrid(binomial, x=[0.0, 1.0])
    assert grid["n"].tolist() == [1, 1]
    assert grid["k"].tolist() == [round(data["k"].mean())] * 2
    p = bm.predictions(binomial, grid)
    assert ((p["estimate"] > 0) & (p["estimate"] < 1)).all()
    table = bm.comparisons(binomial, "x", grid, comparison="odds_ratio")
    odds_ratio = np.exp(drawn(binomial, "b")[:, [1]])
    assert same(table, np.repeat(odds_ratio, 2, axis=1))
    six = bm.comparisons(binomial, "x", data.head(1), comparison="odds_ratio")
    assert same(six, odds_ratio)


def test_grids_of_models_without_predictors(data):
    fit = bm.fit("z ~ 1 + (1 | g)", data, **QUICK)
    assert bm.datagrid(fit).shape == (1, 0)
    for clusters in ("typical", "average"):
        table = bm.predictions(fit, "mean", clusters=clusters)
        assert same(table, drawn(fit, "b"))


def test_grids_of_the_rows_that_one_has(fit, data):
    own = data.assign(t=pd.Categorical(data["t"]))
    assert bm.datagrid(fit, newdata=own)["t"].tolist() == [data["t"].mode()[0]]
    with pytest.raises(bm.DataError, match="no number"):
        bm.datagrid(fit, newdata=data.assign(x=np.nan))


def test_polars(fit, data):
    import polars as pl

    rows = data.head(4).drop(columns=["f", "t"])
    rows = rows.assign(f="mid", t=True)
    assert np.allclose(
        bm.predictions(fit, pl.from_pandas(rows))[ESTIMATE], bm.predictions(fit, rows)[ESTIMATE]
    )


# --- refusals ---


def test_a_fit_is_not_changed(fit, data):
    before, rows = fit.idata.copy(deep=True), data.copy(deep=True)
    bm.comparisons(fit, newdata=data, by="f", clusters="new", seed=1)
    bm.slopes(fit, newdata=data)
    assert fit.idata.identical(before)
    pd.testing.assert_frame_equal(data, rows)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, d: bm.predictions(f.idata), "what bm.fit"),
        (lambda f, d: bm.predictions(f, type="mean"), "type='mean'"),
        (lambda f, d: bm.predictions(f, clusters="typcal"), "Did you mean 'typical'"),
        (lambda f, d: bm.predictions(f, conf_level=95), "conf_level=95"),
        (lambda f, d: bm.predictions(f, "median"), "'mean' or 'balanced'"),
        (lambda f, d: bm.predictions(f, d.head(0)), "no rows"),
        (lambda f, d: bm.predictions(f, d.drop(columns="x")), "'x'"),
        (lambda f, d: bm.predictions(f, d.assign(g="new")), "clusters='typical'"),
        (lambda f, d: bm.predictions(f, d.assign(f="max")), "max"),
        (lambda f, d: bm.predictions(f, d.assign(f=1)), "make the column text"),
        (lambda f, d: bm.predictions(f, by="ff"), "Did you mean 'f'"),
        (lambda f, d: bm.predictions(f, wts="w"), "by="),
        (lambda f, d: bm.predictions(f, by=True, wts="w"), "no such column"),
        (lambda f, d: bm.predictions(f, by=True, wts=[1, 2]), r"shape \(2,\)"),
        (lambda f, d: bm.predictions(f, by=True, wts=-np.ones(240)), "negative"),
        (lambda f, d: bm.predictions(f, by="f", wts=(d["f"] != "low") * 1), "all 0"),
        (lambda f, d: bm.predictions(f, variables="g"), "not a predictor"),
        (lambda f, d: bm.comparisons(f, "xx"), "Did you mean 'x'"),
        (lambda f, d: bm.comparisons(f, {"x": "big"}), "a number to add"),
        (lambda f, d: bm.comparisons(f, {"f": "big"}), "'reference'"),
        (lambda f, d: bm.comparisons(f, {"f": ["low", "big"]}), "no level 'big'"),
        (lambda f, d: bm.comparisons(f, "x", comparison="diference"), "Did you mean 'difference'"),
        (lambda f, d: bm.comparisons(f, "x", type="link", comparison="lnor"), "probabilities"),
        (lambda f, d: bm.comparisons(f, "x", comparison=lambda a, b: 1.0), "element by element"),
        (lambda f, d: bm.comparisons(f, []), "empty"),
        (lambda f, d: bm.slopes(f, "f"), "bm.comparisons"),
        (lambda f, d: bm.slopes(f, slope="dxdy"), "'dydx'"),
        (lambda f, d: bm.slopes(f, "y"), "not a predictor"),
        (lambda f, d: bm.datagrid(f, zz=1), "'zz'"),
        (lambda f, d: bm.datagrid(f, x=[[1, 2], [3, 4]]), "flat list"),
        (lambda f, d: bm.predictions(f, draws=500), "draws=500"),
        (lambda f, d: bm.predictions(f, by=3), "by=3"),
        (lambda f, d: bm.predictions(f, variables=3), "variables=3"),
        (lambda f, d: bm.predictions(f, variables={"x": []}), "no values"),
        (lambda f, d: bm.predictions(f, type=["link"]), "type="),
        (lambda f, d: bm.predictions(f, clusters=3), "clusters=3"),
        (lambda f, d: bm.comparisons(f, {"x": [1, 2, 3]}), "a number to add"),
        (lambda f, d: bm.comparisons(f, {"x": [[1], 2]}), "a number to add"),
        (lambda f, d: bm.comparisons(f, [["x"]]), "not a predictor"),
        (lambda f, d: bm.comparisons(f, {"f": ["low", "mid", "top"]}), "'reference'"),
        (lambda f, d: bm.comparisons(f, "x", comparison=["ratio"]), "comparison="),
        (lambda f, d: bm.comparisons(f, "x", d.assign(x="one")), "'x'"),
        (lambda f, d: bm.slopes(f, slope=["dydx"]), "slope="),
        (lambda f, d: bm.datagrid(f, x=[]), "no values"),
        (lambda f, d: bm.datagrid(f, grid_type="mean"), "'mean_or_mode'"),
    ],
)
def test_refusals(fit, data, call, message):
    with pytest.raises(bm.BayesmmError, match=message):
        call(fit, data)


def test_columns_that_are_also_the_tables(data):
    renamed = data.rename(columns={"x": "estimate"})
    fit = bm.fit("z ~ estimate + (1 | g)", renamed, **QUICK)
    with pytest.raises(bm.DataError, match="rename it"):
        bm.predictions(fit)
