"""Predictions: against the formula by hand, against theory for new clusters, and refusals."""

import importlib

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.stats as st

import bayesmm as bm
from bayesmm import chunks
from bayesmm.predict import Clusters, covariance_root, find_clusters
from bayesmm.predict.integrals import find_mode
from bayesmm.schema import Grouping

# `bayesmm.predict.condition` is the function of that name.
condition_module = importlib.import_module("bayesmm.predict.condition")

QUICK = {"draws": 250, "chains": 2, "warmup": 200, "seed": 3, "progress": False}


def rows(days=(0.0, 1.0, 4.0), subject="308"):
    return pd.DataFrame({"Days": list(days), "Subject": subject})


def values(tree, name):
    """The draws of a prediction, chain and draw as one."""
    found = tree["predictions"][name].to_numpy()
    return found.reshape(-1, *found.shape[2:])


def draws(fit, name):
    found = fit.posterior[name].to_numpy()
    return found.reshape(-1, *found.shape[2:])


@pytest.fixture(scope="module")
def nested_data():
    """Counts of 24 cells g in 6 of a, with 4 rows each, and a number x."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(24), 4)
    x = rng.normal(size=96)
    eta = 1.0 + 0.4 * x + rng.normal(0, 0.5, 6)[g // 4] + rng.normal(0, 0.4, 24)[g]
    letters = np.array(list("ABCDEF"))[g // 4]
    return pd.DataFrame({"n": rng.poisson(np.exp(eta)), "x": x, "a": letters, "g": g % 4})


@pytest.fixture(scope="module")
def nested_fit(nested_data):
    return bm.fit("n ~ scale(x) + (1 | a/g)", nested_data, family="poisson", **QUICK)


# --- which cluster a row is of ---


def test_new_clusters_are_numbered_after_the_known_ones():
    grouping = Grouping(("a", "b"), (("x", 1), ("x", 2), ("y", 1)))
    frame = pd.DataFrame(
        {
            "a": pd.Categorical(["y", "x", "z", "x", "z", None, "x"]),
            "b": [1.0, 3.0, 1.0, 2.0, 1.0, 1.0, np.nan],
        }
    )
    found = find_clusters(grouping, frame)
    assert found.index.tolist() == [2, 3, 4, 1, 4, 5, 6]
    assert found.new == (("x", 3), ("z", 1), (), ())
    assert found.labels == ("x:3", "z:1", "", "")
    labelled = find_clusters(grouping, frame.iloc[:5])
    assert find_clusters(labelled.extended(), frame.iloc[[4, 0, 1]]).index.tolist() == [4, 2, 3]


def test_rows_of_known_clusters_have_no_new_ones():
    grouping = Grouping(("a",), ((1,), (2,)))
    found = find_clusters(grouping, pd.DataFrame({"a": [2, 1, 2]}))
    assert isinstance(found, Clusters)
    assert found.index.tolist() == [1, 0, 1]
    assert found.new == ()


# --- known clusters and none ---


def test_linpred_is_that_of_the_formula(sleepstudy_fit):
    found = values(sleepstudy_fit.predict(rows(), kind="linpred"), "linpred")
    b = draws(sleepstudy_fit, "b")
    r = sleepstudy_fit.posterior["r_Subject"].sel(Subject="308").to_numpy().reshape(-1, 2)
    X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 4.0]])
    np.testing.assert_allclose(found, (b + r) @ X.T, rtol=1e-12)


def test_training_data_and_the_same_rows_as_new_data_agree(nested_fit, nested_data):
    given = nested_fit.predict(nested_data.sample(frac=1.0, random_state=0))["predictions"]["mean"]
    known = nested_fit.predict()["predictions"]["mean"]
    np.testing.assert_allclose(given.sortby("obs_id"), known, rtol=1e-12)
    some = nested_fit.predict(nested_data.iloc[[5, 90]])["predictions"][
        "mean"
    ]  # scale(x) remembers
    np.testing.assert_allclose(some, known.sel(obs_id=[5, 90]), rtol=1e-12)


def test_mean_is_on_the_scale_of_the_response(nested_fit):
    mean = values(nested_fit.predict(), "mean")
    np.testing.assert_allclose(
        mean, np.exp(values(nested_fit.predict(kind="linpred"), "linpred")), rtol=1e-12
    )


def test_without_group_effects_their_columns_need_not_be_there(sleepstudy_fit):
    found = sleepstudy_fit.predict(rows()[["Days"]], kind="linpred", group_effects=())
    X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 4.0]])
    np.testing.assert_allclose(
        values(found, "linpred"), draws(sleepstudy_fit, "b") @ X.T, rtol=1e-12
    )


def test_some_group_effects(nested_fit, nested_data):
    """The effects of a alone: the linear predictor less those of its cells."""
    part = nested_fit.predict(nested_data.drop(columns="g"), kind="linpred", group_effects=["a"])
    whole = nested_fit.predict(kind="linpred")
    cells = draws(nested_fit, "r_a:g")[..., 0][:, np.repeat(np.arange(24), 4)]
    np.testing.assert_allclose(
        values(part, "linpred"), values(whole, "linpred") - cells, atol=1e-12
    )


def test_a_predictor_of_another_parameter_has_its_own_variable(small_data):
    fit = bm.fit(["y ~ x + (1 | g)", "sigma ~ f + (1 | g)"], small_data, **QUICK)
    found = fit.predict(small_data.iloc[:3], kind="linpred")["predictions"]
    assert set(found.data_vars) == {"linpred", "linpred_sigma"}
    new = small_data.iloc[[0, 1]].assign(g="new")
    picked = fit.predict(new, kind="linpred", new_levels="existing", seed=1)
    base = fit.predict(new, kind="linpred", group_effects=())
    effect = values(picked, "linpred")[:, 0] - values(base, "linpred")[:, 0]
    of_sigma = values(picked, "linpred_sigma")[:, 0] - values(base, "linpred_sigma")[:, 0]
    # One fitted cluster for each draw, in both parameters, and not always the same.
    at = np.abs(draws(fit, "r_g")[..., 0] - effect[:, None]).argmin(axis=1)
    draw = np.arange(len(at))
    np.testing.assert_allclose(draws(fit, "r_g")[draw, at, 0], effect, atol=1e-12)
    np.testing.assert_allclose(draws(fit, "r_sigma_g")[draw, at, 0], of_sigma, atol=1e-12)
    count = np.bincount(at, minlength=8)
    assert st.chisquare(count).pvalue > 1e-4


# --- new clusters ---


def test_effects_of_new_clusters_have_the_covariance_of_each_draw(sleepstudy_fit):
    """Standardised by the Sigma of its draw, they are independent standard normal numbers."""
    new = pd.concat([rows((0.0, 1.0, 4.0), "new"), rows((0.0, 1.0, 4.0), "other")])
    found = sleepstudy_fit.predict(new, kind="linpred", new_levels="sample", seed=5)
    base = sleepstudy_fit.predict(new, kind="linpred", group_effects=())
    effect = (values(found, "linpred") - values(base, "linpred")).reshape(-1, 2, 3)
    # One effect for all rows of a cluster: a line in Days.
    np.testing.assert_allclose(
        effect[..., 2] - effect[..., 0], 4 * (effect[..., 1] - effect[..., 0]), atol=1e-9
    )
    b = np.stack([effect[..., 0], effect[..., 1] - effect[..., 0]], axis=-1)
    sd, cor = draws(sleepstudy_fit, "sd_Subject"), draws(sleepstudy_fit, "cor_Subject")
    Sigma = sd[:, :, None] * cor * sd[:, None, :]
    z = np.linalg.solve(np.linalg.cholesky(Sigma)[:, None], b[..., None])[..., 0].reshape(-1, 4)
    n = len(z)
    assert st.kstest(z.ravel(), "norm").pvalue > 1e-4
    # Fisher's transform: each sample correlation of independent numbers is within 4 sds of 0.
    off = np.corrcoef(z.T)[np.triu_indices(4, 1)]
    assert np.abs(np.arctanh(off)).max() < 4 / np.sqrt(n - 3)
    assert np.abs(z.mean(axis=0)).max() < 4 / np.sqrt(n)
    assert np.abs((z**2).mean(axis=0) - 1).max() < 4 * np.sqrt(2 / n)


def test_root_of_a_covariance_that_is_singular():
    """Two effects in perfect correlation: what Cholesky's root may round below 0."""
    fit = bm.Model(
        "y ~ x + (x | g)", pd.DataFrame({"y": [1.0, 2, 4], "x": [1.0, 2, 4], "g": [1, 2, 1]})
    )
    group = fit.spec.layout[0].groups[0]
    sd, cor = np.array([[2.0, 3.0]]), np.ones((1, 2, 2)) * [[[1.0, 1.0], [1.0, 1.0]]]
    root = covariance_root({"sd_g": sd, "cor_g": cor}, group)[0]
    np.testing.assert_allclose(root @ root.T, [[4.0, 6.0], [6.0, 9.0]], atol=1e-12)


