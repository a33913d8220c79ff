"""Engines draw from a program's posterior; every one returns `Draws`.

To add one, write a frozen dataclass of its settings in a module of its own, with the method
``run(program, inputs, *, draws, warmup, chains, key, progress) -> Draws`` (see `nuts.py`).
"""

from bayesmm.engines.base import Draws, make_key, resolve_seed, whole_number
from bayesmm.engines.cache import use_compilation_cache
from bayesmm.engines.compiled import executable
from bayesmm.engines.imh import IMH, PoorProposal, suits
from bayesmm.engines.nuts import NUTS
from bayesmm.engines.pilot import Settled, settle

__all__ = [
    "IMH",
    "NUTS",
    "Draws",
    "PoorProposal",
    "Settled",
    "executable",
    "make_key",
    "resolve_seed",
    "settle",
    "suits",
    "use_compilation_cache",
    "whole_number",
]
