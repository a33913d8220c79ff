"""The plots: what is on them, in which order, and what bad arguments get. Nothing is sampled."""

import io

import arviz as az
import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from family_data import example
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nearby import nearby

import bayesmm as bm
from bayesmm.families import FAMILIES
from bayesmm.plots import canvas
from bayesmm.prepare import prepare
from bayesmm.results.convert import dimensions


def fake_fit(formula, data, family="gaussian", chains=2, draws=50):
    """Return a fit whose posterior is noise around a random value for each number."""
    prepared = prepare(formula, data, family=family)
    dims, coords = dimensions(prepared.spec)
    rng = np.random.default_rng(1)
    variables = {}
    for name, own in dims.items():
        shape = [len(coords[dim]) for dim in own]
        noise = 0.3 * rng.normal(size=(chains, draws, *shape))
        variables[name] = (("chain", "draw", *own), rng.normal(size=shape) + noise)
    sample = {"chain": np.arange(chains), "draw": np.arange(draws)}
    posterior = xr.Dataset(variables, coords={**sample, **coords})
    return bm.Fit(prepared, xr.DataTree.from_dict({"posterior": posterior}))


def table(levels, rows=3):
    rng = np.random.default_rng(2)
    size = len(levels) * rows
    return pd.DataFrame(
        {
            "y": rng.normal(size=size),
            "k": rng.poisson(3, size),
            "x": rng.normal(size=size),
            "g": np.repeat(levels, rows),
            "h": rng.permutation(np.arange(size) % 4),
        }
    )


@pytest.fixture(scope="module")
def data():
    return table(list("abcdef"))


@pytest.fixture(scope="module")
def slopes(data):
    return fake_fit("y ~ x + (1 + x | g)", data)


@pytest.fixture(scope="module")
def several(data):
    return fake_fit(["k ~ x + (1 + x | g) + (1 | h)", "shape ~ 1 + (1 | g)"], data, "negbinomial")


def drawn(axes):
    """Return the labels and the points of a panel, from the bottom to the top."""
    points = axes.lines[1].get_xdata()
    return [text.get_text() for text in axes.get_yticklabels()], np.asarray(points)


def test_a_panel_for_each_effect_sorted_by_its_own_means(slopes):
    figure = bm.plot_caterpillar(slopes)
    assert [axes.get_title() for axes in figure.axes] == ["Intercept", "x"]
    for axes, effect in zip(figure.axes, ["Intercept", "x"], strict=True):
        means = slopes.posterior["r_g"].sel(g_effect=effect).mean(("chain", "draw")).to_series()
        labels, points = drawn(axes)
        assert labels == list(means.sort_values().index)
        np.testing.assert_allclose(points, means.sort_values())
        assert axes.lines[0].get_xdata() == [0, 0]
        assert axes.get_xlabel() == "difference from the population"
    assert figure.axes[0].get_ylabel() == "g"


def test_intervals_have_their_probabilities(slopes):
    axes = bm.plot_caterpillar(slopes, effects="x", prob=0.9, inner_prob=0.4).axes[0]
    labels, _ = drawn(axes)
    draws = slopes.posterior["r_g"].sel(g_effect="x", g=labels)
    outer, inner = (np.array(lines.get_segments())[:, :, 0] for lines in axes.collections)
    expected = draws.quantile([0.05, 0.95], ("chain", "draw")).transpose("g", "quantile")
    np.testing.assert_allclose(outer, expected)
    expected = draws.quantile([0.3, 0.7], ("chain", "draw")).transpose("g", "quantile")
    np.testing.assert_allclose(inner, expected)


def test_the_outer_interval_is_that_of_arviz_unless_given(slopes):
    with az.rc_context({"stats.ci_prob": 0.8}):
        assert "50% and 80%" in bm.plot_caterpillar(slopes).get_suptitle()
    assert "50% and 95%" in bm.plot_caterpillar(slopes, prob=0.95).get_suptitle()


def test_sorted_by_one_effect_every_panel_has_the_same_lines(slopes):
    first, second = bm.plot_caterpillar(slopes, sort="x").axes
    means = slopes.posterior["r_g"].mean(("chain", "draw")).to_pandas()
    order = means["x"].sort_values().index
    assert drawn(first)[0] == list(order)
    assert drawn(second)[0] == []
    np.testing.assert_allclose(drawn(first)[1], means["Intercept"][order])


def test_unsorted_levels_read_from_top_to_bottom(slopes):
    assert drawn(bm.plot_caterpillar(slopes, sort=False).axes[0])[0] == list("fedcba")


def test_effects_are_chosen_and_ordered(slopes):
    figure = bm.plot_caterpillar(slopes, effects=["x", "Intercept"])
    assert [axes.get_title() for axes in figure.axes] == ["x", "Intercept"]


