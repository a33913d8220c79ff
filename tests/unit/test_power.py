"""The parametric bootstrap and power, against what is known of them in closed form."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jax.scipy.special import betainc
from nearby import nearby
from scipy import stats

import bayesmm as bm
from bayesmm.simulation import parametric_bootstrap, power, simulate
from bayesmm.simulation.power import clopper_pearson

PER_GROUP = 20
TWO_GROUPS = pd.DataFrame({"treated": np.repeat([0, 1], PER_GROUP)})
EFFECT = {"b": {"Intercept": 3.0, "treated": 0.8}, "sigma": 1.0}
CRITICAL = stats.t.ppf(0.975, 2 * PER_GROUP - 2)


def two_sided_power(noncentrality, df, alpha=0.05):
    """The power of a t test, from the noncentral t distribution."""
    critical = stats.t.ppf(1 - alpha / 2, df)
    return float(
        stats.nct.sf(critical, df, noncentrality) + stats.nct.cdf(-critical, df, noncentrality)
    )


KNOWN = two_sided_power(0.8 / np.sqrt(2 / PER_GROUP), 2 * PER_GROUP - 2)


def p_value(data):
    """That of the t test."""
    one, other = (data["y"][data["treated"] == k] for k in (1, 0))
    return float(stats.ttest_ind(one, other).pvalue)


def is_significant(columns):
    """The same test, of arrays."""
    y, x = columns["y"], columns["treated"]
    means = jnp.array([jnp.mean(y, where=x == k) for k in (0, 1)])
    pooled = jnp.sum((y - means[x]) ** 2) / (2 * PER_GROUP - 2)
    return jnp.abs(means[1] - means[0]) > CRITICAL * jnp.sqrt(pooled * 2 / PER_GROUP)


def within(found, known, sds=4.0):
    """Whether a power is as near to the known one as binomial error lets it be."""
    return abs(found["power"] - known) < sds * np.sqrt(known * (1 - known) / found["n"])


# --- power ---


def test_two_groups_have_the_power_of_the_t_test():
    found = power("~ treated", TWO_GROUPS, EFFECT, p_value, 1000, seed=1)
    assert found.index.tolist() == ["data"]
    row = found.loc["data"]
    assert within(row, KNOWN)
    assert row["n"] == 1000
    assert row["failures"] == 0
    assert row["std_error"] == pytest.approx(np.sqrt(row["power"] * (1 - row["power"]) / 1000))
    same = power("~ treated", TWO_GROUPS, EFFECT, is_significant, 1000, seed=1, vectorized=True)
    pd.testing.assert_frame_equal(found, same)
    many = power("~ treated", TWO_GROUPS, EFFECT, is_significant, 50_000, seed=2, vectorized=True)
    assert within(many.loc["data"], KNOWN)


def test_the_data_are_those_of_simulate():
    seen = []
    power("~ treated", TWO_GROUPS, EFFECT, lambda data: bool(seen.append(data) or True), 3, seed=7)
    long = simulate("~ treated", TWO_GROUPS, EFFECT, seed=7, n=3)
    for number, data in enumerate(seen):
        own = long[long["simulation"] == number].drop(columns="simulation")
        pd.testing.assert_frame_equal(data, own.reset_index(drop=True))


def test_treatment_between_clusters_has_the_power_of_the_test_of_cluster_means():
    clusters, size, effect, tau, sigma = 12, 6, 1.2, 0.8, 1.5
    data = pd.DataFrame({"g": np.repeat(np.arange(clusters), size)})
    data["treated"] = data["g"] % 2
    params = {"b": {"Intercept": 0.0, "treated": effect}, "sd_g": tau, "sigma": sigma}

    df = clusters - 2

    def p_of_means(columns):
        means = columns["y"].reshape(clusters, size).mean(axis=1)
        one, other = means[1::2], means[0::2]
        pooled = (one.var(ddof=1) + other.var(ddof=1)) / 2
        t = (one.mean() - other.mean()) / jnp.sqrt(pooled * 2 / (clusters / 2))
        return betainc(df / 2, 0.5, df / (df + t**2))

    formula = "~ treated + (1 | g)"
    found = power(formula, data, params, p_of_means, 20_000, seed=3, vectorized=True)
    # The variance of a cluster's mean is tau^2 + sigma^2 / n_j.
    se = np.sqrt((tau**2 + sigma**2 / size) * 2 / (clusters / 2))
    assert within(found.loc["data"], two_sided_power(effect / se, df))


def test_designs_make_a_curve_and_each_has_the_power_that_it_has_alone():
    designs = {k: pd.DataFrame({"treated": np.repeat([0, 1], k)}) for k in (10, 30)}
    found = power("~ treated", designs, EFFECT, p_value, 300, seed=4)
    assert found.index.name == "design"
    for k, row in found.iterrows():
        assert within(row, two_sided_power(0.8 / np.sqrt(2 / k), 2 * k - 2))
    alone = power("~ treated", designs[30], EFFECT, p_value, 300, seed=4)
    assert alone.loc["data"].equals(found.loc[30])


@pytest.mark.parametrize(
    ("hypothesis", "known"),
    [
        # Of a flat posterior: sigma is next to known, so that the difference is normal with the
        # sd sqrt(2 / 20), and the priors on it are wide (see `wide`).
        ("b[treated] > 0", stats.norm.sf(1.6449 - 0.8 / np.sqrt(0.1))),
        ("b[treated] = 0", stats.norm.sf(1.96 - 0.8 / np.sqrt(0.1))),
    ],
)
def test_hypotheses_about_a_posterior_have_the_power_of_a_z_test(hypothesis, known):
    wide = {
        "Intercept": dist.Normal(0, 100),
        "b": dist.Normal(0, 100),
        "sigma": dist.LogNormal(0, 1e-3),
    }
    found = power("~ treated", TWO_GROUPS, EFFECT, hypothesis, 120, seed=5, priors=wide, draws=300)
    assert within(found.loc["data"], known)
    assert found.loc["data", "failures"] == 0


def test_fits_find_what_was_compiled_for_the_first(monkeypatch):
    arguments = ("~ treated", TWO_GROUPS, EFFECT, "b[treated] > 0")
    power(*arguments, 2, seed=1, draws=100)
    compiled = []
    compile_ = jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered, "compile", lambda *a, **k: compiled.append(a) or compile_(*a, **k)
    )
    power(*arguments, 2, seed=2, draws=100)
    assert compiled == []


def test_an_interrupted_fit_does_not_count(monkeypatch):
    """A fit that is interrupted returns the draws that it has, which are not those asked for."""
    fitted = bm.Model.fit
    calls = []

    def interrupted(model, **options):
        fit = fitted(model, **options)
        calls.append(1)
        if len(calls) == 2:
            fit.idata["posterior"].attrs["interrupted"] = 1
        return fit

    monkeypatch.setattr(bm.Model, "fit", interrupted)
    with pytest.warns(bm.BayesmmWarning, match="Interrupted: 1 of 3"):
        found = power("~ treated", TWO_GROUPS, EFFECT, "b[treated] > 0", 3, seed=1)
    assert found["n"].tolist() == [1]


def test_fits_that_did_not_converge_are_named(monkeypatch):
    """They count, since what would have come of them is not known."""
    fitted = bm.Model.fit

    def stuck(model, **options):
        fit = fitted(model, **options)
        fit.idata["posterior"]["b"][0] += 100.0  # one chain elsewhere
        return fit

    monkeypatch.setattr(bm.Model, "fit", stuck)
    with pytest.warns(bm.BayesmmWarning, match="2 fits are poor"):
        found = power("~ treated", TWO_GROUPS, EFFECT, "b[treated] > 0", 2, seed=1)
    assert found.attrs["poor_fits"] == [{"design": "data", "simulation": i} for i in (0, 1)]
    assert found["n"].tolist() == [2]


@pytest.mark.parametrize("vectorized", [False, True])
def test_responses_that_are_no_data_fail_compiled_or_not(vectorized):
    params = {"b": {"Intercept": 3.0, "treated": 60.0}}
    with pytest.raises(bm.BayesmmError, match="None of 4 simulated data sets could be tested"):
        power(
            "~ treated",
            TWO_GROUPS,
            params,
            lambda data: data["y"].mean() > 0,
            4,
            family="poisson",
            seed=1,
            vectorized=vectorized,
        )


def test_the_interval_is_that_of_clopper_and_pearson():
    for k, n in ((0, 10), (3, 10), (10, 10), (700, 1000)):
        exact = stats.binomtest(k, n).proportion_ci(0.9, method="exact")
        assert clopper_pearson(k, n, 0.9) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_failures_are_counted_and_not_hidden():
    def fragile(data):
        if data["y"].iloc[0] < 3.0:
            raise ValueError("too low")
        return bool(data["y"].iloc[1] > 3.0)

    with pytest.warns(bm.BayesmmWarning, match="failed on .* The first: .*ValueError.*too low"):
        found = power("~ treated", TWO_GROUPS, EFFECT, fragile, 200, seed=6)
    row = found.loc["data"]
    assert row["n"] + row["failures"] == 200
    # The first response is below its mean half of the time, and the second independent of it.
    assert abs(row["failures"] - 100) < 4 * np.sqrt(50)
    assert within(row, 0.5)
    details = found.attrs["failures"]
    assert len(details) == row["failures"]
    assert f"in simulation {details[0]['simulation']}: too low" in details[0]["detail"]


def test_nan_is_a_failure_compiled_or_not():
    def sometimes(xp):
        return lambda data: xp.where(xp.asarray(data["y"])[0] > 3.0, 0.01, np.nan)

    for vectorized, xp in ((False, np), (True, jnp)):
        with pytest.warns(bm.BayesmmWarning, match="NaN in simulation"):
            found = power(
                "~ treated", TWO_GROUPS, EFFECT, sometimes(xp), 50, seed=6, vectorized=vectorized
            )
        assert found.loc["data", "power"] == 1.0
        assert 0 < found.loc["data", "failures"] < 50


def test_where_all_fail_the_first_is_named():
    def broken(data):
        return data["z"].mean() > 0

    with pytest.raises(bm.BayesmmError, match="None of 5 .* KeyError in simulation 0: 'z'"):
        power("~ treated", TWO_GROUPS, EFFECT, broken, 5)
    few = {"draws": 100, "engine": Broken()}
    with pytest.raises(bm.BayesmmError, match="None of 3 .* RuntimeError in simulation 0: no"):
        power("~ treated", TWO_GROUPS, EFFECT, "b[treated] > 0", 3, **few)


class Broken:
    """An engine that does not run."""

    def run(self, *arguments, **settings):
        raise RuntimeError("no")


def test_an_interrupt_keeps_what_is_done():
    calls = []

    def interrupted(data):
        calls.append(data)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return True

    with pytest.warns(bm.BayesmmWarning, match="Interrupted: 3 of 10"):
        found = power("~ treated", TWO_GROUPS, EFFECT, interrupted, 10)
    assert found.loc["data", "n"] == 3


@pytest.mark.parametrize(
    ("test", "options", "message"),
    [
        (lambda data: 1, {}, "returned 1 in simulation 0: return a bool, or a p-value"),
        (lambda data: "yes", {}, "returned 'yes'"),
        (lambda data: data["y"] > 0, {}, "return a bool"),
        (lambda data: 1.5, {}, "1.5 in simulation 0: a p-value is between 0 and 1"),
        (lambda data: jnp.sum(data["treated"]), {"vectorized": True}, "neither a bool nor a float"),
        (lambda data: data["y"] > 0, {"vectorized": True}, r"shape \(40,\)"),
        (lambda data: data["z"], {"vectorized": True}, "raised KeyError while JAX compiled it"),
        (3, {}, "test=3: write a function"),
        ("b[treatd] > 0", {}, "treatd"),
        ("b[treated] > 0", {"vectorized": True}, "vectorized=True is for a test that is a func"),
        ("b[treated] > 0", {"drws": 3}, "'drws'. Did you mean 'draws'"),
        (p_value, {"draws": 3}, "'draws' is for fits, and test is a function"),
        (p_value, {"alpha": 5}, "alpha=5"),
        (p_value, {"n": 0}, "n=0"),
        (p_value, {"conf_level": 95}, "conf_level=95"),
        (p_value, {"vectorized": 1}, "vectorized=1"),
        (p_value, {"data": {"y": [1, 2]}}, r"data\['y'\] is a list"),
        (p_value, {"data": {}}, "data is an empty mapping"),
        (p_value, {"params": {}}, "params lacks 'b', 'sigma'"),
    ],
)
def test_bad_arguments_of_power_are_refused(test, options, message):
    given = {"data": TWO_GROUPS, "params": EFFECT, "n": 3} | options
    with pytest.raises(bm.BayesmmError, match=message):
        power("~ treated", test=test, **given)


# --- the parametric bootstrap ---


@pytest.fixture(scope="module")
def fit(small_data):
    """Not a posterior, and as good as one: data are made from whatever a fit holds."""
    return nearby(bm.Model("y ~ x + f + (1 + x | g)", small_data))


def middle(fit, name, statistic="mean"):
    return getattr(fit.whole_posterior()[name], statistic)(("chain", "draw")).to_numpy()


def responses(data):
    return {f"y{i}": y for i, y in enumerate(data["y"])}


def moments(fit, group_effects, statistic="mean"):
    """Mean and covariance of the response at the posterior's middle."""
    design = fit._prepared.design.predictors[0]
    Z = np.zeros((40, 16))
    for i, j in enumerate(design.groups[0].index):
        Z[i, 2 * j : 2 * j + 2] = design.groups[0].columns[i]
    mean = design.X @ middle(fit, "b", statistic)
    V = middle(fit, "sigma", statistic) ** 2 * np.eye(40)
    if group_effects == "fitted":
        return mean + Z @ middle(fit, "r_g", statistic).ravel(), V
    sd, cor = middle(fit, "sd_g", statistic), middle(fit, "cor_g", statistic)
    return mean, V + Z @ np.kron(np.eye(8), sd[:, None] * cor * sd) @ Z.T