def test_nested_clusters_keep_what_is_known(nested_fit):
    """A new cell of a known a has the effect of a; in a new a all is new."""
    new = pd.DataFrame({"x": 0.0, "a": ["B", "B", "Z"], "g": [0, 9, 0]})
    found = nested_fit.predict(new, kind="linpred", new_levels="population")
    base = nested_fit.predict(new, kind="linpred", group_effects=())
    effect = values(found, "linpred") - values(base, "linpred")
    of_a = nested_fit.posterior["r_a"].sel(a="B").to_numpy().reshape(-1)
    of_cell = nested_fit.posterior["r_a:g"].sel({"a:g": "B:0"}).to_numpy().reshape(-1)
    np.testing.assert_allclose(effect[:, 0], of_a + of_cell, atol=1e-12)
    np.testing.assert_allclose(effect[:, 1], of_a, atol=1e-12)
    np.testing.assert_allclose(effect[:, 2], 0.0, atol=1e-12)
    sampled = nested_fit.predict(new, kind="linpred", new_levels="sample", seed=1)
    own = values(sampled, "linpred") - values(base, "linpred") - np.stack([of_a, of_a, 0 * of_a], 1)
    sd_a, sd_cell = draws(nested_fit, "sd_a")[:, 0], draws(nested_fit, "sd_a:g")[:, 0]
    np.testing.assert_allclose(own[:, 0], of_cell, atol=1e-12)
    assert st.kstest(own[:, 1] / sd_cell, "norm").pvalue > 1e-4
    assert st.kstest(own[:, 2] / np.hypot(sd_a, sd_cell), "norm").pvalue > 1e-4


