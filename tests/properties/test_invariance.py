"""Properties: what must not matter to a model does not, by log densities at mapped points.

Nothing is sampled. Rows, groups and their numbers are fixed, so that a density is compiled once
for a formula and evaluated at every example.
"""

from functools import partial

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmm as bm

ROWS = 36
few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32 - 1)
units = st.floats(-6, 6).map(lambda power: 10.0**power)


@partial(jax.jit, static_argnums=0)
def _log_density(program, position, inputs):
    return program.log_density(position, inputs)


@partial(jax.jit, static_argnums=0)
def _quantities(program, position, inputs):
    return program.summarise(position, inputs, jax.random.key(0)).quantities


class Density:
    """The log density of a model, for positions in the sampler's coordinates."""

    def __init__(self, *args, parameterization="noncentered", **kwargs):
        prepared = bm.Model(*args, **kwargs)._prepared
        self.spec = prepared.spec
        self.program = prepared.program(parameterization)
        self.inputs = prepared.inputs

    def __call__(self, position):
        with jax.enable_x64(True):
            return float(_log_density(self.program, position, self.inputs))

    def quantities(self, position):
        with jax.enable_x64(True):
            found = _quantities(self.program, position, self.inputs)
            return {name: np.asarray(value) for name, value in found.items()}

    def position(self, seed):
        """A random position around the starts: the scale of the data must not carry it away."""
        rng = np.random.default_rng(seed)
        with jax.enable_x64(True):
            region = jax.tree.map(np.asarray, self.program.starting_region(self.inputs))
        centre, width = region
        return {k: centre[k] + 0.3 * width[k] * rng.normal(size=centre[k].shape) for k in centre}


def table(seed):
    """Random numbers on fixed cells: groups g, h and b in a, a factor f, weights."""
    rng = np.random.default_rng(seed)
    n = ROWS
    eta = rng.normal(size=n)
    return pd.DataFrame(
        {
            "y": rng.normal() + rng.gamma(2) * eta,
            "positive": rng.lognormal(size=n),
            "count": rng.poisson(np.exp(1 + 0.3 * eta)),
            "binary": np.resize([0, 1, 1], n),
            "x": rng.normal(rng.normal(), rng.gamma(2), n),
            "w": rng.normal(size=n),
            "f": np.resize(list("uvwuvwwvu"), n),
            "g": np.resize(list("pqrst"), n),
            "h": np.resize(list("klmnmlk"), n),
            "a": np.resize(list("AAAABBBBCCCC"), n),
            "b": np.resize([1, 2, 1, 2, 1, 2, 3, 3, 2, 2, 2, 4], n),
            "weight": rng.gamma(2, size=n),
        }
    )


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-7)


# --- units ---

MEAN = "x + f + (1 + x | g)"
#: How the variables move when y is multiplied by c, by site: the value times c, the logarithm of
#: the value (a positive parameter in the sampler's coordinates) or a linear predictor plus log c.
SCALED = {"Intercept": "times", "b": "times", "sd_g": "plus"}
UNITS_OF_RESPONSE = {
    "gaussian": (f"y ~ {MEAN}", {}, SCALED | {"sigma": "plus"}),
    "gaussian with sigma": (
        [f"y ~ {MEAN}", "sigma ~ x + (1 | g)"],
        {},
        SCALED | {"Intercept_sigma": "plus"},
    ),
    "gaussian, log link": (
        f"positive ~ {MEAN}",
        {"link": "log"},
        {"Intercept": "plus", "sigma": "plus"},
    ),
    "student": (f"y ~ {MEAN}", {"family": "student"}, SCALED | {"sigma": "plus"}),
    "lognormal": (f"positive ~ {MEAN}", {"family": "lognormal"}, {"Intercept": "plus"}),
    "gamma": (f"positive ~ {MEAN}", {"family": "gamma"}, {"Intercept": "plus"}),
}


@pytest.mark.parametrize("case", UNITS_OF_RESPONSE)
@few
@given(seed=seeds, unit=units)
def test_unit_of_the_response(case, seed, unit):
    formula, options, moves = UNITS_OF_RESPONSE[case]
    data = table(seed)
    before = Density(formula, data, **options)
    rescaled = data.assign(y=unit * data["y"], positive=unit * data["positive"])
    after = Density(formula, rescaled, **options)
    position = before.position(seed)
    mapped = dict(position)
    log_jacobian = ROWS * np.log(unit)  # of the response
    for site, move in moves.items():
        mapped[site] = position[site] * unit if move == "times" else position[site] + np.log(unit)
        log_jacobian += np.size(position[site]) * np.log(unit) * (move == "times")
    assert after(mapped) == close(before(position) - log_jacobian)


