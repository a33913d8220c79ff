"""Simulated data: of every family, with the moments that the parameters say, and clear refusals."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
from family_data import CATEGORIES, example, left
from scipy import stats

import bayesmm as bm
from bayesmm.families import FAMILIES
from bayesmm.model.predictor import predictor_values
from bayesmm.simulation import simulate
from bayesmm.simulation.blueprint import blueprint
from bayesmm.simulation.parameters import read_parameters

GROUPS = pd.DataFrame({"f": np.repeat(list("abcde"), 4), "x": np.linspace(-1.0, 1.0, 20)})
SLOPES = "~ x + (x | f)"
PARAMS = {
    "b": {"Intercept": 1.0, "x": -0.5},
    "sd_f": {"Intercept": 2.0, "x": 0.5},
    "cor_f": -0.6,
    "sigma": 0.7,
}


def template(formula, data, family, **options):
    """The parameters that the message for an empty mapping has to paste."""
    with pytest.raises(bm.BayesmmError, match="params lacks") as caught:
        simulate(formula, data, {}, family, **options)
    found = {}
    exec(str(caught.value).split("\n", 1)[1], found)
    return found["params"]


# --- every family ---

#: What the template's values are replaced by, so that no mean is infinite or all responses equal.
VALUES = {"nu": 5.0, "sigma": 0.6, "phi": 3.0, "kappa": 4.0, "alpha": 2.0, "shift": 0.4}
N, ROWS = 256, 40


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_the_mean_that_it_says_and_makes_data_for_a_model(name):
    family = FAMILIES[name]
    data, formula = example(family, ROWS, seed=1), f"{left(family)} ~ x"
    params = template(formula, data, family)
    params |= {key: value for key, value in VALUES.items() if key in params}
    for coefs in params.values():
        if isinstance(coefs, dict) and "x" in coefs:
            coefs["x"] = -0.4
    before = data.copy()
    found = simulate(formula, data, params, family, seed=2, n=N)
    pd.testing.assert_frame_equal(data, before)
    assert found.columns.tolist() == ["simulation", *data.columns]
    bm.Model(formula, found[found["simulation"] == 0].drop(columns="simulation"), family)
    with jax.enable_x64(True):
        plan = blueprint(formula, data, params, family=family)
        spec = plan.spec
        values = read_parameters(params, spec)
        values = predictor_values(spec.family, spec.layout, plan.design, values)
        shape = (ROWS, len(spec.family.categories)) if spec.family.categories else (ROWS,)
        expected = np.broadcast_to(spec.family.mean(values), shape)
    if family.response.columns:
        y = np.stack([found[f"y{k}"] for k in (1, 2, 3)], axis=-1).reshape(N, ROWS, 3)
    elif family.response.categories:
        y = np.eye(CATEGORIES)[found["y"].cat.codes].reshape(N, ROWS, CATEGORIES)
    else:
        y = found["y"].to_numpy().reshape(N, ROWS)
    error = y.std(axis=0, ddof=1) / np.sqrt(N)
    z = (y.mean(axis=0) - expected) / error
    # Rows are independent: their sum has the sd sqrt(rows). 5 sds: 6e-7 for each family.
    assert np.abs(z.sum(axis=0)).max() < 5 * np.sqrt(ROWS)


@pytest.mark.parametrize("name", ["cumulative", "acat"])
def test_categories_are_those_of_the_thresholds(name):
    data = GROUPS[["x"]]
    found = simulate("~ x", data, {"b": 1.0, "cutpoints": [-1.0, 0.0, 1.0]}, name, seed=1)
    assert found["y"].cat.categories.tolist() == [1, 2, 3, 4]
    assert found["y"].cat.ordered
    labels = {"b": 1.0, "cutpoints": {"low|mid": -1.0, "mid|high": 1.0}}
    found = simulate("grade ~ x", data, labels, name, seed=1)
    assert found["grade"].cat.categories.tolist() == ["low", "mid", "high"]
    numbers = data.assign(y=np.resize([1, 2, 3], 20))
    found = simulate("y ~ x", numbers, {"b": 1.0, "cutpoints": [-1.0, 1.0]}, name, seed=1)
    assert set(found["y"]) <= {1, 2, 3}
    assert found["y"].dtype == np.int64
    with pytest.raises(bm.FamilyError, match="needs to know the categories"):
        simulate("~ x", data, {"b": 1.0}, name)
    text = data.assign(y=np.resize(["low", "mid", "high"], 20))
    with pytest.raises(bm.DataError, match="categories have no order"):
        simulate("y ~ x", text, labels, name)


def test_categories_of_a_nominal_response_are_named_by_the_coefficients():
    params = {"b_mu_b": {"Intercept": 0.0, "x": 1.0}, "b_mu_c": {"Intercept": 0.0, "x": 0.0}}
    found = simulate("~ x", GROUPS, params, "categorical", seed=1)
    assert found["y"].cat.categories.tolist() == ["a", "b", "c"]
    assert not found["y"].cat.ordered


def test_thresholds_of_their_own_and_category_specific_effects():
    data = GROUPS.assign(item=np.resize(["p", "q"], 20))
    params = {"b": {"x": 0.5}, "cutpoints": {"p": [-9.0, 9.0], "q": [9.0, 10.0]}}
    found = simulate("thresholds(y, item) ~ x", data, params, "cumulative", seed=1)
    # Between -9 and 9 is nearly all of a logistic distribution: 1 - 2e-4.
    assert (found["y"][found["item"] == "p"] == 2).all()
    assert (found["y"][found["item"] == "q"] == 1).all()
    specific = {"b_cs": {"x": {"1|2": 0.1, "2|3": 0.2}}, "cutpoints": [-1.0, 1.0]}
    assert set(simulate("~ cs(x)", data, specific, "acat", seed=1)["y"]) <= {1, 2, 3}
    even = bm.families.cumulative(thresholds="equidistant")
    simulate("~ x", data, {"b": 0.0, "cutpoints": [-1.0, 0.0, 1.0]}, even, seed=1)
    with pytest.raises(bm.BayesmmError, match="equal steps"):
        simulate("~ x", data, {"b": 0.0, "cutpoints": [-1.0, 0.0, 2.0]}, even)


# --- group effects ---


def test_effects_have_the_covariance_that_was_asked_for():
    n = 4000
    found = simulate(SLOPES, GROUPS, PARAMS, seed=3, n=n)
    X = np.column_stack([np.ones(20), GROUPS["x"]])
    Z = np.zeros((20, 10))
    for j in range(5):
        rows = slice(4 * j, 4 * j + 4)
        Z[rows, 2 * j : 2 * j + 2] = X[rows]
    Sigma = np.array([[4.0, -0.6], [-0.6, 0.25]])
    V = Z @ np.kron(np.eye(5), Sigma) @ Z.T + 0.49 * np.eye(20)
    y = found["y"].to_numpy().reshape(n, 20)
    z = (y.mean(axis=0) - X @ [1.0, -0.5]) / np.sqrt(np.diag(V) / n)
    assert np.abs(z).max() < 5
    # The sampling variance of a covariance of normal numbers: (V_ii V_jj + V_ij^2) / n.
    error = np.sqrt((np.outer(np.diag(V), np.diag(V)) + V**2) / n)
    assert (np.abs(np.cov(y.T) - V) / error).max() < 5


def test_the_drawn_effects_are_the_truth_behind_one_data_set():
    found = simulate(SLOPES, GROUPS, PARAMS | {"sigma": 1e-9}, seed=4)
    effects = found.attrs["effects"]
    assert list(effects) == ["r_f"]
    assert list(effects["r_f"]) == list("abcde")
    r = pd.DataFrame(effects["r_f"]).T
    b = r.loc[found["f"]].to_numpy()
    mean = 1.0 + b[:, 0] + (-0.5 + b[:, 1]) * found["x"]
    np.testing.assert_allclose(found["y"], mean, atol=1e-7)
    assert isinstance(effects["r_f"]["a"]["x"], float)


def test_correlations_come_as_a_number_pairs_or_a_matrix():
    formula = "~ x + (x + z | f)"
    data = GROUPS.assign(z=np.cos(np.arange(20)))
    R = np.array([[1.0, 0.5, -0.2], [0.5, 1.0, 0.1], [-0.2, 0.1, 1.0]])
    params = PARAMS | {"sd_f": {"Intercept": 1.0, "x": 1.0, "z": 1.0}}
    pairs = {("Intercept", "x"): 0.5, "z, Intercept": -0.2, ("z", "x"): 0.1}
    named = pd.DataFrame(R, index=["Intercept", "x", "z"], columns=["Intercept", "x", "z"])
    made = [simulate(formula, data, params | {"cor_f": c}, seed=5)["y"] for c in (R, pairs, named)]
    assert made[0].equals(made[1])
    assert made[0].equals(made[2])
    shuffled = named.loc[["z", "x", "Intercept"], ["z", "x", "Intercept"]]
    assert made[0].equals(simulate(formula, data, params | {"cor_f": shuffled}, seed=5)["y"])
    impossible = {("Intercept", "x"): 0.9, ("Intercept", "z"): 0.9, ("x", "z"): -0.9}
    with pytest.raises(bm.BayesmmError, match="no effects have these correlations together"):
        simulate(formula, data, params | {"cor_f": impossible})
    # Effects that are perfectly correlated are possible.
    simulate(SLOPES, GROUPS, PARAMS | {"cor_f": 1.0}, seed=1)


def test_independent_blocks_have_no_correlation():
    formula, params = "~ x + (1 | f) + (0 + x | f)", {k: PARAMS[k] for k in ("b", "sd_f", "sigma")}
    simulate(formula, GROUPS, params, seed=1)
    with pytest.raises(bm.BayesmmError, match="have no correlation in this formula"):
        simulate(formula, GROUPS, PARAMS)
    formula = "~ x + (x | f) + (0 + z | f)"
    data = GROUPS.assign(z=np.cos(np.arange(20)))
    sds = {"sd_f": {"Intercept": 1.0, "x": 1.0, "z": 1.0}}
    simulate(formula, data, PARAMS | sds, seed=1)
    R = np.eye(3)
    R[0, 2] = R[2, 0] = 0.3
    with pytest.raises(bm.BayesmmError, match="'Intercept' and 'z' independent"):
        simulate(formula, data, PARAMS | sds | {"cor_f": R})


def test_other_parameters_have_predictors_and_groups():
    params = {
        "b": 0.0,
        "b_sigma": {"Intercept": 0.0, "x": 1.0},
        "sd_sigma_f": 0.0,
    }
    found = simulate(["~ 1", "sigma ~ x + (1 | f)"], GROUPS, params, seed=6, n=4000)
    y = found["y"].to_numpy().reshape(4000, 20)
    # log sigma = x; the relative error of a sd is 1 / sqrt(2 n).
    ratio = y.std(axis=0) / np.exp(GROUPS["x"].to_numpy())
    assert np.abs(ratio - 1).max() < 5 / np.sqrt(8000)


# --- the lecture's first figure ---

HERE = Path(__file__).parent
FROM_R = pd.DataFrame(
    json.loads((HERE.parent / "reference/data/simulate_seed.json").read_text())
).astype({"f": int})


def test_the_documentation_draws_the_numbers_of_r():
    page = (HERE.parents[1] / "docs/simulation.md").read_text()
    written = re.search(r"y=\[(.*?)\]", page, re.DOTALL)
    assert written is not None
    assert [float(x) for x in written[1].split(",") if x.strip()] == FROM_R["y"].tolist()
    low = FROM_R[FROM_R["y"] < -2]
    assert low["f"].tolist() == [3]


def test_data_like_those_of_r_come_from_the_same_parameters():
    params = {"b": {"Intercept": 0.0}, "sd_f": {"Intercept": 1.0}, "sigma": 1.0}
    n = 2000
    made = simulate("~ 1 + (1 | f)", FROM_R[["f"]], params, seed=101, n=n)
    assert made.columns.tolist() == ["simulation", "f", "y"]
    V = np.kron(np.eye(5), np.ones((5, 5))) + np.eye(25)
    # y' V^-1 y of y ~ N(0, V) is chi-squared with 25 degrees of freedom.
    y = made["y"].to_numpy().reshape(n, 25)
    own = np.einsum("si,ij,sj->s", y, np.linalg.inv(V), y)
    assert stats.kstest(own, stats.chi2(25).cdf).pvalue > 1e-4
    from_r = FROM_R["y"].to_numpy()
    r = from_r @ np.linalg.solve(V, from_r)
    assert stats.chi2(25).sf(r) > 0.01
    assert stats.chi2(25).cdf(r) > 0.01


# --- the left-hand side ---


def test_trials_bounds_and_errors_come_from_the_data():
    data = GROUPS.assign(n=np.arange(20), low=0.5, s=np.linspace(0.1, 2.0, 20), w=1.0)
    found = simulate("prop(y, n) ~ x", data, {"b": {"Intercept": 0, "x": 0}}, "binomial", seed=1)
    assert (found["y"] <= found["n"]).all()
    assert found["y"].dtype == np.int64
    found = simulate("prop(y, 7) ~ 1", data, {"b": 9.0}, "binomial", seed=1)
    assert found["y"].max() == 7
    found = simulate("truncated(y, low, 1) ~ 1", data, {"b": 0.0, "sigma": 1.0}, seed=1)
    assert found["y"].between(0.5, 1.0).all()
    found = simulate("se(y, s) ~ 1", data, {"b": 0.0}, seed=1, n=2000)
    ratio = found["y"].to_numpy().reshape(2000, 20).std(axis=0) / data["s"].to_numpy()
    assert np.abs(ratio - 1).max() < 5 / np.sqrt(4000)
    with pytest.raises(bm.BayesmmError, match="params has 'sigma'"):
        simulate("se(y, s) ~ 1", data, {"b": 0.0, "sigma": 1.0})
    simulate("weighted(y, w) ~ 1", data, {"b": 0.0, "sigma": 1.0}, seed=1)
    with pytest.raises(bm.DataError, match=r"Leave weighted\(\) out"):
        simulate("weighted(y, x + 3) ~ 1", data, {"b": 0.0, "sigma": 1.0})
    with pytest.raises(bm.DataError, match=r"Leave censored\(\) out"):
        simulate("censored(y, w) ~ 1", data, {"b": 0.0, "sigma": 1.0})


def test_totals_of_several_columns_come_from_the_data():
    data = GROUPS.assign(a=10, b=np.arange(20), c=0)
    params = {"b_mu_b": 0.0, "b_mu_c": 0.0}
    found = simulate("c(a, b, c) ~ 1", data, params, "multinomial", seed=1)
    assert (found[["a", "b", "c"]].sum(axis=1) == 10 + np.arange(20)).all()
    with pytest.raises(bm.DataError, match="has no column 'c'"):
        simulate("c(a, b, c) ~ 1", data.drop(columns="c"), params, "multinomial")
    shares = simulate("c(p, q) ~ 1", GROUPS, {"b_mu_q": 0.0, "phi": 3.0}, "dirichlet", seed=1)
    np.testing.assert_allclose(shares["p"] + shares["q"], 1.0)


def test_a_computed_response_is_undone():
    params = {"b": {"Intercept": 1.0, "x": 2.0}, "sigma": 0.5}
    plain = simulate("y ~ x", GROUPS, params, seed=1)["y"]
    for name, undo in (
        ("log", np.exp),
        ("log10", lambda v: 10**v),
        ("log1p", np.expm1),
        ("I", lambda v: v),
    ):
        found = simulate(f"{name}(y) ~ x", GROUPS, params, seed=1)["y"]
        np.testing.assert_allclose(found, undo(plain))
        bm.Model(f"{name}(y) ~ x", GROUPS.assign(y=found))
    with pytest.raises(bm.FormulaError, match="cannot be undone"):
        simulate("sqrt(y) ~ x", GROUPS, params)


def test_success_and_failure_keep_their_labels():
    two = GROUPS.assign(y=pd.Categorical(np.resize(["no", "yes"], 20), ["no", "yes"]))
    params = {"b": {"Intercept": 50.0, "x": 0.0}}
    found = simulate("y ~ x", two, params, "bernoulli", seed=1)
    assert (found["y"] == "yes").all()
    assert found["y"].dtype == two["y"].dtype
    found = simulate('y["no"] ~ x', two, params, "bernoulli", seed=1)
    assert (found["y"] == "no").all()
    found = simulate("y ~ x", GROUPS.assign(y=np.resize([True, False], 20)), params, "bernoulli")
    assert found["y"].tolist() == [True] * 20
    found = simulate('y["ill"] ~ x', GROUPS, params, "bernoulli")
    assert (found["y"] == "ill").all()
    found = simulate("y ~ x", GROUPS, params, "bernoulli")
    assert found["y"].tolist() == [1] * 20


# --- frames ---


def test_columns_rows_and_the_users_data_stay_as_they_are():
    data = GROUPS.assign(y=5.0, other=pd.Timestamp("2024-01-01"))[["other", "y", "f", "x"]]
    data.index = pd.Index(np.arange(100, 120), name="row")
    before = data.copy()
    found = simulate("y ~ x + (x | f)", data, PARAMS, seed=1)
    pd.testing.assert_frame_equal(data, before)
    assert found.columns.tolist() == data.columns.tolist()
    pd.testing.assert_frame_equal(found.drop(columns="y"), data.drop(columns="y"))
    assert found["y"].nunique() == 20
    several = simulate("y ~ x + (x | f)", data, PARAMS, seed=1, n=3)
    assert several["simulation"].tolist() == np.repeat([0, 1, 2], 20).tolist()
    assert "effects" not in several.attrs
    with pytest.raises(bm.DataError, match="'simulation'"):
        simulate("y ~ x", data.assign(simulation=1), {"b": 0, "sigma": 1}, n=2)


def test_polars_frames_are_as_good():
    from_polars = simulate(SLOPES, pl.from_pandas(GROUPS), PARAMS, seed=1)
    assert isinstance(from_polars, pd.DataFrame)
    np.testing.assert_array_equal(from_polars["y"], simulate(SLOPES, GROUPS, PARAMS, seed=1)["y"])


@pytest.mark.parametrize("n", [2, 5, 300])
def test_the_same_seed_gives_the_same_data_whatever_n_is(n):
    one = simulate(SLOPES, GROUPS, PARAMS, seed=8)["y"].to_numpy()
    several = simulate(SLOPES, GROUPS, PARAMS, seed=8, n=n)["y"].to_numpy().reshape(n, 20)
    np.testing.assert_allclose(several[0], one, rtol=1e-12)
    assert len(np.unique(several[:, 0])) == n
    fewer = simulate(SLOPES, GROUPS, PARAMS, seed=8, n=2)["y"].to_numpy().reshape(2, 20)
    np.testing.assert_allclose(several[1], fewer[1], rtol=1e-12)
    assert not np.allclose(simulate(SLOPES, GROUPS, PARAMS, seed=9)["y"], one)


def test_without_a_seed_the_fresh_one_is_recorded():
    found = simulate(SLOPES, GROUPS, PARAMS)
    again = simulate(SLOPES, GROUPS, PARAMS, seed=found.attrs["seed"])
    assert found["y"].equals(again["y"])


def test_functions_links_and_transforms_are_those_of_a_model():
    params = {"b": {"Intercept": 0.3, "half(x)": 0.0, "scale(x)": 0.0}}
    options = {"functions": {"half": lambda x: x**2 / 2}, "link": "probit", "seed": 1, "n": 4000}
    found = simulate("~ half(x) + scale(x)", GROUPS, params, "bernoulli", **options)
    # Phi(0.3) = 0.61791; 80,000 draws.
    assert abs(found["y"].mean() - 0.61791) < 5 * np.sqrt(0.25 / 80000)


def test_what_rounds_to_the_limit_is_the_number_beside_it():
    params = {"b": {"Intercept": 0.0}, "phi": 0.1}
    found = simulate("~ 1", GROUPS, params, "beta", seed=1, n=50)["y"]
    assert found.max() == np.nextafter(1.0, 0.0)
    assert found.min() > 0


# --- refusals ---


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sigma": -1.0}, r"params\['sigma'\] is above 0, and -1 is not"),
        ({"sigma": 0.0}, r"params\['sigma'\] is above 0"),
        ({"sigma": "1"}, r"params\['sigma'\]='1': write"),
        ({"sigma": True}, r"params\['sigma'\]=True: write"),
        ({"sigma": np.inf}, "finite"),
        ({"sigma": {"a": 1.0}}, r"params\['sigma'\] is one number"),
        ({"sigma": [1.0, 2.0]}, r"params\['sigma'\] is one number"),
        ({"sd_f": {"Intercept": -1.0, "x": 1.0}}, "an sd is 0 or more"),
        ({"sd_f": [1.0, 2.0]}, "Say which is which. Write\n.*'Intercept': 1.0, 'x': 1.0"),
        ({"sd_f": 1.0}, "It has 2 numbers"),
        ({"sd_f": {"Intercept": 1.0, "X": 1.0}}, "has no 'X'. Did you mean 'x'"),
        ({"cor_f": 1.2}, "from -1 to 1, and 1.2 is not"),
        ({"cor_f": [[1.0, 1.5], [1.5, 1.0]]}, "from -1 to 1"),
        ({"cor_f": [[1.0, 0.5], [0.4, 1.0]]}, "symmetric"),
        ({"cor_f": [[4.0, 0.5], [0.5, 1.0]]}, "1 on its diagonal.*'sd_f'"),
        ({"cor_f": np.eye(3)}, r"shape \(3, 3\).*2 by 2"),
        ({"sigme": 1.0}, "'sigme', which .* Did you mean 'sigma'"),
        ({"Intercept": 1.0}, "predictors as given, 'b'"),
        ({"r_f": 1.0}, "Group effects are drawn"),
        ({"sd_g": 1.0}, "'sd_g', which"),
    ],
)
def test_bad_parameters_are_refused_by_name(changed, message):
    with pytest.raises(bm.BayesmmError, match=re.compile(message, re.DOTALL)):
        simulate(SLOPES, GROUPS, PARAMS | changed)


@pytest.mark.parametrize(
    ("family", "params", "message"),
    [
        ("zero_inflated_poisson", {"b": 0.0, "zi": 1.2}, "'zi'.* between 0 and 1"),
        ("cumulative", {"cutpoints": [1.0, 0.0]}, "increases from one to the next"),
        ("asymmetric_laplace", {"b": 0.0, "sigma": 1.0, "quantile": 0.9}, "holds it at 0.5"),
        ("poisson", {"b": 200.0}, "simulated responses are no non-negative whole numbers.*mu: log"),
        ("poisson", [1.0], "params is a list"),
    ],
)
def test_bad_parameters_of_families_are_refused(family, params, message):
    with pytest.raises(bm.BayesmmError, match=message):
        simulate("~ 1", GROUPS, params, family)


def test_a_parameter_with_a_formula_is_not_given_as_a_number():
    with pytest.raises(bm.BayesmmError, match="formula of its own: write 'b_sigma'"):
        simulate(["~ 1", "sigma ~ x"], GROUPS, {"b": 0.0, "sigma": 1.0})


def test_all_that_is_missing_is_said_at_once_with_what_to_paste():
    partial = {"b": {"x": 7.0}, "sigma": 3.0}
    with pytest.raises(bm.BayesmmError) as caught:
        simulate(SLOPES, GROUPS, partial)
    assert "lacks 'b[Intercept]', 'sd_f', 'cor_f'." in str(caught.value)
    assert template(SLOPES, GROUPS, "gaussian")["cor_f"] == {"Intercept, x": 0.0}
    found = {}
    exec(str(caught.value).split("\n", 1)[1], found)
    assert found["params"]["b"] == {"Intercept": 0.0, "x": 7.0}
    assert found["params"]["sigma"] == 3.0
    simulate(SLOPES, GROUPS, found["params"])


@pytest.mark.parametrize(
    ("formula", "data", "options", "error", "message"),
    [
        ("~ z", GROUPS, {}, bm.DataError, "'z'"),
        ("~ x", GROUPS.assign(x=np.nan), {}, bm.DataError, "20 of 20 rows have a missing .* 'x'"),
        ("~ x", GROUPS.head(1), {}, bm.DataError, "data has 1 rows"),
        ("~ x", [1, 2], {}, bm.DataError, "list"),
        ("~ x", GROUPS, {"n": 0}, bm.SamplerError, "n=0"),
        ("~ x", GROUPS, {"seed": -1}, bm.SamplerError, "seed=-1"),
        ("~ x", GROUPS, {"family": "normale"}, bm.FamilyError, "normale"),
        ("~ x", GROUPS, {"family": "binomial"}, bm.FamilyError, "prop"),
        ("y ~ y", GROUPS, {}, bm.FormulaError, "both sides"),
        ("~ y", GROUPS.assign(y=1), {}, bm.FormulaError, "no response, which is called 'y'"),
        ("x", GROUPS, {}, bm.FormulaError, "~"),
    ],
)
def test_what_no_model_takes_is_refused(formula, data, options, error, message):
    with pytest.raises(error, match=message):
        simulate(formula, data, {"b": {"Intercept": 0.0, "x": 0.0}, "sigma": 1.0}, **options)


@pytest.mark.parametrize(
    ("response", "bounds"),
    [("truncated(y, low)", (3.0, np.inf)), ("truncated(y, upper=high)", (-np.inf, -4.0))],
    ids=["above", "below"],
)
def test_truncation_at_one_side_far_out_has_the_right_distribution(response, bounds):
    """Where next to no draw lies within the bound, responses come by bisection."""
    data = pd.DataFrame({"low": np.full(4000, bounds[0]), "high": bounds[1]})
    found = simulate(f"{response} ~ 1", data, {"b": 0.0, "sigma": 1.0}, seed=1)
    assert stats.kstest(found["y"], stats.truncnorm(*bounds).cdf).pvalue > 1e-4


def test_the_drawn_effects_are_shared_by_copies_of_the_data():
    data = pd.DataFrame({"g": np.repeat(np.arange(3), 2)})
    made = simulate("~ 1 + (1 | g)", data, {"b": 0.0, "sd_g": 1.0, "sigma": 1.0}, seed=1)
    assert made.head(2).attrs["effects"] is made.attrs["effects"]


def test_pairs_that_say_one_correlation_twice_are_refused():
    data = pd.DataFrame({"g": np.repeat(np.arange(3), 2), "x": np.arange(6.0)})
    params = {
        "b": {"Intercept": 0.0, "x": 0.0},
        "sd_g": {"Intercept": 1.0, "x": 1.0},
        "cor_g": {("Intercept", "x"): 0.2, ("x", "Intercept"): 0.5},
        "sigma": 1.0,
    }
    with pytest.raises(bm.BayesmmError, match="says a label twice"):
        simulate("~ x + (x | g)", data, params)
