"""Plots of shrinkage: their numbers are those of lme4 and of the tables, their marks where said."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from nearby import nearby
from scipy.stats import chi2, norm

import bayesmm as bm
from bayesmm.plots import plot_pooling, plot_ridge, plot_shrinkage
from bayesmm.plots.level_marks import OWN, PARTIAL, frame
from bayesmm.plots.link_axis import from_link, ticks, to_link
from bayesmm.plots.ridge import densities
from bayesmm.shrinkage import pooling

LME4 = json.loads((Path(__file__).parents[1] / "reference" / "data" / "shrinkage.json").read_text())
SAMPLING = {"chains": 2, "draws": 600, "seed": 3, "progress": False}


@pytest.fixture(scope="module")
def clipped():
    plants = bm.datasets.load("arabidopsis")
    return plants[(plants["amd"] == "clipped") & (plants["nutrient"] == 1)]


@pytest.fixture(scope="module")
def poisson(clipped):
    return bm.fit("`total.fruits` ~ 1 + (1 | gen)", clipped, family="poisson", **SAMPLING)


@pytest.fixture(scope="module")
def twin(clipped):
    return bm.fit("`total.fruits` ~ 1 + (1 | gen)", clipped, family="negbinomial", **SAMPLING)


@pytest.fixture(scope="module")
def sleep():
    formula = "Reaction ~ 1 + Days + (1 + Days | Subject)"
    return bm.fit(formula, bm.datasets.load("sleepstudy"), **SAMPLING)


def table(levels, seed=1, least=3, most=9):
    """Rows of levels of different sizes, with a response for each of several families."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(len(levels)), rng.integers(least, most + 1, len(levels)))
    frame = pd.DataFrame({"g": np.asarray(levels, dtype=object)[g], "x": rng.normal(size=len(g))})
    frame["y"] = rng.normal(size=len(levels))[g] + rng.normal(size=len(g))
    frame["k"] = np.where(g == 0, 0, rng.poisson(3, len(g)))
    frame["s"] = np.where(g == 0, 4, np.where(g == 1, 0, rng.integers(0, 5, len(g))))
    frame["n"] = 4
    frame["f"] = pd.Categorical(np.resize(list("pqr"), len(g)))
    frame["h"] = np.resize(list("uvw"), len(g))
    return frame


@pytest.fixture(scope="module")
def data():
    return table(list("abcdef"))


@pytest.fixture(scope="module")
def slopes(data):
    return nearby(bm.Model("y ~ x + (x | g)", data))


def shown(figure):
    """Draw the figure, so that whatever cannot be drawn fails here."""
    FigureCanvasAgg(figure).draw()
    return figure


def scattered(axes, colour) -> list[PathCollection]:
    """The scattered points of a colour."""
    return [
        c
        for c in axes.collections
        if isinstance(c, PathCollection) and same_colour(c.get_facecolor(), colour)
    ]


def same_colour(found, colour):
    return len(found) > 0 and np.allclose(found[0][:3], to_rgba(colour)[:3])


def points(axes, colour):
    """The places of the scattered points of a colour, shape (points, 2)."""
    return np.concatenate([np.asarray(c.get_offsets()) for c in scattered(axes, colour)])


def labels(axes):
    return [text.get_text() for text in axes.get_xticklabels()]


