"""The driver: seeds, chunks, interrupts, compilation, devices, and JAX's global state."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal

import bayesmm as bm
from bayesmm.engines import cache, compiled, driver, make_key, progress

#: What the shared `small_fit` is made with: the tests here reuse its compiled program.
SMALL = {"chains": 2, "warmup": 300, "draws": 200, "seed": 1, "engine": bm.NUTS()}
#: Enough to compare draws with each other, and to say nothing of a posterior.
SHORT = {"chains": 2, "warmup": 20, "draws": 10}

_compilations = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **__: _compilations.append(event) if "backend_compile" in event else None
)


@pytest.fixture
def model(small_data):
    return bm.Model("y ~ x + (1 | g)", small_data)


def same_draws(one, other):
    return one.posterior.drop_attrs().equals(other.posterior.drop_attrs())


def test_same_seed_gives_the_same_draws(model, small_fit):
    again = model.fit(**SMALL)
    assert same_draws(again, small_fit)
    xs = [f.idata["sample_stats"].to_dataset().drop_attrs() for f in (again, small_fit)]
    assert xs[0].equals(xs[1])


def test_another_seed_gives_other_draws(model, small_fit):
    other = model.fit(**SMALL | {"seed": 2})
    for name, values in other.posterior.data_vars.items():
        assert not np.isclose(values, small_fit.posterior[name]).any(), name
    chains = small_fit.posterior["sigma"].to_numpy()
    assert not np.isclose(chains[0], chains[1]).any()


def test_without_a_seed_a_fresh_one_is_recorded(model):
    one, two = model.fit(**SHORT), model.fit(**SHORT)
    assert not same_draws(one, two)
    again = model.fit(**SHORT, seed=one.posterior.attrs["seed"])
    assert same_draws(one, again)


@pytest.mark.parametrize("size", [1, 37, driver.CHUNK])
def test_chunks_do_not_change_the_draws(model, small_fit, monkeypatch, size):
    monkeypatch.setattr(driver, "_next_size", lambda count, seconds: size)
    assert same_draws(model.fit(**SMALL), small_fit)


def test_a_chunk_takes_about_as_long_as_one_waits():
    assert driver._next_size(10, driver.PAUSE / 2) == 20
    assert driver._next_size(10, driver.PAUSE * 20) == 1
    assert driver._next_size(10, 0.0) == 40  # not too much of a jump on one measurement
    assert driver._next_size(90, 0.0) == driver.CHUNK


@pytest.fixture
def interrupt(monkeypatch):
    """Chunks of 50 draws, and a key pressed during the chunk of that number."""
    monkeypatch.setattr(driver, "_next_size", lambda count, seconds: 50)

    def press(chunk):
        executables = driver.Compiled.executables
        calls = iter(range(10**6))

        def with_a_key_pressed(self, *arguments):
            init, advance = executables(self, *arguments)

            def interrupted(*args):
                if next(calls) == chunk * driver.group_count(SMALL["chains"]):
                    raise KeyboardInterrupt
                return advance(*args)

            return init, interrupted

        monkeypatch.setattr(driver.Compiled, "executables", with_a_key_pressed)

    return press


# Warm-up makes chunks of 10, five times 50, and 40 draws; then come those that are kept.
WARMUP_CHUNKS = 7


def test_an_interrupt_keeps_the_finished_draws(model, small_fit, interrupt):
    interrupt(WARMUP_CHUNKS + 2)
    with pytest.warns(bm.BayesmmWarning, match="100 of 200 draws"):
        fit = model.fit(**SMALL)
    first = small_fit.posterior.isel(draw=slice(100)).drop_attrs()
    assert fit.posterior.drop_attrs().equals(first)
    assert fit.posterior.attrs["interrupted"] == 1
    assert fit.idata["log_likelihood"].sizes["draw"] == 100
    assert small_fit.posterior.attrs["interrupted"] == 0
    assert "interrupted" in {problem.code for problem in fit.report().problems}
    assert "interrupted" not in {problem.code for problem in small_fit.report().problems}


@pytest.mark.parametrize("chunk", [0, WARMUP_CHUNKS - 1, WARMUP_CHUNKS])
def test_an_interrupt_before_there_are_draws_is_raised(model, interrupt, chunk):
    interrupt(chunk)
    with pytest.raises(KeyboardInterrupt):
        model.fit(**SMALL)


def test_a_second_fit_compiles_nothing(small_data, small_fit):
    # Other numbers of the same shapes, other priors of the same kinds, more draws: one program.
    data = small_data.assign(y=3 * small_data["y"], x=small_data["x"] + 1)
    model = bm.Model("y ~ x + (1 | g)", data, priors={"b[x]": dist.Normal(1, 2)})
    # What `small_fit` compiled may have been let go since, between two files of tests.
    bm.fit("y ~ x + (1 | g)", small_data, **SMALL)
    _compilations.clear()
    fit = model.fit(**SMALL | {"seed": 5})
    assert _compilations == []
    assert fit.posterior.attrs["compile_time"] < 0.25
    assert not same_draws(fit, small_fit)


def test_times_are_recorded(small_fit):
    attrs = small_fit.posterior.attrs
    assert attrs["sampling_time"] > 0
    assert attrs["compile_time"] > 0


def test_no_finite_start_is_a_sampler_error():
    # The identity link of a Poisson mean, and a prior that wants it negative.
    data = bm.datasets.load("grouseticks").head(40)
    priors = {"Intercept": dist.Normal(-50, 0.1), "sd": dist.HalfNormal(0.1)}
    model = bm.Model("TICKS ~ 1 + (1 | BROOD)", data, "poisson", priors, link="identity")
    with pytest.raises(bm.SamplerError, match="No starting point with a finite density"):
        model.fit(chains=1, warmup=10, draws=10, seed=1)


def test_statistics_are_those_of_arviz(small_fit):
    statistics = small_fit.idata["sample_stats"]
    assert statistics["diverging"].dtype == bool
    assert (statistics["n_steps"] < 2.0 ** statistics["tree_depth"]).all()
    assert (statistics["n_steps"] >= 2.0 ** (statistics["tree_depth"] - 1)).all()
    assert ((statistics["acceptance_rate"] >= 0) & (statistics["acceptance_rate"] <= 1)).all()
    # The step size is that of warm-up, one for each chain.
    assert (statistics["step_size"].std("draw") < 1e-12).all()
    # The kinetic energy of a position and its momentum is not negative.
    assert (statistics["energy"] + statistics["lp"] >= 0).all()


def test_lp_is_the_log_density_of_the_draw(model):
    # The same number from the results: the parts, and the Jacobians of the positive parameters.
    small_fit = model.fit(**SHORT, seed=1, parameterization="noncentered")
    posterior = small_fit.posterior
    z = posterior["r_g"].isel(g_effect=0) / posterior["sd_g"].isel(g_effect=0)
    parts = (
        sum(small_fit.idata["log_prior"].to_dataset().data_vars.values())
        + small_fit.idata["log_likelihood"]["y"].sum("obs_id")
        - (0.5 * z**2 + 0.5 * np.log(2 * np.pi)).sum("g")
        + np.log(posterior["sigma"])
        + np.log(posterior["sd_g"]).isel(g_effect=0)
    )
    np.testing.assert_allclose(small_fit.idata["sample_stats"]["lp"], parts, rtol=1e-8)


# --- JAX's global state ---

SCRIPT = """
import json, sys
import bayesmm as bm
early = [name for name in ("jax", "numpyro", "arviz", "pandas", "xarray") if name in sys.modules]
import jax
before = dict(jax.config.values)
for name in bm.__all__:
    getattr(bm, name)
