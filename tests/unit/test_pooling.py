"""Pooling factors against closed forms and dense algebra; unpooled estimates against other fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from nearby import nearby

import bayesmm as bm
from bayesmm.results.posterior import means
from bayesmm.shrinkage import pooling
from bayesmm.shrinkage.factors import pooling_factors


def draws_of(fit, *names):
    """Variables of the posterior, chains joined."""
    posterior = fit.whole_posterior()
    return [posterior[n].to_numpy().reshape(-1, *posterior[n].shape[2:]) for n in names]


def table_of(fit, group=None, **arguments):
    count = fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"]
    return pooling(fit, group, ndraws=count, **arguments)


def one_way(levels=7, n=4, seed=3):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(levels), n)
    return pd.DataFrame({"y": rng.normal(size=levels)[g] + rng.normal(size=levels * n), "g": g})


# --- pooling factors ---


def test_balanced_one_way_has_the_closed_form(evidence):
    n = 4
    fit = bm.fit("y ~ 1 + (1 | g)", one_way(n=n), draws=100, chains=2, seed=1, progress=False)
    tau, sigma = draws_of(fit, "sd_g", "sigma")
    expected = np.mean(sigma**2 / n / (tau[:, 0] ** 2 + sigma**2 / n))
    found = table_of(fit)["pooling"]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    evidence("pooling", "balanced groups: closed form", found, expected, bound=1e-10)


def dense_factors(fit, W=None):
    """Var(b | theta, y) / Sigma by the inverse of the whole precision, for each draw: a mean."""
    prepared = fit._prepared
    (layout,), (rows,) = prepared.spec.layout[:1], prepared.design.predictors[:1]
    total = {group.variable("r"): 0.0 for group in layout.groups}
    (sigma,) = draws_of(fit, "sigma")
    for s in range(len(sigma)):
        Z, prior = [], []
        for group, part in zip(layout.groups, rows.groups, strict=True):
            own = np.asarray(part.index)[:, None] == np.arange(part.levels)
            columns = own[:, :, None] * np.asarray(part.columns)[:, None, :]
            Z.append(columns.reshape(len(own), -1))
            sd = draws_of(fit, group.variable("sd"))[0][s]
            cor = np.eye(len(sd))
            if group.correlated:
                cor = draws_of(fit, group.variable("cor"))[0][s]
            prior += [np.outer(sd, sd) * cor] * part.levels
        Z = np.hstack(Z)
        Sigma = scipy.linalg.block_diag(*prior)
        weights = np.ones(len(Z)) if W is None else W
        precision = np.linalg.inv(Sigma) + Z.T @ (weights[:, None] / sigma[s] ** 2 * Z)
        ratio = np.diag(np.linalg.inv(precision)) / np.diag(Sigma)
        start = 0
        for group, part in zip(layout.groups, rows.groups, strict=True):
            stop = start + part.levels * len(group.effects)
            total[group.variable("r")] += ratio[start:stop] / len(sigma)
            start = stop
    return total


@pytest.fixture(scope="module")
def crossed():
    """40 rows, g with two correlated effects crossed with h, cells of both, and weights."""
    rng = np.random.default_rng(5)
    rows = 60
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=rows),
            "x": rng.normal(size=rows),
            "g": rng.integers(0, 6, rows),
            "h": rng.integers(0, 4, rows),
            "w": rng.gamma(2.0, size=rows),
        }
    )
    formula = "weighted(y, w) ~ x + (1 + x | g) + (1 | h) + (1 | g:h)"
    return frame, nearby(bm.Model(formula, frame), chains=1, draws=8)


@pytest.mark.parametrize("group", ["g", "h", "g:h"])
def test_crossed_groups_have_those_of_the_joint_distribution(crossed, group, evidence):
    frame, fit = crossed
    expected = dense_factors(fit, frame["w"].to_numpy())
    found = table_of(fit, group)
    np.testing.assert_allclose(found["pooling"], expected[f"r_{group}"], rtol=1e-8)
    assert found["pooling"].between(0, 1).all()
    row = f"crossed groups, weights, effects of {group}: inverse of the whole precision"
    evidence("pooling", row, found["pooling"], expected[f"r_{group}"], bound=1e-8)


def counts(seed=4, levels=6, per=5):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(levels), per)
    x = rng.normal(size=levels * per)
    y = rng.poisson(np.exp(1 + 0.3 * x + 0.7 * rng.normal(size=levels)[g]))
    return pd.DataFrame({"y": np.where(g == 2, 0, y), "x": x, "g": g})


def test_poisson_has_those_of_laplace_at_the_mode_of_each_draw(evidence):
    frame = counts()
    fit = nearby(bm.Model("y ~ x + (1 | g)", frame, family="poisson"), chains=1, draws=10)
    b, sd = draws_of(fit, "b", "sd_g")
    expected = np.zeros(6)
    for beta, tau in zip(b, sd[:, 0], strict=True):
        base = beta[0] + beta[1] * frame["x"].to_numpy()
        for level in range(6):
            own, y = base[frame["g"] == level], frame["y"][frame["g"] == level].to_numpy()

            def slope(u, own=own, y=y, tau=tau):
                return tau * (y - np.exp(own + tau * u)).sum() - u

            u = scipy.optimize.brentq(slope, -60, 60, xtol=1e-13)
            expected[level] += 1 / (1 + tau**2 * np.exp(own + tau * u).sum()) / len(b)
    found = table_of(fit)["pooling"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    evidence("pooling", "Poisson: curvature at the mode", found, expected, bound=1e-6)


def test_effects_of_two_parameters_depend_on_each_other(evidence):
    """Those of mu and of zi in the same group, by the Hessian of the joint density."""
    frame = counts(levels=3, per=6)
    # Rows of zeros need not be concave in both parameters, but all rows of a level together are.
    frame["y"] += frame["g"] < 2
    frame.loc[frame["g"] == 2, "y"] = [0, 0, 3, 0, 2, 0]
    family = "zero_inflated_poisson"
    model = bm.Model(["y ~ 1 + (1 | g)", "zi ~ 1 + (1 | g)"], frame, family=family)
    fit = nearby(model, chains=1, draws=3)
    b, b_zi, sd, sd_zi = draws_of(fit, "b", "b_zi", "sd_g", "sd_zi_g")
    expected = np.zeros((2, 3))
    found = np.stack([table_of(fit, parameter=p)["pooling"] for p in ("mu", "zi")])
    for s in range(3):
        for level in range(3):
            y = frame["y"][frame["g"] == level].to_numpy()

            def log_joint(u, y=y, s=s):
                mu = np.exp(b[s, 0] + sd[s, 0] * u[0])
                zi = b_zi[s, 0] + sd_zi[s, 0] * u[1]
                poisson = scipy.stats.poisson.logpmf(y, mu)
                log_not = scipy.special.log_expit(-zi)
                mixed = np.logaddexp(scipy.special.log_expit(zi), log_not + poisson)
                return np.where(y == 0, mixed, log_not + poisson).sum() - 0.5 * u @ u

            mode = scipy.optimize.minimize(lambda u: -log_joint(u), [0, 0], tol=1e-12).x
            h = 1e-4
            e = h * np.eye(2)
            hessian = [
                [
                    (
                        log_joint(mode + p + q)
                        - log_joint(mode + p - q)
                        - log_joint(mode - p + q)
                        + log_joint(mode - p - q)
                    )
                    / (4 * h**2)
                    for q in e
                ]
                for p in e
            ]
            expected[:, level] += np.diag(np.linalg.inv(-np.array(hessian))) / 3
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    row = "effects on mu and zi: Hessian by differences"
    evidence("pooling", row, found, expected, bound=1e-4)


def test_location_and_scale_have_those_of_the_joint_hessian(evidence):
    """A Gaussian row is never concave in mu and log sigma together."""
    frame = one_way(levels=3, n=8)
    fit = nearby(bm.Model(["y ~ 1 + (1 | g)", "sigma ~ 1 + (1 | g)"], frame), chains=1, draws=3)
    b, b_sigma, sd, sd_sigma = draws_of(fit, "b", "b_sigma", "sd_g", "sd_sigma_g")
    expected = np.zeros((2, 3))
    for s, level in np.ndindex(3, 3):
        y = frame["y"][frame["g"] == level].to_numpy()

        def minus_log_joint(u, s=s, y=y):
            mu, log_sigma = b[s, 0] + sd[s, 0] * u[0], b_sigma[s, 0] + sd_sigma[s, 0] * u[1]
            z = (y - mu) * jnp.exp(-log_sigma)
            return (0.5 * z**2 + log_sigma).sum() + 0.5 * (u**2).sum()

        with jax.enable_x64(True):
            gradient, hessian = jax.grad(minus_log_joint), jax.hessian(minus_log_joint)
            found = scipy.optimize.minimize(minus_log_joint, [0.0, 0.0], jac=gradient, tol=1e-12)
            expected[:, level] += np.diag(np.linalg.inv(np.asarray(hessian(found.x)))) / 3
    found = np.stack([table_of(fit, parameter=p)["pooling"] for p in ("mu", "sigma")])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    evidence("pooling", "effects on mu and sigma: Hessian", found, expected, bound=1e-5)


def test_factors_that_are_not_found_are_said():
    """The density of laplace has corners: Newton's method does not come to a mode."""
    fit = nearby(bm.Model("y ~ 1 + (1 | g)", one_way(), family="laplace"))
    with pytest.warns(bm.BayesmmWarning, match="pooling factors are missing"):
        assert table_of(fit)["pooling"].isna().all()


