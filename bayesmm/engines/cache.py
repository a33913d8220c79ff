"""The persistent compilation cache: the one global setting of JAX that the package touches.

At the first fit, and only if the user has not chosen a directory, compiled programs are kept in
the user's cache directory, so that the second process that fits a model does not compile it
again. ``BAYESMM_CACHE=0`` switches this off; a path there puts the cache elsewhere.
"""

import os
import sys
from functools import cache
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache


def cache_directory() -> Path | None:
    """Return where compiled programs are kept, or None where the user wants none."""
    choice = os.environ.get("BAYESMM_CACHE", "")
    if choice == "0":
        return None
    if choice:
        return Path(choice).expanduser()
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "bayesmm"


@cache
def use_compilation_cache() -> None:
    """Point JAX's compilation cache at the directory, once, unless the user has set one."""
    directory = cache_directory()
    if directory is None or jax.config.jax_compilation_cache_dir is not None:
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:  # a read-only home is no reason not to fit
        return
    jax.config.update("jax_compilation_cache_dir", str(directory))
    # A compilation before this one has already settled that there is no cache.
    compilation_cache.reset_cache()
