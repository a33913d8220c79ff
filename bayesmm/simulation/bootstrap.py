"""The parametric bootstrap: a statistic of data that the fitted model makes."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.engines import make_key, resolve_seed, whole_number
from bayesmm.engines.progress import Progress
from bayesmm.errors import BayesmmError, listing
from bayesmm.interpret.variables import check_fit
from bayesmm.results import Fit
from bayesmm.results.convert import effect_variables
from bayesmm.results.posterior import flat
from bayesmm.simulation.blueprint import Blueprint, fitted_blueprint
from bayesmm.simulation.calls import Traced, called, check_callable, numbers_of, same_names
from bayesmm.simulation.source import UNSOUND, Source, checked, plain_columns
from bayesmm.spec import ModelSpec

GROUP_EFFECTS = ("new", "fitted")
PARAMETERS = ("mean", "median", "draws")


def parametric_bootstrap(
    fit: Fit,
    statistic: Callable[[Any], Any],
    n: int = 1000,
    *,
    group_effects: Literal["new", "fitted"] = "new",
    parameters: Literal["mean", "median", "draws"] = "mean",
    seed: int | None = None,
    vectorized: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Return a statistic of many data sets that a fitted model makes.

    Parameters
    ----------
    fit : Fit
        A fitted model.
    statistic : callable
        ``statistic(data)`` gets a data frame of the rows that the model was fitted to, with the
        columns that the formula uses and a new response, and returns a number, or a dict or Series
        of numbers. It may fit a model itself.
    n : int
        How many data sets.
    group_effects : {"new", "fitted"}
        Whether the clusters' effects are drawn anew from N(0, Sigma) for each data set, as
        ``bootMer(use.u = FALSE)`` of lme4 does, or are those of the fit.
    parameters : {"mean", "median", "draws"}
        The parameters that data are made with: the posterior mean or median of each, or for each
        data set a draw from the posterior, so that what is not known of the parameters is in the
        spread (a posterior predictive check; draws are used equally often).
    seed : int, optional
        The same seed gives the same data sets, and more of them start with fewer.
    vectorized : bool
        Whether `statistic` is a JAX function of a mapping from columns to arrays. Data sets and
        statistics are then made by one compiled program. Categories and texts are codes 0, 1, ...
        in it, a response of categories too.
    progress : bool
        Whether to show a bar, where somebody watches.

    Returns
    -------
    pandas.DataFrame
        A row for each data set (``simulation``), and a column for each number that the statistic
        returns (``statistic``, where it has no name). ``.attrs["observed"]`` has the numbers of the
        real data by column, ``.attrs["seed"]`` the seed.

    Raises
    ------
    BayesmmError
        For what the statistic raises, with the number of the data set; for values of it that are no
        numbers, or not the same ones each time; for a response that a simulated one cannot replace
        (censored or weighted rows); and for arguments that make no sense.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 6.5. Bates, Mächler,
    Bolker and Walker (2015), Journal of Statistical Software 67(1).

    Examples
    --------
    Does the model make as many herds without a new case as there are?

    >>> import bayesmm as bm
    >>> data = bm.datasets.load("cbpp")
    >>> formula = "prop(incidence, size) ~ period + (1 | herd)"
    >>> fit = bm.fit(formula, data, family="binomial", seed=1)
    >>> def without(data):
    ...     return (data["incidence"] == 0).sum()
    >>> found = bm.parametric_bootstrap(fit, without, 200, seed=1)
    >>> float(found["statistic"].median()), found.attrs["observed"]
    (19.0, {'statistic': 22.0})
    """
    prepared = check_fit(fit)
    check_callable("statistic", statistic, "lambda data: data['y'].mean()")
    n = whole_number("n", n, 1)
    for argument, value, known in (
        ("group_effects", group_effects, GROUP_EFFECTS),
        ("parameters", parameters, PARAMETERS),
    ):
        if value not in known:
            raise BayesmmError(f"{argument}={value!r}: write one of {listing(known)}.")
    if not isinstance(vectorized, bool):
        raise BayesmmError(f"vectorized={vectorized!r}: write True or False.")
    seed = resolve_seed(seed)
    plan = fitted_blueprint(prepared)
    posterior = fit.posterior if group_effects == "new" else fit.whole_posterior()
    source = Source(plan, *_quantities(plan.spec, posterior, group_effects, parameters, seed))
    make = _compiled if vectorized else _in_python
    bar = Progress(n, progress, "data set")
    try:
        observed, columns = make(source, statistic, n, seed, bar)
    finally:
        bar.close()
    table = pd.DataFrame(columns, index=pd.RangeIndex(n, name="simulation"))
    table.attrs.update(observed=observed, seed=seed)
    return table


def _quantities(
    spec: ModelSpec, posterior: xr.Dataset, group_effects: str, parameters: str, seed: int
) -> tuple[dict[str, np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """The parameters that data sets are made with, draws first, and which is used for which."""
    left_out = effect_variables(spec) if group_effects == "new" else set()
    draws = {name: x for name, x in flat(posterior).items() if name not in left_out}
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    if parameters == "draws":
        order = np.random.default_rng(seed).permutation(total)
        return draws, lambda numbers: order[numbers % total]
    middle = np.mean if parameters == "mean" else np.median
    return {name: middle(x, axis=0)[None] for name, x in draws.items()}, np.zeros_like


def _in_python(
    source: Source, statistic: Callable, n: int, seed: int, bar: Progress
) -> tuple[dict[str, float], dict[str, list[float]]]:
    plan = source.blueprint
    where = "on the real data"
    found = called("statistic", statistic, plan.data.copy(), where)
    observed = numbers_of("statistic", found, where)
    columns: dict[str, list[float]] = {name: [] for name in observed}
    for block in source.blocks(make_key(seed), n):
        for number, y in enumerate(block.y, block.first):
            where = f"in simulation {number}"
            data = plan.filled(_possible(plan, y, where))
            found = numbers_of("statistic", called("statistic", statistic, data, where), where)
            same_names("statistic", observed, found, where)
            for name, value in found.items():
                columns[name].append(value)
            bar.update(1, "simulating")
    return observed, columns


def _possible(plan: Blueprint, y: np.ndarray, where: str) -> np.ndarray:
    try:
        return checked(plan.responses, plan.trials, y)
    except BayesmmError as error:
        raise BayesmmError(f"{where.capitalize()}: {error}") from None


def _compiled(
    source: Source, statistic: Callable, n: int, seed: int, bar: Progress
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    plan, traced = source.blueprint, Traced("statistic", statistic)
    columns, y = plain_columns(plan), plan.prepared.response.values
    with jax.enable_x64(True):
        real = jax.jit(lambda y, columns: traced({**columns, **plan.responses.arrays(y)}))
        observed = [float(value) for value in real(y, columns)]
    parts = []
    for first, sound, values in source.compiled(make_key(seed), n, traced):
        if not sound.all():
            raise BayesmmError(f"In simulation {first + int(np.argmin(sound))}: {UNSOUND}")
        parts.append(values)
        bar.update(len(sound), "simulating")
    table = [np.concatenate(own) for own in zip(*parts, strict=True)]
    return dict(zip(traced.names, observed, strict=True)), dict(
        zip(traced.names, table, strict=True)
    )
