"""Gaussian models without their group effects against the multivariate normal of all rows.

`MODELS` holds what a model can have; each joins the tests of densities by being in the table.
"""

from dataclasses import dataclass, field
from functools import partial

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st
from transform_cases import (
    EPS,
    by_factor,
    covariance,
    float64,
    indicators,
    quick_jit,
    table,
    transformed,
)

import bayesmm as bm
from bayesmm.families import get
from bayesmm.model import Marginal, is_gaussian

#: Log densities of some hundred agree to this: rounding, and what two sums of squares cancel.
RTOL = 1e-8


@pytest.fixture(autouse=True)
def _float64():
    with float64():
        yield


@dataclass(frozen=True)
class Given:
    """A model: what `bm.Model` takes, and where its coordinates are centred."""

    formula: str
    family: object = "gaussian"
    centre: dict = field(default_factory=dict)
    crossed: bool = False


MODELS = {
    "intercepts": Given("y ~ x + (1 | g)"),
    "slopes": Given("y ~ x + (1 + x | g)"),
    "independent slopes": Given("y ~ x + (1 + x || g)"),
    "two blocks": Given("y ~ x + (1 + x | g) + (0 + w | g)"),
    "q=3": Given("y ~ x + w + (1 + x + w | g)"),
    "q=7": Given("y ~ x + (1 + x + w + x:w + I(x**2) + I(w**2) + I(x**3) | h)"),
    "nested": Given("y ~ x + (1 | a/b)"),
    "crossed": Given("y ~ x + (1 | g) + (1 | h)", crossed=True),
    "crossed, nested, slopes": Given("y ~ f + (1 + x | a/b) + (1 + w | g)", crossed=True),
    "no group": Given("y ~ x + f"),
    "nothing but an intercept": Given("y ~ 1"),
    "no intercept": Given("y ~ 0 + x + (1 | g)"),
    "no coefficients": Given("y ~ 0 + (1 + x | g)"),
    "offset": Given("y ~ x + offset(w) + (1 | g)"),
    "weights": Given("weighted(y, weight) ~ x + (1 + x | g)"),
    "known errors": Given("se(y, s) ~ x + (1 | g)"),
    "known errors, weights": Given(
        "weighted(se(y, s), weight) ~ x + (1 | g) + (1 | h)", crossed=True
    ),
    "lognormal": Given("positive ~ x + (1 + x | g)", "lognormal"),
    "lognormal, weights": Given("weighted(positive, weight) ~ x + (1 | g)", "lognormal"),
    "fixed sigma": Given("y ~ x + (1 | g)", get("gaussian")(sigma=1.7)),
    "predictor far from 0": Given("y ~ x10000 + (1 + x10000 | g)"),
}


def log_normal(r, V):
    """log N(r; 0, V) by Cholesky in extended precision, which V of condition 1e9 needs."""
    V, r = np.array(V, dtype=np.longdouble), np.array(r, dtype=np.longdouble)
    total = np.longdouble(0.0)
    for k in range(len(V)):
        total -= 0.5 * (np.log(2 * np.pi * V[k, k]) + r[k] ** 2 / V[k, k])
        slope = V[k + 1 :, k] / V[k, k]
        r[k + 1 :] -= slope * r[k]
        V[k + 1 :, k + 1 :] -= slope[:, None] * V[k, k + 1 :]
    return float(total)


def test_normal_density_in_extended_precision():
    root = np.random.default_rng(0).normal(size=(9, 9))
    r, V = root[0] + 1.0, root @ root.T + np.eye(9)
    assert log_normal(r, V) == pytest.approx(st.multivariate_normal.logpdf(r, cov=V), rel=1e-12)


@partial(quick_jit, static_argnums=(0, 1))
def evaluate(made, program, x, unconstrained, inputs):
    """The marginal log density; the plain program's, and what it keeps, without effects."""
    found = program.summarise(unconstrained, inputs.model, jax.random.key(0))
    return (
        made.log_density({"x": x}, inputs),
        program.log_density(unconstrained, inputs.model),
        found.quantities,
        found.log_likelihood,
        found.log_prior,
    )


def place(case, x):
    """The position of the plain program where x is, with all effects 0."""
    coordinates = case.inputs.coordinates
    flat = coordinates.centre + coordinates.scale @ x
    position, start = {}, 0
    for name, shape in case.made.sites:
        stop = start + int(np.prod(shape))
        position[name] = flat[start:stop].reshape(shape)
        start = stop
    for factor in case.factors:
        for member in factor.members:
            shape = (factor.levels, len(member.names.effects))
            position[member.names.variable("z")] = np.zeros(shape)
    return position


