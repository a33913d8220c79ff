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

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from scipy.special import gammaln, logsumexp

from bayesmm.engines.base import Draws, whole_number
from bayesmm.engines.cache import use_compilation_cache
from bayesmm.engines.compiled import executable
from bayesmm.engines.crew import CORES, Crew
from bayesmm.engines.progress import Progress
from bayesmm.errors import SamplerError

#: Proposals whose densities a thread finds at a time, for each that is made for a kept draw.
BATCH = 50
#: How many cheap densities are vectorised.
SIDE_BY_SIDE = 25
#: Warm-up proposals a chain when the user does not say.
WARMUP = 100
#: Rounds of warm-up, each with the proposal that the last one was matched to.
ROUNDS = 2
#: Draws for each parameter that the warm-up has to be worth, before its covariance is used.
LEAST_WORTH = 20
#: With more parameters than this, few proposals would be accepted.
MOST_PARAMETERS = 20
#: The Pareto k above which importance weights cannot be relied on.
LARGEST_K = 0.7
#: The part of a chain for which it may stay at one point.
LONGEST_STAY = 0.02


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
    thin : int, optional
        Proposals for each draw that is kept; 5 if left out, fewer where a density is expensive.
    least_accept : float
        The acceptance below which the engine gives up.

    Raises
    ------
    SamplerError
        For a value outside its range.
    """

    df: float = 10.0
    widen: float = 1.1
    thin: int | None = None
    least_accept: float = 0.4

    def __post_init__(self):
        for name, low, high in [("df", 0, 1000), ("widen", 0, 100), ("least_accept", 0, 1)]:
            value = getattr(self, name)
            number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
            if not number or not low < value < high:
                raise SamplerError(f"{name}={value!r}: write a number between {low} and {high}.")
        if self.thin is not None:
            whole_number("thin", self.thin, 1)

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
            Kept draws a chain, warm-up draws a chain (None: 100), and
            chains.
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
        warmup = WARMUP if warmup is None else whole_number("warmup", warmup, 1)
        thin = _thin(inputs.plan) if self.thin is None else self.thin
        use_compilation_cache()
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        size = program.size
        with (
            closing(Progress((warmup + draws) * thin * chains, progress)) as bar,
            closing(_Densities(program, inputs)) as densities,
        ):
            start = time.perf_counter()

            def tell(warming):
                return partial(bar.update, warming=warming, divergences=0)

            proposal = Proposal(np.zeros(size), np.sqrt(self.widen) * np.eye(size), self.df)
            rounds = []
            for count in _shares(warmup * chains * thin, ROUNDS):
                first = proposal.draw(rng, count)
                found_first = densities(first, tell(warming=True))
                rounds.append((first, found_first - proposal.log_density(first)))
                proposal = proposal.matched(rounds)
            points = proposal.draw(rng, draws * thin * chains)
            found = densities(points, tell(warming=False))
            log_weights = found - proposal.log_density(points)
            # Each chain starts at a warm-up proposal, picked by its weight.
            begin = rng.choice(len(first), size=chains, p=_normalised(rounds[-1][1]))
            start_weights = found_first[begin] - proposal.log_density(first[begin])
            chosen, acceptance = _metropolis(
                rng,
                np.column_stack([start_weights, log_weights.reshape(chains, draws * thin)]),
            )
            sampling_time = time.perf_counter() - start
        self._check(log_weights, acceptance, draws * thin)
        # As `chosen` numbers them: the start, then the chain's proposals.
        points = np.concatenate(
            [first[begin][:, None], points.reshape(chains, draws * thin, size)], axis=1
        )
        found = np.column_stack([found_first[begin], found.reshape(chains, draws * thin)])
        chosen, acceptance = chosen[:, thin - 1 :: thin], acceptance[:, thin - 1 :: thin]
        chain = np.arange(chains)[:, None]
        lp = found[chain, chosen]
        none = np.zeros((chains, draws), dtype=bool)
        statistics = {
            "diverging": none,
            "lp": lp,
            "energy": -lp,
            "acceptance_rate": acceptance,
            "n_steps": np.full((chains, draws), thin),
            "reached_max_treedepth": none,
        }
        positions = {"x": points[chain, chosen]}
        return Draws(positions, statistics, sampling_time, densities.compile_time, warmup)

    def _check(self, log_weights: np.ndarray, acceptance: np.ndarray, length: int) -> None:
        """Refuse a proposal that misses part of the posterior; `length` proposals make a chain."""
        from arviz_stats.base import array_stats

        tail: Any = array_stats.pareto_khat(
            log_weights[None], r_eff=1, tail="right", log_weights=True
        )
        k = float(tail)
        # A chain stays at a point for about its weight, in proposals, with mean weight 1.
        longest = np.exp(log_weights.max() - logsumexp(log_weights) + np.log(log_weights.size))
        rate = float(acceptance.mean())
        if not (k < LARGEST_K and rate > self.least_accept and longest < LONGEST_STAY * length):
            raise PoorProposal(
                f"The posterior is too far from Student's t around its mode (acceptance {rate:.2f},"
                f" Pareto k {k:.2f}, a stay of {longest:.0f} proposals). Use "
                "engine=bm.NUTS()."
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

    def matched(self, rounds: Sequence[tuple[np.ndarray, np.ndarray]]) -> "Proposal":
        """Return the t with the mean and covariance of the posterior.

        Parameters
        ----------
        rounds : sequence of (points, log weights)
            Of proposals made so far, shapes (count, size) and (count,). Where they are worth too
            few draws, the proposal stays as it is.
        """
        parts = [_normalised(log_weights) for _, log_weights in rounds]
        worth = np.array([1.0 / (part**2).sum() for part in parts])
        if worth.sum() < LEAST_WORTH * len(self.centre):
            return self
        weights = np.concatenate([part * n for part, n in zip(parts, worth, strict=True)])
        weights /= weights.sum()
        points = np.concatenate([points for points, _ in rounds])
        mean = weights @ points
        residual = points - mean
        covariance = (weights[:, None] * residual).T @ residual
        # Taken for the scale matrix, so that the proposal is wider than the posterior.
        return Proposal(mean, np.linalg.cholesky(covariance), self.df)


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to 1, of their logarithms; nothing where a density is not finite."""
    finite = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    weights = np.exp(finite - finite.max())
    return weights / weights.sum()


