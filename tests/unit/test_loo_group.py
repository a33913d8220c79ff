"""Leave-one-cluster-out cross-validation: against refits, and its integrals against brute force."""

import importlib

import arviz_stats
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.stats as st
from scipy.integrate import quad
from scipy.special import expit, logsumexp

import bayesmm as bm
from bayesmm.predict import integrals
from bayesmm.results.loo_group import loo_group
from bayesmm.results.posterior import flat

module = importlib.import_module("bayesmm.results.loo_group")

SAMPLING = {"draws": 1000, "chains": 4, "progress": False}
QUICK = {"draws": 100, "chains": 2, "warmup": 200, "seed": 3, "progress": False}


def densities(fit, group):
    """Posterior draws, and log p(y_j | theta, r) of each cluster."""
    quantities = flat(fit.whole_posterior())
    return quantities, module._densities(fit._prepared, quantities, group)[1]


def log_mean(log_p, ess):
    """Log of the mean of exp(log_p), and the standard error of it."""
    found = logsumexp(log_p) - np.log(len(log_p))
    return found, np.exp(log_p - found).std() / np.sqrt(ess)


def agree_with_refits(formula, data, log_density, evidence, **arguments):
    """Whether elpd_j of every cluster is what a model without it says of its rows."""
    fit = bm.fit(formula, data, seed=1, **SAMPLING, **arguments)
    found = loo_group(fit, "g")
    np.testing.assert_allclose(found.elpd, found.elpd_i.sum())
    kept, scores = found.log_weights.stack(sample=("chain", "draw")), []
    for label in data["g"].unique():
        held = data["g"] == label
        rest = bm.fit(formula, data[~held], seed=2, **SAMPLING, **arguments)
        log_p = log_density(flat(rest.whole_posterior()), data[held])
        worth = rest.summary()["ess_bulk"].astype(float).min()
        expected, error = log_mean(log_p, worth)
        # PSIS: sum w p, whose variance is that of p under the weights over what they are worth.
        assert float(found.pareto_k.sel(g=label)) < 0.7
        w = np.exp(kept.sel(g=label).to_numpy())
        own = float(found.elpd_i.sel(g=label))
        p = np.exp(log_density(flat(fit.whole_posterior()), data[held]) - own)
        share = fit.summary()["ess_bulk"].astype(float).min() / len(w)
        own_error = np.sqrt((w**2 * (p - 1) ** 2).sum() / share)
        scores.append(abs(own - expected) / np.hypot(error, own_error))
        assert scores[-1] < 4
    row = f"LOO by cluster, {arguments.get('family', 'gaussian')}: refits without each"
    evidence("draws", row, numbers=len(scores), z=max(scores), bound=4)
    return fit, found


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_gaussian_clusters_are_what_refits_say(evidence):
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(8), 6)
    x = np.tile(np.linspace(-1, 1, 6), 8)  # the same centre whoever is left out
    y = 1 + 0.5 * x + rng.normal(0, 0.6, 8)[g] + rng.normal(0, 0.4, 8)[g] * x
    data = pd.DataFrame({"y": y + rng.normal(0, 0.6, 48), "x": x, "g": [f"g{i}" for i in g]})
    priors = {
        "Intercept": dist.Normal(0.0, 3.0),
        "b": dist.Normal(0.0, 2.0),
        "sd": dist.HalfNormal(1.0),
        "sigma": dist.HalfNormal(1.0),
    }

    def log_density(q, rows):
        X = np.column_stack([np.ones(len(rows)), rows["x"]])
        sd, cor = q["sd_g"], q["cor_g"]
        V = X @ (sd[:, :, None] * cor * sd[:, None, :]) @ X.T
        V = V + q["sigma"][:, None, None] ** 2 * np.eye(len(rows))
        mean = q["b"] @ X.T
        return np.array(
            [st.multivariate_normal(m, v).logpdf(rows["y"]) for m, v in zip(mean, V, strict=True)]
        )

    fit, found = agree_with_refits("y ~ x + (x | g)", data, log_density, evidence, priors=priors)
    # A row of a known cluster is another question: with what is known of its effects.
    rows = fit.loo(pointwise=True).elpd_i.to_numpy().reshape(8, 6).sum(axis=1)
    assert np.abs(found.elpd_i.to_numpy() - rows).max() > 0.5
    q, log_p = densities(fit, "g")
    for at, label in enumerate(np.unique(data["g"])):
        exact = log_density(q, data[data["g"] == label])
        np.testing.assert_allclose(log_p[:, at], exact, rtol=0, atol=1e-8)


