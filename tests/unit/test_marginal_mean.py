"""The mean over clusters: against sums over a fine grid of effects, for every family and link."""

import itertools

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.stats as st
from family_data import CATEGORIES, example, left

import bayesmm as bm
from bayesmm.families import FAMILIES
from bayesmm.model import predictor_values
from bayesmm.predict.marginal import NODES, TRIED, affine_in, marginal_mean, normal_rule
from bayesmm.prepare import prepare

#: Families whose mean is not affine in mu: there only quadrature over mu makes an average.
NOT_AFFINE = {
    *("lognormal", "shifted_lognormal", "hurdle_lognormal", "ordered_beta"),
    *("hurdle_poisson", "hurdle_negbinomial", "multinomial", "dirichlet"),
    *(name for name, family in FAMILIES.items() if family.response.categories),
}
#: How far from the real line an inverse link stays analytic and bounded.
STRIP = {"logit": np.pi, "cloglog": np.pi / 2, "cauchit": 1.0}


def draw_of(prepared, sd=0.8, seed=3):
    """One draw of a model's parameters, with effects of 0."""
    rng = np.random.default_rng(seed)
    family, draw = prepared.spec.family, {}
    for names, design in zip(prepared.spec.layout, prepared.design.predictors, strict=True):
        draw[names.variable("b")] = rng.uniform(0.1, 0.4, design.X.shape[1])
        for group, columns in zip(names.groups, design.groups, strict=True):
            q = len(group.effects)
            draw[group.variable("sd")] = sd * np.linspace(1.0, 0.6, q)
            draw[group.variable("cor")] = 0.3 + 0.7 * np.eye(q)
            draw[group.variable("r")] = np.zeros((columns.levels, q))
    linear = {names.parameter for names in prepared.spec.layout}
    for parameter in family.parameters:
        if parameter.labels:
            draw[parameter.name] = np.linspace(-1.0, 1.0, len(family.labels(parameter)))
        elif parameter.name not in linear and not parameter.each_category:
            draw[parameter.name] = np.asarray(TRIED[parameter.support][1])
    return draw


def on_a_grid(prepared, draw, points):
    """The mean over effects of `(1 | g)` terms, each on its own grid of standard normal points."""
    groups = [group for names in prepared.spec.layout for group in names.groups]
    weights = st.norm.pdf(points) / st.norm.pdf(points).sum()
    grid = np.array(list(itertools.product(points, repeat=len(groups))))
    mass = np.array([np.prod(w) for w in itertools.product(weights, repeat=len(groups))])
    spec, design = prepared.spec, prepared.design

    def mean(at):
        moved = {
            group.variable("r"): draw[group.variable("r")] + draw[group.variable("sd")] * at[k]
            for k, group in enumerate(groups)
        }
        return spec.family.mean(
            predictor_values(spec.family, spec.layout, design, {**draw, **moved})
        )

    def total(grid, mass):
        def step(sum_, one):
            return sum_ + one[1] * mean(one[0]), None

        return jax.lax.scan(step, 0.0 * mean(grid[0]), (grid, mass))[0]

    return np.asarray(jax.jit(total)(grid, mass))


def marginal(prepared, draw):
    spec = prepared.spec
    averaged = tuple({group.name for names in spec.layout for group in names.groups})

    def mean(draw):
        return marginal_mean(spec.family, spec.layout, prepared.design, draw, averaged)

    return np.asarray(jax.jit(mean)(draw))


@pytest.mark.filterwarnings("ignore:The response:bayesmm.errors.BayesmmWarning")
@pytest.mark.parametrize("name", FAMILIES)
def test_the_mean_over_clusters_of_every_family(name, evidence):
    family = FAMILIES[name]
    prepared = prepare(
        f"{left(family)} ~ 1 + x + (1 | g)", example(family, 24, seed=1), family=family
    )
    draw = draw_of(prepared)
    several = family.parameters[0].each_category
    with jax.enable_x64(True):
        found = marginal(prepared, draw)
        grid = np.linspace(-7.0, 7.0, 25) if several else np.linspace(-8.5, 8.5, 400)
        expected = on_a_grid(prepared, draw, grid)
    # The grid's own error is far below; three dimensions have 14 nodes each.
    rtol = 1e-4 if several else 1e-7
    assert np.allclose(found, expected, rtol=rtol, atol=1e-9)
    evidence("mean over clusters", name, found, expected, bound=rtol)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "cauchit"])
