"""What the families with vectors, categories and zeros leave in results, reports and files."""

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.stats as st
from family_data import example, left
from nearby import nearby

import bayesmm as bm
from bayesmm.distributions import Ordered
from bayesmm.errors import DataError, FamilyError, NewLevelsError, PriorError
from bayesmm.families import FAMILIES, Family, Parameter
from bayesmm.results.report import make_report


@pytest.fixture(scope="module")
def zeros():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"x": rng.normal(size=60), "g": np.resize(list("abcd"), 60)})
    data["y"] = rng.poisson(2.0, 60) * rng.integers(0, 2, 60)
    data["n"] = 9
    return data.set_index(np.arange(60) + 100)


@pytest.fixture(scope="module")
def zinb(zeros):
    model = bm.Model(["y ~ x + (1 | g)", "zi ~ x"], zeros, "zero_inflated_negbinomial")
    return nearby(model)


def inverse_logit(eta):
    return 1 / (1 + np.exp(-eta))


# --- structural zeros ---


def test_structural_zeros_are_what_the_mixture_says(zinb, zeros):
    found = bm.structural_zeros(zinb, draws=True)
    rows = zeros.index[zeros.y == 0]
    np.testing.assert_array_equal(found.obs_id, rows)
    posterior = zinb.posterior
    x = zeros.x[rows].to_numpy()
    r = posterior.r_g.sel(g=zeros.g[rows].to_numpy(), g_effect="Intercept").to_numpy()
    b, b_zi = posterior.b.to_numpy(), posterior.b_zi.to_numpy()
    mu = np.exp(b[..., :1] + b[..., 1:] * x + r)
    zi = inverse_logit(b_zi[..., :1] + b_zi[..., 1:] * x)
    shape = posterior["shape"].to_numpy()[..., None]
    f0 = st.nbinom.pmf(0, shape, shape / (shape + mu))
    np.testing.assert_allclose(found, zi / (zi + (1 - zi) * f0), rtol=1e-6)
    mean = bm.structural_zeros(zinb)
    assert mean.dims == ("obs_id",)
    np.testing.assert_allclose(mean, found.mean(("chain", "draw")), rtol=1e-12)


def test_structural_zeros_of_new_data(zinb, zeros):
    all_rows = bm.structural_zeros(zinb, zeros.drop(columns="y"))
    np.testing.assert_array_equal(all_rows.obs_id, zeros.index)
    with_response = bm.structural_zeros(zinb, zeros.head(20))
    seen = zeros.head(20).index[zeros.y.head(20) == 0]
    np.testing.assert_array_equal(with_response.obs_id, seen)
    np.testing.assert_allclose(with_response, all_rows.sel(obs_id=seen), rtol=1e-12)
    with pytest.raises(NewLevelsError, match="'g'.*'new'"):
        bm.structural_zeros(zinb, zeros.assign(g="new"))
    with pytest.raises(DataError, match="No row"):
        bm.structural_zeros(zinb, zeros[zeros.y > 0])
    with pytest.raises(DataError, match="'x'"):
        bm.structural_zeros(zinb, zeros.drop(columns="x"))


def test_structural_zeros_of_trials(zeros):
    fit = nearby(bm.Model("prop(y, n) ~ x", zeros, "zero_inflated_binomial"))
    more = bm.structural_zeros(fit, zeros.assign(n=50))
    # With more trials a zero is less likely to be of the sampling kind.
    assert (more > bm.structural_zeros(fit).reindex(obs_id=more.obs_id)).all()


def test_a_censored_zero_is_none(zeros):
    data = zeros.assign(s=np.resize(["none", "right"], 60))
    fit = nearby(bm.Model("censored(y, s) ~ x", data, "zero_inflated_poisson"))
    found = bm.structural_zeros(fit)
    exact = data.index[(data.y == 0) & (data.s == "none")]
    np.testing.assert_array_equal(found.obs_id, exact)


@pytest.mark.parametrize("family", ["poisson", "hurdle_poisson"])
def test_families_without_structural_zeros(zeros, family):
    fit = nearby(bm.Model("y ~ x", zeros, family))
    with pytest.raises(FamilyError, match="'zero_inflated_poisson'"):
        bm.structural_zeros(fit)


# --- the report ---