def prior_grid(count):
    """Nodes from -9 to 9, evenly spread, and their log weights for an integral over N(0, 1).

    The trapezoidal rule, which loses nothing where all vanishes at the ends.
    """
    u = np.linspace(-9, 9, count)
    return u, st.norm.logpdf(u) + np.log(u[1] - u[0])


def by_quadrature(log_f):
    """Log of the integral of exp(log_f(u)) N(u | 0, 1) du, by SciPy's rule."""
    grid = np.linspace(-9, 9, 181)
    top = max(log_f(u) - u**2 / 2 for u in grid)
    value = quad(
        lambda u: np.exp(log_f(u) - u**2 / 2 - top), -12, 12, points=[-3, 0, 3], epsabs=1e-12
    )[0]
    return top + np.log(value / np.sqrt(2 * np.pi))


def test_counts_are_what_refits_say(evidence):
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(7), 5)
    data = pd.DataFrame({"g": [f"g{i}" for i in g]})
    data["y"] = rng.poisson(np.exp(0.6 + rng.normal(0, 0.6, 7)[g]))
    priors = {"Intercept": dist.Normal(0.0, 2.0), "sd": dist.HalfNormal(1.0)}
    nodes, weights = prior_grid(201)

    def log_density(q, rows):
        eta = q["b"] + q["sd_g"] * nodes
        y = rows["y"].to_numpy()
        heights = st.poisson(np.exp(eta)[:, :, None]).logpmf(y).sum(axis=2)
        return logsumexp(heights + weights, axis=1)

    fit, _ = agree_with_refits(
        "y ~ 1 + (1 | g)", data, log_density, evidence, family="poisson", priors=priors
    )
    q, log_p = densities(fit, "g")
    y = data.groupby("g")["y"].apply(np.asarray)
    for at in range(7):
        for draw in range(0, 4000, 500):
            b, sd = q["b"][draw, 0], q["sd_g"][draw, 0]
            exact = by_quadrature(
                lambda u, b=b, sd=sd, at=at: st.poisson(np.exp(b + sd * u)).logpmf(y.iloc[at]).sum()
            )
            assert abs(log_p[draw, at] - exact) < 1e-6


@pytest.fixture(scope="module")
def nested_data():
    """Whether 40 rows of 10 cells c in 5 of a are so; c 0 and 1 everywhere, items 0 to 7."""
    rng = np.random.default_rng(9)
    a, c = np.repeat(np.arange(5), 8), np.tile(np.repeat([0, 1], 4), 5)
    item = np.resize(range(8), 40)
    eta = rng.normal(0, 1, 5)[a] + rng.normal(0, 0.7, 10)[2 * a + c]
    eta = eta + rng.normal(0, 0.5, 8)[item]
    y = (rng.uniform(size=40) < expit(eta)).astype(int)
    return pd.DataFrame({"y": y, "a": a, "c": c, "item": item, "x": rng.normal(size=40)})


@pytest.fixture(scope="module")
def nested_fit(nested_data):
    formula = "y ~ x + (1 | a/c) + (1 | item)"
    arguments = {"family": "bernoulli", "priors": {"sd": dist.HalfNormal(0.7)}}
    return bm.fit(formula, nested_data, log_likelihood=False, **arguments, **QUICK)


