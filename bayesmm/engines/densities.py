"""The log density of many points at once, on all cores: all that some algorithms need.

Independence Metropolis asks for nothing else, and neither does the search for the mode of a few
parameters, so that a model that is sampled that way compiles one small function. Derivatives are
differences.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from bayesmm.engines.compiled import executable
from bayesmm.engines.crew import CORES, Crew

#: Points that a thread takes at a time: of cheap densities, of others, and of dear ones.
BATCHES = {5: 250, 2: 20, 1: 4}
#: How many densities are vectorised, unless they are dear.
SIDE_BY_SIDE = 25
#: Half the distance of two points for a derivative, in prior sds. The error is below 1e-4 posterior
#: sds as long as these are above 1e-4.
STEP = 1e-5


def effort(plan: Any) -> int:
    """Return how many densities may be spent on one draw that is kept: 5, 2, or 1 if they are dear.

    Parameters
    ----------
    plan : Plan
        How the group effects are eliminated.
    """
    products = plan.products * (1 if plan.core is None or plan.core.sparse else plan.dense)
    operations = sum(f.levels * f.effects**3 for f in plan.factors) + plan.dense**3 + products
    return 5 if operations < 1e5 else 2 if operations < 1e7 else 1


class Densities:
    """Evaluates the log density of an integrated program at many points.

    Parameters
    ----------
    program : Marginal
        A program of x alone.
    inputs : TransformedInputs
        Its numbers.

    Attributes
    ----------
    compile_time : float
        Seconds.
    """

    def __init__(self, program: Any, inputs: Any):
        self._inputs = jax.device_put(inputs)
        cheap = effort(inputs.plan)
        self._size = BATCHES[cheap]
        start = time.perf_counter()
        points = np.zeros((self._size, program.size))
        self._run = executable(_batch(program, cheap > 1), points, self._inputs)
        self.compile_time = time.perf_counter() - start
        self._crew = Crew(CORES)

    def close(self) -> None:
        """Let the threads go."""
        self._crew.close()

    def __call__(
        self, points: np.ndarray, done: Callable[[int], None] = lambda _: None
    ) -> np.ndarray:
        """Return the density of each point; ``done(n)`` is told of every n that are finished."""
        spare = -len(points) % self._size
        batches = np.pad(points, ((0, spare), (0, 0))).reshape(-1, self._size, points.shape[1])
        found: list[np.ndarray] = []
        for start in range(0, len(batches), CORES):
            some = batches[start : start + CORES]
            if len(some) == 1:
                found.append(self._one(some[0]))
            else:
                found += self._crew.each(lambda i, some=some: self._one(*some[i : i + 1]))
            done(len(some) * self._size)
        return np.concatenate(found)[: len(points)]

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the density at x and its gradient, by central differences."""
        steps = STEP * np.eye(len(x))
        found = self(np.concatenate([x[None], x + steps, x - steps]))
        ahead, behind = found[1:].reshape(2, -1)
        return float(found[0]), (ahead - behind) / (2.0 * STEP)

    def _one(self, *batch: np.ndarray) -> np.ndarray:
        return np.asarray(self._run(*batch, self._inputs)) if batch else np.zeros(0)


@lru_cache(maxsize=32)
def _batch(program: Any, vectorised: bool):
    def densities(points, inputs):
        def one(x):
            return program.log_density({"x": x}, inputs)

        return jax.lax.map(one, points, batch_size=SIDE_BY_SIDE if vectorised else None)

    return jax.jit(densities)
