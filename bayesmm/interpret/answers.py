"""From rows to a tidy table: what predictions, comparisons and slopes share.

A function of this package makes `arms` (the rows that are predicted, once or with a predictor at
several values), says what is made of each row's predictions, and how averages of that over rows are
put together. `answer` does the rest, a block of rows at a time, so that memory does not grow with
rows times draws unless draws are asked for.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.chunks import at_once
from bayesmm.engines import resolve_seed
from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.interpret.average import Average
from bayesmm.interpret.tables import check_names, drawn, repeated, summary, table_of
from bayesmm.interpret.variables import check_conf_level, check_fit, rows_of
from bayesmm.predict import Asked, Known, Scope, ask, name_of_linear, predict_rows
from bayesmm.prepare import Prepared
from bayesmm.results import Fit
from bayesmm.results.posterior import flat

CLUSTERS = ("given", "typical", "average", "new")
TYPES = {"response": "mean", "link": "linpred"}
#: Chunks of the predictions below that are worked on before they are summarised.
CHUNKS = 8
#: What to do about clusters that the model has not seen.
OF_NEW = (
    "Say of which clusters the answer is: clusters='typical', 'average' (over their estimated "
    "distribution), or 'new' (one drawn from it); fit.predict() has more choices."
)

type Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Question:
    """What is asked of which fit: the arguments that every function here has.

    Attributes
    ----------
    prepared : Prepared
        The model.
    posterior : xarray.Dataset
        Its draws, group effects included.
    rows : pandas.DataFrame
        The rows, as the caller gave them.
    kind : str
        ``"mean"`` or ``"linpred"``.
    clusters : str
        One of `CLUSTERS`.
    conf_level : float
        The probability of intervals.
    seed : int
        For new clusters.
    """

    prepared: Prepared
    posterior: xr.Dataset
    rows: pd.DataFrame
    kind: str
    clusters: str
    conf_level: float
    seed: int

    @property
    def scope(self) -> Scope:
        """Which clusters count."""
        groups = tuple(g.name for g in self.prepared.spec.schema.groupings if _has_effects(self, g))
        match self.clusters:
            case "given":
                return Scope(kept=groups, remedy=OF_NEW)
            case "average":
                return Scope(averaged=groups)
            case "new":
                return Scope(new=groups)
        return Scope()

    def asked(self, rows: pd.DataFrame, along: str | None = None) -> Asked:
        """Read rows; `along` asks for derivatives by a column."""
        known = Known(flat(self.posterior))
        return ask(
            self.prepared,
            known,
            rows,
            self.scope,
            seed=self.seed,
            responses=self.kind == "mean",
            along=along,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells several predictions of one row apart: categories; empty where it has one."""
        family = self.prepared.spec.family
        if self.kind == "mean":
            several = family.response.categories or family.response.columns
            return family.categories if several else ()
        return family.categories[1:] if family.parameters[0].each_category else ()

    def predicted(self, asked: Asked) -> dict[str, np.ndarray]:
        """Return ``value``, and ``slope`` where it was asked for, shape (draws, rows, labels)."""
        spec = self.prepared.spec
        found = predict_rows(
            spec.family,
            spec.layout,
            asked.design,
            asked.effects,
            kind=self.kind,
            seed=self.seed,
            along=asked.slope,
        )
        names = ["mean"]
        if self.kind == "linpred":
            names = [
                name_of_linear(p) for p in spec.family.predictors_of(spec.family.parameters[0])
            ]
        return {
            what: _stacked([found[prefix + name] for name in names])
            for what, prefix in (("value", ""), ("slope", "slope_"))
            if prefix + names[0] in found
        }