def log_bernoulli(y, eta):
    return -np.logaddexp(0, np.where(y == 1, -eta, eta))


@pytest.mark.parametrize("sampled", [False, True])
def test_what_lies_within_a_cluster_is_new_with_it(nested_fit, nested_data, sampled, monkeypatch):
    """Cells of a left out a are integrated out one by one given that of a; items are known."""
    if sampled:
        monkeypatch.setattr(module, "NODES", {0: 1})
    q, log_p = densities(nested_fit, "a")
    u, log_w = prior_grid(201)
    for at in range(5):
        rows = nested_data[nested_data["a"] == at]
        for draw in range(0, 200, 10):
            eta = q["b"][draw, 0] + q["b"][draw, 1] * rows["x"].to_numpy()
            eta = eta + q["r_item"][draw, rows["item"], 0]
            total = log_w.copy()
            for c in (0, 1):
                own = (rows["c"] == c).to_numpy()
                # rows, u of a, u of the cell
                moved = eta[own][:, None, None] + q["sd_a"][draw, 0] * u[:, None]
                moved = moved + q["sd_a:c"][draw, 0] * u
                heights = log_bernoulli(rows["y"].to_numpy()[own][:, None, None], moved).sum(0)
                total += logsumexp(heights + log_w, axis=1)
            error = log_p[draw, at] - logsumexp(total)
            # 400 samples: their relative sd was 0.02. Quadrature: at an sd of 2, elsewhere 1e-8.
            assert abs(error) < (0.1 if sampled else 1e-5)
    if not sampled:
        return
    # 1 / p is what is averaged, and its bias is taken away: errors of p average out.
    monkeypatch.undo()
    exact = densities(nested_fit, "a")[1]
    ratio = np.exp(exact - log_p)
    assert np.abs(ratio.mean(axis=0) - 1).max() < 4 * ratio.std() / np.sqrt(200)


def test_cells_are_new_in_a_cluster_that_is_known(nested_fit, nested_data):
    q, log_p = densities(nested_fit, "a:c")
    u, log_w = prior_grid(201)
    rows = nested_data[(nested_data["a"] == 2) & (nested_data["c"] == 1)]
    assert log_p.shape == (200, 10)
    for draw in range(0, 200, 10):
        eta = q["b"][draw, 0] + q["b"][draw, 1] * rows["x"].to_numpy()
        eta = eta + q["r_item"][draw, rows["item"], 0] + q["r_a"][draw, 2, 0]
        moved = eta[:, None] + q["sd_a:c"][draw, 0] * u
        exact = logsumexp(log_bernoulli(rows["y"].to_numpy()[:, None], moved).sum(axis=0) + log_w)
        assert abs(log_p[draw, 5] - exact) < 1e-6


def test_slopes_and_effects_on_sigma(small_data):
    """Three dimensions: intercept and slope, and one of the residual sd; on a grid of the prior."""
    formula, priors = ["y ~ x + (x | g)", "sigma ~ 1 + (1 | g)"], {"sd": dist.HalfNormal(0.7)}
    priors["sd_sigma_g"] = dist.HalfNormal(0.4)
    fit = bm.fit(formula, small_data, priors=priors, **QUICK)
    q, log_p = densities(fit, "g")
    u, log_w = prior_grid(201)
    rows = small_data[small_data["g"] == "k"]
    y, x = rows["y"].to_numpy(), rows["x"].to_numpy()
    for draw in range(0, 200, 25):
        Sigma = np.outer(q["sd_g"][draw], q["sd_g"][draw]) * q["cor_g"][draw]
        Z = np.column_stack([np.ones(5), x])
        heights = [
            # The effects on the mean by the exact normal density, given that on sigma.
            st.multivariate_normal(
                Z @ q["b"][draw],
                Z @ Sigma @ Z.T
                + np.exp(q["b_sigma"][draw, 0] + q["sd_sigma_g"][draw, 0] * one) ** 2 * np.eye(5),
            ).logpdf(y)
            for one in u
        ]
        assert abs(log_p[draw, 3] - logsumexp(heights + log_w)) < 2e-4


