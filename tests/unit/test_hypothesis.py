"""Hypotheses: against draws by hand, Bayes factors that are known, and what bad texts get."""

import importlib
import warnings

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from nearby import nearby
from scipy import special, stats

import bayesmm as bm
from bayesmm.engines import make_key
from bayesmm.interpret import hypothesis
from bayesmm.interpret.density import density_at_zero

# `bayesmm.interpret.hypothesis` is the function of that name.
module = importlib.import_module("bayesmm.interpret.hypothesis")

ESTIMATES = ["estimate", "std_error", "conf_low", "conf_high"]


@pytest.fixture(scope="module")
def odd_fit():
    """Independent draws near the priors; labels with brackets, commas, quotes and colons."""
    rng = np.random.default_rng(3)
    size = 48
    levels = ["a, Intercept", "b]", "it's (1)", "c:d"]
    data = pd.DataFrame(
        {
            "y": rng.normal(size=size),
            "x": rng.normal(size=size),
            "f": np.tile(["a", "b", "x > 0"], size // 3),
            "batch": np.repeat(levels, size // 4),
            "cask": np.tile(["u", "v"], size // 2),
        }
    )
    model = bm.Model(["y ~ x + f + np.exp(x) + (x | batch) + (1 | batch:cask)", "sigma ~ x"], data)
    return nearby(model)


def known_fit(prior_sd, mean, chains=4, draws=1000):
    """A fit whose posterior draws of b[x] are put in place: independent, N(mean, 1)."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"y": rng.normal(size=30), "x": rng.normal(size=30)})
    fit = nearby(
        bm.Model("y ~ x", data, priors={"b[x]": dist.Normal(0, prior_sd)}),
        chains=chains,
        draws=draws,
    )
    fit.idata["posterior"]["b"][..., 1] = rng.normal(mean, 1, size=(chains, draws))
    return fit


def by_hand(draws, level=0.95):
    tails = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return [np.median(draws), np.std(draws), *tails]


def test_one_sided_hypotheses_are_counts_of_draws(small_fit):
    b = small_fit.posterior["b"].sel(coef="x").to_numpy()
    found = hypothesis(small_fit, ["b[x] > 0.5", "b[x] < 0.5"])
    assert list(found.index) == ["b[x] > 0.5", "b[x] < 0.5"]
    assert list(found.columns) == [*ESTIMATES, "post_prob", "evidence_ratio"]
    above = np.mean(b > 0.5)
    assert 0 < above < 1
    np.testing.assert_allclose(found["post_prob"], [above, 1 - above])
    np.testing.assert_allclose(found["evidence_ratio"], [above / (1 - above), 1 / above - 1])
    np.testing.assert_allclose(found[ESTIMATES].to_numpy(), [by_hand(b - 0.5)] * 2)


def test_a_hypothesis_of_all_draws_has_an_infinite_ratio(small_fit):
    found = hypothesis(small_fit, {"sure": "sigma > 0", "never": "sigma <= 0"})
    assert found.loc["sure", ["post_prob", "evidence_ratio"]].tolist() == [1.0, np.inf]
    assert found.loc["never", ["post_prob", "evidence_ratio"]].tolist() == [0.0, 0.0]


def test_the_interval_has_the_level_asked_for(small_fit):
    sigma = small_fit.posterior["sigma"].to_numpy()
    found = hypothesis(small_fit, "sigma > 0", conf_level=0.5)
    np.testing.assert_allclose(found[ESTIMATES].to_numpy()[0], by_hand(sigma, 0.5))


def test_expressions_are_arithmetic(small_fit):
    posterior = small_fit.posterior
    b, sigma = posterior["b"].to_numpy(), posterior["sigma"].to_numpy()
    sd = posterior["sd_g"].to_numpy()[..., 0]
    expected = {
        "exp(b[x]) > 1.2": np.exp(b[..., 1]) - 1.2,
        "-b[ x ]**2 + 3 >= 1e-1 * sigma": -(b[..., 1] ** 2) + 3 - 0.1 * sigma,
        "sd_g[Intercept]**2 / (sd_g**2 + sigma**2) < .5": sd**2 / (sd**2 + sigma**2) - 0.5,
        "2 - 3 - b[Intercept] < 2 ** 3 ** 2": -1 - b[..., 0] - 512,
        "plogis(b[x]) - pnorm(b[x]) > 0": special.expit(b[..., 1]) - special.ndtr(b[..., 1]),
        "sqrt(abs(b[x])) < log(sigma)": np.sqrt(np.abs(b[..., 1])) - np.log(sigma),
        "r_g[h] > r_g[o, Intercept]": posterior["r_g"].to_numpy()[..., 0, 0]
        - posterior["r_g"].to_numpy()[..., 7, 0],
        "Intercept > b[Intercept]": posterior["Intercept"].to_numpy() - b[..., 0],
    }
    found = hypothesis(small_fit, list(expected), draws=True)
    assert dict(found.sizes) == {"chain": 2, "draw": 200}
    for text, draws in expected.items():
        assert found[text].dims == ("chain", "draw")
        np.testing.assert_allclose(found[text], draws, rtol=1e-12, err_msg=text)


@pytest.mark.parametrize(
    ("text", "variable", "where"),
    [
        ("b[f[b]] > 0", "b", {"coef": "f[b]"}),
        ("b[f[x > 0]] > 0", "b", {"coef": "f[x > 0]"}),
        ("b[np.exp(x)] > 0", "b", {"coef": "np.exp(x)"}),
        ("b_sigma[x] > 0", "b_sigma", {"coef_sigma": "x"}),
        ("Intercept_sigma > 0", "Intercept_sigma", {}),
        ("sd_batch[x] > 0", "sd_batch", {"batch_effect": "x"}),
        ("sd_batch:cask > 0", "sd_batch:cask", {"batch:cask_effect": "Intercept"}),
        ("r_batch[b], x] > 0", "r_batch", {"batch": "b]", "batch_effect": "x"}),
        (
            "r_batch[a, Intercept, x] > 0",
            "r_batch",
            {"batch": "a, Intercept", "batch_effect": "x"},
        ),
        ("r_batch[it's (1), x] > 0", "r_batch", {"batch": "it's (1)", "batch_effect": "x"}),
        (
            "r_batch:cask[c:d:v, Intercept] > 0",
            "r_batch:cask",
            {"batch:cask": "c:d:v", "batch:cask_effect": "Intercept"},
        ),
        ("r_batch:cask[c:d:v] > 0", "r_batch:cask", {"batch:cask": "c:d:v"}),
        (
            "cor_batch[Intercept, x] > 0",
            "cor_batch",
            {"batch_effect": "Intercept", "batch_effect_2": "x"},
        ),
    ],
)
def test_labels_are_taken_as_they_are(odd_fit, text, variable, where):
    found = hypothesis(odd_fit, text, draws=True)[text]
    expected = odd_fit.posterior[variable].sel(where).to_numpy()
    np.testing.assert_array_equal(found, expected.reshape(found.shape))
    assert found.std() > 0


def test_group_effects_that_were_left_out_are_made(small_data):
    model = bm.Model("y ~ x + (1 | g)", small_data)
    whole, without = nearby(model), nearby(model, effects=False)
    text = "r_g[h] > r_g[i]"
    assert "r_g" not in without.posterior
    pd.testing.assert_frame_equal(hypothesis(without, text), hypothesis(whole, text))


def test_thresholds_are_quantities():
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"y": np.tile([1, 2, 3], 20), "x": rng.normal(size=60)})
    fit = nearby(bm.Model("y ~ x", data, family="cumulative"), draws=400)
    found = hypothesis(fit, ["cutpoints[2|3] > cutpoints[1|2]", "cutpoints[1|2] = 0"], seed=1)
    assert found["post_prob"].iloc[0] == 1
    assert 0 < found["evidence_ratio"].iloc[1] < np.inf


@pytest.mark.parametrize(("point", "tolerance"), [(0.0, 0.12), (1.0, 0.14), (2.0, 0.3)])
@pytest.mark.parametrize("prior_sd", [2.0, 10.0])
def test_a_bayes_factor_is_the_ratio_of_normal_densities(point, tolerance, prior_sd):
    # The Monte Carlo sd of the estimate is 2.8% at the mean, 3.6% an sd from it, 8% at two.
    fit = known_fit(prior_sd, mean=0.0)
    found = hypothesis(fit, f"b[x] = {point}")["evidence_ratio"].item()
    exact = stats.norm.pdf(point) / stats.norm.pdf(point, scale=prior_sd)
    assert abs(found / exact - 1) < tolerance


def test_the_same_point_has_the_same_bayes_factor():
    fit = known_fit(2.0, mean=1.0)
    same = ["b[x] = 0.5", "2 * b[x] - 1 == 0", "exp(-b[x]) = exp(-0.5)", "b[x]**3 = 0.125"]
    found = hypothesis(fit, same)
    np.testing.assert_allclose(found["evidence_ratio"], found["evidence_ratio"].iloc[0], rtol=1e-6)
    ratio = found["evidence_ratio"]
    np.testing.assert_allclose(found["post_prob"], ratio / (1 + ratio))


def test_a_conjugate_posterior_gives_its_bayes_factor():
    # With a sharp prior on sigma, y ~ N(x b, 1) and b ~ N(0, 1): b | y is normal in closed form.
    rng = np.random.default_rng(12)
    x = rng.normal(size=40)
    y = 0.25 * x + rng.normal(size=40)
    priors = {"b": dist.Normal(0, 1), "sigma": dist.LogNormal(0, 1e-4)}
    data = pd.DataFrame({"y": y, "x": x})
    fit = bm.fit("y ~ 0 + x", data, priors=priors, seed=3, progress=False)
    precision = 1 + x @ x
    after = stats.norm(x @ y / precision, precision**-0.5)
    points = after.mean() + after.std() * np.array([-1.5, 0, 1.5])
    found = hypothesis(fit, [f"b[x] = {point!r}" for point in points.tolist()])["evidence_ratio"]
    exact = after.pdf(points) / stats.norm.pdf(points)
    # 5% of Monte Carlo sd at 1.5 posterior sds; the draws are not quite independent.
    np.testing.assert_allclose(np.log(found), np.log(exact), atol=0.25)


def test_prior_draws_give_the_density_of_a_sum():
    # The difference of two N(0, 2**2) is N(0, 8): 1.4% of error from the prior, 2.8% from draws.
    rng = np.random.default_rng(7)
    data = pd.DataFrame(rng.normal(size=(30, 3)), columns=["y", "x", "z"])
    model = bm.Model("y ~ x + z", data, priors={"b": dist.Normal(0, 2)})
    fit = nearby(model, chains=4, draws=1000)
    fit.idata["posterior"]["b"][..., 1:] = rng.normal(size=(4, 1000, 2))
    found = hypothesis(fit, "b[x] - b[z] = 0", seed=2)["evidence_ratio"].item()
    assert abs(found / 2 - 1) < 0.14
    again = hypothesis(fit, "b[x] = b[z]", seed=2)["evidence_ratio"].item()
    assert found == pytest.approx(again, rel=1e-12)


@pytest.mark.parametrize("prior", [bm.HalfStudentT(3, 2), dist.HalfNormal(2), dist.Exponential(1)])
def test_a_bayes_factor_at_a_bound(prior):
    rng = np.random.default_rng(9)
    data = pd.DataFrame({"y": rng.normal(size=40), "g": np.repeat(list("abcdefgh"), 5)})
    fit = nearby(bm.Model("y ~ (1 | g)", data, priors={"sd_g": prior}), chains=4, draws=1000)
    fit.idata["posterior"]["sd_g"][:] = np.abs(rng.normal(size=(4, 1000, 1)))
    found = hypothesis(fit, "sd_g[Intercept] = 0")["evidence_ratio"].item()
    exact = 2 * stats.norm.pdf(0) / np.exp(np.asarray(prior.log_prob(1e-9)))
    assert abs(found / exact - 1) < 0.3  # 8% of Monte Carlo sd at a bound


@pytest.mark.parametrize(
    ("distribution", "bound"),
    [
        (stats.norm(), 0.05),
        (stats.norm(2), 0.12),
        (stats.t(3), 0.05),
        (stats.cauchy(), 0.06),
        (stats.halfnorm(), 0.12),
        (stats.expon(), 0.1),
        (stats.truncnorm(-1, np.inf, loc=1), 0.16),
        (stats.lognorm(3, loc=-1), 0.1),
    ],
)
def test_densities_at_a_point(distribution, bound):
    # Bounds are four Monte Carlo sds of one estimate, the worst of 20: 40,000 draws each.
    for seed in range(5):
        density, near, smooth = density_at_zero(distribution.rvs(40_000, random_state=seed))
        assert abs(density / distribution.pdf(0) - 1) < bound
        assert near >= 200
        assert smooth


def test_a_singular_density_is_told():
    rng = np.random.default_rng(0)
    _, _, smooth = density_at_zero(rng.normal(size=40_000) ** 2)
    assert not smooth


def test_a_far_point_is_warned_of():
    fit = known_fit(10.0, mean=6.0)
    with pytest.warns(bm.BayesmmWarning, match="order of magnitude"):
        found = hypothesis(fit, "b[x] = 0")["evidence_ratio"].item()
    exact = stats.norm.pdf(6) / stats.norm.pdf(0, scale=10)
    assert abs(np.log10(found / exact)) < 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hypothesis(fit, "b[x] = 5")


def test_the_same_seed_gives_the_same_ratio(small_fit):
    text = "b[x] = sigma"
    first, again, other = (hypothesis(small_fit, text, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    ratios = first["evidence_ratio"].item(), other["evidence_ratio"].item()
    assert ratios[0] != ratios[1]
    assert abs(np.log(ratios[0] / ratios[1])) < 0.1  # 1.4% of Monte Carlo sd each


def test_a_prior_in_pieces_is_the_prior(small_fit, monkeypatch):
    quantity = ("r_g", (3, 0))
    monkeypatch.setattr(module, "at_once", lambda numbers: 15_000)
    found = module._prior_values(small_fit._prepared, {quantity, ("sigma", ())}, make_key(4))
    assert {values.shape for values in found.values()} == {(40_002,)}
    assert len(np.unique(found["sigma", ()])) == 40_002
    slot = next(a for a in small_fit.spec.priors if a.slot.variable == "sigma")
    df, scale = (value for _, value in slot.prior.args)
    assert stats.kstest(found["sigma", ()], lambda x: 2 * stats.t.cdf(x / scale, df) - 1).pvalue > (
        1e-3
    )


def test_a_fit_is_not_changed(small_fit):
    before = small_fit.idata["posterior"].to_dataset().copy(deep=True)
    hypothesis(small_fit, ["b[x] = 0.5", "r_g[h] > 0", "sigma = b[x]"], seed=1)
    found = hypothesis(small_fit, "b[x] > 0", draws=True)["b[x] > 0"]
    found[:] = 0.0
    assert small_fit.posterior.identical(before)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("beta[x] > 0", "no quantity 'beta'.*'sd_g'"),
        ("sigmo > 0", "Did you mean 'sigma'"),
        ("x > 0", r"Did you mean 'b\[x\]'"),
        ("b[X] > 0", "no label 'X'. Did you mean 'x'"),
        ("b[x > 0", "not closed"),
        ("b > 0", "2 values.*'Intercept', 'x'"),
        ("r_g > 0", "8 values"),
        ("r_g[h, x] > 0", "no label 'h, x'"),
        ("sigma[x] > 0", "has no labels"),
        ("b[x]", "no comparison"),
        ("0 < b[x] < 1", "several comparisons"),
        ("b[x] != 0", "1 / evidence_ratio"),
        ("b[x] => 0", "'=>' is not one of"),
        ("b[x] >", "nothing stands on one side"),
        ("1 > 0", "names no quantity"),
        ("b[x] > nan", "'nan' is no number"),
        ("b[x] > 1e999", "too large"),
        ("b[x] ^ 2 > 1", r"a\*\*b"),
        ("b[x] ** 2 ** > 1", "missing"),
        ("b[x]) + (b[x] > 1", "missing"),
        ("2 b[x] > 1", "missing"),
        ("2 (b[x]) > 1", "between factors"),
        ("b[x](2) > 1", "between factors"),
        ("exp > 1", "one argument"),
        ("exp() > b[x]", "one argument"),
        ("exp(**b[x]) > 1", "one argument"),
        ("() > b[x]", "one argument"),
        ("max(b[x], 1) > 1", "no quantity 'max'"),
        ("b[x] // 2 > 1", "missing"),
        ("q0 > b[x]", "no quantity 'q0'"),
        ("__import__('os') > 0", "no quantity '__import__'"),
        ("b[x].mean > 0", "no meaning"),
        ("exp.__class__ > 0", "no quantity 'exp.__class__'"),
        ("(lambda: 1)() > b[x]", "no quantity 'lambda:'|no quantity 'lambda'"),
        ("b[x] > 'a'", "no meaning"),
        ("b[x] > 0; sigma", "no meaning"),
        ("b[x] @ sigma > 0", "no meaning"),
        ("b[x] > " + "-" * 100 + "1", "too deep"),
        ("b[x] > " + "(" * 1000 + "1" + ")" * 900, "missing"),
        ("b[x] > " + "1 + " * 1000, "more than 2,000"),
        ("log(b[x] - 100) > 0", "not a finite number in 400 of 400"),
        ("b[x] > 9**9**9**9", "not a finite number"),
        ("sigma / (b[x] - b[x]) = 0", "not a finite number"),
        ("", "hypotheses has ''"),
        ("  ", "hypotheses has"),
        (None, "hypotheses has None"),
        (3, "hypotheses has 3"),
        ([], "at least one"),
        ({}, "at least one"),
        (["b[x] > 0", 1], "hypotheses has 1"),
        (["b[x] > 0", "b[x] > 0"], "none twice"),
        ({"name": ["b[x] > 0"]}, "hypotheses has"),
        ({1: "b[x] > 0"}, "hypotheses has 1"),
        (b"b[x] > 0", "hypotheses has b'"),
        ("r_g[h] = 0", "group effects are 0"),
        ("r_g[h] = r_g[i]", "group effects are 0"),
        ("sigma = -1", "0 or infinite"),
        ("sd_g**2 / (sd_g**2 + sigma**2) = 0", "0 or infinite"),
        ("b[x] - b[x] = 0", "constant"),
    ],
)
def test_bad_hypotheses_are_refused(small_fit, text, match):
    with pytest.raises(bm.BayesmmError, match=match):
        hypothesis(small_fit, text, seed=1)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"conf_level": 1}, "conf_level=1"),
        ({"conf_level": 95}, "between 0 and 1"),
        ({"conf_level": np.nan}, "conf_level"),
        ({"conf_level": True}, "conf_level"),
        ({"conf_level": "0.9"}, "conf_level"),
        ({"draws": 100}, "draws=100"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_refused(small_fit, changed, match):
    with pytest.raises(bm.BayesmmError, match=match):
        hypothesis(small_fit, "b[x] > 0", **changed)


def test_only_a_fit_has_hypotheses(small_fit):
    with pytest.raises(bm.BayesmmError, match="fit is a Dataset"):
        hypothesis(small_fit.posterior, "b[x] > 0")  # type: ignore[arg-type]


def test_a_correlation_of_an_effect_with_itself_is_a_constant(sleepstudy_fit):
    with pytest.raises(bm.BayesmmError, match="about a constant"):
        bm.hypothesis(sleepstudy_fit, "cor_Subject[Days, Days] = 1")
