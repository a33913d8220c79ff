"""Tables and labelled arrays from a posterior, as lme4 has them, and the variables of a summary.

Each function is pure: it takes a specification and a posterior, and changes neither.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.layout import GroupLayout, PredictorLayout
from bayesmm.results.posterior import joined
from bayesmm.spec import ModelSpec


def interval() -> tuple[float, str, str]:
    """Return ArviZ's probability for intervals, and the names of the two bounds."""
    from arviz_base import rcParams

    probability = float(rcParams["stats.ci_prob"])
    percent = f"{100 * probability:g}"
    return probability, f"eti{percent}_lb", f"eti{percent}_ub"


def describe(draws: xr.DataArray) -> pd.DataFrame:
    """Return mean, sd and an equal-tailed interval of every element.

    Parameters
    ----------
    draws : xarray.DataArray
        With the dims chain and draw, and any others.

    Returns
    -------
    pandas.DataFrame
        A row for each element, indexed by its coordinates.
    """
    probability, low, high = interval()
    values = joined(draws)
    bounds = np.quantile(values, [(1 - probability) / 2, (1 + probability) / 2], axis=0)
    rest = [str(dim) for dim in draws.dims if dim not in ("chain", "draw")]
    index = pd.MultiIndex.from_product([draws[dim].to_numpy() for dim in rest], names=rest)
    if len(rest) == 1:
        index = index.get_level_values(0)
    table = {
        "mean": values.mean(axis=0),
        "sd": values.std(axis=0, ddof=1),
        low: bounds[0],
        high: bounds[1],
    }
    return pd.DataFrame({name: np.ravel(column) for name, column in table.items()}, index=index)


def fixef(spec: ModelSpec, posterior: xr.Dataset) -> xr.Dataset:
    """Return the population-level coefficients, one variable for each predictor.

    Cutpoints that hold the intercepts are among them.
    """
    names = [layout.variable("b") for layout in spec.layout if layout.coefs]
    holder = spec.family.intercept_holder
    return posterior[[*names, holder.name] if holder else names]


def ranef(spec: ModelSpec, posterior: xr.Dataset, group: str | None) -> xr.Dataset:
    """Return the group effects, one variable for each group of each predictor.

    Raises
    ------
    BayesmmError
        For a group that the model does not have.
    """
    return posterior[[g.variable("r") for _, g in groups(spec, group)]]


def coef(spec: ModelSpec, posterior: xr.Dataset, group: str | None) -> xr.Dataset:
    """Return population plus group effects: every coefficient as each level has it.

    Coefficients that do not vary over the group are those of the population; effects without a
    population-level coefficient are deviations from 0. Variables are named as the effects are,
    with ``coef`` for ``r``.
    """
    found = {}
    for predictor, part in groups(spec, group):
        r = posterior[part.variable("r")]
        effect = str(r.dims[-1])
        labels = list(dict.fromkeys([*predictor.coefs, *part.effects]))
        dim = predictor.variable("coef")
        own = r.rename({effect: dim}).reindex({dim: labels}).fillna(0.0)
        if predictor.coefs:
            own = own + posterior[predictor.variable("b")].reindex({dim: labels}).fillna(0.0)
        name = part.variable("coef")
        # Two groups can have different effects, and so different labels on one dimension.
        found[name] = own.transpose("chain", "draw", part.name, dim).rename(
            {dim: effect.removesuffix("_effect") + "_coef"}
        )
    return xr.Dataset(found)


def var_corr(spec: ModelSpec, posterior: xr.Dataset) -> xr.Dataset:
    """Return standard deviations and correlations of the group effects, and the residual sd."""
    names = [
        name
        for _, part in groups(spec, None)
        for name in (part.variable("sd"), part.variable("cor"))
        if name in posterior
    ]
    names += [name for name in ("sigma",) if name in posterior]
    return posterior[names]


