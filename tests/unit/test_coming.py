"""The page "Coming from lme4, glmmTMB, brms or Bambi": what it offers is taken, and nothing else.

A formula that the page gives as the way to write something here is in `OFFERED`, one that it says
is not there in `MISSING`. Whoever adds a row to the page adds it here.
"""

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest

import bayesmm as bm

OFFERED = [
    ("y ~ x + (x | g)", "gaussian"),
    ("y ~ x + (x || g)", "gaussian"),
    ("y ~ x + (1 | g) + (1 | h)", "gaussian"),
    ("y ~ x + (1 | g/h)", "gaussian"),
    ("y ~ x + (1 | g) + (0 + f | g)", "gaussian"),
    ("y ~ x + (0 + f || g)", "gaussian"),
    ("y ~ (x + z)**2", "gaussian"),
    ("y ~ I(x**2)", "gaussian"),
    ("y ~ poly(x, 2) + C(count)", "gaussian"),
    ("y ~ scale(x)", "gaussian"),
    ("count ~ x + offset(log(t))", "poisson"),
    ('y ~ C(f, Treatment("b"))', "gaussian"),
    ("y ~ C(f, Sum)", "gaussian"),
    ("y ~ bs(x, df=5) + cr(z, df=4)", "gaussian"),
    ("prop(k, n) ~ x + (1 | g)", "binomial"),
    ("prop(k, k + r) ~ x", "binomial"),
    ("p(k, n) ~ x", "binomial"),
    ('answer["yes"] ~ x', "bernoulli"),
    ("censored(t, status, t2) ~ x", "weibull"),
    ("censored(t, seen) ~ x", "weibull"),
    ("truncated(t, 0) ~ x", "gaussian"),
    ("truncated(y, -9, 9) ~ x", "gaussian"),
    ("truncated(y, upper=9) ~ x", "gaussian"),
    ("truncated(t, 1) ~ x", "poisson"),
    ("weighted(y, w) ~ x", "gaussian"),
    ("se(y, s) ~ x + (1 | g)", "gaussian"),
    ("se(y, s, sigma=True) ~ x", "gaussian"),
    ("thresholds(rating, f) ~ x", "cumulative"),
    ("rating ~ x + cs(z)", "sratio"),
    ("c(c1, c2, n) ~ x", "multinomial"),
    (("y ~ x", "sigma ~ z"), "gaussian"),
    (("y ~ x", "sigma ~ 1 + offset(-0.5 * log(w))"), "gaussian"),
    (("count ~ x + (1 | g)", "zi ~ z + (1 | g)"), "zero_inflated_poisson"),
    (("count ~ x", "shape ~ z"), "negbinomial"),
    (("count ~ x", "hu ~ z"), "hurdle_negbinomial"),
]
MISSING = [
    "y ~ (x + z)^2",
    "y ~ s(x)",
    "y ~ t2(x, z)",
    "y ~ gp(x)",
    "y ~ hsgp(x)",
    "y ~ mo(count)",
    "y ~ me(x, s)",
    "y ~ mi(x)",
    "y ~ x + (1 | mm(g, h))",
    "y ~ x + (1 | gr(g))",
    "y ~ x + (x | ID | g)",
    "y ~ x + ar1(0 + f | g)",
    "y ~ x + diag(x | g)",
    "y ~ factor(f)",
    "y ~ ns(x)",
    "cbind(k, r) ~ x",
    "mvbind(y, x) ~ z",
    "k | trials(n) ~ x",
]
PRIORS = {
    "b": dist.Normal(0, 1),
    "b[x]": dist.Normal(0, 1),
    "Intercept": dist.StudentT(3, 0, 5),
    "sd": bm.HalfStudentT(3, 2.5),
    "sd_g[x]": dist.HalfNormal(1),
    "cor": bm.LKJ(2),
    "cor_g": bm.LKJ(2),
    "b_sigma[z]": dist.Normal(0, 1),
    "Intercept_sigma": dist.Normal(0, 1),
}


@pytest.fixture(scope="module")
def table():
    rng, row = np.random.default_rng(1), np.arange(60)
    numbers = {name: rng.normal(size=60) for name in "yxz"}
    return pd.DataFrame(
        numbers
        | {
            "w": 1.0,
            "s": 0.5,
            "f": np.tile(["a", "b", "c"], 20),
            "g": np.repeat(list("klmnop"), 10),
            "h": np.tile(list("qrstu"), 12),
            "n": 9,
            "k": row % 10,
            "r": 9 - row % 10,
            "t": row + 1,
            "t2": row + 2,
            "status": np.tile(["none", "right", "left", "interval"], 15),
            "seen": np.tile(["none", "right", "left"], 20),
            "count": row % 7,
            "rating": 1 + row % 4,
            "c1": row % 3 + 1,
            "c2": row % 4 + 1,
            "answer": np.tile(["no", "yes"], 30),
        }
    )


@pytest.mark.parametrize(("formula", "family"), OFFERED)
def test_what_the_page_offers_is_taken(table, formula, family):
    bm.Model(formula if isinstance(formula, str) else list(formula), table, family)


@pytest.mark.parametrize("formula", MISSING)
def test_what_the_page_says_is_missing_is_refused(table, formula):
    with pytest.raises(bm.FormulaError):
        bm.Model(formula, table)


def test_keys_of_priors_are_taken(table):
    model = bm.Model(["y ~ x + (x | g)", "sigma ~ z"], table, priors=PRIORS)
    sources = set(model.priors["source"])
    assert {f"priors[{key!r}]" for key in ("b[x]", "sd_g[x]", "cor_g", "b_sigma[z]")} <= sources
