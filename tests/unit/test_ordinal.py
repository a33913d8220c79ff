"""What is special to the ordinal families: thresholds, latent distributions, signs.

The densities are compared with the definitions of brms, written in mpmath in
`densities.categories`; the laws that tie the families together are tested here too.
"""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import numpyro
import pytest
from densities.categories import DENSITIES

from bayesmm.families import FAMILIES, Values
from bayesmm.families.nominal import Categories
from bayesmm.families.ordinal import FAMILIES as ORDINAL_FAMILIES
from bayesmm.families.ordinal import threshold_labels
from bayesmm.links import LINKS, log_mills

VARIANTS = [family(link=link) for family in ORDINAL_FAMILIES for link in family.parameters[0].links]
# Every array has this many rows: outside jit, operations are compiled once for each shape.
ROWS = 60
each_ordinal = pytest.mark.parametrize("family", ORDINAL_FAMILIES, ids=lambda f: f.name)
each_variant = pytest.mark.parametrize(
    "family", VARIANTS, ids=[f"{f.name}-{f.link('mu').name}" for f in VARIANTS]
)


@pytest.fixture(autouse=True)
def _float64_and_digits():
    with jax.enable_x64(True), mp.workdps(60):
        yield


def _has_cs(family):
    return "cs" in family.parameter_names


def _values(family, mu, cutpoints, disc=0.0, cs=0.0):
    """Return values from linear predictors: log(disc), and category-specific effects or 0."""
    linear, natural = {"mu": mu, "disc": disc}, {"cutpoints": jnp.asarray(cutpoints)}
    if _has_cs(family):
        (natural if np.ndim(cs) == 0 else linear)["cs"] = cs
    return Values(family, linear=linear, natural=natural)


def _log_prob(family, y, *parameters):
    return family.distribution(_values(family, *parameters)).log_prob(jnp.asarray(y, float))


def _log_p(family, *parameters):
    return family.distribution(_values(family, *parameters)).log_probabilities


def _rows(categories, location=1.5, gap=1.0, seed=0):
    """Return y, mu, cutpoints, log(disc) and cs of random rows; cutpoints about `gap` apart."""
    rng = np.random.default_rng(seed)
    gaps = gap * (0.1 + rng.gamma(1.0, size=(ROWS, categories - 1)))
    cutpoints = rng.normal(size=(ROWS, 1)) + np.cumsum(gaps, axis=1) - gaps[:, :1]
    return tuple(
        map(
            jnp.array,
            (
                rng.integers(0, categories, ROWS).astype(float),
                location * rng.normal(size=ROWS),
                cutpoints,
                0.4 * rng.normal(size=ROWS),
                rng.normal(size=(ROWS, categories - 1)),
            ),
        )
    )


def _mild_rows(categories):
    """Return rows in which no probability underflows, or rounds to 1, under any of the links."""
    y, mu, cutpoints, disc, cs = _rows(categories, 0.3, 0.2)
    return y, mu, 0.5 * cutpoints, disc / 4, cs / 4


def _exact(family, y, mu, log_disc, cs, *cutpoints):
    return DENSITIES[family.name](
        y,
        mu=mu,
        cutpoints=list(cutpoints),
        disc=mp.exp(log_disc),
        cs=cs if _has_cs(family) else 0,
        link=family.link("mu").name,
    )


# --- densities of the ordinal families ---


