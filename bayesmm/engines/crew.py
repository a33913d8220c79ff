"""Threads for work that XLA does."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import jax
from threadpoolctl import ThreadpoolController

#: The cores that this process may use.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> Any:
    """Return a context in which BLAS computes with one thread.

    Its threads would compete with ours, and on small matrices wait for each other.
    """
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # it looks through everything that is loaded: 10 ms


class Crew:
    """Threads that work side by side on numbered pieces of work.

    XLA releases Python's lock, so that compiled work runs on as many cores.

    Parameters
    ----------
    size : int
        How many pieces there are.
    """

    def __init__(self, size: int):
        self.size = size
        self._pool = ThreadPoolExecutor(min(size, CORES))
        self._limits = one_blas_thread()

    def each(self, work: Callable[[int], Any]) -> list[Any]:
        """Return ``work(i)`` of every piece, in order."""

        def in_float64(i: int):
            with jax.enable_x64(True):  # the setting belongs to a thread
                return work(i)

        return list(self._pool.map(in_float64, range(self.size)))

    def close(self) -> None:
        """Let the threads go, without work that has not begun."""
        self._pool.shutdown(cancel_futures=True)
        self._limits.restore_original_limits()