def dense(case, quantities):
    """The normal of the rows that count: residuals, Z, Sigma, and variances of the rows.

    Also the constant by which the rows' log-likelihoods differ from a normal with these variances.
    """
    design = case.design
    rows = design.predictors[0]
    weights = np.ones(design.rows) if design.weights is None else design.weights
    y, constant = np.asarray(design.y, dtype=float), 0.0
    if case.program.family.name == "lognormal":
        y = np.log(y)
        constant -= weights @ y
    b = np.asarray(quantities.get("b", np.zeros(0)))
    fixed = dict(case.program.family.fixed)
    sigma = design.data.get("se", quantities.get("sigma", fixed.get("sigma")))
    noise = np.broadcast_to(np.asarray(sigma), y.shape) ** 2
    counted = weights > 0
    w = weights[counted]
    residual = (y - rows.X @ b - rows.offset)[counted]
    noise = noise[counted]
    # w log N(y; mu, s^2) is log N(y; mu, s^2 / w) and a constant.
    constant += 0.5 * (np.log(2 * np.pi * noise / w) - w * np.log(2 * np.pi * noise)).sum()
    Z = indicators(case)[0, counted] if case.factors else np.zeros((len(w), 0))
    return residual, Z, covariance(case, quantities), noise / w, constant


def expected_density(case, plain, quantities, log_likelihood):
    """The log prior in the coordinates of x, and log p(y | parameters)."""
    log_scale = np.log(np.diag(case.inputs.coordinates.scale)).sum()
    # Effects of 0 have this density, whatever the parameters.
    log_effects = -0.5 * case.inputs.plan.size * np.log(2 * np.pi)
    log_prior = float(plain) - np.sum(log_likelihood) - log_effects
    residual, Z, Sigma, noise, constant = dense(case, quantities)
    V = Z @ Sigma @ Z.T + np.diag(noise)
    return log_prior + log_scale + log_normal(residual, V) + constant


@pytest.mark.parametrize("name", MODELS)
def test_density_is_that_of_all_rows_as_one_normal(name, evidence):
    given, data = MODELS[name], table()
    case = transformed(
        given.formula, data, given.family, kind=Marginal, seed=1, centre=given.centre
    )
    assert is_gaussian(case.program, case.design)
    assert bool(case.inputs.plan.dense) == given.crossed
    rng = np.random.default_rng(2)
    densities, expected = [], []
    for _ in range(3):
        x = rng.normal(size=case.made.size)
        values = evaluate(case.made, case.program, x, place(case, x), case.inputs)
        found, *rest, _ = jax.tree.map(np.asarray, values)
        densities.append(float(found))
        expected.append(expected_density(case, *rest))
    assert densities == pytest.approx(expected, rel=RTOL)
    evidence("marginal", name, densities, expected, formula=given.formula, bound=RTOL)


def test_rows_of_weight_zero_do_not_count():
    """Whatever their response."""
    data = table()
    formula = "weighted(positive, weight) ~ x + (1 | g)"
    given = {"formula": formula, "family": "lognormal", "kind": Marginal, "seed": 3}
    data.loc[7, "positive"] = 5.0
    one = transformed(data=data, **given)
    x = np.random.default_rng(4).normal(size=one.made.size)
    density = quick_jit(jax.value_and_grad(one.made.profile))
    want = density(x, one.inputs)
    data.loc[7, "positive"] = 1e-300
    other = transformed(data=data, **given)
    assert float(density(x, other.inputs)[0]) == pytest.approx(float(want[0]), rel=RTOL)
    np.testing.assert_allclose(density(x, other.inputs)[1], want[1], rtol=RTOL)


def test_response_far_from_zero():
    """With y and its intercept moved by 1e6 nothing changes."""
    data = table()
    # Numbers that are moved by 1e6 without rounding.
    data["y"] = np.round(data["y"] * 2.0**20) / 2.0**20
    far = data.assign(y=data["y"] + 1e6)

    def made(data, location):
        priors = {
            "Intercept": dist.Normal(location, 3.0),
            "b": dist.Normal(0.0, 1.0),
            "sd": dist.HalfNormal(2.0),
            "sigma": dist.HalfNormal(2.0),
        }
        formula, centre = "y ~ x + (1 + x | g) + (1 | h)", {"Intercept": location}
        return transformed(formula, data, kind=Marginal, seed=5, centre=centre, priors=priors)

    near, moved = made(data, 0.0), made(far, 1e6)
    density = quick_jit(jax.value_and_grad(near.made.profile))
    rng = np.random.default_rng(6)
    for _ in range(3):
        x = rng.normal(size=near.made.size)
        one, other = density(x, near.inputs), density(x, moved.inputs)
        # The intercept is rounded to 1e6 EPS, and so is every residual.
        assert float(other[0]) == pytest.approx(float(one[0]), rel=RTOL)
        np.testing.assert_allclose(other[1], one[1], rtol=1e-7, atol=1e-7)