@each_variant
@pytest.mark.parametrize(
    ("location", "gap", "categories"),
    [(1.5, 1.0, 4), (1.5, 1e-12, 4), (20.0, 1.0, 5), (20.0, 1e-9, 3), (700.0, 1.0, 4)],
)
def test_density_and_gradient_agree_with_mpmath(family, location, gap, categories):
    y, *rest = rows = _rows(categories, location, gap)
    values = np.asarray(_log_prob(family, *rows))
    slopes = jax.grad(lambda *a: _log_prob(family, y, *a).sum(), argnums=(0, 1, 2))(*rest)
    for i in range(0, ROWS, 3):
        mu, cutpoints, log_disc, cs = (np.asarray(a)[i].tolist() for a in rest)
        arguments = list(map(mp.mpf, (mu, log_disc)))
        if family.link("mu").name == "cloglog" and location > 100:
            continue  # exponentials are clipped, as documented
        want = _exact(family, y[i], *arguments, cs, *cutpoints)
        assert abs(values[i] - want) <= 2e-13 * (abs(want) + 1)
        if i % 15 or location > 100:
            continue
        at = [*arguments, *map(mp.mpf, cutpoints)]
        got = [slopes[0][i], slopes[2][i], *slopes[1][i]]
        for k, slope in enumerate(got):

            def along(t, k=k, at=at, i=i, cs=cs):
                moved = [t if j == k else a for j, a in enumerate(at)]
                return _exact(family, y[i], *moved[:2], cs, *moved[2:])

            slope_wanted = mp.diff(along, at[k], h=mp.mpf(10) ** -25)
            assert abs(float(slope) - slope_wanted) <= 2e-12 * (abs(slope_wanted) + 1)


@each_variant
@pytest.mark.parametrize("categories", range(2, 8))
def test_probabilities_are_positive_and_sum_to_one(family, categories):
    values = _values(family, *_mild_rows(categories)[1:])
    probabilities = np.asarray(family.mean(values))
    assert probabilities.shape == (ROWS, categories)
    assert (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-13)
    np.testing.assert_array_equal(
        probabilities, jnp.exp(family.distribution(values).log_probabilities)
    )


@each_variant
def test_larger_mu_means_higher_categories(family):
    """At every threshold, a larger mu, or a larger effect, leaves less below it."""
    _, mu, cutpoints, disc, cs = _mild_rows(5)

    def below(mu, cs):
        probabilities = jnp.exp(_log_p(family, mu, cutpoints, disc, cs))
        return np.cumsum(probabilities, axis=1)[:, :-1]

    assert (below(mu + 0.1, cs) < below(mu, cs)).all()
    if _has_cs(family):
        np.testing.assert_allclose(below(mu, cs + 0.3), below(mu + 0.3, cs), rtol=1e-12)
        # One effect alone moves what is decided at its threshold.
        one = np.asarray(below(mu, cs.at[:, 1].add(0.3)))
        assert (one[:, 1] < below(mu, cs)[:, 1]).all()


@each_variant
def test_gradients_are_finite_everywhere(family):
    """Also with cutpoints on top of one another, and where a category has no rows."""
    far = [-1e3, -300.0, -20.0, -1.0, 0.0, 1.0, 21.0, 300.0, 1e3]
    mu, disc, gap, y = (
        jnp.array(a.ravel()) for a in np.meshgrid(far, far, [0.0, 1e-300, 1e-12, 2.0], range(5))
    )
    start = jnp.where(mu > 100, mu - 1.0, 0.0)[:, None]  # some of them amid the cutpoints
    cutpoints = start + jnp.stack([0 * gap, gap, 1 + gap, 1 + 2 * gap], axis=1)
    cs = jnp.tile(jnp.array([0.0, -900.0, 900.0, 1.0]), (len(mu), 1))
    density = jax.jit(lambda *a: _log_prob(family, y, *a))
    slope = jax.jit(jax.grad(lambda *a: density(*a).sum(), argnums=(0, 1, 2, 3)))
    for effects in (0.0 * cs, cs):
        arguments = (mu, cutpoints, disc, effects)
        assert jnp.isfinite(density(*arguments)).all()
        assert all(jnp.isfinite(s).all() for s in slope(*arguments))