class _Densities:
    """Evaluates the log density of many points, on all cores."""

    def __init__(self, program: Any, inputs: Any):
        self._inputs = jax.device_put(inputs)
        thin = _thin(inputs.plan)
        # Cheap densities in large batches, side by side; dear ones in turn.
        self._size = BATCH * thin if thin > 1 else 4
        start = time.perf_counter()
        points = np.zeros((self._size, program.size))
        self._run = executable(_batch(program, thin > 1), points, self._inputs)
        self.compile_time = time.perf_counter() - start
        self._crew = Crew(CORES)

    def close(self) -> None:
        """Let the threads go."""
        self._crew.close()

    def __call__(self, points: np.ndarray, done: Callable[[int], None]) -> np.ndarray:
        """Return the density of each point; ``done(n)`` is told of every n that are finished."""
        spare = -len(points) % self._size
        batches = np.pad(points, ((0, spare), (0, 0))).reshape(-1, self._size, points.shape[1])
        found: list[np.ndarray] = []
        for start in range(0, len(batches), self._crew.size):
            some = batches[start : start + self._crew.size]
            found += self._crew.each(lambda i, some=some: self._one(some, i))
            done(len(some) * self._size)
        return np.concatenate(found)[: len(points)]

    def _one(self, batches: np.ndarray, i: int) -> np.ndarray:
        if i >= len(batches):
            return np.zeros(0)
        return np.asarray(self._run(batches[i], self._inputs))


@lru_cache(maxsize=32)
def _batch(program: Any, vectorised: bool):
    def densities(points, inputs):
        def one(x):
            return program.log_density({"x": x}, inputs)

        return jax.lax.map(one, points, batch_size=SIDE_BY_SIDE if vectorised else None)

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
    # A proposal where the density is not finite is never accepted.
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    uniform = np.log(rng.uniform(size=log_weights.shape))
    chosen = np.zeros(log_weights.shape, dtype=np.int64)
    # Plain numbers: a loop over them is faster than one over small arrays.
    for row, limits, kept in zip(log_weights.tolist(), uniform.tolist(), chosen, strict=True):
        current, best = 0, row[0]
        for i in range(1, len(row)):
            if limits[i] < row[i] - best:
                current, best = i, row[i]
            kept[i] = current
    before = np.take_along_axis(log_weights, chosen[:, :-1], axis=1)
    return chosen[:, 1:], np.exp(np.minimum(log_weights[:, 1:] - before, 0.0))


def _shares(total: int, parts: int) -> list[int]:
    """Split a number of proposals into rounds."""
    return [len(part) for part in np.array_split(np.arange(total), parts) if len(part)]


def _thin(plan: Any) -> int:
    """Proposals for each kept draw, by what a density costs."""
    operations = sum(f.levels * f.effects**3 for f in plan.factors) + plan.dense**3
    return 5 if operations < 1e5 else 2 if operations < 1e7 else 1


def suits(program: Any) -> bool:
    """Whether this engine is worth trying before NUTS: few parameters, and nothing else."""
    return program.integrated and 0 < program.size <= MOST_PARAMETERS
