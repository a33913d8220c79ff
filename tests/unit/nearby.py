"""Fits without a sampler: independent draws near the priors, for tests of what draws become."""

from dataclasses import dataclass

import jax
import numpy as np

import bayesmm as bm
from bayesmm.engines import Draws
from bayesmm.results import Fit


@dataclass(frozen=True)
class Nearby:
    """An engine of independent draws near the priors: no posterior, and no sampler to compile."""

    def run(self, program, inputs, *, draws, warmup, chains, key, progress):
        centres, widths = jax.jit(program.starting_region)(inputs)
        rng = np.random.default_rng(0)
        shape = (chains, draws)
        positions = {
            name: np.asarray(centre) + widths[name] * rng.uniform(-1, 1, (*shape, *centre.shape))
            for name, centre in centres.items()
        }
        positions = jax.tree.map(np.asarray, positions)
        statistics = {
            "diverging": np.zeros(shape, dtype=bool),
            "lp": rng.normal(size=shape),
            "energy": rng.normal(size=shape),
            "reached_max_treedepth": np.zeros(shape, dtype=bool),
        }
        return Draws(positions, statistics, 0.5, 0.25, warmup or 0)


def nearby(model: bm.Model, chains=2, draws=30, **arguments) -> Fit:
    # As the model stands: the coordinates of "auto" need a pilot fit, which is compiled.
    settings = {"draws": draws, "chains": chains, "seed": 7, "parameterization": "noncentered"}
    return model.fit(**settings | arguments, engine=Nearby())
