"""Engines draw from a program's posterior; every one returns `Draws`.

To add one, write a frozen dataclass of its settings in a module of its own, with the method
``run(program, inputs, *, draws, warmup, chains, key, progress) -> Draws`` (see `nuts.py`).
"""

from bayesmm.engines.base import Draws, make_key, resolve_seed, whole_number
from bayesmm.engines.cache import use_compilation_cache
from bayesmm.engines.choice import Run, sample
from bayesmm.engines.compiled import executable
from bayesmm.engines.crew import Crew
from bayesmm.engines.imh import IMH
from bayesmm.engines.nuts import NUTS
from bayesmm.engines.pilot import Settled

__all__ = [
    "IMH",
    "NUTS",
    "Crew",
    "Draws",
    "Run",
    "Settled",
    "executable",
    "make_key",
    "resolve_seed",
    "sample",
    "use_compilation_cache",
    "whole_number",
]
