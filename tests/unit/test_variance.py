"""Partitions of variance, intraclass correlations and R2.

What is found for one draw is compared with closed forms, where there are any, and with sums over
dense grids of effects; what the functions return, with what follows by hand from the draws of fits.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.stats as st
from scipy.special import expit

import bayesmm as bm
from bayesmm import chunks
from bayesmm.families import FAMILIES
from bayesmm.interpret.latent import latent_family
from bayesmm.interpret.moments import Moments, moments, rule_for
from bayesmm.interpret.r2 import r2
from bayesmm.interpret.variance import icc, variance_partition
from bayesmm.links import LINKS
from bayesmm.prepare import prepare

ROWS = 12
#: A standard normal distribution on a grid: the trapezoidal rule is exact to rounding for it.
POINTS = np.linspace(-9.0, 9.0, 361)
MASS = st.norm.pdf(POINTS) * (POINTS[1] - POINTS[0])


def rows_of(y):
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {"y": y, "x": rng.normal(size=ROWS), "g": np.arange(ROWS) % 3, "h": np.arange(ROWS) % 4}
    )


def some_draws(prepared, draws=2):
    """Draws of a model's parameters: group sds around 0.7, other effects small."""
    rng = np.random.default_rng(11)
    found = {}
    for names, design in zip(prepared.spec.layout, prepared.design.predictors, strict=True):
        found[names.variable("b")] = rng.uniform(-0.5, 0.5, (draws, design.X.shape[1]))
        for group in names.groups:
            q = len(group.effects)
            found[group.variable("sd")] = rng.uniform(0.5, 0.9, (draws, q))
            found[group.variable("cor")] = np.tile(0.3 + 0.7 * np.eye(q), (draws, 1, 1))
            # They are averaged over: what they are here must not matter.
            found[group.variable("r")] = np.full((draws, 4, q), np.nan)
    return found


def parts_of(prepared, quantities, family=None):
    """Mean, alone, explained and residual of every draw and row."""
    spec = prepared.spec
    groups = ("g", "h")[: len(spec.schema.groupings)]

    def all_of(found):
        # Draws arrive in chunks, on several threads: only what is returned is put in order.
        return np.concatenate([x.reshape(len(x), -1) for x in found], axis=1)

    found = moments(
        family or spec.family,
        spec.layout,
        prepared.builder.build(prepared.frame, groups, groups),
        quantities,
        groups,
        all_of,
    )
    mean, *alone, explained, residual = np.moveaxis(found.reshape(len(found), -1, ROWS), 1, 0)
    return Moments(mean, np.stack(alone, axis=1), explained, residual)


def predictor_and_variances(prepared, quantities, parameter="mu"):
    """Eta without group effects, and z' Sigma z by group, shape (draws, rows)."""
    at = next(i for i, n in enumerate(prepared.spec.layout) if n.parameter == parameter)
    names, design = prepared.spec.layout[at], prepared.design.predictors[at]
    v = {}
    for group, columns in zip(names.groups, design.groups, strict=True):
        sd, cor = quantities[group.variable("sd")], quantities[group.variable("cor")]
        if not group.correlated:
            cor = np.eye(sd.shape[1])
        sigma = sd[:, :, None] * sd[:, None, :] * cor
        v[group.name] = np.einsum("nj,sjk,nk->sn", columns.columns, sigma, columns.columns)
    return quantities[names.variable("b")] @ design.X.T, v


# --- one draw ---


def test_poisson_with_a_log_link_has_closed_forms(evidence):
    data = rows_of(np.arange(ROWS) % 5)
    prepared = prepare("y ~ x + (1 + x | g) + (1 | h)", data, family="poisson")
    quantities = some_draws(prepared)
    eta, v = predictor_and_variances(prepared, quantities)
    whole = v["g"] + v["h"]
    found = parts_of(prepared, quantities)
    mean = np.exp(eta + whole / 2)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-11)
    np.testing.assert_allclose(found.residual, mean, rtol=1e-11)
    # E[m | u_g] = exp(eta + v_h / 2 + z'b_g) is lognormal.
    for k, name in enumerate(("g", "h")):
        alone = mean**2 * np.expm1(v[name])
        np.testing.assert_allclose(found.alone[:, k], alone, rtol=1e-10)
    explained = mean**2 * np.expm1(whole)
    np.testing.assert_allclose(found.explained, explained, rtol=1e-10)
    row = "counts, log link, slopes and two groups"
    evidence("variance", row, found.explained, explained, bound=1e-10)