def question(
    fit: Fit,
    newdata: Any,
    *,
    type: str,  # noqa: A002 (the name that marginaleffects gives it)
    clusters: str | None,
    conf_level: float,
    seed: int | None,
) -> Question:
    """Check the arguments that every function here has.

    Raises
    ------
    BayesmmError
        For one that makes no sense.
    """
    prepared = check_fit(fit)
    if type not in TYPES:
        raise BayesmmError(f"type={type!r}: write one of {listing(TYPES)}.")
    if clusters is not None and clusters not in CLUSTERS:
        raise BayesmmError(
            f"clusters={clusters!r}: write one of {listing(CLUSTERS)}."
            f"{did_you_mean(str(clusters), CLUSTERS)}"
        )
    conf_level = check_conf_level(conf_level)
    rows = rows_of(prepared, newdata)
    if clusters is None:
        factors = {f for g in prepared.spec.schema.groupings for f in g.factors}
        clusters = "given" if factors <= set(rows.columns) else "typical"
    return Question(
        prepared,
        fit.whole_posterior(),
        rows,
        TYPES[type],
        clusters,
        conf_level,
        resolve_seed(seed),
    )


def answer(
    asked: Question,
    arms: Sequence[Asked],
    names: pd.DataFrame,
    over: Average | None,
    *,
    each: Callable[[list[dict[str, np.ndarray]], np.ndarray], Arrays],
    combine: Callable[..., np.ndarray] = lambda value: value,
    adds: Collection[str] = (),
    draws: bool = False,
) -> pd.DataFrame | xr.DataArray:
    """Predict, make what was asked of it, and return it as a table or as draws.

    Parameters
    ----------
    asked : Question
        What was asked.
    arms : sequence of Asked
        Rows in as many versions as are compared.
    names : pandas.DataFrame
        What names each row in the table.
    over : Average or None
        How rows are averaged.
    each : callable
        From the predictions of every arm for a block of rows, and the rows' positions, to arrays.
    combine : callable
        From those arrays, or their averages, to the answer.
    adds : collection of str
        Columns that the caller will add to the table.
    draws : bool
        Whether draws are returned.

    Raises
    ------
    DataError
        If the data have a column that the table adds.
    """
    table = names if over is None else over.cells
    check_names(table, (*adds, "group") if asked.labels else adds)
    parts, totals = [], None
    for rows in _blocks(asked, arms[0].design.rows):
        found = each([asked.predicted(arm.part(rows)) for arm in arms], rows)
        if over is not None:
            means = [over.of(rows, values) for values in found]
            totals = (
                means if totals is None else [a + b for a, b in zip(totals, means, strict=True)]
            )
            continue
        values = _combined(combine, found)
        parts.append(values if draws else summary(values, asked.conf_level))
    if totals is not None:
        values = _combined(combine, totals)
        whole = values if draws else summary(values, asked.conf_level)
    else:
        whole = np.concatenate(parts, axis=1)
    if asked.labels:
        table = repeated(table, asked.labels)
        whole = whole.reshape(len(whole), -1)
    else:
        whole = whole[..., 0]
    attrs = {"clusters": asked.clusters, "conf_level": asked.conf_level}
    if draws:
        return drawn(table, whole, asked.posterior, attrs)
    return table_of(table, whole, attrs)


def _combined(combine: Callable[..., np.ndarray], arrays: Arrays) -> np.ndarray:
    found = np.asarray(combine(*arrays), dtype=float)
    if found.shape != arrays[0].shape:
        raise BayesmmError(
            f"comparison= returned an array of shape {found.shape}, and takes two of "
            f"{arrays[0].shape}: it has to work element by element."
        )
    return found


def _blocks(asked: Question, rows: int) -> list[np.ndarray]:
    draws = asked.posterior.sizes["chain"] * asked.posterior.sizes["draw"]
    family = asked.prepared.spec.family
    step = CHUNKS * at_once(draws * family.width * max(1, len(family.categories)))
    return np.array_split(np.arange(rows), -(-rows // step))


def _stacked(arrays: Arrays) -> np.ndarray:
    """Arrays of (draws, rows), or one of (draws, rows, labels), as the latter."""
    return arrays[0] if arrays[0].ndim == 3 else np.stack(arrays, axis=-1)


def _has_effects(asked: Question, grouping: Any) -> bool:
    return any(g.name == grouping.name for p in asked.prepared.spec.layout for g in p.groups)
