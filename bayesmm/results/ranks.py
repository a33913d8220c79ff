"""The ranks of a simulation-based calibration, and whether they are uniform.

The test is that of Säilynoja, Bürkner and Vehtari (2022). Of N uniform ranks among L draws the
number below k is binomial, for each k = 1, ..., L. A band of central intervals, all at one level,
holds for all k at once with a probability that is computed here exactly, so that p-values are.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import bdtr, bdtrc, gammaln

from bayesmm.errors import SamplerError

#: Stands for the rank of what has none of its own: it is fixed, or the same as another.
FIXED = -1


@dataclass(frozen=True)
class Calibration:
    """The ranks of true values among draws of their posteriors.

    Attributes
    ----------
    ranks : xarray.Dataset
        By variable of the posterior, with ``simulation`` as the first dim: how many of `draws`
        posterior draws lie below the true value. Of a group's levels at most 10, evenly spread.
        ``log_likelihood`` is that of all rows. -1 where the model fixes a value, and on and above
        the diagonal of correlations.
    draws : int
        L, the number of posterior draws that were ranked among; ranks go from 0 to L.
    simulations : int
        How many data sets were simulated.
    failures : pandas.DataFrame
        A row for each thing that went wrong: ``simulation``, ``kind``, ``ranked`` (whether the
        simulation is among the ranks all the same) and ``detail``.

        =============== ====== ==================================================================
        kind            ranked
        =============== ====== ==================================================================
        ``response``    no     the simulated response is no data (not finite, or absurdly large)
        ``fit``         no     the fit raised an error, or its draws are not finite
        ``divergences`` yes    some transitions diverged
        ``rhat``        yes    R-hat above 1.05
        ``ess``         yes    fewer effective draws than half of those that are ranked among
        ``fallback``    yes    the fast sampler was of no use, and another one did it
        =============== ====== ==================================================================
    seed : int
        What all random numbers came from.
    """

    ranks: xr.Dataset
    draws: int
    simulations: int
    failures: pd.DataFrame
    seed: int

    def table(self) -> pd.DataFrame:
        """Return the test of each parameter: whether its ranks are uniform.

        Returns
        -------
        pandas.DataFrame
            A row for each parameter, and

            * ``deviation``: the largest distance of the ranks' distribution function from that of
              the uniform distribution;
            * ``p_value``: the probability that uniform ranks leave the narrowest simultaneous band
              that these ranks leave (exact);
            * ``inside_95``, ``inside_99``: whether they stay within the band that uniform ranks
              stay within with that probability.

        Notes
        -----
        The bands are those of Säilynoja, Bürkner and Vehtari (2022), Statistics and Computing
        32:32: for each of 1, ..., L the central interval of the binomial number of ranks below it,
        all at one level, chosen so that all hold at once.
        """
        rows = {}
        for _, label, ranks in self._elements():
            reached = _cumulative(ranks, self.draws)
            expected = np.arange(1, self.draws + 1) / (self.draws + 1)
            p = _p_value(reached, len(ranks), self.draws)
            rows[label] = {
                "deviation": float(np.abs(reached / len(ranks) - expected).max()),
                "p_value": p,
                "inside_95": p > 0.05,
                "inside_99": p > 0.01,
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("parameter")

    @property
    def p_value(self) -> float:
        """The smallest p-value of all parameters, times their number (Bonferroni)."""
        found = self._table["p_value"].to_numpy()
        return min(1.0, float(found.min()) * len(found))

    def band(self, prob: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the simultaneous band around the distribution function of uniform ranks.

        Parameters
        ----------
        prob : float
            The probability with which uniform ranks stay within it everywhere.

        Returns
        -------
        at, lower, upper : numpy.ndarray
            Shape (draws,): the fractions of ranks expected below 1, ..., L, and the least and the
            largest that lie within the band.

        Raises
        ------
        SamplerError
            If `prob` is no probability.
        """
        number = isinstance(prob, int | float | np.number) and not isinstance(prob, bool)
        if not number or not 0 < prob < 1:
            raise SamplerError(f"prob={prob!r}: write a probability between 0 and 1.")
        count = self.ranks.sizes["simulation"]
        lower, upper = _limits(float(prob), count, self.draws)
        at = np.arange(1, self.draws + 1) / (self.draws + 1)
        return at, lower / count, upper / count

    def distribution_functions(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Yield variable and label of each parameter, and the distribution function of its ranks.

        That is the fraction of ranks below 1, ..., L, as `band` has it.
        """
        for variable, label, ranks in self._elements():
            yield variable, label, _cumulative(ranks, self.draws) / len(ranks)

    def __repr__(self) -> str:
        ranked = self.ranks.sizes["simulation"]
        worst = self._table["p_value"].idxmin()
        lines = [
            f"Calibration: {ranked} of {self.simulations} simulated data sets, ranks among "
            f"{self.draws} draws.",
            f"Smallest p-value of {len(self._table)} parameters: "
            f"{self._table['p_value'].min():.2g} ({worst}); Bonferroni: {self.p_value:.2g}.",
        ]
        for kind, found in self.failures.groupby("kind", sort=False):
            left_out = "" if found["ranked"].to_numpy().all() else ", not ranked"
            detail = found["detail"].iloc[0]
            lines.append(f"- {kind}: {len(found)}{left_out}; first: {detail}")
        return "\n".join(lines)

    @cached_property
    def _table(self) -> pd.DataFrame:
        return self.table()

    def _elements(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Each parameter's variable, label and ranks, without those that the model fixes."""
        for name, values in self.ranks.data_vars.items():
            own = values.dims[1:]
            for at in itertools.product(*(range(values.sizes[dim]) for dim in own)):
                ranks = values.to_numpy()[(slice(None), *at)]
                if (ranks == FIXED).any():
                    continue
                labels = [str(values[dim].to_numpy()[i]) for dim, i in zip(own, at, strict=True)]
                label = f"{name}[{', '.join(labels)}]" if labels else str(name)
                yield str(name), label, ranks


def _cumulative(ranks: np.ndarray, draws: int) -> np.ndarray:
    """How many ranks lie below 1, ..., L."""
    return np.bincount(ranks, minlength=draws + 1).cumsum()[:-1]


@lru_cache(maxsize=8)
def _pointwise(count: int, draws: int) -> np.ndarray:
    """The two-sided p-value of 0, ..., count ranks below 1, ..., L; shape (draws, count + 1)."""
    reached = np.arange(count + 1)
    at = np.arange(1, draws + 1)[:, None] / (draws + 1)
    below = bdtr(reached, count, at)
    above = bdtrc(reached - 1, count, at)
    return np.minimum(1.0, 2.0 * np.minimum(below, above))


def _chance_of_less(threshold: float, count: int, draws: int) -> float:
    """The probability that uniform ranks have a pointwise p-value of `threshold` or less somewhere.

    How many ranks take each value is multinomial: independent Poisson counts, given their sum. The
    sums of the first 1, 2, ... of them are followed, as long as all are allowed.
    """
    # Values that are equal but for rounding are not to be told apart.
    allowed = _pointwise(count, draws) > threshold * (1.0 + 1e-9)
    step = _poisson(np.arange(count + 1), count / (draws + 1))
    state = np.zeros(count + 1)
    state[0] = 1.0
    for at in allowed:
        state = np.where(at, np.convolve(state, step)[: count + 1], 0.0)
    stays = np.convolve(state, step)[count] / _poisson(count, count)
    return float(np.clip(1.0 - stays, 0.0, 1.0))


def _poisson(k: Any, mean: float) -> Any:
    """The probability of k; `scipy.stats` would take longer to import than to wait for."""
    return np.exp(k * np.log(mean) - mean - gammaln(k + 1.0))


def _p_value(reached: np.ndarray, count: int, draws: int) -> float:
    """The probability that uniform ranks are as far out, where they are farthest, as these."""
    worst = _pointwise(count, draws)[np.arange(draws), reached].min()
    return _chance_of_less(float(worst), count, draws)


@lru_cache(maxsize=8)
def _limits(prob: float, count: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest numbers of ranks below 1, ..., L within the simultaneous band."""
    # The pointwise level, found by halving on the log scale: the chance of less increases with it.
    low, high = -60.0, 0.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if _chance_of_less(np.exp(middle), count, draws) <= 1.0 - prob:
            low = middle
        else:
            high = middle
    allowed = _pointwise(count, draws) > np.exp(low)
    return allowed.argmax(axis=1), count - allowed[:, ::-1].argmax(axis=1)