@pytest.mark.parametrize(("correlation", "spread", "told"), [(0.9, 0.3, False), (0.1, 0.3, True)])
def test_zeros_and_overdispersion_that_cannot_be_told_apart(zinb, correlation, spread, told):
    rng = np.random.default_rng(5)
    one, other = rng.multivariate_normal(
        [0, 0], [[1, correlation], [correlation, 1]], size=(2, 30)
    ).transpose(2, 0, 1)
    idata = zinb.idata.copy()
    posterior = idata["posterior"].to_dataset()
    posterior["Intercept_zi"] = (("chain", "draw"), spread * one)
    posterior["shape"] = (("chain", "draw"), np.exp(0.2 * other))
    idata["posterior"] = bm.Fit(zinb._prepared, idata).idata["posterior"].assign(posterior)
    report = make_report(zinb._prepared, idata)
    codes = {problem.code: problem for problem in report.problems}
    assert ("zeros_or_dispersion" not in codes) == told
    if not told:
        text = str(codes["zeros_or_dispersion"])
        for word in ("zi", "shape", "'negbinomial'", "'zero_inflated_poisson'", "loo"):
            assert word in text


# --- vectors ---


def test_ordered_numbers_have_the_density_of_order_statistics():
    with jax.enable_x64(True):
        joint = Ordered([dist.Normal(0.0, 1.0).expand((3,))], [(0, 1, 2)], (3,))
        value = np.array([-1.0, 0.2, 1.5])
        want = st.norm.logpdf(value).sum() + np.log(6)
        np.testing.assert_allclose(joint.log_prob(value), want, rtol=1e-12)
        draws = np.asarray(joint.sample(jax.random.key(1), (2000,)))
    assert (np.diff(draws, axis=1) > 0).all()
    # The middle one of three normals: F(x) = 3 Phi^2 - 2 Phi^3.
    phi = st.norm.cdf
    assert st.kstest(draws[:, 1], lambda x: 3 * phi(x) ** 2 - 2 * phi(x) ** 3).pvalue > 1e-3


def test_ordered_numbers_with_priors_of_their_own():
    with jax.enable_x64(True):
        parts = [dist.Normal(np.array([0.5, 0.0]), 1.0), dist.StudentT(3.0, 1.0, np.array([1.0]))]
        joint = Ordered(parts, [(0, 2), (1,)], (3,), alike=False)
        draws = np.asarray(joint.sample(jax.random.key(2), (4000,)))
    # By importance: independent draws that happen to be in order.
    rng = np.random.default_rng(1)
    free = np.column_stack(
        [rng.normal(0.5, 1, 400_000), 1 + rng.standard_t(3, 400_000), rng.normal(0, 1, 400_000)]
    )
    kept = free[(np.diff(free, axis=1) > 0).all(axis=1)]
    for k in range(3):
        assert st.ks_2samp(draws[:, k], kept[:, k]).pvalue > 1e-3


def test_priors_of_cutpoints():
    data = example(FAMILIES["cumulative"], 80, 1)
    priors = {"cutpoints": dist.Normal(0, 3), "cutpoints[b|c]": dist.Normal(1, 2)}
    model = bm.Model("y ~ x", data, "cumulative", priors)
    labels = ["cutpoints[a|b]", "cutpoints[b|c]", "cutpoints[c|d]"]
    assert [str(p) for p in model.priors.loc[labels, "prior"]] == [
        "Normal(0, 3)",
        "Normal(1, 2)",
        "Normal(0, 3)",
    ]
    with pytest.raises(PriorError, match=r"'cutpoints\[d\|e\]'"):
        bm.Model("y ~ x", data, "cumulative", {"cutpoints[d|e]": dist.Normal(0, 1)})
    step = bm.Model("y ~ x", data, bm.families.cumulative(thresholds="equidistant"))
    assert list(step.priors.index) == ["b[x]", "cutpoints", "delta"]
    by = bm.Model(
        "thresholds(y, g) ~ x", data, "cumulative", {"cutpoints[3, a|b]": priors["cutpoints"]}
    )
    assert by.priors.loc["cutpoints[3, a|b]", "source"] != "default"
    assert len(by.priors) == 1 + 8 * 3