changed_by_import = [k for k, v in jax.config.values.items() if before.get(k, v) != v]
import pandas as pd
data = pd.DataFrame(json.load(open(sys.argv[1])))
fit = bm.fit("y ~ x + (1 | g)", data, **json.loads(sys.argv[2]))
json.dump({
    "early": early,
    "changed_by_import": changed_by_import,
    "changed_by_fit": [k for k, v in jax.config.values.items() if before.get(k, v) != v],
    "devices": len(jax.devices()),
    "x64": jax.config.jax_enable_x64,
    "new_array": str(jax.numpy.ones(1).dtype),
    "sigma": fit.posterior["sigma"].to_numpy().tolist(),
    "x": fit.posterior["b"].sel(coef="x").to_numpy().tolist(),
}, open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="module")
def elsewhere(small_data, tmp_path_factory):
    """What a fresh process with two devices and its own cache directory found."""
    folder = tmp_path_factory.mktemp("process")
    # Python's own JSON keeps every digit.
    (folder / "data.json").write_text(json.dumps(small_data.to_dict("list")))
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "2",
        "BAYESMM_CACHE": str(folder / "cache"),
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    arguments = [
        str(folder / "data.json"),
        json.dumps(SHORT | {"seed": 1}),
        str(folder / "found.json"),
    ]
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], env=environment, check=True)
    found = json.loads((folder / "found.json").read_text())
    return found | {"cached": len(list((folder / "cache").iterdir()))}


def test_import_is_light(elsewhere):
    assert elsewhere["early"] == []


def test_jax_is_left_as_it_was(elsewhere, small_fit):
    assert elsewhere["changed_by_import"] == []
    assert elsewhere["changed_by_fit"] == ["jax_compilation_cache_dir"]
    assert elsewhere["x64"] is False
    assert elsewhere["new_array"] == "float32"
    assert not jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == jnp.float32
    assert all(v.dtype == np.float64 for v in small_fit.posterior.data_vars.values())


def test_compiled_programs_are_kept_on_disk(elsewhere):
    assert elsewhere["cached"] > 0


def test_two_devices_start_as_one_does(elsewhere, model):
    """The same random numbers on any number of devices, and the same draws up to rounding.

    Rounding differs with the width of the vectors, and long chains amplify it: after hundreds of
    draws they are others of the same distribution. So the comparison is of a short run.
    """
    assert elsewhere["devices"] == 2
    found = model.fit(**SHORT, seed=1).posterior
    np.testing.assert_allclose(elsewhere["sigma"], found["sigma"], rtol=1e-5)
    np.testing.assert_allclose(elsewhere["x"], found["b"].sel(coef="x"), rtol=1e-5)


