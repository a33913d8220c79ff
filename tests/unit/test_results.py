"""Results: the ArviZ schema, the tables, the verdict, files, predictive draws, and how they print.

Most tests need no posterior, only draws of the right shape: `Nearby` is an engine that takes
independent draws near the priors, and so compiles no sampler.
"""

import contextlib
import json
from dataclasses import replace

import arviz as az
import jax
import matplotlib
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.stats as st
import xarray as xr
from nearby import nearby

import bayesmm as bm
from bayesmm import chunks, families
from bayesmm.errors import (
    BayesmmError,
    DataError,
    FamilyError,
    FormulaError,
    PriorError,
    SamplerError,
)
from bayesmm.formula import parse
from bayesmm.results import Fit
from bayesmm.results.convert import dimensions

N = 48


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "y": 10 + 3 * rng.normal(size=N),
            "x": 5 + rng.normal(size=N),
            "z": rng.normal(size=N),
            "f": pd.Categorical(rng.choice(list("abc"), N), categories=list("bac")),
            "g": rng.choice([30, 4, 21, 8], N),
            "h": rng.choice(["u", "v"], N),
            "w": rng.uniform(1, 2, N),
            "binary": rng.choice(["no", "yes"], N),
            "count": rng.poisson(6, N),
            "few": rng.integers(0, 9, N),
            "total": 9,
            "share": rng.uniform(0.1, 0.9, N),
            "positive": rng.uniform(1, 9, N),
            "text": [f"t{i}" for i in range(N)],
        }
    )
    return frame.set_index(np.arange(N) * 10 + 3)


FORMULA = ["y ~ x + f + (x | g) + (0 + f | g) + (1 | g:h)", "sigma ~ x + (1 + x | g)"]


@pytest.fixture(scope="module")
def rich_fit(frame) -> Fit:
    """Several blocks and groups, and groups in sigma."""
    return nearby(bm.Model(FORMULA, frame))


def flat(fit, name) -> np.ndarray:
    values = fit.posterior[name].to_numpy()
    return values.reshape(-1, *values.shape[2:])


# --- The posterior's names ---

EFFECTS = ["Intercept", "x", "f[b]", "f[a]", "f[c]"]


def test_names_and_dims(rich_fit):
    dims = {name: v.dims[2:] for name, v in rich_fit.posterior.data_vars.items()}
    assert dims == {
        "b": ("coef",),
        "Intercept": (),
        "sd_g": ("g_effect",),
        "cor_g": ("g_effect", "g_effect_2"),
        "r_g": ("g", "g_effect"),
        "sd_g:h": ("g:h_effect",),
        "r_g:h": ("g:h", "g:h_effect"),
        "b_sigma": ("coef_sigma",),
        "Intercept_sigma": (),
        "sd_sigma_g": ("sigma_g_effect",),
        "cor_sigma_g": ("sigma_g_effect", "sigma_g_effect_2"),
        "r_sigma_g": ("g", "sigma_g_effect"),
    }
    assert all(v.dims[:2] == ("chain", "draw") for v in rich_fit.posterior.data_vars.values())
    coords = {name: c.to_numpy().tolist() for name, c in rich_fit.posterior.coords.items()}
    cells = coords.pop("g:h")
    assert coords == {
        "chain": [0, 1],
        "draw": list(range(30)),
        "coef": ["Intercept", "x", "f[a]", "f[c]"],
        "g_effect": EFFECTS,
        "g_effect_2": EFFECTS,
        "g": [4, 8, 21, 30],
        "g:h_effect": ["Intercept"],
        "coef_sigma": ["Intercept", "x"],
        "sigma_g_effect": ["Intercept", "x"],
        "sigma_g_effect_2": ["Intercept", "x"],
    }
    assert cells == [f"{g}:{h}" for g in (4, 8, 21, 30) for h in "uv"]


def test_names_without_an_intercept_or_coefficients(frame):
    posterior = nearby(bm.Model("y ~ 0 + x + (1 | g)", frame)).posterior
    assert list(posterior.data_vars) == ["b", "sd_g", "r_g", "sigma"]
    posterior = nearby(bm.Model("y ~ 0 + (x || g)", frame)).posterior
    assert list(posterior.data_vars) == ["sd_g", "r_g", "sigma"]


def test_family_parameters_are_scalars(frame):
    posterior = nearby(bm.Model("y ~ x", frame, "student")).posterior
    assert list(posterior.data_vars) == ["b", "Intercept", "sigma", "nu"]
    assert posterior["nu"].dims == ("chain", "draw")
    assert (posterior["nu"] > 1).all()


def test_correlations(rich_fit, frame):
    cor = flat(rich_fit, "cor_g")
    np.testing.assert_allclose(np.diagonal(cor, axis1=1, axis2=2), 1, rtol=1e-12)
    np.testing.assert_array_equal(cor[:, :2, 2:], 0.0)
    np.testing.assert_array_equal(cor[:, 2:, :2], 0.0)
    np.testing.assert_allclose(cor, np.swapaxes(cor, 1, 2), atol=1e-15)
    assert (cor[:, 0, 1] != 0).all()
    assert (np.linalg.eigvalsh(cor) > 0).all()
    for text in ("(x || g)", "(1 | g) + (0 + x | g)", "(f || g)", "(1 | g)"):
        assert "cor_g" not in dimensions(bm.Model(f"y ~ x + {text}", frame).spec)[0]
    assert "cor_g" not in nearby(bm.Model("y ~ x + (f || g)", frame)).posterior


def test_coefficients_are_for_the_predictors_as_given(rich_fit, frame):
    b = flat(rich_fit, "b")
    X = np.column_stack([frame["x"], frame["f"] == "a", frame["f"] == "c"]).astype(float)
    uncentred = flat(rich_fit, "Intercept") - b[:, 1:] @ X.mean(axis=0)
    np.testing.assert_allclose(b[:, 0], uncentred, rtol=1e-12)
    b = flat(rich_fit, "b_sigma")
    uncentred = flat(rich_fit, "Intercept_sigma") - b[:, 1] * frame["x"].mean()
    np.testing.assert_allclose(b[:, 0], uncentred, rtol=1e-12)


# --- The ArviZ schema ---


