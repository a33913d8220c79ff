"""What is special to the nominal families: softmax, counts and shares of categories.

The densities are compared with mpmath (`densities.categories`), and with the families that they
become with two categories.
"""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from densities.categories import DENSITIES

from bayesmm.families import FAMILIES, Values

# Every array has this many rows: outside jit, operations are compiled once for each shape.
ROWS = 60


@pytest.fixture(autouse=True)
def _float64_and_digits():
    with jax.enable_x64(True), mp.workdps(60):
        yield


def _softmax(*eta):
    return {f"mu_{name}": value for name, value in zip("bcdefg", eta, strict=False)}


def _nominal(name, linear, **data):
    """Return the distribution and the mean of a family for the categories that `linear` has."""
    family = FAMILIES[name].bound(("a", *(key[3:] for key in linear if key != "phi")))
    values = Values(family, linear=linear, data=data)
    return family.distribution(values), family.mean(values)


@pytest.mark.parametrize("categories", range(2, 7))
@pytest.mark.parametrize("location", [1.5, 30.0, 600.0])
def test_categorical_agrees_with_mpmath(categories, location):
    eta = location * np.random.default_rng(1).normal(size=(categories - 1, ROWS))
    y = np.random.default_rng(2).integers(0, categories, ROWS)
    distribution, mean = _nominal("categorical", _softmax(*map(jnp.array, eta)))
    got = np.asarray(distribution.log_prob(jnp.array(y, float)))
    for i in range(ROWS):
        want = DENSITIES["categorical"](y[i], mu=eta[:, i].tolist())
        assert abs(got[i] - want) <= 1e-14 * (abs(want) + location)
    np.testing.assert_allclose(mean.sum(axis=1), 1.0, rtol=1e-14)
    assert mean.shape == (ROWS, categories)


def test_two_unordered_categories_are_bernoulli():
    eta = jnp.linspace(-800, 800, ROWS)
    bernoulli = FAMILIES["bernoulli"].distribution(
        Values(FAMILIES["bernoulli"], linear={"mu": eta})
    )
    distribution, _ = _nominal("categorical", _softmax(eta))
    for y in (0.0, 1.0):
        codes = jnp.full(ROWS, y)
        np.testing.assert_allclose(
            distribution.log_prob(codes), bernoulli.log_prob(codes), rtol=1e-13, atol=1e-15
        )


COUNTS = [[0, 0, 0], [1, 0, 0], [3, 4, 5], [0, 12, 0], [1000, 1, 70_000], [10**9, 10**8, 3]]


def test_multinomial_agrees_with_mpmath():
    for eta in ([0.3, -0.8], [3.0, 2.0], [-30.0, 40.0]):
        y = jnp.array(np.resize(COUNTS, (ROWS, 3)))
        linear = _softmax(*[jnp.full(ROWS, e) for e in eta])
        distribution, mean = _nominal("multinomial", linear, trials=y.sum(axis=1))
        got = np.asarray(distribution.log_prob(y))
        for i, counts in enumerate(COUNTS):
            want = DENSITIES["multinomial"](counts, mu=eta)
            # Rounding of the linear predictors alone moves it by their size times the counts.
            assert abs(got[i] - want) <= 2e-15 * (abs(want) + sum(counts) + 10)
        np.testing.assert_allclose(mean.sum(axis=1), y.sum(axis=1), rtol=1e-14)
        np.testing.assert_allclose(distribution.mean, mean)