def words(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# --- the lecture's figure ---


def test_arabidopsis_has_the_lectures_elements(poisson):
    figure = shown(plot_shrinkage(poisson))
    axes = figure.axes[0]
    assert poisson.idata["observed_data"].sizes["obs_id"] == LME4["arabidopsis"]["nobs"] == 147
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "0.1", "1", "10", "20"]
    np.testing.assert_allclose(np.exp(axes.get_yticks()[1:]), [0.1, 1, 10, 20])
    # Levels by their mean; those of zeros beneath the break, at the tick of 0.
    means = pd.Series(LME4["arabidopsis"]["raw_mean"])
    assert set(labels(axes)[:2]) == {"5", "6"}
    raw = points(axes, OWN)
    order = np.argsort(raw[:, 0])
    np.testing.assert_array_equal(raw[order, 0], np.arange(24))
    np.testing.assert_allclose(raw[order[:2], 1], axes.get_yticks()[0])
    np.testing.assert_allclose(raw[order[2:], 1], np.log(means[labels(axes)[2:]]), atol=1e-9)
    assert raw[order[0], 1] < axes.get_yticks()[1] < raw[order[2], 1]
    # Areas are proportional to n, red and half transparent.
    red = scattered(axes, PARTIAL)[0]
    n = pd.Series(LME4["arabidopsis"]["n"])[labels(axes)].to_numpy()
    inner = (n > 0.25 * n.mean()) & (n < 3 * n.mean())
    np.testing.assert_allclose((red.get_sizes() / n)[inner], red.get_sizes()[-1] / n[-1])
    assert inner.sum() > 20
    assert red.get_alpha() == pytest.approx(0.5)
    assert {"raw mean", "partial pooling, n = 2 to 11", "89% interval"} <= set(words(figure))
    assert axes.get_xlabel() == "gen, by raw mean"
    assert axes.get_ylabel() == "total.fruits (log scale)"


def test_arabidopsis_agrees_with_lme4_within_what_a_mean_is_off_a_mode(poisson, evidence):
    axes = plot_shrinkage(poisson).axes[0]
    red = points(axes, PARTIAL)
    partial = pd.Series(red[:, 1], index=labels(axes))
    levels = pooling(poisson).loc["mu"].xs("Intercept", level="effect")
    levels.index = levels.index.map(str)
    np.testing.assert_allclose(partial[levels.index], levels["partial"])
    reference = LME4["arabidopsis"]
    mode = reference["Intercept"] + pd.Series(reference["r"])[levels.index]
    np.testing.assert_allclose(mode[["5", "6"]], [-0.330, -0.615], atol=5e-4)
    # The log posterior of a level has the derivatives -(n e^eta + 1 / tau^2) = -h and -n e^eta: its
    # mean is about n e^eta / (2 h^2) <= 1 / (2 h) = sd^2 / 2 below its mode; half as much again for
    # what follows. A tenth of an sd for beta and tau, which are not lme4's; and the Monte Carlo
    # error, of at least a fourth of the draws.
    sd = levels["partial_sd"]
    bound = 0.75 * sd**2 + 0.1 * sd + 4 * sd / math.sqrt(300)
    off = abs(levels["partial"] - mode)
    assert (off < bound).all()
    evidence(
        "lme4",
        "arabidopsis, genotypes, Laplace, training data",
        numbers=len(off),
        off=(off / sd).max(),
        largest_bound=(bound / sd).max(),
        of_bound=(off / bound).max(),
    )
    # Of zeros the posterior is skewed to the left.
    assert (levels["partial"] < mode)[["5", "6"]].all()
    # The population: posterior and likelihood differ by less than half a posterior sd.
    b = poisson.posterior["b"].to_numpy()
    assert abs(b.mean() - reference["Intercept"]) < 0.5 * b.std()
    tau = poisson.posterior["sd_gen"].to_numpy()
    assert abs(tau.mean() - reference["sd"]) < tau.std()


def test_the_negative_binomial_twin_shrinks_more_on_axes_side_by_side(poisson, twin):
    figure = Figure(figsize=(10, 4))
    axes = figure.subplots(1, 2)
    spread = []
    for axis, fit in zip(axes, (poisson, twin), strict=True):
        assert plot_shrinkage(fit, ax=axis) is figure
        spread.append(points(axis, PARTIAL)[:, 1].std())
        assert axis.get_legend() is not None
    shown(figure)
    # Overdispersion leaves the rows of a level less to say: pooling is not far from nothing with
    # one, above a tenth with the other.
    assert spread[1] < 0.8 * spread[0]
    factors = [pooling(fit)["pooling"].median() for fit in (poisson, twin)]
    assert factors[0] < 0.05
    assert factors[1] > 0.1