def test_groups(rich_fit):
    assert set(rich_fit.idata.children) == {
        "posterior",
        "sample_stats",
        "log_likelihood",
        "log_prior",
        "observed_data",
        "constant_data",
    }
    assert isinstance(rich_fit.idata, xr.DataTree)
    for group in rich_fit.idata.children.values():
        for variable in group.dataset.variables.values():
            assert isinstance(variable.to_numpy(), np.ndarray)
    for name in ("posterior", "log_likelihood", "log_prior", "observed_data"):
        for variable in rich_fit.idata[name].dataset.data_vars.values():
            assert variable.dtype == np.float64


def test_rows_are_labelled_by_the_index_of_the_frame(rich_fit, frame):
    for group in ("log_likelihood", "observed_data", "constant_data"):
        found = rich_fit.idata[group]["obs_id"].to_numpy()
        np.testing.assert_array_equal(found, frame.index)
    np.testing.assert_array_equal(rich_fit.idata["observed_data"]["y"], frame["y"])
    constant = rich_fit.idata["constant_data"].dataset
    assert list(constant.data_vars) == ["y", "x", "f", "g", "h"]
    np.testing.assert_array_equal(constant["f"], frame["f"].astype(str))
    np.testing.assert_array_equal(constant["g"], frame["g"])


def test_pointwise_log_likelihood(rich_fit, frame):
    posterior = rich_fit.posterior
    f = np.column_stack([frame["f"] == level for level in "bac"]).astype(float)
    columns = np.column_stack([np.ones(N), frame["x"], f])
    cell = posterior["r_g:h"].sel(
        {"g:h": [f"{g}:{h}" for g, h in zip(frame.g, frame.h, strict=True)]}
    )
    r = posterior["r_g"].sel(g=frame["g"].to_numpy()).to_numpy()
    X = np.column_stack([np.ones(N), frame["x"], f[:, 1:]])
    mu = posterior["b"].to_numpy() @ X.T + (r * columns).sum(-1) + cell.to_numpy()[..., 0]
    r = posterior["r_sigma_g"].sel(g=frame["g"].to_numpy()).to_numpy()
    log_sigma = posterior["b_sigma"].to_numpy() @ X[:, :2].T + (r * X[:, :2]).sum(-1)
    expected = st.norm(mu, np.exp(log_sigma)).logpdf(frame["y"].to_numpy())
    found = rich_fit.idata["log_likelihood"]["y"]
    assert found.dims == ("chain", "draw", "obs_id")
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_log_prior(rich_fit):
    log_prior = rich_fit.idata["log_prior"].dataset
    assert set(log_prior.data_vars) == {
        "Intercept",
        "b",
        "sd_g",
        "cor_g",
        "sd_g:h",
        "Intercept_sigma",
        "b_sigma",
        "sd_sigma_g",
        "cor_sigma_g",
    }
    assigned = {a.slot.label: dict(a.prior.args) for a in rich_fit.spec.priors}
    numbers = assigned["Intercept"]
    expected = st.t(numbers["df"], numbers["loc"], numbers["scale"]).logpdf(
        rich_fit.posterior["Intercept"]
    )
    np.testing.assert_allclose(log_prior["Intercept"], expected, rtol=1e-10)
    scales = [assigned[f"sd_g[{effect}]"]["scale"] for effect in EFFECTS]
    expected = (np.log(2) + st.t(3, 0, scales).logpdf(rich_fit.posterior["sd_g"])).sum(-1)
    np.testing.assert_allclose(log_prior["sd_g"], expected, rtol=1e-10)


def test_log_prior_of_nested_correlations(frame):
    fit = nearby(bm.Model("y ~ (x | g/h)", frame))
    found = fit.idata["log_prior"].dataset
    assert {"cor_g", "cor_g:h", "sd_g", "sd_g:h"} < set(found.data_vars)
    # LKJ(1) of a 2x2 matrix is uniform in its correlation.
    np.testing.assert_allclose(found["cor_g:h"], -np.log(2), rtol=1e-12)
    np.testing.assert_allclose(found["cor_g"], -np.log(2), rtol=1e-12)


def test_weights_multiply_the_log_likelihood(frame):
    weighted = nearby(bm.Model("weighted(y, w) ~ x", frame, priors={"b": dist.Normal(0, 1)}))
    posterior = weighted.posterior
    X = np.column_stack([np.ones(N), frame["x"]])
    mu = posterior["b"].to_numpy() @ X.T
    density = st.norm(mu, posterior["sigma"].to_numpy()[..., None]).logpdf(frame["y"])
    expected = frame["w"].to_numpy() * density
    np.testing.assert_allclose(weighted.idata["log_likelihood"]["y"], expected, rtol=1e-10)
    # The response has the name of its column, however it is written.
    assert list(weighted.idata["observed_data"].data_vars) == ["y"]


def test_attributes(frame):
    priors = {"b": dist.Normal(0, 2)}
    fit = nearby(bm.Model(["y ~ x + (1 | g)", "sigma ~ z"], frame, priors=priors), warmup=11)
    attrs = fit.posterior.attrs
    assert attrs["formula"] == "y ~ 1 + x + (1 | g)\nsigma ~ 1 + z"
    assert attrs["family"] == "gaussian"
    assert "b[x] ~ Normal(0, 2)" in attrs["priors"].split("\n")
    assert attrs["seed"] == 7
    assert attrs["sampling_time"] > 0.5  # with the recovery of effects and the log-likelihood
    assert attrs["compile_time"] >= 0.25
    assert attrs["tuning_steps"] == 11
    assert attrs["engine"] == "Nearby()"
    assert attrs["parameterization"] == "noncentered"
    assert attrs["bayesmm_version"] == attrs["creation_library_version"]
    assert attrs["inference_library"] == "numpyro"
    assert {"created_at", "jax_version", "inference_library_version"} <= set(attrs)
    assert len(attrs["data_fingerprint"]) == 64
    other = nearby(bm.Model("y ~ x", frame.assign(x=frame["x"] + 1e-9)))
    same = nearby(bm.Model("y ~ x", frame.assign(z=0)))
    assert other.posterior.attrs["data_fingerprint"] != same.posterior.attrs["data_fingerprint"]


def test_stored_log_likelihood_is_a_choice(frame):
    model = bm.Model("y ~ x", frame)
    assert "log_likelihood" in nearby(model).idata.children
    assert "log_likelihood" not in nearby(model, log_likelihood=False).idata.children


