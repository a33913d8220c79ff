"""The blocked Cholesky factorisation of all group effects against NumPy's dense algebra.

`STRUCTURES` holds the designs: the level of each row in every factor. Each joins all tests by being
in the table.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transform_cases import EPS, float64, quick_jit

from bayesmm.design import Design, GroupDesign, PredictorDesign
from bayesmm.layout import GroupLayout, PredictorLayout
from bayesmm.model import find_factors, make_plan, plan
from bayesmm.model.covariances import level_covariances
from bayesmm.model.elimination import factorise

ROWS = 48


@pytest.fixture(autouse=True)
def _float64():
    with float64():
        yield


# --- designs ---


def shuffled(levels, seed=0):
    """A level for each row, all of them occurring about equally often."""
    return np.random.default_rng(seed).permutation(np.resize(np.arange(levels), ROWS))


A, B, K = shuffled(12), shuffled(7, 1), shuffled(5, 2)
EACH = np.arange(ROWS)
#: A level that occurs in one row only, and one that occurs in most.
UNEQUAL = np.where(EACH == 5, 3, np.where(EACH > 15, 0, EACH % 3))
#: Each level of A with three of these only.
PARTLY = (A + np.resize([0, 1, 4], ROWS)) % 9
CELLS = A * 7 + B


@dataclass(frozen=True)
class Structure:
    """The levels of the rows and the number of effects, by factor; and what a plan makes of it.

    `steps` are the levels of the factors that are eliminated one by one, `core` the columns of the
    dense matrix.
    """

    indices: tuple
    effects: tuple[int, ...]
    steps: tuple[int, ...]
    core: int = 0


STRUCTURES = {
    "q=1": Structure((A,), (1,), (12,)),
    "q=2": Structure((A,), (2,), (12,)),
    "q=3": Structure((A,), (3,), (12,)),
    "q=7": Structure((A,), (7,), (12,)),
    "one level": Structure((np.zeros_like(A),), (2,), (1,)),
    "unequal": Structure((UNEQUAL,), (2,), (4,)),
    "nested": Structure((A, A // 3), (2, 1), (12, 4)),
    "nested, q=7 in 2": Structure((A, A // 3), (7, 2), (12, 4)),
    "nested, q=2 in 7": Structure((A, A // 3), (2, 7), (12, 4)),
    "chain of three": Structure((A // 3, A, A // 6), (2, 1, 2), (12, 4, 2)),
    "chain of four, rows first": Structure((A // 6, EACH, A // 3, A), (1, 1, 2, 1), (48, 12, 4, 2)),
    "the same twice": Structure((A, (A + 5) % 12), (1, 2), (12, 12)),
    "unequal in one": Structure((UNEQUAL, np.zeros_like(A)), (1, 1), (4, 1)),
    "crossed": Structure((A, B), (2, 1), (), 7),
    "crossed, q=7": Structure((A, K), (7, 2), (), 10),
    "crossed, smaller first": Structure((K, A), (2, 3), (), 10),
    "three crossed": Structure((A, B, K), (1, 2, 1), (), 19),
    "partly crossed": Structure((A, PARTLY), (2, 2), (), 18),
    "unequal crossed": Structure((B, UNEQUAL), (1, 2), (), 8),
    "cells below": Structure((A, B, CELLS), (2, 1, 1), (len(np.unique(CELLS)),), 7),
    "rows below three": Structure((A, B, EACH, K), (1, 2, 1, 1), (48,), 19),
    "rows and cells below": Structure(
        (EACH, A, CELLS, B), (1, 2, 2, 1), (48, len(np.unique(CELLS))), 7
    ),
    "nested in one of two crossed": Structure((A, A // 3, B), (1, 2, 1), (), 15),
}
every_structure = pytest.mark.parametrize("name", STRUCTURES)
every_crossed_structure = pytest.mark.parametrize(
    "name", [name for name, structure in STRUCTURES.items() if structure.core]
)


def designed(structure):
    """The factors and a design of a structure."""
    rng = np.random.default_rng(len(structure.indices))
    groups, names = [], []
    for k, (index, q) in enumerate(zip(structure.indices, structure.effects, strict=True)):
        levels, own = np.unique(index, return_inverse=True)
        groups.append(GroupDesign(own.astype(np.int32), rng.normal(size=(ROWS, q)), len(levels)))
        labels = tuple(f"e{i}" for i in range(q))
        names.append(GroupLayout(f"g{k}", "mu", labels, labels, ((tuple(range(q)), True),)))
    rows = PredictorDesign(np.ones((ROWS, 1)), np.zeros(1), np.zeros(()), tuple(groups))
    layout = (PredictorLayout("mu", ("Intercept",), ("1",), tuple(names)),)
    design = Design((rows,))
    return find_factors(layout, design), design


def precision(factors, design):
    """A = I + Z'WZ, its columns ordered by factor, effect and level."""
    weights = np.random.default_rng(1).gamma(1.0, size=ROWS)
    Z = []
    for factor in factors:
        group = design.predictors[0].groups[factor.members[0].group]
        indicator = group.index[:, None] == np.arange(factor.levels)
        Z.append((group.columns[:, :, None] * indicator[:, None, :]).reshape(ROWS, -1))
    Z = np.hstack(Z)
    return np.eye(Z.shape[1]) + Z.T @ (weights[:, None] * Z)