def test_multinomial_of_two_is_binomial():
    eta, trials = jnp.linspace(-30, 30, ROWS), jnp.arange(ROWS) + 1
    y = trials // 3
    binomial = FAMILIES["binomial"]
    values = Values(binomial, linear={"mu": eta}, data={"trials": trials})
    want = binomial.distribution(values)
    got, mean = _nominal("multinomial", _softmax(eta), trials=trials)
    counts = jnp.stack([trials - y, y], axis=1)
    np.testing.assert_allclose(got.log_prob(counts), want.log_prob(y), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(mean[:, 1], want.mean)
    np.testing.assert_allclose(got.variance[:, 1], want.variance, rtol=1e-12)


SHARES = [[0.2, 0.5, 0.3], [1e-9, 0.5, 0.5 - 1e-9], [1e-300, 1e-12, 1.0], [0.25, 0.25, 0.5]]


@pytest.mark.parametrize("phi", [-230.0, -30.0, -2.0, 0.0, 1.1, 5.0, 12.0, 30.0])
def test_dirichlet_agrees_with_mpmath(phi):
    for eta in ([0.3, -0.8], [2.0, 1.0], [-30.0, 40.0], [300.0, -600.0]):
        y = jnp.array(np.resize(SHARES, (ROWS, 3)))
        linear = _softmax(*[jnp.full(ROWS, e) for e in eta]) | {"phi": jnp.full(ROWS, phi)}

        def density(linear, y=y):
            return _nominal("dirichlet", linear)[0].log_prob(y)

        got = np.asarray(density(linear))
        slope = jax.grad(lambda linear: density(linear).sum())(linear)
        for i, shares in enumerate(SHARES):
            if phi < -200:
                break  # held at the smallest float: finite is all that is asked
            shape = mp.exp(phi)

            def exact(log_phi, *mu, shares=shares):
                return DENSITIES["dirichlet"](shares, mu=mu, phi=mp.exp(log_phi))

            want = exact(phi, *eta)
            # An ulp of phi, or of a share, moves the log density by phi times its size.
            size = abs(want) + 10 + shape * (1 + max(map(abs, eta)))
            assert abs(got[i] - want) <= 1e-14 * size
            if max(map(abs, eta)) < 50:
                at = [mp.mpf(phi), *map(mp.mpf, eta)]
                for k, name in enumerate(("phi", "mu_b", "mu_c")):

                    def along(t, k=k, at=at, exact=exact):
                        return exact(*[t if j == k else a for j, a in enumerate(at)])

                    wanted = mp.diff(along, at[k], h=mp.mpf(10) ** -20)
                    assert abs(float(slope[name][i]) - wanted) <= 1e-12 * (abs(wanted) + size)
        assert np.isfinite(got).all()
        assert all(jnp.isfinite(s).all() for s in slope.values())


def test_dirichlet_of_two_is_beta():
    eta, y = jnp.linspace(-8, 8, ROWS), jnp.linspace(0.01, 0.99, ROWS)
    for phi in (-3.0, 0.0, 2.0, 9.0):
        beta = FAMILIES["beta"]
        values = Values(beta, linear={"mu": eta, "phi": phi})
        want = beta.distribution(values)
        got, _ = _nominal("dirichlet", _softmax(eta) | {"phi": phi})
        shares = jnp.stack([1 - y, y], axis=1)
        np.testing.assert_allclose(got.log_prob(shares), want.log_prob(y), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(got.variance[:, 1], want.variance, rtol=1e-12)


@pytest.mark.parametrize("name", ["categorical", "multinomial", "dirichlet"])
def test_nominal_gradients_are_finite_everywhere(name):
    far = [-1e3, -300.0, -20.0, 0.0, 30.0, 1e3]
    b, c, phi, row = (jnp.array(a.ravel()) for a in np.meshgrid(far, far, far, range(3)))
    linear = _softmax(b, c) | ({"phi": phi} if name == "dirichlet" else {})
    counts = jnp.array([[0, 5, 0], [2, 0, 90], [0, 0, 0]])[row]
    y = {"categorical": row.astype(float), "multinomial": counts}.get(
        name, jnp.array([[0.2, 0.3, 0.5], [1e-300, 1e-9, 1.0], [0.998, 1e-3, 1e-3]])[row]
    )

    def density(linear):
        return _nominal(name, linear, trials=counts.sum(axis=1))[0].log_prob(y)

    assert jnp.isfinite(jax.jit(density)(linear)).all()
    slopes = jax.jit(jax.grad(lambda linear: density(linear).sum()))(linear)
    assert all(jnp.isfinite(s).all() for s in slopes.values())


def test_nominal_draws():
    n, eta = 20_000, _softmax(jnp.linspace(-2, 2, 7), jnp.linspace(1, -3, 7))
    categorical, mean = _nominal("categorical", eta)
    draws = np.asarray(categorical.sample(jax.random.key(1), (n,)))
    _assert_frequencies(draws, np.asarray(mean))

    trials = jnp.array([0, 1, 2, 12, 300, 10**6, 10**9])
    multinomial, mean = _nominal("multinomial", eta, trials=trials)
    sample = jax.jit(partial(multinomial.sample, sample_shape=(n,)))
    draws = np.asarray(sample(jax.random.key(2)))
    assert draws.shape == (n, 7, 3)
    assert not FAMILIES["multinomial"].response.check(draws.reshape(-1, 3)).any()
    np.testing.assert_array_equal(draws.sum(axis=2), np.broadcast_to(trials, (n, 7)))
    _assert_moments(draws, np.asarray(mean), np.asarray(multinomial.variance))

    # The sum of alpha from 1e-4 to 1e6: draws of tiny alpha are almost always at a corner.
    dirichlet, mean = _nominal("dirichlet", eta | {"phi": jnp.log(10.0 ** jnp.arange(-4, 9, 2))})
    sample = jax.jit(partial(dirichlet.sample, sample_shape=(n,)))
    draws = np.asarray(sample(jax.random.key(3)))
    assert not FAMILIES["dirichlet"].response.check(draws.reshape(-1, 3)).any()
    _assert_moments(draws, np.asarray(mean), np.asarray(dirichlet.variance))


def _assert_moments(draws, mean, variance):
    spread = np.sqrt(variance / len(draws)) + 1e-12 * mean
    assert (abs(draws.mean(axis=0) - mean) <= 5 * spread).all()
    centred = (draws - draws.mean(axis=0)) ** 2
    error = centred.std(axis=0) / np.sqrt(len(draws)) + 1e-9 * variance
    assert (abs(draws.var(axis=0) - variance) <= 5 * error + 0.05 * variance).all()


def _assert_frequencies(draws, probabilities):
    counts = np.stack([(draws == k).sum(axis=0) for k in range(probabilities.shape[1])], axis=1)
    expected = len(draws) * probabilities
    spread = np.sqrt(expected * (1 - probabilities)) + 1
    assert (abs(counts - expected) < 5 * spread).all()


def test_draws_far_out_stay_in_the_support():
    eta = _softmax(jnp.array([-1e3, 1e3, 0.0, 700.0]), jnp.array([1e3, 1e3, -40.0, 699.0]))
    dirichlet, _ = _nominal("dirichlet", eta | {"phi": jnp.array([-1e3, -30.0, 40.0, 1e3])})
    draws = np.asarray(dirichlet.sample(jax.random.key(4), (500,)))
    assert not FAMILIES["dirichlet"].response.check(draws.reshape(-1, 3)).any()
    assert jnp.isfinite(dirichlet.log_prob(draws)).all()
    multinomial, _ = _nominal("multinomial", eta, trials=jnp.array([3, 50, 10**7, 0]))
    draws = np.asarray(multinomial.sample(jax.random.key(5), (500,)))
    assert (draws.sum(axis=2) == [3, 50, 10**7, 0]).all()
    assert jnp.isfinite(multinomial.log_prob(draws)).all()