def test_sampler_statistics(small_fit):
    statistics = small_fit.idata["sample_stats"].dataset
    assert statistics["diverging"].dtype == bool
    names = {"diverging", "lp", "energy", "acceptance_rate", "n_steps", "tree_depth", "step_size"}
    assert names <= set(statistics.data_vars)
    assert (statistics["tree_depth"] == np.ceil(np.log2(statistics["n_steps"] + 1))).all()
    assert (2 ** statistics["tree_depth"] > statistics["n_steps"]).all()


# --- Tables ---


def test_summary(rich_fit):
    table = rich_fit.summary()
    assert {"mean", "sd", "r_hat", "ess_bulk", "ess_tail", "mcse_mean"} <= set(table.columns)
    correlations = [label for label in table.index if label.startswith("cor_g[")]
    pairs = ["Intercept, x", "f[b], f[a]", "f[b], f[c]", "f[a], f[c]"]
    assert correlations == [f"cor_g[{pair}]" for pair in pairs]
    assert "cor_sigma_g[Intercept, x]" in table.index
    assert not any(label.startswith("r_") for label in table.index)
    assert table.index.is_unique
    whole = rich_fit.summary(effects=True)
    added = [label for label in whole.index if label not in table.index]
    assert len(added) == 4 * 5 + 8 + 4 * 2
    assert all(label.startswith("r_") for label in added)


def test_fixef(rich_fit):
    draws = rich_fit.fixef(draws=True)
    assert list(draws.data_vars) == ["b", "b_sigma"]
    table = rich_fit.fixef()
    assert table.index.names == ["parameter", "coef"]
    assert table.loc["mu"].index.tolist() == ["Intercept", "x", "f[a]", "f[c]"]
    b = flat(rich_fit, "b_sigma")[:, 1]
    row = table.loc[("sigma", "x")]
    assert row["mean"] == pytest.approx(b.mean())
    assert row["sd"] == pytest.approx(b.std(ddof=1))
    low, high = np.quantile(b, [0.055, 0.945])
    assert row.iloc[2:].tolist() == pytest.approx([low, high])


def test_population_plus_group_effects(rich_fit):
    r, coef = rich_fit.ranef(draws=True), rich_fit.coef(draws=True)
    b = rich_fit.posterior["b"]
    assert list(r.data_vars) == ["r_g", "r_g:h", "r_sigma_g"]
    assert list(coef.data_vars) == ["coef_g", "coef_g:h", "coef_sigma_g"]
    g = coef["coef_g"]
    assert g.dims == ("chain", "draw", "g", "g_coef")
    for label in ("Intercept", "x", "f[a]", "f[c]"):
        expected = b.sel(coef=label) + r["r_g"].sel(g_effect=label)
        found = g.sel(g_coef=label).transpose(*expected.dims)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    # An effect without a population-level coefficient varies around 0.
    np.testing.assert_array_equal(g.sel(g_coef="f[b]"), r["r_g"].sel(g_effect="f[b]"))
    # A coefficient that does not vary is that of the population.
    nested = coef["coef_g:h"]
    for cell in nested["g:h"].to_numpy():
        np.testing.assert_array_equal(nested.sel({"g:h": cell, "g:h_coef": "x"}), b.sel(coef="x"))
    table = rich_fit.coef("g")
    assert table.index.names == ["parameter", "group", "level", "coef"]
    assert set(table.index.get_level_values("parameter")) == {"mu", "sigma"}
    assert table.loc[("mu", "g", 21, "x"), "mean"] == pytest.approx(
        float(g.sel(g=21, g_coef="x").mean())
    )
    table = rich_fit.ranef()
    assert table.index.names == ["parameter", "group", "level", "effect"]
    assert len(table) == 4 * 5 + 8 + 4 * 2


def test_a_group_that_is_not_there(rich_fit):
    for ask in (rich_fit.ranef, rich_fit.coef):
        with pytest.raises(BayesmmError, match="'G'.*Did you mean 'g'.*'g', 'g:h'"):
            ask("G")
        with pytest.raises(BayesmmError, match="'G'"):
            ask("G", draws=True)


def test_without_groups(frame):
    fit = nearby(bm.Model("y ~ x", frame))
    assert fit.ranef().empty
    assert fit.coef().empty
    assert fit.var_corr().index.tolist() == ["sigma"]
    with pytest.raises(BayesmmError, match="It has none"):
        fit.ranef("g")


def test_var_corr(rich_fit, small_fit):
    draws = rich_fit.var_corr(draws=True)
    assert list(draws.data_vars) == ["sd_g", "cor_g", "sd_g:h", "sd_sigma_g", "cor_sigma_g"]
    table = rich_fit.var_corr()
    assert "cor_g[Intercept, x]" in table.index
    assert len(table) == 5 + 4 + 1 + 2 + 1
    sd = flat(rich_fit, "sd_g")[:, 1]
    assert table.loc["sd_g[x]", "mean"] == pytest.approx(sd.mean())
    assert small_fit.var_corr().index.tolist() == ["sd_g[Intercept]", "sigma"]


def test_tables_change_nothing(rich_fit):
    before = rich_fit.idata.copy(deep=True)
    rich_fit.summary(effects=True)
    rich_fit.fixef()
    rich_fit.ranef()
    rich_fit.coef()
    rich_fit.var_corr()
    rich_fit.report()
    rich_fit.posterior_predictive(draws=3, seed=1)
    repr(rich_fit)
    rich_fit._repr_html_()
    xr.testing.assert_identical(rich_fit.idata, before)


# --- Through ArviZ ---


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_arviz_works_on_it_as_it_stands(small_fit):
    loo = az.loo(small_fit.idata)
    assert loo.n_data_points == 40
    assert np.isfinite(loo.elpd)
    table = az.psense_summary(small_fit.idata)
    assert {"prior", "likelihood", "diagnosis"} <= set(table.columns)
    assert az.summary(small_fit.idata, var_names=["b"]).shape[0] == 2


