"""Calibration: engines that draw from the posterior pass, those that do not are found out.

The model is a regression with known errors, whose posterior is normal, so that an engine needs no
sampler: what it draws is right, or wrong in a way that is known.
"""

from dataclasses import dataclass
from functools import lru_cache

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

import bayesmm as bm
from bayesmm.engines import Draws
from bayesmm.results.ranks import _chance_of_less, _cumulative, _p_value
from bayesmm.results.sbc import _check_response

ROWS = 12


@dataclass(frozen=True)
class Exact:
    """Draws the parameters of `regression()` from their posterior, or from something else.

    Attributes
    ----------
    scale : float
        Factor on the posterior's sd.
    shift : float
        By how many posterior sds it is moved.
    prior : bool
        Whether it draws from the prior instead.
    stuck : bool
        Whether each chain stays where it starts, and says that it diverged.
    """

    scale: float = 1.0
    shift: float = 0.0
    prior: bool = False
    stuck: bool = False

    def run(self, program, inputs, *, draws, warmup, chains, key, progress):
        design = inputs.design
        X = design.predictors[0].X - design.predictors[0].centre
        precision = np.diag([1 / 2.0**2, 1.0])
        gain = np.zeros(2)
        if not self.prior:
            precision, gain = precision + X.T @ X, X.T @ design.y
        root = np.linalg.cholesky(np.linalg.inv(precision))
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        shape = (chains, draws)
        z = self.shift + self.scale * rng.normal(size=(*shape, 2))
        if self.stuck:
            z[:] = z[:, :1]
        x = np.linalg.solve(precision, gain) + z @ root.T
        statistics = {"diverging": np.full(shape, self.stuck)}
        return Draws({"Intercept": x[..., 0], "b": x[..., 1:]}, statistics, 0.0, 0.0, 0)


@dataclass(frozen=True)
class Failing:
    """Does not fit a data set whose first response is negative."""

    def run(self, program, inputs, **sampling):
        if inputs.design.y[0] < 0:
            raise bm.SamplerError("no start")
        return Exact().run(program, inputs, **sampling)


@dataclass(frozen=True)
class Interrupted:
    """Is interrupted by the user at a data set whose first response is large."""

    def run(self, program, inputs, **sampling):
        if inputs.design.y[0] > 2:
            raise KeyboardInterrupt
        return Exact().run(program, inputs, **sampling)


@lru_cache
def region(program):
    return jax.jit(program.starting_region)


@dataclass(frozen=True)
class Nowhere:
    """Draws near the prior, of any model."""

    def run(self, program, inputs, *, draws, warmup, chains, key, progress):
        rng, shape = np.random.default_rng(0), (chains, draws)
        centres, widths = region(program)(inputs)
        positions = {
            name: np.asarray(c) + np.asarray(widths[name]) * rng.uniform(-1, 1, (*shape, *c.shape))
            for name, c in centres.items()
        }
        statistics = {"diverging": np.zeros(shape, dtype=bool)}
        return Draws(positions, statistics, 0.0, 0.0, 0)


def table():
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "x": rng.normal(1.0, 1.0, ROWS),
            "g": np.resize(np.arange(3), ROWS),
            "y": rng.normal(size=ROWS),
            "count": np.resize(np.arange(3), ROWS),
            "s": 1.0,
            "w": np.resize([1.0, 2.0], ROWS),
            "seen": np.resize([1, 0], ROWS),
        }
    )


def regression():
    priors = {"Intercept": dist.Normal(0.0, 2.0), "b": dist.Normal(0.0, 1.0)}
    return bm.Model("se(y, s) ~ x", table(), priors=priors)


def calibrated(engine, n=200, model=None, **arguments):
    settings = {"draws": 200, "chains": 2, "seed": 4, "parameterization": "noncentered"}
    return bm.sbc(model or regression(), n, engine=engine, **settings | arguments)


@pytest.fixture(scope="module")
def right():
    return calibrated(Exact())


# --- the verdict ---


def test_the_posterior_is_calibrated(right):
    assert right.draws == 99
    assert right.simulations == right.ranks.sizes["simulation"] == 200
    assert len(right.failures) == 0
    # Of a right sampler it is less with a probability of 0.01 at the most: at this seed it is not.
    assert right.p_value > 0.01
    assert right.table().index.tolist() == ["b[Intercept]", "b[x]", "Intercept", "log_likelihood"]