@pytest.mark.parametrize("group_effects", ["new", "fitted"])
@pytest.mark.parametrize("parameters", ["mean", "median"])
def test_responses_are_those_of_the_fitted_model(fit, group_effects, parameters):
    n = 3000
    table = parametric_bootstrap(
        fit, responses, n, group_effects=group_effects, parameters=parameters, seed=1
    )
    mean, V = moments(fit, group_effects, parameters)
    z = (table.mean().to_numpy() - mean) / np.sqrt(np.diag(V) / n)
    assert np.abs(z).max() < 5
    error = np.sqrt((np.outer(np.diag(V), np.diag(V)) + V**2) / n)
    assert (np.abs(np.cov(table.to_numpy().T) - V) / error).max() < 5.5


def test_draws_of_the_posterior_are_used_equally_often(fit):
    table = parametric_bootstrap(
        fit, responses, 6000, group_effects="fitted", parameters="draws", seed=2
    )
    posterior = fit.whole_posterior()
    sigma2 = (posterior["sigma"] ** 2).mean().item()
    design = fit._prepared.design.predictors[0]
    b = posterior["b"].to_numpy().reshape(-1, 3)
    r = posterior["r_g"].to_numpy().reshape(-1, 8, 2)[:, design.groups[0].index]
    eta = b @ design.X.T + (r * design.groups[0].columns).sum(axis=2)
    variance = eta.var(axis=0) + sigma2  # of a mixture
    z = (table.mean().to_numpy() - eta.mean(axis=0)) / np.sqrt(variance / 6000)
    assert np.abs(z).max() < 5
    ratio = table.var().to_numpy() / variance
    assert np.abs(ratio - 1).max() < 0.15  # heavier tails than normal: kurtosis up to 10


