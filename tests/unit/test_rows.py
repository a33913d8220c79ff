"""Rows put together: the same function of the parameters, up to a constant."""

import jax
import numpy as np
import pandas as pd
import pytest

import bayesmm as bm
from bayesmm.model import aggregate, log_likelihood


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    n = 2000
    g, h, t = rng.integers(0, 12, n), rng.integers(0, 5, n), rng.integers(0, 2, n)
    eta = -0.3 + 0.8 * t + rng.normal(size=12)[g]
    return pd.DataFrame(
        {
            "yes": (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int),
            "count": rng.poisson(np.exp(eta)),
            "rating": np.clip(np.round(eta + rng.normal(size=n)), -1, 1).astype(int) + 2,
            "of": rng.integers(1, 3, n),
            "w": rng.integers(0, 3, n).astype(float),
            "fraction": rng.choice([0.1, 0.7, 1.234], n),
            "status": rng.choice(["none", "left", "right"], n, p=[0.6, 0.2, 0.2]),
            "t": t,
            "x": rng.normal(size=n),
            "g": pd.Categorical(g),
            "h": pd.Categorical(h),
        }
    ).assign(few=lambda d: np.minimum(d["yes"] * 2, d["of"]))


MODELS = {
    "bernoulli": ("yes ~ t + (1 + t | g) + (1 | h)", "bernoulli"),
    "poisson": ("count ~ t + (1 | g) + offset(log(of))", "poisson"),
    "geometric": ("count ~ t + (1 | g)", "geometric"),
    "binomial": ("prop(few, of) ~ t + (1 | g)", "binomial"),
    "not linear": (["count ~ t + (1 | g)", "shape ~ t"], "negbinomial"),
    "zeros": (["count ~ t + (1 | g)", "zi ~ (1 | h)"], "zero_inflated_poisson"),
    "ordinal": ("rating ~ t + (1 | g)", "cumulative"),
    "weights": ("weighted(yes, w) ~ t + (1 | g)", "bernoulli"),
    "fractions": ("weighted(rating, fraction) ~ t + (1 | g)", "cumulative"),
    "censored": ("censored(count, status) ~ t + (1 | g)", "poisson"),
    "weights, not linear": ("weighted(count, w) ~ t + (1 | g)", "negbinomial"),
}


@pytest.mark.parametrize("name", MODELS)
def test_likelihood_is_the_same_up_to_a_constant(data, name, evidence):
    formula, family = MODELS[name]
    prepared = bm.Model(formula, data, family)._prepared
    program, design = prepared.program(), prepared.design
    fewer = aggregate(design, program.family)
    assert fewer.rows < design.rows / 2
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        totals = []
        for key in jax.random.split(jax.random.key(0), 3):
            quantities, _ = program.prior_draw(key, prepared.inputs)
            # Within the range of what a sampler meets: prior draws of counts overflow.
            quantities = {n: np.clip(v, -2, 2) for n, v in quantities.items()}
            if "cutpoints" in quantities:
                quantities["cutpoints"] = np.sort(rng.normal(size=2))
            totals.append(
                [
                    float(log_likelihood(program.family, program.layout, d, quantities).sum())
                    for d in (design, fewer)
                ]
            )
    whole, put_together = np.diff(totals, axis=0).T
    # Sums of 2,000 numbers of up to 1e3: rounding is far below.
    np.testing.assert_allclose(put_together, whole, rtol=1e-10, atol=1e-10)
    evidence("parts", f"equal rows put together, {name}", put_together, whole, bound=1e-10)
    total = design.rows if design.weights is None else design.weights.sum()
    assert fewer.weights.sum() == pytest.approx(total)


@pytest.mark.parametrize(
    ("formula", "rows"),
    [
        pytest.param("yes ~ x + (1 | g)", 2000, id="a measurement"),
        pytest.param("yes ~ t + (1 | g)", 300, id="few rows"),
    ],
)
def test_rows_stay_where_it_does_not_pay(data, formula, rows):
    prepared = bm.Model(formula, data.iloc[:rows], "bernoulli")._prepared
    assert aggregate(prepared.design, prepared.spec.family) is prepared.design


def test_results_are_of_all_rows(data):
    fit = bm.fit("yes ~ t + (1 | g)", data, "bernoulli", draws=20, warmup=50, chains=2, seed=1)
    assert fit.idata["log_likelihood"].sizes["obs_id"] == len(data)
    # Row by row that of the posterior: log p where yes, log(1 - p) elsewhere.
    p = fit.posterior
    r = p["r_g"].isel(g_effect=0).to_numpy()[..., data["g"].cat.codes.to_numpy()]
    b = p["b"].to_numpy()
    eta = b[..., :1] + b[..., 1:] * data["t"].to_numpy() + r
    expected = -np.logaddexp(0, np.where(data["yes"], -eta, eta))
    np.testing.assert_allclose(fit.idata["log_likelihood"]["yes"], expected, rtol=1e-9)