def test_cutpoints_are_for_the_predictors_as_given():
    """Moving a predictor moves the cutpoints by its slope, and nothing else."""
    data = example(FAMILIES["cumulative"], 80, 1)
    found = {}
    for shift in (0.0, 5.0):
        model = bm.Model("y ~ x", data.assign(x=data.x + shift), "cumulative")
        found[shift] = nearby(model).posterior
    moved = found[0.0].cutpoints + 5 * found[0.0].b.sel(coef="x")
    np.testing.assert_allclose(found[5.0].cutpoints, moved, rtol=1e-9)
    np.testing.assert_allclose(found[5.0].b, found[0.0].b, rtol=1e-9)


def test_category_specific_effects_are_of_centred_predictors():
    data = example(FAMILIES["acat"], 80, 1)
    found = {}
    for shift in (0.0, 2000.0):
        model = bm.Model("y ~ cs(x)", data.assign(x=data.x + shift), "acat")
        found[shift] = nearby(model).posterior
    moved = found[0.0].cutpoints + 2000 * found[0.0].b_cs.sel(coef_cs="x")
    np.testing.assert_allclose(found[2000.0].cutpoints, moved, rtol=1e-9)


IN_UNITS = [("gaussian", "sigma"), ("exgaussian", "beta"), ("inverse_gaussian", "shape")]


@pytest.mark.parametrize(("name", "parameter"), IN_UNITS)
def test_default_priors_have_the_unit_of_the_response(name, parameter):
    data = example(FAMILIES[name], 80, 4)
    scales = []
    for unit in (1.0, 1e-3):
        model = bm.Model("y ~ x", data.assign(y=unit * data.y), name)
        (prior,) = [a.prior for a in model.spec.priors if a.slot.label == parameter]
        scales.append(dict(prior.args)["scale"])
    np.testing.assert_allclose(scales[1] / scales[0], 1e-3, rtol=1e-9)


def test_zeros_of_amounts_do_not_locate_the_rest():
    data = example(FAMILIES["tweedie"], 80, 4)
    found = [
        dict(a.prior.args)["loc"]
        for unit in (1.0, 1e-3)
        for a in bm.Model("y ~ x", data.assign(y=unit * data.y), "tweedie").spec.priors
        if a.slot.label == "Intercept"
    ]
    np.testing.assert_allclose(found[1] - found[0], np.log(1e-3), rtol=1e-9)


def test_a_shift_with_a_formula_starts_below_the_smallest_response():
    data = example(FAMILIES["shifted_lognormal"], 80, 4)
    data["y"] = 1e-3 * data["y"]
    model = bm.Model(["y ~ x", "shift ~ x"], data, "shifted_lognormal")
    with jax.enable_x64(True):
        program, inputs = model._prepared.program(), model._prepared.inputs
        centre, _ = program.starting_region(inputs)
        assert np.isfinite(program.log_density(centre, inputs))
    inflated = bm.families.hurdle(bm.families.shifted_lognormal)
    data.loc[data.index[:9], "y"] = 0.0
    prior = bm.Model("y ~ x", data, inflated).priors.loc["shift", "prior"]
    assert prior != "Uniform(0, 0)"


def test_a_held_parameter_takes_no_formula(frame):
    with pytest.raises(FamilyError, match="holds at 4"):
        bm.Model(["real ~ x", "nu ~ x"], frame, bm.families.student(nu=4))


@pytest.mark.parametrize("family", ["tweedie", "com_poisson"])
def test_wide_densities_are_summarised_in_small_chunks(family):
    data = example(FAMILIES[family], 600, 5)
    model = bm.Model("y ~ x", data, family)
    assert model._prepared.numbers_per_draw > 100 * 600


