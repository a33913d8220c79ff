"""What a row says when it is censored, truncated, or known with an error; and what is refused."""

import warnings
from functools import partial

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.stats as st

import bayesmm as bm
from bayesmm.errors import BayesmmWarning, DataError, FamilyError
from bayesmm.families import FAMILIES
from bayesmm.model import distribution, log_likelihood


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def log_lik(formula, data, family="gaussian", **quantities):
    """Log-likelihood of the rows at given values of the variables."""
    model = bm.Model(formula, pd.DataFrame(data), family)
    values = {name: np.asarray(value, float) for name, value in quantities.items()}
    one = jax.jit(partial(log_likelihood, model.spec.family, model.spec.layout))
    return np.asarray(one(model._prepared.design, values))


NORMAL = st.norm(2.5, 1.7)
GAUSSIAN = {"b": [2.5], "sigma": 1.7}
CENSORED = {
    "t": [1.0, 2.0, 3.0, 4.0],
    "s": ["none", "left", "right", "interval"],
    "t2": [np.nan, np.nan, np.nan, 6.0],
}
EXPECTED = [
    NORMAL.logpdf(1),
    NORMAL.logcdf(2),
    NORMAL.logsf(3),
    np.log(NORMAL.cdf(6) - NORMAL.cdf(4)),
]


def test_censored_rows():
    # The ends of other rows' intervals are not needed, and their absence drops no row.
    found = log_lik("censored(t, s, t2) ~ 1", CENSORED, **GAUSSIAN)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-12)


def test_censored_as_brms_and_survival_write_it():
    coded = CENSORED | {"s": [0, -1, 1, 2]}
    np.testing.assert_allclose(
        log_lik("censored(t, s, t2) ~ 1", coded, **GAUSSIAN), EXPECTED, rtol=1e-12
    )
    flags = {"t": [1.0, 3.0, 4.0], "s": [False, True, False]}
    want = [NORMAL.logpdf(1), NORMAL.logsf(3), NORMAL.logpdf(4)]
    np.testing.assert_allclose(log_lik("censored(t, s) ~ 1", flags, **GAUSSIAN), want, rtol=1e-12)


def test_a_censored_count():
    """Right: above y; left: y or less; interval: above y, up to y2."""
    data = {"y": [2, 3, 4, 1], "s": ["right", "left", "none", "interval"], "u": [9, 9, 9, 3]}
    poisson = st.poisson(2.2)
    want = [
        poisson.logsf(2),
        poisson.logcdf(3),
        poisson.logpmf(4),
        np.log(poisson.pmf(2) + poisson.pmf(3)),
    ]
    found = log_lik("censored(y, s, u) ~ 1", data, "poisson", b=[np.log(2.2)])
    np.testing.assert_allclose(found, want, rtol=1e-10)


def test_truncated_rows():
    data = {"y": [0.5, 1.0, 2.0], "low": [0.0, -1.0, 1.5]}
    inside = np.log(NORMAL.cdf(3) - NORMAL.cdf(data["low"]))
    found = log_lik("truncated(y, low, 3) ~ 1", data, **GAUSSIAN)
    np.testing.assert_allclose(found, NORMAL.logpdf(data["y"]) - inside, rtol=1e-12)
    above = log_lik("truncated(y, -0.5) ~ 1", data, **GAUSSIAN)
    np.testing.assert_allclose(above, NORMAL.logpdf(data["y"]) - NORMAL.logsf(-0.5), rtol=1e-12)
    below = log_lik("truncated(y, upper=3) ~ 1", data, **GAUSSIAN)
    np.testing.assert_allclose(below, NORMAL.logpdf(data["y"]) - NORMAL.logcdf(3), rtol=1e-12)


def test_bounds_of_counts_belong_to_them():
    data = {"y": [1, 2, 4]}
    poisson = st.poisson(0.8)
    found = log_lik("truncated(y, 1, 4) ~ 1", data, "poisson", b=[np.log(0.8)])
    inside = np.log(poisson.pmf([1, 2, 3, 4]).sum())
    np.testing.assert_allclose(found, poisson.logpmf(data["y"]) - inside, rtol=1e-10)
    zero = log_lik("truncated(y, 1) ~ 1", data, "poisson", b=[np.log(1e-9)])
    # Nearly all of the mass is cut away: what is left is 1 with near certainty.
    np.testing.assert_allclose(zero[0], 0.0, atol=1e-8)


