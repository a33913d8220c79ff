"""From draws to an ArviZ `DataTree`, with real labels as coordinates, and from variables to dims.

All arrays in a result are NumPy float64 (labels, indicators and counts keep their types).
"""

import datetime
import importlib.metadata
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayesmm.chunks import at_once
from bayesmm.engines import Crew, Draws, Settled, executable
from bayesmm.prepare import Prepared
from bayesmm.schema import Frame
from bayesmm.spec import CATEGORY_DIM, ModelSpec, element_dim

#: Values of the pointwise log-likelihood that ``log_likelihood="auto"`` stores.
LOG_LIKELIHOOD_LIMIT = 20_000_000


def dimensions(spec: ModelSpec) -> tuple[dict[str, tuple[str, ...]], dict[str, np.ndarray]]:
    """Return the dims of every variable of the posterior (after chain and draw), and the coords.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    """
    dims: dict[str, tuple[str, ...]] = {}
    coords: dict[str, np.ndarray] = {}
    for layout in spec.layout:
        coef = layout.variable("coef")
        if layout.coefs:
            elements = ()
            if layout.elements:
                elements = (element_dim(spec.family, spec.family.parameter(layout.parameter)),)
                coords[elements[0]] = np.asarray(layout.elements, dtype=str)
            dims[layout.variable("b")] = (coef, *elements)
            coords[coef] = np.asarray(layout.coefs, dtype=str)
        if layout.has_intercept:
            dims[layout.variable("Intercept")] = ()
        for group in layout.groups:
            effect, other = group.effect_dim, f"{group.effect_dim}_2"
            dims[group.variable("sd")] = (effect,)
            coords[effect] = np.asarray(group.effects, dtype=str)
            if group.correlated:
                dims[group.variable("cor")] = (effect, other)
                coords[other] = coords[effect]
            dims[group.variable("r")] = (group.name, effect)
            coords[group.name] = np.asarray(spec.schema.grouping(group.name).labels)
    for parameter in spec.numbers:
        labels = spec.family.labels(parameter)
        by = (spec.by,) if spec.by and parameter is spec.family.intercept_holder else ()
        if by:
            coords[by[0]] = np.asarray(spec.schema.grouping(by[0]).labels)
        dims[parameter.name] = by
        if labels:
            element = element_dim(spec.family, parameter)
            dims[parameter.name] = (*by, element)
            coords[element] = np.asarray(labels, dtype=str)
        if parameter.equidistant:
            dims["delta"] = by
    return dims, coords


def to_datatree(
    prepared: Prepared,
    settled: Settled,
    draws: Draws,
    *,
    key: jax.Array,
    log_likelihood: bool,
    effects: bool = True,
    attrs: Mapping[str, str | int | float],
) -> xr.DataTree:
    """Return the posterior and its companions in the ArviZ schema.

    Parameters
    ----------
    prepared : Prepared
        The model and its data.
    settled : Settled
        What was sampled.
    draws : Draws
        What the engine returned.
    key : jax.Array
        For what is drawn given the engine's draws: group effects that it has integrated out.
    log_likelihood : bool
        Whether to store the pointwise log-likelihood.
    effects : bool
        Whether to store the group effects (`r_` variables).
    attrs : mapping
        What else to say of the run, in the posterior's attributes.
    """
    shape = next(iter(draws.positions.values())).shape[:2]
    rows = prepared.numbers_per_draw if log_likelihood or not settled.transformed else 0
    batch = at_once(rows + settled.numbers_per_draw)
    with jax.enable_x64(True):
        start = time.perf_counter()
        inputs, key_data = jax.device_put(settled.of_all_rows), jax.random.key_data(key)

        def arguments(chain: int):
            positions = {name: values[chain] for name, values in draws.positions.items()}
            return positions, key_data, np.uint32(chain), inputs

        run = executable(_summariser(settled.program, log_likelihood, batch), *arguments(0))
        compiled = time.perf_counter()
        found = _by_chain(lambda chain: run(*arguments(chain)), shape[0])
    seconds = {
        "compile_time": draws.compile_time + compiled - start,
        "sampling_time": draws.sampling_time + time.perf_counter() - compiled,
    }
    quantities, log_prior, pointwise = found
    spec = prepared.spec
    dims, coords = dimensions(spec)
    sample = {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}

    def dataset(values, dims_of, **more) -> xr.Dataset:
        return xr.Dataset(
            {name: (("chain", "draw", *dims_of(name)), value) for name, value in values.items()},
            coords={**sample, **more},
        )

    left_out = set() if effects else effect_variables(spec)
    ordered = {name: quantities[name] for name in dims if name not in left_out}
    used = {dim for name in ordered for dim in dims[name]}
    labels = {dim: values for dim, values in coords.items() if dim in used}
    tree = {
        "posterior": dataset(ordered, dims.__getitem__, **labels),
        "sample_stats": dataset(draws.statistics, lambda _: ()),
        "log_prior": dataset(log_prior, lambda _: ()),
        **observed_groups(prepared),
    }
    if log_likelihood:
        informative = telling(prepared)
        tree["log_likelihood"] = dataset(
            {spec.response: pointwise[..., informative]},
            lambda _: ("obs_id",),
            obs_id=prepared.frame.index[informative],
        )
    stamp = creation_attrs()
    for group in tree.values():
        group.attrs.update(stamp)
    tree["posterior"].attrs.update({**attrs, **seconds})
    result = xr.DataTree.from_dict(tree)
    result.attrs.update(stamp | {"bayesmm_model": spec.to_text()})
    return result


