"""Plots of predictions, comparisons and slopes: what is drawn are the numbers of the tables."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from nearby import nearby

import bayesmm as bm
from bayesmm.plots import plot_comparisons, plot_predictions, plot_slopes
from bayesmm.plots.effect_labels import BAND, BEHIND, COLOURS

BOUNDS = ["conf_low", "conf_high"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    n = 240
    frame = pd.DataFrame(
        {
            "x": rng.normal(3.0, 2.0, n),
            "k": rng.integers(0, 2, n),
            "$f_1$": rng.choice(["_a", "$b$", "a name that goes on and on until it ends"], n),
            "many": np.resize([f"m{i:02d}" for i in range(30)], n),
            "g": np.repeat(list("abcdefgh"), 30),
            "h": np.resize(np.arange(5), n),
            "region": np.resize(["north", "south"], n),
            "n": 6,
            "w": rng.uniform(0.1, 5.0, n),
        }
    )
    frame["y"] = frame["x"] + rng.normal(size=n)
    frame["yes"] = np.where(rng.uniform(size=n) < 0.4, "Y", "N")
    frame["s"] = rng.integers(0, 7, n)
    frame["o"] = rng.integers(1, 4, n)
    return frame


@pytest.fixture(scope="module")
def fit(data):
    return nearby(bm.Model("y ~ x * k + `$f_1$` + many + (1 + x | g)", data))


@pytest.fixture(scope="module")
def chance(data):
    return nearby(bm.Model("yes ~ x + I(x**2) + k + `$f_1$` + (1 | g)", data, family="bernoulli"))


@pytest.fixture(scope="module")
def ordinal(data):
    return nearby(bm.Model("o ~ x + k + (1 | g)", data, family="cumulative"))


def shown(figure):
    """Draw the figure, so that whatever cannot be drawn fails here."""
    FigureCanvasAgg(figure).draw()
    return figure


def medians(axes):
    """The points of each line of estimates, reference lines left out."""
    lines = [line for line in axes.lines if len(line.get_xdata()) != 2 or line.get_zorder() == 4]
    return [(np.asarray(one.get_xdata()), np.asarray(one.get_ydata())) for one in lines]


def bands(axes, opacity=BAND):
    """The lower and upper bounds of each band of that opacity."""
    found = []
    for band in axes.collections:
        if type(band).__name__ != "FillBetweenPolyCollection" or band.get_alpha() != opacity:
            continue
        corners = band.get_paths()[0].vertices
        count = (len(corners) - 3) // 2
        found.append((corners[1 : 1 + count, 1], corners[count + 2 : -1, 1][::-1]))
    return found


def bars(axes):
    """The places and bounds of the error bars of each colour."""
    found = []
    for lines in axes.collections:
        if type(lines).__name__ == "LineCollection":
            ends = np.array(lines.get_segments())
            found.append((ends[:, 0, 0], ends[:, 0, 1], ends[:, 1, 1]))
    return found


def scattered(axes):
    return [c.get_offsets() for c in axes.collections if type(c).__name__ == "PathCollection"]


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def legend(figure):
    return [[text.get_text() for text in made.get_texts()] for made in figure.legends]


# --- what is drawn ---


def test_a_line_and_its_band_are_the_table(fit, data):
    (axes,) = shown(plot_predictions(fit, "x")).axes
    grid = np.linspace(data["x"].min(), data["x"].max(), 50)
    table = bm.predictions(fit, bm.datagrid(fit, x=grid), clusters="typical")
    ((where, middle),) = medians(axes)
    np.testing.assert_allclose(where, grid)
    np.testing.assert_allclose(middle, table["estimate"])
    ((low, high),) = bands(axes)
    np.testing.assert_allclose(low, table["conf_low"])
    np.testing.assert_allclose(high, table["conf_high"])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "expected y")


def test_the_figure_is_not_pyplots_and_says_what_it_shows(fit):
    figure = plot_predictions(fit, "x", conf_level=0.8)
    assert isinstance(figure, Figure)
    assert figure._repr_png_()[:4] == b"\x89PNG"
    assert figure.get_suptitle() == "Posterior median and 80% interval, typical cluster"


def test_a_new_cluster_is_a_lighter_band_behind(fit):
    figure = shown(plot_predictions(fit, {"x": range(6)}, new_clusters=True, seed=3))
    axes = figure.axes[0]
    rows = bm.datagrid(fit, x=range(6))
    for opacity, clusters in ((BAND, "typical"), (BEHIND, "new")):
        table = bm.predictions(fit, rows, clusters=clusters, seed=3)
        ((low, high),) = bands(axes, opacity)
        np.testing.assert_allclose(np.stack([low, high], axis=1), table[BOUNDS])
    assert BEHIND < BAND
    assert legend(figure) == [["typical cluster", "new cluster"]]
    figure = plot_predictions(fit, {"x": [0, 1]}, clusters="average", new_clusters=True)
    assert legend(figure) == [["average over clusters", "new cluster"]]


def test_a_factor_has_points_with_error_bars_dodged_by_colour(fit):
    figure = shown(plot_predictions(fit, ["$f_1$", "k"]))
    (axes,) = figure.axes
    rows = bm.datagrid(fit, **{"k": [0, 1], "$f_1$": ["$b$", "_a", _long(fit)]})
    table = bm.predictions(fit, rows, clusters="typical")
    for i, (found, (places, low, high)) in enumerate(zip(medians(axes), bars(axes), strict=True)):
        part = table[table["k"] == i]
        np.testing.assert_allclose(found[0], np.arange(3) + (-0.1, 0.1)[i])
        np.testing.assert_allclose(places, found[0])
        np.testing.assert_allclose(found[1], part["estimate"])
        np.testing.assert_allclose(np.stack([low, high], axis=1), part[BOUNDS])
    assert legend(figure) == [["0", "1"]]
    assert figure.legends[0].get_title().get_text() == "k"


def _long(fit):
    return fit.spec.schema.column("$f_1$").levels[-1]


def test_labels_are_as_in_the_data(fit):
    figure = shown(plot_predictions(fit, ["x", "$f_1$"]))
    texts = figure.legends[0].get_texts()
    assert [text.get_text() for text in texts[:2]] == ["$b$", "_a"]
    assert not any(text.get_parse_math() for text in texts)
    assert len(texts[2].get_text()) == 28
    axes = shown(plot_predictions(fit, "$f_1$")).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()][:2] == ["$b$", "_a"]
    assert not any(text.get_parse_math() for text in axes.get_xticklabels())
    assert not axes.xaxis.label.get_parse_math()


def test_thirty_levels_are_written_and_turned(fit):
    axes = shown(plot_predictions(fit, "many")).axes[0]
    labels = axes.get_xticklabels()
    assert len(labels) >= 15
    assert labels[0].get_rotation() == 90
    assert len(medians(axes)[0][0]) == 30


def test_numbers_beside_x_are_at_the_mean_and_a_sd_around_it(fit, data):
    figure = shown(plot_predictions(fit, ["k", "x"]))
    mean, sd = data["x"].mean(), data["x"].std()
    values = [mean - sd, mean, mean + sd]
    table = bm.predictions(fit, bm.datagrid(fit, x=values, k=[0, 1]), clusters="typical")
    for (_, middle), value in zip(medians(figure.axes[0]), values, strict=True):
        np.testing.assert_allclose(middle, table["estimate"][np.isclose(table["x"], value)])
    assert legend(figure) == [[f"{value:.2f}" for value in values]]


def test_panels_are_the_third_and_rows_of_them_the_fourth(fit):
    condition = {"x": [0, 1], "k": None, "$f_1$": ["_a", "$b$"], "many": ["m01", "m02", "m03"]}
    figure = shown(plot_predictions(fit, condition))
    expected = [f"many = {m}\n$f_1$ = {f}" for m in ["m01", "m02", "m03"] for f in ["_a", "$b$"]]
    assert titles(figure) == expected
    table = bm.predictions(fit, bm.datagrid(fit, **(condition | {"k": [0, 1]})))
    for axes, (m, f) in zip(
        figure.axes, [(m, f) for m in ["m01", "m02", "m03"] for f in ["_a", "$b$"]], strict=True
    ):
        for k, (_, middle) in enumerate(medians(axes)):
            part = table[(table["many"] == m) & (table["$f_1$"] == f) & (table["k"] == k)]
            np.testing.assert_allclose(middle, part["estimate"])
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert [axes.get_ylabel() for axes in figure.axes] == ["expected y", ""] * 3
    assert [axes.get_xlabel() for axes in figure.axes] == [""] * 4 + ["x"] * 2


def test_lines_of_given_clusters(fit):
    figure = plot_predictions(fit, {"x": [0, 4], "g": ["c", "a"]})
    table = bm.predictions(fit, bm.datagrid(fit, x=[0, 4], g=["c", "a"]), clusters="given")
    for g, (_, middle) in zip("ca", medians(figure.axes[0]), strict=True):
        np.testing.assert_allclose(middle, table["estimate"][table["g"] == g])
    assert "given clusters" in figure.get_suptitle()


def test_averages_over_the_data(fit, data):
    axes = shown(plot_predictions(fit, by="k")).axes[0]
    table = bm.predictions(fit, by="k")
    np.testing.assert_allclose(medians(axes)[0][1], table["estimate"])
    np.testing.assert_allclose(np.stack(bars(axes)[0][1:], axis=1), table[BOUNDS])
    figure = plot_predictions(fit, by=["h", "region"], newdata=data, wts="w")
    table = bm.predictions(fit, data, by=["h", "region"], wts="w")
    for region, (where, middle) in zip(["north", "south"], medians(figure.axes[0]), strict=True):
        part = table[table["region"] == region]
        np.testing.assert_allclose(where, part["h"])
        np.testing.assert_allclose(middle, part["estimate"])
    figure = plot_predictions(fit, by="k", clusters="typical", new_clusters=True, seed=1)
    behind = bm.predictions(fit, by="k", clusters="new", seed=1)
    np.testing.assert_allclose(np.stack(bars(figure.axes[0])[0][1:], axis=1), behind[BOUNDS])


def test_clusters_by_group(data):
    fit = nearby(bm.Model("y ~ x + (1 | g) + (1 | h)", data))
    condition, clusters = {"x": range(6), "g": ["a", "b"]}, {"g": "given", "h": "average"}
    figure = shown(plot_predictions(fit, condition, clusters=clusters, new_clusters=True, seed=1))
    rows = bm.datagrid(fit, **condition)
    table = bm.predictions(fit, rows, clusters=clusters)
    behind = bm.predictions(fit, rows, clusters=clusters | {"h": "new"}, seed=1)
    for g, (_, middle), (low, high) in zip(
        "ab", medians(figure.axes[0]), bands(figure.axes[0], BEHIND), strict=True
    ):
        np.testing.assert_allclose(middle, table["estimate"][table["g"] == g])
        np.testing.assert_allclose(low, behind["conf_low"][table["g"] == g])
        np.testing.assert_allclose(high, behind["conf_high"][table["g"] == g])
    assert legend(figure)[1] == ["g: given, h: average", "g: given, h: new"]
    figure = plot_slopes(fit, "x", condition, clusters=clusters)
    assert figure.get_suptitle().endswith("interval, g: given, h: average")
    figure = plot_comparisons(fit, "x", by="g", clusters=clusters)
    assert figure.get_suptitle().endswith("interval, averaged over the data, g: given, h: average")


# --- numbers with few values ---


@pytest.fixture(scope="module")
def few(data):
    rows = data.assign(dose=np.resize([-1, 0, 1], len(data)), site=np.resize([1, 2, 4, 5], 240))
    return nearby(bm.Model("y ~ x + dose * k + site + (1 | g)", rows))


def test_chosen_numbers_are_points_at_their_place(fit):
    axes = shown(plot_predictions(fit, {"x": [4, 0, 1]})).axes[0]
    table = bm.predictions(fit, bm.datagrid(fit, x=[0, 1, 4]))
    ((where, middle),) = medians(axes)
    np.testing.assert_allclose(where, [0, 1, 4])
    np.testing.assert_allclose(middle, table["estimate"])
    ((places, low, high),) = bars(axes)
    np.testing.assert_allclose(places, where)
    np.testing.assert_allclose(np.stack([low, high], axis=1), table[BOUNDS])
    assert not bands(axes)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "4"]
    assert shown(plot_predictions(fit, {"x": np.array(3.0)})).axes[0].get_xlabel() == "x"


def test_points_of_few_numbers_stand_aside_by_colour(fit, data):
    axes = shown(plot_predictions(fit, {"x": [0, 4], "k": None}, points=0.4)).axes[0]
    (first, _), (second, _) = medians(axes)
    np.testing.assert_allclose((first + second) / 2, [0, 4])
    np.testing.assert_allclose(second - first, 0.12)
    # The data have x of their own, which is kept.
    np.testing.assert_allclose(scattered(axes)[0], data.loc[data["k"] == 0, ["x", "y"]])


def test_numbers_with_few_values_are_drawn_at_all_of_them(few):
    axes = shown(plot_predictions(few, "dose", points=0.3)).axes[0]
    np.testing.assert_allclose(medians(axes)[0][0], [-1, 0, 1])
    (points,) = scattered(axes)
    assert len(np.unique(points[:, 0])) == 240
    assert (abs(points[:, 0] - points[:, 0].round()) < 0.05).all()
    axes = shown(plot_predictions(few, by="dose")).axes[0]
    np.testing.assert_allclose(medians(axes)[0][0], [-1, 0, 1])
    assert len(bars(axes)) == 1
    figure = shown(plot_predictions(few, ["x", "dose", "site"]))
    assert legend(figure) == [["-1", "0", "1"]]
    assert titles(figure) == ["site = 1", "site = 2", "site = 4", "site = 5"]
    assert bands(plot_predictions(few, "site").axes[0])


# --- the data underneath ---


def test_points_are_the_training_data(fit, data):
    axes = shown(plot_predictions(fit, "x", points=0.4)).axes[0]
    (points,) = scattered(axes)
    np.testing.assert_allclose(points, data[["x", "y"]])


def test_points_have_the_colour_and_the_panel_of_factors(fit, data):
    figure = shown(plot_predictions(fit, ["x", "k", "$f_1$"], points=0.4))
    for axes, f in zip(figure.axes, fit.spec.schema.column("$f_1$").levels, strict=True):
        for k, points in enumerate(scattered(axes)):
            part = data[(data["k"] == k) & (data["$f_1$"] == f)]
            np.testing.assert_allclose(points, part[["x", "y"]])
        points = [c for c in axes.collections if type(c).__name__ == "PathCollection"]
        colours = [to_hex(c.get_facecolor()[0]).upper() for c in points]
        assert colours == list(COLOURS[:2])
        assert [c.get_alpha() for c in points] == [0.4, 0.4]


def test_points_beside_a_number_in_colour_are_all_alike(fit, data):
    axes = plot_predictions(fit, ["k", "x"], points=1).axes[0]
    (points,) = scattered(axes)
    np.testing.assert_allclose(points[:, 1], data["y"])
    assert (abs(points[:, 0] - data["k"]) < 0.2).all()


def test_points_of_levels_that_are_not_drawn_are_left_out(fit, data):
    axes = plot_predictions(fit, {"$f_1$": ["_a"], "k": [1]}, points=1).axes[0]
    (points,) = scattered(axes)
    np.testing.assert_allclose(points[:, 1], data["y"][(data["$f_1$"] == "_a") & (data["k"] == 1)])


def test_points_of_trials_are_shares_where_the_line_is_a_probability(data):
    fit = nearby(bm.Model("prop(s, n) ~ x + (1 | g)", data, family="binomial"))
    axes = plot_predictions(fit, "x", points=0.5).axes[0]
    np.testing.assert_allclose(scattered(axes)[0][:, 1], data["s"] / 6)
    assert axes.get_ylabel() == "probability of s"
    axes = plot_predictions(fit, by="g", points=0.5).axes[0]
    np.testing.assert_allclose(scattered(axes)[0][:, 1], data["s"])
    assert axes.get_ylabel() == "expected s"


# --- scales and categories ---


def test_probabilities_and_linear_predictors_are_called_so(chance, data):
    axes = shown(plot_predictions(chance, "x", points=0.2)).axes[0]
    assert axes.get_ylabel() == "probability of yes = Y"
    np.testing.assert_array_equal(scattered(axes)[0][:, 1], data["yes"] == "Y")
    axes = plot_predictions(chance, "x", type="link").axes[0]
    assert axes.get_ylabel() == "linear predictor"


@pytest.mark.parametrize("trials", ["10", "n + 1", "n"])
def test_counts_of_several_trials_are_no_probabilities(data, trials):
    varied = data.assign(n=np.resize([7, 12], len(data)))
    formula = f"prop(s, {trials}) ~ x + n + (1 | g)"
    fit = nearby(bm.Model(formula, varied, family="binomial"))
    axes = plot_predictions(fit, "x", points=0.5).axes[0]
    assert axes.get_ylabel() == "expected s"
    np.testing.assert_allclose(scattered(axes)[0][:, 1], data["s"])
    axes = plot_predictions(fit, {"x": None, "n": [12]}).axes[0]
    assert axes.get_ylabel() == "expected s"
    axes = plot_comparisons(fit, "x", "n", comparison="odds_ratio").axes[0]
    assert axes.get_ylabel().replace("\n", " ") == "x: +1, odds ratio, probability of s"
    if trials == "n":
        axes = plot_predictions(fit, {"x": None, "n": [1]}).axes[0]
        assert axes.get_ylabel() == "probability of s"


def test_trials_may_be_named_although_they_are_no_predictor(data):
    fit = nearby(bm.Model("prop(s, n) ~ x + (1 | g)", data, family="binomial"))
    axes = plot_predictions(fit, {"x": None, "n": [6]}).axes[0]
    assert axes.get_ylabel() == "expected s"
    rows = bm.datagrid(fit, x=medians(axes)[0][0], n=[6])
    table = bm.predictions(fit, rows, clusters="typical")
    np.testing.assert_allclose(medians(axes)[0][1], table["estimate"])


def test_levels_of_thresholds_are_no_clusters(data):
    plain = nearby(bm.Model("thresholds(o, h) ~ x", data, family="cumulative"))
    assert plot_predictions(plain, {"x": range(6)}).get_suptitle().endswith("interval")
    with pytest.raises(bm.BayesmmError, match="no group effects"):
        plot_predictions(plain, "x", new_clusters=True)
    fit = nearby(bm.Model("thresholds(o, h) ~ x + (1 | g)", data, family="cumulative"))
    figure = shown(plot_predictions(fit, {"x": range(6), "h": [3, 4]}))
    table = bm.predictions(fit, bm.datagrid(fit, x=range(6), h=[3, 4]), clusters="typical")
    assert figure.get_suptitle().endswith("typical cluster")
    for category, axes in zip("123", figure.axes, strict=True):
        for h, (_, middle) in zip((3, 4), medians(axes), strict=True):
            part = table[(table["group"] == category) & (table["h"] == h)]
            np.testing.assert_allclose(middle, part["estimate"])
    assert len(plot_predictions(fit, {"x": range(6), "g": ["a", "b"]}).axes) == 3


def test_categories_have_panels_where_a_new_cluster_is_behind(ordinal):
    figure = shown(plot_predictions(ordinal, {"x": range(6)}, new_clusters=True, seed=1))
    assert titles(figure) == ["o = 1", "o = 2", "o = 3"]
    assert legend(figure) == [["typical cluster", "new cluster"]]
    table = bm.predictions(ordinal, bm.datagrid(ordinal, x=range(6)), clusters="new", seed=1)
    for category, axes in zip("123", figure.axes, strict=True):
        ((low, high),) = bands(axes, BEHIND)
        part = table[table["group"] == category]
        np.testing.assert_allclose(np.stack([low, high], axis=1), part[BOUNDS])


def test_categories_are_colours_or_panels(ordinal):
    figure = shown(plot_predictions(ordinal, {"x": [0, 3]}))
    table = bm.predictions(ordinal, bm.datagrid(ordinal, x=[0, 3]))
    for category, (_, middle) in zip("123", medians(figure.axes[0]), strict=True):
        np.testing.assert_allclose(middle, table["estimate"][table["group"] == category])
    assert legend(figure) == [["1", "2", "3"]]
    assert figure.axes[0].get_ylabel() == "probability of o"
    figure = shown(plot_predictions(ordinal, {"x": [0, 3], "k": None}))
    assert titles(figure) == ["o = 1", "o = 2", "o = 3"]
    assert len(plot_predictions(ordinal, ["x", "k"], type="link").axes) == 1


# --- comparisons and slopes ---


def test_comparisons(chance):
    (axes,) = shown(plot_comparisons(chance, "k", {"x": range(6)})).axes
    table = bm.comparisons(chance, "k", bm.datagrid(chance, x=range(6)))
    np.testing.assert_allclose(medians(axes)[0][1], table["estimate"])
    np.testing.assert_allclose(np.stack(bands(axes)[0], axis=1), table[BOUNDS])
    text = " ".join(axes.get_ylabel().split())
    assert text == "k: +1, difference in probability of yes = Y" or text.startswith("k: 1 - 0,")
    assert axes.lines[0].get_ydata() == [0, 0]


def test_several_contrasts_are_panels_and_ratios_are_about_one(fit):
    variables = {"$f_1$": "reference", "x": 2}
    figure = shown(plot_comparisons(fit, variables, "k", comparison="ratio"))
    assert [title.replace("\n", " ") for title in titles(figure)] == [
        "$f_1$: _a / $b$",
        f"$f_1$: {_long(fit)} / $b$",
        "x: +2",
    ]
    table = bm.comparisons(
        fit, variables, bm.datagrid(fit, k=[0, 1]), comparison="ratio", clusters="typical"
    )
    drawn = np.concatenate([medians(axes)[0][1] for axes in figure.axes])
    np.testing.assert_allclose(drawn, table["estimate"])
    assert all(axes.lines[0].get_ydata() == [1, 1] for axes in figure.axes)
    assert figure.axes[0].get_ylabel() == "ratio of y"


def test_comparisons_of_an_own_function_have_no_reference(fit):
    (axes,) = plot_comparisons(fit, "k", by="$f_1$", comparison=lambda hi, lo: hi - 2 * lo).axes
    assert all(line.get_zorder() == 4 for line in axes.lines)


def test_contrasts_panels_and_categories_together(ordinal):
    figure = shown(plot_comparisons(ordinal, ["x", "k"], {"x": [0, 1], "k": None}))
    assert len(figure.axes) == 6
    table = bm.comparisons(ordinal, ["x", "k"], bm.datagrid(ordinal, x=[0, 1], k=[0, 1]))
    for axes in figure.axes:
        term, group = axes.get_title().split("\n")[0].split(":")[0], axes.get_title()[-1]
        part = table[(table["term"] == term) & (table["group"] == group) & (table["k"] == 1)]
        np.testing.assert_allclose(medians(axes)[1][1], part["estimate"])


def test_slopes(chance):
    figure = shown(plot_slopes(chance, "x", ["x", "k"], new_clusters=True, seed=2))
    (axes,) = figure.axes
    grid = np.linspace(*chance._prepared.frame.columns["x"].agg(["min", "max"]), 50)
    table = bm.slopes(chance, "x", bm.datagrid(chance, x=grid, k=[0, 1]), clusters="typical")
    for k, (_, middle) in enumerate(medians(axes)):
        np.testing.assert_allclose(middle, table["estimate"][table["k"] == k])
    text = " ".join(axes.get_ylabel().split())
    assert text == "x: dY/dX, slope of probability of yes = Y"
    assert legend(figure) == [["0", "1"], ["typical cluster", "new cluster"]]
    (axes,) = plot_slopes(chance, "x", by="k", slope="eydx").axes
    np.testing.assert_allclose(
        medians(axes)[0][1], bm.slopes(chance, "x", by="k", slope="eydx")["estimate"]
    )


# --- axes of the caller ---


def test_axes_of_the_caller_get_the_panels_and_the_legend(fit):
    figure = Figure()
    axes = figure.subplots(1, 3)
    condition = ["x", "k", "$f_1$"]
    assert plot_predictions(fit, condition, new_clusters=True, ax=axes) is figure
    shown(figure)
    assert all(len(medians(one)) == 2 for one in axes)
    assert len({one.get_ylim() for one in axes}) == 1
    texts = [text.get_text() for text in axes[-1].get_legend().get_texts()]
    assert texts == ["0", "1", "typical cluster", "new cluster"]
    assert not figure.get_suptitle()
    with pytest.raises(bm.BayesmmError, match="the plot has 3 panels"):
        plot_predictions(fit, condition, ax=axes[:2])
    assert plot_predictions(fit, "x", figsize=(3, 2)).get_size_inches().tolist() == [3, 2]


# --- refusals: all before anything is predicted ---


@pytest.fixture
def no_prediction(monkeypatch):
    def predicted(*_):
        raise AssertionError("predicted before the refusal")

    monkeypatch.setattr("bayesmm.interpret.answers.predict_rows", predicted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"condition=None and by=None: write condition='x'"),
        ({"condition": "x", "by": "k"}, r"condition='x' and by='k': give one"),
        ({"condition": "X"}, r"'X' is neither .* Did you mean 'x'\? Write one of 'x', 'k'"),
        ({"condition": "y"}, r"'y' is neither a predictor nor a grouping column"),
        ({"condition": ["x", "k", "g", "many", "h"]}, r"5 columns, .* has place for 4"),
        ({"condition": ["x", "x"]}, r"'x' twice"),
        ({"condition": []}, r"condition=\[\]: write a column's name"),
        ({"condition": 3}, r"condition=3: write a column's name"),
        ({"by": True}, r"by=True: write a column's name"),
        ({"by": "region"}, r"no column 'region'"),
        ({"condition": {"k": [0, 7]}}, r"'k' has no level 7. It has 0, 1"),
        ({"condition": {"x": ["a"]}}, r"'x' is a number, write finite numbers"),
        ({"condition": {"x": [np.nan]}}, r"write finite numbers"),
        ({"condition": {"x": []}}, r"x= has no values: give at least one"),
        ({"condition": {"x": [[1, 2], [3, 4]]}}, r"give a flat list"),
        ({"condition": {"x": None, "g": ["z"]}}, r"'g' has no level 'z'"),
        ({"condition": ["x", "many"]}, r"'many' has 30 values, and 12 colours .* choose some"),
        ({"condition": ["x", "k", "many"]}, r"30 panels \(30 of 'many'\)"),
        ({"condition": ["x", "k", "$f_1$", "g"]}, r"24 panels \(3 of '\$f_1\$' times 8 of 'g'\)"),
        ({"by": ["k", "many"]}, r"by: 'many' has 30 values"),
        ({"condition": "x", "type": "mean"}, r"type='mean'"),
        ({"condition": "x", "clusters": "typcal"}, r"Did you mean 'typical'"),
        ({"condition": ["x", "g"], "clusters": "typical"}, r"the same for every level of 'g'"),
        ({"condition": {"x": 1, "g": "a"}, "new_clusters": True}, r"these are 'given' ones"),
        ({"by": "k", "new_clusters": True}, r"write clusters='typical' or 'average'"),
        ({"condition": "x", "new_clusters": "yes"}, r"new_clusters='yes': write True or False"),
        ({"condition": "x", "clusters": "given"}, r"which of 'g'. Name some, .* 'g': .* or by="),
        ({"condition": "x", "clusters": {"g": "given"}}, r"which of 'g'. Name some"),
        ({"condition": "x", "clusters": {"h": "new"}}, r"has no group 'h'"),
        ({"condition": "x", "clusters": {"g": "nwe"}}, r"Did you mean 'new'"),
        ({"condition": "x", "clusters": ["given"]}, r"write one of 'given'"),
        ({"condition": "x", "figsize": 3}, r"figsize=3: write width and height"),
        ({"condition": "x", "figsize": (3, 0)}, r"figsize=\(3, 0\)"),
        ({"condition": "x", "figsize": "big"}, r"figsize='big'"),
        ({"condition": "x", "wts": "n"}, r"wts= .* write by="),
        ({"condition": "x", "newdata": "mean"}, r"newdata='mean'"),
        ({"condition": "x", "conf_level": 95}, r"conf_level=95"),
        ({"condition": "x", "points": 2}, r"points=2: write an opacity"),
        ({"condition": "x", "points": True}, r"points=True"),
        ({"condition": "x", "points": 0.5, "type": "link"}, r"type='response'"),
        ({"condition": "x", "ax": 3}, r"ax=3 is not matplotlib Axes"),
    ],
)
@pytest.mark.usefixtures("no_prediction")
def test_refusals(fit, arguments, message):
    with pytest.raises(bm.BayesmmError, match=message):
        plot_predictions(fit, **arguments)


@pytest.mark.usefixtures("no_prediction")
def test_refusals_of_comparisons_and_slopes(fit, ordinal, data):
    for plot in (plot_comparisons, plot_slopes):
        with pytest.raises(bm.BayesmmError, match="condition=None and by=None"):
            plot(fit, "x")
        with pytest.raises(bm.BayesmmError, match="Did you mean 'many'"):
            plot(fit, "manny", "x")
        with pytest.raises(bm.BayesmmError, match="give what"):
            plot(data, "x", "x")
        with pytest.raises(bm.BayesmmError, match="variables= is empty|no numeric predictor"):
            plot(fit, [], "x")
        with pytest.raises(bm.BayesmmError, match="variables=3: write the name"):
            plot(fit, 3, "x")
    for values in ({"x": [1, 2, 3]}, {"k": [0, 1, 2]}, {"many": ["m00", "m01", "m02"]}):
        with pytest.raises(bm.BayesmmError, match=r"write .*two values \[a, b\]"):
            plot_comparisons(fit, values, "x")
    with pytest.raises(bm.BayesmmError, match=r"29 panels \(29 contrasts\).* fewer variables"):
        plot_comparisons(fit, "many", "x")
    with pytest.raises(bm.BayesmmError, match="comparison='diff'"):
        plot_comparisons(fit, "k", "x", comparison="diff")
    with pytest.raises(bm.BayesmmError, match="is a factor"):
        plot_slopes(fit, "many", "x")
    with pytest.raises(bm.BayesmmError, match="slope='dx'"):
        plot_slopes(fit, "x", "x", slope="dx")
    with pytest.raises(bm.BayesmmError, match="is not one number a row"):
        plot_predictions(ordinal, "x", points=0.5)


@pytest.mark.usefixtures("no_prediction")
def test_refusals_that_depend_on_the_groups(data):
    crossed = nearby(bm.Model("y ~ x + (1 | g) + (1 | h)", data))
    offer = r"say it by group: clusters=\{'g': 'given', 'h': 'average'\}"
    with pytest.raises(bm.BayesmmError, match=r"by 'g', and the model groups by 'h' too.*" + offer):
        plot_predictions(crossed, ["x", "g"])
    with pytest.raises(bm.BayesmmError, match=r"the same for every level of 'g'.*" + offer):
        plot_predictions(crossed, ["x", "g"], clusters="typical")
    with pytest.raises(bm.BayesmmError, match=r"which of 'h'. Name some"):
        plot_predictions(crossed, ["x", "g"], clusters={"g": "given"})
    with pytest.raises(bm.BayesmmError, match=r"the same for every level of 'g'"):
        plot_predictions(crossed, ["x", "g"], clusters={"g": "new", "h": "new"})
    plain = nearby(bm.Model("y ~ x", data))
    with pytest.raises(bm.BayesmmError, match="the model has no group effects"):
        plot_predictions(plain, "x", new_clusters=True)


def test_clusters_that_the_model_has_not_seen_are_averaged_too(fit, data):
    rows = data.assign(g=data["g"].replace("h", "zz"))
    figure = plot_predictions(fit, by="g", newdata=rows, clusters="typical")
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == [*"abcdefg", "zz"]
    table = bm.predictions(fit, rows, by="g", clusters="typical")
    np.testing.assert_allclose(medians(figure.axes[0])[0][1], table["estimate"])


def test_labels_of_numbers_tell_them_apart(fit):
    figure = plot_predictions(fit, {"k": None, "x": [0, 0.0014, 100]})
    assert legend(figure) == [["0", "0.0014", "100"]]


def test_averages_by_columns_the_model_does_not_use(fit, data):
    with pytest.raises(bm.BayesmmError, match=r"does not use 'region'"):
        plot_predictions(fit, by="region", newdata=data, points=0.5)
    gaps = data.assign(region=data["region"].where(data["k"] == 1))
    with pytest.raises(bm.BayesmmError, match=r"'region' has missing values"):
        plot_predictions(fit, by="region", newdata=gaps)
