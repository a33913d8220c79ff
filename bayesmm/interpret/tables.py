"""The tables and arrays that answers come back in."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.errors import DataError, listing
from bayesmm.prepare import Prepared

#: What a table says of an estimate; the last two are an equal-tailed interval.
ESTIMATE = ("estimate", "std_error", "conf_low", "conf_high")


def summary(values: np.ndarray, conf_level: float) -> np.ndarray:
    """Return median, sd and the bounds of the equal-tailed interval, along the first axis."""
    tails = [0.5, 0.5 - conf_level / 2.0, 0.5 + conf_level / 2.0]
    rows = np.ascontiguousarray(np.moveaxis(values, 0, -1))
    median, low, high = np.quantile(rows, tails, axis=-1)
    return np.stack([median, rows.std(axis=-1), low, high])


def repeated(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return each row of a table once for each label, in the column ``group``."""
    every = table.iloc[np.repeat(np.arange(len(table)), len(labels))].copy()
    every.insert(0, "group", np.tile(np.asarray(labels, dtype=object), len(table)))
    return every


def table_of(names: pd.DataFrame, values: np.ndarray, attrs: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table of summaries, shape (4, rows), beside what names them."""
    table = names.copy()
    for name, column in zip(ESTIMATE, values, strict=True):
        table[name] = column
    table.attrs.update(attrs)
    return table


def drawn(
    names: pd.DataFrame, values: np.ndarray, posterior: xr.Dataset, attrs: Mapping[str, Any]
) -> xr.DataArray:
    """Return draws, shape (all draws, rows), with what names the rows as coordinates."""
    chains, per_chain = posterior.sizes["chain"], posterior.sizes["draw"]
    coords: dict[str, Any] = {
        "chain": posterior.chain.to_numpy(),
        "draw": posterior.draw.to_numpy(),
        "row": names.index.to_numpy(),
    }
    for name in names.columns:
        column = names[name]
        plain = column.to_numpy() if column.dtype.kind in "iufb" else column.astype(str).to_numpy()
        coords[str(name)] = ("row", np.asarray(plain))
    return xr.DataArray(
        values.reshape(chains, per_chain, -1),
        dims=("chain", "draw", "row"),
        coords=coords,
        name="estimate",
        attrs=dict(attrs),
    )


def concatenated(
    parts: Sequence[pd.DataFrame | xr.DataArray], *, draws: bool
) -> pd.DataFrame | xr.DataArray:
    """Return the answers for several terms as one."""
    several: list[Any] = list(parts)
    if draws:
        joined: Any = xr.concat(several, dim="row")
        return joined
    table: Any = pd.concat(several, ignore_index=all(len(part) == 1 for part in several))
    table.attrs.update(parts[0].attrs)
    return table


def named(found: Any, term: str, contrast: str) -> Any:
    """Return an answer that says which predictor, and which of its values, it is of."""
    if isinstance(found, xr.DataArray):
        rows = found.sizes["row"]
        return found.assign_coords(term=("row", [term] * rows), contrast=("row", [contrast] * rows))
    found.insert(0, "term", term)
    found.insert(1, "contrast", contrast)
    return found


def used_columns(rows: pd.DataFrame, prepared: Prepared) -> pd.DataFrame:
    """Return what of the rows names them in a table: the columns that the model uses."""
    used = [name for name in rows.columns if name in prepared.frame.columns or name == "rowidcf"]
    found: Any = rows[used]
    return found


def check_names(names: pd.DataFrame, added: Collection[str]) -> None:
    """Refuse columns of the data that have the name of one that the table adds.

    Raises
    ------
    DataError
        It lists them.
    """
    taken = [name for name in names.columns if name in (*ESTIMATE, "row", *added)]
    if taken:
        raise DataError(
            f"The column {listing(taken)} of the data is also one of the answer's: rename it."
        )