@pytest.mark.filterwarnings("ignore:num_samples is larger")
def test_arviz_plots_work_on_it_as_it_stands(small_fit):
    with matplotlib.rc_context({"backend": "Agg"}):
        az.plot_forest(small_fit.idata, var_names=["b", "sd_g", "r_g"], backend="matplotlib")
        predictive = small_fit.posterior_predictive(draws=20, seed=1)
        az.plot_ppc_dist(predictive, backend="matplotlib")
        matplotlib.pyplot.close("all")


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_streamed_loo_equals_the_stored_one(small_fit, monkeypatch, evidence):
    stored = small_fit.loo(pointwise=True)
    bare = small_fit.idata.copy()
    del bare["log_likelihood"]
    fit = Fit(small_fit._prepared, bare)
    for size in (chunks.CHUNK_NUMBERS, 400 * 7):  # all rows at once, and 7 at a time
        monkeypatch.setattr(chunks, "CHUNK_NUMBERS", size)
        streamed = fit.loo(pointwise=True)
        np.testing.assert_allclose(streamed.elpd_i, stored.elpd_i, rtol=1e-9)
        np.testing.assert_allclose(streamed.pareto_k, stored.pareto_k, atol=1e-7)
        np.testing.assert_array_equal(streamed.elpd_i["obs_id"], stored.elpd_i["obs_id"])
        assert streamed.elpd == pytest.approx(stored.elpd, rel=1e-9)
        assert streamed.se == pytest.approx(stored.se, rel=1e-9)
        assert streamed.p == pytest.approx(stored.p, rel=1e-6)
        assert streamed.n_data_points == stored.n_data_points
        assert streamed.n_samples == stored.n_samples
        row = f"LOO, {size} numbers at once"
        evidence("parts", row, streamed.elpd_i, stored.elpd_i, bound=1e-9)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_compare_takes_a_streamed_loo(small_fit):
    bare = small_fit.idata.copy()
    del bare["log_likelihood"]
    streamed = Fit(small_fit._prepared, bare).loo(pointwise=True)
    table = az.compare({"stored": small_fit.loo(pointwise=True), "streamed": streamed})
    assert table["elpd_diff"].abs().max() < 1e-6


# --- The verdict ---


@pytest.fixture(scope="module")
def good_fit(frame) -> Fit:
    """4 chains of 500 independent draws, of which nothing bad can be said."""
    return nearby(bm.Model("y ~ x + (x | g)", frame), chains=4, draws=500)


def changed(fit: Fit, group: str, name: str, change) -> Fit:
    """A fit whose draws of one variable are changed in place by `change(values)`."""
    tree = fit.idata.copy(deep=True)
    values = tree[group][name].to_numpy().copy()
    change(values)
    dataset = tree[group].to_dataset().assign({name: (tree[group][name].dims, values)})
    tree[group] = xr.DataTree(dataset)
    return Fit(fit._prepared, tree)


def codes(fit: Fit) -> list[str]:
    return [problem.code for problem in fit.report().problems]


def put(where, value):
    def change(values):
        values[where] = value

    return change


def walk(values, rho=0.98):
    """Replace by an autocorrelated series of the same mean and sd."""
    rng = np.random.default_rng(0)
    mean, sd = values.mean(), values.std()
    noise = rng.normal(size=values.shape)
    values[:, 0] = noise[:, 0]
    for i in range(1, values.shape[1]):
        values[:, i] = rho * values[:, i - 1] + np.sqrt(1 - rho**2) * noise[:, i]
    values *= sd
    values += mean


def test_good_draws(good_fit):
    report = good_fit.report()
    assert report.ok
    assert report.problems == ()
    assert "can be trusted" in str(report)
    assert "4 chains of 500 draws, 0 divergences" in report.facts
    assert good_fit.report() is report


def test_divergences(good_fit):
    report = changed(good_fit, "sample_stats", "diverging", put((1, slice(0, 20)), True)).report()
    (problem,) = report.problems
    assert problem.code == "divergences"
    assert not report.ok
    assert "20 of 2000 draws (1%)" in problem.message
    assert "target_accept=0.95" in problem.remedy
    assert "cannot be trusted" in str(report)
    one = changed(good_fit, "sample_stats", "diverging", put((0, 0), True)).report()
    assert not one.ok


def test_chains_that_disagree(good_fit):
    def shift(values):
        values[2, :, 1] += 3 * values[..., 1].std()

    report = changed(good_fit, "posterior", "b", shift).report()
    found = {problem.code: problem for problem in report.problems}
    assert "rhat" in found
    assert "b[x]" in found["rhat"].message
    assert not report.ok
    assert "largest R-hat 1." in report.facts


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_draws_that_do_not_move(good_fit):
    found = changed(good_fit, "posterior", "sigma", put(..., 1.0))
    assert "rhat" in codes(found)
    assert not found.report().ok
    found = changed(good_fit, "posterior", "sigma", put((0, 3), np.nan))
    assert not found.report().ok


def test_low_effective_sample_size(good_fit):
    report = changed(good_fit, "posterior", "sigma", walk).report()
    found = {problem.code: problem for problem in report.problems}
    assert {"ess_bulk", "ess_tail"} <= set(found)
    assert "sigma" in found["ess_bulk"].message
    assert "below 400 (100 a chain)" in found["ess_bulk"].message
    assert "draws=" in found["ess_bulk"].remedy
    assert not report.ok


def test_correlations_are_looked_at(good_fit):
    def shift(values):
        values[0, :, 0, 1] = values[0, :, 1, 0] = 0.9

    report = changed(good_fit, "posterior", "cor_g", shift).report()
    assert any("cor_g[Intercept, x]" in problem.message for problem in report.problems)


def test_low_bfmi(good_fit):
    report = changed(good_fit, "sample_stats", "energy", walk).report()
    (problem,) = report.problems
    assert problem.code == "ebfmi"
    assert "chain 0" in problem.message
    assert not report.ok


def test_tree_depth(good_fit):
    deep = changed(good_fit, "sample_stats", "reached_max_treedepth", put((0, slice(0, 100)), True))
    (problem,) = deep.report().problems
    assert problem.code == "tree_depth"
    assert "5% of the draws" in problem.message
    assert "max_tree_depth=12" in problem.remedy
    assert deep.report().ok
    few = changed(good_fit, "sample_stats", "reached_max_treedepth", put((0, slice(0, 5)), True))
    assert codes(few) == []


def test_sd_that_is_not_told_from_0(good_fit):
    rng = np.random.default_rng(1)

    def towards_0(values):
        # What dyestuff2 gives: half of a bell at 0, well within the prior.
        values[..., 1] = np.abs(0.3 * values[..., 1].mean() * rng.normal(size=values.shape[:2]))

    fit = changed(good_fit, "posterior", "sd_g", towards_0)
    (problem,) = fit.report().problems
    assert problem.code == "sd_near_zero"
    assert "sd_g[x]" in problem.message
    assert fit.report().ok
    assert str(problem).startswith("note [sd_near_zero]")