def test_intervals_and_distribution_of_the_prior_kind(poisson):
    axes = plot_shrinkage(poisson, prob=0.5).axes[0]
    bars = next(c for c in axes.collections if type(c).__name__ == "LineCollection")
    draws = poisson.coef("gen", draws=True)["coef_gen"].sel(gen_coef="Intercept")
    expected = draws.quantile([0.25, 0.75], ("chain", "draw")).to_pandas()
    expected.columns = expected.columns.map(str)
    segments = np.array(bars.get_segments())
    np.testing.assert_allclose(segments[:, :, 1].T, expected[labels(axes)])
    # The grey density: as high as a normal one, relative to its highest.
    grey = next(c for c in axes.collections if type(c).__name__ == "FillBetweenPolyCollection")
    corners = grey.get_paths()[0].vertices
    left = axes.get_xlim()[0]
    beta = float(poisson.posterior["b"].mean())
    tau = float(poisson.posterior["sd_gen"].mean())
    width = (corners[:, 0] - left) / (corners[:, 0] - left).max()
    outer = width > 1e-9
    density = norm.pdf(corners[outer, 1], beta, tau) / norm.pdf(0, 0, tau)
    np.testing.assert_allclose(width[outer], density, atol=1e-3)


# --- other links, and what raw means are ---


def test_all_and_none_sit_beyond_breaks(data):
    fit = nearby(bm.Model("prop(s, n) ~ 1 + (1 | g)", data, family="binomial"))
    figure = shown(plot_shrinkage(fit))
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.get_yticklabels()]
    assert texts[0] == "0"
    assert texts[-1] == "1"
    raw = points(axes, OWN)
    at = dict(zip(raw[:, 0], raw[:, 1], strict=True))
    assert labels(axes)[0] == "b"
    assert labels(axes)[-1] == "a"
    assert at[0.0] == axes.get_yticks()[0]
    assert at[5.0] == axes.get_yticks()[-1]
    own = data.groupby("g")[["s", "n"]].sum()
    middle = [at[float(i)] for i in range(1, 5)]
    share = (own["s"] / own["n"])[labels(axes)[1:-1]]
    np.testing.assert_allclose(middle, np.log(share / (1 - share)))
    assert axes.get_ylabel() == "proportion of s (logit scale)"


def test_an_identity_link_has_a_plain_axis(data):
    axes = plot_shrinkage(nearby(bm.Model("y ~ 1 + (1 | g)", data))).axes[0]
    means = data.groupby("g")["y"].mean().sort_values()
    assert labels(axes) == list(means.index)
    raw = points(axes, OWN)
    np.testing.assert_allclose(raw[np.argsort(raw[:, 0]), 1], means)
    assert axes.get_ylabel() == "y"


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("y ~ x + (1 | g)", "gaussian"),
        ("y ~ 1 + (1 | g) + (1 | h)", "gaussian"),
        ("k ~ 1 + offset(x) + (1 | g)", "poisson"),
        ("weighted(y, n) ~ 1 + (1 | g)", "gaussian"),
        ("k ~ 1 + (1 | g)", "zero_inflated_poisson"),
        ("exp(y) ~ 1 + (1 | g)", "lognormal"),
    ],
)
def test_where_raw_means_say_something_else_the_own_estimates_are_shown(data, formula, family):
    fit = nearby(bm.Model(formula, data, family=family))
    axes = shown(plot_shrinkage(fit, "g")).axes[0]
    assert axes.get_xlabel() == "g, by own estimate"
    own = pooling(fit, "g").xs("Intercept", level="effect")["unpooled"].droplevel("parameter")
    there = own.notna()[labels(axes)].to_numpy()
    raw = points(axes, OWN)
    low, high = axes.get_ylim()
    inside = there & ((own >= low) & (own <= high))[labels(axes)].to_numpy()
    found = {float(x): y for x, y in raw}
    np.testing.assert_allclose(
        [found[float(i)] for i in np.flatnonzero(inside)], own[labels(axes)][inside]
    )


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("f ~ 1 + (1 | g)", "categorical"),
        ("s ~ 1 + (1 | g)", "cumulative"),
        (["y ~ 1", "sigma ~ 1 + (1 | g)"], "gaussian"),
        ("I(k + 0.5) ~ 1 + (1 | g)", "gamma"),
        ("y ~ 1 + (1 | g)", "von_mises"),
    ],
)
def test_every_family_has_its_prior(data, formula, family):
    fit = nearby(bm.Model(formula, data, family=family))
    axes = shown(plot_shrinkage(fit, "g")).axes[0]
    assert len(labels(axes)) == 6


