"""Power by simulation: how often a test succeeds on data from known parameters.

A test is a function of a data set, or a hypothesis about the posterior of a model that is fitted to
it. Both become a `_Verdict`, which says of each data set whether the test succeeded, or why it
could not say.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import special

from bayesmm.api import Model
from bayesmm.engines import make_key, resolve_seed, whole_number
from bayesmm.engines.progress import Progress
from bayesmm.errors import BayesmmError, DataError, did_you_mean, listing, warn
from bayesmm.families import Family
from bayesmm.interpret import hypothesis
from bayesmm.interpret.claims import Claim, read_claims
from bayesmm.interpret.variables import check_conf_level
from bayesmm.results import Fit
from bayesmm.results.convert import dimensions, effect_variables
from bayesmm.schema import column_names
from bayesmm.simulation.blueprint import Blueprint, blueprint
from bayesmm.simulation.calls import Traced, called, check_callable
from bayesmm.simulation.simulate import source_of
from bayesmm.simulation.source import UNSOUND, Source, checked

#: The name of the design, where there is one.
ONLY = "data"
#: What a fit is told where the caller says nothing: enough for tail probabilities of 0.05.
SAMPLING = {"draws": 500, "chains": 2}
#: R-hat of what is tested, and the share of divergences, from which a fit is counted as poor: those
#: of a report are for longer fits.
MAX_RHAT, MAX_DIVERGENCES = 1.05, 0.01
#: What else may be said of fits.
OPTIONS = ("priors", "draws", "warmup", "chains", "parameterization", "engine")

#: Whether the test succeeded, or why it could not say.
type _Outcome = bool | str


def power(
    formula: str | Sequence[str],
    data: Any,
    params: Mapping[str, Any],
    test: Callable[[Any], Any] | str,
    n: int = 1000,
    *,
    family: str | Family = "gaussian",
    link: str | Mapping[str, str] | None = None,
    functions: Mapping[str, Callable] | None = None,
    alpha: float = 0.05,
    seed: int | None = None,
    vectorized: bool = False,
    conf_level: float = 0.95,
    progress: bool = True,
    **sampling: Any,
) -> pd.DataFrame:
    """Estimate how often a test succeeds on data of a design, when parameters are known.

    Parameters
    ----------
    formula, params, family, link, functions
        As for `simulate`.
    data : dataframe, or mapping of labels to dataframes
        The design; several give a power curve.
    test : callable or str
        A function of a simulated data frame that returns a bool, or a p-value as a float; or a
        hypothesis as `hypothesis` takes it, ``"b[treatment] > 0"``. Then the model of the formula
        is fitted to each data set. With ``>`` or ``<`` it succeeds if the posterior probability is
        at least 1 - alpha; with ``=`` if the equal-tailed interval of left - right with that
        probability excludes 0.
    n : int
        How many data sets for each design.
    alpha : float
        A p-value succeeds if it is `alpha` or less; see also `test`.
    seed : int, optional
        The same seed gives the same data sets: those of `simulate` with this seed.
    vectorized : bool
        Whether `test` is a JAX function of a mapping from columns to arrays, as for
        `parametric_bootstrap`: data sets and tests are made by one compiled program.
    conf_level : float
        The probability of the interval of the power, which says how well n data sets tell it.
    progress : bool
        Whether to show a bar, where somebody watches.
    **sampling
        Of fits: ``priors`` as for `Model`; ``draws`` (500 a chain if left out), ``chains`` (2),
        ``warmup``, ``parameterization`` and ``engine`` as for `Model.fit`.

    Returns
    -------
    pandas.DataFrame
        A row for each design: ``power``, the share of successes; ``std_error``, its Monte Carlo
        error; ``conf_low``, ``conf_high``, the interval of Clopper and Pearson; ``n``, the data
        sets that count; ``failures``, those on which the test raised an error or returned NaN, and
        which do not count (where a test fails because of what it looks for, such as a constant
        response, what is left is biased). ``.attrs["failures"]`` says of each the design, the
        number of the data set, and what went wrong; ``.attrs["poor_fits"]`` which fits did not
        converge, and count all the same; ``.attrs["seed"]`` the seed.

    Raises
    ------
    BayesmmError
        If the test fails on every data set of a design; for a test that returns neither a bool nor
        a p-value; and as `simulate` does.

    Warns
    -----
    BayesmmWarning
        If the test failed on some data sets, if fits are poor, or if it was interrupted.

    References
    ----------
    Clopper and Pearson (1934), Biometrika 26:404-413. Green and MacLeod (2016), Methods in Ecology
    and Evolution 7:493-498.

    Examples
    --------
    Classes of 20 pupils: how often does a t test of the classes' means find a difference of half a
    standard deviation?

    >>> import bayesmm as bm
    >>> import numpy as np
    >>> import pandas as pd
    >>> from scipy.stats import ttest_ind
    >>> def design(classes):
    ...     label = np.arange(classes).repeat(20)
    ...     return pd.DataFrame({"label": label, "taught": label % 2})
    >>> def p_value(data):
    ...     means = data.groupby(["taught", "label"])["y"].mean()
    ...     return ttest_ind(means[0], means[1]).pvalue
    >>> params = {"b": {"Intercept": 0, "taught": 0.5}, "sd_label": 0.4, "sigma": 1}
    >>> designs = {classes: design(classes) for classes in [10, 20, 40]}
    >>> curve = bm.power("~ taught + (1 | label)", designs, params, p_value, 200, seed=1)
    >>> curve["power"].round(1).to_dict()
    {10: 0.3, 20: 0.6, 40: 1.0}
    """
    n = whole_number("n", n, 1)
    seed = resolve_seed(seed)
    _check_level("alpha", alpha)
    conf_level = check_conf_level(conf_level)
    model = {"family": family, "link": link, "functions": functions}
    designs = _designs(data)
    plans = {label: blueprint(formula, own, params, **model) for label, own in designs.items()}
    sources = {label: source_of(plan, params) for label, plan in plans.items()}
    poor: list[dict[str, Any]] = []
    verdicts = {
        label: _verdict(plan, test, alpha, vectorized, seed, functions, sampling, (label, poor))
        for label, plan in plans.items()
    }
    outcomes: dict[Any, list[_Outcome]] = {label: [] for label in plans}
    bar = Progress(n * len(plans), progress, "data set")
    try:
        for label, source in sources.items():
            for outcome in verdicts[label](source, n):
                outcomes[label].append(outcome)
                bar.update(1, "simulating")
            _check_some(outcomes[label], label, len(plans))
    except KeyboardInterrupt:
        if not any(outcomes.values()):
            raise
        done = sum(map(len, outcomes.values()))
        warn(f"Interrupted: {done} of {n * len(plans)} simulated data sets are tested.")
    finally:
        bar.close()
    if poor:
        warn(
            f"{len(poor)} fits are poor: what is tested has an R-hat above {MAX_RHAT}, or more "
            f"than {100 * MAX_DIVERGENCES:g}% of the draws diverged. They count all the same; "
            ".attrs['poor_fits'] names them. Give more draws=, or priors= that are not as wide."
        )
    table = _table({k: v for k, v in outcomes.items() if v}, conf_level, seed)
    table.attrs["poor_fits"] = poor
    return table


def _designs(data: Any) -> dict[Any, Any]:
    """The data frames by label."""
    if not isinstance(data, Mapping):
        return {ONLY: data}
    for label, own in data.items():
        try:
            column_names(own)
        except DataError:
            raise DataError(
                f"data[{label!r}] is a {type(own).__name__}. Write a data frame, or a mapping from "
                "labels to data frames: data={'20 people': small, '40 people': large}."
            ) from None
    if not data:
        raise DataError("data is an empty mapping: write at least one data frame.")
    return dict(data)


def _check_level(argument: str, value: Any) -> None:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (number and 0 < value < 1):
        raise BayesmmError(f"{argument}={value!r}: write a probability between 0 and 1: 0.05.")


def _verdict(
    plan: Blueprint,
    test: Any,
    alpha: float,
    vectorized: bool,
    seed: int,
    functions: Any,
    sampling: Mapping[str, Any],
    poor: tuple[Any, list[dict[str, Any]]],
) -> Callable[[Source, int], Iterator[_Outcome]]:
    """Return what makes the outcomes of a design; poor fits are noted under its label."""
    if not isinstance(vectorized, bool):
        raise BayesmmError(f"vectorized={vectorized!r}: write True or False.")
    unknown = [name for name in sampling if name not in OPTIONS]
    if unknown:
        raise BayesmmError(
            f"power() takes no argument {unknown[0]!r}.{did_you_mean(unknown[0], OPTIONS)} Of fits "
            f"it takes {listing(OPTIONS)}."
        )
    if isinstance(test, str):
        if vectorized:
            raise BayesmmError("vectorized=True is for a test that is a function: leave it out.")
        claim = _claim(test, plan)
        fits = _Fits(plan, claim, test, alpha, seed, functions, dict(sampling), *poor)
        return lambda source, n: _one_by_one(source, n, seed, fits)
    check_callable(
        "test",
        test,
        "lambda data: scipy.stats.ttest_ind(...).pvalue, or a hypothesis, such as 'b[x] > 0'",
    )
    if sampling:
        raise BayesmmError(
            f"{listing(sampling)} is for fits, and test is a function. Leave it out, or write a "
            "hypothesis: test='b[x] > 0'."
        )
    if vectorized:
        return lambda source, n: _compiled(source, n, seed, test, alpha)
    return lambda source, n: _one_by_one(
        source, n, seed, lambda data, number: _tested(test, data, number, alpha)
    )


# --- outcomes ---


def _one_by_one(
    source: Source, n: int, seed: int, test: Callable[[pd.DataFrame, int], _Outcome]
) -> Iterator[_Outcome]:
    plan = source.blueprint
    for block in source.blocks(make_key(seed), n):
        for number, y in enumerate(block.y, block.first):
            try:
                data = plan.filled(checked(plan.responses, plan.trials, y))
            except BayesmmError as error:
                yield str(error)
                continue
            yield test(data, number)


def _tested(test: Callable, data: pd.DataFrame, number: int, alpha: float) -> _Outcome:
    where = f"in simulation {number}"
    try:
        found = called("test", test, data, where)
    except BayesmmError as error:
        return str(error)
    value = np.asarray(found)
    if value.ndim or value.dtype.kind not in "bf":
        raise BayesmmError(
            f"test returned {found!r} {where}: return a bool, or a p-value as a float."
        )
    if value.dtype.kind == "b":
        return bool(value)
    return _of_p_value(float(value), alpha, where)


def _of_p_value(p: float, alpha: float, where: str) -> _Outcome:
    if np.isnan(p):
        return f"test returned NaN {where}."
    if not 0 <= p <= 1:
        raise BayesmmError(f"test returned {p:g} {where}: a p-value is between 0 and 1.")
    return p <= alpha


def _compiled(
    source: Source, n: int, seed: int, test: Callable, alpha: float
) -> Iterator[_Outcome]:
    traced = Traced("test", test)

    def outcome(columns):
        value, *others = traced(columns)
        number = value.dtype == bool or jnp.issubdtype(value.dtype, jnp.floating)
        if others or not number:
            raise BayesmmError(
                "test returned neither a bool nor a float: return whether it succeeded, or a "
                "p-value."
            )
        return value

    for first, sound, values in source.compiled(make_key(seed), n, outcome):
        for number, value in enumerate(values, first):
            if not sound[number - first]:
                yield UNSOUND
            elif values.dtype == bool:
                yield bool(value)
            else:
                yield _of_p_value(float(value), alpha, f"in simulation {number}")


def _claim(test: str, plan: Blueprint) -> Claim:
    dims, labels = dimensions(plan.spec)
    names = {name: [[f"{x}" for x in labels[dim]] for dim in own] for name, own in dims.items()}
    return read_claims(test, names)[0]


@dataclass(frozen=True)
class _Fits:
    """Fits the model to a data set, and asks the posterior for a hypothesis.

    Data sets differ in their responses alone, so what was compiled for the first is found again.
    """

    plan: Blueprint
    claim: Claim
    text: str
    alpha: float
    seed: int
    functions: Mapping[str, Callable] | None
    sampling: dict[str, Any]
    label: Any
    poor: list[dict[str, Any]]

    def __call__(self, data: pd.DataFrame, number: int) -> _Outcome:
        try:
            return self._succeeds(data, number)
        # Whatever it is, it is counted, and the other data sets are looked at.
        except Exception as error:
            return f"{type(error).__name__} in simulation {number}: {error}"

    def _succeeds(self, data: pd.DataFrame, number: int) -> bool:
        options = {**SAMPLING, **self.sampling}
        priors = options.pop("priors", None)
        family = self.plan.spec.family
        model = Model(list(self.plan.formula.texts), data, family, priors, functions=self.functions)
        own = np.random.SeedSequence([self.seed, number]).generate_state(1)[0]
        asked = {variable for variable, _ in self.claim.quantities}
        effects = bool(asked & effect_variables(self.plan.spec))
        fit = model.fit(
            seed=int(own), effects=effects, log_likelihood=False, progress=False, **options
        )
        draws: Any = hypothesis(fit, self.text, draws=True)
        if fit.idata["posterior"].attrs["interrupted"]:
            raise KeyboardInterrupt
        if _is_poor(fit, draws[self.text]):
            self.poor.append({"design": self.label, "simulation": number})
        difference = draws[self.text].to_numpy().ravel()
        if self.claim.sign:
            share = np.mean(np.sign(difference) == self.claim.sign)
            return bool(share >= 1 - self.alpha)
        low, high = np.quantile(difference, [self.alpha / 2, 1 - self.alpha / 2])
        return bool(low > 0 or high < 0)


def _is_poor(fit: Fit, difference: Any) -> bool:
    """Whether chains disagree about a difference, or met places that they could not enter."""
    from arviz_stats.base import array_stats

    values = difference.to_numpy()
    with np.errstate(all="ignore"):
        rhat: Any = array_stats.rhat(values, chain_axis=0, draw_axis=1) if len(values) > 1 else 1.0
    diverging = fit.idata["sample_stats"]["diverging"].to_numpy().mean()
    return bool(not rhat <= MAX_RHAT or diverging > MAX_DIVERGENCES)


# --- the table ---


def _check_some(outcomes: Sequence[_Outcome], label: Any, designs: int) -> None:
    """Refuse where not one data set could be tested."""
    failed = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if len(failed) == len(outcomes):
        where = f" of the design {label!r}" if designs > 1 else ""
        raise BayesmmError(
            f"None of {len(outcomes)} simulated data sets{where} could be tested. The first: "
            f"{failed[0]}"
        )


def _table(
    outcomes: Mapping[Any, Sequence[_Outcome]], conf_level: float, seed: int
) -> pd.DataFrame:
    rows, failures = [], []
    for label, own in outcomes.items():
        told = [outcome for outcome in own if not isinstance(outcome, str)]
        failures += [
            {"design": label, "simulation": number, "detail": outcome}
            for number, outcome in enumerate(own)
            if isinstance(outcome, str)
        ]
        successes, used = sum(told), len(told)
        share = successes / used if used else np.nan
        low, high = clopper_pearson(successes, used, conf_level)
        error = np.sqrt(share * (1 - share) / used) if used else np.nan
        rows.append((share, error, low, high, used, len(own) - used))
    if failures:
        warn(
            f"The test failed on {len(failures)} simulated data sets, which do not count. The "
            f"first: {failures[0]['detail']}"
        )
    table = pd.DataFrame(
        rows,
        index=pd.Index(list(outcomes), name="design"),
        columns=["power", "std_error", "conf_low", "conf_high", "n", "failures"],
    )
    table.attrs.update(failures=failures, seed=seed)
    return table


def clopper_pearson(successes: int, n: int, conf_level: float) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson for a probability.

    Parameters
    ----------
    successes, n : int
        How many of how many.
    conf_level : float
        At least so often does the interval hold the probability.
    """
    tail = (1 - conf_level) / 2
    low = special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    more = successes < n
    high = special.betaincinv(successes + 1, n - successes, 1 - tail) if more else 1.0
    return float(low), float(high)