def test_dyestuff2():
    """No variation between batches: the maximum likelihood estimate of the sd is 0."""
    model = bm.Model("Yield ~ 1 + (1 | Batch)", bm.datasets.load("dyestuff2"))
    fit = nearby(model, chains=4, draws=500)
    rng = np.random.default_rng(0)
    # Mean and sd of its posterior in the reference run: half-bell shaped, from 0 on.
    fit = changed(fit, "posterior", "sd_Batch", put(..., 0))
    fit = changed(
        fit, "posterior", "sd_Batch", lambda v: np.add(v, np.abs(rng.normal(size=v.shape)), out=v)
    )
    assert "sd_near_zero" in codes(fit)


def test_more_effects_than_rows(frame):
    fit = nearby(bm.Model("y ~ x + (x | text)", frame), log_likelihood=False)
    found = {problem.code: problem for problem in fit.report().problems}
    message = found["more_effects_than_rows"].message
    assert "'text' has 96 effects in mu (48 levels, 2 each)" in message
    assert "48 rows" in message
    assert found["more_effects_than_rows"].note


@pytest.mark.parametrize(
    ("formula", "found"),
    [
        ("math ~ lowinc + (lowinc | schoolid)", "'lowinc'"),
        ("math ~ size + lowinc + (size + lowinc || schoolid)", "'size', 'lowinc'"),
        ("math ~ lowinc + (I(lowinc / 3 - 1) + year | schoolid)", "'I(lowinc / 3 - 1)'"),
        ("math ~ year + (year | schoolid)", None),
        # One effect in each level, which its rows do show: a spread of its own for each sex.
        ("math ~ female + (0 + female | childid)", None),
        ("math ~ lowinc + (0 + lowinc | schoolid)", None),
    ],
)
def test_predictors_that_do_not_vary_within_levels(formula, found):
    pupils = bm.datasets.load("egsingle").iloc[:600]
    fit = nearby(bm.Model(formula, pupils), log_likelihood=False)
    messages = [p.message for p in fit.report().problems if p.code == "constant_within_levels"]
    if found is None:
        assert messages == []
    else:
        (message,) = messages
        assert message.startswith(f"{found} do")
        assert "'schoolid'" in message