@pytest.mark.parametrize(
    ("family", "response"),
    [("gaussian", "y"), ("student", "y"), ("poisson", "count"), ("bernoulli", "binary")],
)
@few
@given(seed=seeds, unit=units)
def test_unit_of_a_predictor(family, response, seed, unit):
    formula = f"{response} ~ x * f + w + (1 + x | g) + (0 + x | h)"
    data = table(seed)
    before = Density(formula, data, family)
    after = Density(formula, data.assign(x=unit * data["x"]), family)
    (layout,) = before.spec.layout
    position = before.position(seed)
    mapped = dict(position)
    has_x = np.array(["x" in label.split(":") for label in layout.coefs[1:]])
    assert has_x.sum() == 3
    mapped["b"] = np.where(has_x, position["b"] / unit, position["b"])
    mapped["sd_g"] = position["sd_g"] - [0, np.log(unit)]
    mapped["sd_h"] = position["sd_h"] - np.log(unit)
    assert after(mapped) == close(before(position) + has_x.sum() * np.log(unit))


@few
@given(seed=seeds, unit=units)
def test_unit_of_a_predictor_of_sigma(seed, unit):
    formula = ["y ~ w + (1 | g)", "sigma ~ x + (1 + x | g)"]
    data = table(seed)
    before = Density(formula, data)
    after = Density(formula, data.assign(x=unit * data["x"]))
    position = before.position(seed)
    mapped = dict(position)
    mapped["b_sigma"] = position["b_sigma"] / unit
    mapped["sd_sigma_g"] = position["sd_sigma_g"] - [0, np.log(unit)]
    assert after(mapped) == close(before(position) + np.log(unit))


# --- rows and labels ---

STRUCTURE = "x + f + (1 + x | g) + (1 | a/b)"
PRIORS = {
    "Intercept": dist.StudentT(3, 0.5, 2),
    "b": dist.Normal(0, 1.5),
    "sd": bm.HalfStudentT(3, 1.5),
    "cor": bm.LKJ(2),
    "sigma": dist.Gamma(2, 1),
}


@few
@given(seed=seeds, order=st.permutations(range(ROWS)))
def test_order_of_rows(seed, order):
    data = table(seed)
    before = Density(f"weighted(y, weight) ~ {STRUCTURE}", data, priors=PRIORS)
    after = Density(f"weighted(y, weight) ~ {STRUCTURE}", data.iloc[order], priors=PRIORS)
    position = before.position(seed)
    assert after(position) == close(before(position))


def new_labels(old):
    """Strategies of other labels for these: texts, or numbers whose order is not that of texts."""
    texts = ["zeta", "Alpha", "10", "9", "é", "a b", "a:b", "]x["]
    numbers = [100, 20, 3, -4, 0, 10**9]
    pool = st.sampled_from([texts, numbers])
    return pool.flatmap(st.permutations).map(lambda new: dict(zip(old, new, strict=False)))


@few
@given(seed=seeds, g=new_labels("pqrst"), a=new_labels("ABC"), b=new_labels([1, 2, 3, 4]))
def test_labels_of_groups(seed, g, a, b):
    data = table(seed)
    renamed = data.assign(g=data["g"].map(g), a=data["a"].map(a), b=data["b"].map(b))
    before = Density(f"y ~ {STRUCTURE}", data, priors=PRIORS)
    after = Density(f"y ~ {STRUCTURE}", renamed, priors=PRIORS)
    position = before.position(seed)
    mapped = dict(position)
    for group, names in {"g": (g,), "a": (a,), "a:b": (a, b)}.items():
        old = before.spec.schema.grouping(group).cells
        new = after.spec.schema.grouping(group).cells
        assert len(new) == len(old)
        moved = [tuple(m[x] for m, x in zip(names, cell, strict=True)) for cell in old]
        mapped[f"z_{group}"] = position[f"z_{group}"][[moved.index(cell) for cell in new]]
    assert after(mapped) == close(before(position))


