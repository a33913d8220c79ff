"""Independence Metropolis: for few parameters whose density is expensive and nearly normal.

When the group effects are integrated out of a large crossed model, a handful of parameters remains,
and a density costs tens of milliseconds, a gradient several times that. NUTS would want some
30,000 gradients. Around the mode the posterior is nearly normal, so proposals are made there, from
Student's t in the coordinates of the pilot fit, whatever the state of the chain is. Since they do
not depend on it, all densities are evaluated first, on all cores, and the chains are run through
them afterwards:

    accept x' with probability min(1, w(x') / w(x)),      w(x) = p(x) / q(x).

The accept step makes it exact (Tierney 1994). Proposals made during warm-up serve to match mean and
covariance of q to the posterior. The weights w say how good q is: where the Pareto k of their tail
is too large (Vehtari et al. 2024), or few proposals are accepted, `PoorProposal` is raised and
another engine has to do it.
"""

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from scipy.special import gammaln
from threadpoolctl import threadpool_limits

from bayesmm.engines.base import Draws, whole_number
from bayesmm.engines.cache import use_compilation_cache
from bayesmm.engines.compiled import executable
from bayesmm.engines.driver import Crew
from bayesmm.engines.progress import Progress
from bayesmm.errors import SamplerError

#: Proposals whose densities are found between two looks at the progress bar, for each thread.
BATCH = 8
#: With more parameters than this, few proposals would be accepted.
MOST_PARAMETERS = 20
#: Dense matrices of this many columns make a gradient so dear that NUTS is slower.
DEAR_COLUMNS = 300
#: The Pareto k above which importance weights cannot be relied on.
LARGEST_K = 0.7


class PoorProposal(SamplerError):
    """The posterior is too far from Student's t around the mode."""


