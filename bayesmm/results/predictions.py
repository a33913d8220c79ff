"""Predictions as a `DataTree`: what was asked is checked here, and what comes back is labelled."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, cast

import numpy as np
import xarray as xr

from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.formula import Response, response_columns
from bayesmm.predict import (
    KINDS,
    NEW_LEVELS,
    Effects,
    condition,
    find_clusters,
    predict_rows,
    refuse_new,
)
from bayesmm.prepare import Prepared
from bayesmm.results.convert import column_dataset, creation_attrs, response_dataset
from bayesmm.results.posterior import flat
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
    spec = prepared.spec
    kept = check_arguments(spec, kind, group_effects, new_levels, summary)
    quantities, given, groupings = flat(posterior), {}, {}
    attrs: dict[str, Any] = {"seed": seed}
    columns = spec.family.response.columns and spec.family.response.integer and kind != "linpred"
    if newdata is None:
        frame = prepared.frame
        design = prepared.builder.build(frame, kept)
        trials = prepared.response.data.get("trials")
    else:
        # Of a multinomial response the trials are the sum of its columns.
        also = response_columns(cast(Response, spec.formula.response)) if columns else ()
        design, frame = prepared.rows_of(
            newdata, groups=kept, also=also, unlabelled=new_levels != "error"
        )
        trials = frame.columns[list(also)].sum(axis=1).to_numpy(float) if columns else None
    if columns:
        design = replace(design, data={**design.data, "trials": trials})
    if condition_on is not None:
        if newdata is None or not kept:
            what = "newdata, the rows to predict" if newdata is None else "group effects"
            raise BayesmmError(f"condition_on= tells of new clusters: it needs {what}.")
        found = condition(prepared, quantities, condition_on, seed)
        quantities, given, groupings = found.quantities, found.given, found.groupings
        attrs |= {"pareto_k": found.pareto_k, "effective_draws": found.effective}
    clusters = {
        grouping.name: find_clusters(groupings.get(grouping.name, grouping), frame.columns)
        for grouping in spec.schema.groupings
        if grouping.name in kept
    }
    if new_levels == "error":
        for of_grouping in clusters.values():
            refuse_new(of_grouping)
    values = predict_rows(
        spec.family,
        spec.layout,
        design,
        Effects(quantities, clusters, new_levels, seed, given),
        kind=kind,
        seed=seed,
        probability=interval_probability() if summary else None,
    )
    if summary:
        sample = {"statistic": np.asarray(statistics())}
        leading = (len(sample["statistic"]),)
    else:
        sample = {name: posterior[name].to_numpy() for name in ("chain", "draw")}
        leading = (posterior.sizes["chain"], posterior.sizes["draw"])
    shaped = {name: v.reshape(*leading, *v.shape[1:]) for name, v in values.items()}
    if kind == "response" and not summary:
        labelled = response_dataset(prepared, shaped["response"], sample, frame.index)
    else:
        labelled = _dataset(spec, shaped, sample, frame.index)
    labelled.attrs.update(creation_attrs() | attrs)
    return xr.DataTree.from_dict(
        {"predictions": labelled, "predictions_constant_data": column_dataset(frame)}
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
    groups = list(dict.fromkeys(g.name for p in spec.layout for g in p.groups))
    if group_effects is None:
        return tuple(groups)
    asked = (group_effects,) if isinstance(group_effects, str) else tuple(group_effects)
    for name in asked:
        if name not in groups:
            raise BayesmmError(
                f"group_effects={group_effects!r}: the model has no group {name!r}."
                f"{did_you_mean(str(name), groups)} Its groups are {listing(groups)}."
            )
    if not asked and new_levels != "error":
        raise BayesmmError(
            f"new_levels={new_levels!r} says what new clusters are like, and group_effects=() "
            "leaves clusters out. Leave one of the two out."
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
