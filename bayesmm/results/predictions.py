"""Predictions as a `DataTree`: what was asked is checked here, and what comes back is labelled."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesmm.errors import BayesmmError, did_you_mean, listing, warn
from bayesmm.predict import (
    KINDS,
    NEW_LEVELS,
    Asked,
    Known,
    Scope,
    ask,
    condition,
    predict_rows,
)
from bayesmm.prepare import Prepared
from bayesmm.results.convert import column_dataset, creation_attrs, response_dataset
from bayesmm.results.posterior import flat
from bayesmm.schema import Grouping
from bayesmm.spec import CATEGORY_DIM, ModelSpec, element_dim


def predictions(
    prepared: Prepared,
    posterior: xr.Dataset,
    newdata: Any,
    *,
    kind: str,
    group_effects: Collection[str] | None,
    new_levels: str,
    condition_on: Any,
    summary: bool,
    seed: int,
) -> xr.DataTree:
    """Return predictions, labelled; see `Fit.predict` for the parameters."""
    kept = check_arguments(prepared.spec, kind, group_effects, new_levels, summary)
    known, attrs = Known(flat(posterior)), {"seed": seed}
    if condition_on is not None:
        if newdata is None or not kept:
            what = "newdata, the rows to predict" if newdata is None else "group effects"
            raise BayesmmError(f"condition_on= tells of new clusters: it needs {what}.")
        # What is wrong with the rows is said before integrals are compiled.
        ask(prepared, known, newdata, Scope(kept, new_levels="population"))
        found = condition(prepared, known.quantities, condition_on, seed)
        known = Known(found.quantities, found.given, found.groupings)
        _warn_of_others(prepared, newdata, kept, found.groupings)
        attrs |= {"pareto_k": found.pareto_k, "effective_draws": found.effective}
    scope = Scope(kept, new_levels=new_levels)
    asked = ask(prepared, known, newdata, scope, seed=seed, responses=kind != "linpred")
    return labelled(prepared, posterior, asked, kind=kind, summary=summary, attrs=attrs)


def _warn_of_others(
    prepared: Prepared, newdata: Any, kept: Collection[str], groupings: Mapping[str, Grouping]
) -> None:
    """Warn where what was observed is of no cluster that is predicted: labels may differ."""
    _, frame = prepared.rows_of(newdata, groups=kept, unlabelled=True)
    for name in kept:
        before = len(prepared.spec.schema.grouping(name).cells)
        observed = groupings[name].labels[before:]
        if observed and not (groupings[name].index(frame.columns) >= before).any():
            warn(
                f"condition_on= has responses of {name} {listing(observed)}, and newdata no row of "
                "those: they say something of the parameters alone. Are the labels the same?"
            )


def labelled(
    prepared: Prepared,
    posterior: xr.Dataset,
    asked: Asked,
    *,
    kind: str,
    summary: bool,
    attrs: dict[str, Any],
) -> xr.DataTree:
    """Predict for rows, and label what comes of it."""
    spec = prepared.spec
    values = predict_rows(
        spec.family,
        spec.layout,
        asked.design,
        asked.effects,
        kind=kind,
        seed=asked.effects.seed,
        probability=interval_probability() if summary else None,
    )
    if summary:
        sample = {"statistic": np.asarray(statistics())}
        leading = (len(sample["statistic"]),)
    else:
        sample = {name: posterior[name].to_numpy() for name in ("chain", "draw")}
        leading = (posterior.sizes["chain"], posterior.sizes["draw"])
    shaped = {name: v.reshape(*leading, *v.shape[1:]) for name, v in values.items()}
    index = asked.frame.index
    if kind == "response" and not summary:
        found = response_dataset(prepared, shaped["response"], sample, index)
    else:
        found = _dataset(spec, shaped, sample, index)
    found.attrs.update(creation_attrs() | attrs)
    return xr.DataTree.from_dict(
        {"predictions": found, "predictions_constant_data": column_dataset(asked.frame)}
    )


def check_arguments(
    spec: ModelSpec, kind: str, group_effects: Any, new_levels: str, summary: bool
) -> tuple[str, ...]:
    """Check what was asked, and return the names of the groups whose effects count."""
    if kind not in KINDS:
        raise BayesmmError(f"kind={kind!r}: write one of {listing(KINDS)}.")
    if new_levels not in ("error", *NEW_LEVELS):
        raise BayesmmError(
            f"new_levels={new_levels!r}: write one of 'error', {listing(NEW_LEVELS)}."
        )
    if summary is True and kind == "response" and spec.family.response.categories:
        raise BayesmmError(
            "summary=True: responses are categories, which have no mean. kind='mean' gives the "
            "probability of each."
        )
    if not isinstance(summary, bool):
        raise BayesmmError(f"summary={summary!r}: write True or False.")
    asked = check_groups(spec, "group_effects", group_effects)
    if group_effects is not None and not asked and new_levels != "error":
        raise BayesmmError(
            f"new_levels={new_levels!r} says what new clusters are like, and group_effects=() "
            "leaves clusters out. Leave one of the two out."
        )
    return asked


def check_groups(spec: ModelSpec, argument: str, wanted: Any) -> tuple[str, ...]:
    """Return the groups that an argument names; all of them where it is left out."""
    groups = list(spec.groups)
    if wanted is None:
        return tuple(groups)
    if not isinstance(wanted, Collection):
        raise BayesmmError(f"{argument}={wanted!r}: write the names of groups, such as {groups!r}.")
    asked = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    for name in asked:
        if name not in groups:
            raise BayesmmError(
                f"{argument}={wanted!r}: the model has no group {name!r}."
                f"{did_you_mean(str(name), groups)} Its groups are {listing(groups)}."
            )
    return asked


def interval_probability() -> float:
    """Return the probability of intervals: ArviZ's."""
    from arviz_base import rcParams

    return float(rcParams["stats.ci_prob"])


def statistics() -> list[str]:
    """Return the names of what a summary has, as ArviZ writes them."""
    percent = f"{100 * interval_probability():g}"
    return ["mean", "sd", f"eti{percent}_lb", f"eti{percent}_ub"]


def _dataset(spec: ModelSpec, values: dict, sample: dict, index: np.ndarray) -> xr.Dataset:
    """Label predictions; those of several numbers a row have a dimension for them."""
    variables, coords = {}, {**sample, "obs_id": index}
    for name, array in values.items():
        dims = (*sample, "obs_id")
        if array.ndim > len(dims):
            dim, labels = _last_dim(spec, name)
            dims, coords[dim] = (*dims, dim), np.asarray(labels, dtype=str)
        own = spec.response if name == "response" else name
        variables[own] = (dims, array)
    return xr.Dataset(variables, coords=coords)


def _last_dim(spec: ModelSpec, name: str) -> tuple[str, tuple[str, ...]]:
    parameter = name.removeprefix("linpred_")
    for layout in spec.layout:
        if layout.elements and layout.parameter == parameter:
            dim = element_dim(spec.family, spec.family.parameter(parameter))
            return dim, layout.elements
    return CATEGORY_DIM, spec.family.categories