@pytest.mark.parametrize("link", ["log", "logit", "probit", "cloglog", "sqrt", "softplus"])
def test_ticks_are_where_their_labels_say(link):
    for low, high in [(-3.0, 3.5), (-0.4, 0.3), (0.5, 1.2)]:
        if link == "sqrt" and low < 0:
            continue  # the same value has two places
        found = ticks(link, low, high)
        assert len(found) >= 2
        values = np.array([float(text.replace(",", "")) for text in found.values()])
        np.testing.assert_allclose(to_link(link, values), list(found), rtol=1e-6, atol=1e-9)
        assert (np.diff(list(found)) > 0.08 * (high - low)).all()
        assert min(found) >= low
        assert max(found) <= high


def test_links_go_to_infinity_and_back():
    np.testing.assert_array_equal(to_link("logit", np.array([0.0, 1.0])), [-np.inf, np.inf])
    assert to_link("inverse", np.array([0.0]))[0] == np.inf
    np.testing.assert_allclose(from_link("log", to_link("log", np.array([0.1, 27.6]))), [0.1, 27.6])


def test_far_away_estimates_do_not_set_the_limits():
    low, high = frame(np.array([0.0, 1.0]), np.array([-0.5, 1.5, 40.0, np.nan]))
    assert (low, high) == pytest.approx((-0.58, 1.58))


# --- lines ---


def heights(axes, at):
    """Where each line of a panel is at some place."""
    lines = axes.collections[0].get_segments()
    return np.array([np.interp(at, *line.T) for line in lines])