def fixef_table(spec: ModelSpec, found: xr.Dataset) -> pd.DataFrame:
    """Return the summary of `fixef`, a row for each (parameter, coef)."""
    parts = {}
    for layout in spec.layout:
        if layout.coefs:
            parts[layout.parameter] = _labelled(describe(found[layout.variable("b")]))
    holder = spec.family.intercept_holder
    if holder:
        parts[holder.name] = _labelled(describe(found[holder.name]))
    return pd.concat(parts, names=["parameter"]) if parts else pd.DataFrame()


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """The table of a vector or matrix, with one label a row."""
    if isinstance(table.index, pd.MultiIndex):
        table.index = pd.Index([", ".join(map(str, labels)) for labels in table.index])
    return table.rename_axis("coef")


def level_table(
    spec: ModelSpec, found: xr.Dataset, group: str | None, prefix: str, last: str
) -> pd.DataFrame:
    """Return the summary of `ranef` or `coef`, a row for each (parameter, group, level, `last`)."""
    parts = {}
    for predictor, part in groups(spec, group):
        table = describe(found[part.variable(prefix)])
        table.index.names = ["level", last]
        parts[predictor.parameter, part.name] = table
    return pd.concat(parts, names=["parameter", "group"]) if parts else pd.DataFrame()


def var_corr_table(spec: ModelSpec, found: xr.Dataset) -> pd.DataFrame:
    """Return the summary of `var_corr`, a row for each number by its label in the summary."""
    parts = []
    for name, values in summary_variables(spec, found, effects=False).data_vars.items():
        if values.ndim == 2:
            table = describe(values.expand_dims({"of": [str(name)]}))
        else:
            table = describe(values)
            table.index = pd.Index([f"{name}[{label}]" for label in table.index])
        parts.append(table.rename_axis("parameter"))
    return pd.concat(parts) if parts else pd.DataFrame()


def summary_variables(spec: ModelSpec, posterior: xr.Dataset, *, effects: bool) -> xr.Dataset:
    """Return the variables of a summary: no `r_` unless asked for, each correlation once."""
    kept = {}
    for name, draws in posterior.data_vars.items():
        if str(name).startswith("r_") and not effects:
            continue
        kept[name] = draws
    for _, part in groups(spec, None):
        name = part.variable("cor")
        if name in kept:
            kept[name] = pairs(part, kept[name])
    return xr.Dataset(kept)


def pairs(group: GroupLayout, correlation: xr.DataArray) -> xr.DataArray:
    """Return the free correlations of a group, each once, on one dimension of label pairs."""
    rows, columns = [], []
    for positions, correlated in group.blocks:
        if correlated:
            for i, a in enumerate(positions):
                for b in positions[i + 1 :]:
                    rows.append(a)
                    columns.append(b)
    values = correlation.to_numpy()[..., rows, columns]
    labels = [f"{group.effects[a]}, {group.effects[b]}" for a, b in zip(rows, columns, strict=True)]
    dim = f"{correlation.name}_pair"
    dims = ("chain", "draw", dim)
    coords = {"chain": correlation.chain, "draw": correlation.draw, dim: np.asarray(labels)}
    return xr.DataArray(values, dims=dims, coords=coords, name=correlation.name)


def groups(spec: ModelSpec, name: str | None) -> Iterator[tuple[PredictorLayout, GroupLayout]]:
    """Yield each group (or those of one name) with the predictor that it belongs to.

    Raises
    ------
    BayesmmError
        For a group that the model does not have.
    """
    known = list(dict.fromkeys(g.name for p in spec.layout for g in p.groups))
    if name is not None and name not in known:
        have = f"It has {listing(known)}." if known else "It has none."
        raise BayesmmError(
            f"group={name!r}: the model has no such group.{did_you_mean(name, known)} {have}"
        )
    for predictor in spec.layout:
        for group in predictor.groups:
            if name in (None, group.name):
                yield predictor, group