def test_a_row_without_a_label_is_a_cluster_of_its_own(sleepstudy_fit):
    new = rows((0.0, 0.0), None)
    with pytest.raises(bm.DataError, match="missing value in 'Subject'"):
        sleepstudy_fit.predict(new)
    found = values(
        sleepstudy_fit.predict(new, kind="linpred", new_levels="sample", seed=1), "linpred"
    )
    assert abs(st.pearsonr(*found.T).statistic) < 0.5
    same = rows((0.0, 0.0), "new")
    found = values(
        sleepstudy_fit.predict(same, kind="linpred", new_levels="sample", seed=1), "linpred"
    )
    np.testing.assert_array_equal(found[:, 0], found[:, 1])


def test_a_new_cluster_has_the_same_effect_whatever_stands_beside_it(sleepstudy_fit):
    alone = sleepstudy_fit.predict(rows(subject="new"), new_levels="sample", seed=8)
    beside = pd.concat([rows(subject="308"), rows(subject="other"), rows(subject="new")])
    found = values(sleepstudy_fit.predict(beside, new_levels="sample", seed=8), "mean")
    np.testing.assert_allclose(found[:, -3:], values(alone, "mean"), rtol=1e-12)


# --- responses, summaries, chunks ---


def test_responses_are_drawn_from_the_distribution_of_their_draw(sleepstudy_fit):
    new = rows((0.0, 3.0, 8.0), "309")
    found = sleepstudy_fit.predict(new, kind="response", seed=2)
    z = values(found, "Reaction") - values(sleepstudy_fit.predict(new), "mean")
    z = z / draws(sleepstudy_fit, "sigma")[:, None]
    assert st.kstest(z.ravel(), "norm").pvalue > 1e-4
    again = sleepstudy_fit.predict(new, kind="response", seed=2)
    np.testing.assert_array_equal(values(found, "Reaction"), values(again, "Reaction"))
    other = sleepstudy_fit.predict(new, kind="response", seed=3)
    assert (values(found, "Reaction") != values(other, "Reaction")).all()


def test_counts_stay_counts(nested_fit, nested_data):
    found = nested_fit.predict(nested_data.iloc[:4], kind="response", seed=1)
    assert found["predictions"]["n"].dtype == np.int64
    assert found["predictions"]["n"].dims == ("chain", "draw", "obs_id")
    constant = found["predictions_constant_data"]
    assert constant["a"].to_numpy().tolist() == nested_data["a"].iloc[:4].tolist()


