"""Whitened models against their plain programs, and the quadratic against dense algebra.

`MODELS` holds what a model can have; each joins the tests of densities and of sums over rows by
being in the table.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import block_diag
from transform_cases import (
    EPS,
    carrying,
    float64,
    indicators,
    quick_jit,
    table,
    transformed,
)

from bayesmm.model import Whitened, collect, log_likelihood
from bayesmm.model.curvature import positive_information

#: Log densities of some hundred, and what they are made of, agree to this up to rounding.
RTOL = 1e-8


@pytest.fixture(autouse=True)
def _float64():
    with float64():
        yield


MODELS = {
    "poisson, nested": ("count ~ x + (1 | a/b)", "poisson"),
    "bernoulli, crossed": ("yes ~ x + (1 | g) + (1 + x | h)", "bernoulli"),
    "zi, same group": (["count ~ x + (1 | g)", "zi ~ w + (1 | g)"], "zero_inflated_poisson"),
    "zi, other group": (["count ~ x + (1 | g)", "zi ~ 1 + (1 | h)"], "zero_inflated_poisson"),
    "shape": (["count ~ x + (1 | g)", "shape ~ 1 + (1 | g)"], "negbinomial"),
    "cumulative": ("grade ~ x + (1 | g)", "cumulative"),
    "sigma": (["y ~ x + (1 + x | g)", "sigma ~ x + (1 | g)"], "gaussian"),
    "categorical": ("kind ~ x + (1 | g)", "categorical"),
    "two numbers": ("y ~ x + (1 | g)", "student"),
    "q=3": ("count ~ x + (1 + x + w | g)", "poisson"),
    "q=7": ("count ~ (1 + x + w + x:w + I(x**2) + I(w**2) + I(x**3) || h)", "poisson"),
    "two blocks, no intercept": ("count ~ 0 + x + (1 + x | g) + (0 + w | g)", "poisson"),
    "offset, weights": ("weighted(count, weight) ~ x + offset(w) + (1 | g)", "poisson"),
    "diagonal": ("count ~ x + (1 | g) + (1 + x | h)", "poisson"),
    "diagonal, nested below": (
        ["count ~ x + (1 | g) + (1 | h)", "zi ~ x + (1 | g:h)"],
        "zero_inflated_poisson",
    ),
    "no group": ("count ~ x", "poisson"),
}
every_model = pytest.mark.parametrize("name", MODELS)


def case_of(name, seed=1):
    formula, family = MODELS[name]
    diagonal = name.startswith("diagonal")
    return transformed(formula, table(), family, kind=Whitened, seed=seed, diagonal=diagonal)


# --- densities ---


def position_of(made, inputs, flat, u):
    """The plain program's position: unconstrained parameters, and u of each group."""
    position, start = {}, 0
    for name, shape in made.sites:
        stop = start + int(np.prod(shape))
        position[name] = flat[start:stop].reshape(shape)
        start = stop
    for factor, own in zip(inputs.plan.factors, u, strict=True):
        start = 0
        for member in factor.members:
            stop = start + len(member.names.effects)
            position[member.names.variable("z")] = own[start:stop].T
            start = stop
    return position


@partial(quick_jit, static_argnums=0)
def evaluate(made, x, z, inputs):
    """Whitened log density, plain one, the map's Jacobian, and what the conditional is made of."""

    def plain_position(x, z):
        found = made.evaluate(x, inputs)
        u = made.conditional(found, inputs).standardised(z)
        flat = inputs.coordinates.centre + inputs.coordinates.scale @ x
        return flat, u, found

    def flat_position(xz):
        flat, u, found = plain_position(xz[: made.size], xz[made.size :])
        rest = found.covariances, made.population(found, inputs)
        return jnp.concatenate([flat, *(part.ravel() for part in u)]), rest

    jacobian, (covariances, population) = jax.jacfwd(flat_position, has_aux=True)(
        jnp.concatenate([x, z])
    )
    flat, u, _ = plain_position(x, z)
    position = position_of(made, inputs, flat, u)
    return (
        made.log_density({"x": x, "z": z}, inputs),
        made.program.log_density(position, inputs.model),
        jacobian,
        [part.ravel() for part in u],
        covariances,
        population,
        made.linear(x, inputs) if inputs.plan.size else (),
    )


