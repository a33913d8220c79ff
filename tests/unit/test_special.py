"""Special functions of families, against mpmath: values, derivatives, far tails."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from densities import continuous as exact

from bayesmm.families import incomplete, numerics, special


@pytest.fixture(autouse=True)
def _float64_and_digits():
    with jax.enable_x64(True), mp.workdps(60):
        yield


def _slopes(function, *arguments):
    """Return the derivatives of an elementwise function in each of its arguments."""
    total = jax.jit(jax.grad(lambda *a: function(*a).sum(), tuple(range(len(arguments)))))
    return [np.asarray(slope) for slope in total(*arguments)]


def _check(function, truth, rows, *, value, slope, every=1):
    """Compare a function of a table of rows with mpmath, relatively; and its derivatives."""
    columns = [jnp.array(column) for column in zip(*rows, strict=True)]
    got = np.asarray(jax.jit(function)(*columns))
    slopes = _slopes(function, *columns)
    for i, row in enumerate(rows):
        numbers = [mp.mpf(float(x)) for x in row]
        want = truth(*numbers)
        if abs(want) < 1e-290:  # XLA makes such numbers 0
            assert abs(got[i]) < 1e-280
            continue
        assert abs(got[i].item() - want) <= value * abs(want), (row, got[i], float(want))
        if i % every:
            continue
        for k, x in enumerate(numbers):
            step = (abs(x) or 1) * mp.mpf(10) ** -20

            def moved(by, k=k, numbers=numbers):
                return truth(*numbers[:k], numbers[k] + by, *numbers[k + 1 :])

            want = (moved(step) - moved(-step)) / (2 * step)
            if abs(want) > 1e-280:
                error = abs(slopes[k][i].item() - want)
                assert error <= slope * abs(want), (row, k, slopes[k][i], float(want))


def _beta_rows(sizes):
    rows = []
    for a in sizes:
        for b in sizes:
            m = a / (a + b)
            sd = np.sqrt(m * (1 - m) / (a + b + 1))
            near = [m, m - sd, m + sd, m - 4 * sd, m + 5 * sd]
            rows += [(a, b, x) for x in [*near, m / 10, 1e-12, 1 - 1e-9] if 0 < x < 1]
    return rows


def test_incomplete_beta_and_its_derivatives():
    rows = _beta_rows([1e-3, 0.03, 0.5, 1.0, 2.7, 60.0, 1000.0])
    _check(incomplete.log_betainc, exact.log_betainc, rows, value=1e-11, slope=1e-10, every=9)


def test_incomplete_beta_of_large_parameters():
    rows = _beta_rows([0.4, 3e4, 1e6])
    _check(incomplete.log_betainc, exact.log_betainc, rows, value=1e-10, slope=1e-8, every=12)


def _gamma_rows(sizes):
    rows = []
    for a in sizes:
        near = [a + k * np.sqrt(a) for k in (0, -0.3, 0.8, -2.5, 3, -5, 6, 30)]
        rows += [(a, x) for x in [*near, a / 10, a * 1e-20, 10 * a, 1e-8, 1.0, 30.0] if x > 0]
    return rows


@pytest.mark.parametrize("tail", ["log_gammainc", "log_gammaincc"])
def test_incomplete_gamma_and_its_derivatives(tail):
    function, truth = getattr(incomplete, tail), getattr(exact, tail)
    rows = _gamma_rows([1e-12, 1e-3, 0.5, 2.7, 60.0, 1000.0])
    _check(function, truth, rows, value=1e-11, slope=1e-10, every=4)
    _check(function, truth, _gamma_rows([3e4, 1e6]), value=1e-9, slope=1e-7, every=7)


def test_incomplete_functions_at_the_ends():
    a = jnp.full(2, 2.0)
    for function, ends, want in (
        (incomplete.log_gammainc, [0.0, jnp.inf], [-np.inf, 0.0]),
        (incomplete.log_gammaincc, [0.0, jnp.inf], [0.0, -np.inf]),
        (lambda a, x: incomplete.log_betainc(a, 3.0, x), [0.0, 1.0], [-np.inf, 0.0]),
    ):
        ends = jnp.array(ends)
        assert jax.jit(function)(a, ends).tolist() == want
        for slope in _slopes(function, a, ends):
            assert slope.tolist() == [0.0, 0.0]


def test_incomplete_functions_where_the_argument_underflows():
    """Arguments in logarithms: x is exp(-5000)."""
    below, above = incomplete.log_betainc_tails(2.5, 3.5, -5000.0, 0.0)
    beta = mp.loggamma(2.5) + mp.loggamma(3.5) - mp.loggamma(6)
    np.testing.assert_allclose(below, float(-12500 - mp.log(2.5) - beta), rtol=1e-14)
    assert above == 0.0
    assert incomplete.log_gammainc_tails(2.0, -5000.0)[0] == pytest.approx(-10000 - np.log(2))
    (slope,) = _slopes(lambda x: incomplete.log_betainc_tails(2.5, 3.5, x, 0.0)[0], -5000.0)
    np.testing.assert_allclose(slope, 2.5, rtol=1e-12)


def test_incomplete_functions_are_finite_everywhere():
    sizes = jnp.exp(jnp.linspace(-210.0, 210.0, 15))
    a, b, u = (m.ravel() for m in jnp.meshgrid(sizes, sizes, jnp.linspace(-900.0, 900.0, 13)))
    x = -jax.nn.softplus(-u), -jax.nn.softplus(u)
    for which in (0, 1):
        functions = (
            lambda a, b, x, y, w=which: incomplete.log_betainc_tails(a, b, x, y)[w],
            lambda a, b, x, y, w=which: incomplete.log_gammainc_tails(a, 2 * (x - y))[w],
        )
        for function in functions:
            assert not jnp.isnan(jax.jit(function)(a, b, *x)).any()
            for slope in _slopes(function, a, b, *x):
                assert np.isfinite(slope).all()


def test_incomplete_functions_under_transformations():
    """Second derivatives (forward over reverse), vmap, float32."""
    second = jax.jit(jax.hessian(incomplete.log_betainc, (0, 2)))(2.0, 3.5, 0.3)
    mixed = mp.diff(exact.log_betainc, (2, 3.5, 0.3), (1, 0, 1))
    np.testing.assert_allclose(second[0][1], float(mixed), rtol=1e-9)
    np.testing.assert_allclose(second[1][0], float(mixed), rtol=1e-9)
    x = jnp.linspace(0.1, 0.9, 5)
    each = jax.vmap(incomplete.log_betainc, (None, None, 0))(2.0, 3.0, x)
    np.testing.assert_allclose(each, incomplete.log_betainc(2.0, 3.0, x), rtol=1e-14)
    single = incomplete.log_betainc(jnp.float32(2.0), jnp.float32(3.0), x.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, each, rtol=1e-4)


def _log_student(z, df):
    return exact.LOG_CDF["student"](z, mu=mp.mpf(0), sigma=mp.mpf(1), nu=df)


def test_student():
    rows = [
        (z, df)
        for z in (-1e30, -400.0, -6.0, -1.0, -1e-9, 1e-9, 0.3, 2.0, 9.0)
        for df in (1.0, 1.3, 4.0, 30.0, 1e4)
    ]
    _check(special.log_student_cdf, _log_student, rows, value=1e-11, slope=1e-9, every=2)
    # At 0 the derivative is twice the density.
    slope, _ = _slopes(special.log_student_cdf, 0.0, 5.0)
    density = mp.exp(exact.DENSITIES["student"](mp.mpf(0), mu=0, sigma=1, nu=mp.mpf(5)))
    np.testing.assert_allclose(slope, float(2 * density), rtol=1e-12)
    # The normal distribution is the limit.
    z = jnp.array([-30.0, -3.0, 0.5, 5.0])
    limit = jax.jit(special.log_student_cdf)(z, 1e15)
    np.testing.assert_allclose(limit, special.log_normal_cdf(z), rtol=1e-9)


def test_normal_with_its_relative_accuracy():
    rows = [(z,) for z in (-1e8, -40.0, -1.0, -1e-5, 0.0, 1e-5, 3.0, 6.0, 8.0, 20.0)]
    _check(special.log_normal_cdf, exact.log_normal_cdf, rows, value=1e-13, slope=1e-12)


def _log_exgaussian(z, rate):
    # The mean of a standard normal plus an exponential of that rate is 1 / rate.
    return exact._exgaussian_cdf(z, mu=1 / rate, sigma=mp.mpf(1), beta=1 / rate)


def test_normal_plus_exponential():
    rows = [
        (z, rate)
        for z in (-30.0, -6.0, -1.0, -1e-6, 0.0, 0.4, 3.0, 9.0, 25.0)
        for rate in (1e-9, 1e-3, 0.1, 0.6, 1.0, 2.2, 8.0, 1e3)
    ]
    _check(special.log_exgaussian_cdf, _log_exgaussian, rows, value=1e-11, slope=1e-9, every=3)
    second = jax.jit(jax.hessian(special.log_exgaussian_cdf, (0, 1)))(0.7, 0.3)
    for i, j, order in ((0, 0, (2, 0)), (0, 1, (1, 1)), (1, 1, (0, 2))):
        want = mp.diff(_log_exgaussian, (mp.mpf("0.7"), mp.mpf("0.3")), order)
        np.testing.assert_allclose(second[i][j], float(want), rtol=1e-7)


@pytest.mark.parametrize("tail", [0, 1])
def test_skew_normal(tail):
    rows = [
        (z, alpha)
        for z in (-25.0, -3.0, -0.2, 0.0, 0.1, 1.0, 7.0)
        for alpha in (-20.0, -1.0, 0.0, 0.5, 4.0, 100.0)
    ]

    def truth(z, alpha):
        return exact._owen_lower(z, alpha) if tail == 0 else exact._owen_lower(-z, -alpha)

    def function(z, alpha):
        return special.log_skew_normal_tails(z, alpha)[tail]

    _check(function, truth, rows, value=1e-11, slope=1e-9, every=11)


def test_bessel():
    rows = [(x,) for x in (1e-3, 0.3, 4.0, 29.9, 30.1, 300.0, 1e12)]
    _check(
        special.log_i0e,
        lambda x: mp.log(mp.besseli(0, x)) - x if x < 1e4 else _hankel(x),
        rows,
        value=1e-12,
        slope=1e-12,
    )


def _hankel(x):
    return mp.log1p(1 / (8 * x) + 9 / (128 * x**2)) - mp.log(2 * mp.pi * x) / 2


def test_differences_that_keep_their_digits():
    rows = [(x,) for x in (-0.999, -0.41, -0.39, -1e-3, -1e-9, 1e-12, 0.2, 0.39, 0.41, 5.0)]
    _check(numerics.log1pmx, lambda x: mp.log1p(x) - x, rows, value=1e-14, slope=1e-14)
    rows = [(x,) for x in (-30.0, -0.51, -0.49, -1e-8, 1e-8, 0.49, 0.51, 4.0)]
    _check(numerics.expm1mx, lambda x: mp.expm1(x) - x, rows, value=1e-14, slope=1e-14)
    rows = [(x,) for x in (-300.0, -2.0, -0.7, -0.69, -1e-5, -1e-200)]
    _check(numerics.log1mexp, lambda x: exact._complement(x), rows, value=1e-14, slope=1e-13)
    assert numerics.log1mexp(0.0) == -jnp.inf
    assert jax.grad(numerics.log1mexp)(0.0) == 0.0
    rows = [(x,) for x in (1e-300, 1e-9, 0.1, 0.49, 0.51, 0.9, 2.0, 1e5)]
    _check(numerics.log_gamma1p, lambda x: mp.loggamma(1 + x), rows, value=1e-13, slope=1e-12)