def test_a_bound_at_an_atom_includes_it():
    """P(lower <= Y <= upper), with the zeros of a hurdle at the lower bound."""
    data = {"y": [0.0, 1.0, 2.5]}
    given = {"b": [0.3], "shape": 1.4, "hu": 0.3}
    plain = log_lik("y ~ 1", data, "hurdle_gamma", **given)
    found = log_lik("truncated(y, 0) ~ 1", data, "hurdle_gamma", **given)
    np.testing.assert_allclose(found, plain, rtol=1e-12)  # nothing is cut away
    above = log_lik("truncated(y, 0, 3) ~ 1", data, "hurdle_gamma", **given)
    inside = 0.3 + 0.7 * st.gamma(1.4, scale=np.exp(0.3) / 1.4).cdf(3)
    np.testing.assert_allclose(above, plain - np.log(inside), rtol=1e-10)


def test_an_interval_is_cut_at_the_bounds():
    data = {"t": [3.0], "u": [9.0], "s": ["interval"]}
    found = log_lik("truncated(censored(t, s, u), 1, 5) ~ 1", data, **GAUSSIAN)
    within = NORMAL.cdf(5) - NORMAL.cdf(3), NORMAL.cdf(5) - NORMAL.cdf(1)
    np.testing.assert_allclose(found, np.log(within[0] / within[1]), rtol=1e-12)


def test_what_is_recorded_of_a_censored_row_need_not_be_possible():
    """From 0 to 2, and beyond 0: neither limit has a density."""
    data = {"t": [1.5, 0.0, 0.0], "s": ["none", "interval", "right"], "u": [9.0, 2.0, 9.0]}
    given = {"b": [0.3], "shape": 1.4}
    gamma = st.gamma(1.4, scale=np.exp(0.3) / 1.4)
    want = [gamma.logpdf(1.5), gamma.logcdf(2.0), 0.0]
    found = log_lik("censored(t, s, u) ~ 1", data, "gamma", **given)
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)
    model = bm.Model("censored(t, s, u) ~ 1", pd.DataFrame(data), "gamma")
    program, inputs = model._prepared.program(), model._prepared.inputs
    centre, _ = program.starting_region(inputs)
    slope = jax.jit(jax.grad(program.log_density))(centre, inputs)
    assert all(np.isfinite(v).all() for v in jax.tree.leaves(slope))


def test_censored_and_truncated():
    """A delayed entry: rows are seen only beyond `low`, and some not to their end."""
    data = {"t": [1.0, 2.0], "low": [0.5, 1.0], "s": ["none", "right"]}
    found = log_lik("truncated(censored(t, s), low) ~ 1", data, **GAUSSIAN)
    want = np.array([NORMAL.logpdf(1), NORMAL.logsf(2)]) - NORMAL.logsf(data["low"])
    np.testing.assert_allclose(found, want, rtol=1e-12)


def test_short_intervals_keep_their_digits():
    """Values rounded to 1e-7: the difference of two distribution functions has no digits left."""
    start = np.array([2.5, 9.0, -4.0])
    data = {"t": start, "u": start + 1e-7, "s": ["interval"] * 3}
    found = log_lik("censored(t, s, u) ~ 1", data, **GAUSSIAN)
    np.testing.assert_allclose(found, NORMAL.logpdf(start + 5e-8) + np.log(1e-7), rtol=1e-7)


def test_a_flat_density_between_bounds():
    """With a huge sigma all of the bounded interval is alike, and nothing is infinite."""
    data = {"y": [0.5, 1.0, 2.0]}
    for sigma in (1e6, 1e20, 1e90):
        found = log_lik("truncated(y, 0, 4) ~ 1", data, b=[0.0], sigma=sigma)
        np.testing.assert_allclose(found, np.log(1 / 4), rtol=1e-6)


TYPICAL = {"real": 0.5, "positive": 1.3, "unit": 0.3, "above_one": 3.0, "one_two": 1.5}