@pytest.mark.parametrize(
    ("formula", "family", "found"),
    [
        ("y ~ x + (1 | row)", "gaussian", "from that of rows, sigma"),
        (["y ~ x + (1 | row)", "sigma ~ x"], "gaussian", "from that of rows, sigma"),
        ("count ~ x + (1 | row)", "poisson", "when fit.loo() leaves the row out"),
        ("even ~ x + (1 | row)", "bernoulli", "one answer cannot show"),
        ("weighted(y, counts) ~ x + (1 | pair)", "gaussian", "from that of rows, sigma"),
        # The spread of y around the line grows with x here, which rows do show.
        ("y ~ x + (0 + x | row)", "gaussian", None),
        ("y ~ x + (1 | pair)", "gaussian", None),
    ],
)
def test_one_row_per_level(frame, formula, family, found):
    row = np.arange(len(frame))
    rows = frame.assign(row=row, pair=row // 2, count=row % 5, even=row % 2, counts=row % 2)
    fit = nearby(bm.Model(formula, rows, family), log_likelihood=False)
    problems = [p for p in fit.report().problems if p.code == "one_row_per_level"]
    assert [p.note for p in problems] == [True] * (found is not None)
    assert all(found in p.message for p in problems)


def test_one_chain_and_an_interrupt(frame):
    fit = nearby(bm.Model("y ~ x", frame), chains=1, draws=400)
    (problem,) = fit.report().problems
    assert problem.code == "one_chain"
    assert problem.note
    fit.idata["posterior"].attrs["interrupted"] = 1
    assert codes(Fit(fit._prepared, fit.idata)) == ["one_chain", "interrupted"]


def test_problems_come_before_notes(good_fit):
    fit = changed(good_fit, "sample_stats", "reached_max_treedepth", put(..., True))
    fit = changed(fit, "sample_stats", "energy", walk)
    assert codes(fit) == ["ebfmi", "tree_depth"]
    lines = str(fit.report()).split("\n")
    assert lines[1].startswith("- problem [ebfmi]")
    assert lines[2].startswith("- note [tree_depth]")
    assert fit.report()._repr_html_().count("<li>") == 2


def test_real_fits_are_judged(sleepstudy_fit):
    report = sleepstudy_fit.report()
    assert report.ok, str(report)
    assert "4 chains of 1000 draws" in report.facts


# --- Files ---

SUFFIXES = (".nc", ".zarr")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_loaded_is_what_was_saved(suffix, rich_fit, tmp_path):
    path = tmp_path / f"fit{suffix}"
    rich_fit.save(path)
    loaded = bm.load(path)
    xr.testing.assert_identical(loaded.idata, rich_fit.idata)
    assert loaded.spec == rich_fit.spec
    for one, other in zip(
        jax.tree.leaves(loaded._prepared.design),
        jax.tree.leaves(rich_fit._prepared.design),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    pd.testing.assert_frame_equal(loaded.summary(), rich_fit.summary())
    pd.testing.assert_frame_equal(loaded.coef(), rich_fit.coef())
    assert str(loaded.report()) == str(rich_fit.report())
    assert repr(loaded) == repr(rich_fit)
    assert loaded.posterior.coords["g"].dtype.kind == "i"
    again = [fit.posterior_predictive(draws=5, seed=3) for fit in (loaded, rich_fit)]
    np.testing.assert_array_equal(*[tree["posterior_predictive"]["y"] for tree in again])
    # A file that is there is replaced, also by the fit that came from it.
    loaded.save(str(path))
    xr.testing.assert_identical(bm.load(str(path)).idata, rich_fit.idata)


def saved(fit: Fit, tmp_path, suffix=".nc", **arguments) -> Fit:
    fit.save(tmp_path / f"fit{suffix}")
    return bm.load(tmp_path / f"fit{suffix}", **arguments)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_come_back_as_they_were(suffix, frame, tmp_path):
    data = frame.assign(
        k=pd.Categorical(np.resize([10, 2, 1, 2, 1], N), categories=[2, 10, 1]),
        flag=np.resize([True, False, False, False], N),
        day=pd.date_range("2020-01-01", periods=4).repeat(N // 4),
        level=pd.Categorical(
            np.resize(["low", "höher", "high"], N), categories=["low", "höher", "high"]
        ),
    )
    data.index = pd.date_range("2021-01-01", periods=N)
    formula = "weighted(y, w) ~ poly(x, 2) + k + flag + level + (scale(z) | day) + (1 | k:level)"
    priors = {
        "sd": dist.TruncatedNormal(0, 3, low=0.0),
        "b": dist.Cauchy(0, 1),
        "b[flag]": dist.Laplace(0, 0.1),
        "cor": bm.LKJ(2),
    }
    fit = nearby(bm.Model(formula, data, "student", priors, link={"sigma": "softplus"}))
    loaded = saved(fit, tmp_path, suffix)
    xr.testing.assert_identical(loaded.idata, fit.idata)
    assert loaded.spec == fit.spec
    assert loaded.spec.schema.column("k").levels == (2, 10, 1)
    assert loaded.spec.schema.column("level").levels == ("low", "höher", "high")
    assert loaded.spec.schema.column("flag").kind == "bool"
    np.testing.assert_array_equal(loaded._prepared.frame.index, fit._prepared.frame.index)
    pd.testing.assert_frame_equal(loaded._prepared.frame.columns, fit._prepared.frame.columns)
    # Transforms know what they learned.
    assert isinstance(loaded._prepared.builder.build(loaded._prepared.frame).predictors, tuple)


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ('binary["no"] ~ x', "bernoulli"),
        ("binary ~ x", "bernoulli"),
        ("prop(few, total) ~ x", "binomial"),
        ("I(y / 2) ~ x", "gaussian"),
        ("total.fruits ~ x + offset(log(`a column`))", "poisson"),
    ],
)
def test_responses_come_back(formula, family, frame, tmp_path):
    data = frame.assign(**{"total.fruits": frame["count"], "a column": frame["w"]})
    fit = nearby(bm.Model(formula, data, family))
    loaded = saved(fit, tmp_path)
    assert loaded.spec == fit.spec
    np.testing.assert_array_equal(loaded._prepared.response.values, fit._prepared.response.values)
    xr.testing.assert_identical(loaded.idata, fit.idata)


def double(x):
    return 2 * x


def test_own_functions_are_asked_for(frame, tmp_path):
    fit = nearby(bm.Model("y ~ double(x)", frame, functions={"double": double}))
    fit.save(tmp_path / "fit.nc")
    with pytest.raises(FormulaError, match=r"(?s)'double'.*bm.load\(path, functions="):
        bm.load(tmp_path / "fit.nc")
    loaded = bm.load(tmp_path / "fit.nc", functions={"double": double})
    assert loaded.spec == fit.spec


SHIFTED = bm.Family(
    name="shifted",
    parameters=(
        bm.Parameter("mu"),
        bm.Parameter("sigma", links=("log",), support="positive", prior=("HalfNormal", (1.0,))),
    ),
    response=families.REAL,
    distribution=lambda v: dist.Normal(v.mu + 1, v.sigma),
    mean=lambda v: v.mu + 1,
)


@pytest.mark.parametrize("name", ["shifted", "gaussian"])  # also under a name that is taken
def test_own_families_are_asked_for(name, frame, tmp_path):
    family = replace(SHIFTED, name=name)
    fit = nearby(bm.Model("y ~ x", frame, family))
    fit.save(tmp_path / "fit.nc")
    with pytest.raises(FamilyError, match=rf"'{name}'.*bm.load\(path, family="):
        bm.load(tmp_path / "fit.nc")
    assert bm.load(tmp_path / "fit.nc", family=family).spec == fit.spec


def test_paths_that_are_wrong(rich_fit, tmp_path):
    for path in ("fit.pkl", "fit", "fit.nc.gz"):
        with pytest.raises(DataError, match="'.nc' .netCDF. or '.zarr'"):
            rich_fit.save(tmp_path / path)
        with pytest.raises(DataError, match="'.nc' .netCDF. or '.zarr'"):
            bm.load(tmp_path / path)
    for suffix in SUFFIXES:
        with pytest.raises(DataError, match="does not exist"):
            bm.load(tmp_path / f"missing{suffix}")
    with pytest.raises(DataError, match="no directory .*nowhere"):
        rich_fit.save(tmp_path / "nowhere" / "fit.nc")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_not_ours(suffix, small_fit, tmp_path):
    foreign = small_fit.idata.copy()
    foreign.attrs = {}
    path = tmp_path / f"foreign{suffix}"
    if suffix == ".nc":
        foreign.to_netcdf(path, engine="h5netcdf")
    else:
        foreign.to_zarr(path, consolidated=False)
    with pytest.raises(DataError, match="no model of bayesmm"):
        bm.load(path)
    path = tmp_path / f"other{suffix}"
    if suffix == ".nc":
        path.write_text("not netCDF at all")
    else:
        path.mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        bm.load(path)


def rewritten(fit: Fit, path, change) -> None:
    """Write a fit whose model text is changed."""
    tree = fit.idata.copy()
    text = json.loads(tree.attrs["bayesmm_model"])
    change(text)
    tree.attrs = {**tree.attrs, "bayesmm_model": json.dumps(text)}
    tree.to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize(
    "text",
    [
        "y ~ pd.io.common.os.system('touch {}')",
        "y ~ x + __import__('os').system('touch {}')",
        'y ~ C(x, eval(\'open("{}", "w")\'))',
        'eval(\'open("{}", "w")\') ~ x',
    ],
)
def test_a_formula_in_a_file_is_data(text, small_fit, tmp_path):
    mark = tmp_path / "mark"

    def change(kept):
        kept["formula"] = [text.format(mark)]

    rewritten(small_fit, tmp_path / "evil.nc", change)
    with pytest.raises(FormulaError):
        bm.load(tmp_path / "evil.nc")
    assert not mark.exists()


def test_other_text_in_a_file_is_data(small_fit, tmp_path):
    def prior(kept):
        kept["priors"][0]["prior"]["name"] = "os.system"

    def forgotten(kept):
        del kept["priors"][0]

    def kind(kept):
        kept["columns"][0]["name"] = "elsewhere"

    rewritten(small_fit, tmp_path / "prior.nc", prior)
    with pytest.raises(PriorError, match="'os.system'"):
        bm.load(tmp_path / "prior.nc")
    for i, change in enumerate((forgotten, kind, dict.clear)):
        rewritten(small_fit, tmp_path / f"{i}.nc", change)
        with pytest.raises(DataError, match="was it written by save"):
            bm.load(tmp_path / f"{i}.nc")
    tree = small_fit.idata.copy()
    tree.attrs = {"bayesmm_model": "{"}
    tree.to_netcdf(tmp_path / "text.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="was it written by save"):
        bm.load(tmp_path / "text.nc")


# --- Predictive draws ---


def test_posterior_predictive(rich_fit, frame):
    found = rich_fit.posterior_predictive(seed=1)
    assert set(found.children) == {"posterior_predictive", "observed_data"}
    y = found["posterior_predictive"]["y"]
    assert y.dims == ("chain", "draw", "obs_id")
    assert y.shape == (2, 30, N)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y["obs_id"], frame.index)
    np.testing.assert_array_equal(found["observed_data"]["y"], frame["y"])
    again = rich_fit.posterior_predictive(seed=1)["posterior_predictive"]["y"]
    np.testing.assert_array_equal(again, y)
    other = rich_fit.posterior_predictive(seed=2)["posterior_predictive"]["y"]
    assert (other != y).all()
    free = [rich_fit.posterior_predictive(draws=1)["posterior_predictive"]["y"] for _ in range(2)]
    assert (free[0] != free[1]).all()


def test_fewer_draws(rich_fit):
    found = rich_fit.posterior_predictive(draws=7, seed=1)["posterior_predictive"]["y"]
    assert found.shape == (1, 7, N)
    for draws in (61, 0, 2.0, "all"):
        with pytest.raises(SamplerError, match="draws="):
            rich_fit.posterior_predictive(draws=draws)
    with pytest.raises(SamplerError, match="seed='a'"):
        rich_fit.posterior_predictive(seed="a")


def test_posterior_predictive_follows_the_draws(small_fit, small_data):
    y = small_fit.posterior_predictive(seed=5)["posterior_predictive"]["y"]
    posterior = small_fit.posterior
    r = posterior["r_g"].sel(g=small_data["g"].to_numpy()).isel(g_effect=0)
    X = np.column_stack([np.ones(40), small_data["x"]])
    mu = posterior["b"].to_numpy() @ X.T + r.to_numpy()
    z = (y.to_numpy() - mu) / posterior["sigma"].to_numpy()[..., None]
    assert st.kstest(z.ravel(), "norm").pvalue > 1e-4
    assert abs(np.corrcoef(z[..., 0].ravel(), z[..., 1].ravel())[0, 1]) < 0.2


RESPONSES = {
    "gaussian": "y",
    "student": "y",
    "lognormal": "positive",
    "gamma": "positive",
    "beta": "share",
    "bernoulli": "binary",
    "binomial": "prop(few, total)",
    "poisson": "count",
    "negbinomial": "count",
}


@pytest.mark.parametrize("family", RESPONSES)
def test_prior_predictive(family, frame):
    text = " + (1 | g)" if family == "gaussian" else ""
    model = bm.Model(f"{RESPONSES[family]} ~ x{text}", frame, family)
    found = model.prior_predictive(draws=200, seed=1)
    assert set(found.children) == {
        "prior",
        "prior_predictive",
        "observed_data",
        "constant_data",
    }
    response = model.spec.response
    y = found["prior_predictive"][response]
    assert y.dims == ("chain", "draw", "obs_id")
    assert y.shape == (1, 200, N)
    assert np.isfinite(y).all()
    kind = model.spec.family.response
    trials = frame["total"].to_numpy() if kind.trials else None
    for draw in y.to_numpy()[0, ::20]:
        assert not kind.check(draw, trials).any()
    assert all(np.isfinite(v).all() for v in found["prior"].data_vars.values())
    assert set(found["prior"].data_vars) == set(dimensions(model.spec)[0])
    np.testing.assert_array_equal(y["obs_id"], frame.index)


def test_prior_predictive_is_drawn_from_the_prior(frame):
    priors = {"Intercept": dist.Normal(3, 2), "b": dist.Cauchy(1, 4), "sigma": dist.Exponential(2)}
    model = bm.Model("y ~ x", frame, priors=priors)
    found = model.prior_predictive(draws=2000, seed=3)
    prior = found["prior"].dataset
    assert st.kstest(prior["Intercept"][0], st.norm(3, 2).cdf).pvalue > 1e-3
    assert st.kstest(prior["b"].sel(coef="x")[0], st.cauchy(1, 4).cdf).pvalue > 1e-3
    assert st.kstest(prior["sigma"][0], st.expon(scale=0.5).cdf).pvalue > 1e-3
    y = found["prior_predictive"]["y"].isel(chain=0)
    mu = prior["b"].to_numpy()[0] @ np.vstack([np.ones(N), frame["x"]])
    z = (y - mu) / prior["sigma"].to_numpy()[0][:, None]
    assert st.kstest(z[:, 0], "norm").pvalue > 1e-3
    again = model.prior_predictive(draws=2000, seed=3)["prior_predictive"]["y"][0]
    np.testing.assert_array_equal(y, again)


# --- How they print ---


def test_printing_a_model(frame):
    text = str(bm.Model(["binary ~ x + (x | g)"], frame, "bernoulli", link="probit"))
    assert "binary ~ 1 + x + (1 + x | g)" in text
    assert "bernoulli; links mu probit" in text
    assert "binary (success: 'yes')" in text
    assert "4 levels: Intercept, x (correlated)" in text
    assert "StudentT(3, 0, 2.5)" in text
    with pytest.warns(bm.BayesmmWarning):
        text = str(bm.Model("y ~ z", frame.assign(z=frame["z"].where(frame["z"] > 0))))
    assert "with missing values left out" in text


def test_printing_a_fit(rich_fit):
    text = repr(rich_fit)
    assert "y ~ 1 + x + f + (1 + x | g)" in text
    assert "sigma ~ 1 + x" in text
    assert "sampled in 0.5 s" in text
    assert str(rich_fit.report()) in text


def test_labels_are_escaped_in_html(frame):
    evil = "<script>alert(1)</script>".replace("/", "")
    data = frame.assign(
        **{
            "<script>x": frame["x"],
            "<script>g": np.resize([evil, "b", "c"], N),
            "<script>f": pd.Categorical(np.resize(["a", evil], N), categories=["a", evil]),
            "<script>y": frame["y"],
        }
    )
    formula = "`<script>y` ~ `<script>x` + `<script>f` + (`<script>x` | `<script>g`)"
    model = bm.Model(formula, data)
    fit = nearby(model)
    report = fit.report()
    assert report.problems
    for html in (model._repr_html_(), fit._repr_html_(), report._repr_html_()):
        assert "<script" not in html
    assert "&lt;script&gt;x" in model._repr_html_()
    assert "&lt;script&gt;x" in fit._repr_html_()
    binary = data.assign(binary=np.where(frame["binary"] == "no", "a", "b<script>"))
    html = bm.Model("binary ~ x", binary, "bernoulli")._repr_html_()
    assert "<script" not in html
    assert "success: &#x27;b&lt;script&gt;&#x27;" in html


# --- The shipped data ---


def test_columns_with_a_dot():
    data = bm.datasets.load("arabidopsis")
    model = bm.Model("total.fruits ~ nutrient + amd + (1 | gen) + (1 | reg/popu)", data, "poisson")
    assert model.spec.response == "total.fruits"
    assert model.spec.layout[0].coefs == ("Intercept", "nutrient", "amd[unclipped]")
    fit = nearby(model, draws=5)
    assert list(fit.idata["log_likelihood"].data_vars) == ["total.fruits"]
    assert parse("total.fruits ~ x").variables == ("total.fruits", "x")


@pytest.mark.parametrize(
    ("name", "formula", "family"),
    [
        ("sleepstudy", "Reaction ~ Days + (Days | Subject)", "gaussian"),
        ("cbpp", "prop(incidence, size) ~ period + (1 | herd)", "binomial"),
        (
            "contraception",
            "use ~ age + I(age**2) + urban + livch + (urban | district)",
            "bernoulli",
        ),
        ("grouseticks", "TICKS ~ YEAR + HEIGHT + (1 | BROOD) + (1 | LOCATION)", "poisson"),
        ("machines", "score ~ Machine + (Machine | Worker)", "gaussian"),
        ("pastes", "strength ~ 1 + (1 | batch/cask)", "gaussian"),
        ("verbagg", "r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)", "bernoulli"),
        ("oats", "yield ~ nitro + (1 | Block/Variety)", "gaussian"),
    ],
)
def test_formulas_of_the_shipped_data(name, formula, family):
    model = bm.Model(formula, bm.datasets.load(name), family)
    assert name or model
    assert np.isfinite(model._prepared.design.predictors[0].X).all()


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
@pytest.mark.parametrize("stored", [True, False])
def test_loo_leaves_out_rows_that_say_nothing(stored, frame):
    data = frame.assign(w=1.0)
    data.loc[data.index[3], "w"] = 0.0
    fit = nearby(bm.Model("weighted(y, w) ~ x", data), log_likelihood=stored)
    assert fit.loo().n_data_points == len(data) - 1
    if stored:
        assert data.index[3] not in fit.idata["log_likelihood"]["obs_id"]
    trials = data.assign(n=4, s=2)
    trials.loc[data.index[:2], ["n", "s"]] = 0
    counts = nearby(bm.Model("prop(s, n) ~ x", trials, "binomial"), log_likelihood=stored)
    assert counts.loo().n_data_points == len(data) - 2


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda text: text["priors"][0].update(prior=NORMAL | {"name": "Poisson"}), "Poisson"),
        (lambda text: text["priors"][-1].update(prior=NORMAL), "sigma"),
        (lambda text: text["priors"].pop(), "sigma"),
        (lambda text: text.update(columns=[]), "do not have"),
    ],
    ids=["unknown arguments", "support", "missing", "columns"],
)
def test_a_file_with_other_priors_is_refused(change, word, frame, tmp_path):
    fit = nearby(bm.Model("y ~ x", frame))
    fit.save(tmp_path / "fit.nc")
    tree = xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf").load()
    tree.close()
    text = json.loads(tree.attrs["bayesmm_model"])
    change(text)
    tree.attrs["bayesmm_model"] = json.dumps(text)
    tree.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(BayesmmError, match=word):
        bm.load(tmp_path / "other.nc")


