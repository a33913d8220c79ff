"""The numbers of the shrinkage page in a browser, against Python; `twin.py` has the mathematics."""

import re

import numpy as np
import pytest
from twin import Setting, outlier_column, pooled
from visits import PLOT

#: What the issue asks for.
AGREE = {"rtol": 1e-6, "atol": 1e-6}
SLEEPSTUDY_LEVELS, SELECTED = 18, 5


def sleepstudy_setting(mean, **changed):
    sd, cor = mean["sd_Subject"], mean["cor_Subject"][0, 1]
    return Setting(**{"sd": tuple(sd), "cor": cor, "sigma": mean["sigma"]} | changed)


def dyestuff_setting(mean, **changed):
    return Setting(**{"sd": tuple(mean["sd_Batch"]), "sigma": mean["sigma"]} | changed)


def same_as_python(there, rows, setting, quantile):
    """Every number of the results is Python's; returns Python's."""
    found, expected = there.numbers(), pooled(rows, setting)
    for name in ("beta", "theta", "sd", "omega", "unpooled", "unpooledSd"):
        if name != "sd" or np.isfinite(expected["sd"]).all():
            np.testing.assert_allclose(found[name], expected[name], **AGREE, err_msg=name)
    finite = np.isfinite(expected["sd"])
    np.testing.assert_array_equal(np.isfinite(found["sd"]), finite)
    for name, sign in (("low", -1), ("high", 1)):
        ends = expected["theta"] + sign * quantile * expected["sd"]
        np.testing.assert_allclose(found[name][finite], ends[finite], **AGREE, err_msg=name)
    return expected


#: The quantile of the intervals: 89% lie between it and its negative.
Q89 = 1.5981931399228173


# --- sliders ---


@pytest.mark.parametrize("seed", range(3))
def test_typed_settings_of_random_slopes_agree_with_python(visit, sleepstudy, seed, evidence):
    rows, _ = sleepstudy
    rng = np.random.default_rng(seed)
    there = visit("sleepstudy")
    given = {
        "sd0": rng.uniform(1, 80),
        "sd1": rng.uniform(0.3, 20),
        "cor": rng.uniform(-1, 1),
        "sigma": rng.uniform(5, 80),
        "rows": rng.uniform(0.2, 6),
    }
    for key, value in given.items():
        there.type(key, value)
    there.select(SELECTED)
    there.type("n", n := rng.uniform(0.5, 60))
    tenths, thousandths = (int(x) for x in rng.integers(1, 7, size=2))
    there.slide("pool", "End", *["PageDown"] * tenths, *["ArrowLeft"] * thousandths)
    pool = 1 - tenths * 0.1 - thousandths * 0.001
    assert there.state["pool"] == pytest.approx(pool, abs=1e-9)
    setting = Setting(
        sd=(given["sd0"], given["sd1"]),
        cor=given["cor"],
        sigma=given["sigma"],
        pool=pool,
        multiplier=given["rows"],
        n={SELECTED: n},
    )
    expected = same_as_python(there, rows, setting, Q89)
    assert "mode=what-if" in there.address("pool=")
    row = f"sleepstudy, all sliders at random, {seed + 1}"
    evidence("page", row, there.numbers()["theta"], expected["theta"], bound=AGREE["rtol"])


@pytest.mark.parametrize("cor", [0.4, 1.0, -1.0])
@pytest.mark.parametrize(("key", "pool"), [("Home", 0.0), ("End", 1.0)])
def test_the_ends_of_the_pooling_slider_are_exact_limits(visit, sleepstudy, key, pool, cor):
    rows, mean = sleepstudy
    there = visit("sleepstudy")
    there.type("cor", cor)
    there.slide("pool", key)
    setting = sleepstudy_setting(mean, cor=cor, pool=pool)
    expected = same_as_python(there, rows, setting, Q89)
    found = there.numbers()
    if pool == 1:
        # One line for all: that of ordinary least squares, without any groups.
        line = np.linalg.lstsq(rows.z, rows.y)[0]
        np.testing.assert_allclose(found["theta"], np.tile(line[:, None], 18), **AGREE)
        assert (found["omega"] == 1).all()
        assert there.text("pool-text") == "complete pooling"
    else:
        assert there.text("pool-text") == "no pooling"
        if abs(cor) < 1:
            np.testing.assert_allclose(found["theta"], expected["unpooled"], **AGREE)
            assert (found["omega"] == 0).all()


