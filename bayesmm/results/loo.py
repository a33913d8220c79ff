"""PSIS-LOO over rows, through ArviZ; streamed over rows where the log-likelihood is not stored."""

from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayesmm.design import take
from bayesmm.model import log_likelihood
from bayesmm.prepare import Prepared
from bayesmm.results.convert import CHUNK_NUMBERS
from bayesmm.results.fit import flat


def loo(prepared: Prepared, idata: xr.DataTree, **kwargs):
    """Return ArviZ's LOO; where the log-likelihood is not stored, compute it in chunks of rows.

    Parameters
    ----------
    prepared : Prepared
        The model and its data.
    idata : xarray.DataTree
        Its results.
    **kwargs
        For `arviz.loo`.
    """
    import arviz_stats

    if "log_likelihood" in idata.children:
        return arviz_stats.loo(idata, **kwargs)
    posterior = idata["posterior"].to_dataset()
    quantities = flat(posterior)
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    rows = len(prepared.response.values)
    step = max(1, CHUNK_NUMBERS // (shape[0] * shape[1]))
    parts = []
    for start in range(0, rows, step):
        span = slice(start, min(start + step, rows))
        values = _rows(prepared, quantities, span).reshape(*shape, -1)
        log_lik = xr.Dataset(
            {prepared.spec.response: (("chain", "draw", "obs_id"), values)},
            coords={
                "chain": posterior.chain,
                "draw": posterior.draw,
                "obs_id": prepared.frame.index[span],
            },
        )
        chunk = xr.DataTree.from_dict({"posterior": posterior, "log_likelihood": log_lik})
        parts.append(arviz_stats.loo(chunk, **{**kwargs, "pointwise": True}))
    return _joined(parts, keep_pointwise=kwargs.get("pointwise"))


def _joined(parts: list, keep_pointwise: bool | None):
    """One result of those of chunks of rows: sums are sums, and se = sqrt(n var(elpd_i))."""
    from arviz_base import rcParams

    first = parts[0]
    elpd_i: Any = xr.concat([part.elpd_i for part in parts], dim="obs_id")
    pareto_k: Any = xr.concat([part.pareto_k for part in parts], dim="obs_id")
    first.elpd = float(elpd_i.to_numpy().sum())
    first.p = float(sum(part.p for part in parts))
    first.n_data_points = elpd_i.size
    first.se = float(np.sqrt(elpd_i.size * np.var(elpd_i.to_numpy(), ddof=1)))
    first.warning = any(part.warning for part in parts)
    wanted = rcParams["stats.ic_pointwise"] if keep_pointwise is None else keep_pointwise
    first.elpd_i = elpd_i if wanted else None
    first.pareto_k = pareto_k if wanted else None
    return first


def _rows(prepared: Prepared, quantities: dict[str, np.ndarray], span: slice) -> np.ndarray:
    spec = prepared.spec
    design = take(prepared.design, span)
    with jax.enable_x64(True):
        found = _pointwise(quantities, design, spec.family, spec.layout)
    return np.asarray(found)


@partial(jax.jit, static_argnums=(2, 3))
def _pointwise(quantities, design, family, layout):
    return jax.vmap(lambda draw: log_likelihood(family, layout, design, draw))(quantities)