@pytest.mark.parametrize(
    ("engine", "parameter"),
    [
        (Exact(scale=0.5), "b[x]"),
        (Exact(scale=1.6), "b[x]"),
        (Exact(shift=0.5), "Intercept"),
        # Ranks among draws of the prior are uniform: the likelihood alone shows that it is not it.
        (Exact(prior=True), "log_likelihood"),
    ],
    ids=["narrow", "wide", "shifted", "prior"],
)
def test_what_is_not_the_posterior_is_found_out(engine, parameter):
    found = calibrated(engine)
    test = found.table().loc[parameter]
    assert test["p_value"] < 1e-4
    assert not test["inside_95"]
    assert not test["inside_99"]
    assert found.p_value < 1e-3
    if engine.prior:
        assert found.table().loc["b[x]", "p_value"] > 0.01


def test_equal_seeds_give_equal_ranks_whatever_n_is(right):
    again = calibrated(Exact(), n=20)
    assert again.ranks.equals(right.ranks.isel(simulation=slice(20)))
    assert not calibrated(Exact(), n=20, seed=5).ranks.equals(again.ranks)


def test_nothing_is_compiled_after_the_first_data_set(monkeypatch):
    engine = Exact()
    calibrated(engine, n=2)
    compiled = []
    compile_ = jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered, "compile", lambda *a, **k: compiled.append(a) or compile_(*a, **k)
    )
    calibrated(engine, n=3, seed=9)
    assert compiled == []


def test_group_effects_and_what_the_model_fixes():
    data = pd.concat([table()] * 4, ignore_index=True)
    data["g"] = np.arange(len(data)) // 3  # 16 levels
    priors = {"sd": dist.HalfNormal(1.0), "cor_g": bm.LKJ(1.0), "sigma": dist.HalfNormal(1.0)}
    model = bm.Model("y ~ x + (1 + x | g)", data, priors=priors)
    found = calibrated(Nowhere(), n=20, model=model)
    assert found.ranks.sizes["g"] == 10
    assert found.ranks["g"].to_numpy()[[0, -1]].tolist() == [0, 15]
    labels = found.table().index
    assert "r_g[15, x]" in labels
    assert [label for label in labels if label.startswith("cor")] == ["cor_g[x, Intercept]"]
    ranked = found.ranks["cor_g"].to_numpy() >= 0
    assert (
        ranked.all(axis=0).tolist() == ranked.any(axis=0).tolist() == [[False] * 2, [True, False]]
    )


# --- what goes wrong is counted ---


def test_fits_that_fail_are_counted_and_the_others_are_ranked(right):
    found = calibrated(Failing(), n=40)
    failed = found.failures
    assert 0 < len(failed) < 40
    assert (failed["kind"] == "fit").all()
    assert not failed["ranked"].any()
    assert failed["detail"].iloc[0] == "SamplerError: no start"
    kept = found.ranks["simulation"].to_numpy()
    assert sorted([*kept, *failed["simulation"]]) == list(range(40))
    assert found.ranks.equals(right.ranks.sel(simulation=kept))
    assert f"- fit: {len(failed)}, not ranked; first: SamplerError: no start" in repr(found)


def test_doubtful_draws_are_counted_and_ranked():
    found = calibrated(Exact(stuck=True), n=5)
    assert found.ranks.sizes["simulation"] == 5
    counts = found.failures["kind"].value_counts()
    assert counts["divergences"] == counts["rhat"] == counts["ess"] == 5
    assert found.failures["ranked"].all()


def test_responses_that_are_no_data_are_counted():
    wild = {"Intercept": dist.Normal(0.0, 40.0), "b": dist.Normal(0.0, 1.0)}
    model = bm.Model("count ~ x", table(), "poisson", wild)
    found = calibrated(Nowhere(), n=40, model=model)
    failed = found.failures[found.failures["kind"] == "response"]
    assert 0 < len(failed) < 40
    assert not failed["ranked"].any()
    assert found.ranks.sizes["simulation"] == 40 - len(failed)
    absurd = wild | {"Intercept": dist.Normal(900.0, 1.0)}
    with pytest.raises(bm.SamplerError, match="None of 5 .* could be ranked.*prior_predictive"):
        calibrated(Nowhere(), n=5, model=bm.Model("count ~ x", table(), "poisson", absurd))


