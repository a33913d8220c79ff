"""Saving and loading: netCDF or zarr, labels and text and numbers, no pickle.

A file holds the `DataTree` of the fit, with the model's text in its attributes and the used
columns in ``constant_data``. Loading reads the formula again through the same safety walk as
any other text, and builds the design from the columns, which restores the state of transforms.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pandas as pd
import xarray as xr

from bayesmm import families
from bayesmm.design import DesignBuilder
from bayesmm.errors import BayesmmError, DataError, FamilyError, FormulaError
from bayesmm.families import Family
from bayesmm.formula import parse
from bayesmm.prepare import Prepared
from bayesmm.priors import LKJ, Prior, resolve
from bayesmm.results.convert import dimensions, effect_variables
from bayesmm.schema import Frame
from bayesmm.spec import specify


def save(tree: xr.DataTree, path: str | Path) -> None:
    """Write results; see `Fit.save`."""
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise DataError(f"path={str(path)!r}: there is no directory {str(target.parent)!r}.")
    if target.suffix == ".nc":
        tree.to_netcdf(target, engine="h5netcdf", mode="w")
    elif target.suffix == ".zarr":
        tree.to_zarr(target, mode="w", consolidated=False, zarr_format=3)
    else:
        raise DataError(f"path={str(path)!r}: end it in '.nc' (netCDF) or '.zarr'.")


def read(
    path: str | Path,
    functions: Mapping[str, Callable] | None = None,
    family: Family | None = None,
) -> tuple[Prepared, xr.DataTree]:
    """Return the model and the results of a file; see `bayesmm.load`."""
    idata = _read(Path(path))
    text = idata.attrs.get("bayesmm_model")
    if text is None:
        raise DataError(f"path={str(path)!r} holds no model of bayesmm: was it written by save()?")
    try:
        prepared = _restore(json.loads(text), idata, functions, family)
        # zarr lists variables by name; tables are in the order of the model.
        posterior = idata["posterior"].to_dataset()
        left_out = effect_variables(prepared.spec).difference(map(str, posterior.data_vars))
        posterior = posterior[[n for n in dimensions(prepared.spec)[0] if n not in left_out]]
        idata["posterior"] = xr.DataTree(posterior)
        idata["sample_stats"]["diverging"]
    except BayesmmError:
        raise
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise DataError(
            f"path={str(path)!r} holds a model that cannot be read ({error!r}): was it written by "
            "save() of this version?"
        ) from error
    return prepared, idata


def _read(path: Path) -> xr.DataTree:
    if path.suffix not in (".nc", ".zarr"):
        raise DataError(f"path={str(path)!r}: a fit ends in '.nc' (netCDF) or '.zarr'.")
    if not path.exists():
        raise DataError(f"path={str(path)!r} does not exist.")
    options: dict[str, Any] = {"engine": "h5netcdf"}
    if path.suffix == ".zarr":
        # Stores of the older format may name a filter that unpickles.
        options = {"engine": "zarr", "consolidated": False, "zarr_format": 3}
    try:
        with xr.open_datatree(path, **options) as tree:
            return tree.load()
    except Exception as error:  # which one, is for the library of the format to choose
        raise DataError(
            f"path={str(path)!r} cannot be read as {path.suffix[1:]}: {error}. Was it written by "
            "save()?"
        ) from error


def _restore(
    text: dict,
    idata: xr.DataTree,
    functions: Mapping[str, Callable] | None,
    family: Family | None,
) -> Prepared:
    try:
        parsed = parse(text["formula"], functions)
    except FormulaError as error:
        raise FormulaError(
            f"{error}\nThe formula of the file may call a function of the user's: pass it in "
            'bm.load(path, functions={"f": f}).'
        ) from error
    if family is None:
        if text["own_family"] or text["family"] not in families.names():
            raise FamilyError(
                f"The file was fitted with the family {text['family']!r}, which is not one of the "
                "package's: pass it in bm.load(path, family=...)."
            )
        family = families.get(text["family"])
    chosen = family(**text["options"])
    frame = _frame(text, idata)
    with jax.enable_x64(True):
        builder = DesignBuilder(parsed, functions)
        design, response = builder.train(frame, chosen)
        spec = specify(parsed, builder.schema, builder.family, builder.layout, design, response)
    stored = {row["label"]: row for row in text["priors"]}
    # A file's priors go through the checks of a user's; only their keys are taken as written.
    given = {label: _prior_of(row["prior"]) for label, row in stored.items()}
    slots = [a.slot for a in spec.priors]
    priors = tuple(replace(a, key=stored[a.slot.label]["key"]) for a in resolve(slots, given))
    spec = replace(spec, priors=priors)
    return Prepared(spec, frame, builder, design, response, dict(functions or {}))


def _prior_of(data: dict) -> Any:
    prior = Prior.from_data(data)
    return LKJ(dict(prior.args)["eta"]) if prior.name == "LKJ" else prior.distribution()


def _frame(text: dict, idata: xr.DataTree) -> Frame:
    """The training columns with their kinds and levels."""
    stored = idata["constant_data"].to_dataset()
    columns = {}
    for column in text["columns"]:
        values = stored[column["name"]].to_numpy()
        if column["kind"] == "category":
            columns[column["name"]] = pd.Categorical(
                values, categories=column["levels"], ordered=True
            )
        else:
            columns[column["name"]] = values
    table = pd.DataFrame(columns, index=pd.RangeIndex(stored.sizes["obs_id"]))
    return Frame(table, stored["obs_id"].to_numpy())