def test_sleepstudys_lines_have_the_lectures_sds(sleep):
    figure = shown(plot_shrinkage(sleep, kind="lines"))
    own, middle, shrunk = figure.axes
    assert own.get_title() == "own regressions\nsd of intercepts 28.95, of slopes 6.56"
    study = bm.datasets.load("sleepstudy")
    fits = [np.polyfit(part["Days"], part["Reaction"], 1) for _, part in study.groupby("Subject")]
    intercepts = np.array(fits)[:, 1]
    np.testing.assert_allclose(heights(own, 0.0), intercepts, atol=1e-4)
    np.testing.assert_allclose(heights(own, 9.0), intercepts + 9 * np.array(fits)[:, 0], atol=1e-4)
    # Shrunken: with a pooling factor of omega, an sd of the effects that is off by a factor of
    # e^0.25 (its posterior sd, on the log scale) changes theirs by 0.5 omega (1 - omega) of their
    # own.
    table = pooling(sleep)
    b = sleep.posterior["b"].mean(("chain", "draw")).to_numpy()
    r = sleep.ranef("Subject", draws=True)["r_Subject"].mean(("chain", "draw"))
    for effect, spread in (("Intercept", 28.95), ("Days", 6.56)):
        modes = pd.Series(LME4["sleepstudy"]["r"][effect])
        found = r.sel(Subject_effect=effect).to_series()
        omega = table["pooling"].xs(effect, level="effect").mean()
        bound = 0.5 * omega * (1 - omega) * spread
        assert abs(found.std() - modes.std()) < bound
    assert round(pd.Series(LME4["sleepstudy"]["r"]["Intercept"]).std(), 2) == 21.60
    assert round(pd.Series(LME4["sleepstudy"]["r"]["Days"]).std(), 2) == 5.46
    lines = b[0] + r.sel(Subject_effect="Intercept").to_numpy()
    np.testing.assert_allclose(heights(shrunk, 0.0), lines, rtol=1e-6)
    assert f"sd of intercepts {lines.std(ddof=1):.2f}" in shrunk.get_title()
    # Random intercepts: the conditional mean, in closed form.
    tau = float(sleep.posterior["sd_Subject"].mean(("chain", "draw"))[0])
    sigma = float(sleep.posterior["sigma"].mean())
    residual = study["Reaction"] - b[0] - b[1] * study["Days"]
    limit = residual.groupby(study["Subject"].to_numpy()).sum() / (10 + (sigma / tau) ** 2)
    np.testing.assert_allclose(heights(middle, 0.0), b[0] + limit, rtol=1e-6)
    np.testing.assert_allclose(heights(middle, 9.0) - heights(middle, 0.0), 9 * b[1], rtol=1e-6)
    assert middle.get_title().startswith("random intercepts (sd of slopes 0)")
    assert {"distribution of the intercepts", "complete pooling"} <= set(words(figure))


def test_lines_take_a_fit_with_random_intercepts_alone(sleep):
    study = bm.datasets.load("sleepstudy")
    alone = nearby(bm.Model("Reaction ~ 1 + Days + (1 | Subject)", study))
    middle = plot_shrinkage(sleep, kind="lines", intercepts=alone).axes[1]
    b = alone.posterior["b"].mean(("chain", "draw")).to_numpy()
    r = alone.posterior["r_Subject"].mean(("chain", "draw")).to_numpy()[:, 0]
    np.testing.assert_allclose(heights(middle, 0.0), b[0] + r, rtol=1e-6)
    np.testing.assert_allclose(heights(middle, 9.0), b[0] + 9 * b[1] + r, rtol=1e-6)
    assert middle.get_title().startswith("random intercepts\n")


def test_lines_far_from_zero_are_compared_where_the_data_begin(data):
    late = data.assign(x=2000 + 3 * data["x"])
    fit = nearby(bm.Model("y ~ f + scale(x) + (scale(x) | g)", late))
    figure = shown(plot_shrinkage(fit, kind="lines"))
    low = late["x"].min()
    assert f"sd of lines at x = {low:g}" in figure.axes[2].get_title()
    left, right = figure.axes[0].get_xlim()
    assert left > 1900
    assert right < 2100


def test_lines_of_counts_are_on_the_scale_of_the_link(data):
    fit = nearby(bm.Model("k ~ x + (x | g)", data, family="poisson"))
    figure = shown(plot_shrinkage(fit, kind="lines"))
    assert figure.axes[0].get_ylabel() == "k (log scale)"
    # The level of zeros has no regression of its own.
    assert len(figure.axes[0].collections[0].get_segments()) == 5
    assert len(figure.axes[2].collections[0].get_segments()) == 6
    assert "1 of 6 without own regression" in words(figure)
    # The limit in which the sd of slopes is 0 is the mode of a random-intercept model.
    eta = heights(figure.axes[1], 0.0) - float(fit.posterior["b"].mean(("chain", "draw"))[0])
    beta = fit.posterior["b"].mean(("chain", "draw")).to_numpy()
    tau = float(fit.posterior["sd_g"].mean(("chain", "draw"))[0])
    for b, (_, rows) in zip(eta, data.groupby("g"), strict=True):
        score = (rows["k"] - np.exp(beta[0] + beta[1] * rows["x"] + b)).sum() - b / tau**2
        assert abs(score) < 1e-4