@pytest.mark.parametrize("key", ["sd0", "sd1", "cor", "sigma", "rows"])
def test_a_slider_moved_by_keys_sets_what_it_shows(visit, sleepstudy, key):
    rows, mean = sleepstudy
    there = visit("sleepstudy")
    there.slide(key, "Home", *["PageUp"] * 7, "ArrowRight")
    # 70.1% of the way, on a linear or logarithmic scale; rounded to four digits, as it shows.
    sd, sigma = mean["sd_Subject"], float(mean["sigma"])
    values = {
        "sd0": 0.701 * 3 * sd[0],
        "sd1": 0.701 * 3 * sd[1],
        "cor": -1 + 2 * 0.701,
        "sigma": sigma / 10 * 100**0.701,
        "rows": 0.05 * 400**0.701,
    }
    value = float(f"{values[key]:.4g}")
    there.settle()
    assert float(there.at(f"number-{key}").input_value()) == value
    changed = {
        "sd0": {"sd": (value, sd[1])},
        "sd1": {"sd": (sd[0], value)},
        "rows": {"multiplier": value},
    }
    setting = sleepstudy_setting(mean, **changed.get(key, {key: value}))
    same_as_python(there, rows, setting, Q89)
    there.at(f"reset-{key}").click()
    same_as_python(there, rows, sleepstudy_setting(mean), Q89)


def test_numbers_that_make_no_sense_are_not_taken(visit):
    there = visit("sleepstudy")
    for key, text in (("sd0", "-1"), ("cor", "1.5"), ("sigma", "0"), ("rows", ""), ("n", "-3")):
        box = there.at(f"number-{key}")
        shown = box.input_value()
        box.fill(text)
        box.press("Tab")
        assert box.input_value() == shown
    assert there.state["mode"] == "fit"


def test_a_sd_of_zero_pools_completely(visit, dyestuff):
    rows, _ = dyestuff
    there = visit("dyestuff")
    there.type("sd0", 0)
    found = there.numbers()
    np.testing.assert_allclose(found["theta"], rows.y.mean(), rtol=1e-9)
    assert (found["omega"] == 1).all()
    there.slide("pool", "Home")  # Infinity times zero: nothing to say, and nothing that is not.
    assert np.isfinite(there.numbers()["theta"]).all()


# --- what a page shows at first ---


@pytest.mark.parametrize("name", ["sleepstudy", "dyestuff", "counts"])
def test_the_unmoved_page_shows_the_fitted_posterior(visit, request, name):
    fit = request.getfixturevalue(f"{name}_fit")
    there = visit(name)
    found, posterior = there.numbers(), fit.whole_posterior()
    group, effects = {"sleepstudy": ("Subject", 2), "dyestuff": ("Batch", 1)}.get(name, (PLOT, 1))
    theta = posterior["b"].to_numpy()[:, :, None, :effects] + posterior[f"r_{group}"].to_numpy()
    theta = theta.reshape(-1, *theta.shape[2:])
    # The payload has six digits of means and five of the rest.
    np.testing.assert_allclose(found["theta"], theta.mean(axis=0).T, rtol=6e-6)
    np.testing.assert_allclose(found["sd"], theta.std(axis=0, ddof=1).T, rtol=6e-5)
    ends = np.quantile(theta, [0.055, 0.945], axis=0)
    np.testing.assert_allclose(found["low"], ends[0].T, rtol=6e-5)
    np.testing.assert_allclose(found["high"], ends[1].T, rtol=6e-5)
    assert there.text("mode") == "the fitted posterior"
    assert there.at("back").is_disabled()
    j, summary = there.state["selected"], there.text("summary").replace("−", "-")
    said = re.search(r"the population says (\S+)\. Pooled: (\S+) ", summary)
    shown = [float(x) for x in said.groups()]
    assert shown == pytest.approx([found["beta"][0], found["theta"][0, j]], rel=6e-3)
    assert there.payload["levels"][j] in there.at("summary").text_content()