def effect_variables(spec: ModelSpec) -> set[str]:
    """Return the names of the variables that hold group effects."""
    return {group.variable("r") for layout in spec.layout for group in layout.groups}


def observed_groups(prepared: Prepared) -> dict[str, xr.Dataset]:
    """Return the groups ``observed_data`` (the response) and ``constant_data`` (used columns)."""
    observed = response_dataset(prepared, prepared.response.values, {})
    return {"observed_data": observed, "constant_data": column_dataset(prepared.frame)}


def column_dataset(frame: Frame) -> xr.Dataset:
    """Return the columns of a frame, labelled; texts where a label is missing are empty."""
    columns = {}
    for name, column in frame.columns.items():
        values = column.to_numpy()
        if values.dtype == object:
            whole = all(isinstance(level, int) for level in column.cat.categories)
            lacking = column.isna().to_numpy()
            values = np.where(lacking, "", values)
            values = values.astype(np.int64 if whole and not lacking.any() else str)
        columns[name] = ("obs_id", values)
    return xr.Dataset(columns, coords={"obs_id": frame.index})


def creation_attrs() -> dict[str, str]:
    """Return what ArviZ's schema wants to know of the making of a group."""
    return {
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(),
        "creation_library": "bayesmm",
        "creation_library_version": importlib.metadata.version("bayesmm"),
        "creation_library_language": "Python",
        "inference_library": "numpyro",
        "inference_library_version": importlib.metadata.version("numpyro"),
        "jax_version": importlib.metadata.version("jax"),
    }


def response_dataset(
    prepared: Prepared,
    values: np.ndarray,
    sample: Mapping[str, np.ndarray],
    index: np.ndarray | None = None,
) -> xr.Dataset:
    """Return responses, labelled, in the type that ArviZ tells counts from measurements by.

    Whole numbers become int64, unless a draw is too large to be one. Categories are their numbers
    where they are numbers, otherwise 1, 2, ... with the labels in the attributes.

    Parameters
    ----------
    prepared : Prepared
        The model and its data.
    values : numpy.ndarray
        Of shape (*sample, rows), or (*sample, rows, columns).
    sample : mapping of str to array
        The leading dimensions, with their coordinates.
    index : array, optional
        The labels of the rows, if they are not the training data.
    """
    spec = prepared.spec
    kind, categories = spec.family.response, spec.family.categories
    dims = (*sample, "obs_id", *((CATEGORY_DIM,) if kind.columns else ()))
    coords = {**sample, "obs_id": prepared.frame.index if index is None else index}
    attrs: dict[str, Any] = {}
    if kind.columns:
        coords[CATEGORY_DIM] = np.asarray(categories, dtype=str)
    if kind.categories:
        try:
            numbers = np.asarray([int(label) for label in categories])
        except ValueError:
            numbers = np.arange(1, len(categories) + 1)
            # CF conventions: which number stands for which category.
            attrs = {"flag_values": numbers, "flag_meanings": list(categories)}
        values = numbers[np.asarray(values).astype(np.int64)]
    whole = kind.integer and np.abs(values).max(initial=0) < 2**62
    values = values.astype(np.int64 if whole else np.float64, copy=False)
    return xr.Dataset({spec.response: (dims, values, attrs)}, coords=coords)


def telling(prepared: Prepared) -> np.ndarray:
    """Return which rows have a likelihood at all: not those of weight 0, or of no trials.

    Their log-likelihood is 0 in every draw, which importance sampling cannot be done with.
    """
    trials = prepared.response.data.get("trials")
    return prepared.response.counted & (True if trials is None else trials > 0)


def _by_chain(work: Callable[[int], Any], chains: int) -> Any:
    """Return the arrays that `work` gives for every chain, with a leading axis of chains.

    Each is copied into its place as it comes, so that hardly more than the result is ever held.
    """
    places: list[Any] = []
    lock, crew = threading.Lock(), Crew(chains)

    def one(chain: int) -> None:
        found = work(chain)
        with lock:
            if not places:
                places.append(jax.tree.map(lambda x: np.empty((chains, *x.shape), x.dtype), found))
        for place, values in zip(jax.tree.leaves(places[0]), jax.tree.leaves(found), strict=True):
            place[chain] = values

    try:
        crew.each(one)
    finally:
        crew.close()
    return places[0]


@lru_cache(maxsize=32)
def _summariser(program: Any, pointwise: bool, batch: int):
    def summarise(positions, key_data, chain, inputs):
        key = jax.random.wrap_key_data(key_data, impl="threefry2x32")
        draws = jnp.arange(next(iter(positions.values())).shape[0])

        def one(at):
            position, draw = at
            # Each draw has random numbers of its own, whatever the number of draws.
            own = jax.random.fold_in(jax.random.fold_in(key, chain), draw)
            found = program.summarise(position, inputs, own)
            return found.quantities, found.log_prior, found.log_likelihood if pointwise else ()

        return jax.lax.map(one, (positions, draws), batch_size=min(batch, len(draws)))

    return jax.jit(summarise)