@pytest.mark.parametrize(("link", "inverse"), [("logit", expit), ("probit", st.norm.cdf)])
def test_bernoulli_against_a_double_integral(link, inverse, evidence):
    family = bm.families.bernoulli(link=link)
    prepared = prepare("y ~ x + (1 | g) + (1 | h)", rows_of(np.arange(ROWS) % 2), family=family)
    quantities = some_draws(prepared)
    eta, v = predictor_and_variances(prepared, quantities)
    found = parts_of(prepared, quantities)
    of_g, of_h = (np.sqrt(v[name])[..., None] * POINTS for name in ("g", "h"))
    m = inverse(eta[..., None, None] + of_g[..., :, None] + of_h[..., None, :])
    mean = m @ MASS @ MASS
    given_g, given_h = m @ MASS, np.swapaxes(m, -1, -2) @ MASS
    # 64 nodes leave exp(-2 pi / (sd sqrt(2)) sqrt(128)), which is 1e-19 for an sd of 1.2.
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.alone[:, 0], given_g**2 @ MASS - mean**2, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.alone[:, 1], given_h**2 @ MASS - mean**2, rtol=0, atol=1e-12)
    squared = m**2 @ MASS @ MASS
    np.testing.assert_allclose(found.explained, squared - mean**2, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.residual, mean - squared, rtol=0, atol=1e-12)
    row = f"probabilities, {link}, two crossed groups"
    evidence("variance", row, found.explained, squared - mean**2, bound=1e-12)
    assert (found.explained > found.alone.sum(axis=1) + 1e-5).all()


def test_effects_on_two_parameters_belong_to_their_grouping():
    formulas = ["y ~ x + (1 | g) + (1 | h)", "zi ~ 1 + (1 | g)"]
    data = rows_of(np.arange(ROWS) % 5)
    prepared = prepare(formulas, data, family="zero_inflated_poisson")
    quantities = some_draws(prepared)
    eta, v = predictor_and_variances(prepared, quantities)
    inflated, w = predictor_and_variances(prepared, quantities, "zi")
    weight = expit(-inflated[..., None] - np.sqrt(w["g"])[..., None] * POINTS)
    once, twice = weight @ MASS, weight**2 @ MASS
    mu = np.exp(eta + (v["g"] + v["h"]) / 2)
    found = parts_of(prepared, quantities)
    # m = weight mu, of independent numbers; 20 nodes leave exp(-2 pi / (sd sqrt(2)) sqrt(40)).
    rounded = {"rtol": 1e-9}
    mean = once * mu
    np.testing.assert_allclose(found.mean, mean, **rounded)
    alone = twice * mu**2 * np.exp(v["g"]) - mean**2
    np.testing.assert_allclose(found.alone[:, 0], alone, **rounded)
    np.testing.assert_allclose(found.alone[:, 1], mean**2 * np.expm1(v["h"]), **rounded)
    squares = mu**2 * np.exp(v["g"] + v["h"])
    np.testing.assert_allclose(found.explained, twice * squares - mean**2, **rounded)
    # Var(y) = w mu + w (1 - w) mu**2.
    residual = mean + (once - twice) * squares
    np.testing.assert_allclose(found.residual, residual, **rounded)


def test_a_scale_of_clusters_own_is_in_the_residual_alone():
    formulas = ["y ~ x + (1 + x | g) + (1 | h)", "sigma ~ x + (1 | g)"]
    prepared = prepare(formulas, rows_of(np.linspace(-1, 1, ROWS)))
    quantities = some_draws(prepared)
    _, v = predictor_and_variances(prepared, quantities)
    log_sigma, w = predictor_and_variances(prepared, quantities, "sigma")
    found = parts_of(prepared, quantities)
    np.testing.assert_allclose(found.alone, np.stack([v["g"], v["h"]], 1), rtol=1e-12)
    np.testing.assert_allclose(found.explained, v["g"] + v["h"], rtol=1e-12)
    np.testing.assert_allclose(found.residual, np.exp(2 * log_sigma + 2 * w["g"]), rtol=1e-10)
    # mu takes two nodes, which are exact, so that sigma has those of one dimension.
    rule = rule_for(prepared.spec.family, prepared.spec.layout, (), ("g", "h"))
    assert (rule.parameters, rule.nodes) == (("mu", "sigma"), (2, 64))


