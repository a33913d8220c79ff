"""Fits that tests share.

A real fit costs seconds, so it is made once for a session, and only if a test asks for it. Under
pytest-xdist every worker that needs it makes its own (compiled once: the compilation cache is
shared), so pyproject.toml keeps the tests of a file together (``--dist loadfile``). To add a shared
fit, write a session fixture here.

No test may change a fit: whoever needs another one makes it.

What tests measure is kept for the docs by `evidence`, see there.
"""

import gc
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from evidence import evidence, pytest_addoption, pytest_configure  # noqa: F401

import bayesmm as bm
from bayesmm.engines import compiled

SLEEPSTUDY_FORMULA = "Reaction ~ Days + (Days | Subject)"


#: Every compiled program is mapped into memory in many pieces, and Linux allows a process 65,530
#: (vm.max_map_count): beyond, XLA crashes.
MOST_MAPS = 5_000


def forget_many_programs():
    """Let compiled programs go, where there are many."""
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        compiled.forget()
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True, scope="module")
def _few_compiled_programs():
    """Few of them from one file to the next."""
    yield
    forget_many_programs()


@pytest.fixture
def few_compiled_programs():
    """Few of them from one test to the next, for a file whose tests compile many."""
    yield
    forget_many_programs()


def sleepstudy_priors():
    """The priors of the reference posterior."""
    return {
        "b[Days]": dist.Normal(0, 50),
        "Intercept": dist.StudentT(3, 288, 60),
        "sd_Subject": bm.HalfStudentT(3, 60),
        "sigma": bm.HalfStudentT(3, 60),
        "cor_Subject": bm.LKJ(1),
    }


@pytest.fixture(scope="session")
def sleepstudy_fit():
    """4 chains of 1,000 + 1,000 draws of sleepstudy, with the priors of its reference."""
    data = bm.datasets.load("sleepstudy")
    return bm.fit(SLEEPSTUDY_FORMULA, data, priors=sleepstudy_priors(), seed=2026)


@pytest.fixture(scope="session")
def small_data():
    """40 rows: y, a number x, a factor f with levels a and b, and 8 groups g, h to o."""
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(8), 5)
    x = rng.normal(size=40)
    y = 1 + 0.5 * x + rng.normal(size=8)[group] + 0.7 * rng.normal(size=40)
    return pd.DataFrame(
        {
            "y": y,
            "x": x,
            "f": pd.Categorical(np.tile(["a", "b"], 20)),
            "g": pd.Categorical(np.array(list("hijklmno"))[group]),
        }
    )


@pytest.fixture(scope="session")
def small_fit(small_data):
    """2 chains of 300 + 200 draws of NUTS for a Gaussian random intercept, on `small_data`."""
    sampling = {"chains": 2, "warmup": 300, "draws": 200, "seed": 1, "engine": bm.NUTS()}
    return bm.fit("y ~ x + (1 | g)", small_data, **sampling)