def test_the_own_mean_has_the_weight_of_the_closed_form(visit, dyestuff, evidence):
    rows, mean = dyestuff
    there = visit("dyestuff")
    there.type("n", 13)
    there.select(2)
    there.type("n", 2)
    tau, sigma = float(mean["sd_Batch"][0]), float(mean["sigma"])
    n = np.full(6, 5.0)
    n[2], n[there.payload["levels"].index("E")] = 2, 13
    weight = tau**2 / (tau**2 + sigma**2 / n)
    found = there.numbers()
    np.testing.assert_allclose(1 - found["omega"][0], weight, **AGREE)
    row = "dyestuff, batches of other sizes: closed form"
    evidence("page", row, 1 - found["omega"][0], weight, bound=AGREE["rtol"])
    own = np.bincount(rows.level, rows.y) / 5
    np.testing.assert_allclose(found["unpooled"][0], own, **AGREE)
    # The pooled estimate is that mean of the two, and beta the mean with the weights of all.
    beta = (weight * own).sum() / weight.sum()
    np.testing.assert_allclose(found["theta"][0], weight * own + (1 - weight) * beta, **AGREE)
    assert there.text("formula").endswith(f"= {weight[2]:.3f}")
    assert f"pooling factor {1 - weight[2]:.2f}." in there.text("summary")


def test_counts_are_pooled_by_a_newton_step_that_is_called_approximate(visit, poisson, evidence):
    rows, mean = poisson
    there = visit("counts")
    assert "approximate" not in there.text("mode")
    there.type("sd0", 0.9)
    assert there.text("mode") == "what if: approximate, one Newton step"
    assert "approximate" in there.page.locator("footer").inner_text()
    assert there.at("control-sigma").count() == 0
    expected = pooled(rows, Setting(sd=(0.9,)))
    found = there.numbers()
    # Of the last group, all zeros, the step is not shown as its own estimate: it has none.
    assert np.isnan(found["unpooled"][0, 5])
    assert np.isnan(found["unpooledSd"][0, 5])
    expected["unpooled"][0, 5] = expected["unpooledSd"][0, 5] = np.nan
    for name in ("beta", "theta", "sd", "omega", "unpooled", "unpooledSd"):
        np.testing.assert_allclose(found[name], expected[name], **AGREE, err_msg=name)
    row = "counts, a Newton step"
    evidence("page", row, found["theta"], expected["theta"], bound=AGREE["rtol"])
    there.select(5)
    assert "has no estimate of its own" in there.text("summary")
    # At the sd of the fit the step stays within what the posterior leaves open.
    there.at("reset-sd0").click()
    found, fitted = there.numbers(), there.payload["fit"]
    theta = (mean["b"][0] + mean[f"r_{PLOT}"])[:, 0]
    assert (np.abs(found["theta"][0] - theta) < fitted["sd"][0]).all()


def test_the_way_back_restores_all(visit):
    there = visit("sleepstudy")
    before = there.numbers()
    there.type("sd0", 3)
    there.type("n", 2)
    there.slide("pool", "End")
    there.at("toggle-outlier").click()
    there.at("toggle-out").click()
    assert np.abs(there.numbers()["theta"] - before["theta"]).max() > 1
    there.at("back").click()
    there.rest()
    after = there.numbers()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)
    assert there.text("mode") == "the fitted posterior"
    assert there.at("number-sd0").input_value() == f"{there.payload['sd'][0]:.4g}"
    there.page.wait_for_function("() => location.hash === ''")


def test_other_group_effects_are_held_only_by_what_if(visit, dyestuff_fit):
    there = visit("crossed")
    assert not there.payload["alone"]
    curve, note = ".bm-curve", there.at("view-bayes").locator(".bm-note")
    # The fit averages over the other effects: neither formula nor curve of a group alone hold.
    assert there.text("formula") == ""
    assert there.at("plot-factor").locator(curve).count() == 0
    assert "the uncertainty of the other group effects" in note.inner_text()
    assert "stands between" not in note.inner_text()
    there.type("sd0", 1.5)
    assert there.text("mode") == "what if: exact, given τ, σ and the other group effects"
    omega = there.numbers()["omega"][0, there.state["selected"]]
    formula = there.text("formula")
    assert formula.endswith(f"= {1 - omega:.3f}")
    assert "σ" not in formula
    assert there.at("plot-factor").locator(curve).count() == 1
    assert "stands between" in note.inner_text()
    alone = visit("dyestuff")
    assert "σ²/n" in alone.text("formula")
    assert alone.at("plot-factor").locator(curve).count() == 1


