"""The figures of a benchmark: from the draws of one process to medians and ratios.

A *record* is a dictionary of one process: which benchmark, fit, run and cache it was, what its
worker answered, and what `with_ess` adds. `Measured` holds the records of a benchmark, and is what
its targets look at.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: A fit with a larger R-hat has chains in different places, and its ESS means nothing.
LARGEST_RHAT = 1.1
#: Figures of which the worst run counts, and not the median.
WORST = {"divergences"}


class Measured:
    """The records of one benchmark.

    Parameters
    ----------
    records : iterable of dict
        One for each process; those with an ``error`` are passed over.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]):
        self._records = [record for record in records if "error" not in record]

    def values(self, fit: str, figure: str, cache: str = "cold") -> list[Any]:
        """Return the figure of every run."""
        return [
            record[figure]
            for record in self._records
            if record["fit"] == fit and record["cache"] == cache and figure in record
        ]

    def median(self, fit: str, figure: str, cache: str = "cold") -> float:
        """Return the median over the runs (the worst for `WORST`); nan if there is none."""
        found = self.values(fit, figure, cache)
        if not found:
            return math.nan
        return float(max(found) if figure in WORST else statistics.median(found))

    def ratio(self, figure: str, cache: str = "cold", over: str = "ours", to: str = "peer"):
        """Return a median of one fit divided by that of another.

        It is nan for an ESS if a run of the other one did not converge: it is no feat to beat that.
        """
        if "ess" in figure.split("_") and not self.converged(to, cache):
            return math.nan
        below = self.median(to, figure, cache)
        return self.median(over, figure, cache) / below if below else math.nan

    def converged(self, fit: str, cache: str = "cold") -> bool:
        """Say whether all runs of a fit did."""
        return all(rhat < LARGEST_RHAT for rhat in self.values(fit, "max_rhat", cache))

    def outside(self, fit: str, estimates: Mapping[str, float]) -> float:
        """Return how many estimates lie outside the central 95% of a fit, in its worst run."""
        counts = [
            sum(
                not run[name]["2.5%"] < value < run[name]["97.5%"]
                for name, value in estimates.items()
            )
            for run in self.values(fit, "parameters")
        ]
        return float(max(counts)) if counts else math.nan

    def others_cpus(self) -> float:
        """Return how many CPUs other programs took during a process, at most."""
        return max((record.get("others_cpus", 0.0) for record in self._records), default=0.0)

    def disagreement(self) -> float:
        """Return the largest difference of posterior means, ours and the peer's, in sds.

        Parameters that only one side has (correlations) are passed over. Some of it is Monte Carlo
        error, about 2 / sqrt(ESS); much more says that the models are not the same.
        """
        ours, theirs = (self.values(fit, "parameters") for fit in ("ours", "peer"))
        if not ours or not theirs:
            return math.nan
        shared = ours[0].keys() & theirs[0].keys()
        return max(
            abs(ours[0][name]["mean"] - theirs[0][name]["mean"]) / theirs[0][name]["sd"]
            for name in shared
        )


def with_ess(record: dict[str, Any], draws: Path) -> dict[str, Any]:
    """Add to a record what its draws say.

    The ESS of a parameter is the smaller one of bulk and tail (5% and 95%), as Vehtari et al.
    (2021) define them; that of a fit is the smallest over its parameters.

    Parameters
    ----------
    record : dict
        What the worker answered.
    draws : path
        The archive of its draws, arrays (chain, draw) by label.
    """
    import numpy as np
    from arviz_stats.base import array_stats

    def statistic(name: str, values: np.ndarray, **how: Any) -> float:
        return float(getattr(array_stats, name)(values, chain_axis=0, draw_axis=1, **how))

    parameters = {}
    with np.load(draws) as archive:
        for label in archive.files:
            values = archive[label]
            if np.ptp(values) == 0:  # the correlation between independent blocks
                continue
            low, high = np.quantile(values, [0.025, 0.975])
            parameters[label] = {
                "mean": float(values.mean()),
                "sd": float(values.std(ddof=1)),
                "2.5%": float(low),
                "97.5%": float(high),
                "ess_bulk": statistic("ess", values, method="bulk"),
                "ess_tail": statistic("ess", values, method="tail", prob=(0.05, 0.95)),
                "rhat": statistic("rhat", values),
            }
    smallest = {k: min(p["ess_bulk"], p["ess_tail"]) for k, p in parameters.items()}
    worst = min(smallest, key=smallest.__getitem__)
    known = record["sampling_seconds"] + record.get("compile_seconds", 0.0)
    return record | {
        "other_seconds": record["fit_seconds"] - known,
        "min_ess": smallest[worst],
        "min_ess_of": worst,
        "max_rhat": max(p["rhat"] for p in parameters.values()),
        "ess_per_sampling_second": smallest[worst] / record["sampling_seconds"],
        "ess_per_process_second": smallest[worst] / record["process_seconds"],
        "parameters": parameters,
    }
