"""Engines draw from a program's posterior; every one returns `Draws`.

To add one, write a frozen dataclass of its settings in a module of its own, with the method
``run(program, inputs, *, draws, warmup, chains, key, progress) -> Draws`` (see `nuts.py`).
"""

from bayesmm.engines.base import Draws, resolve_seed, whole_number
from bayesmm.engines.nuts import NUTS

__all__ = ["NUTS", "Draws", "resolve_seed", "whole_number"]