def test_what_is_nothing_but_rounding_is_0(visit):
    there = visit("crossed")
    there.type("sd0", 1.5)
    there.settle()
    assert "the population says 0." in there.text("summary")
    note = there.at("view-cluster").locator(".bm-note").inner_text().replace("−", "-")
    median, low, high = re.search(
        r"^x of a new group: (\S+), half of them (\S+) to (\S+),", note
    ).groups()
    assert median == "0"
    # The quartiles of a normal distribution.
    assert float(high) == pytest.approx(0.6745 * 1.5, rel=6e-3)
    assert float(low) == -float(high)


# --- changes of one group ---


def handle_of(there, view):
    """Where the own estimate of the selected group is on the screen."""
    box = there.at(f"plot-{view}").locator(".bm-handle").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_an_own_estimate_is_dragged_with_the_mouse(visit, sleepstudy):
    rows, mean = sleepstudy
    there = visit("sleepstudy")
    there.select(SELECTED)
    there.settle()
    before = there.numbers()
    x, y = handle_of(there, "arrows")
    mouse = there.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 20, y - 12)
    mouse.move(x + 40, y - 25)
    mouse.up()
    shift = there.state["shift"][str(SELECTED)]
    assert shift[0] > 0
    assert shift[1] > 0
    setting = sleepstudy_setting(mean, shift={SELECTED: tuple(shift)})
    same_as_python(there, rows, setting, Q89)
    # The estimate went with the pointer: the handle is where it was let go.
    mouse.move(5, 5)
    there.settle()
    assert handle_of(there, "arrows") == pytest.approx((x + 40, y - 25), abs=2)
    moved = there.numbers()["unpooled"] - before["unpooled"]
    np.testing.assert_allclose(moved[:, SELECTED], shift, rtol=2e-4)
    assert "shift=5:" in there.address("shift=")


def test_an_own_estimate_is_moved_by_keys(visit, dyestuff):
    rows, mean = dyestuff
    there = visit("dyestuff")
    there.select(3)
    for view, key in (("caterpillar", "ArrowRight"), ("lines", "ArrowUp"), ("arrows", "ArrowLeft")):
        there.rest()
        before = there.state["shift"].get("3", [0])[0]
        there.at(f"plot-{view}").press(f"Shift+{key}")
        after = there.state["shift"]["3"][0]
        assert (after < before) if key == "ArrowLeft" else (after > before)
    same_as_python(there, rows, dyestuff_setting(mean, shift={3: (after,)}), Q89)
    assert float(there.at("number-shift0").input_value()) == pytest.approx(after, rel=1e-3)
    there.type("shift0", -25)
    same_as_python(there, rows, dyestuff_setting(mean, shift={3: (-25.0,)}), Q89)


@pytest.mark.parametrize("name", ["sleepstudy", "dyestuff", "poisson"])
def test_an_outlier_is_one_more_row(visit, request, name):
    rows, mean = request.getfixturevalue(name)
    there = visit("counts" if name == "poisson" else name)
    there.select(1)
    there.at("toggle-outlier").click()
    column = outlier_column(rows, 1)
    group = {"sleepstudy": "Subject", "dyestuff": "Batch", "poisson": PLOT}[name]
    expected = column @ (mean["b"][: len(column)] + mean[f"r_{group}"][1])
    # Six standard errors of a row above what is expected; four digits.
    precision = rows.w[rows.level == 1].mean()
    at = expected + 6 * float(mean.get("sigma", 1.0)) / np.sqrt(precision)
    assert there.state["outlier"]["1"] == pytest.approx(at, rel=1e-3)
    there.type("outlier", at + 1)
    sigma = float(mean.get("sigma", 1.0))
    cor = mean[f"cor_{group}"][0, 1] if len(column) == 2 else 0.0
    sd = tuple(mean[f"sd_{group}"])
    setting = Setting(sd=sd, cor=cor, sigma=sigma, outlier={1: at + 1})
    expected, found = pooled(rows, setting), there.numbers()
    np.testing.assert_allclose(found["theta"], expected["theta"], **AGREE)
    np.testing.assert_allclose(found["omega"], expected["omega"], **AGREE)
    np.testing.assert_allclose(found["unpooled"][:, 1], expected["unpooled"][:, 1], **AGREE)
    assert found["n"][1] == there.payload["n"][1] + 1
    assert there.at("plot-lines").locator(".bm-outlier").count() == 1
    assert there.at("toggle-outlier").inner_text() == "Remove the outlier"
    there.at("toggle-outlier").click()
    assert there.state["outlier"] == {}


