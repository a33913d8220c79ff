"""From draws to an ArviZ `DataTree`, with real labels as coordinates, and from variables to dims.

All arrays in a result are NumPy float64 (labels, indicators and counts keep their types).
"""

import datetime
import importlib.metadata
from collections.abc import Mapping
from functools import partial

import jax
import numpy as np
import xarray as xr

from bayesmm.engines import Draws
from bayesmm.model import Inputs, Program
from bayesmm.prepare import Prepared
from bayesmm.spec import ModelSpec

#: Values of the pointwise log-likelihood that ``log_likelihood="auto"`` stores.
LOG_LIKELIHOOD_LIMIT = 20_000_000
#: Numbers that a chunk of draws may hold at once while it is summarised.
CHUNK_NUMBERS = 4_000_000


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
        suffix = layout.suffix
        if layout.coefs:
            dims[f"b{suffix}"] = (f"coef{suffix}",)
            coords[f"coef{suffix}"] = np.asarray(layout.coefs, dtype=str)
        if layout.has_intercept:
            dims[f"Intercept{suffix}"] = ()
        prefix = f"{layout.parameter}_" if suffix else ""
        for group in layout.groups:
            effect = f"{prefix}{group.name}_effect"
            labels = spec.schema.grouping(group.name).labels
            dims[f"sd{suffix}_{group.name}"] = (effect,)
            coords[effect] = np.asarray(group.effects, dtype=str)
            if group.correlated:
                dims[f"cor{suffix}_{group.name}"] = (effect, f"{effect}_2")
                coords[f"{effect}_2"] = np.asarray(group.effects, dtype=str)
            dims[f"r{suffix}_{group.name}"] = (group.name, effect)
            coords[group.name] = np.asarray(labels)
    modelled = {layout.parameter for layout in spec.layout}
    for parameter in spec.family.parameters:
        if parameter.name not in modelled:
            dims[parameter.name] = ()
    return dims, coords


def to_datatree(
    prepared: Prepared,
    program: Program,
    draws: Draws,
    *,
    log_likelihood: bool,
    attrs: Mapping[str, str | int | float],
) -> xr.DataTree:
    """Return the posterior and its companions in the ArviZ schema.

    Parameters
    ----------
    prepared : Prepared
        The model and its data.
    program : Program
        The program that was sampled.
    draws : Draws
        What the engine returned.
    log_likelihood : bool
        Whether to store the pointwise log-likelihood.
    attrs : mapping
        What else to say of the run, in the posterior's attributes.
    """
    shape = next(iter(draws.positions.values())).shape[:2]
    flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in draws.positions.items()}
    rows = len(prepared.response.values)
    batch = max(1, min(shape[0] * shape[1], CHUNK_NUMBERS // max(rows, 1)))
    with jax.enable_x64(True):
        found = _summarise(flat, prepared.inputs, program, log_likelihood, batch)
    quantities, log_prior, pointwise = jax.tree.map(
        lambda x: np.asarray(x).reshape(*shape, *x.shape[1:]), found
    )
    spec = prepared.spec
    dims, coords = dimensions(spec)
    sample = {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}
    rows_coord = {"obs_id": prepared.frame.index}

    def dataset(values, dims_of, **more) -> xr.Dataset:
        return xr.Dataset(
            {name: (("chain", "draw", *dims_of(name)), value) for name, value in values.items()},
            coords={**sample, **more},
        )

    ordered = {name: quantities[name] for name in dims if name in quantities}
    tree = {
        "posterior": dataset(ordered, dims.__getitem__, **coords),
        "sample_stats": dataset(draws.statistics, lambda _: ()),
        "log_prior": dataset(log_prior, lambda _: ()),
        **observed_groups(prepared),
    }
    if log_likelihood:
        tree["log_likelihood"] = dataset(
            {spec.response: pointwise}, lambda _: ("obs_id",), **rows_coord
        )
    stamp = creation_attrs()
    for group in tree.values():
        group.attrs.update(stamp)
    tree["posterior"].attrs.update(attrs)
    result = xr.DataTree.from_dict(tree)
    result.attrs.update(stamp | {"bayesmm_model": spec.to_text()})
    return result


def observed_groups(prepared: Prepared) -> dict[str, xr.Dataset]:
    """Return the groups ``observed_data`` (the response) and ``constant_data`` (used columns)."""
    index = {"obs_id": prepared.frame.index}
    response = prepared.spec.response
    observed = xr.Dataset({response: ("obs_id", prepared.response.values)}, coords=index)
    columns = {}
    for name, column in prepared.frame.columns.items():
        values = column.to_numpy()
        if values.dtype == object:
            whole = all(isinstance(level, int) for level in column.cat.categories)
            values = values.astype(np.int64 if whole else str)
        columns[name] = ("obs_id", values)
    return {"observed_data": observed, "constant_data": xr.Dataset(columns, coords=index)}


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


@partial(jax.jit, static_argnums=(2, 3, 4))
def _summarise(positions, inputs: Inputs, program: Program, pointwise: bool, batch: int):
    def one(position):
        found = program.summarise(position, inputs)
        kept = found.log_likelihood if pointwise else ()
        return found.quantities, found.log_prior, kept

    return jax.lax.map(one, positions, batch_size=batch)