@every_model
def test_density_is_that_of_the_plain_program(name, evidence):
    case = case_of(name)
    size, effects = case.made.size, case.inputs.plan.size
    assert effects == 0 or bool(case.inputs.plan.dense) == ("crossed" in name or "other" in name)
    rng = np.random.default_rng(2)
    densities, expected = [], []
    for _ in range(2):
        x, z = rng.normal(size=size), rng.normal(size=effects)
        values = evaluate(case.made, x, z, case.inputs)
        found, plain, jacobian, u, covariances, population, linear = jax.tree.map(
            np.asarray, values
        )
        log_det = np.linalg.slogdet(jacobian)[1]
        densities.append(float(found))
        expected.append(float(plain) + log_det)
        assert densities[-1] == pytest.approx(expected[-1], rel=RTOL)
        # The map itself is that of the quadratic, in dense algebra.
        if effects and not name.startswith("diagonal"):
            assert_map_is_that_of_the_quadratic(
                case, z, jacobian[size:, size:], u, covariances, population, linear
            )
    formula = "; ".join(np.atleast_1d(MODELS[name][0]))
    evidence("whitened", name, densities, expected, formula=formula, bound=RTOL)


def assert_map_is_that_of_the_quadratic(case, z, slope, u, covariances, population, linear):
    """u has precision A = I + Lambda'Z'WZ Lambda and mean A^{-1} Lambda'(c - H d)."""
    quadratic = case.quadratic
    Lambda = block_diag(
        *(
            np.kron(
                block_diag(*(covariances[m.names.variable("r")] for m in factor.members)),
                np.eye(factor.levels),
            )
            for factor in case.factors
        )
    )
    Z, W = indicators(case), quadratic["W"]
    d = population - np.concatenate([np.ravel(v) for v in quadratic["reference"].values()])
    c = np.einsum("knr,kn->r", Z, quadratic["score"])
    A = np.eye(len(Lambda)) + Lambda.T @ np.einsum("knr,kmn,mns->rs", Z, W, Z) @ Lambda
    mean = np.linalg.solve(A, Lambda.T @ (c - dense_slopes(case, quadratic) @ d))
    rounding = len(A) * EPS * np.linalg.cond(A)
    assert rounding < 1e-8
    np.testing.assert_allclose(A @ slope @ slope.T, np.eye(len(A)), atol=rounding)
    atol = rounding * (1.0 + np.abs(mean).max())
    np.testing.assert_allclose(np.concatenate(u), mean + slope @ z, atol=atol)
    # The linear predictors at the mean of the effects.
    at_mean = np.einsum("knr,r->kn", Z, Lambda @ mean) + base(case, population)
    np.testing.assert_allclose(linear, at_mean, atol=100 * atol * np.abs(Lambda).max())


def base(case, population):
    """The linear predictors with groups, without their effects, (m, rows)."""
    design, program, start, found = case.design, case.program, 0, {}
    for k, names in enumerate(program.layout):
        if names.elements or not names.coefs:
            continue
        stop = start + len(names.coefs)
        rows = design.predictors[k]
        found[k] = (rows.X - rows.centre) @ population[start:stop]
        start = stop
    zero = np.zeros(design.rows)
    return np.stack([found.get(k, zero) + design.predictors[k].offset for k in carrying(program)])