def test_an_interrupt_keeps_what_is_ranked():
    with pytest.warns(bm.BayesmmWarning, match="Interrupted: [0-9]+ of 40"):
        found = calibrated(Interrupted(), n=40)
    assert 0 < found.ranks.sizes["simulation"] < 40


# --- arguments ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "n=1"),
        ({"n": 2.5}, "n=2.5"),
        ({"draws": 3}, "draws=3"),
        ({"chains": 0}, "chains=0"),
        ({"warmup": 0}, "warmup=0"),
        ({"seed": -1}, "seed=-1"),
        ({"parameterization": "central"}, "parameterization='central'"),
        ({"engine": Exact}, "engine="),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(bm.SamplerError, match=message):
        bm.sbc(regression(), **arguments)


def test_something_else_than_a_model_is_refused():
    with pytest.raises(bm.SamplerError, match="model is a DataFrame"):
        bm.sbc(table())


@pytest.mark.parametrize(
    ("left", "word"), [("censored(y, seen)", "censored"), ("weighted(y, w)", "weighted")]
)
def test_responses_that_cannot_be_simulated_are_refused(left, word):
    with pytest.raises(bm.SamplerError, match=f"model: its .* {word}"):
        bm.sbc(bm.Model(f"{left} ~ x", table()))


def test_weights_of_0_and_1_are_rows_left_out_and_rows():
    data = table().assign(w=np.resize([1.0, 1.0, 0.0], ROWS))
    _check_response(bm.Model("weighted(y, w) ~ x", data)._prepared)


# --- uniformity ---


def test_the_p_value_is_that_of_simulated_ranks():
    count, draws = 30, 9
    rng = np.random.default_rng(1)
    p = [
        _p_value(_cumulative(rng.integers(0, draws + 1, count), draws), count, draws)
        for _ in range(2000)
    ]
    for level in (0.01, 0.05, 0.2, 0.5):
        # Ranks take few values, so p-values do: not more than the level, and not far below it.
        below = np.mean(np.asarray(p) <= level)
        assert below < stats.binom.ppf(0.9999, 2000, level) / 2000
        assert below > 0.6 * level
    # One rank: of 0 and 1, each with probability 1/2, neither is far out.
    assert _chance_of_less(0.5, 1, 1) == pytest.approx(0.0)
    assert _chance_of_less(1.0, 1, 1) == pytest.approx(1.0)


def test_ranks_are_within_the_band_where_the_table_says_so(right):
    agreed = []
    for found in (right, calibrated(Exact(scale=0.8), n=60), calibrated(Exact(shift=0.2), n=60)):
        p = found.table()["p_value"]
        for prob in (0.3, 0.95, 0.99):
            at, lower, upper = found.band(prob)
            assert (lower <= at).all()
            assert (at <= upper).all()
            for _, label, reached in found.distribution_functions():
                within = bool(((lower <= reached) & (reached <= upper)).all())
                assert within == (p[label] > 1 - prob)
                agreed.append(within)
    assert 0 < sum(agreed) < len(agreed)


def test_bands_need_a_probability(right):
    with pytest.raises(bm.SamplerError, match="prob=95"):
        right.band(95)


# --- the plot ---


def test_the_plot_has_a_panel_for_each_variable_and_a_line_for_each_element(right):
    figure = bm.plot_sbc(right)
    assert isinstance(figure, Figure)
    assert [axis.get_title() for axis in figure.axes] == ["b", "Intercept", "log_likelihood"]
    assert len(figure.axes[0].lines) == 1 + 2
    figure.canvas.draw()
    narrow = bm.plot_sbc(calibrated(Exact(scale=0.5), n=60))
    texts = narrow.axes[0].get_legend().get_texts()
    assert "b[x]" in [text.get_text() for text in texts]
    with pytest.raises(bm.BayesmmError, match="calibration is a DataFrame"):
        bm.plot_sbc(table())