def spans(factors):
    """The columns of each factor in the dense matrix."""
    sizes = [factor.effects * factor.levels for factor in factors]
    return [slice(stop - size, stop) for size, stop in zip(sizes, np.cumsum(sizes), strict=True)]


def blocks_of(matrix, found):
    """The blocks of a dense matrix that `factorise` takes."""
    factors, at = found.factors, spans(found.factors)

    def block(f, g):
        shape = (factors[f].effects, factors[f].levels, factors[g].effects, factors[g].levels)
        return matrix[at[f], at[g]].reshape(shape).transpose(0, 2, 1, 3)

    own = [np.arange(factor.levels) for factor in factors]
    diagonal = [block(f, f)[:, :, own[f], own[f]] for f in range(len(factors))]
    cross = {
        (f, g): block(f, g)[:, :, pairs.first, pairs.second]
        for (f, g), pairs in found.pairs.items()
    }
    return diagonal, cross


@quick_jit
def inverse_factor(found, diagonal, cross):
    """C^{-1}, C^{-T} and log det C as dense arrays."""
    C = factorise(found, diagonal, cross)
    shapes = [(factor.effects, factor.levels) for factor in found.factors]
    starts = np.cumsum([0, *(q * levels for q, levels in shapes)])

    def flat(function):
        def apply(v):
            parts = [
                v[start : start + q * levels].reshape(q, levels)
                for start, (q, levels) in zip(starts, shapes, strict=False)
            ]
            return jnp.concatenate([part.ravel() for part in function(parts)])

        return jax.vmap(apply, in_axes=1, out_axes=1)(jnp.eye(found.size))

    return flat(C.forward), flat(C.backward), C.half_log_det()


def assert_factor_of(A, found, diagonal, cross):
    """C^{-1} A C^{-T} = B, up to rounding."""
    forward, backward, half_log_det = map(np.asarray, inverse_factor(found, diagonal, cross))
    rounding = len(A) * EPS * np.linalg.cond(A)
    np.testing.assert_allclose(forward @ A @ forward.T, np.eye(len(A)), rtol=0, atol=rounding)
    np.testing.assert_allclose(backward, forward.T, rtol=0, atol=rounding * np.abs(forward).max())
    assert half_log_det == pytest.approx(0.5 * np.linalg.slogdet(A)[1], abs=len(A) * rounding)
    return forward, backward


# --- tests ---


@every_structure
def test_factor_is_that_of_dense_algebra(name, evidence):
    structure = STRUCTURES[name]
    factors, design = designed(structure)
    found = make_plan(factors, design, most_columns=structure.core)
    assert tuple(factors[step.factor].levels for step in found.steps) == structure.steps
    assert found.dense == structure.core
    A = precision(factors, design)
    assert found.size == len(A)
    forward, backward = assert_factor_of(A, found, *blocks_of(A, found))
    v = np.random.default_rng(2).normal(size=len(A))
    solved = np.linalg.solve(A, v)
    rounding = len(A) * EPS * np.linalg.cond(A)
    by_factor = backward @ (forward @ v)
    np.testing.assert_allclose(by_factor, solved, rtol=0, atol=rounding * np.abs(v).max())
    evidence("elimination", name, by_factor, solved, bound=rounding * np.abs(v).max())
    assert np.sum((forward @ v) ** 2) == pytest.approx(v @ solved, rel=rounding)


@every_crossed_structure
@pytest.mark.parametrize("sparse", [True, False])
def test_both_ways_of_the_products_of_crossed_factors(name, sparse, monkeypatch):
    structure = STRUCTURES[name]
    factors, design = designed(structure)
    chosen = make_plan(factors, design, most_columns=structure.core)
    monkeypatch.setattr(plan, "DENSE_IS_FASTER_BY", 0.0 if sparse else np.inf)
    found = make_plan(factors, design, most_columns=structure.core)
    assert found.core.sparse is sparse
    if chosen.core.sparse is sparse:
        return  # tested above
    A = precision(factors, design)
    assert_factor_of(A, found, *blocks_of(A, found))


@pytest.mark.parametrize("name", ["crossed", "three crossed", "cells below", "rows below three"])
def test_diagonal_plan_is_that_of_crossed_factors_which_are_independent(name):
    structure = STRUCTURES[name]
    factors, design = designed(structure)
    found = make_plan(factors, design, most_columns=0, diagonal=True)
    assert found.core is None
    A = precision(factors, design)
    # What is left when the nested factors are eliminated has its blocks between factors taken out.
    at, nested = spans(factors), len(structure.steps)
    start = at[nested].start
    upper = A[:start, start:]
    explained = upper.T @ np.linalg.solve(A[:start, :start], upper)
    left, apart = A[start:, start:] - explained, np.zeros_like(explained)
    for own in at[nested:]:
        own = slice(own.start - start, own.stop - start)
        apart[own, own] = left[own, own]
    assert not np.allclose(left, apart)
    approximate = A.copy()
    approximate[start:, start:] = explained + apart
    assert np.linalg.eigvalsh(approximate).min() > 0
    assert_factor_of(approximate, found, *blocks_of(A, found))