def test_compiled_statistics_are_those_of_python(fit):
    def in_python(data):
        return pd.Series({"mean": data["y"].mean(), "a": data["y"][data["f"] == "a"].mean()})

    def in_jax(columns):
        return {
            "mean": columns["y"].mean(),
            "a": jnp.mean(columns["y"], where=columns["f"] == 0),
        }

    for parameters in ("mean", "draws"):
        settings = {"n": 300, "seed": 3, "parameters": parameters}
        one = parametric_bootstrap(fit, in_python, **settings)
        other = parametric_bootstrap(fit, in_jax, vectorized=True, **settings)
        pd.testing.assert_frame_equal(one, other, rtol=1e-10)
        assert one.attrs["observed"] == pytest.approx(other.attrs["observed"])
        y = fit._prepared.response.values
        assert one.attrs["observed"]["mean"] == pytest.approx(y.mean())
        assert one.index.name == "simulation"
    fewer = parametric_bootstrap(fit, in_python, **settings | {"n": 5})
    pd.testing.assert_frame_equal(fewer, one.head(5), rtol=1e-10)


def test_one_number_is_called_statistic_and_the_data_keep_their_columns(fit, small_data):
    seen = []
    table = parametric_bootstrap(fit, lambda data: seen.append(data) or 1, 2, seed=1)
    assert table.columns.tolist() == ["statistic"]
    real, first, second = seen
    pd.testing.assert_series_equal(real["y"], small_data["y"], check_names=False)
    assert sorted(first.columns) == sorted(small_data.columns)
    assert not np.allclose(first["y"], second["y"])
    assert table.attrs["observed"] == {"statistic": 1.0}