@dataclass(frozen=True)
class IMH:
    """Settings of the independence Metropolis sampler.

    It needs a model whose group effects are integrated out (a Gaussian response), and few
    parameters; for every other there is `NUTS`.

    Parameters
    ----------
    df : float
        Degrees of freedom of the proposal: fewer have heavier tails.
    widen : float
        Factor on the covariance at the mode.
    least_accept : float
        The acceptance below which the engine gives up.

    Raises
    ------
    SamplerError
        For a value outside its range.
    """

    df: float = 7.0
    widen: float = 1.1
    least_accept: float = 0.2

    def __post_init__(self):
        for name, low, high in [("df", 0, 1000), ("widen", 0, 100), ("least_accept", 0, 1)]:
            value = getattr(self, name)
            number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
            if not number or not low < value < high:
                raise SamplerError(f"{name}={value!r}: write a number between {low} and {high}.")

    def run(
        self,
        program: Any,
        inputs: Any,
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
        program : Marginal
            A program without group effects, in the coordinates of its mode.
        inputs : TransformedInputs
            Its numbers.
        draws, warmup, chains : int
            Kept draws a chain, warm-up draws a chain (None: 100), and chains.
        key : jax.Array
            A typed PRNG key.
        progress : bool
            Whether to show a bar.

        Raises
        ------
        SamplerError
            For a program with group effects among what is sampled.
        PoorProposal
            If the posterior is too far from the proposal.
        """
        if not program.integrated:
            raise SamplerError(
                "engine=IMH() needs a model whose group effects are integrated out: a Gaussian "
                "response with parameterization='auto', sigma without a formula, and crossed "
                "groups that are not too large. Use engine=bm.NUTS()."
            )
        warmup = 100 if warmup is None else whole_number("warmup", warmup, 1)
        use_compilation_cache()
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        size = program.size
        # On small matrices the threads of BLAS only wait for each other, and we have our own.
        with (
            threadpool_limits(1, "blas"),
            closing(Progress((warmup + draws) * chains, progress)) as bar,
            closing(_Densities(program, inputs)) as densities,
        ):
            start = time.perf_counter()
            proposal = Proposal(np.zeros(size), np.sqrt(self.widen) * np.eye(size), self.df)
            first = proposal.draw(rng, warmup * chains)
            found_first = densities(first, lambda n: bar.update(n, warming=True, divergences=0))
            warm_weights = found_first - proposal.log_density(first)
            proposal = proposal.matched(first, warm_weights)
            points = proposal.draw(rng, draws * chains)
            found = densities(points, lambda n: bar.update(n, warming=False, divergences=0))
            log_weights = found - proposal.log_density(points)
            # Each chain starts at a warm-up proposal, picked by its weight.
            weight = np.exp(warm_weights - warm_weights.max())
            begin = rng.choice(len(first), size=chains, p=weight / weight.sum())
            start_weights = found_first[begin] - proposal.log_density(first[begin])
            chosen, acceptance = _metropolis(
                rng,
                np.column_stack([start_weights, log_weights.reshape(chains, draws)]),
            )
            sampling_time = time.perf_counter() - start - densities.compile_time
        self._check(log_weights, acceptance)
        # As `chosen` numbers them: the start, then the chain's proposals.
        points = np.concatenate(
            [first[begin][:, None], points.reshape(chains, draws, size)], axis=1
        )
        found = np.column_stack([found_first[begin], found.reshape(chains, draws)])
        chain = np.arange(chains)[:, None]
        lp = found[chain, chosen]
        none = np.zeros((chains, draws), dtype=bool)
        statistics = {
            "diverging": none,
            "lp": lp,
            "energy": -lp,
            "acceptance_rate": acceptance,
            "n_steps": np.ones((chains, draws), dtype=np.int64),
            "reached_max_treedepth": none,
        }
        positions = {"x": points[chain, chosen]}
        return Draws(positions, statistics, sampling_time, densities.compile_time, warmup)

    def _check(self, log_weights: np.ndarray, acceptance: np.ndarray) -> None:
        from arviz_stats.base import array_stats

        k = array_stats.pareto_khat(log_weights[None], r_eff=1, tail="right", log_weights=True)
        if not float(k) < LARGEST_K or not acceptance.mean() > self.least_accept:
            raise PoorProposal(
                f"The posterior is too far from Student's t around its mode (Pareto k "
                f"{float(k):.2f}, acceptance {acceptance.mean():.2f}). Use engine=bm.NUTS()."
            )


@dataclass(frozen=True)
class Proposal:
    """Student's t in several dimensions: centre, root of the scale matrix, degrees of freedom."""

    centre: np.ndarray
    root: np.ndarray
    df: float

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return draws, shape (count, size)."""
        normal = rng.normal(size=(count, len(self.centre)))
        shrunk = np.sqrt(rng.chisquare(self.df, size=(count, 1)) / self.df)
        return self.centre + (normal / shrunk) @ self.root.T

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Return the log density at points of shape (count, size)."""
        size, df = len(self.centre), self.df
        z = np.linalg.solve(self.root, (points - self.centre).T)
        constant = gammaln((df + size) / 2) - gammaln(df / 2) - size / 2 * np.log(df * np.pi)
        log_det = np.linalg.slogdet(self.root)[1]
        return constant - log_det - (df + size) / 2 * np.log1p((z**2).sum(axis=0) / df)

    def matched(self, points: np.ndarray, log_weights: np.ndarray) -> "Proposal":
        """Return the t with the mean and covariance that weighted draws of this one have.

        As it is, where the weights rest on too few draws.
        """
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        size = len(self.centre)
        if 1.0 / (weights**2).sum() < 10 * size:
            return self
        mean = weights @ points
        residual = points - mean
        covariance = (weights[:, None] * residual).T @ residual
        # Taken for the scale matrix, so that the proposal is wider than the posterior.
        return Proposal(mean, np.linalg.cholesky(covariance), self.df)


class _Densities:
    """Evaluates the log density of many points, on all cores."""

    def __init__(self, program: Any, inputs: Any):
        self._inputs = jax.device_put(inputs)
        start = time.perf_counter()
        points = np.zeros((BATCH, program.size))
        self._run = executable(_batch(program), points, self._inputs)
        self.compile_time = time.perf_counter() - start
        self._crew = Crew(os.cpu_count() or 1)

    def close(self) -> None:
        """Let the threads go."""
        self._crew.close()

    def __call__(self, points: np.ndarray, done: Callable[[int], None]) -> np.ndarray:
        """Return the density of each point; ``done(n)`` is told of every n that are finished."""
        spare = -len(points) % BATCH
        batches = np.pad(points, ((0, spare), (0, 0))).reshape(-1, BATCH, points.shape[1])
        found: list[np.ndarray] = []
        for start in range(0, len(batches), self._crew.size):
            some = batches[start : start + self._crew.size]
            found += self._crew.each(lambda i, some=some: self._one(some, i))
            done(len(some) * BATCH)
        return np.concatenate(found)[: len(points)]

    def _one(self, batches: np.ndarray, i: int) -> np.ndarray:
        if i >= len(batches):
            return np.zeros(0)
        return np.asarray(self._run(batches[i], self._inputs))


@lru_cache(maxsize=32)
def _batch(program: Any):
    def densities(points, inputs):
        return jax.lax.map(lambda x: program.log_density({"x": x}, inputs), points)

    return jax.jit(densities)


def _metropolis(rng: np.random.Generator, log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run the accept steps of every chain.

    Parameters
    ----------
    rng : numpy.random.Generator
        For the uniform numbers.
    log_weights : numpy.ndarray
        Shape (chains, 1 + draws): of the start, and of the proposals in turn.

    Returns
    -------
    chosen : numpy.ndarray
        Which proposal each draw is, shape (chains, draws).
    acceptance : numpy.ndarray
        The probability with which each proposal was accepted.
    """
    chains, count = log_weights.shape
    # A proposal where the density is not finite is never accepted.
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    uniform = np.log(rng.uniform(size=(chains, count)))
    chosen, acceptance = np.zeros((2, chains, count - 1))
    current = np.zeros(chains, dtype=np.int64)
    each = np.arange(chains)
    for i in range(1, count):
        with np.errstate(invalid="ignore"):
            ratio = np.minimum(log_weights[:, i] - log_weights[each, current], 0.0)
        current = np.where(uniform[:, i] < ratio, i, current)
        chosen[:, i - 1], acceptance[:, i - 1] = current, np.exp(ratio)
    return chosen.astype(np.int64), acceptance


def suits(program: Any, inputs: Any) -> bool:
    """Whether this engine is faster than NUTS: few parameters, and a very dear gradient."""
    return (
        program.integrated and program.size <= MOST_PARAMETERS and inputs.plan.dense > DEAR_COLUMNS
    )
