"""Drives a NumPyro kernel: everything inside `jit`, chains by `vmap`, in chunks of some draws.

`numpyro.infer.MCMC.run` compiles again on every call. Here `kernel.init` and a loop of
`kernel.sample` are compiled once for a program and its shapes: the design is an argument, and the
number of draws in a chunk is one too, so that warm-up, draws, the last short chunk and every later
fit of the same structure run the same executable. Between chunks the driver shows progress and
hears an interrupt.

Chains are dealt into groups, and a group is vmapped. A vmapped tree waits for its deepest chain,
and XLA runs it on one core, so on a CPU every chain is a group of its own, run by a thread (XLA
releases Python's lock): on 2 cores, 4 chains of sleepstudy draw in 1.4 s so, in 2.3 s vmapped
together. Where JAX has an accelerator or several devices (``JAX_NUM_CPU_DEVICES``), all chains are
one group, spread over the devices by `shard_map`.
"""

import math
import time
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec

from bayesmm.engines.base import Draws
from bayesmm.engines.cache import use_compilation_cache
from bayesmm.engines.compiled import executable
from bayesmm.engines.crew import Crew
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
    """The compiled functions of one `Kernel` and number of chains in a group."""

    def __init__(self, kernel: Kernel, chains: int):
        self._program = kernel.program
        self._chains = chains
        self._start, self._sample = kernel.engine.kernel(
            kernel.program, kernel.warmup, self._potential
        )

    def _spread(self, function, *, by_chain: int):
        """Jit a function whose argument `by_chain` has a leading axis of chains.

        Where there are several devices, each takes its share of the chains.
        """
        devices = jax.devices()
        count = max(d for d in range(1, len(devices) + 1) if self._chains % d == 0)
        if count > 1:
            mesh = Mesh(np.array(devices[:count]), ("chain",))
            specs = [PartitionSpec()] * 3
            specs[by_chain] = PartitionSpec("chain")
            function = jax.shard_map(
                function,
                mesh=mesh,
                in_specs=tuple(specs),
                out_specs=PartitionSpec("chain"),
                check_vma=False,
            )
        return jax.jit(function)

    def _potential(self, inputs: Inputs):
        """The negative log density of one flat position: a single array is the fastest for XLA."""
        return lambda flat: self._energy(flat, inputs)

    @cached_property
    def _energy(self):
        # NUTS asks for the density in several places of its program: jitted, it is traced once.
        def energy(flat, inputs):
            sites = sites_of(flat, site_shapes(self._program, inputs))
            return -self._program.log_density(sites, inputs)

        return jax.jit(energy)

    def _init(self, key: jax.Array, chains: jax.Array, inputs: Inputs):
        """Start the chains of these numbers; every number has random numbers of its own."""
        centre, width = (ravel_pytree(x)[0] for x in self._program.starting_region(inputs))

        def one(chain):
            start, run = jax.random.split(jax.random.fold_in(key, chain))
            jitter = jax.random.uniform(start, centre.shape, minval=-1.0, maxval=1.0)
            return self._start(run, centre + width * jitter, inputs)

        return jax.vmap(one)(chains)

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

    def executables(self, key: jax.Array, chains: np.ndarray, inputs: Inputs):
        """Return the executables of `init` and `advance` for these shapes, compiled if need be."""
        init = executable(self._jitted_init, key, chains, inputs)
        # The kernel learns what it is to tune while `init` is traced, so `init` comes first.
        state = jax.eval_shape(self._jitted_init, key, chains, inputs)
        return init, executable(self._jitted_advance, state, inputs, np.int32(1))

    @cached_property
    def _jitted_init(self):
        return self._spread(self._init, by_chain=1)

    @cached_property
    def _jitted_advance(self):
        return self._spread(self._advance, by_chain=0)


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
    crew = Crew(group_count(chains))
    try:
        start = time.perf_counter()
        numbers = np.arange(chains, dtype=np.uint32).reshape(crew.size, -1)
        inputs = jax.device_put(inputs)
        compiled = _compiled(kernel, numbers.shape[1])
        init, advance = compiled.executables(key, numbers[0], inputs)
        compile_time = time.perf_counter() - start
        start = time.perf_counter()
        states = crew.each(lambda group: _finite_start(init, key, numbers[group], chains, inputs))

        def chunk(group: int, count: int):
            state, record = advance(states[group], inputs, np.int32(count))
            return state, _first(record, count)

        kept: list[dict[str, Any]] = []
        done, divergences, size, interrupted = 0, 0, 10, False
        try:
            while done < warmup + draws:
                # A chunk does not cross the end of warm-up: what is kept starts with a chunk.
                warming = done < warmup
                count = min(size, (warmup if warming else warmup + draws) - done, CHUNK)
                tick = time.perf_counter()
                made = crew.each(partial(chunk, count=count))
                states = [state for state, _ in made]
                if not warming:
                    kept.append(_joined([record for _, record in made], axis=0))
                    divergences += int(kept[-1]["diverging"].sum())
                done += count
                bar.update(count, "warm-up" if warming else "sampling", divergences=divergences)
                size = _next_size(count, time.perf_counter() - tick)
        except KeyboardInterrupt:
            if not kept:
                raise
            interrupted = True
        sampling_time = time.perf_counter() - start
    finally:
        crew.close()
        bar.close()
    joined = _joined(kept, axis=1)
    if interrupted:
        warn(
            f"Sampling was interrupted: {joined['diverging'].shape[1]} of {draws} draws a chain "
            "are finished and are what is returned."
        )
    positions = sites_of(joined.pop("z"), site_shapes(kernel.program, inputs))
    statistics = kernel.engine.statistics(joined)
    return Draws(positions, statistics, sampling_time, compile_time, warmup, interrupted)


def group_count(chains: int) -> int:
    """Return into how many groups the chains are dealt: see the module's docstring."""
    devices = jax.devices()
    return chains if len(devices) == 1 and devices[0].platform == "cpu" else 1


def site_shapes(program: Program, inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """Return the shape of each site, in the order in which a flat position holds them."""
    leaves, structure = jax.tree.flatten(inputs)
    return dict(_site_shapes(program, structure, tuple((x.shape, x.dtype) for x in leaves)))


@lru_cache(maxsize=32)
def _site_shapes(program: Program, structure: Any, leaves: tuple):
    inputs = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    centre, _ = jax.eval_shape(program.starting_region, inputs)
    return tuple((name, centre[name].shape) for name in sorted(centre))


def sites_of(flat: Any, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Take positions of shape (..., size) apart into sites, for NumPy and for JAX."""
    found, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        found[name] = flat[..., start:stop].reshape(*flat.shape[:-1], *shape)
        start = stop
    return found


def _first(record: dict[str, Any], count: int) -> dict[str, Any]:
    """The rows that a chunk filled, as NumPy arrays of their own: a view keeps all rows alive."""
    return {name: np.asarray(values)[:, :count].copy() for name, values in record.items()}


def _joined(records: list[dict[str, Any]], axis: int) -> dict[str, Any]:
    return {name: np.concatenate([r[name] for r in records], axis=axis) for name in records[0]}


def _finite_start(init, key: jax.Array, numbers: np.ndarray, chains: int, inputs: Inputs):
    """Start chains where density and gradient are finite, drawing anew where they are not."""
    state, bad = None, np.ones(len(numbers), dtype=bool)
    for attempt in range(ATTEMPTS):
        # Further attempts have the random numbers of chains that do not exist.
        drawn = init(key, numbers + np.uint32(attempt * chains), inputs)
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