def with_rows_of_weight_zero(data, seed):
    """Mix in rows that would change everything if they counted."""
    rng = np.random.default_rng(seed)
    extra = data.sample(6, random_state=seed % 2**31).assign(
        y=1e3 * rng.normal(size=6), x=1e4 * rng.normal(size=6), count=10**6, weight=0.0
    )
    mixed = pd.concat([data, extra])
    # At random places, with the order of the others kept.
    places = np.sort(rng.permutation(len(mixed))[: len(data)])
    rank = np.empty(len(mixed), dtype=int)
    rank[: len(data)] = places
    rank[len(data) :] = np.setdiff1d(np.arange(len(mixed)), places)
    return mixed.iloc[np.argsort(rank)].reset_index(drop=True)


@pytest.mark.parametrize(
    ("family", "response", "rest"),
    [
        ("gaussian", "y", PRIORS),
        ("poisson", "count", {k: PRIORS[k] for k in PRIORS if k != "sigma"}),
    ],
)
@few
@given(seed=seeds)
def test_rows_of_weight_zero(family, response, rest, seed):
    data = table(seed)
    formula = f"weighted({response}, weight) ~ {STRUCTURE}"
    mixed = with_rows_of_weight_zero(data, seed)
    for priors in (rest, None):  # left out of centring; and of the scales of default priors
        before = Density(formula, data, family, priors)
        after = Density(formula, mixed, family, priors)
        position = before.position(seed)
        assert after(position) == close(before(position))
        for old, new in zip(before.spec.priors, after.spec.priors, strict=True):
            assert old.slot.label == new.slot.label
            assert dict(new.prior.args) == pytest.approx(dict(old.prior.args), rel=1e-12)


@pytest.mark.parametrize("term", ["scale(x)", "poly(x, 2)", "bs(x, df=4)"])
@settings(max_examples=4, deadline=None)
@given(seed=seeds)
def test_rows_of_weight_zero_do_not_move_transforms(term, seed):
    data = table(seed)
    formula = f"weighted(y, weight) ~ {term} + (1 + {term} | g)"
    before = Density(formula, data, priors=PRIORS)
    after = Density(formula, with_rows_of_weight_zero(data, seed), priors=PRIORS)
    position = before.position(seed)
    assert after(position) == close(before(position))


@few
@given(seed=seeds)
def test_weights_of_one_and_two(seed):
    """A row of weight 2 is two rows; a weight of 1 is no weight."""
    data = table(seed).assign(weight=np.resize([1.0, 2.0, 1.0], ROWS))
    doubled = data.loc[np.repeat(data.index, data["weight"].astype(int))]
    # Centring is over rows; without an intercept there is none.
    formula = "0 + x + (1 + x | g) + (1 | a/b)"
    priors = {k: v for k, v in PRIORS.items() if k != "Intercept"}
    weighted = Density(f"weighted(y, weight) ~ {formula}", data, priors=priors)
    repeated = Density(f"y ~ {formula}", doubled, priors=priors)
    position = weighted.position(seed)
    assert weighted(position) == close(repeated(position))


# --- parameterizations ---


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (1 | g)",
        "y ~ x + (1 + x + w | g) + (1 + x || h) + (1 | a/b)",
        ["y ~ x + (1 + x | g)", "sigma ~ (1 + w | g)"],
    ],
    ids=["one", "many", "sigma"],
)
@few
@given(seed=seeds)
def test_centred_and_noncentred_differ_by_the_jacobian(formula, seed):
    data = table(seed)
    noncentred = Density(formula, data)
    centred = Density(formula, data, parameterization="centered")
    position = noncentred.position(seed)
    quantities = noncentred.quantities(position)
    mapped = {site: value for site, value in position.items() if not site.startswith("z_")}
    log_jacobian = 0.0
    for layout in noncentred.spec.layout:
        for group in layout.groups:
            tail = group.variable("")
            effects = mapped[f"r{tail}"] = quantities[f"r{tail}"]
            correlation = quantities.get(f"cor{tail}", np.eye(len(group.effects)))
            log_sds = np.log(quantities[f"sd{tail}"]).sum()
            log_jacobian += len(effects) * (log_sds + 0.5 * np.linalg.slogdet(correlation)[1])
    assert centred(mapped) == close(noncentred(position) - log_jacobian)
    assert {k: pytest.approx(v) for k, v in quantities.items()} == centred.quantities(mapped)
