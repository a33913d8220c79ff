"""Families with zeros: the builders, and what the contract of all families does not ask."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st
from family_contract import DENSITIES, bound, evaluate, exact, generator, rows

from bayesmm import families
from bayesmm.errors import FamilyError
from bayesmm.families import COUNT, FAMILIES, Family, Parameter, Values, hurdle, zero_inflated

DRAWS = 40_000


@pytest.fixture(autouse=True)
def _float64_and_digits():
    with jax.enable_x64(True), mp.workdps(50):
        yield


# A user's family of counts, whose draws that are not 0 have no construction of their own.
counts = Family(
    name="counts",
    parameters=(Parameter("mu", links=("log",), support="positive"),),
    response=COUNT,
    distribution=lambda v: dist.Poisson(v.mu),
    mean=lambda v: v.mu,
    variance=lambda v: v.mu,
)
geometric_draws = Family(
    name="geometric_draws",
    parameters=counts.parameters,
    response=COUNT,
    distribution=lambda v: dist.GeometricProbs(1 / (1 + v.mu)),
    mean=lambda v: v.mu,
)


def test_builders_make_the_records_of_the_package():
    assert zero_inflated(families.poisson) is FAMILIES["zero_inflated_poisson"]
    assert hurdle(families.gamma) is FAMILIES["hurdle_gamma"]
    assert FAMILIES["hurdle_lognormal"].location == "log"
    assert FAMILIES["zero_inflated_beta"].base is families.beta
    probit = families.binomial(link="probit")
    made = zero_inflated(probit)
    assert made.link("mu").name == "probit"
    assert made.name == "zero_inflated_binomial"
    assert made.parameter_names == ("mu", "zi")
    assert made.base is probit


def test_builders_take_families_of_users():
    made = zero_inflated(counts)
    assert made.log_cdf is None
    assert made.variance is not None
    assert hurdle(geometric_draws).variance is None
    values = Values(made, linear={"mu": jnp.array([0.3, 1.0]), "zi": -1.0})
    density = made.distribution(values).log_prob(jnp.array([0, 2]))
    rate, zi = np.exp([0.3, 1.0]), 1 / (1 + np.e)
    want = np.log(
        [zi + (1 - zi) * st.poisson.pmf(0, rate[0]), (1 - zi) * st.poisson.pmf(2, rate[1])]
    )
    np.testing.assert_allclose(density, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("builder", "base", "message"),
    [
        (zero_inflated, families.gaussian, "'gaussian' takes real numbers; zeros can be added to"),
        (zero_inflated, families.bernoulli, "zeros can be added to counts"),
        (hurdle, families.binomial, "a hurdle can be put before counts"),
        (hurdle, families.bernoulli, "a hurdle can be put before counts"),
        (zero_inflated, "poisson", "must be a family such as bm.families.poisson; got 'poisson'"),
        (hurdle, None, "must be a family"),
        (zero_inflated, FAMILIES["zero_inflated_poisson"], "used twice"),
    ],
)
def test_bases_that_take_no_zeros(builder, base, message):
    with pytest.raises(FamilyError, match=message):
        builder(base)


@pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if f.structural_zero])
def test_structural_zeros(name):
    """The probability that a zero is one of those added: zi / P(0)."""
    family = FAMILIES[name]
    for etas in ([-2.1, -0.6, 0.4, 1.7], [-27.6, -9.0, 9.0, 27.6], [-1e3, -40.0, 40.0, 1e3]):
        table = rows(bound(family), etas, generator(family, 7), 256)
        got = evaluate(family, table, lambda v, y: family.structural_zero(v))
        assert np.isfinite(got.values).all()
        assert all(np.isfinite(slope).all() for slope in got.slopes.values())
        if max(etas) > 30:
            continue
        for i in range(12):
            _, linear, natural = table.row(i)
            zi = 1 / (1 + mp.exp(-mp.mpf(linear["zi"])))
            want = mp.log(zi) - exact(DENSITIES, family, 0, linear, natural)
            assert abs(got.values[i].item() - want) <= 1e-12 * (abs(want) + 1)


@pytest.mark.parametrize("name", ["hurdle_poisson", "hurdle_negbinomial"])
def test_hurdles_of_tiny_means(name):
    """All counts that are not 0 are 1, nothing is 0 / 0, and the gradient is what it should be."""
    family = FAMILIES[name]
    eta = jnp.array([np.log(1e-6), -40.0, -200.0, -1e3])

    def values(eta):
        linear = {"mu": eta, "hu": -0.5, "shape": 0.3}
        return Values(family, linear={n: linear[n] for n in family.parameter_names})

    draws = np.asarray(family.distribution(values(eta)).sample(jax.random.key(0), (2000,)))
    assert set(np.unique(draws)) == {0, 1}
    hu = 1 / (1 + np.exp(0.5))
    np.testing.assert_allclose(family.mean(values(eta))[:3], 1 - hu, rtol=1e-5)
    np.testing.assert_allclose(family.variance(values(eta))[:3], hu * (1 - hu), rtol=1e-5)

    def log_prob(eta, y):
        return family.distribution(values(eta)).log_prob(y)

    np.testing.assert_allclose(log_prob(eta, 1)[:3], np.log(1 - hu), atol=2e-6)
    y, eta = (jnp.ravel(x) for x in jnp.meshgrid(jnp.array([0.0, 1.0, 2.0]), eta[:3]))
    slopes = jax.grad(lambda eta: log_prob(eta, y).sum())(eta)
    np.testing.assert_allclose(slopes, np.where(y == 2, 1.0, 0.0), atol=2e-6)


def _agree(draws, log_probability, low=1):
    """Compare draws with probabilities by Pearson's statistic, the rest taken together."""
    support = np.arange(low, low + 400)
    expected = len(draws) * np.exp(log_probability(support))
    often = expected > 5
    observed = np.array([(draws == y).sum() for y in support[often]])
    observed = np.append(observed, len(draws) - observed.sum())
    expected = np.append(expected[often], len(draws) - expected[often].sum())
    keep = expected > 5
    statistic = ((observed - expected)[keep] ** 2 / expected[keep]).sum()
    assert st.chi2.sf(statistic, max(keep.sum() - 1, 1)) > 1e-4, (observed, expected)