@pytest.mark.parametrize("sd", [0.3, 1.5, 4.0])
def test_probabilities(link, sd):
    family = bm.families.bernoulli(link=link)
    prepared = prepare("y ~ x + (1 | g)", example(family, 24, seed=2), family=family)
    draw = draw_of(prepared, sd=sd)
    with jax.enable_x64(True):
        found = marginal(prepared, draw)
        expected = on_a_grid(prepared, draw, np.linspace(-9.0, 9.0, 4001))
    # The error of n nodes goes as exp(-2 d sqrt(2n)), d being the strip's width in sqrt(2) sds.
    strip = STRIP.get(link, np.inf) / (sd * np.sqrt(2.0))
    assert np.allclose(found, expected, atol=1e-11 + np.exp(-2.0 * strip * np.sqrt(2 * NODES[1])))


@pytest.mark.parametrize("link", ["log", "sqrt", "identity"])
def test_closed_forms_are_exact(link):
    family = FAMILIES["poisson"].with_links(link)
    prepared = prepare("y ~ x + (1 | g)", example(family, 24, seed=2), family=family)
    draw = draw_of(prepared, sd=0.9)
    with jax.enable_x64(True):
        found = marginal(prepared, draw)
        expected = on_a_grid(prepared, draw, np.linspace(-14.0, 14.0, 20_001))
    assert np.allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("family", "formulas"),
    [
        ("zero_inflated_poisson", ["y ~ x + (1 | g)", "zi ~ 1 + (1 | g)"]),
        ("hurdle_poisson", ["y ~ x + (1 | g)", "hu ~ 1 + (1 | g)"]),
        ("hurdle_negbinomial", ["y ~ x + (1 | g)", "shape ~ 1 + (1 | g)"]),
        ("gaussian", ["y ~ x + (1 | g)", "sigma ~ 1 + (1 | g)"]),
    ],
)
def test_effects_on_several_parameters(family, formulas):
    prepared = prepare(formulas, example(FAMILIES[family], 16, seed=4), family=family)
    draw = draw_of(prepared, sd=0.4)
    with jax.enable_x64(True):
        found = marginal(prepared, draw)
        expected = on_a_grid(prepared, draw, np.linspace(-7.0, 7.0, 121))
    assert np.allclose(found, expected, rtol=1e-6)


def test_slopes_crossed_and_nested_groups_are_one_normal_number():
    rng = np.random.default_rng(6)
    data = pd.DataFrame(
        {
            "y": np.resize([0, 1], 60),
            "x": rng.normal(size=60),
            "g": np.resize(np.arange(6), 60),
            "h": rng.permutation(np.resize(np.arange(5), 60)),
        }
    )
    prepared = prepare("y ~ x + (1 + x | g/h)", data, family="bernoulli")
    draw = draw_of(prepared)
    sigma = {
        group.name: np.outer(*[draw[group.variable("sd")]] * 2) * draw[group.variable("cor")]
        for group in prepared.spec.layout[0].groups
    }
    z = np.column_stack([np.ones(60), data["x"]])
    v = sum(np.einsum("ij,jk,ik->i", z, s, z) for s in sigma.values())
    eta = z @ draw["b"]
    points = np.linspace(-9.0, 9.0, 2001)
    weights = st.norm.pdf(points) / st.norm.pdf(points).sum()
    expected = (1.0 / (1.0 + np.exp(-(eta[:, None] + np.sqrt(v)[:, None] * points)))) @ weights
    with jax.enable_x64(True):
        found = marginal(prepared, draw)
    assert np.allclose(found, expected, atol=1e-8)


def test_many_categories_are_averaged_by_a_quasi_random_sequence():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"y": np.resize(list("abcdef"), 60), "g": np.resize(np.arange(6), 60)})
    prepared = prepare("y ~ 1 + (1 | g)", data, family="categorical")
    draw = draw_of(prepared)
    intercepts = [draw[names.variable("b")][0] for names in prepared.spec.layout]
    sds = [draw[names.groups[0].variable("sd")][0] for names in prepared.spec.layout]
    with jax.enable_x64(True):
        found = marginal(prepared, draw)[0]
    n = 400_000
    eta = np.column_stack([np.zeros(n), intercepts + sds * rng.normal(size=(n, len(sds)))])
    share = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    # Of the sequence the error is at most that of as many independent points.
    error = np.sqrt(share.var(axis=0) * (1 / n + 1 / 4096))
    assert (np.abs(found - share.mean(axis=0)) < 4 * error).all()
    assert len(normal_rule(len(sds))[1]) == 4096


def test_which_means_are_affine():
    found = {name for name, f in FAMILIES.items() if "mu" not in affine_in(f, ("trials",))}
    assert found == NOT_AFFINE
    zip_ = FAMILIES["zero_inflated_poisson"]
    assert affine_in(zip_, ()) == ("mu", "zi")
    assert affine_in(FAMILIES["hurdle_poisson"], ()) == ("hu",)


# --- through the fit ---


