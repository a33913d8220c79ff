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
import jax.numpy as jnp
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
        side_by_side = min(SIDE_BY_SIDE, self._size) if cheap > 1 else 1
        run = _batch(program, side_by_side)
        self._run = executable(run, points, np.int32(1), self._inputs)
        self.compile_time = time.perf_counter() - start
        self._crew = Crew(CORES)

    def close(self) -> None:
        """Let the threads go."""
        self._crew.close()

    def __call__(
        self, points: np.ndarray, done: Callable[[int], None] = lambda _: None
    ) -> np.ndarray:
        """Return the density of each point; ``done(n)`` is told of every n that are finished."""
        batches = [points[i : i + self._size] for i in range(0, len(points), self._size)]
        found: list[np.ndarray] = []
        for start in range(0, len(batches), CORES):
            some = batches[start : start + CORES]
            if len(some) == 1:
                found.append(self._one(some[0]))
            else:
                found += self._crew.each(lambda i, some=some: self._one(*some[i : i + 1]))
            done(sum(len(batch) for batch in some))
        return np.concatenate(found)

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the density at x and its gradient, by central differences."""
        steps = STEP * np.eye(len(x))
        found = self(np.concatenate([x[None], x + steps, x - steps]))
        ahead, behind = found[1:].reshape(2, -1)
        return float(found[0]), (ahead - behind) / (2.0 * STEP)

    def _one(self, *batch: np.ndarray) -> np.ndarray:
        if not batch:
            return np.zeros(0)
        (points,) = batch
        padded = np.zeros((self._size, points.shape[1]))
        padded[: len(points)] = points
        found = self._run(padded, np.int32(len(points)), self._inputs)
        return np.asarray(found)[: len(points)]


@lru_cache(maxsize=32)
def _batch(program: Any, side_by_side: int):
    """The densities of the first `count` of some points; how many these are is not compiled in."""

    def densities(points, count, inputs):
        def one(x):
            return program.log_density({"x": x}, inputs)

        def some(i, found):
            start = jnp.minimum(i * side_by_side, len(points) - side_by_side)
            x = jax.lax.dynamic_slice_in_dim(points, start, side_by_side)
            return jax.lax.dynamic_update_slice_in_dim(found, jax.vmap(one)(x), start, axis=0)

        steps = (count + side_by_side - 1) // side_by_side
        return jax.lax.fori_loop(0, steps, some, jnp.zeros(len(points)))

    return jax.jit(densities)