@pytest.mark.parametrize("size", [1, 1000, 7 * 500])
def test_summaries_and_draws_do_not_depend_on_chunks(
    nested_fit, nested_data, size, monkeypatch, evidence
):
    new = pd.concat([nested_data.iloc[:10], nested_data.iloc[:7].assign(a="Z", g=1)])
    arguments = {"kind": "mean", "new_levels": "sample", "seed": 6}
    whole = values(nested_fit.predict(new, **arguments), "mean")
    monkeypatch.setattr(chunks, "CHUNK_NUMBERS", size)
    np.testing.assert_allclose(values(nested_fit.predict(new, **arguments), "mean"), whole)
    found = nested_fit.predict(new, summary=True, **arguments)["predictions"]["mean"]
    assert found.dims == ("statistic", "obs_id")
    assert found["statistic"].to_numpy().tolist() == ["mean", "sd", "eti89_lb", "eti89_ub"]
    expected = [whole.mean(0), whole.std(0), *np.quantile(whole, [0.055, 0.945], axis=0)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    evidence("parts", f"predictions, {size} numbers at once", found, expected, bound=1e-10)


def test_fewer_draws_are_spread_evenly(sleepstudy_fit):
    found = sleepstudy_fit.predict(rows(), draws=5)["predictions"]
    assert dict(found.sizes) == {"chain": 1, "draw": 5, "obs_id": 3}


def test_categories_have_a_dimension():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=60), "g": np.resize(np.arange(6), 60)})
    data["y"] = np.digitize(data["x"] + rng.logistic(size=60), [-1, 1]) + 1
    fit = bm.fit("y ~ x + (1 | g)", data, family="cumulative", **QUICK)
    found = fit.predict(data.iloc[:4])["predictions"]["mean"]
    assert found.dims == ("chain", "draw", "obs_id", "category")
    assert found["category"].to_numpy().tolist() == ["1", "2", "3"]
    np.testing.assert_allclose(found.sum("category"), 1.0)
    drawn = fit.predict(data.iloc[:4], kind="response", seed=1)["predictions"]["y"]
    assert set(np.unique(drawn)) == {1, 2, 3}
    with pytest.raises(bm.BayesmmError, match="kind='mean'"):
        fit.predict(data.iloc[:4], kind="response", summary=True)


def test_unseen_levels_with_thresholds_of_their_own_are_refused():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=80), "f": np.resize(["a", "b"], 80)})
    data["y"] = np.digitize(data["x"] + rng.logistic(size=80), [-1, 1]) + 1
    fit = bm.fit("thresholds(y, f) ~ x", data, family="cumulative", **QUICK)
    assert fit.predict(data.iloc[:4])["predictions"]["mean"].sizes["obs_id"] == 4
    with pytest.raises(bm.NewLevelsError, match="'zzz'"):
        fit.predict(data.iloc[:4].assign(f="zzz"), new_levels="sample")


def test_multinomial_counts_take_their_trials_from_the_columns():
    rng = np.random.default_rng(0)
    counts = rng.multinomial([5, 9] * 20, [0.2, 0.3, 0.5])
    data = pd.DataFrame(counts, columns=["a", "b", "c"]).assign(x=rng.normal(size=40))
    fit = bm.fit("c(a, b, c) ~ x", data, family="multinomial", **QUICK)
    for new in (None, data):
        mean = fit.predict(new)["predictions"]["mean"]
        np.testing.assert_allclose(mean.sum("category").mean(("chain", "draw")), [5, 9] * 20)
    with pytest.raises(bm.DataError, match="'a'"):
        fit.predict(data[["x"]])


@pytest.mark.parametrize(
    ("known", "new", "number"),
    [
        ([0.5, 1.0, 1.5, 2.0], [1.0, None], [1, 4]),
        ([1, 2, 3, 4], pd.array([3, None], dtype="Int64"), [2, 4]),
        ([True, False, True, False], pd.array([True, None], dtype="boolean"), [1, 2]),
    ],
)
def test_labels_are_read_as_in_the_training_data(known, new, number):
    data = pd.DataFrame({"y": np.arange(8.0) ** 2, "g": known * 2})
    prepared = bm.Model("y ~ 1 + (1 | g)", data)._prepared
    _, frame = prepared.rows_of(pd.DataFrame({"g": new}), unlabelled=True)
    assert find_clusters(prepared.spec.schema.grouping("g"), frame.columns).index.tolist() == number


