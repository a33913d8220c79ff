"""The pilot fit: it ends at the mode, or says why not; and nothing depends on it but speed."""

from dataclasses import dataclass, field, replace
from functools import partial

import arviz_stats
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.stats as st
from nearby import nearby
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from transform_cases import float64, quick_jit

import bayesmm as bm
from bayesmm.engines import pilot
from bayesmm.engines.pilot import settle


@pytest.fixture(autouse=True)
def _float64():
    with float64():
        yield


def table(rows=96):
    """Rows of 12 groups g in 3 of a, 8 crossed with them (h); responses with effects of g."""
    rng = np.random.default_rng(21)
    g, x = rng.permutation(np.resize(np.arange(12), rows)), rng.normal(1.0, 1.0, rows)
    eta = 0.6 + 0.4 * x + rng.normal(0.0, 0.7, 12)[g] + rng.normal(0.0, 0.5, 3)[g // 4]
    return pd.DataFrame(
        {
            "x": x,
            "w": rng.normal(size=rows),
            "g": g,
            "a": g // 4,
            "h": rng.integers(0, 8, rows),
            "part": rng.integers(0, 3, rows),
            "row": np.arange(rows),
            "y": eta + 0.3 * (x - 1.0) * rng.normal(0.0, 1.0, 12)[g] + rng.normal(size=rows),
            "count": rng.poisson(np.exp(eta)),
            "excess": rng.poisson(np.exp(eta)) * (rng.uniform(size=rows) < 0.7),
            "yes": (rng.logistic(size=rows) < eta).astype(int),
            "grade": np.digitize(eta + rng.logistic(size=rows), [-0.5, 1.0, 2.5]) + 1,
        }
    )


def settled(formula, data, family="gaussian", **arguments):
    prepared = bm.Model(formula, data, family, **arguments)._prepared
    return settle(prepared.program(), prepared.inputs)


def gradient(found, x):
    """The gradient of the density with effects at their means; compiled by the pilot already."""
    steps = pilot._Steps.of(replace(found.program, nearly_normal=False))
    return np.asarray(steps.run("density", x, found.inputs)[1])


# --- the mode ---


@partial(quick_jit, static_argnums=0)
def gradient_of_effects(program, inputs):
    def density(z):
        return program.log_density({"x": jnp.zeros(program.size), "z": z}, inputs)

    return jax.grad(density)(jnp.zeros(inputs.plan.size))


def assert_effects_are_at_their_mode(found):
    """z = 0 is, in posterior sds, where the effects have their mode given the parameters."""
    if found.program.parameterization == "whitened" and found.inputs.plan.size:
        slope = np.asarray(gradient_of_effects(found.program, found.inputs))
        # It was linearised within this of where it ended.
        assert np.sqrt((slope**2).mean()) < pilot.CONVERGED


MODELS = {
    "slopes": ("y ~ x + (1 + x | g)", "gaussian", "marginal"),
    "poisson, nested": ("count ~ x + (1 | a/g)", "poisson", "whitened"),
    "zi": (["excess ~ x + (1 | g)", "zi ~ w"], "zero_inflated_poisson", "whitened"),
    "cumulative, crossed": ("grade ~ x + (1 | g) + (1 | h)", "cumulative", "whitened"),
    "two numbers": ("y ~ x + (1 | g)", "student", "whitened"),
    "skewness": ("y ~ x + (1 | g)", "skew_normal", "whitened"),
    "no group": ("count ~ x + w", "poisson", "whitened"),
}


@pytest.mark.parametrize("name", MODELS)
def test_coordinates_are_about_a_mode_of_unit_curvature(name):
    formula, family, parameterization = MODELS[name]
    found = settled(formula, table(), family)
    assert found.note == ""
    assert found.transformed
    assert found.program.parameterization == parameterization
    size = found.program.size
    assert_effects_are_at_their_mode(found)
    # BFGS ends where no element is above 1e-2 in units of the prior, or somewhat narrower.
    assert np.linalg.norm(gradient(found, np.zeros(size))) < 0.02 * np.sqrt(size)
    step = 1e-3
    curvature = -np.stack(
        [
            (gradient(found, step * d) - gradient(found, -step * d)) / (2 * step)
            for d in np.eye(size)
        ]
    )
    # The pilot's differences are over 1e-2 of the sds that BFGS has found.
    np.testing.assert_allclose(curvature, np.eye(size), atol=0.03)


@pytest.mark.parametrize(
    ("second", "nearly"),
    [
        (st.norm(), True),
        (st.t(30), True),
        (st.t(1), False),
        (st.loggamma(20.0), True),
        (st.loggamma(0.5), False),
    ],
)
def test_a_density_that_is_not_nearly_normal_along_one_axis_is_told(second, nearly):
    """Of two independent variables with unit curvature at their modes, turned by 30 degrees."""
    top = minimize(lambda v: -second.logpdf(v[0]), [0.0]).x[0]
    h = 1e-3
    bend = np.diff(second.logpdf([top - h, top, top + h]), 2).item() / h**2
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])

    def density(x):
        a, b = turn.T @ x
        return st.norm.logpdf(a) + second.logpdf(b), np.zeros(2)

    begun = pilot.TransformedInputs(None, None, None, pilot.Coordinates(np.zeros(2), np.eye(2)), {})
    scale = turn @ np.diag([1.0, 1.0 / np.sqrt(-bend)])
    around = replace(begun, coordinates=pilot.Coordinates(turn @ [0.0, top], scale))
    assert pilot._is_nearly_normal(density, begun, around) is nearly


