"""The No-U-Turn sampler: NumPyro's kernel, driven by `driver.py`."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from numpyro.infer.hmc import hmc

from bayesmm.engines.base import Draws, whole_number
from bayesmm.engines.driver import Kernel, drive
from bayesmm.errors import SamplerError
from bayesmm.model import Inputs, Program

#: The deepest tree that can be asked for.
MAX_TREE_DEPTH = 20


@dataclass(frozen=True)
class NUTS:
    """Settings of the No-U-Turn sampler (Hoffman and Gelman 2014).

    Parameters
    ----------
    target_accept : float, optional
        The mean acceptance that the step size is tuned to, between 0 and 1. Raise it (0.95, 0.99)
        where a report names divergences. If left out, 0.8, or 0.55 where the pilot fit found
        a posterior that is nearly normal.
    max_tree_depth : int
        At most 2^max_tree_depth - 1 leapfrog steps are made for a draw.

    Raises
    ------
    SamplerError
        For a value outside its range.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("cbpp")
    >>> formula = "prop(incidence, size) ~ period + (1 | herd)"
    >>> careful = bm.NUTS(target_accept=0.95)
    >>> fit = bm.fit(formula, data, family="binomial", engine=careful, seed=1)
    >>> int(fit.idata["sample_stats"]["diverging"].sum())
    0
    """

    target_accept: float | None = None
    max_tree_depth: int = 10

    def __post_init__(self):
        accept = self.target_accept
        number = isinstance(accept, int | float | np.floating) and not isinstance(accept, bool)
        if accept is not None and not (number and 0 < accept < 1):
            raise SamplerError(f"target_accept={accept!r}: write a number between 0 and 1.")
        if whole_number("max_tree_depth", self.max_tree_depth, 1) > MAX_TREE_DEPTH:
            raise SamplerError(
                f"max_tree_depth={self.max_tree_depth}: at most {MAX_TREE_DEPTH} is allowed, which "
                "is a million steps a draw. Where 12 is not enough, rescale the predictors."
            )

    def run(
        self,
        program: Program,
        inputs: Inputs,
        *,
        draws: int,
        warmup: int | None,
        chains: int,
        key: jax.Array,
        progress: bool,
    ) -> Draws:
        """Draw from a program's posterior; call it where float64 is enabled.

        Parameters
        ----------
        program : Program
            The model's structure.
        inputs : Inputs
            Its numbers.
        draws, warmup, chains : int
            Kept draws a chain, warm-up draws a chain (None: what the program needs), and chains.
        key : jax.Array
            A typed PRNG key.
        progress : bool
            Whether to show a bar.
        """
        warmup = program.warmup if warmup is None else warmup
        kernel = Kernel(program, self, warmup)
        return drive(
            kernel, inputs, draws=draws, warmup=warmup, chains=chains, key=key, progress=progress
        )

    def kernel(
        self, program: Program, warmup: int, potential: Callable
    ) -> tuple[Callable, Callable]:
        """Return NumPyro's ``init(key, position, data)`` and ``sample(state, data)``.

        Parameters
        ----------
        program : Program
            What is sampled: it says which acceptance suits it.
        warmup : int
            Draws during which step size and metric are tuned.
        potential : callable
            ``potential(data)`` is the negative log density as a function of the position.
        """
        init, sample = hmc(potential_fn_gen=potential, algo="NUTS")
        accept = program.target_accept if self.target_accept is None else self.target_accept

        def init_kernel(key, position, data):
            return init(
                position,
                warmup,
                target_accept_prob=accept,
                max_tree_depth=self.max_tree_depth,
                model_args=(data,),
                rng_key=key,
            )

        return init_kernel, lambda state, data: sample(state, (data,))

    def statistics(self, record: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return ArviZ's sample statistics from what the driver recorded."""
        steps = record["num_steps"]
        depth = np.ceil(np.log2(steps + 1.0)).astype(np.int64)
        return {
            "diverging": record["diverging"].astype(bool),
            "lp": -record["potential_energy"],
            "energy": record["energy"],
            "acceptance_rate": record["accept_prob"],
            "n_steps": steps,
            "tree_depth": depth,
            "reached_max_treedepth": steps >= 2**self.max_tree_depth - 1,
            "step_size": record["step_size"],
        }