def _product(v):
    return v.mu * v.a * v.c * v.d


def test_many_parameters_are_averaged_over_by_a_sequence():
    log = {"links": ("log",), "support": "positive"}
    family = bm.Family(
        name="product",
        parameters=(
            bm.Parameter("mu", **log),
            *(bm.Parameter(name, prior=("Gamma", (2.0, 1.0)), **log) for name in "acd"),
        ),
        response=bm.families.REAL,
        distribution=lambda v: dist.Normal(_product(v), 1.0),
        mean=_product,
        variance=lambda v: jnp.sqrt(v.mu),
    )
    formulas = ["y ~ x + (1 | g) + (1 | h)", *(f"{name} ~ 1 + (1 | g)" for name in "acd")]
    prepared = prepare(formulas, rows_of(np.linspace(1, 2, ROWS)), family=family)
    assert rule_for(family, prepared.spec.layout, (), ("g", "h")).nodes == ()
    # Little varies but mu, so that the covariances of either grouping are well above the error.
    quantities = {
        name: 0.1 * values if name.startswith("sd") and name not in ("sd_g", "sd_h") else values
        for name, values in some_draws(prepared, draws=1).items()
    }
    eta, v = predictor_and_variances(prepared, quantities)
    whole, of_h = sum(v.values()), v["h"]
    for name in "acd":
        more, w = predictor_and_variances(prepared, quantities, name)
        eta, whole = eta + more, whole + w["g"]
    found = parts_of(prepared, quantities)
    mean = np.exp(eta + whole / 2)
    # As many pairs of random points have these standard errors: log m is normal, so that
    # E[(m m')**2] = E[m]**4 exp(2 whole + 4 c) for a covariance c. Points that are spread evenly
    # are to have a third of it, or less, though the tails of so wide a lognormal are hard.
    third = 1 / 3 / np.sqrt(4096)
    assert (np.abs(found.mean / mean - 1) < third * np.sqrt(np.expm1(whole))).all()
    for value, c in (
        (found.explained, whole),
        (found.alone[:, 0], whole - of_h),
        (found.alone[:, 1], of_h),
    ):
        error = third * np.sqrt(np.exp(2 * whole + 4 * c) - np.exp(2 * c))
        assert (np.abs(value / mean**2 - np.expm1(c)) < error).all()