def test_a_group_that_is_left_out_is_a_new_one(visit, sleepstudy):
    rows, mean = sleepstudy
    there = visit("sleepstudy")
    there.select(SELECTED)
    there.at("toggle-out").click()
    expected = same_as_python(there, rows, sleepstudy_setting(mean, out=frozenset({SELECTED})), Q89)
    found = there.numbers()
    np.testing.assert_allclose(found["theta"][:, SELECTED], expected["beta"], **AGREE)
    assert (found["omega"][:, SELECTED] == 1).all()
    assert "is left out" in there.text("summary")
    assert there.at("toggle-out").inner_text() == "Bring it back"
    there.at("toggle-out").click()
    same_as_python(there, rows, sleepstudy_setting(mean), Q89)


def test_undo_takes_back_all_changes_of_a_group_alone(visit, dyestuff):
    rows, mean = dyestuff
    there = visit("dyestuff")
    there.select(0)
    there.type("shift0", 30)
    there.select(4)
    there.settle()
    assert there.at("reset-group").is_disabled()
    there.type("n", 3)
    there.type("shift0", 11)
    there.at("toggle-outlier").click()
    there.at("reset-group").click()
    same_as_python(there, rows, dyestuff_setting(mean, shift={0: (30.0,)}), Q89)


# --- the story, the table and the address ---


def test_the_steps_of_the_story_set_what_they_tell(visit, sleepstudy):
    rows, mean = sleepstudy
    there = visit("sleepstudy")
    there.select(SELECTED)
    fitted = there.numbers()
    steps = [
        {"pool": 0.0},
        {"pool": 1.0},
        None,
        {"n": {SELECTED: 2}},
        {"out": frozenset({SELECTED})},
    ]
    there.at("story-start").click()
    for i, changed in enumerate(steps):
        there.rest()
        if changed is None:
            np.testing.assert_array_equal(there.numbers()["theta"], fitted["theta"])
            kept = 1 - fitted["omega"][0, SELECTED]
            assert f"settle {kept:.0%} of the variance" in there.text("story-text")
        else:
            same_as_python(there, rows, sleepstudy_setting(mean, **changed), Q89)
        assert there.text("story-text").startswith(f"{i + 1}. ")
        if i < 4:
            there.at("story-next").click()
    assert there.at("story-next").is_disabled()


def test_the_table_has_the_numbers_of_all_groups(visit, sleepstudy):
    rows, mean = sleepstudy
    there = visit("sleepstudy")
    there.type("sd0", 15)
    expected = pooled(rows, sleepstudy_setting(mean, sd=(15.0, mean["sd_Subject"][1])))
    there.at("table-details").locator("summary").click()
    there.at("table").locator("tbody tr").first.wait_for()
    cells = (
        there.at("table")
        .locator("tbody tr")
        .evaluate_all("(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))")
    )
    assert len(cells) == SLEEPSTUDY_LEVELS
    for j, line in enumerate(cells):
        own, pooled_own, interval, omega, _, slope = (x.replace("−", "-") for x in line[2:8])
        assert float(own) == pytest.approx(expected["unpooled"][0, j], rel=6e-4)
        assert float(pooled_own) == pytest.approx(expected["theta"][0, j], rel=6e-4)
        assert float(omega) == pytest.approx(expected["omega"][0, j], abs=6e-3)
        ends = [float(x) for x in interval.split(" to ")]
        half = Q89 * expected["sd"][0, j]
        assert ends == pytest.approx([expected["theta"][0, j] + d for d in (-half, half)], rel=6e-3)
        assert float(slope) == pytest.approx(expected["theta"][1, j], rel=6e-4)


def test_the_address_brings_back_what_was_set(visit, sleepstudy, pages):
    there = visit("sleepstudy")
    there.type("sd1", 2.5)
    there.type("cor", -0.375)
    there.select(SELECTED)
    there.type("n", 31)
    there.type("shift1", 4)
    there.at("toggle-outlier").click()
    there.at("effect-1").click()
    there.at("theme").click()
    there.slide("pool", "PageUp")
    before, state = there.numbers(), there.state
    there.address("pool=0.6")
    there.page.wait_for_timeout(200)
    there.page.reload()
    assert there.state == state
    after = there.numbers()
    # The address has seven digits; 4 of the outlier are all there are.
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-5, err_msg=name)
    # A second reader who gets the address sees the same.
    other = visit("sleepstudy", there.page.evaluate("() => location.hash"))
    np.testing.assert_array_equal(other.numbers()["theta"], after["theta"])