def test_a_model_can_be_fitted_to_each_data_set(fit):
    def refitted(data):
        model = bm.Model("y ~ x + f + (1 + x | g)", data)
        return nearby(model, draws=5).posterior["sigma"].mean().item()

    table = parametric_bootstrap(fit, refitted, 3, seed=1)
    assert np.isfinite(table["statistic"]).all()


def test_responses_of_other_kinds_are_of_the_kind_that_was_fitted():
    rng = np.random.default_rng(1)
    n = 30
    data = pd.DataFrame({"x": rng.normal(size=n), "trials": 9, "low": 0})
    data["k"] = rng.integers(1, 9, n)
    data["level"] = pd.Categorical(np.resize(["a", "b", "c"], n), ["a", "b", "c"], ordered=True)
    data["ill"] = np.resize(["yes", "no"], n)
    for formula, family, name, possible in (
        ("prop(k, trials) ~ x", "binomial", "k", set(range(10))),
        ("truncated(k, 1) ~ x", "poisson", "k", set(range(1, 1000))),
        ("log(k) ~ x", "gaussian", "k", None),
        ("level ~ x", "cumulative", "level", set("abc")),
        ("ill ~ x", "bernoulli", "ill", {"yes", "no"}),
    ):
        small = {"Intercept": dist.Normal(0.0, 0.1), "b": dist.Normal(0, 0.1)}
        if family == "cumulative":
            small.pop("Intercept")
        model = bm.Model(formula, data, family, small)
        fit = nearby(model)
        kept = []
        parametric_bootstrap(fit, lambda d, kept=kept: kept.append(d) or 0.0, 20, seed=1)
        for made in kept[1:]:
            assert made[name].dtype == kept[0][name].dtype or possible is None
            assert possible is None or set(made[name]) <= possible
            assert possible is not None or (made[name] > 0).all()
        everything = set().union(*(made[name] for made in kept[1:]))
        assert len(everything) > 1