def test_rows_and_draws_do_not_depend_on_how_they_are_chunked(monkeypatch):
    data = rows_of(np.arange(ROWS) % 5)
    prepared = prepare("y ~ x + (1 + x | g) + (1 | h)", data, family="poisson")
    quantities = some_draws(prepared, draws=7)
    whole = parts_of(prepared, quantities)
    # 12 rows of 5 numbers are 60: 3 draws at once, of 5 rows or fewer.
    monkeypatch.setattr(chunks, "CHUNK_NUMBERS", 200)
    for one, other in zip(whole, parts_of(prepared, quantities), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("name", ["logit", "probit", "cloglog"])
def test_latent_variances_are_those_of_the_links(name):
    link = LINKS[name]
    x = np.linspace(-60.0, 60.0, 240_001)
    with jax.enable_x64(True):
        steps = np.diff(np.asarray(link.inverse(x)))
    middle = (x[1:] + x[:-1]) / 2
    mean = steps @ middle
    # Within a step of 5e-4 values lie up to 2.5e-4 from its middle.
    assert steps @ (middle - mean) ** 2 == pytest.approx(link.latent_variance, abs=1e-6)


def test_only_links_of_distributions_with_a_variance_have_a_latent_one():
    assert {n for n, link in LINKS.items() if link.latent_variance} == {
        "logit",
        "probit",
        "cloglog",
    }


@pytest.mark.parametrize(
    ("family", "left", "variance"),
    [
        ("bernoulli", "y", np.pi**2 / 3),
        (bm.families.bernoulli(link="probit"), "y", 1.0),
        (bm.families.binomial(link="cloglog"), "prop(y, n)", np.pi**2 / 6),
        (bm.families.cumulative(link="probit"), "y", 1.0),
    ],
)
def test_latent_responses(family, left, variance):
    data = rows_of(np.arange(ROWS) % 2).assign(n=3)
    if getattr(family, "name", "") == "cumulative":
        codes = list(np.arange(ROWS) % 3)
        data["y"] = pd.Categorical.from_codes(codes, ["low", "mid", "high"], ordered=True)
    prepared = prepare(f"{left} ~ x + (1 + x | g) + (1 | h)", data, family=family)
    quantities = some_draws(prepared)
    if "cutpoints" in {p.name for p in prepared.spec.family.parameters}:
        quantities["cutpoints"] = np.tile([-0.5, 0.5], (2, 1))
    _, v = predictor_and_variances(prepared, quantities)
    found = parts_of(prepared, quantities, latent_family(prepared.spec))
    np.testing.assert_allclose(found.alone, np.stack([v["g"], v["h"]], 1), rtol=1e-11)
    np.testing.assert_allclose(found.residual, variance, rtol=1e-12)


@pytest.mark.parametrize(
    "family",
    [
        *("poisson", "beta", "beta_binomial", "zero_inflated_binomial", "sratio", "categorical"),
        bm.families.bernoulli(link="cauchit"),
        bm.families.gaussian(link="log"),
        bm.families.cumulative(disc=2.0),
    ],
)
def test_other_families_have_no_latent_response(family):
    check_no_latent_response(family)


def test_nor_has_a_latent_response_whose_scale_differs():
    check_no_latent_response("cumulative", "disc ~ x")


def check_no_latent_response(family, *more):
    record = FAMILIES[family] if isinstance(family, str) else family
    kind = record.response.name
    y = {"unit_open": np.linspace(0.1, 0.9, ROWS), "real": np.linspace(1, 2, ROWS)}.get(
        kind, np.arange(ROWS) % 2
    )
    data = rows_of(y).assign(n=3)
    if record.response.categories:
        codes = list(np.arange(ROWS) % 3)
        data["y"] = pd.Categorical.from_codes(codes, ["a", "b", "c"], ordered=kind == "ordinal")
    left = "prop(y, n)" if kind == "successes" else "y"
    prepared = prepare([f"{left} ~ x + (1 | g)", *more], data, family=family)
    with pytest.raises(bm.BayesmmError, match="no latent response is known.*scale='response'"):
        latent_family(prepared.spec)


# --- fits ---


@pytest.fixture(scope="module")
def binary_fit():
    """2 chains of 200 + 100 draws of a logistic regression with two groupings, on 120 rows."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame(
        {"x": rng.normal(size=120), "g": np.arange(120) % 10, "h": np.arange(120) // 15}
    )
    eta = data.x + 1.2 * rng.normal(size=10)[data.g] + 0.9 * rng.normal(size=8)[data.h]
    data["y"] = (rng.random(120) < expit(eta)).astype(int)
    sampling = {"chains": 2, "warmup": 200, "draws": 100, "seed": 1, "engine": bm.NUTS()}
    return bm.fit("y ~ x + (1 | g) + (1 | h)", data, family="bernoulli", **sampling)


@pytest.fixture(scope="module")
def plain_fit(small_data):
    """A fit without groups."""
    sampling = {"chains": 1, "warmup": 100, "draws": 50, "seed": 1, "engine": bm.NUTS()}
    return bm.fit("y ~ x", small_data, **sampling)


def test_partition_of_random_slopes_is_johnsons(sleepstudy_fit):
    found = variance_partition(sleepstudy_fit, draws=True)
    assert found.component.values.tolist() == ["fixed", "Subject", "shared", "residual"]
    assert found.dims == ("chain", "draw", "component")
    posterior = sleepstudy_fit.posterior
    days = bm.datasets.load("sleepstudy").Days.to_numpy(float)
    z = np.stack([np.ones_like(days), days], axis=1)
    sd = posterior.sd_Subject.to_numpy()
    sigma = sd[..., :, None] * sd[..., None, :] * posterior.cor_Subject.to_numpy()
    by_hand = {
        "fixed": (posterior.b.to_numpy() @ z.T).var(axis=-1),
        "Subject": np.einsum("nj,...jk,nk->...", z, sigma, z) / len(z),
        "shared": np.zeros(sd.shape[:2]),
        "residual": posterior.sigma.to_numpy() ** 2,
    }
    for name, values in by_hand.items():
        np.testing.assert_allclose(found.sel(component=name), values, rtol=1e-11, atol=1e-10)


def test_the_table_summarises_the_draws(binary_fit):
    table = variance_partition(binary_fit, conf_level=0.8)
    found = variance_partition(binary_fit, draws=True)
    assert table.component.tolist() == ["fixed", "g", "h", "shared", "residual"]
    assert found.sizes == {"chain": 2, "draw": 100, "component": 5}
    values = found.to_numpy().reshape(200, 5)
    np.testing.assert_allclose(table.estimate, np.median(values, axis=0))
    np.testing.assert_allclose(table.std_error, values.std(axis=0))
    np.testing.assert_allclose(table.conf_low, np.quantile(values, 0.1, axis=0))
    np.testing.assert_allclose(table.conf_high, np.quantile(values, 0.9, axis=0))
    shares = values / values.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table.share, np.median(shares, axis=0))
    np.testing.assert_allclose(table.share_low, np.quantile(shares, 0.1, axis=0))
    np.testing.assert_allclose(table.share_high, np.quantile(shares, 0.9, axis=0))
    assert (values[:, 3] > 0).all()
    # The total of 0s and 1s is p (1 - p), p being their mean.
    mean = bm.marginal_mean(binary_fit)["predictions"]["mean"].mean("obs_id")
    np.testing.assert_allclose(found.sum("component"), mean * (1 - mean), rtol=1e-10)


def test_fewer_draws_and_other_rows(binary_fit):
    rows = pd.DataFrame({"x": [0.5, 0.5]})
    found = variance_partition(binary_fit, rows, ndraws=20, draws=True)
    assert found.sizes == {"chain": 1, "draw": 20, "component": 5}
    np.testing.assert_allclose(found.sel(component="fixed"), 0.0, atol=1e-30)
    one = variance_partition(binary_fit, rows[:1], ndraws=20, draws=True)
    np.testing.assert_allclose(found[..., 1:], one[..., 1:])


def test_intraclass_correlations(small_fit, binary_fit):
    posterior = small_fit.posterior
    v, residual = posterior.sd_g.to_numpy()[..., 0] ** 2, posterior.sigma.to_numpy() ** 2
    for scale in ("response", "latent"):
        found = icc(small_fit, scale=scale, draws=True)
        assert found.dims == ("chain", "draw", "group")
        np.testing.assert_allclose(found.sel(group="g"), v / (v + residual), rtol=1e-11)
    posterior = binary_fit.posterior
    v = [posterior[f"sd_{name}"].to_numpy()[..., 0] ** 2 for name in ("g", "h")]
    found = icc(binary_fit, scale="latent", draws=True)
    by_hand = np.stack([x / (v[0] + v[1] + np.pi**2 / 3) for x in v], axis=-1)
    np.testing.assert_allclose(found, by_hand, rtol=1e-11)
    parts = variance_partition(binary_fit, draws=True)
    within = parts.sum("component") - parts.sel(component="fixed")
    table = icc(binary_fit)
    assert table.group.tolist() == ["g", "h"]
    share = np.median(parts.sel(component="h") / within)
    assert table.estimate[1] == pytest.approx(share, rel=1e-12)
    assert table.attrs == {"conf_level": 0.95, "scale": "response"}


def test_r2_of_a_gaussian(small_fit, small_data):
    found = r2(small_fit, draws=True)
    assert found.kind.values.tolist() == ["conditional", "marginal"]
    given = small_fit.predict()["predictions"]["mean"].to_numpy().var(axis=-1, ddof=1)
    residual = small_fit.posterior.sigma.to_numpy() ** 2
    np.testing.assert_allclose(found.sel(kind="conditional"), given / (given + residual))
    fixed = small_fit.posterior.b.to_numpy()[..., 1] ** 2 * small_data.x.var()
    rest = residual + small_fit.posterior.sd_g.to_numpy()[..., 0] ** 2
    np.testing.assert_allclose(found.sel(kind="marginal"), fixed / (fixed + rest))


def test_r2_of_probabilities(binary_fit):
    found = r2(binary_fit, draws=True)
    p = binary_fit.predict()["predictions"]["mean"].to_numpy()
    explained, residual = p.var(axis=-1, ddof=1), (p * (1 - p)).mean(axis=-1)
    np.testing.assert_allclose(found.sel(kind="conditional"), explained / (explained + residual))
    parts = variance_partition(binary_fit, draws=True)
    parts[..., 0] *= 120 / 119
    share = parts.sel(component="fixed") / parts.sum("component")
    np.testing.assert_allclose(found.sel(kind="marginal"), share, rtol=1e-11)
    table = r2(binary_fit, ndraws=50)
    assert table.kind.tolist() == ["conditional", "marginal"]
    assert table.estimate[0] > table.estimate[1] > 0


def test_a_model_without_groups(plain_fit, small_data):
    table = variance_partition(plain_fit)
    assert table.component.tolist() == ["fixed", "residual"]
    both = r2(plain_fit, draws=True)
    np.testing.assert_array_equal(both[..., 0], both[..., 1])
    fixed = plain_fit.posterior.b.to_numpy()[..., 1] ** 2 * small_data.x.var()
    residual = plain_fit.posterior.sigma.to_numpy() ** 2
    np.testing.assert_allclose(both[..., 0], fixed / (fixed + residual))
    with pytest.raises(bm.BayesmmError, match="no group effects.*Add a term"):
        icc(plain_fit)


# --- refusals ---


@pytest.mark.parametrize("function", [variance_partition, icc, r2])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"draws": 20}, r"draws=20.*ndraws="),
        ({"ndraws": 0}, "ndraws=0: write a whole number"),
        ({"ndraws": 10**6}, "the posterior has 400 draws"),
        ({"conf_level": 95}, "conf_level=95: write a probability"),
        ({"newdata": pd.DataFrame({"z": [1.0]})}, "'x'"),
        ({"newdata": pd.DataFrame({"x": []})}, "newdata has no rows"),
    ],
)
def test_arguments_that_make_no_sense(small_fit, function, arguments, message):
    with pytest.raises(bm.BayesmmError, match=message):
        function(small_fit, **arguments)


def test_more_of_them(small_fit):
    with pytest.raises(bm.BayesmmError, match="fit is a str: give what bm.fit"):
        variance_partition("fit")
    with pytest.raises(bm.BayesmmError, match=r"scale='latnt'.*Did you mean 'latent'"):
        icc(small_fit, scale="latnt")
    rows = pd.DataFrame({"x": [0.0, 1.0], "g": ["h", "new"]})
    with pytest.raises(bm.NewLevelsError, match=r"new.*variance_partition\(\) needs no clusters"):
        r2(small_fit, rows)
    with pytest.raises(bm.BayesmmError, match="newdata has one row"):
        r2(small_fit, rows[:1])


def fitted(formula, data, family):
    sampling = {"chains": 1, "warmup": 5, "draws": 5, "seed": 1, "engine": bm.NUTS()}
    return bm.fit(formula, data, family=family, **sampling)


@pytest.mark.filterwarnings("ignore::bayesmm.errors.BayesmmWarning")
def test_responses_without_a_variance():
    codes = list(np.arange(ROWS) % 3)
    ordered = rows_of(pd.Categorical.from_codes(codes, ["a", "b", "c"], ordered=True))
    fit = fitted("y ~ x + (1 | g)", ordered, "cumulative")
    for function in (variance_partition, icc, r2):
        with pytest.raises(bm.BayesmmError, match=r"ordered categories.*scale=\"latent\""):
            function(fit)
    v = fit.posterior.sd_g.to_numpy()[..., 0] ** 2
    found = icc(fit, scale="latent", draws=True).sel(group="g")
    np.testing.assert_allclose(found, v / (v + np.pi**2 / 3), rtol=1e-11)
    angles = fitted("y ~ x + (1 | g)", rows_of(np.linspace(-1, 1, ROWS)), "von_mises")
    with pytest.raises(bm.BayesmmError, match="'von_mises' does not say what its variance is"):
        r2(angles)


@pytest.mark.filterwarnings("ignore::bayesmm.errors.BayesmmWarning")
def test_a_variance_that_is_infinite_and_a_mean_that_is_not_there():
    data = rows_of(np.linspace(0.5, 1.5, ROWS))
    heavy = fitted("y ~ x + (1 | g)", data, bm.families.student(nu=1.5))
    with pytest.raises(bm.BayesmmError, match="In 5 of 5 posterior draws.*no finite variance"):
        variance_partition(heavy)
    inverse = fitted("y ~ x + (1 | g)", data, bm.families.gaussian(link="inverse"))
    with pytest.raises(bm.BayesmmError, match="its mean does not exist"):
        r2(inverse)