# --- conditioning on responses of new clusters ---


def test_nothing_is_written_into_the_fit(nested_fit, nested_data):
    before = nested_fit.idata.copy(deep=True)
    new = nested_data.assign(a="Z")
    copy = new.copy()
    nested_fit.predict(new, kind="response", new_levels="sample")
    assert nested_fit.idata.identical(before)
    pd.testing.assert_frame_equal(new, copy)


def refit_check(formula, data, family, held, **priors):
    """Predictors of held-out clusters given their rows, and what the draws are worth.

    By conditioning and by a refit. The draws of the first are worth what the weights leave of those
    that the posterior's are worth.
    """
    sampling = {"draws": 1000, "chains": 4, "progress": False}
    rest = data[~data["g"].isin(held)]
    part = bm.fit(formula, rest, family=family, seed=1, **sampling, **priors)
    whole = bm.fit(formula, data, family=family, seed=2, **sampling, **priors)
    seen = data[data["g"].isin(held)]
    one = seen.groupby("g", observed=True).head(1)
    given = part.predict(one, kind="linpred", condition_on=seen, seed=3)
    refit = whole.predict(one, kind="linpred")
    attrs = given["predictions"].attrs
    assert attrs["pareto_k"] < 0.7
    worth = part.summary()[["ess_bulk", "ess_tail"]].astype(float).min().min() / 4000
    return (
        values(given, "linpred"),
        refit["predictions"]["linpred"],
        attrs["effective_draws"] * worth,
    )


def simulated(family, seed=2, groups=14, each=8):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), each)
    x = rng.normal(size=g.size)
    eta = 0.5 + 0.6 * x + rng.normal(0, 0.9, groups)[g]
    y = {
        "gaussian": eta + rng.normal(0, 0.8, g.size),
        "bernoulli": (rng.logistic(size=g.size) < eta).astype(int),
        "poisson": rng.poisson(np.exp(eta)),
    }[family]
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{i:02d}" for i in g]})


#: Priors that do not look at the data, which differ between the fit and the refit.
PRIORS = {
    "Intercept": dist.Normal(0.0, 2.0),
    "b": dist.Normal(0.0, 1.0),
    "sd": dist.HalfNormal(1.5),
}


@pytest.mark.parametrize("family", ["gaussian", "bernoulli", "poisson"])
def test_conditioning_is_what_a_refit_says(family, evidence):
    data = simulated(family)
    more = {"sigma": dist.HalfNormal(2.0)} if family == "gaussian" else {}
    # The intercept's prior is on the centred predictors: x must have the same centre in both.
    data["x"] -= data.groupby("g")["x"].transform("mean")
    given, refit, n_given = refit_check(
        "y ~ x + (1 | g)", data, family, ["g03", "g09"], priors={**PRIORS, **more}
    )
    other = refit.to_numpy().reshape(len(given), -1)
    from arviz_stats import ess

    n_refit = np.minimum(
        ess(refit.to_dataset(), method="mean")["linpred"].to_numpy(),
        ess(refit.to_dataset(), method="sd")["linpred"].to_numpy(),
    )
    scores = []
    for at in range(given.shape[1]):
        sd = other[:, at].std()
        error = sd * np.sqrt(1 / n_given + 1 / n_refit[at])
        scores.append(abs(given[:, at].mean() - other[:, at].mean()) / error)
        # The log of a sample sd has an sd of about 1/sqrt(2 n).
        ratio = np.log(given[:, at].std() / sd)
        scores.append(abs(ratio) / np.sqrt(0.5 / n_given + 0.5 / n_refit[at]))
    assert max(scores) < 4
    row = f"responses of a new cluster conditioned on, {family}: a refit with them"
    evidence("draws", row, numbers=len(scores), z=max(scores), bound=4)


