"""`bm.comparisons`: what changes in the expected response when a predictor changes.

A further comparison is a function in `COMPARISONS`, a further pair of values one in `PAIRS`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.interpret.answers import Question, answer, question
from bayesmm.interpret.average import average
from bayesmm.interpret.grid import grid_by_name, like
from bayesmm.interpret.tables import concatenated, named, used_columns
from bayesmm.interpret.variables import Variable, chosen, predictors
from bayesmm.predict import Asked
from bayesmm.results import Fit


def _odds(p: np.ndarray) -> np.ndarray:
    return p / (1.0 - p)


#: From the predictions at the high and the low value to the comparison, and how it is written.
COMPARISONS: Mapping[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], str]] = {
    "difference": (lambda hi, lo: hi - lo, "{hi} - {lo}"),
    "ratio": (lambda hi, lo: hi / lo, "{hi} / {lo}"),
    "lnratio": (lambda hi, lo: np.log(hi / lo), "ln({hi} / {lo})"),
    "lift": (lambda hi, lo: (hi - lo) / lo, "lift({hi}, {lo})"),
    "odds_ratio": (lambda hi, lo: _odds(hi) / _odds(lo), "odds({hi}) / odds({lo})"),
    "lnor": (lambda hi, lo: np.log(_odds(hi) / _odds(lo)), "ln(odds({hi}) / odds({lo}))"),
}
#: Comparisons of probabilities.
OF_PROBABILITIES = ("odds_ratio", "lnor")


def _around_mean(times: float) -> Callable[[Variable], tuple[Any, Any]]:
    def pair(variable: Variable) -> tuple[Any, Any]:
        mean, half = (
            float(np.mean(variable.values)),
            0.5 * times * float(np.std(variable.values, ddof=1)),
        )
        return mean - half, mean + half

    return pair


def _quartiles(variable: Variable) -> tuple[Any, Any]:
    low, high = variable.values.quantile([0.25, 0.75])
    return float(low), float(high)


#: From a numeric predictor to the two values that are compared.
PAIRS: Mapping[str, Callable[[Variable], tuple[Any, Any]]] = {
    "sd": _around_mean(1.0),
    "2sd": _around_mean(2.0),
    "iqr": _quartiles,
    "minmax": lambda variable: (variable.levels[0], variable.levels[-1]),
}
#: From the levels of a factor to pairs of them, low first.
CONTRASTS: Mapping[str, Callable[[list], list[tuple[Any, Any]]]] = {
    "reference": lambda levels: [(levels[0], level) for level in levels[1:]],
    "sequential": lambda levels: list(pairwise(levels)),
    "pairwise": lambda levels: list(combinations(levels, 2)),
    "revpairwise": lambda levels: [(b, a) for a, b in combinations(levels, 2)],
    "minmax": lambda levels: [(levels[0], levels[-1])],
}


def comparisons(
    fit: Fit,
    variables: Any = None,
    newdata: Any = None,
    *,
    comparison: str | Callable[[np.ndarray, np.ndarray], np.ndarray] = "difference",
    by: Any = False,
    wts: Any = None,
    type: str = "response",
    clusters: str | Mapping[str, str] | None = None,
    conf_level: float = 0.95,
    draws: bool = False,
    ndraws: int | None = None,
    seed: int | None = None,
) -> pd.DataFrame | xr.DataArray:
    """Compare the expected response of rows at two values of a predictor, all else being equal.

    Parameters
    ----------
    fit : Fit
        The fit.
    variables : str, sequence of str, or mapping, optional
        The predictors; all of them if left out. A mapping says which values are compared: of a
        number, how much is added (1 if left out), two values ``[a, b]``, ``"sd"`` or ``"2sd"``
        (around the mean), ``"iqr"`` or ``"minmax"``; of a factor ``"reference"`` (each level with
        the first), ``"sequential"``, ``"pairwise"``, ``"revpairwise"``, ``"minmax"``, or two levels
        ``[a, b]``. Of 0 and 1, and of truth values, the two are compared.
    newdata : dataframe or {"mean", "balanced"}, optional
        The rows: see `predictions`.
    comparison : str or callable
        ``"difference"``, ``"ratio"``, ``"lnratio"``, ``"lift"``, ``"odds_ratio"``, ``"lnor"`` (log
        odds ratio; of successes in trials, those of one), or a function of two arrays, the
        predictions at the high and at the low value, that works element by element.
    by, wts, type, clusters, conf_level, draws, ndraws, seed
        As for `predictions`. Predictions are averaged first, and the averages then compared, so
        that a ratio is one of averages.

    Returns
    -------
    pandas.DataFrame or xarray.DataArray
        As for `predictions`, with ``term`` (the predictor) and ``contrast``.

    Raises
    ------
    BayesmmError
        For an argument that makes no sense; see `predictions`.

    Examples
    --------
    The risk of infection in later periods, as a multiple of that in the first:

    >>> import bayesmm as bm
    >>> data = bm.datasets.load("cbpp")
    >>> formula = "prop(incidence, size) ~ period + (1 | herd)"
    >>> fit = bm.fit(formula, data, family="binomial", seed=1)
    >>> found = bm.comparisons(fit, "period", comparison="ratio", by=True, clusters="average")
    >>> found[["contrast", "estimate"]].round(1)
      contrast  estimate
    0    2 / 1       0.5
    1    3 / 1       0.4
    2    4 / 1       0.3
    """
    asked = question(
        fit,
        grid_by_name(fit, newdata),
        type=type,
        clusters=clusters,
        conf_level=conf_level,
        seed=seed,
        ndraws=ndraws,
    )
    compare, written = _comparison(comparison)
    of_probabilities = isinstance(comparison, str) and comparison in OF_PROBABILITIES
    if of_probabilities and not _is_probability(asked):
        raise BayesmmError(
            f"comparison={comparison!r} is of probabilities, and the expected response is none. "
            "Write 'ratio' or 'difference'."
        )
    over = average(asked.rows, by, wts)
    names = used_columns(asked.rows, asked.prepared)
    # All else being equal, also where the predictor names clusters too.
    own, parts = asked.read(asked.rows), []
    for name, pairs in _pairs(asked, variables).items():
        for label, low, high in pairs:
            arms = [
                asked.read(
                    asked.rows.assign(**{name: like(asked.rows, name, values, names.index)}),
                    clusters_of=own,
                )
                for values in (high, low)
            ]
            found = answer(
                asked,
                arms,
                names,
                over,
                each=partial(_values, trials=_trials(arms, of_probabilities)),
                combine=compare,
                adds=("term", "contrast"),
                draws=draws,
            )
            contrast = label if isinstance(label, str) else written.format(lo=label[0], hi=label[1])
            parts.append(named(found, name, contrast))
    return concatenated(parts, draws=draws)


def _comparison(comparison: Any) -> tuple[Callable, str]:
    if callable(comparison):
        return comparison, "{hi}, {lo}"
    if not isinstance(comparison, str) or comparison not in COMPARISONS:
        raise BayesmmError(
            f"comparison={comparison!r}: write one of {listing(COMPARISONS)}, or a function of two "
            f"arrays.{did_you_mean(str(comparison), COMPARISONS)}"
        )
    return COMPARISONS[comparison]


def _values(found: list, rows: np.ndarray, trials: list[Any]) -> list[np.ndarray]:
    """Predictions; counts of successes as probabilities, where that is what is compared."""
    return [
        one["value"] if n is None else one["value"] / n[rows][:, None]
        for one, n in zip(found, trials, strict=True)
    ]


def _trials(arms: list[Asked], wanted: bool) -> list[Any]:
    """The trials of each arm's rows, or nothing where counts are compared."""
    return [arm.design.data.get("trials") if wanted else None for arm in arms]