def test_diagonal_plan_is_exact_where_factors_are_nested():
    factors, design = designed(STRUCTURES["chain of three"])
    found = make_plan(factors, design, most_columns=0, diagonal=True)
    A = precision(factors, design)
    assert_factor_of(A, found, *blocks_of(A, found))


@every_crossed_structure
def test_what_is_too_large_has_no_plan(name, monkeypatch):
    structure = STRUCTURES[name]
    factors, design = designed(structure)
    assert make_plan(factors, design, most_columns=structure.core) is not None
    assert make_plan(factors, design, most_columns=structure.core - 1) is None
    # Nor have lists that are.
    monkeypatch.setattr(plan, "DENSE_IS_FASTER_BY", 0.0)
    listed = make_plan(factors, design, most_columns=structure.core).core.left
    monkeypatch.setattr(plan, "MOST_PRODUCTS", len(listed))
    assert make_plan(factors, design, most_columns=structure.core) is not None
    monkeypatch.setattr(plan, "MOST_PRODUCTS", len(listed) - 1)
    assert make_plan(factors, design, most_columns=structure.core) is None


def test_a_model_without_groups_has_an_empty_plan():
    design = Design((PredictorDesign(np.ones((4, 1)), np.zeros(1), np.zeros(()), ()),))
    layout = (PredictorLayout("mu", ("Intercept",), ("1",), ()),)
    found = make_plan(find_factors(layout, design), design, most_columns=0)
    assert (found.size, found.dense, found.steps) == (0, 0, ())
    C = factorise(found, [], {})
    assert C.forward([]) == C.backward([]) == []
    assert float(C.half_log_det()) == 0.0


@quick_jit
@jax.value_and_grad
def summary_of_factor(t, found, start, direction, v):
    """A number that depends on all of C, for the matrix start + t direction; its derivative."""
    moved = jax.tree.map(lambda a, d: a + t * d, start, direction)
    C = factorise(found, *moved)
    w = C.forward(v)
    return (
        C.half_log_det()
        + 0.5 * sum(jnp.sum(part**2) for part in w)
        + sum(jnp.sum(jnp.sin(part)) for part in C.backward(v))
    )


@pytest.mark.parametrize(
    ("name", "sparse"),
    [("nested", False), ("nested, q=7 in 2", False), ("cells below", False), ("crossed", True)],
)
def test_gradients_are_finite_differences(name, sparse, monkeypatch):
    structure = STRUCTURES[name]
    factors, design = designed(structure)
    monkeypatch.setattr(plan, "DENSE_IS_FASTER_BY", 0.0 if sparse else np.inf)
    found = make_plan(factors, design, most_columns=structure.core)
    A = precision(factors, design)
    start = blocks_of(A, found)
    rng = np.random.default_rng(3)
    # A random direction with the same zeros, that is small beside I.
    noise = rng.normal(size=A.shape) * (A != 0)
    direction = blocks_of(0.1 * (noise + noise.T), found)
    v = [rng.normal(size=(factor.effects, factor.levels)) for factor in factors]

    def value(t):
        return float(summary_of_factor(t, found, start, direction, v)[0])

    gradient = float(summary_of_factor(0.0, found, start, direction, v)[1])
    # Richardson's extrapolation: the error is of the order h^4, and rounding over h.
    h = 1e-2
    near, far = ((value(t) - value(-t)) / (2 * t) for t in (h / 2, h))
    assert gradient == pytest.approx((4 * near - far) / 3, rel=1e-6)
    assert abs(gradient) > 1e-2


# --- covariances of single levels ---


@pytest.mark.parametrize(
    ("name", "sparse"),
    [
        (name, sparse)
        for name, structure in STRUCTURES.items()
        for sparse in ((True, False) if structure.core else (True,))
    ],
)
def test_covariances_of_levels_are_blocks_of_the_inverse(name, sparse, monkeypatch):
    structure = STRUCTURES[name]
    monkeypatch.setattr(plan, "DENSE_IS_FASTER_BY", 0 if sparse else 10**9)
    factors, design = designed(structure)
    A = precision(factors, design)
    found = make_plan(factors, design, most_columns=100)
    diagonal, cross = blocks_of(A, found)
    C = factorise(found, diagonal, cross)
    expected, _ = blocks_of(np.linalg.inv(A), found)
    for own, block in zip(level_covariances(C), expected, strict=True):
        np.testing.assert_allclose(own, block, atol=1e-12, rtol=1e-10)