@pytest.mark.filterwarnings("ignore:group=:bayesmm.errors.BayesmmWarning")
def test_arviz_takes_the_result(nested_fit, nested_data):
    before = nested_fit.idata.copy(deep=True)
    found = loo_group(nested_fit, "a:c")
    assert nested_fit.idata.identical(before)
    assert isinstance(found, arviz_stats.utils.ELPDData)
    labels = nested_fit.whole_posterior()["a:c"].to_numpy()
    assert found.n_data_points == 10
    assert found.pareto_k["a:c"].to_numpy().tolist() == labels.tolist()
    assert loo_group(nested_fit, "a:c", pointwise=False).elpd_i is None
    simple = bm.fit("y ~ 1 + (1 | a/c)", nested_data, family="bernoulli", **QUICK)
    table = arviz_stats.compare({"items": found, "none": loo_group(simple, "a:c")})
    assert set(table.index) == {"items", "none"}


@pytest.mark.filterwarnings("ignore:group=:bayesmm.errors.BayesmmWarning")
def test_a_second_call_compiles_nothing(nested_fit):
    first = loo_group(nested_fit, "a:c")
    size = integrals._integrals._cache_size()
    second = loo_group(nested_fit, "a:c")
    assert integrals._integrals._cache_size() == size
    np.testing.assert_array_equal(first.elpd_i, second.elpd_i)


@pytest.mark.filterwarnings("ignore:group=:bayesmm.errors.BayesmmWarning")
def test_rows_of_weight_0_and_effects_that_were_left_out(small_data):
    """Rows of weight 0 are as if they were not there, and a weight of 2 is two rows."""
    data = small_data.assign(w=1.0)
    data.loc[data["g"] == "i", "w"] = 0.0
    data.loc[[0, 20], "w"] = [0.0, 2.0]
    fit = bm.fit("weighted(y, w) ~ x + (1 | g)", data, effects=False, **QUICK)
    q, log_p = densities(fit, "g")
    found = loo_group(fit)
    assert found.elpd_i["g"].to_numpy().tolist() == list("hjklmno")
    for at, label in ((0, "h"), (3, "l")):
        rows = data[(data["g"] == label) & (data["w"] > 0)]
        rows = rows.loc[rows.index.repeat(rows["w"].astype(int))]
        for draw in range(0, 200, 50):
            V = q["sd_g"][draw, 0] ** 2 + q["sigma"][draw] ** 2 * np.eye(len(rows))
            exact = st.multivariate_normal(q["b"][draw, 0] + q["b"][draw, 1] * rows["x"], V)
            np.testing.assert_allclose(log_p[draw, at], exact.logpdf(rows["y"]), atol=1e-8)


def test_clusters_that_cannot_be_relied_on_are_named(sleepstudy_fit):
    """One warning, ours; of sleepstudy it is subject 332, with a day like no other."""
    with pytest.warns() as caught:
        found = loo_group(sleepstudy_fit)
    (only,) = caught
    assert only.category is bm.errors.BayesmmWarning
    labels = found.pareto_k["Subject"].to_numpy()
    large = labels[found.pareto_k.to_numpy() > found.good_k]
    assert "332" in large
    assert [label for label in labels if repr(str(label)) in str(only.message)] == list(large)
    assert "Refit without" in str(only.message)


def test_what_makes_no_sense_is_refused(nested_fit, small_data):
    with pytest.raises(bm.BayesmmError, match="several groups.*'a', 'a:c', 'item'"):
        loo_group(nested_fit)
    with pytest.raises(bm.BayesmmError, match="Did you mean 'item'.*'a:c'"):
        loo_group(nested_fit, "itm")
    fit = bm.fit("y ~ x", small_data, **QUICK)
    with pytest.raises(bm.BayesmmError, match="no group effects"):
        loo_group(fit)