def test_a_file_without_a_posterior_is_refused(frame, tmp_path):
    tree = nearby(bm.Model("y ~ x", frame)).idata.copy()
    del tree["posterior"]
    tree.to_netcdf(tmp_path / "bare.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="cannot be read"):
        bm.load(tmp_path / "bare.nc")


NORMAL = {"name": "Normal", "args": {"loc": 0.0, "scale": 1.0}, "base": None}


def test_counts_are_integers_for_rootograms(frame):
    data = frame.assign(count=np.arange(len(frame)) % 5)
    model = bm.Model("count ~ x", data, "poisson", {"Intercept": dist.Normal(0, 0.1)})
    fit = nearby(model)
    predictive = fit.posterior_predictive(seed=1)
    for group in (fit.idata["observed_data"], predictive["posterior_predictive"]):
        assert group["count"].dtype == np.int64
    with plt_closed():
        az.plot_ppc_rootogram(predictive, backend="matplotlib")
    prior = model.prior_predictive(20, seed=1)
    assert prior["prior_predictive"]["count"].dtype == np.int64
    wide = bm.Model("count ~ x", data, "poisson", {"Intercept": dist.Normal(60, 1)})
    huge = wide.prior_predictive(20, seed=1)["prior_predictive"]["count"]
    assert huge.dtype == np.float64  # 1e26 is a whole number that no integer type holds
    assert (huge > 1e20).all()


@contextlib.contextmanager
def plt_closed():
    yield
    matplotlib.pyplot.close("all")


def test_effects_are_made_on_demand(frame, rich_fit, tmp_path):
    fit = nearby(bm.Model(FORMULA, frame), effects=False)
    assert not [name for name in fit.posterior if str(name).startswith("r_")]
    assert "g" not in fit.posterior.coords
    pd.testing.assert_frame_equal(fit.ranef(), rich_fit.ranef())
    pd.testing.assert_frame_equal(fit.coef("g"), rich_fit.coef("g"))
    assert len(fit.summary(effects=True)) == len(rich_fit.summary(effects=True))
    same = [f.posterior_predictive(seed=3)["posterior_predictive"]["y"] for f in (fit, rich_fit)]
    xr.testing.assert_equal(*same)
    assert fit.report().facts
    for suffix in (".nc", ".zarr"):
        fit.save(tmp_path / f"small{suffix}")
        loaded = bm.load(tmp_path / f"small{suffix}")
        assert list(loaded.posterior) == list(fit.posterior)
        with pytest.raises(BayesmmError, match=r"r_g.*effects=False.*Fit again"):
            loaded.ranef()
    with pytest.raises(SamplerError, match="effects='no'"):
        nearby(bm.Model("y ~ x", frame), effects="no")
