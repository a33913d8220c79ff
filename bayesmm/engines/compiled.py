"""Executables by function and shapes: what is compiled once is found again.

`jax.jit` compiles at the first call and hides how long that took. Compiling ahead of time keeps
compilation apart from work in every timing that a result carries.
"""

import gc
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

_EXECUTABLES: dict[Any, Any] = {}
_SECONDS = {"compiling": 0.0}
#: More than this many are a long session with many models; then all are forgotten.
_MOST = 256
#: An executable is mapped into memory in some 250 pieces, and Linux allows a process 65,530 of them
#: (vm.max_map_count); beyond, XLA crashes it. From this many on all are forgotten too.
_MOST_MAPS = 40_000
_MAPS = Path("/proc/self/maps")


def executable(jitted: Any, *arguments: Any) -> Any:
    """Return a jitted function compiled for the shapes of its arguments.

    Parameters
    ----------
    jitted : jitted function
        Without static arguments; the same object finds the same executable.
    *arguments : pytree
        Arrays, or descriptions of them (`jax.ShapeDtypeStruct`).
    """
    leaves, structure = jax.tree.flatten(arguments)
    key = (jitted, structure, tuple((np.shape(x), str(_dtype(x))) for x in leaves))
    if key not in _EXECUTABLES:
        if len(_EXECUTABLES) >= _MOST or _maps() > _MOST_MAPS:
            forget()
        start = time.perf_counter()
        lowered = jitted.lower(*arguments)
        with _kept_on_disk():
            _EXECUTABLES[key] = lowered.compile()
        _SECONDS["compiling"] += time.perf_counter() - start
    return _EXECUTABLES[key]


def forget() -> None:
    """Let all executables go; what is needed again is compiled again."""
    for jitted, *_ in _EXECUTABLES:
        jitted.clear_cache()  # JAX holds them as well
    _EXECUTABLES.clear()
    gc.collect()


def _maps() -> int:
    """How many pieces of memory the process has, where the system says so."""
    return _MAPS.read_bytes().count(b"\n") if _MAPS.exists() else 0


@contextmanager
def _kept_on_disk():
    """Have JAX's cache keep what compiles in less than a second too: a fit has several such."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, 0.0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def compile_seconds() -> float:
    """Return how long `executable` has compiled so far in this process: for differences."""
    return _SECONDS["compiling"]


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf)
