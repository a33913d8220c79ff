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

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from scipy.special import gammaln, logsumexp

from bayesmm.engines.base import Draws, whole_number
from bayesmm.engines.cache import use_compilation_cache
from bayesmm.engines.densities import Densities, effort
from bayesmm.engines.progress import Progress
from bayesmm.errors import SamplerError

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
#: A weight, with mean 1, from which on the tail of the weights is looked at.
LARGE_WEIGHT = 10.0
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

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, engine=bm.IMH(), seed=1)
    >>> float(fit.idata["sample_stats"]["acceptance_rate"].mean().round(1))
    0.7
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
        thin = effort(inputs.plan) if self.thin is None else self.thin
        use_compilation_cache()
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        size = program.size
        with (
            closing(Progress((warmup + draws) * thin * chains, progress)) as bar,
            closing(Densities(program, inputs)) as densities,
        ):
            start = time.perf_counter()

            def tell(warming):
                return partial(bar.update, doing="warm-up" if warming else "sampling")

            proposal = Proposal(np.zeros(size), np.sqrt(self.widen) * np.eye(size), self.df)
            rounds = []
            for count in _shares(warmup * chains * thin, ROUNDS):
                first = proposal.draw(rng, count)
                found_first = densities(first, tell(warming=True))
                rounds.append((first, found_first - proposal.log_density(first)))
                proposal = proposal.matched(rounds)
            points = proposal.draw(rng, draws * thin * chains)
            found = densities(points, tell(warming=False))
            log_weights = _never_accepted(found - proposal.log_density(points))
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
            "acceptance_rate": acceptance,
            "n_steps": np.full((chains, draws), thin),
            "reached_max_treedepth": none,
        }
        positions = {"x": points[chain, chosen]}
        return Draws(positions, statistics, sampling_time, densities.compile_time, warmup)

    def _check(self, log_weights: np.ndarray, acceptance: np.ndarray, length: int) -> None:
        """Refuse a proposal that misses part of the posterior; `length` proposals make a chain."""
        # A chain stays at a point for about its weight, in proposals, with mean weight 1.
        longest = np.exp(log_weights.max() - logsumexp(log_weights) + np.log(log_weights.size))
        rate = float(acceptance.mean())
        # Where no weight is large, there is no tail to look at.
        k = _pareto_k(log_weights) if longest > LARGE_WEIGHT else -math.inf
        # A weight that is not large says nothing against a chain that is short.
        short = longest < max(LONGEST_STAY * length, LARGE_WEIGHT)
        if not (k < LARGEST_K and rate > self.least_accept and short):
            raise PoorProposal(
                f"The posterior is too far from Student's t around its mode (acceptance {rate:.2f},"
                f" Pareto k {k:.2f}, a stay of {longest:.0f} proposals): it is one for bm.NUTS()."
            )


def _pareto_k(log_weights: np.ndarray) -> float:
    from arviz_stats.base import array_stats

    found: Any = array_stats.pareto_khat(log_weights[None], r_eff=1, tail="right", log_weights=True)
    return float(found)


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
        try:
            return Proposal(mean, np.linalg.cholesky(covariance), self.df)
        except np.linalg.LinAlgError:
            return self


def _never_accepted(log_weights: np.ndarray) -> np.ndarray:
    """Weights of nothing for proposals where the density is not finite."""
    return np.where(np.isfinite(log_weights), log_weights, -np.inf)


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to 1, of their logarithms; nothing where a density is not finite."""
    finite = _never_accepted(log_weights)
    if not np.isfinite(finite.max()):
        raise PoorProposal("No proposal around the mode has a finite density: use bm.NUTS().")
    weights = np.exp(finite - finite.max())
    return weights / weights.sum()


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
    log_weights = _never_accepted(log_weights)
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


def suits(program: Any) -> bool:
    """Whether this engine is worth trying before NUTS: few parameters, and nothing else."""
    return program.integrated and 0 < program.size <= MOST_PARAMETERS
