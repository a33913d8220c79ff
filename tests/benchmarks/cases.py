"""What is measured: one record for each model, with its targets.

To add a model, add a `Benchmark` to `BENCHMARKS`. `compared` makes one of a formula that both sides
fit; a benchmark of another kind names its own fits. A `Fit` is one process that is timed, a
`Target` a number made of what was measured, with its bound.

The priors are bayesmm's defaults, whatever they are today; `peers.py` asks the model for them and
`worker_bambi.py` says them in Bambi's terms, so they are not written down here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from measured import Measured

import bayesmm as bm

#: Makes a column of the others.
Column = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True)
class Table:
    """Data by a name; equal names are equal tables, and are written once."""

    name: str
    load: Callable[[], pd.DataFrame]


@dataclass(frozen=True)
class Fit:
    """One process that is timed, a few times over.

    Attributes
    ----------
    side : {"ours", "peer"}
        Whose worker does it.
    table, formula, family
        The model, in the words of that side.
    task : str
        Which task of the worker it is.
    sampling : mapping
        Arguments of the fit that are not those of all fits (draws, warm-up, chains, seed).
    caches : tuple of {"cold", "warm"}
        Whether it is run with an empty compilation cache, and then again with the one it left.
    repeats : int or None
        How often; what the user asked for if None.
    """

    side: Literal["ours", "peer"]
    table: Table
    formula: tuple[str, ...]
    family: str = "gaussian"
    task: Literal["fit", "imports", "gradient"] = "fit"
    sampling: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    caches: tuple[Literal["cold", "warm"], ...] = ("cold", "warm")
    repeats: int | None = None


@dataclass(frozen=True)
class Target:
    """A number that has to be above or below a bound."""

    text: str
    sense: Literal["<", ">"]
    bound: float
    value: Callable[[Measured], float]

    def met(self, value: float) -> bool:
        """Say whether a value is on the right side."""
        return value < self.bound if self.sense == "<" else value > self.bound


@dataclass(frozen=True)
class Benchmark:
    """A model, the processes that are timed, and what they have to reach."""

    name: str
    fits: Mapping[str, Fit]
    targets: tuple[Target, ...]
    notes: tuple[str, ...] = ()


#: Of every fit, unless it says otherwise: chains, and kept draws of each.
CHAINS, DRAWS = 4, 1000
NO_CORRELATION = (
    "Bambi has no correlated effects and no LKJ prior: its effects are independent, ours are not."
)


def compared(
    name: str,
    table: Table,
    formula: tuple[str, ...],
    family: str = "gaussian",
    *,
    faster: float,
    sooner: float,
    peer_formula: tuple[str, ...] | None = None,
    peer_family: str | None = None,
    targets: tuple[Target, ...] = (),
    notes: tuple[str, ...] = (),
) -> Benchmark:
    """Make the benchmark of a model that both sides fit.

    Parameters
    ----------
    name : str
        Its name in the table.
    table : Table
        The data.
    formula, family
        The model in our words; the peer's are the same unless `peer_formula` and `peer_family` say
        otherwise.
    faster : float
        The least ratio of ESS per sampling second, ours to the peer's.
    sooner : float
        The bound of the ratio of seconds of a cold process.
    targets, notes
        What else it has to reach, and what a reader of the table has to know.
    """
    return Benchmark(
        name,
        {
            "ours": Fit("ours", table, formula, family),
            "peer": Fit("peer", table, peer_formula or formula, peer_family or family),
        },
        (
            Target(
                "ESS per sampling second, ours / peer",
                ">",
                faster,
                lambda m: m.ratio("ess_per_sampling_second"),
            ),
            Target(
                "seconds of a cold process, ours / peer",
                "<",
                sooner,
                lambda m: m.ratio("process_seconds"),
            ),
            *targets,
        ),
        notes,
    )


def median(text: str, sense: Literal["<", ">"], bound: float, figure: str, per: float = 1.0):
    """Make a target of a median of our cold runs, divided by a unit."""
    return Target(text, sense, bound, lambda m: m.median("ours", figure) / per)


# -- data ----------------------------------------------------------------------------------------


def dataset(name: str, **columns: Column) -> Table:
    """One of bayesmm's data sets.

    Parameters
    ----------
    name : str
        Its name.
    **columns
        Columns to be made of the others, as in `pandas.DataFrame.assign`.
    """
    return Table(name, lambda: bm.datasets.load(name).assign(**columns))


def is_yes(column: str) -> Column:
    """The column as 1 where it is "Y" and 0 elsewhere."""
    return lambda data: (data[column] == "Y").astype(int)


def standardised(column: str) -> Column:
    """The column with mean 0 and standard deviation 1."""
    return lambda data: (data[column] - data[column].mean()) / data[column].std()


def simulated(rows: int, groups: int) -> Table:
    """Gaussian data with random intercepts and slopes, correlated 0.3, groups of equal size."""

    def make() -> pd.DataFrame:
        rng = np.random.default_rng(2026)
        group = rng.permutation(np.arange(rows) % groups)
        intercept, slope = rng.multivariate_normal([0, 0], [[0.25, 0.045], [0.045, 0.09]], groups).T
        x = rng.normal(size=rows)
        y = 1 + intercept[group] + (0.5 + slope[group]) * x + rng.normal(size=rows)
        # Six digits: a text of a sensible size, and no property of the model hangs on more.
        return pd.DataFrame({"y": y.round(6), "x": x.round(6), "g": group})

    return Table(f"simulated-{rows}-{groups}", make)


SLOPES = ("y ~ x + (x | g)",)
SLEEPSTUDY = ("Reaction ~ Days + (Days | Subject)",)
#: Of the run of insteval as it stands, draws a chain: all that there is time for.
PLAIN_DRAWS = 50
INSTEVAL = ("y ~ service + (1 | s) + (1 | d) + (1 | dept:service)",)

#: Maximum-likelihood estimates of INSTEVAL. lme4 1.1-31 has, without `service`, the sds 0.324664,
#: 0.512409, 0.110143, 1.176840 and the intercept 3.255212 (logLik -118826.645896). These are with
#: it: the same profiled deviance, minimised by a script of a page which gives lme4's numbers, to
#: the last digit of its logLik and 5e-6 in the sds, where `service` is left out.
INSTEVAL_ML = {
    "b[Intercept]": 3.280734,
    "b[service[1]]": -0.054059,
    "sd_s[Intercept]": 0.324669,
    "sd_d[Intercept]": 0.512390,
    "sd_dept:service[Intercept]": 0.104615,
    "sigma": 1.176844,
}

# -- the records ---------------------------------------------------------------------------------

BENCHMARKS = (
    compared(
        "sleepstudy",
        dataset("sleepstudy"),
        SLEEPSTUDY,
        faster=5,
        sooner=1,
        notes=(NO_CORRELATION,),
    ),
    compared(
        "contraception",
        dataset("contraception", use=is_yes("use"), age=lambda data: data["age"] / 10),
        ("use ~ age + I(age**2) + urban + livch + (1 + urban | district)",),
        "bernoulli",
        faster=4,
        sooner=0.5,
        notes=(
            NO_CORRELATION,
            "Age is in decades on both sides. With years, age squared goes up to 372, and the "
            "peer's chains, which start with coefficients of about 1, get stuck where all "
            "probabilities are 0 or 1 (seeds 1 and 2 of 3: R-hat 2.9 and 3.0).",
        ),
    ),
    compared(
        "grouseticks",
        dataset("grouseticks", cHEIGHT=lambda data: data["cHEIGHT"] / 100),
        ("TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",),
        "poisson",
        faster=10,
        sooner=0.7,
        targets=(
            median("our divergences, in the worst run", "<", 1, "divergences"),
            median("our smallest ESS", ">", 800, "min_ess"),
        ),
        notes=(
            "Height is divided by 100 on both sides, as in tests/reference: as it is, the peer's "
            "chains did not all arrive with 2 of 3 seeds (R-hat 1.6).",
        ),
    ),
    compared(
        "verbagg",
        dataset("verbagg", r2=is_yes("r2"), Anger=standardised("Anger")),
        ("r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",),
        "bernoulli",
        faster=8,
        sooner=0.6,
        notes=("Anger is standardised on both sides, as in tests/reference.",),
    ),
    compared(
        "salamanders",
        dataset("salamanders"),
        ("count ~ spp * mined + (1 | site)", "zi ~ mined"),
        "zero_inflated_negbinomial",
        faster=3,
        sooner=0.7,
        peer_formula=("count ~ spp * mined + (1 | site)", "psi ~ mined"),
        peer_family="zero_inflated_negativebinomial",
        notes=("Bambi's psi is 1 - zi: its coefficients are compared with the other sign.",),
    ),
    compared(
        "egsingle",
        dataset("egsingle"),
        ("math ~ year + grade + (year | childid) + (1 | schoolid)",),
        faster=10,
        sooner=0.7,
        targets=(median("seconds of our cold process", "<", 15, "process_seconds"),),
        notes=(NO_CORRELATION,),
    ),
    Benchmark(
        "insteval",
        {
            "ours": Fit("ours", dataset("insteval"), INSTEVAL, caches=("cold",), repeats=1),
            "plain": Fit(
                "ours",
                dataset("insteval"),
                INSTEVAL,
                sampling={"parameterization": "noncentered", "warmup": 100, "draws": 100},
                caches=("cold",),
                repeats=1,
            ),
        },
        (
            Target(
                "ESS per sampling second, ours / draws per sampling second, plain non-centred",
                ">",
                5,
                lambda m: (
                    m.median("ours", "ess_per_sampling_second")
                    * m.median("plain", "sampling_seconds")
                    / (CHAINS * PLAIN_DRAWS)
                ),
            ),
            median("seconds of our cold process", "<", 240, "process_seconds"),
            median("our smallest ESS", ">", 1000, "min_ess"),
            Target(
                "maximum-likelihood estimates outside our central 95%",
                "<",
                1,
                lambda m: m.outside("ours", INSTEVAL_ML),
            ),
        ),
        (
            "Each is run once. The plain run would take hours: it has 50 draws after 50 of "
            "warm-up, in the proportion of a full run, and each of its draws is counted as an "
            "effective one, which flatters it.",
        ),
    ),
    Benchmark(
        "million",
        {
            "ours": Fit("ours", simulated(1_000_000, 10_000), SLOPES),
            "gradient, 100,000 rows": Fit(
                "ours",
                simulated(100_000, 10_000),
                SLOPES,
                task="gradient",
                caches=("warm",),
                repeats=1,
            ),
            "gradient, 1,000,000 rows": Fit(
                "ours",
                simulated(1_000_000, 10_000),
                SLOPES,
                task="gradient",
                caches=("warm",),
                repeats=1,
            ),
        },
        (
            median("seconds of our cold process", "<", 60, "process_seconds"),
            median("our peak memory, GB", "<", 2, "peak_bytes", per=1e9),
            Target(
                "seconds of a gradient, 1,000,000 / 100,000 rows of 10,000 groups",
                "<",
                1.3,
                lambda m: m.ratio(
                    "gradient_seconds",
                    "warm",
                    "gradient, 1,000,000 rows",
                    "gradient, 100,000 rows",
                ),
            ),
        ),
    ),
    Benchmark(
        "growth",
        {
            "base": Fit("ours", simulated(100_000, 1_000), SLOPES, caches=("cold",)),
            "rows x 10": Fit("ours", simulated(1_000_000, 1_000), SLOPES, caches=("cold",)),
            "groups x 10": Fit("ours", simulated(100_000, 10_000), SLOPES, caches=("cold",)),
        },
        (
            Target(
                "sampling seconds, 1,000,000 / 100,000 rows of 1,000 groups",
                "<",
                1.3,
                lambda m: m.ratio("sampling_seconds", over="rows x 10", to="base"),
            ),
            Target(
                "sampling seconds, 10,000 / 1,000 groups in 100,000 rows",
                "<",
                12,
                lambda m: m.ratio("sampling_seconds", over="groups x 10", to="base"),
            ),
        ),
    ),
    Benchmark(
        "warmstart",
        {
            "ours": Fit(
                "ours",
                dataset("sleepstudy"),
                SLEEPSTUDY,
                caches=("warm",),
                repeats=5,
            ),
            "imports": Fit(
                "ours",
                dataset("sleepstudy"),
                SLEEPSTUDY,
                task="imports",
                caches=("warm",),
                repeats=5,
            ),
        },
        (
            Target(
                "seconds of a warm process beyond the imports of jax, numpyro, xarray, pandas",
                "<",
                2,
                lambda m: (
                    m.median("ours", "process_seconds", "warm")
                    - m.median("imports", "process_seconds", "warm")
                ),
            ),
        ),
    ),
)
