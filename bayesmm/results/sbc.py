"""Simulation-based calibration: whether the sampler draws from the posterior it is meant to.

Parameters are drawn from the prior, a response is simulated from them, and the model is fitted to
it. Whatever the model, a true value is then one more draw of its own posterior, so that its rank
among L independent draws is each of 0, 1, ..., L with the same probability (Talts et al. 2018).
Ranks of many simulations that are not uniform convict the sampler, the density or the simulation.

Each data set goes through `bayesmm.engines.sample`, as a fit does, and only its response differs:
shapes are those of the first, and its executables are found again. A posterior is reduced to ranks,
on the device, before the next one is made.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.chunks import at_once
from bayesmm.engines import (
    NUTS,
    Run,
    executable,
    make_key,
    resolve_seed,
    sample,
    use_compilation_cache,
    whole_number,
)
from bayesmm.engines.progress import Progress
from bayesmm.errors import BayesmmError, SamplerError, warn
from bayesmm.model import Inputs, Program, log_likelihood
from bayesmm.model.program import Parameterization
from bayesmm.prepare import Prepared
from bayesmm.results.convert import dimensions
from bayesmm.results.ranks import FIXED, Calibration

#: Posterior draws that a true value is ranked among: 100 ranks are possible.
RANKED_AMONG = 99
#: Levels of a group whose effects are ranked: one is like another, and each is one more test.
MOST_LEVELS = 10
#: Elements of each of the sampler's variables whose R-hat and ESS are found: it takes 2 ms for one.
MOST_LOOKED_AT = 50
#: R-hat from which the chains of a data set are counted as not converged.
MAX_RHAT = 1.05
#: Responses above this are no data: from there on whole numbers are not told apart, and squares of
#: others overflow when they are summed.
LARGEST = {True: 2.0**53, False: 1e100}
#: The quantity that is ranked beside the parameters.
LOG_LIKELIHOOD = "log_likelihood"


def sbc(
    model: Any,
    n: int = 100,
    draws: int = 500,
    *,
    warmup: int | None = None,
    chains: int = 2,
    seed: int | None = None,
    parameterization: Literal["auto", "noncentered", "centered"] = "auto",
    engine: NUTS | None = None,
    progress: bool = True,
) -> Calibration:
    """Check that a model's sampler is calibrated, on data simulated from the model itself.

    Parameters
    ----------
    model : Model
        With priors that one would simulate data from: see the notes. Its response is not used,
        beyond what its default priors were scaled to.
    n : int
        How many data sets are simulated and fitted.
    draws : int
        Posterior draws a chain. Of all draws 99, evenly spread, are ranked among: they have to be
        nearly independent.
    warmup : int, optional
        Warm-up draws a chain; what the sampler needs if left out.
    chains : int
        Chains of each fit.
    seed : int, optional
        The same seed gives the same ranks; without one a fresh seed is taken and recorded.
    parameterization : {"auto", "noncentered", "centered"}
        As for `Model.fit`.
    engine : NUTS, optional
        As for `Model.fit`.
    progress : bool
        Whether to show a bar of the data sets, where somebody watches.

    Returns
    -------
    Calibration

    Raises
    ------
    SamplerError
        For an argument that makes no sense, a response that cannot be simulated (censored or
        weighted rows), or if not one data set could be ranked.

    Notes
    -----
    The default priors are wide, so that data speak for themselves. Their own draws are not data
    that anyone would see (a group sd of 50 on the log scale makes counts overflow), and what the
    sampler does with them says little. Pass priors under which simulated data look like data.
    Responses that are none are counted among the failures. Leaving them out keeps the ranks
    uniform, because it is decided by the response alone.

    The ranks of parameters cannot tell a posterior from the prior, which has uniform ranks too. So
    the log-likelihood is ranked with them (Modrák et al. 2023).

    References
    ----------
    Talts, Betancourt, Simpson, Vehtari and Gelman (2018), arXiv:1804.06788. Säilynoja, Bürkner and
    Vehtari (2022), Statistics and Computing 32:32. Modrák et al. (2023), Bayesian Analysis.

    Examples
    --------
    >>> import bayesmm as bm
    >>> import numpyro.distributions as dist
    >>> data = bm.datasets.load("dyestuff")
    >>> priors = {"Intercept": dist.Normal(1500, 50), "sd": bm.HalfStudentT(10, 50)}
    >>> model = bm.Model("Yield ~ 1 + (1 | Batch)", data, priors=priors)
    >>> calibration = bm.sbc(model, n=20, draws=100, seed=1)
    >>> calibration.simulations, calibration.draws
    (20, 99)
    >>> calibration.p_value > 0.01
    True
    """
    prepared = getattr(model, "_prepared", None)
    if not isinstance(prepared, Prepared):
        raise SamplerError(f"model is a {type(model).__name__}: give a bm.Model(...).")
    n = whole_number("n", n, 2)
    draws = whole_number("draws", draws, 10)
    chains = whole_number("chains", chains, 1)
    warmup = None if warmup is None else whole_number("warmup", warmup, 1)
    seed = resolve_seed(seed)
    known = ("auto", *get_args(Parameterization))
    if parameterization not in known:
        raise SamplerError(f"parameterization={parameterization!r} is not one of {known}.")
    if engine is not None and (isinstance(engine, type) or not hasattr(engine, "run")):
        raise SamplerError(f"engine={engine!r}: write an engine, such as bm.NUTS().")
    _check_response(prepared)
    use_compilation_cache()
    count = min(RANKED_AMONG, draws * chains)
    with jax.enable_x64(True):
        study = _Study(
            prepared,
            make_key(seed),
            count,
            lambda inputs, key: sample(
                prepared.program(),
                inputs,
                parameterization=parameterization,
                engine=engine,
                draws=draws,
                warmup=warmup,
                chains=chains,
                key=key,
                progress=False,
            ),
        )
        study.run(n, progress)
    table = pd.DataFrame(study.failures, columns=["simulation", "kind", "ranked", "detail"])
    if not study.ranks:
        raise SamplerError(
            f"None of {n} simulated data sets could be ranked. The first: "
            f"{table['detail'].iloc[0]} Look at model.prior_predictive(), and give priors under "
            "which simulated data look like data."
        )
    return Calibration(study.dataset(), count, n, table, seed)


def _check_response(prepared: Prepared) -> None:
    """Refuse a response that a simulated one cannot take the place of."""
    response = prepared.response
    censored = [word for word in ("left", "right", "interval") if word in response.data]
    if censored:
        raise SamplerError(
            "model: its response is censored. Where a simulated response would have been censored "
            "is not part of the model. Leave censored() out to check the rest."
        )
    weights = response.weights
    # A row of weight 0 is not looked at, and one of weight 1 is a row.
    if weights is not None and not np.isin(weights, (0.0, 1.0)).all():
        raise SamplerError(
            "model: its rows are weighted. A weight multiplies the log-likelihood, and there is no "
            "response to simulate of which that would be the density. Leave weighted() out."
        )


class _Study:
    """Simulates, fits and ranks, one data set after the other.

    Parameters
    ----------
    prepared : Prepared
        The model.
    key : jax.Array
        What all random numbers come from.
    count : int
        How many posterior draws are ranked among.
    fit : callable
        ``fit(inputs, key)`` draws from the posterior.

    Attributes
    ----------
    truths : list of dict
        What was drawn from the prior, by simulation.
    ranks : dict of int to dict
        By simulation and variable.
    failures : list of tuple
        The rows of `Calibration.failures`.
    """

    def __init__(
        self,
        prepared: Prepared,
        key: jax.Array,
        count: int,
        fit: Callable[[Inputs, jax.Array], Run],
    ):
        self._prepared, self._key, self._count, self._fit = prepared, key, count, fit
        self.truths: list[dict[str, np.ndarray]] = []
        self.ranks: dict[int, dict[str, np.ndarray]] = {}
        self.failures: list[tuple[int, str, bool, str]] = []

    def run(self, n: int, progress: bool) -> None:
        """Look at n data sets; an interrupt keeps those that are ranked."""
        bar = Progress(n, progress, "data set")
        try:
            for i in range(n):
                self._one(i)
                divergences = sum(kind == "divergences" for _, kind, _, _ in self.failures)
                bar.update(1, "fitting", divergences=divergences)
        except KeyboardInterrupt:
            if not self.ranks:
                raise
            warn(f"Interrupted: {len(self.ranks)} of {n} simulated data sets are ranked.")
        finally:
            bar.close()

    def _one(self, i: int) -> None:
        inputs, key = self._prepared.inputs, jax.random.fold_in(self._key, i)
        # Chains use the numbers from 0 on of this key.
        key_truth, key_rank = (jax.random.fold_in(key, 2**32 - 1 - j) for j in (0, 1))
        truth, y = self._simulated(key_truth)
        self.truths.append(truth)
        why = _impossible(self._prepared, y, truth)
        if why:
            self.failures.append((i, "response", False, why))
            return
        try:
            run = self._fit(replace(inputs, design=replace(inputs.design, y=y)), key)
            if run.draws.interrupted:
                raise KeyboardInterrupt
            self.ranks[i] = self._ranked(run, truth, key_rank)
        # Whatever it is, it is counted, and the other data sets are looked at.
        except Exception as error:
            self.failures.append((i, "fit", False, f"{type(error).__name__}: {error}"))
            return
        doubts = _doubts(run, self._count)
        self.failures += [(i, kind, True, detail) for kind, detail in doubts]

    def _simulated(self, key: jax.Array) -> tuple[dict[str, np.ndarray], np.ndarray]:
        arguments = key, self._prepared.inputs
        try:
            run = executable(_simulator(self._prepared.program()), *arguments)
        except NotImplementedError:
            family = self._prepared.spec.family.name
            raise SamplerError(
                f"model: the distribution of family={family!r} cannot be drawn from."
            ) from None
        return jax.tree.map(np.asarray, run(*arguments))

    def _ranked(
        self, run: Run, truth: dict[str, np.ndarray], key: jax.Array
    ) -> dict[str, np.ndarray]:
        """Return how many of the chosen draws lie below the truth, for each quantity."""
        flat = {name: x.reshape(-1, *x.shape[2:]) for name, x in run.draws.positions.items()}
        total = len(next(iter(flat.values())))
        chosen = np.linspace(0, total - 1, self._count).round().astype(int)
        thinned = {name: x[chosen] for name, x in flat.items()}
        numbers = self._prepared.numbers_per_draw + run.settled.numbers_per_draw
        arguments = thinned, key, truth, run.settled.inputs
        batch = min(at_once(numbers), self._count)
        ranking = executable(_ranking(run.settled.program, batch), *arguments)
        below, equal, finite = jax.tree.map(np.asarray, ranking(*arguments))
        if not finite:
            raise BayesmmError("some posterior draws are not finite.")
        # A true value that draws are equal to is put among them at random.
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return {name: below[name] + rng.integers(0, equal[name] + 1) for name in below}

    def dataset(self) -> xr.Dataset:
        """Return the ranks, labelled; `FIXED` where a value has none of its own."""
        spec = self._prepared.spec
        dims, coords = dimensions(spec)
        picked = {
            grouping.name: np.linspace(
                0, len(grouping.labels) - 1, min(len(grouping.labels), MOST_LEVELS)
            ).astype(int)
            for grouping in spec.schema.groupings
        }
        symmetric = {group.variable("cor") for layout in spec.layout for group in layout.groups}
        variables = {}
        for name in [*dims, LOG_LIKELIHOOD]:
            own = dims.get(name, ())
            values = np.stack([found[name] for found in self.ranks.values()])
            fixed = np.ptp([truth[name] for truth in self.truths], axis=0) == 0
            if name in symmetric:
                fixed |= np.triu(np.ones_like(fixed))
            values = np.where(fixed, FIXED, values)
            for axis, dim in enumerate(own, start=1):
                values = values.take(picked[dim], axis=axis) if dim in picked else values
            variables[name] = (("simulation", *own), values)
        labels = {dim: x[picked[dim]] if dim in picked else x for dim, x in coords.items()}
        return xr.Dataset(variables, coords={"simulation": list(self.ranks), **labels})


@lru_cache(maxsize=32)
def _simulator(program: Program):
    def simulate(key, inputs):
        truth, y = program.prior_draw(key, inputs)
        y = jnp.asarray(y, dtype=inputs.design.y.dtype)
        design = replace(inputs.design, y=y)
        pointwise = log_likelihood(program.family, program.layout, design, truth)
        return {**truth, LOG_LIKELIHOOD: pointwise.sum()}, y

    return jax.jit(simulate)


@lru_cache(maxsize=32)
def _ranking(program: Any, batch: int):
    def rank(positions, key, truth, inputs):
        def one(at):
            position, i = at
            found = program.summarise(position, inputs, jax.random.fold_in(key, i))
            values = {**found.quantities, LOG_LIKELIHOOD: found.log_likelihood.sum()}
            finite = jnp.stack([jnp.isfinite(values[name]).all() for name in truth]).all()
            below = {name: values[name] < truth[name] for name in truth}
            equal = {name: values[name] == truth[name] for name in truth}
            return below, equal, finite

        numbers = jnp.arange(len(next(iter(positions.values()))))
        below, equal, finite = jax.lax.map(one, (positions, numbers), batch_size=batch)
        return *jax.tree.map(lambda x: x.sum(axis=0), (below, equal)), finite.all()

    return jax.jit(rank)


def _impossible(prepared: Prepared, y: np.ndarray, truth: dict[str, np.ndarray]) -> str:
    """Why a simulated response is no data, or an empty text."""
    kind, counted = prepared.spec.family.response, prepared.response.counted
    trials = prepared.response.data["trials"][counted] if kind.trials else None
    bad = kind.check(y[counted], trials)
    if bad.any():
        value = y[counted][bad][0]
        return f"{bad.sum()} simulated responses are not possible (the first is {value})."
    largest = np.abs(y[counted]).max(initial=0.0)
    if largest > LARGEST[kind.integer]:
        return f"The largest simulated response is {largest:.3g}."
    if not np.isfinite(truth[LOG_LIKELIHOOD]):
        return "The log-likelihood of the simulated response is not finite."
    return ""


def _doubts(run: Run, count: int) -> Iterator[tuple[str, str]]:
    """What speaks against the draws of one data set; they are ranked all the same."""
    from arviz_stats.base import array_stats

    diverging = int(run.draws.statistics["diverging"].sum())
    if diverging:
        yield "divergences", f"{diverging} divergent transitions."
    if run.settled.note:
        yield "fallback", run.settled.note
    # In the sampler's own coordinates: whatever has not mixed shows there.
    flat = [x.reshape(*x.shape[:2], -1) for x in run.draws.positions.values()]
    some = [x[..., :: 1 + x.shape[2] // MOST_LOOKED_AT] for x in flat]
    positions = np.concatenate(some, axis=2)
    if positions.shape[2] == 0:
        return
    with np.errstate(all="ignore"):
        rhat: Any = array_stats.rhat(positions, chain_axis=0, draw_axis=1)
        ess: Any = array_stats.ess(positions, chain_axis=0, draw_axis=1)
    # Chains that do not move at all have neither; they are the worst.
    if not rhat.max() <= MAX_RHAT:
        yield "rhat", f"R-hat {rhat.max():.2f}."
    # Half as many widen the ranks by 1% of their sd, which no number of data sets here would show.
    if not ess.min() >= count / 2:
        yield "ess", f"{ess.min():.0f} effective draws."