MODELS = {
    "sratio": (["y ~ x + cs(z)"], "sratio"),
    "equidistant": (
        ["y ~ x", "disc ~ z"],
        bm.families.cumulative("probit", thresholds="equidistant"),
    ),
    "by": (["thresholds(y, g) ~ x + (1 | h)"], "cumulative"),
    "categorical": (["y ~ x + (1 | g)", "mu_c ~ 1"], "categorical"),
    "fixed": (["real ~ x"], bm.families.student(nu=4)),
    "quantile": (["real ~ x"], bm.families.asymmetric_laplace(quantile=0.9)),
    "censored": (["censored(positive, status, end) ~ x"], "weibull"),
    "columns": (["c(n1, n2, n3) ~ x"], "multinomial"),
    "error": (["se(real, positive) ~ x + (1 | g)"], "gaussian"),
}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(2)
    n = 48
    data = example(FAMILIES["cumulative"], n, 3).assign(
        z=rng.normal(size=n),
        h=np.resize(list("pqrst"), n),
        real=rng.normal(size=n),
        positive=rng.gamma(2, size=n),
        status=np.resize(["none", "right", "interval"], n),
        **{f"n{k}": rng.poisson(5, n) for k in (1, 2, 3)},
    )
    data["end"] = np.where(data.status == "interval", data.positive + 1, np.nan)
    return data


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_files_restore_every_choice(name, suffix, frame, tmp_path):
    formula, family = MODELS[name]
    fit = nearby(bm.Model(formula, frame, family), draws=12)
    path = tmp_path / f"fit.{suffix}"
    fit.save(path)
    again = bm.load(path)
    assert again.spec == fit.spec
    pd.testing.assert_frame_equal(again.fixef(), fit.fixef())
    one, other = (
        f.posterior_predictive(draws=5, seed=1)["posterior_predictive"] for f in (fit, again)
    )
    np.testing.assert_array_equal(*(tree[fit.spec.response] for tree in (one, other)))


def test_categories_in_results(frame):
    fit = nearby(bm.Model("y ~ x", frame, "cumulative"), draws=12)
    observed = fit.idata["observed_data"]["y"]
    assert observed.attrs["flag_meanings"] == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(observed, frame.y.cat.codes + 1)
    numbered = frame.assign(y=frame.y.cat.codes + 3)
    fit = nearby(bm.Model("y ~ x", numbered, "cumulative"), draws=12)
    np.testing.assert_array_equal(fit.idata["observed_data"]["y"], numbered.y)
    drawn = fit.posterior_predictive(draws=5, seed=1)["posterior_predictive"]["y"]
    assert set(np.unique(drawn)) <= {3, 4, 5, 6}
    assert "cutpoints[3|4]" in fit.summary().index
    assert ("cutpoints", "3|4") in fit.fixef().index


def test_held_parameters_are_not_estimated(frame):
    model = bm.Model("real ~ x", frame, bm.families.student(nu=4))
    assert "nu" not in model.priors.index
    assert "nu 4" in repr(model)
    for wrong, words in [
        ({"nu": 0.5}, "between 1 and inf"),
        ({"nu": "a"}, "not a number"),
        ({"mu": 1.0}, "single number"),
        ({"df": 1.0}, "no parameter 'df'"),
    ]:
        with pytest.raises(FamilyError, match=words):
            bm.families.student(**wrong)
    with pytest.raises(FamilyError, match="no thresholds"):
        bm.families.poisson(thresholds="equidistant")
    with pytest.raises(FamilyError, match="'flexible'"):
        bm.families.cumulative(thresholds="even")


# --- a user's own family ---

GEOMETRIC = Family(
    name="failures",
    parameters=(
        Parameter("mu", links=("log",), support="positive"),
        Parameter("extra", links=("log",), support="positive", prior=("Exponential", (1.0,))),
    ),
    response=bm.families.COUNT,
    distribution=lambda v: dist.NegativeBinomial2(v.mu, 1.0 + v.extra),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu + v.mu**2 / (1.0 + v.extra),
)


def test_a_users_family_can_be_inflated(zeros):
    family = bm.families.zero_inflated(GEOMETRIC)
    fit = nearby(bm.Model(["y ~ x + (1 | g)", "zi ~ x"], zeros, family))
    assert {"extra", "b_zi"} <= set(fit.posterior.data_vars)
    found = bm.structural_zeros(fit)
    assert ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_prints(name):
    family = FAMILIES[name]
    model = bm.Model(f"{left(family)} ~ x + (1 | g)", example(family, 64, seed=2), family)
    assert family.name in repr(model)
    assert family.name in model._repr_html_()


def test_streamed_loo_keeps_nothing_as_large_as_the_log_likelihood(zeros):
    model = bm.Model("y ~ x + (1 | g)", zeros, "zero_inflated_poisson")
    streamed = nearby(model, log_likelihood=False).loo(pointwise=True)
    assert streamed.log_weights is None
    np.testing.assert_allclose(streamed.elpd, nearby(model, log_likelihood=True).loo().elpd)