# --- when a model is Gaussian ---


NOT_GAUSSIAN = {
    "formula of sigma": (["y ~ x + (1 | g)", "sigma ~ x"], "gaussian"),
    "error on top of sigma": ("se(y, s, sigma=True) ~ x + (1 | g)", "gaussian"),
    "error on top of a fixed sigma": (
        "se(y, s, sigma=True) ~ x + (1 | g)",
        get("gaussian")(sigma=1.0),
    ),
    "censored": ("censored(y, yes) ~ x + (1 | g)", "gaussian"),
    "truncated": ("truncated(y, -9, 9) ~ x + (1 | g)", "gaussian"),
    "log link": ("positive ~ x + (1 | g)", get("gaussian")(link="log")),
    "student": ("y ~ x + (1 | g)", "student"),
    "gamma": ("positive ~ x + (1 | g)", "gamma"),
    "poisson": ("count ~ x + (1 | g)", "poisson"),
}


@pytest.mark.parametrize("name", NOT_GAUSSIAN)
def test_what_is_not_gaussian(name):
    formula, family = NOT_GAUSSIAN[name]
    prepared = bm.Model(formula, table(), family)._prepared
    assert not is_gaussian(prepared.program(), prepared.inputs.design)


# --- draws of the effects ---


@pytest.mark.parametrize("name", ["nested", "crossed, nested, slopes", "weights"])
def test_draws_of_effects_have_their_exact_distribution(name, evidence):
    given, draws = MODELS[name], 4000
    case = transformed(given.formula, table(), given.family, kind=Marginal, seed=7)
    x = np.random.default_rng(8).normal(size=case.made.size)

    @quick_jit
    def drawn(keys, x, inputs):
        return jax.lax.map(
            lambda key: case.made.summarise({"x": x}, inputs, key), keys, batch_size=50
        )

    found = jax.tree.map(
        np.asarray, drawn(jax.random.split(jax.random.key(9), draws), x, case.inputs)
    )
    effects = by_factor(case, found.quantities)
    quantities = {name: value[0] for name, value in found.quantities.items()}
    residual, Z, Sigma, noise, _ = dense(case, quantities)
    precision = np.linalg.inv(Sigma) + Z.T @ (Z / noise[:, None])
    mean = np.linalg.solve(precision, Z.T @ (residual / noise))
    # Standard normal, independent of each other: upper' = C' of precision = C C'.
    standard = (effects - mean) @ np.linalg.cholesky(precision)
    errors = np.sqrt(draws) * standard.mean(axis=0)
    assert np.abs(errors).max() < 5.0
    K = len(mean)
    covariances = np.sqrt(draws) * (standard.T @ standard / draws - np.eye(K))
    covariances /= np.sqrt(1.0 + np.eye(K))
    assert np.abs(covariances).max() < 5.0
    worst = max(np.abs(errors).max(), np.abs(covariances).max())
    row = f"effects given the parameters, {name}"
    evidence("draws", row, numbers=K + K * (K + 1) // 2, z=worst, bound=5)
    _, _, _, _, log_prior = evaluate(case.made, case.program, x, place(case, x), case.inputs)
    assert set(found.log_prior) == set(log_prior)
    for variable, value in log_prior.items():
        assert float(found.log_prior[variable][0]) == pytest.approx(float(value), rel=RTOL)
    # The rows' log-likelihood is that of these effects.
    design = case.design
    rows = design.predictors[0]
    counted = design.weights is None or design.weights > 0
    location = rows.X @ quantities["b"] + indicators(case)[0] @ effects[-1]
    want = st.norm.logpdf(design.y, location, quantities["sigma"])
    want = want if design.weights is None else np.where(counted, design.weights * want, 0.0)
    np.testing.assert_allclose(found.log_likelihood[-1], want, rtol=1e-9, atol=1e3 * EPS)