@pytest.mark.parametrize(
    ("statistic", "options", "message"),
    [
        (lambda data: 1 / 0, {}, "raised ZeroDivisionError on the real data"),
        (lambda data: "a", {}, "is a str .* on the real data"),
        (lambda data: {"a": [1.0]}, {}, r"\['a'\] is a list"),
        (lambda data: {}, {}, "returned nothing"),
        (lambda data: data["y"], {"vectorized": True}, r"shape \(40,\)"),
        (lambda data: np.asarray(data["y"]).sum(), {"vectorized": True}, "JAX compiled it"),
        (None, {}, "statistic=None: write a function"),
        (len, {"group_effects": "old"}, "group_effects='old': write one of 'new', 'fitted'"),
        (len, {"parameters": "mode"}, "parameters='mode'"),
        (len, {"n": 0}, "n=0"),
        (len, {"seed": "a"}, "seed='a'"),
        (len, {"vectorized": "no"}, "vectorized='no'"),
    ],
)
def test_bad_arguments_of_the_bootstrap_are_refused(fit, statistic, options, message):
    with pytest.raises(bm.BayesmmError, match=message):
        parametric_bootstrap(fit, statistic, **{"n": 3} | options)


def test_what_goes_wrong_in_a_statistic_is_said_with_its_number(fit):
    def until(count, then):
        calls = []

        def statistic(data):
            calls.append(data)
            return 1.0 if len(calls) <= count else then()

        return statistic

    def fails():
        raise KeyError("z")

    # The first call is that of the real data.
    with pytest.raises(bm.BayesmmError, match="statistic raised KeyError in simulation 2: 'z'"):
        parametric_bootstrap(fit, until(3, fails), 9)
    with pytest.raises(bm.BayesmmError, match="'a' in simulation 0, and 'statistic' before"):
        parametric_bootstrap(fit, until(1, lambda: {"a": 1.0}), 9)
    with pytest.raises(bm.BayesmmError, match="fit is a DataFrame"):
        parametric_bootstrap(TWO_GROUPS, len)


def test_nothing_is_warned_of_where_all_is_well(fit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parametric_bootstrap(fit, lambda data: data["y"].mean(), 5)
