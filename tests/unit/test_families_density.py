"""The contract of families, densities: values and gradients against mpmath, tails, links.

See `family_contract` for the rows that are tried.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from family_contract import (
    CATEGORIES,
    DENSITIES,
    FAR_ROWS,
    LOG_CDF,
    LOG_SF,
    MODERATE_ROWS,
    ROWS,
    SCIPY,
    TAIL_ROWS,
    TRIALS,
    TYPICAL,
    Rows,
    bound,
    evaluate,
    evaluated,
    every_family,
    exact,
    exact_slopes,
    generator,
    log_prob,
    rows,
)

from bayesmm.families import FAMILIES

MODERATE = [-2.1, -0.6, 0.4, 1.7]


@pytest.fixture(autouse=True)
def _float64_and_digits():
    with jax.enable_x64(True), mp.workdps(50):
        yield


def _size(y):
    return max(map(abs, y)) if isinstance(y, list) else abs(y)


def _has_density(family):
    assert family.name in DENSITIES, (
        f"write the log density of {family.name!r} in mpmath, as a textbook has it, into "
        "DENSITIES of a module in tests/unit/densities"
    )


@every_family
def test_value_and_gradient_agree_with_mpmath(family, evidence):
    _has_density(family)
    got, family = evaluated(family), bound(family)
    errors, of_slopes = [], []
    for i in MODERATE_ROWS:
        row = got.rows.row(i)
        want = exact(DENSITIES, family, *row)
        if want == -mp.inf:
            assert got.values[i] == -np.inf, row
            continue
        # Rounding of eta alone moves a log density by |y eta| ulps where y is large.
        scale = abs(want) + _size(row[0]) + 10
        errors.append(abs(got.values[i].item() - want) / scale)
        assert errors[-1] <= 1e-13, row
        if i % 5 == 0:
            for name, index, slope in exact_slopes(DENSITIES, family, *row):
                scale = abs(slope) + _size(row[0]) + 1
                of_slopes.append(abs(got.slopes[name][i][index] - slope) / scale)
                assert of_slopes[-1] <= 1e-10, (name, row)
    evidence("density", family.name, numbers=len(errors), error=max(errors), bound=1e-13)
    size = {"numbers": len(of_slopes), "error": max(of_slopes)}
    evidence("density, slopes", family.name, **size, bound=1e-10)


@every_family
def test_values_in_the_tails(family, evidence):
    """Far out, but where the answer is a number worth having: against mpmath, relatively."""
    _has_density(family)
    got, family = evaluated(family), bound(family)
    errors = [0.0]
    with mp.workdps(80):
        for i in TAIL_ROWS:
            row = got.rows.row(i)
            want = exact(DENSITIES, family, *row)
            if want == -mp.inf:
                assert got.values[i] == -np.inf, row
                continue
            if want < -1e90:  # exponentials are clipped there
                assert got.values[i] < -1e80, row
                continue
            scale = abs(want) + _size(row[0]) + 1
            errors.append(abs(got.values[i].item() - want) / scale)
            assert errors[-1] <= 1e-11, row
    size = {"numbers": len(errors) - 1, "error": max(errors)}
    evidence("density, tails", family.name, **size, bound=1e-11)


@every_family
def test_everything_is_finite_far_out(family):
    _has_density(family)
    got, family = evaluated(family), bound(family)
    for i in FAR_ROWS:
        # Outside the support (below a shift) there is no density; nothing else has an excuse.
        if not np.isfinite(got.values[i]):
            row = got.rows.row(i)
            assert got.values[i] == -np.inf, row
            assert exact(DENSITIES, family, *row) == -mp.inf, row
    for name, slope in got.slopes.items():
        bad = np.flatnonzero(~np.isfinite(slope.reshape(ROWS, -1)).all(axis=1))
        assert not bad.size, (name, got.rows.row(bad[0]))


def _variants():
    """Each family with each link that is not the default of its parameter."""
    for family in FAMILIES.values():
        for parameter in family.parameters:
            for link in parameter.links[1:]:
                yield pytest.param(
                    family.with_links({parameter.name: link}),
                    id=f"{family.name}-{parameter.name}-{link}",
                )


@pytest.mark.parametrize("family", list(_variants()))
def test_other_links(family):
    """Links have their own tests; here, that the density reads the parameter through the link."""
    _has_density(family)
    rng = generator(family, 1)
    family = bound(family)
    table = rows(family, MODERATE, rng, ROWS)
    values = np.asarray(log_prob(table.values(family), jnp.asarray(table.y), family))
    for i in range(6):
        row = table.row(i)
        want = exact(DENSITIES, family, *row)
        if want == -mp.inf:
            assert values[i] == -np.inf, row
            continue
        assert abs(values[i].item() - want) <= 1e-13 * (abs(want) + _size(row[0]) + 10), row


@pytest.mark.parametrize("name", sorted(SCIPY))
def test_density_agrees_with_scipy(name):
    family = FAMILIES[name]
    got = evaluated(family)
    natural = {n: np.asarray(family.link(n).inverse(e)) for n, e in got.rows.linear.items()}
    fixed = np.all([got.rows.natural[n] == v for n, v in family.fixed if n in got.rows.natural], 0)
    near = np.flatnonzero(fixed & (got.rows.y < 1e5) & np.isin(np.arange(ROWS), MODERATE_ROWS))
    want = SCIPY[name](got.rows.y[near], **{n: v[near] for n, v in natural.items()})
    finite = np.isfinite(want)  # SciPy's tails may underflow
    assert finite.any()
    np.testing.assert_allclose(got.values[near][finite], want[finite], rtol=1e-10, atol=1e-10)


# --- log_cdf and log_sf ---

with_cdf = pytest.mark.parametrize(
    "family",
    [f for f in FAMILIES.values() if f.log_cdf],
    ids=[name for name, f in FAMILIES.items() if f.log_cdf],
)


def _agree_with_tail(family, functions, got):
    errors = []
    for i in range(20):
        row = got.rows.row(i)
        want = exact(functions, family, *row)
        if want == -mp.inf:
            assert got.values[i] == -np.inf, row
            continue
        errors.append(abs(got.values[i].item() - want) / (abs(want) + 1e-3))
        assert errors[-1] <= 1e-9, row
        if i < 3:
            for name, index, slope in exact_slopes(functions, family, *row):
                error = abs(got.slopes[name][i][index] - slope)
                assert error <= 1e-7 * (abs(slope) + 1e-3), (name, row)
    return errors


@with_cdf
def test_distribution_functions(family, evidence):
    """Both against mpmath, each relatively in its own tail, and their gradients."""
    assert family.name in LOG_CDF, (
        f"{family.name!r} has log_cdf and log_sf: write both in mpmath into LOG_CDF and LOG_SF of "
        "its module in tests/unit/densities"
    )
    assert family.name in LOG_SF
    rng = generator(family, 2)
    table = rows(family, MODERATE, rng, ROWS)
    y = table.y.astype(float)
    y[-20:-10], y[-10:] = -np.inf, np.inf
    table = Rows(y, table.linear, table.natural)
    sides = [
        (LOG_CDF, evaluate(family, table, family.log_cdf)),
        (LOG_SF, evaluate(family, table, family.log_sf)),
    ]
    errors = []
    for functions, got in sides:
        with mp.workdps(30):
            errors += _agree_with_tail(family, functions, got)
        for name, slope in got.slopes.items():
            bad = np.flatnonzero(~np.isfinite(slope.reshape(ROWS, -1)).all(axis=1))
            assert not bad.size, (name, table.row(bad[0]))
    below, above = (got.values for _, got in sides)
    np.testing.assert_array_equal(below[-20:], np.repeat([-np.inf, 0.0], 10))
    np.testing.assert_array_equal(above[-20:], np.repeat([0.0, -np.inf], 10))
    np.testing.assert_allclose(np.logaddexp(below, above), 0.0, atol=1e-9)
    size = {"numbers": len(errors), "error": max(errors)}
    evidence("distribution function", family.name, **size, bound=1e-9)


# --- probabilities add up ---


def _countable(family):
    """Return all responses that matter where they can be listed, else None."""
    kind = family.response
    if not kind.integer:
        return None
    if kind.columns:
        return np.array([(a, b, 5 - a - b) for a in range(6) for b in range(6 - a)])
    if kind.categories:
        return np.arange(len(CATEGORIES))
    return np.arange(2 if kind.binary else TRIALS + 1 if kind.trials else ROWS)


countable = pytest.mark.parametrize(
    "family",
    [f for f in FAMILIES.values() if f.response.integer],
    ids=[name for name, f in FAMILIES.items() if f.response.integer],
)


@countable
def test_probabilities_add_up_to_one(family, evidence):
    y = _countable(family)
    family = bound(family)
    # One row of parameters, for all responses.
    near = {p.name: TYPICAL.get(p.name, 0.0) for p in family.parameters}
    one = rows(family, [0.3], generator(family, 3), 1)
    linear = {n: v + near[family.parameter(n).name] for n, v in one.linear.items()}
    size = len(y)
    y = np.resize(y, (ROWS, *y.shape[1:]))
    table = Rows(
        y,
        {n: np.repeat(v, ROWS, axis=0) for n, v in linear.items()},
        {n: np.repeat(v, ROWS, axis=0) for n, v in one.natural.items()},
    )
    values = np.asarray(log_prob(table.values(family), jnp.asarray(table.y), family))[:size]
    total = np.exp(values).sum()
    np.testing.assert_allclose(total, 1.0, rtol=1e-9)
    evidence("sum of probabilities", family.name, total, 1.0, bound=1e-9)