def dense_slopes(case, quadratic):
    """H: Z' times less the slopes of the score by each population-level parameter."""
    own, parts = carrying(case.program), []
    predictors = {names.variable("b"): k for k, names in enumerate(case.program.layout)}
    for name in quadratic["reference"]:
        if name in quadratic["other"]:
            parts.append(quadratic["other"][name])
            continue
        rows = case.design.predictors[predictors[name]]
        by_this = quadratic["W"][:, own.index(predictors[name])]
        parts.append(np.stack([by_this * column for column in (rows.X - rows.centre).T]))
    slopes = np.concatenate([np.zeros((0, len(own), case.design.rows)), *parts])
    return np.einsum("knr,pkn->rp", indicators(case), slopes)


@partial(quick_jit, static_argnums=0)
def summaries(made, x, z, inputs):
    """What a result keeps: of the whitened program, and of the plain one in the same place."""
    key = jax.random.key(0)
    u = made.conditional(made.evaluate(x, inputs), inputs).standardised(z)
    flat = inputs.coordinates.centre + inputs.coordinates.scale @ x
    position = position_of(made, inputs, flat, u)
    return (
        made.summarise({"x": x, "z": z}, inputs, key),
        made.program.summarise(position, inputs.model, key),
    )


@pytest.mark.parametrize("name", ["sigma", "diagonal, nested below", "cumulative", "no group"])
def test_what_a_result_keeps_is_what_the_plain_program_keeps(name):
    case, rng = case_of(name), np.random.default_rng(7)
    x, z = rng.normal(size=case.made.size), rng.normal(size=case.inputs.plan.size)
    found, plain = summaries(case.made, x, z, case.inputs)
    assert jax.tree.structure(found) == jax.tree.structure(plain)
    for value, expected in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(value, expected, rtol=RTOL, atol=1e-10)


# --- sums over rows ---


@pytest.mark.parametrize("name", [name for name in MODELS if name != "no group"])
def test_sums_over_rows_are_those_of_dense_matrices(name):
    case = case_of(name, seed=3)
    found, quadratic = case.inputs.information, case.quadratic
    Z, start = indicators(case), 0
    at = []
    for factor in case.factors:
        stop = start + factor.effects * factor.levels
        at.append(Z[:, :, start:stop].reshape(*Z.shape[:2], factor.effects, factor.levels))
        start = stop
    for f, factor in enumerate(case.factors):
        own = np.einsum("knqj,kmn,mnrj->qrj", at[f], quadratic["W"], at[f])
        np.testing.assert_allclose(found.G[f], own, rtol=1e-12, atol=1e-12)
        c = np.einsum("knqj,kn->qj", at[f], quadratic["score"])
        np.testing.assert_allclose(found.c[f], c, rtol=1e-12, atol=1e-12)
        assert found.H[f].shape[:2] == (factor.effects, factor.levels)
    for (f, g), pairs in case.inputs.plan.pairs.items():
        # All pairs of levels: those that are not listed are 0.
        block = np.einsum("knqj,kmn,mnrl->qrjl", at[f], quadratic["W"], at[g])
        listed = np.zeros_like(block)
        listed[:, :, pairs.first, pairs.second] = found.cross[f, g]
        np.testing.assert_allclose(listed, block, rtol=1e-12, atol=1e-12)
    H = np.concatenate([h.reshape(-1, h.shape[-1]) for h in found.H])
    np.testing.assert_allclose(H, dense_slopes(case, quadratic), rtol=1e-12, atol=1e-12)
    reference = np.concatenate([np.ravel(v) for v in quadratic["reference"].values()])
    np.testing.assert_array_equal(found.reference, reference)


# --- the quadratic ---