@pytest.mark.parametrize(
    ("base", "parameters"),
    [
        ("poisson", {"mu": 0.05}),
        ("poisson", {"mu": 3.0}),
        ("poisson", {"mu": 40.0}),
        ("negbinomial", {"mu": 0.02, "shape": 0.1}),
        ("negbinomial", {"mu": 2.0, "shape": 0.01}),
        ("negbinomial", {"mu": 6.0, "shape": 0.7}),
        ("negbinomial", {"mu": 3.0, "shape": 50.0}),
        ("counts", {"mu": 1e-9}),
        ("counts", {"mu": 1e-3}),
        ("counts", {"mu": 2.5}),
        ("geometric_draws", {"mu": 0.01}),
    ],
)
def test_counts_that_are_not_zero(base, parameters):
    base = {"counts": counts, "geometric_draws": geometric_draws}.get(base) or FAMILIES[base]
    values = Values(base, natural=parameters)
    truncated = hurdle(base).distribution(values.replace("hu", 0.5)).base_dist
    draws = np.asarray(truncated.sample(jax.random.key(11), (DRAWS,)))
    assert (draws >= 1).all()
    assert (draws == np.round(draws)).all()
    _agree(draws, lambda y: np.asarray(truncated.log_prob(y)))


def test_draws_under_jit_and_vmap():
    family = FAMILIES["hurdle_lognormal"]
    table = rows(family, [-1.0, 0.5], generator(family, 8), 6)
    distribution = family.distribution(table.values(family))
    key = jax.random.key(2)
    direct = distribution.sample(key, (3,))
    drawn = jax.jit(lambda d, key: d.sample(key, (3,)))(distribution, key)
    np.testing.assert_allclose(drawn, direct)
    drawn = jax.vmap(lambda key: distribution.sample(key))(jax.random.split(key, 4))
    assert drawn.shape == (4, 6)
    assert distribution.expand((5, 6)).sample(key).shape == (5, 6)


def test_ordered_beta_is_an_ordered_logit_of_zeros_and_ones():
    """Shifting mu and the cutpoints together leaves the zeros and ones alone."""
    family = FAMILIES["ordered_beta"]
    cutpoints = jnp.array([-1.3, 0.9])

    def masses(eta, by):
        values = Values(
            family, linear={"mu": eta + by, "phi": 1.0}, natural={"cutpoints": cutpoints + by}
        )
        return family.distribution(values).log_prob(jnp.array([0.0, 1.0]))

    np.testing.assert_allclose(masses(0.4, 0.0), masses(0.4, 2.0), rtol=1e-13)
    want = [st.logistic.logcdf(-1.3 - 0.4), st.logistic.logsf(0.9 - 0.4)]
    np.testing.assert_allclose(masses(0.4, 0.0), want, rtol=1e-13)

    @jax.jit
    def between(cutpoints):
        linear = {"mu": 0.1, "phi": 1.0}
        values = Values(family, linear=linear, natural={"cutpoints": cutpoints})
        return family.distribution(values).log_prob(0.5)

    assert jnp.isfinite(between(jnp.array([1.0, 1.0])))  # equal after rounding
    assert jnp.isnan(between(jnp.array([1.0, -1.0])))