@pytest.mark.parametrize(
    "fragment",
    [
        "#%",
        "#mode=what-if&sd0=abc&sd1=-4&cor=9&sigma=0&pool=NaN&rows=Infinity",
        "#group=99&effect=7&story=12&theme=purple&large=nothing&game=x.y.z",
        "#n=99:3_1:_:_x:2&shift=1:2_0:a:b&outlier=-1:5&out=1.5_-2_",
        "#<img src=x onerror=alert(1)>&group=<script>alert(1)</script>",
        "#group=__proto__&n=__proto__:3&large=constructor&theme=constructor",
        "#" + "&".join(f"n=0:{i}" for i in range(3000)),
    ],
)
def test_a_damaged_address_opens_the_page(visit, fragment):
    there = visit("sleepstudy", fragment)
    assert np.isfinite(there.numbers()["theta"]).all()
    assert there.at("plot-arrows").locator(".bm-partial").count() > 0
    there.type("sd0", 12)
    assert there.state["sd"][0] == 12


# --- the game ---


def pulled(seen, part):
    return seen.mean() + (1 - part) * (seen - seen.mean())


def test_the_scores_of_the_game_are_squared_errors(visit):
    there = visit("dyestuff")
    choice = there.at("game-choice")
    totals = []
    for played in range(3):
        choice.press("Home")
        for _ in range(3 + played):
            choice.press("PageUp")
        pool = float(there.text("game-choice-text").rstrip("%")) / 100
        assert pool == pytest.approx(0.1 * (3 + played))
        there.at("game-reveal").press("Enter")
        there.settle()
        seen, truth = game_round(there)
        # James and Stein's positive part towards the mean, for standard errors of 1.
        part = min(1.0, (10 - 3) / ((seen - seen.mean()) ** 2).sum())
        said = re.search(r"it pooled (\d+)%", there.text("game-message"))
        assert int(said[1]) == pytest.approx(100 * part, abs=1)
        scores = [((pulled(seen, x) - truth) ** 2).sum() for x in (0, part, 1, pool)]
        totals.append(scores)
        rows = there.at("game-table").locator("tbody tr")
        shown = rows.nth(played).locator("td").all_inner_texts()
        # Positions are read from the screen, to a tenth of a pixel; scores have three digits.
        np.testing.assert_allclose([float(x) for x in shown], scores, rtol=6e-3, atol=0.02)
        sums = rows.last.locator("td").all_inner_texts()
        np.testing.assert_allclose(
            [float(x) for x in sums], np.sum(totals, axis=0), rtol=6e-3, atol=0.05
        )
        assert there.focused() == "game-next"
        there.page.keyboard.press("Enter")
        there.settle()
        assert there.focused() == "game-choice"
    assert there.state["game"]["choices"] == [0.3, 0.4, 0.5]
    assert "game=1.30.40.50" in there.address("game=1.30.40.50")


def game_round(there):
    """Raw means and truth of a round, read from the figure and its axis."""
    plot = there.at("plot-game")
    ticks = plot.locator(".bm-tick")
    at = [float(x) for x in ticks.evaluate_all("(all) => all.map((t) => t.getAttribute('x'))")]
    values = [float(x.replace("−", "-")) for x in ticks.all_text_contents()]
    slope, start = np.polyfit(at, values, 1)
    own = [x for x, _ in (piece[:2] for piece in pieces(plot.locator(".bm-own")))]
    truth = [(piece[0] + piece[2]) / 2 for piece in pieces(plot.locator(".bm-truth"))][::2]
    return start + slope * np.array(own), start + slope * np.array(truth)


def pieces(path):
    """The numbers of each piece of a path."""
    d = path.get_attribute("d").replace("h0", "").replace("L", " ")
    return [[float(x) for x in piece.split()] for piece in d.split("M")[1:]]


def test_many_rounds_show_the_effect_of_stein(visit):
    there = visit("dyestuff")
    there.at("game-many").click()
    text = there.text("game-message")
    raw, partial, complete = (
        float(x) for x in re.search(r"of (\S+) without.* (\S+) with .* (\S+) with", text).groups()
    )
    better = int(re.search(r"in (\d+)% of them", text)[1])
    # Ten squared standard errors of 1: chi-squared with 10 degrees; 1,000 rounds, sd sqrt(20/1000).
    assert raw == pytest.approx(10, abs=5 * np.sqrt(20 / 1000) + 0.05)
    assert partial < min(raw, complete)
    assert better > 50