def random_symmetric(rng, m, rows):
    root = rng.normal(size=(m, m, rows))
    return root + root.transpose(1, 0, 2)


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_information_is_made_positive_where_it_is_not(m, weighted):
    rng, rows = np.random.default_rng(m), 200
    observed, score = random_symmetric(rng, m, rows), rng.normal(size=(m, rows))
    weights = rng.gamma(2.0, size=rows) if weighted else None
    found = np.asarray(positive_information(observed, score, weights)).transpose(2, 0, 1)
    observed = observed.transpose(2, 0, 1)
    values, vectors = np.linalg.eigh(observed)
    rounding = 100 * EPS * np.abs(values).max()
    positive = values.min(axis=1) > 0
    assert 0 < positive.sum() < rows
    np.testing.assert_allclose(found[positive], observed[positive], atol=rounding)
    assert np.linalg.eigvalsh(found).min() >= -rounding
    # Along an eigenvector with a negative value it is the squared score of one observation.
    squared = np.einsum("nkv,kn->nv", vectors, score) ** 2
    squared = squared if weights is None else squared / weights[:, None]
    values = np.where(values > 0, values, squared)
    expected = np.einsum("nkv,nv,nmv->nkm", vectors, values, vectors)
    np.testing.assert_allclose(found, expected, atol=rounding * max(1.0, squared.max()))


#: What is linearised, and whether the log-likelihood is concave in the predictors with groups.
LINEARISED = {
    "poisson": ("count ~ x + offset(w) + (1 | g)", "poisson", True),
    "weights": ("weighted(count, weight) ~ x + (1 | g)", "poisson", True),
    "sigma": (["y ~ x + (1 + x | g)", "sigma ~ x"], "gaussian", True),
    "sigma, weights": (["weighted(y, weight) ~ x + (1 | a/b)", "sigma ~ x"], "gaussian", True),
    "shape": ("count ~ x + (1 | g)", "negbinomial", True),
    "formula of shape": (["count ~ x + (1 | g)", "shape ~ w"], "negbinomial", True),
    "groups in mu and shape": (
        ["count ~ x + (1 | g)", "shape ~ w + (1 | g)"],
        "negbinomial",
        False,
    ),
    "zi": (["count ~ x + (1 | g)", "zi ~ w"], "zero_inflated_poisson", False),
    "two numbers": ("y ~ x + (1 | g)", "student", False),
    "cutpoints": ("grade ~ x + w + (1 | g)", "cumulative", True),
    "category-specific": ("grade ~ cs(x) + w + (1 | g)", "acat", True),
    "categorical": ("kind ~ x + (1 | g)", "categorical", True),
}


@partial(quick_jit, static_argnums=(0, 1))
def linearise(made, program, x, eta, inputs):
    """What the quadratic is made of, and the parameters at x."""
    found = made.evaluate(x, inputs)
    return (
        made.linearise(x, eta, inputs),
        found.quantities,
        made.population(found, inputs),
    )


@partial(quick_jit, static_argnums=0)
def scores(program, eta, quantities, design):
    """The derivative of each row's log-likelihood by the m predictors with groups, at eta."""
    own = carrying(program)

    def total(eta):
        # The offset makes the predictors what they are asked to be, and there are no effects.
        predictors, none = list(design.predictors), {}
        for k, values in zip(own, eta, strict=True):
            names, rows = program.layout[k], predictors[k]
            b = quantities[names.variable("b")]
            predictors[k] = replace(rows, offset=values - rows.X @ b)
            for group, columns in zip(names.groups, rows.groups, strict=True):
                none[group.variable("r")] = jnp.zeros((columns.levels, len(group.effects)))
        moved = replace(design, predictors=tuple(predictors))
        return log_likelihood(program.family, program.layout, moved, {**quantities, **none}).sum()

    return jax.grad(total)(eta)


def moved(case, quantities, name, change):
    """The quantities where one population-level parameter, for centred predictors, has changed."""
    found = dict(quantities)
    names = {names.variable("b"): k for k, names in enumerate(case.program.layout)}
    found[name] = found[name] + change
    if name in names:
        layout, rows = case.program.layout[names[name]], case.design.predictors[names[name]]
        across = rows.centre @ change
        if layout.has_intercept:
            found[name][0] -= across
        elif layout.intercept_in:
            found[layout.intercept_in] = found[layout.intercept_in] + across
    return found