@pytest.mark.parametrize("name", ["student", "weibull", "poisson", "hurdle_gamma"])
def test_gradients_are_finite(name):
    """That every distribution function has a finite gradient is in the families' contract."""
    family = FAMILIES[name]
    kind = family.response.name
    y = np.array([0.2, 0.3, 0.45, 0.6, 0.7, 0.8])
    if family.response.integer:
        y = np.array([1, 1, 1, 1, 1, 1]) if kind == "binary" else np.array([1, 2, 3, 4, 2, 3])
    data = pd.DataFrame({"y": y, "n": 6})
    data["s"] = ["none", "right", "right", "none", "none", "right"]
    inner = "prop(y, n)" if family.response.trials else "y"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmmWarning)  # of responses that are all alike
        model = bm.Model(f"truncated(censored({inner}, s), 0) ~ 1", data, family)
    # Both tails, at an ordinary place and far out.
    spec, design = model.spec, model._prepared.design
    numbers = {p.name: np.asarray(TYPICAL[p.support]) for p in spec.numbers if not p.labels}
    vectors = {p.name: np.array([-1.0, 1.0]) for p in spec.numbers if p.labels}

    @jax.jit
    def total(quantities):
        return log_likelihood(spec.family, spec.layout, design, quantities).sum()

    for b in (0.2, 8.0):
        found = jax.grad(total)({"b": np.array([b]), **numbers, **vectors})
        assert all(np.isfinite(v).all() for v in jax.tree.leaves(found))


@pytest.mark.parametrize(
    ("formula", "family", "low", "high", "tries"),
    [
        ("truncated(y, 1) ~ 1", "poisson", 1, np.inf, 100),
        ("truncated(y, 1, 3) ~ 1", "negbinomial", 1, 3, 100),
        ("truncated(y, 1, 3) ~ 1", "poisson", 1, 3, 0),  # by bisection alone
        ("truncated(y, 0.5, 3) ~ 1", "gaussian", 0.5, 3, 0),
        ("truncated(y, upper=3.5) ~ 1", "gamma", 0, 3.5, 100),
    ],
)
def test_draws_stay_within_the_bounds_and_have_the_right_distribution(
    formula, family, low, high, tries
):
    data = pd.DataFrame({"y": [1, 2, 3, 1, 2, 2]})
    model = bm.Model(formula, data, family)
    quantities = {"b": np.array([0.4]), "sigma": np.array(1.5), "shape": np.array(1.2)}
    spec = model.spec
    used = {k: v for k, v in quantities.items() if k == "b" or k in spec.family.parameter_names}
    found = distribution(spec.family, spec.layout, model._prepared.design, used)
    found.tries = tries
    draws = np.asarray(jax.jit(partial(found.sample, sample_shape=(600,)))(jax.random.key(1)))
    draws = draws.ravel()
    assert draws.min() >= low
    assert draws.max() <= high
    if spec.family.response.integer:
        for value in (1, 2, 3):
            # The distribution has six rows, all alike.
            p = np.exp(np.asarray(found.log_prob(np.full(6, float(value))))[0])
            share = (draws == value).mean()
            assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / draws.size)
    else:
        whole = (
            st.norm(0.4, 1.5) if family == "gaussian" else st.gamma(1.2, scale=np.exp(0.4) / 1.2)
        )
        before, inside = whole.cdf(low), whole.cdf(high) - whole.cdf(low)
        assert st.kstest(draws, lambda y: (whole.cdf(y) - before) / inside).pvalue > 1e-3


# --- known standard errors ---


def test_known_errors_take_the_place_of_sigma():
    data = {"y": [1.0, 2.0, 3.0], "s": [0.5, 1.0, 2.0]}
    model = bm.Model("se(y, s) ~ 1", pd.DataFrame(data))
    assert "sigma" not in [a.slot.variable for a in model.spec.priors]
    want = st.norm.logpdf(data["y"], 0.3, data["s"])
    np.testing.assert_allclose(log_lik("se(y, s) ~ 1", data, b=[0.3]), want, rtol=1e-12)
    both = st.norm.logpdf(data["y"], 0.3, np.hypot(data["s"], 1.5))
    found = log_lik("se(y, s, sigma=True) ~ 1", data, b=[0.3], sigma=1.5)
    np.testing.assert_allclose(found, both, rtol=1e-12)