# --- arrows ---


def test_arrows_lead_from_the_own_to_the_partially_pooled_estimates(sleep):
    figure = shown(plot_shrinkage(sleep))
    (axes,) = figure.axes
    arrows = next(c for c in axes.collections if isinstance(c, Quiver))
    wide = pooling(sleep).loc["mu"].unstack("effect")[["unpooled", "partial"]]
    start = wide["unpooled"][["Intercept", "Days"]].to_numpy()
    goal = wide["partial"][["Intercept", "Days"]].to_numpy()
    np.testing.assert_allclose(np.column_stack([arrows.X, arrows.Y]), start)
    np.testing.assert_allclose(np.column_stack([arrows.U, arrows.V]), goal - start)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Intercept", "Days")
    # Both ellipses hold what they say of a normal distribution.
    beta = sleep.posterior["b"].mean(("chain", "draw")).to_numpy()
    sd = sleep.posterior["sd_Subject"].mean(("chain", "draw")).to_numpy()
    cor = sleep.posterior["cor_Subject"].mean(("chain", "draw")).to_numpy()
    inverse = np.linalg.inv(sd[:, None] * cor * sd)
    rings = [np.column_stack(line.get_data()) for line in axes.lines]
    for ring, prob in zip(rings, (0.5, 0.89), strict=True):
        distance = np.einsum("ij,jk,ik->i", ring - beta, inverse, ring - beta)
        np.testing.assert_allclose(distance, chi2.ppf(prob, 2))
    assert "holds 89% of levels" in words(figure)
    # The five that move most are named.
    moved = np.linalg.norm((goal - start) / sd, axis=1)
    named = {text.get_text() for text in axes.texts}
    assert named == set(wide.index[np.argsort(-moved)[:5]])


def test_three_effects_make_a_lower_triangle(data):
    fit = nearby(bm.Model("y ~ f + (f | g)", data))
    figure = shown(plot_shrinkage(fit, "g"))
    named = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert named == [("", "f[q]"), ("Intercept", "f[r]"), ("f[q]", "")]
    places = [axes.get_subplotspec() for axes in figure.axes]
    assert [(p.rowspan.start, p.colspan.start) for p in places] == [(0, 0), (1, 0), (1, 1)]
    grid = Figure().subplots(1, 3)
    plot_shrinkage(fit, "g", ax=grid)
    named = [(axes.get_xlabel(), axes.get_ylabel()) for axes in grid]
    assert named == [("Intercept", "f[q]"), ("Intercept", "f[r]"), ("f[q]", "f[r]")]


def test_levels_without_own_estimates_have_a_mark_of_their_own(data):
    fit = nearby(bm.Model("k ~ x + (x | g)", data, family="poisson"))
    figure = shown(plot_shrinkage(fit))
    assert "1 of 6 without own estimate" in words(figure)
    arrows = next(c for c in figure.axes[0].collections if isinstance(c, Quiver))
    assert len(arrows.X) == 5


def test_levels_without_a_slope_of_their_own_are_in_the_legend():
    """Counties where every house was measured on one floor have an intercept, and no slope."""
    radon = bm.datasets.load("radon_mn").query("county < 20")
    alone = (radon.groupby("county")["floor"].nunique() == 1).sum()
    fit = nearby(bm.Model("log_radon ~ floor + (floor | county)", radon))
    assert f"{alone} of 19 without own estimate" in words(plot_shrinkage(fit))


# --- ridges, and pooling factors ---


