"""What is predicted for rows: the one path for training data and new data, for every kind.

Rows are taken a chunk at a time, with all posterior draws of each, so that memory does not grow
with draws times rows where a summary is asked for. A chunk has its own small table of the effects
of the clusters in it; all chunks have the same shapes and run the same compiled program.

A further kind of prediction is a function in `KINDS`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.chunks import at_once, power_of_two
from bayesmm.design import Design, GroupDesign, take
from bayesmm.engines import Crew, use_compilation_cache
from bayesmm.families import Family
from bayesmm.layout import PredictorLayout
from bayesmm.model import distribution, linear_predictors, predictor_values
from bayesmm.predict.effects import Effects
from bayesmm.predict.marginal import marginal_mean

type Layout = tuple[PredictorLayout, ...]
type Kind = Callable[..., dict[str, jax.Array]]


def _linpred(family, layout: Layout, design: Design, draw: Mapping, key, averaged) -> dict:
    del family, key, averaged  # effects that are averaged over have a mean of 0
    found = linear_predictors(layout, design, draw)
    return {name_of_linear(parameter): eta for parameter, eta in found.items()}


def _mean(family: Family, layout: Layout, design: Design, draw: Mapping, key, averaged) -> dict:
    del key
    if averaged:
        mean = marginal_mean(family, layout, design, draw, averaged)
    else:
        mean = jnp.asarray(family.mean(predictor_values(family, layout, design, draw)))
    return {"mean": mean if mean.ndim else jnp.broadcast_to(mean, (design.rows,))}


def _response(family: Family, layout: Layout, design: Design, draw: Mapping, key, averaged) -> dict:
    del averaged
    return {"response": distribution(family, layout, design, draw).sample(key)}


#: What can be predicted: from one posterior draw to values for every row, by name. The last
#: argument is the groups that are averaged over.
KINDS: dict[str, Kind] = {
    "linpred": _linpred,
    "mean": _mean,
    "response": _response,
}


def name_of_linear(parameter: str) -> str:
    """Return what the linear predictor of a parameter is called in a prediction."""
    return "linpred" if parameter == "mu" else f"linpred_{parameter}"


def predict_rows(
    family: Family,
    layout: Layout,
    design: Design,
    effects: Effects,
    *,
    kind: str | Kind,
    seed: int,
    probability: float | None = None,
    along: Design | None = None,
) -> dict[str, np.ndarray]:
    """Return predictions for every row.

    Parameters
    ----------
    family, layout
        Of the model.
    design : Design
        The rows. The index of its groups is not looked at.
    effects : Effects
        The group effects of their clusters; a group without clusters has no effect, or is averaged
        over.
    kind : str or callable
        One of `KINDS`, or a function like those.
    seed : int
        For responses.
    probability : float, optional
        Summaries instead of draws, with equal-tailed intervals of this probability.
    along : Design, optional
        Derivatives of the design's columns: with them, those of every prediction are returned too.

    Returns
    -------
    dict of str to numpy.ndarray
        By name, shape (draws, rows, ...), or (4, rows, ...) for mean, sd and the interval.
        Derivatives are called ``slope_<name>``.
    """
    population = {
        name: values
        for name, values in effects.quantities.items()
        if name not in {group.variable("r") for p in layout for group in p.groups}
    }
    draws = len(next(iter(population.values())))
    width = family.width * max(1, len(family.categories))
    step = min(at_once(draws * width), design.rows)
    # Rows of a cluster side by side, so that its effects are made once, or nearly.
    order = _by_cluster(effects, design.rows)
    chunks = [order[start : start + step] for start in range(0, design.rows, step)]
    tables = _tables(effects, chunks)
    averaged = tuple(sorted(effects.averaged))
    quantity = KINDS[kind] if isinstance(kind, str) else kind
    use_compilation_cache()
    places: dict[str, np.ndarray] = {}
    lock = threading.Lock()
    with jax.enable_x64(True), closing(Crew(len(chunks))) as crew:
        population = jax.device_put(population)
        key = jax.random.key(seed)

        def work(number: int) -> None:
            rows = chunks[number]
            padded = np.concatenate([rows, np.repeat(rows[-1:], step - len(rows))])
            part, values = _of_chunk(take(design, padded), layout, effects, padded, tables)
            tangent = None if along is None else _columns_of(take(along, padded))
            keys = jax.random.split(jax.random.fold_in(key, number), draws)
            found = _evaluate(
                population, values, part, keys, tangent, family, layout, quantity, averaged
            )
            for name, array in found.items():
                kept = np.asarray(array)[:, : len(rows)]
                kept = kept if probability is None else summarised(kept, probability)
                with lock:
                    if name not in places:
                        shape = (len(kept), design.rows, *kept.shape[2:])
                        places[name] = np.empty(shape, kept.dtype)
                places[name][:, rows] = kept

        crew.each(work)
    return places


def summarised(values: np.ndarray, probability: float) -> np.ndarray:
    """Return mean, sd and the bounds of the equal-tailed interval, along the first axis."""
    tails = [0.5 - probability / 2.0, 0.5 + probability / 2.0]
    # Draws of a row side by side: a row at a time is sorted much faster than across rows.
    rows = np.ascontiguousarray(np.moveaxis(values, 0, -1), dtype=np.float64)
    return np.stack([rows.mean(axis=-1), rows.std(axis=-1), *np.quantile(rows, tails, axis=-1)])


def _by_cluster(effects: Effects, rows: int) -> np.ndarray:
    """Rows in the order of the clusters of the grouping that has most of them."""
    indices = [clusters.index for clusters in effects.clusters.values()]
    if not indices:
        return np.arange(rows)
    return np.argsort(max(indices, key=lambda index: len(np.unique(index))), kind="stable")


def _tables(effects: Effects, chunks: Sequence[np.ndarray]) -> dict[str, int]:
    """How many clusters of each grouping a chunk has at most, to the next power of 2.

    The shapes, and so the compiled program, are then those of other rows with about as many.
    """
    most = {
        name: max(len(np.unique(clusters.index[rows])) for rows in chunks)
        for name, clusters in effects.clusters.items()
    }
    return {name: power_of_two(count) for name, count in most.items()}


def _of_chunk(
    part: Design, layout: Layout, effects: Effects, rows: np.ndarray, tables: Mapping[str, int]
) -> tuple[Design, dict[str, np.ndarray]]:
    """The design of a chunk with clusters numbered anew, and by variable the effects of those."""
    local: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, clusters in effects.clusters.items():
        numbers, index = np.unique(clusters.index[rows], return_inverse=True)
        spare = np.repeat(numbers[:1], tables[name] - len(numbers))
        local[name] = np.concatenate([numbers, spare]), index.astype(np.int32)
    predictors, values = [], {}
    for names, predictor in zip(layout, part.predictors, strict=True):
        groups = []
        for group, design in zip(names.groups, predictor.groups, strict=True):
            if group.name in local:
                numbers, index = local[group.name]
                values[group.variable("r")] = effects.of(group, numbers)
                groups.append(GroupDesign(index, design.columns, len(numbers)))
            else:
                draws = len(effects.quantities[group.variable("sd")])
                values[group.variable("r")] = np.zeros((draws, 1, len(group.effects)))
                groups.append(GroupDesign(np.zeros(len(rows), np.int32), design.columns, 1))
        predictors.append(replace(predictor, groups=tuple(groups)))
    return replace(part, predictors=tuple(predictors), y=None, weights=None), values


def _columns_of(design: Design) -> list[dict[str, Any]]:
    """What of a design can have a derivative by a column of the data."""
    return [
        {"X": p.X, "offset": p.offset, "groups": [group.columns for group in p.groups]}
        for p in design.predictors
    ]


def _shifted(design: Design, direction: list[dict[str, Any]], step) -> Design:
    predictors = [
        replace(
            p,
            X=p.X + step * d["X"],
            offset=p.offset + step * d["offset"],
            groups=tuple(
                replace(group, columns=group.columns + step * columns)
                for group, columns in zip(p.groups, d["groups"], strict=True)
            ),
        )
        for p, d in zip(design.predictors, direction, strict=True)
    ]
    return replace(design, predictors=tuple(predictors))


@partial(jax.jit, static_argnums=(5, 6, 7, 8))
def _evaluate(
    population: Any,
    effects: Any,
    design: Design,
    keys,
    direction: list[dict[str, Any]] | None,
    family: Family,
    layout: Layout,
    quantity: Kind,
    averaged: tuple[str, ...],
):
    def one(population, effects, key):
        def at(step):
            moved = design if direction is None else _shifted(design, direction, step)
            return quantity(family, layout, moved, {**population, **effects}, key, averaged)

        if direction is None:
            return at(0.0)
        # Rows are independent: one direction gives the derivative of each.
        found, slopes = jax.jvp(at, (0.0,), (1.0,))
        return {**found, **{f"slope_{name}": slope for name, slope in slopes.items()}}

    return jax.vmap(one)(population, effects, keys)