@pytest.mark.parametrize(("sd", "mu", "y"), [(3, 1, 403), (2, 0.1, 110), (1, 1, 500), (2, 1, 0)])
def test_the_mode_is_found_for_counts_far_from_the_typical_cluster(sd, mu, y):
    """y ~ Poisson(mu exp(sd u)): where a Newton step from u = 0 overshoots by far."""
    import jax
    import jax.numpy as jnp
    from scipy.optimize import brentq

    def log_joint(u):
        eta = jnp.log(mu) + sd * u[0]
        return y * eta - jnp.exp(eta) - 0.5 * u @ u

    def expand(u):
        return log_joint(u), jax.grad(log_joint)(u), -jax.hessian(log_joint)(u)

    with jax.enable_x64(True):
        mode, root, log_det = find_mode(expand, 1)
    true = brentq(lambda u: sd * (y - mu * np.exp(sd * u)) - u, -5, 20)
    np.testing.assert_allclose(mode, [true], atol=1e-8)
    curvature = 1 + sd**2 * mu * np.exp(sd * true)
    np.testing.assert_allclose(np.abs(root), [[curvature**-0.5]], rtol=1e-6)
    np.testing.assert_allclose(log_det, -0.5 * np.log(curvature), rtol=1e-6, atol=1e-9)


def test_weights_that_are_not_numbers_count_for_nothing():
    rng = np.random.default_rng(0)
    log_weights = np.where(np.arange(400) < 200, 0.1 * rng.normal(size=400), np.nan)
    picked, k, effective = condition_module._resampled(log_weights, rng)
    assert picked.max() < 200
    assert k < 0.7
    assert 180 < effective <= 200
    with pytest.warns(bm.BayesmmWarning, match="Pareto k"):
        condition_module._resampled(np.where(np.arange(400) < 5, 0.0, -np.inf), rng)
    with pytest.raises(bm.BayesmmError, match="all but impossible"):
        condition_module._resampled(np.where(np.arange(400) == 3, 0.0, -np.inf), rng)


def test_conditioning_refuses_what_the_model_cannot_know():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(size=40), "g": np.repeat(np.arange(8), 5)})
    data["z"] = np.where(data["y"] > 0, "yes", "no")
    new = data.iloc[:3].assign(g=99)
    fit = bm.fit("scale(y) ~ 1 + (1 | g)", data, **QUICK)
    with pytest.raises(bm.BayesmmError, match="from all rows together"):
        fit.predict(new, condition_on=new)
    fit = bm.fit("z ~ 1 + (1 | g)", data, family="bernoulli", **QUICK)
    with pytest.raises(bm.DataError, match="'YES', which the model has not seen"):
        fit.predict(new, condition_on=new.assign(z="YES"))
    with pytest.raises(bm.BayesmmError, match="20 are too few"):
        fit.predict(new, condition_on=new, draws=20)


# --- refusals ---


@pytest.mark.parametrize(
    ("new", "arguments", "error", "words"),
    [
        (rows(subject="new"), {}, bm.NewLevelsError, ["'new'", "new_levels='sample'", "Subject"]),
        (rows()[["Days"]], {}, bm.DataError, ["'Subject'"]),
        (rows()[["Subject"]], {}, bm.DataError, ["'Days'"]),
        (rows().iloc[:0], {}, bm.DataError, ["no rows"]),
        (rows().assign(Days=["1", "2", "3"]), {}, bm.DataError, ["Days"]),
        (rows(subject=308), {}, bm.DataError, ["'Subject'", "numbers", "text"]),
        (rows((1.0, np.nan)), {"new_levels": "sample"}, bm.DataError, ["missing", "'Days'"]),
        (rows(subject=None), {}, bm.DataError, ["newdata", "without a label"]),
        (rows().head(0), {}, bm.DataError, ["newdata has no rows"]),
        (rows().rename(columns={"Days": "days"}), {}, bm.DataError, ["called 'days'?"]),
        (rows(), {"group_effects": False}, bm.BayesmmError, ["group_effects=False", "names"]),
        (rows(), {"kind": "fitted"}, bm.BayesmmError, ["'fitted'", "'mean'"]),
        (rows(), {"new_levels": "new"}, bm.BayesmmError, ["'new'", "'population'"]),
        (rows(), {"summary": 0.9}, bm.BayesmmError, ["summary=0.9"]),
        (rows(), {"group_effects": ["Subjekt"]}, bm.BayesmmError, ["Subjekt", "mean 'Subject'"]),
        (
            rows(),
            {"group_effects": (), "new_levels": "sample"},
            bm.BayesmmError,
            ["group_effects=()", "'sample'"],
        ),
        (rows(), {"draws": 10**6}, bm.SamplerError, ["1000000"]),
        (rows(), {"group_effects": (), "condition_on": rows()}, bm.BayesmmError, ["condition_on"]),
        (None, {"condition_on": rows()}, bm.BayesmmError, ["newdata"]),
        (rows(), {"condition_on": rows()}, bm.DataError, ["'Reaction'"]),
        (
            rows(),
            {"condition_on": rows().assign(Reaction=250.0)},
            bm.BayesmmError,
            ["no row of a cluster that is new"],
        ),
    ],
)
def test_bad_input_is_refused(sleepstudy_fit, new, arguments, error, words):
    with pytest.raises(error) as caught:
        sleepstudy_fit.predict(new, **arguments)
    for word in words:
        assert word in str(caught.value)


