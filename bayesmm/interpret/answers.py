"""From rows to a tidy table: what predictions, comparisons and slopes share.

A function of this package makes `arms` (the rows that are predicted, once or with a predictor at
several values), says what is made of each row's predictions, and how averages of that over rows are
put together. `answer` does the rest, a block of rows at a time, so that memory does not grow with
rows times draws unless draws are asked for.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
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
from bayesmm.interpret.variables import (
    check_conf_level,
    check_fit,
    groups_of,
    predictors,
    rows_of,
)
from bayesmm.predict import Asked, Known, Scope, ask, name_of_linear, predict_rows
from bayesmm.prepare import Prepared
from bayesmm.results import Fit
from bayesmm.results.posterior import flat, thinned

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
    clusters : dict of str to str
        By group, one of `CLUSTERS`.
    conf_level : float
        The probability of intervals.
    seed : int
        For new clusters.
    """

    prepared: Prepared
    posterior: xr.Dataset
    rows: pd.DataFrame
    kind: str
    clusters: dict[str, str]
    conf_level: float
    seed: int

    @property
    def scope(self) -> Scope:
        """Which clusters count."""
        of = {
            choice: tuple(name for name, own in self.clusters.items() if own == choice)
            for choice in CLUSTERS
        }
        return Scope(of["given"], of["average"], new=of["new"], remedy=OF_NEW)

    @property
    def whose(self) -> str:
        """Of which clusters, in a word where it is the same for all groups."""
        choices = set(self.clusters.values()) or {"given"}
        each = ", ".join(f"{name}: {choice}" for name, choice in self.clusters.items())
        return choices.pop() if len(choices) == 1 else each

    @property
    def attrs(self) -> dict[str, Any]:
        """What a table says of all its rows."""
        return {"clusters": self.whose, "conf_level": self.conf_level}

    def read(
        self, rows: pd.DataFrame, along: str | None = None, clusters_of: Asked | None = None
    ) -> Asked:
        """Read rows; `along` asks for derivatives by a column, clusters may be those of others."""
        known = Known(flat(self.posterior))
        return ask(
            self.prepared,
            known,
            rows,
            self.scope,
            seed=self.seed,
            responses=self.kind == "mean",
            along=along,
            clusters_of=clusters_of,
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
    type: str,
    clusters: str | Mapping[str, str] | None,
    conf_level: float,
    seed: int | None,
    ndraws: int | None = None,
) -> Question:
    """Check the arguments that every function here has.

    Raises
    ------
    BayesmmError
        For one that makes no sense.
    """
    prepared = check_fit(fit)
    if not isinstance(type, str) or type not in TYPES:
        raise BayesmmError(f"type={type!r}: write one of {listing(TYPES)}.")
    conf_level = check_conf_level(conf_level)
    rows = rows_of(prepared, newdata)
    chosen = _clusters(prepared, clusters, rows)
    return Question(
        prepared,
        thinned(fit.whole_posterior(), ndraws, "ndraws"),
        rows,
        TYPES[type],
        chosen,
        conf_level,
        resolve_seed(seed),
    )


def _clusters(
    prepared: Prepared, clusters: str | Mapping[str, str] | None, rows: pd.DataFrame
) -> dict[str, str]:
    """Of which clusters an answer is, by group."""
    groups = groups_of(prepared)
    if clusters is None:
        factors = list(dict.fromkeys(f for own in groups.values() for f in own))
        missing = [f for f in factors if f not in rows.columns]
        # A column that is a predictor too is there for that.
        labels = [f for f in factors if f in rows.columns and f not in predictors(prepared)]
        if missing and labels:
            each = {
                name: "given" if set(own) <= set(rows.columns) else "average"
                for name, own in groups.items()
            }
            raise BayesmmError(
                f"The rows have {listing(labels)} and not {listing(missing)}, so that they name "
                "clusters of some groups only. Say of which clusters the answer is: clusters= "
                f"'typical', 'average' or 'new' for all groups, or one for each, such as {each}."
            )
        clusters = "typical" if missing else "given"
    if isinstance(clusters, str):
        clusters = dict.fromkeys(groups, clusters) or {"": clusters}
    if not isinstance(clusters, Mapping):
        raise BayesmmError(f"clusters={clusters!r}: write one of {listing(CLUSTERS)}.")
    for name, choice in clusters.items():
        if not isinstance(choice, str) or choice not in CLUSTERS:
            raise BayesmmError(
                f"clusters={choice!r}: write one of {listing(CLUSTERS)}."
                f"{did_you_mean(str(choice), CLUSTERS)}"
            )
        if name and name not in groups:
            raise BayesmmError(
                f"clusters={dict(clusters)!r}: the model has no group {name!r}."
                f"{did_you_mean(str(name), groups)} Its groups are {listing(groups)}."
            )
    return {name: clusters.get(name, "given") for name in groups}


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
    if not isinstance(draws, bool):
        raise BayesmmError(f"draws={draws!r}: write True (the draws) or False (a table).")
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
    if draws:
        return drawn(table, whole, asked.posterior, asked.attrs)
    return table_of(table, whole, asked.attrs)


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
