"""Drives a NumPyro kernel: everything inside `jit`, chains by `vmap`, in chunks of some draws.

`numpyro.infer.MCMC.run` compiles again on every call. Here `kernel.init` and a loop of
`kernel.sample` are compiled once for a program and its shapes: the design is an argument, and the
number of draws in a chunk is one too, so that warm-up, draws, the last short chunk and every later
fit of the same structure run the same executable. Between chunks the driver shows progress and
hears an interrupt.

Chains are spread over the devices that JAX has (``JAX_NUM_CPU_DEVICES=2`` in the environment makes
two of a CPU), by `shard_map`, and vmapped within one: a vmapped tree waits for its deepest chain.
"""

import time
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec

from bayesmm.engines.base import Draws
from bayesmm.engines.cache import use_compilation_cache
from bayesmm.engines.compiled import executable
from bayesmm.engines.progress import Progress
from bayesmm.errors import SamplerError, warn
from bayesmm.model import Inputs, Program

#: The most draws that one call of the compiled loop makes.
CHUNK = 100
#: How often a start with a finite density is looked for.
ATTEMPTS = 20
#: Seconds between two looks at the progress bar and the keyboard.
PAUSE = 0.3


@dataclass(frozen=True)
class Kernel:
    """What a compiled sampler depends on, beside the shapes of its inputs."""

    program: Program
    engine: Any
    warmup: int


class Compiled:
    """The compiled functions of one `Kernel` and number of chains."""

    def __init__(self, kernel: Kernel, chains: int):
        self._program = kernel.program
        self._chains = chains
        self._start, self._sample = kernel.engine.kernel(kernel.warmup, self._potential)

    @cached_property
    def _mesh(self) -> Mesh:
        """As many devices as divide the chains evenly."""
        devices = jax.devices()
        count = max(d for d in range(1, len(devices) + 1) if self._chains % d == 0)
        return Mesh(np.array(devices[:count]), ("chain",))

    def _spread(self, function, arguments: int):
        """Run a function of (chains, ...) arrays on every device's share of the chains."""
        chain, whole = PartitionSpec("chain"), PartitionSpec()
        specs = (chain,) + (whole,) * (arguments - 1)
        return jax.jit(
            jax.shard_map(
                function, mesh=self._mesh, in_specs=specs, out_specs=chain, check_vma=False
            )
        )

    def _potential(self, inputs: Inputs):
        """The negative log density of one flat position: a single array is the fastest for XLA."""
        return lambda flat: self._energy(flat, inputs)

    @cached_property
    def _energy(self):
        # NUTS asks for the density in several places of its program: jitted, it is traced once.
        def energy(flat, inputs):
            return -self._program.log_density(unraveller(self._program, inputs)(flat), inputs)

        return jax.jit(energy)

    def _init(self, keys: jax.Array, inputs: Inputs):
        centre, width = (ravel_pytree(x)[0] for x in self._program.starting_region(inputs))

        def one(key):
            start, run = jax.random.split(key)
            jitter = jax.random.uniform(start, centre.shape, minval=-1.0, maxval=1.0)
            return self._start(run, centre + width * jitter, inputs)

        return jax.vmap(one)(keys)

    def _advance(self, state, inputs: Inputs, count: jax.Array):
        """Make `count` draws of every chain; return the state and records (chains, CHUNK, ...)."""

        def record(state):
            return {
                "z": state.z,
                "potential_energy": state.potential_energy,
                "energy": state.energy,
                "num_steps": state.num_steps,
                "accept_prob": state.accept_prob,
                "diverging": state.diverging,
                "step_size": state.adapt_state.step_size,
            }

        def draw(i, carry):
            state, kept = carry
            state = jax.vmap(self._sample, in_axes=(0, None))(state, inputs)
            kept = jax.tree.map(lambda rows, row: rows.at[:, i].set(row), kept, record(state))
            return state, kept

        empty = jax.tree.map(
            lambda x: jnp.zeros((x.shape[0], CHUNK, *x.shape[1:]), x.dtype), record(state)
        )
        return jax.lax.fori_loop(0, count, draw, (state, empty))

    def executables(self, keys: jax.Array, inputs: Inputs):
        """Return the executables of `init` and `advance` for these shapes, compiled if need be."""
        init = executable(self._jitted_init, keys, inputs)
        # The kernel learns what it is to tune while `init` is traced, so `init` comes first.
        state = jax.eval_shape(self._jitted_init, keys, inputs)
        return init, executable(self._jitted_advance, state, inputs, np.int32(1))

    @cached_property
    def _jitted_init(self):
        return self._spread(self._init, 2)

    @cached_property
    def _jitted_advance(self):
        return self._spread(self._advance, 3)