def test_an_sd_of_zero_is_complete_pooling(small_fit):
    posterior = small_fit.posterior.copy()
    posterior["sd_g"] = 0.0 * posterior["sd_g"]
    found = pooling_factors(small_fit._prepared, posterior, means(posterior))
    np.testing.assert_array_equal(found.omega["r_g"], 1.0)


# --- unpooled estimates ---


def test_whole_blocks_are_separate_fits(sleepstudy_fit, evidence):
    data = bm.datasets.load("sleepstudy")
    table = pooling(sleepstudy_fit, ndraws=50).loc["mu"]
    sigma = float(sleepstudy_fit.posterior["sigma"].mean())
    separate = []
    for level, rows in data.groupby("Subject", observed=True):
        X = np.column_stack([np.ones(len(rows)), rows["Days"]])
        own = np.linalg.lstsq(X, rows["Reaction"], rcond=None)[0]
        found = table.loc[str(level)]
        np.testing.assert_allclose(found["unpooled"], own, rtol=1e-9)
        separate.append(own)
        se = sigma * np.sqrt(np.diag(np.linalg.inv(X.T @ X)))
        np.testing.assert_allclose(found["unpooled_se"], se, rtol=1e-9)
    # lme4's lmList and its conditional modes, as the lecture has them.
    sds = table["unpooled"].unstack("effect").std()
    assert sds.round(2).to_dict() == {"Days": 6.56, "Intercept": 28.95}
    row = "unpooled estimates of sleepstudy: a regression for each subject"
    evidence("pooling", row, table["unpooled"], np.ravel(separate), bound=1e-9)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_estimates_have_the_unit_of_the_response(factor):
    frame = one_way()
    one, other = (
        nearby(bm.Model("y ~ 1 + (1 | g)", frame.assign(y=frame["y"] * unit)))
        for unit in (1.0, factor)
    )
    for fit, unit in ((one, 1.0), (other, factor)):
        expected = unit * frame.groupby("g")["y"].mean()
        np.testing.assert_allclose(table_of(fit)["unpooled"], expected, rtol=1e-9)


