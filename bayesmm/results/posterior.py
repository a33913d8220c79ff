"""Draws of a posterior in the shapes that computations want."""

import numpy as np
import xarray as xr

from bayesmm.engines import whole_number
from bayesmm.errors import SamplerError


def thinned(posterior: xr.Dataset, draws: int | None, argument: str = "draws") -> xr.Dataset:
    """Return the posterior, or as many of its draws, spread evenly, on one chain.

    Raises
    ------
    SamplerError
        If `draws` is not a whole number from 1 to the number of draws there are.
    """
    if draws is None:
        return posterior
    count = whole_number(argument, draws, 1)
    chains, per_chain = posterior.sizes["chain"], posterior.sizes["draw"]
    if count > chains * per_chain:
        raise SamplerError(f"{argument}={draws}: the posterior has {chains * per_chain} draws.")
    picked = np.linspace(0, chains * per_chain - 1, count).round().astype(int)
    parts = {}
    for name, values in posterior.data_vars.items():
        array = values.to_numpy()
        flat_array = array.reshape(-1, *array.shape[2:])[picked][None]
        parts[name] = (values.dims, flat_array)
    coords = {k: v for k, v in posterior.coords.items() if k not in ("chain", "draw")}
    return xr.Dataset(parts, coords={"chain": [0], "draw": np.arange(count), **coords})


def joined(values: xr.DataArray) -> np.ndarray:
    """Return draws with chain and draw as one leading dimension.

    Not by xarray's stack: any name of a new dimension may be that of a group.
    """
    array = values.transpose("chain", "draw", ...).to_numpy()
    return array.reshape(-1, *array.shape[2:])


def means(posterior: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the posterior mean of every variable."""
    return {name: values.mean(axis=0) for name, values in flat(posterior).items()}


def flat(posterior: xr.Dataset) -> dict[str, np.ndarray]:
    """Return every variable with chain and draw as one leading dimension."""
    return {str(name): joined(values) for name, values in posterior.data_vars.items()}