def _is_probability(asked: Question) -> bool:
    family = asked.prepared.spec.family
    mean = family.response.categories or family.response.binary or family.response.trials
    return asked.kind == "mean" and bool(mean)


def _pairs(asked: Question, variables: Any) -> dict[str, list[tuple[Any, list, list]]]:
    """For each predictor what is compared: a label, and the low and the high value of every row."""
    known = predictors(asked.prepared)
    given = variables if isinstance(variables, Mapping) else {}
    if variables is None:
        variables = list(known)
    wanted = chosen(known, variables, "variables")
    if not wanted:
        raise BayesmmError("variables= is empty: name a predictor. The model may have none.")
    found = {}
    for name, variable in wanted.items():
        if name not in asked.rows.columns:
            raise BayesmmError(f"variables: newdata has no column {name!r} to change.")
        found[name] = list(_of(variable, given.get(name), asked.rows))
    return found


def _of(variable: Variable, wanted: Any, rows: pd.DataFrame) -> list[tuple[Any, list, list]]:
    n = len(rows)
    if variable.numeric and (wanted is None or _is_number(wanted)):
        gap = 1 if wanted is None else wanted
        values = rows[variable.name].to_numpy(float)
        return [(f"{gap:+g}", values.tolist(), (values + gap).tolist())]
    if _is_pair(wanted):
        pairs = [tuple(wanted)]
    elif variable.numeric and isinstance(wanted, str) and wanted in PAIRS:
        pairs = [PAIRS[wanted](variable)]
    elif not variable.numeric and wanted is None:
        pairs = CONTRASTS["reference"](variable.levels)
    elif not variable.numeric and isinstance(wanted, str) and wanted in CONTRASTS:
        pairs = CONTRASTS[wanted](variable.levels)
    else:
        choices = PAIRS if variable.numeric else CONTRASTS
        more = "a number to add, " if variable.numeric else ""
        raise BayesmmError(
            f"variables={{{variable.name!r}: {wanted!r}}}: write {more}two values [a, b], or "
            f"one of {listing(choices)}."
        )
    if not variable.numeric:
        for value in dict.fromkeys(value for pair in pairs for value in pair):
            if value not in variable.levels:
                raise BayesmmError(
                    f"variables: {variable.name!r} has no level {value!r}. It has "
                    f"{listing(variable.levels)}."
                )
    return [((_text(a), _text(b)), [a] * n, [b] * n) for a, b in pairs]


def _text(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"({text})" if text.startswith("-") else text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    pair = isinstance(value, (list, tuple, np.ndarray)) and len(value) == 2
    return pair and all(np.ndim(one) == 0 for one in value)