def test_rows_without_weight_say_nothing():
    frame = one_way().assign(w=1.0)
    frame.loc[frame["g"] == 2, "w"] = 0.0
    fit = nearby(bm.Model("weighted(y, w) ~ 1 + (1 | g)", frame))
    table = table_of(fit).loc["mu"]
    assert table.loc[2, "flag"].tolist() == ["not identified"]
    np.testing.assert_allclose(table.loc[2, "pooling"], 1.0)


def test_partial_and_complete_are_posterior_means(sleepstudy_fit):
    table = pooling(sleepstudy_fit, ndraws=50).loc["mu"]
    coef = sleepstudy_fit.coef("Subject", draws=True)["coef_Subject"]
    expected = coef.mean(("chain", "draw")).to_numpy().ravel()
    np.testing.assert_allclose(table["partial"], expected, rtol=1e-12)
    expected = coef.std(("chain", "draw"), ddof=1).to_numpy().ravel()
    np.testing.assert_allclose(table["partial_sd"], expected, rtol=1e-12)
    fixed = sleepstudy_fit.fixef()["mean"].to_numpy()
    np.testing.assert_allclose(table.loc["308", "complete"], fixed, rtol=1e-12)
    assert (table["n"] == 10).all()


def test_counts_have_the_log_of_their_mean_and_zeros_have_none():
    frame = counts()
    fit = nearby(bm.Model("y ~ 1 + (1 | g)", frame, family="poisson"))
    table = table_of(fit).loc["mu"].droplevel("effect")
    mean, total = (frame.groupby("g")["y"].agg(how) for how in ("mean", "sum"))
    there = mean > 0
    found = table[there.to_numpy()]
    np.testing.assert_allclose(found["unpooled"], np.log(mean[there]), rtol=1e-8)
    np.testing.assert_allclose(found["unpooled_se"], 1 / np.sqrt(total[there]), rtol=1e-6)
    assert table.loc[2, "flag"] == "infinite"
    assert table.loc[2, ["unpooled", "unpooled_se"]].isna().all()
    assert (found["flag"] == "").all()