def test_ridges_are_densities_and_sorted(slopes):
    figure = shown(plot_ridge(slopes))
    assert [axes.get_title() for axes in figure.axes] == ["Intercept", "x"]
    for axes, effect in zip(figure.axes, ["Intercept", "x"], strict=True):
        means = slopes.posterior["r_g"].sel(g_effect=effect).mean(("chain", "draw")).to_series()
        texts = [text.get_text() for text in axes.get_yticklabels()]
        assert texts == list(means.sort_values().index)
    sorted_by = plot_ridge(slopes, effects=["x", "Intercept"], sort="x")
    first, second = ([t.get_text() for t in axes.get_yticklabels()] for axes in sorted_by.axes)
    assert first == second
    draws = np.random.default_rng(4).normal([0, 5, 1], [1, 0.3, 2], (4000, 3))
    at, density = densities(draws)
    np.testing.assert_allclose(np.trapezoid(density, at, axis=1), 1, atol=0.02)
    # A kernel estimate of 4,000 draws, relative to the highest: its error is about n^(-2/5) = 4%.
    for row, (m, s) in zip(density, [(0, 1), (5, 0.3), (1, 2)], strict=True):
        np.testing.assert_allclose(row * s, norm.pdf((at - m) / s), atol=0.08 * norm.pdf(0))


def test_pooling_factors_are_those_of_the_table_and_lie_on_the_closed_form(data):
    fit = nearby(bm.Model("y ~ 1 + (1 | g)", data))
    figure = shown(plot_pooling(fit))
    axes = figure.axes[0]
    found = pooling(fit)
    at = points(axes, PARTIAL)
    np.testing.assert_allclose(at[:, 1], found["pooling"])
    # Those with the same n are moved aside by less than half a row.
    assert (abs(at[:, 0] - found["n"]) < 0.5).all()
    curve = np.column_stack(axes.lines[0].get_data())
    on_curve = np.interp(found["n"], *curve.T)
    np.testing.assert_allclose(on_curve, found["pooling"], atol=1e-4)
    lambda_ = found.attrs["lambda"]["mu"]["Intercept"]
    assert axes.get_title() == f"Intercept (λ = {lambda_:.2f})"
    # With a predictor, its coefficient is held within a draw: the closed form is still true.
    assert not plot_pooling(nearby(bm.Model("y ~ x + (x | g)", data))).axes[0].lines


def test_pooling_of_very_different_sizes_is_on_a_logarithmic_axis():
    sizes = [2, 5, 20, 100, 150]
    frame = pd.DataFrame({"g": np.repeat(list("abcde"), sizes)})
    frame["y"] = np.random.default_rng(0).normal(size=len(frame))
    axes = shown(plot_pooling(nearby(bm.Model("y ~ 1 + (1 | g)", frame)))).axes[0]
    assert axes.get_xscale() == "log"
    assert labels(axes) == ["2", "5", "10", "20", "50", "100"]


# --- many levels, odd labels, the caller's axes, and refusals ---