@pytest.mark.parametrize(("choice", "where"), [("0", None), ("/some/where", "/some/where")])
def test_the_environment_chooses_the_cache(monkeypatch, choice, where):
    monkeypatch.setenv("BAYESMM_CACHE", choice)
    found = cache.cache_directory()
    assert found is None if where is None else str(found) == where


def test_the_cache_is_in_the_users_cache_directory(monkeypatch):
    monkeypatch.delenv("BAYESMM_CACHE", raising=False)
    assert cache.cache_directory().name == "bayesmm"


AFTER_ARVIZ = """
import arviz_base
import numpyro.distributions as dist
import bayesmm as bm
data = {"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "b", "a", "b"]}
import pandas as pd, jax.numpy as jnp, numpyro
model = bm.Model("y ~ 1 + (1 | g)", pd.DataFrame(data), priors={"sigma": dist.HalfNormal(2)})
at = {"Intercept": 1.0, "sd_g": jnp.ones(1), "z_g": jnp.ones((2, 1)), "sigma": 0.5}
print(numpyro.infer.util.potential_energy(model.numpyro_model, (), {}, at))
"""


def test_arviz_may_be_imported_first():
    # It loads NumPyro lazily, which leaves `numpyro.distributions` without its submodules.
    done = subprocess.run(
        [sys.executable, "-c", AFTER_ARVIZ], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert np.isfinite(float(done.stdout))


# --- the plain NumPyro model ---


def test_handlers_accept_the_numpyro_model(model):
    trace = handlers.trace(handlers.seed(model.numpyro_model, 0)).get_trace()
    kinds = {name: site["type"] for name, site in trace.items()}
    sampled = {name for name, kind in kinds.items() if kind == "sample"}
    assert sampled == {"Intercept", "b", "sd_g", "z_g", "sigma", "y"}
    assert {name for name, kind in kinds.items() if kind == "plate"} == {"g", "obs_id"}
    assert trace["y"]["is_observed"]
    assert trace["y"]["value"].shape == (40,)
    simulated = handlers.trace(handlers.seed(model.numpyro_model, 0)).get_trace(observed=False)
    assert not simulated["y"]["is_observed"]
    conditioned = handlers.condition(model.numpyro_model, {"sigma": jnp.array(2.0)})
    assert handlers.seed(conditioned, 0)()["sigma"] == 2.0


def test_svi_accepts_the_numpyro_model(model):
    guide = AutoNormal(model.numpyro_model)
    svi = SVI(model.numpyro_model, guide, numpyro.optim.Adam(0.05), Trace_ELBO())
    found = svi.run(jax.random.key(0), 300, progress_bar=False)
    losses = np.asarray(found.losses)
    assert np.isfinite(losses).all()
    assert losses[-50:].mean() < losses[:50].mean()


def test_numpyro_model_is_drawn(model):
    graph = numpyro.render_model(model.numpyro_model, render_distributions=True)
    for name in ("Intercept", "b", "sd_g", "z_g", "sigma", "y", "g", "obs_id"):
        assert name in graph.source


def test_the_key_is_that_of_jax():
    for seed in (0, 1, 2**32 - 1):
        assert jax.random.key_data(make_key(seed)).tolist() == [0, seed]
        assert make_key(seed).dtype == jax.random.key(seed).dtype
    assert make_key(7) == jax.random.key(7)


def test_the_bar_shows_draws_and_divergences(model, monkeypatch, capsys):
    model.fit(**SHORT, seed=1)
    assert capsys.readouterr().err == ""  # nobody watches a test
    monkeypatch.setattr(progress, "_watched", lambda: True)
    model.fit(**SHORT, seed=1, engine=bm.NUTS())
    shown = capsys.readouterr().err
    for words in ("compiling", "warm-up", "sampling", "divergences=", "draw/s"):
        assert words in shown
    model.fit(**SHORT, seed=1, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(
    not compiled._MAPS.exists(), reason="the system does not say how many there are"
)
def test_executables_are_let_go_before_their_memory_maps_are_too_many(monkeypatch):
    """Beyond vm.max_map_count XLA crashes the process: some 40 models with their predictions."""

    def several(x, k):
        return jax.lax.fori_loop(0, k, lambda i, y: jnp.linalg.cholesky(y @ y.T + jnp.eye(3)), x)

    compiled.forget()
    before = compiled._maps()
    for k in range(8):
        jitted = jax.jit(lambda x, k=k: several(x, k))
        compiled.executable(jitted, np.eye(3))
    grown = compiled._maps()
    assert len(compiled._EXECUTABLES) == 8
    assert grown > before
    monkeypatch.setattr(compiled, "_MOST_MAPS", 0)
    run = compiled.executable(jax.jit(lambda x: several(x, 2)), np.eye(3))
    assert len(compiled._EXECUTABLES) == 1
    assert compiled._maps() < grown
    assert np.isfinite(run(np.eye(3))).all()