@lru_cache(maxsize=32)
def _compiled(kernel: Kernel, chains: int) -> Compiled:
    return Compiled(kernel, chains)


def drive(
    kernel: Kernel,
    inputs: Inputs,
    *,
    draws: int,
    warmup: int,
    chains: int,
    key: jax.Array,
    progress: bool,
) -> Draws:
    """Warm up, draw, and return the draws; an interrupt returns those that are finished.

    Raises
    ------
    SamplerError
        If no chain finds a start with a finite density.
    """
    use_compilation_cache()
    bar = Progress(warmup + draws, progress)
    try:
        start = time.perf_counter()
        keys = jax.random.split(key, chains)
        init, advance = _compiled(kernel, chains).executables(keys, inputs)
        compile_time = time.perf_counter() - start
        start = time.perf_counter()
        state = _finite_start(init, keys, inputs)
        kept: list[dict[str, Any]] = []
        done, divergences, size, interrupted = 0, 0, 10, False
        try:
            while done < warmup + draws:
                # A chunk does not cross the end of warm-up: what is kept starts with a chunk.
                warming = done < warmup
                count = min(size, (warmup if warming else warmup + draws) - done, CHUNK)
                tick = time.perf_counter()
                state, record = advance(state, inputs, np.int32(count))
                record = _first(record, count)
                if not warming:
                    kept.append(record)
                    divergences += int(record["diverging"].sum())
                done += count
                bar.update(count, warming=warming, divergences=divergences)
                size = _next_size(count, time.perf_counter() - tick)
        except KeyboardInterrupt:
            if not kept:
                raise
            interrupted = True
        sampling_time = time.perf_counter() - start
    finally:
        bar.close()
    joined = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *kept)
    if interrupted:
        warn(
            f"Sampling was interrupted: {sum(len(r['diverging'][0]) for r in kept)} of {draws} "
            "draws a chain are finished and "
            "are what is returned."
        )
    flat = joined.pop("z")
    unravel = unraveller(kernel.program, inputs)
    positions = jax.tree.map(np.asarray, jax.vmap(jax.vmap(unravel))(flat))
    statistics = kernel.engine.statistics(joined)
    return Draws(positions, statistics, sampling_time, compile_time, warmup, interrupted)


def unraveller(program: Program, inputs: Inputs):
    """Return the function that gives a flat position its sites and shapes back."""
    shapes, _ = jax.eval_shape(program.starting_region, inputs)
    _, unravel = ravel_pytree(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes))
    return unravel


def _first(record: dict[str, Any], count: int) -> dict[str, Any]:
    """The rows that a chunk filled, as NumPy arrays of their own: a view keeps all rows alive."""
    return {name: np.asarray(values)[:, :count].copy() for name, values in record.items()}


def _finite_start(init, keys: jax.Array, inputs: Inputs):
    """Start every chain where density and gradient are finite, drawing anew where they are not."""
    fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
    state, bad = None, np.ones(len(keys), dtype=bool)
    for attempt in range(ATTEMPTS):
        drawn = init(keys if attempt == 0 else fold(keys, attempt), inputs)
        state = drawn if state is None else jax.tree.map(_Where(bad), drawn, state)
        energy, gradient = np.asarray(state.potential_energy), np.asarray(state.z_grad)
        bad = ~(np.isfinite(energy) & np.isfinite(gradient).all(axis=1))
        if not bad.any():
            return state
    raise SamplerError(
        f"No starting point with a finite density was found in {ATTEMPTS} attempts. The priors and "
        "the data probably disagree: look at model.prior_predictive(), and at the units of the "
        "predictors."
    )


@dataclass(frozen=True)
class _Where:
    """Takes the chains in `chosen` from the first array, the others from the second."""

    chosen: np.ndarray

    def __call__(self, new: jax.Array, old: jax.Array) -> jax.Array:
        if jnp.issubdtype(new.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                self(jax.random.key_data(new), jax.random.key_data(old))
            )
        return jnp.where(self.chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _next_size(count: int, seconds: float) -> int:
    """Return how many draws should take about `PAUSE` seconds."""
    return max(1, min(CHUNK, int(count * PAUSE / max(seconds, 1e-6)), 4 * count))