@pytest.fixture(scope="module")
def binary():
    rng = np.random.default_rng(9)
    g = np.repeat(np.arange(30), 12)
    x = rng.normal(size=360)
    eta = 0.5 + 0.8 * x + rng.normal(0, 1.5, 30)[g]
    data = pd.DataFrame({"y": rng.binomial(1, 1 / (1 + np.exp(-eta))), "x": x, "g": g})
    return bm.fit(
        "y ~ x + (1 | g)",
        data,
        family="bernoulli",
        **{"draws": 250, "chains": 2, "warmup": 200, "seed": 3, "progress": False},
    )


def test_new_clusters_have_the_marginal_mean_on_average(binary):
    n = 2000
    rows = pd.DataFrame({"x": 0.7, "g": np.arange(n) + 1000})
    sampled = binary.predict(rows, new_levels="sample", seed=1)["predictions"]["mean"]
    average = sampled.mean("obs_id").to_numpy()
    found = bm.marginal_mean(binary, rows[["x"]].head(1))["predictions"]["mean"][..., 0]
    error = sampled.std("obs_id").to_numpy() / np.sqrt(n)
    # 500 draws: the largest of so many normal numbers.
    assert (np.abs(average - found.to_numpy()) < 4.6 * error).all()
    typical = binary.predict(rows.head(1), group_effects=())["predictions"]["mean"][..., 0]
    assert (abs(found - 0.5) < abs(typical - 0.5)).all()


def test_what_comes_back(binary):
    tree = bm.marginal_mean(binary, pd.DataFrame({"x": [0.0, 1.0]}, index=["a", "b"]), draws=100)
    assert tree["predictions"]["mean"].dims == ("chain", "draw", "obs_id")
    assert tree["predictions"].obs_id.to_numpy().tolist() == ["a", "b"]
    assert tree["predictions"].sizes["draw"] == 100
    assert tree["predictions"].attrs["over"] == "g"
    summary = bm.marginal_mean(binary, summary=True)["predictions"]["mean"]
    assert summary.sizes == {"statistic": 4, "obs_id": 360}


def test_some_groups_only():
    rng = np.random.default_rng(1)
    data = pd.DataFrame(
        {"g": np.resize(np.arange(6), 120), "h": np.repeat(np.arange(10), 12), "x": 1.0}
    )
    data["y"] = rng.poisson(np.exp(rng.normal(0, 0.5, 6)[data["g"]] + 1.0))
    quick = {"draws": 100, "chains": 1, "warmup": 100, "seed": 3, "progress": False}
    fit = bm.fit("y ~ 1 + (1 | g) + (1 | h)", data, family="poisson", **quick)
    rows = pd.DataFrame({"h": [0, 7]})
    found = bm.marginal_mean(fit, rows, over=["g"])["predictions"]["mean"].to_numpy()[0]
    posterior = fit.posterior
    eta = posterior["b"].to_numpy()[0] + posterior["r_h"].to_numpy()[0, :, [0, 7], 0].T
    assert np.allclose(found, np.exp(eta + 0.5 * posterior["sd_g"].to_numpy()[0] ** 2))
    with pytest.raises(bm.DataError, match="'h'"):
        bm.marginal_mean(fit, pd.DataFrame({"g": [1]}), over="g")
    with pytest.raises(bm.NewLevelsError, match="'12'"):
        bm.marginal_mean(fit, pd.DataFrame({"h": [12]}), over="g")


def test_refusals(binary, small_data):
    with pytest.raises(bm.BayesmmError, match="no group 'gg'.*Did you mean"):
        bm.marginal_mean(binary, over="gg")
    with pytest.raises(bm.BayesmmError, match="averages over nothing"):
        bm.marginal_mean(binary, over=())
    with pytest.raises(bm.BayesmmError, match="what bm.fit"):
        bm.marginal_mean(binary.idata)
    with pytest.raises(bm.DataError, match="'x'"):
        bm.marginal_mean(binary, pd.DataFrame({"g": [1]}))
    data = small_data.assign(y=np.exp(small_data["y"]) + 1.0)
    quick = {"draws": 50, "chains": 1, "warmup": 50, "seed": 3, "progress": False}
    inverse = bm.fit("y ~ 1 + (1 | g)", data, family=bm.families.gaussian(link="inverse"), **quick)
    with pytest.raises(bm.BayesmmError, match="does not exist"):
        bm.marginal_mean(inverse)


def test_categories_sum_to_one():
    assert CATEGORIES == 4
    family = FAMILIES["cumulative"]
    prepared = prepare("y ~ x + (1 | g)", example(family, 24, seed=1), family=family)
    with jax.enable_x64(True):
        assert np.allclose(marginal(prepared, draw_of(prepared)).sum(axis=1), 1.0)