def test_known_errors_and_a_held_sigma():
    data = pd.DataFrame({"y": [1.0, 2.0, 3.0], "s": [0.5, 1.0, 2.0]})
    with pytest.raises(FamilyError, match="holds 'sigma' at 2"):
        bm.Model("se(y, s) ~ 1", data, bm.families.gaussian(sigma=2))
    bm.Model("se(y, s, sigma=True) ~ 1", data, bm.families.gaussian(sigma=2))


def test_known_errors_and_a_formula_for_sigma():
    data = pd.DataFrame({"y": [1.0, 2.0, 3.0], "s": [0.5, 1.0, 2.0]})
    with pytest.raises(FamilyError, match="sigma=True"):
        bm.Model(["se(y, s) ~ 1", "sigma ~ s"], data)
    bm.Model(["se(y, s, sigma=True) ~ 1", "sigma ~ s"], data)


# --- what is refused ---

FRAME = pd.DataFrame(
    {
        "y": [1.0, 2.0, 3.0, 4.0],
        "n": [1, 2, 3, 4],
        "s": ["none", "right", "left", "none"],
        "odd": ["none", "gone", "left", "none"],
        "i": ["interval", "none", "none", "none"],
        "bad": [1.0, 0.0, 2.0, 1.0],
    }
)


@pytest.mark.parametrize(
    ("formula", "family", "error", "words"),
    [
        ("censored(y, odd) ~ 1", "gaussian", DataError, ["'gone'", "row 1", "'interval'"]),
        ("censored(y, i) ~ 1", "gaussian", DataError, ["censored(t, status, t2)"]),
        ("censored(y, i, bad) ~ 1", "gaussian", DataError, ["ends above where it starts"]),
        ("censored(n, s) ~ 1", "von_mises", FamilyError, ["distribution function", "'weibull'"]),
        ("truncated(y, 2) ~ 1", "gaussian", DataError, ["lower bound 2", "row 0", "censored"]),
        ("truncated(y, upper=3) ~ 1", "gaussian", DataError, ["upper bound 3", "row 3"]),
        ("truncated(y, 5, 1) ~ 1", "gaussian", DataError, ["above the upper"]),
        ("truncated(n, 1) ~ 1", "cumulative", FamilyError, ["distribution function"]),
        ("se(y, bad) ~ 1", "gaussian", DataError, ["above 0", "row 1"]),
        ("se(n, y) ~ 1", "poisson", FamilyError, ["'gaussian'", "'student'"]),
        ("thresholds(n, s) ~ 1", "poisson", FamilyError, ["no thresholds", "'cumulative'"]),
        ("c(y, n) ~ 1", "gaussian", FamilyError, ["'multinomial'"]),
        ("c(y, y) ~ 1", "multinomial", DataError, ["twice"]),
        ("y ~ 1", "multinomial", FamilyError, ["c(y1, y2, y3)"]),
        ("y ~ 0 + n", "cumulative", bm.FormulaError, ["cutpoints"]),
        ("y ~ cs(n)", "cumulative", FamilyError, ["threshold", "'sratio'", "'acat'"]),
        (["n ~ y", "zi ~ y"], "poisson", FamilyError, ["'zero_inflated_poisson'"]),
        ("y ~ n + cs(n)", "acat", DataError, ["rank-deficient"]),
        (["y ~ n", "cutpoints ~ n"], "acat", FamilyError, ["takes no formula"]),
        (["y ~ n", "quantile ~ n"], "asymmetric_laplace", FamilyError, ["quantile=..."]),
        (["s ~ n", "mu_up ~ n"], "categorical", FamilyError, ["'mu_none'", "'mu_right'"]),
        (["y ~ n", "cs ~ n + (1 | s)"], "acat", bm.FormulaError, ["no group terms"]),
        (["y ~ n", "cs ~ bad + offset(n)"], "acat", bm.FormulaError, ["no offset"]),
    ],
)
def test_refused(formula, family, error, words):
    with pytest.raises(error) as raised:
        bm.Model(formula, FRAME, family)
    for word in words:
        assert word in str(raised.value)