def test_every_parameter_with_the_group_and_its_scale(several):
    figure = bm.plot_caterpillar(several, "g")
    assert [a.get_title() for a in figure.axes] == ["Intercept", "x", "shape: Intercept"]
    assert {a.get_xlabel() for a in figure.axes} == {"difference from the population (log scale)"}
    figure = bm.plot_caterpillar(several, "g", parameter="shape")
    assert [a.get_title() for a in figure.axes] == ["shape: Intercept"]


def test_many_levels_are_labelled_at_an_even_step():
    fit = fake_fit("y ~ 1 + (1 | g)", table([f"level {i}" for i in range(316)], rows=2))
    figure = bm.plot_caterpillar(fit)
    axes = figure.axes[0]
    steps = np.diff(axes.get_yticks())
    assert axes.get_yticks()[-1] == 315
    assert len(set(steps)) == 1
    assert figure.get_figheight() < 12
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in axes.get_yticklabels()]
    assert 20 < len(boxes) < 100
    assert all(low.y1 <= high.y0 for low, high in zip(boxes, boxes[1:], strict=False))


def test_labels_are_text_and_long_ones_lose_their_middle():
    names = ["$x_{", "a\nb", "Kreis Oberes Donautal, Gemeinde im Norden", "d"]
    figure = bm.plot_caterpillar(fake_fit("y ~ 1 + (1 | g)", table(names)))
    labels, _ = drawn(figure.axes[0])
    assert set(labels) == {"$x_{", "a b", "Kreis Oberes D…nde im Norden", "d"}
    figure.savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize("length", [1, canvas.LABEL_LENGTH, canvas.LABEL_LENGTH + 1, 200])
def test_short_labels_keep_to_the_length(length):
    assert len(canvas.short("x" * length)) == min(length, canvas.LABEL_LENGTH)


def test_it_draws_on_the_axes_it_gets(slopes):
    figure = Figure()
    axes = figure.subplots(2, 1)
    assert bm.plot_caterpillar(slopes, ax=axes) is figure
    assert [a.get_title() for a in axes] == ["Intercept", "x"]
    single = Figure().subplots()
    assert bm.plot_caterpillar(slopes, effects="x", ax=single) is single.figure


def test_a_figure_has_its_size_and_shows_itself_once(slopes):
    from matplotlib import pyplot as plt

    before = plt.get_fignums()
    settings = dict(matplotlib.rcParams)
    figure = bm.plot_caterpillar(slopes, figsize=(5, 2))
    assert plt.get_fignums() == before
    assert dict(matplotlib.rcParams) == settings
    assert tuple(figure.get_size_inches()) == (5, 2)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_many_panels_wrap(data):
    data = data.assign(f=pd.Categorical(np.resize(list("pqrst"), len(data))))
    figure = bm.plot_caterpillar(fake_fit("y ~ 1 + (f | g)", data))
    assert len(figure.axes) == 5
    assert [a.get_subplotspec().rowspan.start for a in figure.axes] == [0, 0, 0, 0, 1]
    assert [a.get_ylabel() for a in figure.axes] == ["g", "", "", "", "g"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": "gg"}, r"group='gg'.*Did you mean 'g'"),
        ({"parameter": "sigma"}, r"parameter='sigma'.*one of 'mu'"),
        ({"effects": ["X"]}, r"effects: there is no effect 'X'.*'Intercept', 'x'"),
        ({"effects": []}, "effects is empty"),
        ({"sort": "z"}, r"sort: there is no effect 'z'"),
        ({"sort": "x", "effects": "Intercept"}, r"sort: there is no effect 'x'"),
        ({"prob": 89}, r"prob=89: write a probability"),
        ({"inner_prob": True}, r"inner_prob=True: write a probability"),
        ({"prob": 0.4}, r"inner_prob=0.5 is not less than prob=0.4"),
        ({"ax": Figure().subplots()}, r"ax has 1 axes, and the plot has 2 panels"),
        ({"ax": "here"}, r"ax='here' is not matplotlib Axes"),
    ],
)
def test_bad_arguments(slopes, arguments, message):
    with pytest.raises(bm.BayesmmError, match=message):
        bm.plot_caterpillar(slopes, **arguments)


def test_the_group_has_to_be_named_where_there_are_several(several):
    with pytest.raises(bm.BayesmmError, match=r"several groups. Write one of 'g', 'h'"):
        bm.plot_caterpillar(several)


def test_a_model_without_groups_has_nothing_to_draw(data):
    with pytest.raises(bm.BayesmmError, match="no group effects"):
        bm.plot_caterpillar(fake_fit("y ~ x", data))


def test_a_fit_is_asked_for(slopes):
    with pytest.raises(bm.BayesmmError, match="fit is a DataTree"):
        bm.plot_caterpillar(slopes.idata)


def test_caterpillar_of_categories():
    frame = example(FAMILIES["categorical"], 60, 1)
    fit = nearby(bm.Model("y ~ x + (1 | g)", frame, "categorical"))
    assert len(bm.plot_caterpillar(fit, "g").axes) >= 3
    assert bm.plot_caterpillar(fit, "g", parameter="mu_b").axes