def test_unseen_levels_of_a_predictor_are_listed(small_data):
    fit = bm.fit("y ~ f + (1 | g)", small_data, **QUICK)
    with pytest.raises(bm.DataError, match="'c'"):
        fit.predict(pd.DataFrame({"f": ["a", "c"], "g": "h"}))
    with pytest.raises(bm.DataError, match="f"):
        fit.predict(pd.DataFrame({"f": [1, 2], "g": "h"}))


def test_a_second_call_with_the_same_shapes_compiles_nothing(nested_fit, nested_data):
    evaluate = importlib.import_module("bayesmm.predict.rows")._evaluate
    for how in ({}, {"kind": "response", "summary": True}, {"new_levels": "sample"}):
        nested_fit.predict(nested_data.head(12), seed=1, **how)
        before = evaluate._cache_size()
        nested_fit.predict(nested_data.tail(12), seed=2, **how)
        assert evaluate._cache_size() == before


def test_conditioning_on_known_clusters_beside_new_ones(sleepstudy_fit):
    data = bm.datasets.load("sleepstudy")
    new = data.head(2).assign(Subject="new")
    alone = sleepstudy_fit.predict(new, condition_on=new, seed=1, summary=True)
    both = pd.concat([new, data.iloc[10:11]])
    found = sleepstudy_fit.predict(new, condition_on=both, seed=1, summary=True)
    # A row of a subject whose others are known says next to nothing of the new one.
    a, b = (tree["predictions"]["mean"].to_numpy() for tree in (alone, found))
    assert np.abs(a[0] - b[0]).max() < 0.2 * a[1].min()


def test_conditioning_warns_where_no_cluster_is_predicted_that_was_observed(sleepstudy_fit):
    data = bm.datasets.load("sleepstudy").head(2)
    with pytest.warns(bm.BayesmmWarning, match="Subject 'one'.*labels the same"):
        sleepstudy_fit.predict(
            data.assign(Subject="two"),
            condition_on=data.assign(Subject="one"),
            new_levels="sample",
            draws=200,
            seed=1,
        )


def test_columns_that_are_predictors_and_groups():
    rng = np.random.default_rng(2)
    dose = np.repeat(np.arange(1, 9) / 2, 6)
    data = pd.DataFrame({"dose": dose, "year": np.repeat(np.arange(2000, 2008), 6)})
    data["y"] = dose + rng.normal(size=48)
    fit = bm.fit("y ~ dose + (1 | dose)", data, **QUICK)
    mean = values(fit.predict(), "mean")
    assert np.array_equal(mean, values(fit.predict(data), "mean"))
    between = values(fit.predict(pd.DataFrame({"dose": [0.7]}), group_effects=()), "mean")
    b = draws(fit, "b")
    assert np.allclose(between[:, 0], b[:, 0] + 0.7 * b[:, 1])
    fit = bm.fit("y ~ year + (1 | year)", data, **QUICK)
    half = pd.DataFrame({"year": [2001.5]})
    b = draws(fit, "b")
    assert np.allclose(
        values(fit.predict(half, group_effects=()), "mean")[:, 0], b[:, 0] + 2001.5 * b[:, 1]
    )
    with pytest.raises(bm.DataError, match="fractions in the column 'year'"):
        fit.predict(half)
    # All else is equal in comparisons: clusters are those of the rows.
    table = bm.comparisons(fit, "year")
    assert np.allclose(table["estimate"], np.median(b[:, 1]))
    assert np.allclose(bm.slopes(fit, "year")["estimate"], np.median(b[:, 1]))
    assert bm.predictions(fit, variables={"year": [2000, 2010.5]}, by=True).shape[0] == 2
