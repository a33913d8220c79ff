"""One call from a program to draws: coordinates and engine, those of the user or the best ones."""

import time
from dataclasses import dataclass, replace
from typing import Any

from bayesmm.engines.base import Draws
from bayesmm.engines.compiled import compile_seconds
from bayesmm.engines.imh import IMH, PoorProposal, suits
from bayesmm.engines.nuts import NUTS
from bayesmm.engines.pilot import MOST_COLUMNS, Settled, settle
from bayesmm.model import Inputs, Program


@dataclass(frozen=True)
class Run:
    """Draws, and what made them.

    Attributes
    ----------
    draws : Draws
        In the coordinates of what was sampled; its times include the pilot fit.
    settled : Settled
        What was sampled.
    engine : NUTS or IMH
        By what.
    """

    draws: Draws
    settled: Settled
    engine: Any


def sample(
    program: Program,
    inputs: Inputs,
    *,
    parameterization: str = "auto",
    engine: Any = None,
    **sampling: Any,
) -> Run:
    """Draw from the posterior of a program; call it where float64 is enabled.

    Where the parameters alone remain to be sampled, independence Metropolis is tried first: it
    needs densities only, costs next to no compilation, and says whether it can be relied on.

    Parameters
    ----------
    program : Program
        The model, non-centred.
    inputs : Inputs
        Its numbers.
    parameterization : {"auto", "noncentered", "centered"}
        How group effects are sampled.
    engine : NUTS or IMH, optional
        The engine, if it is not to be chosen.
    **sampling
        For `run` of the engine: draws, warmup, chains, key, progress.

    Raises
    ------
    SamplerError
        If the engine cannot sample the program.
    """
    start, compiled = time.perf_counter(), compile_seconds()

    def run(engine: Any, settled: Settled) -> Run:
        # The pilot fit, and an engine that gave up, are part of what a user waits for.
        compiling = compile_seconds() - compiled
        waited = time.perf_counter() - start - compiling
        draws = engine.run(settled.program, settled.inputs, **sampling)
        timed = replace(
            draws,
            sampling_time=draws.sampling_time + waited,
            compile_time=draws.compile_time + compiling,
        )
        return Run(timed, settled, engine)

    if parameterization != "auto":
        plain = Settled(replace(program, parameterization=parameterization), inputs, inputs)
        return run(NUTS() if engine is None else engine, plain)
    gradients = engine is not None and not isinstance(engine, IMH)
    settled = settle(program, inputs, gradients=gradients)
    if engine is not None:
        return run(engine, settled)
    if not suits(settled.program):
        return run(NUTS(), settled)
    try:
        return run(IMH(), settled)
    except PoorProposal as poor:
        if settled.inputs.plan.dense > MOST_COLUMNS:
            # Effects that can be integrated out for a density are too many for gradients.
            settled = settle(program, inputs)
        return run(NUTS(), replace(settled, note=settled.note or str(poor)))