def linearised(name):
    """A case, its quadratic at a random place, and what it is compared with."""
    formula, family, concave = LINEARISED[name]
    case = transformed(formula, table(), family, kind=Whitened, seed=4)
    rng = np.random.default_rng(5)
    x = rng.normal(size=case.made.size)
    eta = rng.normal(0.0, 0.7, (len(carrying(case.program)), case.design.rows))
    values = linearise(case.made, case.program, x, eta, case.inputs)
    found, quantities, population = jax.tree.map(np.asarray, values)

    # Where thresholds hold the intercept, eta is for centred predictors and they are not.
    across = np.zeros((len(eta), 1))
    for i, k in enumerate(carrying(case.program)):
        names, rows = case.program.layout[k], case.design.predictors[k]
        if names.intercept_in:
            across[i] = rows.centre @ quantities[names.variable("b")]

    def score(eta, moved):
        return np.asarray(scores(case.program, eta + across, moved, case.design))

    return case, found, eta, quantities, population, score, concave, across


@pytest.mark.parametrize("name", LINEARISED)
def test_quadratic_is_the_expansion_of_the_log_likelihood(name):
    case, found, eta, quantities, population, score, concave, across = linearised(name)
    own = carrying(case.program)
    here = np.stack(
        [
            case.design.predictors[k].X @ quantities[case.program.layout[k].variable("b")]
            + case.design.predictors[k].offset
            for k in own
        ]
    )
    here = here - across
    # Its score is the true one where it was made.
    W, exact = found["W"], score(eta, quantities)
    at_eta = found["score"] - np.einsum("kmn,mn->kn", W, eta - here)
    np.testing.assert_allclose(at_eta, exact, rtol=1e-9, atol=1e-9)
    h = 1e-4  # rounding over h, and h^4 by Richardson's extrapolation

    def slope(function):
        near, far = ((function(t) - function(-t)) / (2 * t) for t in (h / 2, h))
        return (4 * near - far) / 3

    def matches(value, expected):
        np.testing.assert_allclose(value, expected, rtol=1e-7, atol=1e-8)

    if concave:
        for m, direction in enumerate(np.eye(len(own))):
            along = direction[:, None]
            matches(W[:, m], -slope(lambda t, along=along: score(eta + t * along, quantities)))
    with_groups = {case.program.layout[k].variable("b") for k in own}
    assert set(found["other"]) == set(found["reference"]) - with_groups
    for parameter, slopes in found["other"].items():
        shape = found["reference"][parameter].shape
        for direction, value in zip(np.eye(len(slopes)), slopes, strict=True):
            change = direction.reshape(shape)

            def along(t, parameter=parameter, change=change):
                return score(eta, moved(case, quantities, parameter, t * change))

            matches(value, -slope(along))
    # The sums are for the parameters in the order in which densities give them.
    sums = collect(case.inputs.plan, case.program.layout, case.design, **found)
    np.testing.assert_allclose(sums.reference, population, rtol=1e-12)


@pytest.mark.parametrize("name", ["sigma", "sigma, weights"])
def test_quadratic_is_exact_in_effects_on_a_normal_mean(name):
    case, found, eta, quantities, _, score, *_ = linearised(name)
    rows = case.design.predictors[0]
    here = (rows.X @ quantities["b"] + rows.offset)[None]
    effects = np.random.default_rng(6).normal(0.0, 3.0, case.inputs.plan.size)
    away = np.einsum("knr,r->kn", indicators(case), effects)
    assert np.abs(here + away - eta).max() > 3.0
    np.testing.assert_allclose(
        found["score"] - np.einsum("kmn,mn->kn", found["W"], away),
        score(here + away, quantities),
        rtol=1e-9,
        atol=1e-9,
    )