def test_other_coefficients_and_groups_are_held_at_their_means():
    """By a maximiser that knows nothing of this package's."""
    rng = np.random.default_rng(2)
    rows = 80
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "z": rng.normal(size=rows),
            "g": rng.integers(0, 4, rows),
            "h": rng.integers(0, 5, rows),
            "y": rng.integers(0, 2, rows),
        }
    )
    model = bm.Model("y ~ x + z + (1 + x | g) + (1 | h)", frame, family="bernoulli")
    fit = nearby(model)
    table = table_of(fit, "g").loc["mu"]
    b, h = (np.mean(draws_of(fit, name)[0], axis=0) for name in ("b", "r_h"))
    for level in range(4):
        own = frame[frame["g"] == level]
        offset = b[2] * own["z"] + h[own["h"], 0]

        def deviance(theta, own=own, offset=offset):
            eta = theta[0] + theta[1] * own["x"] + offset
            return -scipy.special.log_expit(np.where(own["y"] == 1, eta, -eta)).sum()

        expected = scipy.optimize.minimize(deviance, [0.0, 0.0], tol=1e-10).x
        np.testing.assert_allclose(table.loc[level, "unpooled"], expected, atol=1e-5)


def test_effects_that_the_rows_do_not_tell_apart_are_flagged():
    frame = pd.DataFrame(
        {
            "y": [1.0, 2.0, 3.0, 2.5, 1.0, 4.0, 2.0],
            "x": [0.0, 1.0, 2.0, 1.0, 1.0, 1.0, 5.0],
            "g": ["a", "a", "a", "b", "b", "b", "c"],
        }
    )
    fit = nearby(bm.Model("y ~ x + (1 + x | g)", frame))
    table = table_of(fit).loc["mu"]
    assert table.loc["a", "unpooled"].notna().all()
    # x does not vary in b, and c has one row for two effects.
    for level in ("b", "c"):
        assert (table.loc[level, "flag"] == "not identified").all()
        assert table.loc[level, "unpooled"].isna().all()
    assert table["partial"].notna().all()


def test_an_effect_that_a_level_does_not_have_leaves_the_others():
    """Level a got no treatment: its intercept is the mean of its rows."""
    frame = pd.DataFrame(
        {
            "y": [1.0, 2.0, 4.5, 2.5, 1.0, 4.0, 2.0],
            "treated": [0, 0, 0, 0, 0, 1, 1],
            "g": list("aaabbbb"),
        }
    )
    fit = nearby(bm.Model("y ~ treated + (1 + treated | g)", frame))
    table = table_of(fit).loc["mu"]
    assert table.loc["a", "flag"].to_dict() == {"Intercept": "", "treated": "not identified"}
    assert table.loc[("a", "Intercept"), "unpooled"] == pytest.approx(2.5)
    np.testing.assert_allclose(table.loc["b", "unpooled"], [1.75, 1.25])