def test_a_thousand_levels_stay_legible():
    frame = table([f"level {i}" for i in range(1000)], least=2, most=4)
    fit = nearby(bm.Model("y ~ x + (x | g)", frame), draws=20)
    shown(plot_shrinkage(fit))
    shown(plot_shrinkage(fit, kind="lines"))
    shown(plot_pooling(fit))
    axes = shown(plot_shrinkage(fit, kind="prior", effects="Intercept")).axes[0]
    boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
    assert 20 < len(boxes) < 100
    assert all(a.x1 <= b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
    ridge = shown(plot_ridge(fit, effects="Intercept"))
    assert ridge.get_figheight() < 12
    (strips,) = ridge.axes[0].images
    assert strips.get_array().shape[0] == 1000


def test_labels_are_text():
    names = ["$x_{", "a\nb", "Kreis Oberes Donautal, Gemeinde im Norden", "d", "e", "f"]
    frame = table(names).rename(columns={"x": "$x_1$", "g": "$g"})
    fit = nearby(bm.Model("y ~ `$x_1$` + (`$x_1$` | `$g`)", frame))
    for kind in ("arrows", "lines", "prior"):
        shown(plot_shrinkage(fit, kind=kind))
    shown(plot_ridge(fit))
    shown(plot_pooling(fit))


def test_the_default_kind_follows_the_effects(slopes, data):
    assert any(isinstance(c, Quiver) for c in plot_shrinkage(slopes).axes[0].collections)
    one = plot_shrinkage(slopes, effects="x").axes[0]
    assert one.get_ylabel() == "coefficient of x"
    panels = plot_shrinkage(slopes, kind="prior")
    assert [axes.get_title() for axes in panels.axes] == ["Intercept", "x"]
    sized = plot_shrinkage(slopes, figsize=(3, 2))
    assert tuple(sized.get_size_inches()) == (3, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": "gg"}, r"group='gg'.*Did you mean 'g'"),
        ({"parameter": "sigma"}, r"parameter='sigma'.*one of 'mu'"),
        ({"effects": ["X"]}, r"effects: there is no effect 'X'.*'Intercept', 'x'"),
        ({"effects": ["x", "x"]}, r"effects has 'x' twice"),
        ({"kind": "line"}, r"kind='line': write one of .*Did you mean 'lines'"),
        ({"kind": ["prior"]}, r"kind=\['prior'\]: write one of"),
        ({"kind": "arrows", "effects": "x"}, r"kind='arrows' is for pairs.*Write kind='prior'"),
        ({"kind": "lines", "effects": "x"}, r"kind='lines' is for an intercept.*kind='prior'"),
        ({"prob": 89}, r"prob=89: write a probability"),
        ({"kind": "lines", "prob": 0.5}, r"prob= is for kind='arrows', 'prior'"),
        ({"kind": "prior", "intercepts": 1}, r"intercepts= is for kind='lines'"),
        ({"kind": "lines", "intercepts": 1}, r"intercepts is a int: give what bm.fit"),
        ({"kind": "lines", "ax": Figure().subplots(1, 2)}, r"ax has 2 axes, and .* 3 panels"),
        ({"ax": "here"}, r"ax='here' is not matplotlib Axes"),
    ],
)
def test_bad_arguments(slopes, arguments, message):
    with pytest.raises(bm.BayesmmError, match=message):
        plot_shrinkage(slopes, **arguments)


def test_axes_that_share_y_would_hide_levels_beneath_a_break(slopes):
    with pytest.raises(bm.BayesmmError, match="the axes share y with others"):
        plot_shrinkage(slopes, kind="prior", ax=Figure().subplots(1, 2, sharey=True))


def test_a_kind_that_does_not_suit_names_one_that_does(data):
    fit = nearby(bm.Model("y ~ f + (f | g)", data))
    with pytest.raises(bm.BayesmmError, match=r"kind='lines' is for .* Write kind='arrows'"):
        plot_shrinkage(fit, kind="lines")
    two = nearby(bm.Model("y ~ x + n + (x + s | g)", data.assign(n=data["x"] ** 2)))
    with pytest.raises(bm.BayesmmError, match=r"kind='lines' is for .* Write kind='arrows'"):
        plot_shrinkage(two, kind="lines")
    assert len(plot_shrinkage(two, kind="lines", effects=["x", "Intercept"]).axes) == 3


def test_intercepts_of_another_model_are_refused(slopes, data):
    with pytest.raises(bm.BayesmmError, match=r"intercepts= has the effects .* \(1 \| g\)"):
        plot_shrinkage(slopes, kind="lines", intercepts=slopes)
    other = nearby(bm.Model("y ~ 1 + (1 | g)", data))
    with pytest.raises(bm.BayesmmError, match="predictors are not the same"):
        plot_shrinkage(slopes, kind="lines", intercepts=other)


def test_models_and_things_without_levels(slopes, data):
    for plot in (plot_shrinkage, plot_ridge, plot_pooling):
        with pytest.raises(bm.BayesmmError, match="no group effects"):
            plot(nearby(bm.Model("y ~ x", data)))
        with pytest.raises(bm.BayesmmError, match="fit is a DataTree"):
            plot(slopes.idata)