def test_nuts_is_tuned_to_less_where_the_posterior_is_nearly_normal():
    """Many counts say much of their mean; zero inflation without zeros is far from normal."""
    assert settled("count ~ x", table(), "poisson").program.target_accept == 0.55
    rare = table().assign(excess=lambda d: d["count"])
    formula, family, _ = MODELS["zi"]
    assert settled(formula, rare, family).program.target_accept == 0.8


def test_mode_of_a_gaussian_model_is_that_of_another_optimiser():
    """And the covariance there is the inverse of the curvature."""
    data = table()
    priors = {
        "Intercept": dist.Normal(1.0, 2.0),
        "b": dist.Normal(0.0, 1.5),
        "sd": dist.HalfNormal(1.2),
        "sigma": dist.HalfNormal(2.5),
    }
    found = settled("y ~ x + (1 | g)", data, priors=priors)
    assert [name for name, _ in found.program.sites] == ["Intercept", "b", "sd_g", "sigma"]
    x, y = (data["x"] - data["x"].mean()).to_numpy(), data["y"].to_numpy()
    same = (data["g"].to_numpy()[:, None] == data["g"].to_numpy()).astype(float)

    def negative(theta):
        intercept, b, log_sd, log_sigma = theta
        sd, sigma = np.exp([log_sd, log_sigma])
        L = cho_factor(sd**2 * same + sigma**2 * np.eye(len(x)))
        r = y - intercept - b * x
        return -(
            -0.5 * r @ cho_solve(L, r)
            - np.log(np.diag(L[0])).sum()
            + st.norm.logpdf(intercept, 1.0, 2.0)
            + st.norm.logpdf(b, 0.0, 1.5)
            + st.halfnorm.logpdf(sd, scale=1.2)
            + st.halfnorm.logpdf(sigma, scale=2.5)
            + log_sd
            + log_sigma
        )

    centre, scale = found.inputs.coordinates.centre, found.inputs.coordinates.scale
    # In the pilot's coordinates the distance from its mode is in posterior sds.
    best = minimize(
        lambda t: negative(centre + scale @ t),
        np.full(4, 1.0),
        method="Nelder-Mead",
        options={"xatol": 1e-5, "fatol": 1e-10, "maxiter": 4000},
    )
    assert best.success
    assert np.linalg.norm(best.x) < 0.02 * np.sqrt(4)
    step = 1e-2

    def second(i, j):
        d, e = step * np.eye(4)[i], step * np.eye(4)[j]
        at = [negative(centre + scale @ (p * d + q * e)) for p in (1, -1) for q in (1, -1)]
        return (at[0] - at[1] - at[2] + at[3]) / (4 * step**2)

    curvature = [[second(i, j) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(curvature, np.eye(4), atol=5e-3)


# --- hard data ---


def overdispersed(seed, sd):
    """Counts from many zeros to thousands, each row with an effect of its own."""
    rng = np.random.default_rng(seed)
    data = table()
    count = rng.poisson(np.exp(np.clip(rng.normal(1.0, sd, len(data)), None, np.log(5000.0))))
    count[:2] = 5000, 0
    return data.assign(count=count)


@pytest.mark.parametrize(("seed", "sd"), [(1, 1.5), (2, 3.0), (3, 4.0)])
def test_large_counts_with_an_effect_for_each_row_settle(seed, sd):
    data = overdispersed(seed, sd)
    assert data["count"].max() == 5000
    assert (data["count"] == 0).mean() > 0.1
    found = settled("count ~ x + (1 | row) + (1 | g)", data, "poisson")
    assert found.note == ""
    assert np.linalg.norm(gradient(found, np.zeros(found.program.size))) < 0.1


@pytest.mark.parametrize("successes", [0, 1])
def test_groups_without_both_outcomes_settle(successes):
    data = table()
    data.loc[data["g"] < 4, "yes"] = successes
    found = settled("yes ~ x + (1 | g)", data, "bernoulli")
    assert found.note == ""
    assert np.linalg.norm(gradient(found, np.zeros(found.program.size))) < 0.1


# --- failure ---


def test_a_pilot_that_does_not_converge_leaves_the_model_as_it_is(monkeypatch):
    monkeypatch.setattr(pilot, "ROUNDS", 0)
    model = bm.Model("count ~ x + (1 | a/g)", table(), "poisson")
    program, inputs = model._prepared.program(), model._prepared.inputs
    found = settle(program, inputs)
    assert "did not converge in 0 rounds" in found.note
    assert found.program == program
    assert found.inputs is inputs
    assert not found.transformed
    assert found.numbers_per_draw == 0
    fit = nearby(model, parameterization="auto")
    assert fit.posterior.attrs["parameterization"] == "noncentered"


@pytest.mark.parametrize(
    ("step", "note"),
    [
        ("linearise", "without a finite curvature"),
        ("linear", "did not stay finite"),
    ],
)
def test_a_pilot_that_meets_nan_leaves_the_model_as_it_is(step, note, monkeypatch):
    run = pilot._Steps.run

    def broken(self, name, *arguments):
        found = run(self, name, *arguments)
        return jax.tree.map(lambda leaf: leaf * np.nan, found) if name == step else found

    monkeypatch.setattr(pilot._Steps, "run", broken)
    found = settled("count ~ x + (1 | a/g)", table(), "poisson")
    assert note in found.note
    assert not found.transformed


# --- the posterior ---


@dataclass(frozen=True)
class Pair:
    formula: str
    family: str
    priors: dict = field(default_factory=dict)


PAIRS = {
    "gaussian": Pair("y ~ x + (1 + x | g)", "gaussian"),
    "poisson": Pair("count ~ x + (1 | g/part)", "poisson", {"sd": dist.HalfNormal(1.0)}),
}


@pytest.mark.parametrize("name", PAIRS)
def test_posterior_does_not_depend_on_the_coordinates(name):
    pair = PAIRS[name]
    model = bm.Model(pair.formula, table(), pair.family, priors=pair.priors)
    settings = {"seed": 3, "draws": 1000, "warmup": 400, "chains": 4, "engine": bm.NUTS()}
    kept = {"log_likelihood": False, "progress": False, **settings}
    one = model.fit(**kept).posterior
    other = model.fit(parameterization="noncentered", **kept).posterior
    assert one.attrs["parameterization"] != other.attrs["parameterization"]
    assert set(one.data_vars) == set(other.data_vars)
    compared = 0
    for variable in one.data_vars:
        pairs = [posterior[variable].to_numpy().reshape(4, 1000, -1) for posterior in (one, other)]
        for a, b in zip(*(np.moveaxis(values, -1, 0) for values in pairs), strict=True):
            if a.std() < 1e-12:  # the diagonal of correlations
                continue
            for kind in ("mean", "sd"):
                error = np.hypot(*(arviz_stats.mcse(values, method=kind) for values in (a, b)))
                difference = getattr(a, kind.replace("sd", "std"))() - (
                    getattr(b, kind.replace("sd", "std"))()
                )
                assert abs(difference) < 4 * error, (variable, kind)
                compared += 1
    assert compared > 30


def test_the_search_comes_back_from_where_it_is_too_rough_to_climb():
    """One long step to a correlation of 1 - 1e-12, where rounding hides the slope, ended it there.

    It happened to 8 of these 60 data sets. The mode of the correlation is found from anywhere, so
    none may end far out.
    """
    data = bm.datasets.load("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    priors = {
        "Intercept": dist.Normal(300, 40),
        "b[Days]": dist.Normal(10, 5),
        "sigma": dist.LogNormal(3.2, 0.3),
        "sd_Subject[Intercept]": dist.LogNormal(3.2, 0.4),
        "sd_Subject[Days]": dist.LogNormal(1.7, 0.4),
        "cor_Subject": bm.LKJ(2),
    }
    made = bm.Model(formula, data, priors=priors).prior_predictive(draws=60, seed=1)
    for response in made["prior_predictive"]["Reaction"].to_numpy()[0]:
        found = settled(formula, data.assign(Reaction=response), priors=priors)
        assert found.note == ""
        sites = [name for name, shape in found.program.sites for _ in range(int(np.prod(shape)))]
        u = np.asarray(found.inputs.coordinates.centre)[sites.index("L_Subject")]
        assert abs(np.tanh(u)) < 0.9999