def test_gaps_in_ordered_categories():
    data = pd.DataFrame({"y": [1, 2, 4] * 4})
    with pytest.raises(DataError, match=r"gaps.*'1', '2', '4'.*nobody has '3'"):
        bm.Model("y ~ 1", data, "cumulative")
    bm.Model("y ~ 1", data, "categorical")
    named = pd.Categorical(list("abd") * 4, categories=list("abcd"), ordered=True)
    with pytest.warns(BayesmmWarning, match="Nobody has the categories 'c'"):
        model = bm.Model("y ~ 1", pd.DataFrame({"y": named}), "cumulative")
    assert model.spec.family.categories == ("a", "b", "d")


def test_text_has_no_order():
    text = ["low", "high", "middle"] * 4
    with pytest.raises(DataError, match=r"is text.*pd.Categorical"):
        bm.Model("y ~ 1", pd.DataFrame({"y": text}), "cumulative")
    with pytest.warns(BayesmmWarning, match="category without order"):
        bm.Model("y ~ 1", pd.DataFrame({"y": pd.Categorical(text)}), "cumulative")
    bm.Model("y ~ 1", pd.DataFrame({"y": text}), "categorical")
    bm.Model("y ~ 1", pd.DataFrame({"y": ["no", "yes"] * 4}), "cumulative")


def test_names_that_results_cannot_hold():
    data = pd.DataFrame({"y": ["a", "n/a", "b"] * 4, "coef": [1, 2] * 6, "r": [1, 2, 3] * 4})
    with pytest.raises(DataError, match="'n/a'"):
        bm.Model("y ~ 1", data, "categorical")
    with pytest.raises(DataError, match="'coef' has the name"):
        bm.Model("thresholds(r, coef) ~ 1", data, "cumulative")


def test_a_row_censored_at_its_bound_could_not_be():
    data = pd.DataFrame({"y": [1.0, 2.0, 3.0], "s": ["none", "none", "right"]})
    with pytest.raises(DataError, match="upper bound 3"):
        bm.Model("truncated(censored(y, s), upper=3) ~ 1", data)


def test_codes_far_apart_cost_nothing():
    data = pd.DataFrame({"y": [1, 2, 3, 2_000_000_000] * 3})
    with pytest.raises(DataError, match="nobody has '4'"):
        bm.Model("y ~ 1", data, "cumulative")
    bm.Model("y ~ 1", data, "categorical")


def test_fractions_and_too_many_categories():
    with pytest.raises(DataError, match=r"fractions \(such as 1.5\)"):
        bm.Model("y ~ 1", pd.DataFrame({"y": [1, 1.5, 2]}), "cumulative")
    with pytest.raises(DataError, match="101 different values"):
        bm.Model("y ~ 1", pd.DataFrame({"y": np.arange(101)}), "cumulative")
    with pytest.raises(DataError, match="1 different values"):
        bm.Model("y ~ 1", pd.DataFrame({"y": [2, 2, 2]}), "categorical")


@pytest.mark.parametrize(
    ("family", "y", "plainer"),
    [
        ("zero_inflated_poisson", [1, 2, 3], "poisson"),
        ("hurdle_gamma", [1.0, 2.5, 3.0], "gamma"),
        ("zero_one_inflated_beta", [0.2, 0.5, 0.3], "beta"),
    ],
)
def test_mixtures_without_zeros_name_the_plainer_family(family, y, plainer):
    with pytest.warns(BayesmmWarning, match=f"no zeros.*family='{plainer}'"):
        bm.Model("y ~ 1", pd.DataFrame({"y": y}), family)


def test_a_hurdle_without_zeros_is_a_truncated_count():
    with pytest.warns(BayesmmWarning, match=r"'poisson' with truncated\(y, 1\)"):
        bm.Model("y ~ 1", pd.DataFrame({"y": [1, 2, 3]}), "hurdle_poisson")


def test_print_says_how_many_rows_are_censored():
    model = bm.Model("censored(t, s, t2) ~ 1", pd.DataFrame(CENSORED))
    assert "1 left, 1 right, 1 interval" in repr(model)


def test_all_zeros():
    with pytest.warns(BayesmmWarning, match="is 0 in every row"):
        bm.Model("y ~ 1", pd.DataFrame({"y": [0, 0, 0]}), "zero_inflated_poisson")
    with pytest.raises(DataError, match="'hurdle_gamma'"):
        bm.Model("y ~ 1", pd.DataFrame({"y": [0, 0, 1.5]}), "gamma")