@each_variant
def test_two_categories_are_bernoulli(family):
    """With one cutpoint: at mu minus the cutpoint, under F or its mirror image."""
    _, mu, cutpoints, _, cs = _rows(2)
    log_p = _log_p(family, mu, cutpoints, 0.0, cs)
    eta = mu - cutpoints[:, 0] + (cs[:, 0] if _has_cs(family) else 0.0)
    mirrored = family.name in ("cumulative", "sratio")
    bernoulli = FAMILIES["bernoulli"](link=family.link("mu").name)
    values = Values(bernoulli, linear={"mu": -eta if mirrored else eta})
    for y in (0, 1):
        want = bernoulli.distribution(values).log_prob(jnp.full(ROWS, 1 - y if mirrored else y))
        np.testing.assert_allclose(log_p[:, y], want, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("link", ["logit", "probit", "cauchit"])
def test_ratio_families_agree_where_the_latent_distribution_is_symmetric(link):
    sratio, cratio = (FAMILIES[name](link=link) for name in ("sratio", "cratio"))
    rest = _rows(5)[1:]
    np.testing.assert_allclose(_log_p(sratio, *rest), _log_p(cratio, *rest), rtol=1e-12)


def test_sratio_with_cloglog_is_cumulative_with_cloglog():
    """Laara and Matthews 1985: with cutpoints whose exponentials add up."""
    _, mu, cutpoints, *_ = _rows(5)
    stops = jnp.log(jnp.exp(cutpoints) - jnp.pad(jnp.exp(cutpoints)[:, :-1], ((0, 0), (1, 0))))
    cumulative, sratio = (FAMILIES[name](link="cloglog") for name in ("cumulative", "sratio"))
    np.testing.assert_allclose(
        _log_p(cumulative, mu, cutpoints), _log_p(sratio, mu, stops), rtol=1e-9, atol=1e-12
    )


def test_acat_with_logit_has_log_odds_of_adjacent_categories():
    _, mu, cutpoints, disc, cs = _rows(5)
    odds = jnp.exp(disc)[:, None] * (mu[:, None] + cs - cutpoints)
    log_p = _log_p(FAMILIES["acat"], mu, cutpoints, disc, cs)
    np.testing.assert_allclose(jnp.diff(log_p, axis=1), odds, rtol=1e-10, atol=1e-12)


@each_variant
def test_no_gradient_is_halved_where_branches_meet(family):
    """At arguments of 0, gaps of 1 and the like, the slope is that of the points beside."""
    y = jnp.arange(4.0)

    def density(at):
        cutpoints = jnp.array([0.0, 1.0, 1.0 + np.log(2.0)]) + at[1] * jnp.arange(3)
        return _log_prob(family, y, jnp.full(4, at[0]), cutpoints)

    slope = jax.jit(jax.jacobian(density))
    for step in 1e-6 * np.eye(2):
        beside = (slope(jnp.array(step)) + slope(-jnp.array(step))) / 2
        np.testing.assert_allclose(slope(jnp.zeros(2)), beside, rtol=1e-9, atol=1e-9)


def test_mills_ratio():
    for z in (-1e90, -1e9, -1e3, -20.5, -20.0, -19.5, -3.0, -1e-3, 0.0, 2.5):
        exact = mp.log(mp.erfc(-mp.mpf(z) / mp.sqrt(2)) * mp.sqrt(mp.pi / 2)) + mp.mpf(z) ** 2 / 2
        if z < -1e8:
            exact = -mp.log(-mp.mpf(z))  # its leading term
        assert abs(float(log_mills(z)) - exact) <= 6e-14 * (1 + abs(exact))
        mills = mp.exp(-exact)
        slope = jax.grad(LINKS["probit"].log_inverse)(z)
        assert abs(float(slope) - mills) <= 1e-13 * mills


# --- shapes ---


@each_ordinal
def test_thresholds_may_be_shared_or_by_row_and_parameters_scalar(family):
    y, mu, cutpoints, disc, cs = _rows(4)
    shared = cutpoints[0]
    want = _log_prob(family, y, mu, jnp.tile(shared, (ROWS, 1)), jnp.full(ROWS, 0.3), cs)
    np.testing.assert_allclose(_log_prob(family, y, mu, shared, 0.3, cs), want, rtol=1e-13)
    scalar = _log_p(family, 0.4, shared)
    assert scalar.shape == (4,)
    np.testing.assert_allclose(_log_prob(family, y, 0.4, shared), scalar[y.astype(int)])
    batch = jax.vmap(lambda c: _log_prob(family, y, mu, c, disc, cs))(jnp.stack([shared, shared]))
    np.testing.assert_allclose(batch[1], _log_prob(family, y, mu, shared, disc, cs), rtol=1e-13)

    def model():
        with numpyro.plate("rows", ROWS):
            numpyro.sample("y", family.distribution(_values(family, 0.4, shared)), obs=y)

    total, _ = numpyro.infer.util.log_density(model, (), {}, {})
    np.testing.assert_allclose(total, scalar[y.astype(int)].sum(), rtol=1e-12)
    with numpyro.handlers.seed(rng_seed=1):
        draws = numpyro.plate("rows", ROWS)(
            lambda: numpyro.sample("z", family.distribution(_values(family, 0.4, shared)))
        )()
    assert draws.shape == (ROWS,)


def test_linear_predictors_are_read_as_they_are():
    family = FAMILIES["cumulative"](link="probit")
    values = Values(family, linear={"mu": 0.7}, natural={"disc": 1.0})
    assert values.linear("mu") == 0.7
    assert values.link("mu") is LINKS["probit"]
    np.testing.assert_allclose(values.linear("disc"), 0.0)
    nominal = Values(
        FAMILIES["categorical"].bound(("a", "b", "c")), linear={"mu_b": 1.0, "mu_c": 2.0}
    )
    np.testing.assert_array_equal(nominal.linear("mu"), [0.0, 1.0, 2.0])


@each_ordinal
def test_only_cumulative_needs_ordered_cutpoints(family):
    density = jax.jit(lambda cutpoints: _log_prob(family, 1.0, 0.0, cutpoints))
    unordered = jnp.isfinite(density(jnp.array([1.0, 0.0])))
    assert unordered == (not family.parameter("cutpoints").ordered)


@each_ordinal
def test_records(family):
    assert family.intercept_holder.name == "cutpoints"
    assert family.bound(("a", "b", "c")).labels(family.parameter("cutpoints")) == ("a|b", "b|c")
    assert dict(family.fixed)["disc"] == 1.0
    assert family(thresholds="equidistant") == family(thresholds="equidistant")
    assert threshold_labels(("a", "b")) == ("a|b",)
    assert family.variance is None


@each_ordinal
def test_draws_are_as_frequent_as_they_should_be(family):
    _, mu, cutpoints, disc, cs = _rows(5)
    values = _values(family, mu, cutpoints, disc, cs)
    draw = jax.jit(partial(family.distribution(values).sample, sample_shape=(20_000,)))
    draws = np.asarray(draw(jax.random.key(2)))
    assert draws.shape == (20_000, ROWS)
    assert not family.response.check(draws[:, 0]).any()
    assert draws.max() == 4
    _assert_frequencies(draws, np.asarray(family.mean(values)))


def _assert_frequencies(draws, probabilities):
    counts = np.stack([(draws == k).sum(axis=0) for k in range(probabilities.shape[1])], axis=1)
    expected = len(draws) * probabilities
    spread = np.sqrt(expected * (1 - probabilities)) + 1
    assert (abs(counts - expected) < 5 * spread).all()


def test_categories_validates_codes():
    distribution = Categories(jnp.log(jnp.array([0.2, 0.8])), validate_args=True)
    np.testing.assert_allclose(distribution.log_prob(jnp.array([0.0, 1.0])), np.log([0.2, 0.8]))
    with pytest.warns(UserWarning, match="support"):
        distribution.log_prob(jnp.array(2.0))