def test_a_group_may_have_the_name_of_a_dimension():
    """Penicillin has a group that is called sample."""
    frame = one_way().rename(columns={"g": "sample"})
    fit = nearby(bm.Model("y ~ 1 + (1 | sample)", frame))
    assert table_of(fit).index.get_level_values("level").nunique() == 7
    assert len(fit.ranef("sample")) == len(fit.coef("sample")) == 7


@pytest.mark.parametrize("y", [0, 1], ids=["all failures", "all successes"])
def test_separated_levels_are_infinite(y):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(4), 6), "y": rng.integers(0, 2, 24)})
    frame.loc[frame["g"] == 1, "y"] = y
    fit = nearby(bm.Model("y ~ 1 + (1 | g)", frame, family="bernoulli"))
    flags = table_of(fit)["flag"].to_numpy()
    mean = frame.groupby("g")["y"].mean().to_numpy()
    np.testing.assert_array_equal(flags == "infinite", (mean == 0) | (mean == 1))


def test_counts_of_many_sizes_are_found():
    sizes = np.array([1, 9, 80, 700, 4000])
    frame = pd.DataFrame({"g": np.repeat(np.arange(5), 3), "y": np.repeat(sizes, 3)})
    fit = nearby(bm.Model("y ~ 1 + (1 | g)", frame, family="poisson"))
    table = table_of(fit)
    np.testing.assert_allclose(table["unpooled"], np.log(sizes), atol=1e-8)
    assert table["pooling"].between(0, 1).all()


def test_residual_sds_by_group_have_those_of_each_level():
    """sigma ~ (1 | g): the maximum of log sigma_j is the root mean square of its residuals."""
    frame = one_way()
    fit = nearby(bm.Model(["y ~ 1", "sigma ~ 1 + (1 | g)"], frame))
    table = table_of(fit)
    assert set(table.index.get_level_values("parameter")) == {"sigma"}
    residual = frame["y"] - float(fit.posterior["b"].mean())
    expected = 0.5 * np.log((residual**2).groupby(frame["g"]).mean())
    np.testing.assert_allclose(table["unpooled"], expected, atol=1e-7)
    assert table.attrs["link"] == {"sigma": "log"}


# --- the pooling factor of all levels ---


def test_lambda_is_gelman_and_pardoes(sleepstudy_fit):
    r = draws_of(sleepstudy_fit, "r_Subject")[0]
    expected = 1 - np.var(r.mean(axis=0), axis=0, ddof=1) / np.var(r, axis=1, ddof=1).mean(axis=0)
    found = pooling(sleepstudy_fit, ndraws=50).attrs["lambda"]["mu"]
    np.testing.assert_allclose(list(found.values()), expected)
    assert list(found) == ["Intercept", "Days"]


# --- bad input, and what is left alone ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": "gg"}, "no such group.*Did you mean 'g'"),
        ({"parameter": "sigma"}, "sigma.*has no effects"),
        ({"ndraws": 0}, "ndraws"),
        ({"ndraws": 10**6}, "ndraws.*400"),
    ],
)
def test_bad_arguments_are_refused(small_fit, arguments, message):
    with pytest.raises(bm.BayesmmError, match=message):
        pooling(small_fit, **arguments)


def test_what_is_no_fit_and_what_has_no_groups_are_refused(small_data, crossed):
    with pytest.raises(bm.BayesmmError, match="fit is a DataFrame"):
        pooling(small_data)
    with pytest.raises(bm.BayesmmError, match="no group effects"):
        pooling(nearby(bm.Model("y ~ x", small_data)))
    with pytest.raises(bm.BayesmmError, match="several groups.*'g'.*'h'"):
        pooling(crossed[1])


def test_a_parameter_says_which_group_is_meant():
    model = bm.Model(["y ~ 1 + (1 | g)", "sigma ~ 1 + (1 | h)"], one_way().assign(h=[1, 2] * 14))
    assert table_of(nearby(model), parameter="sigma").attrs["group"] == "h"


def test_float64_stays_in_its_scope(small_fit):
    pooling(small_fit, ndraws=10)
    assert jax.numpy.zeros(1).dtype == np.float32
