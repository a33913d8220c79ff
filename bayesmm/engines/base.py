"""What every engine returns, and what can go wrong in one."""

from dataclasses import dataclass

import jax
import numpy as np

from bayesmm.errors import SamplerError


@dataclass(frozen=True)
class Draws:
    """Draws in the sampler's unconstrained coordinates, and what the sampler says of them.

    Attributes
    ----------
    positions : dict of str to numpy.ndarray
        One array a latent site, shape (chains, draws, ...), float64.
    statistics : dict of str to numpy.ndarray
        Shape (chains, draws), under ArviZ's names; always with ``diverging``.
    sampling_time, compile_time : float
        Seconds of warm-up and draws, and of compilation.
    warmup : int
        Warm-up draws a chain.
    interrupted : bool
        Whether the user stopped it before all draws were made.
    """

    positions: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    sampling_time: float
    compile_time: float
    warmup: int
    interrupted: bool = False


def whole_number(name: str, value: object, least: int) -> int:
    """Return a count that the user gave, or refuse it by name.

    Raises
    ------
    SamplerError
        If the value is not a whole number of at least `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise SamplerError(f"{name}={value!r}: write a whole number of at least {least}.")
    return int(value)


def make_key(seed: object) -> jax.Array:
    """Return a typed PRNG key: JAX's for the seed, without compiling what makes it.

    Raises
    ------
    SamplerError
        If the seed is not a whole number from 0 to 2**32 - 1, or None.
    """
    data = jax.device_put(np.array([0, resolve_seed(seed)], dtype=np.uint32))
    return jax.random.wrap_key_data(data, impl="threefry2x32")


def resolve_seed(seed: object) -> int:
    """Return the user's seed, or a fresh one from the operating system for None.

    Raises
    ------
    SamplerError
        If it is not a whole number from 0 to 2**32 - 1.
    """
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise SamplerError(f"seed={seed!r}: write a whole number from 0 to 2**32 - 1, or None.")
    return int(seed)
