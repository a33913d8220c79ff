"""PSIS-LOO over rows, through ArviZ; streamed over rows where the log-likelihood is not stored."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayesmm.chunks import at_once
from bayesmm.design import Design, take
from bayesmm.model import log_likelihood
from bayesmm.prepare import Prepared
from bayesmm.results.convert import telling
from bayesmm.results.posterior import flat

#: Numbers of a posterior whose effective sample sizes are found at once.
NUMBERS_AT_ONCE = 200


def loo(prepared: Prepared, idata: xr.DataTree, posterior: xr.Dataset, **kwargs):
    """Return ArviZ's LOO; where the log-likelihood is not stored, compute it in chunks of rows.

    Parameters
    ----------
    prepared : Prepared
        The model and its data.
    idata : xarray.DataTree
        Its results.
    posterior : xarray.Dataset
        Its posterior, with the group effects where the log-likelihood is not stored.
    **kwargs
        For `arviz.loo`.
    """
    import arviz_stats

    if "log_likelihood" in idata.children:
        return arviz_stats.loo(idata, **kwargs)
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    # ArviZ would find the relative efficiency anew for every chunk, from all of the posterior.
    options = {"reff": relative_efficiency(posterior), **kwargs, "pointwise": True}
    few = posterior[["Intercept"]] if "Intercept" in posterior else posterior
    rows = np.flatnonzero(telling(prepared))
    per_row = prepared.numbers_per_draw // len(prepared.response.values)
    step = at_once(shape[0] * shape[1] * per_row)
    parts = []
    with jax.enable_x64(True):
        quantities = jax.tree.map(jnp.asarray, flat(posterior))
        for start in range(0, len(rows), step):
            chosen = rows[start : start + step]
            values = np.asarray(_pointwise(quantities, take(prepared.design, chosen), prepared))
            log_lik = xr.Dataset(
                {prepared.spec.response: (("chain", "draw", "obs_id"), values.reshape(*shape, -1))},
                coords={
                    "chain": posterior.chain,
                    "draw": posterior.draw,
                    "obs_id": prepared.frame.index[chosen],
                },
            )
            chunk = xr.DataTree.from_dict({"posterior": few, "log_likelihood": log_lik})
            part: Any = arviz_stats.loo(chunk, **options)
            part.log_weights = None  # as many numbers as the log-likelihood that is not stored
            parts.append(part)
    return _joined(parts, keep_pointwise=kwargs.get("pointwise"))


def relative_efficiency(posterior: xr.Dataset) -> float:
    """Mean of ess / draws over all numbers of the posterior, as `arviz.loo` takes it."""
    from arviz_stats import ess

    if posterior.sizes["chain"] == 1:
        return 1.0
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    values = []
    for variable in posterior.data_vars.values():
        numbers = variable.to_numpy().reshape(chains, draws, -1)
        # Its Fourier transforms take twenty times the memory of what they are of.
        for start in range(0, numbers.shape[2], NUMBERS_AT_ONCE):
            part = numbers[:, :, start : start + NUMBERS_AT_ONCE]
            found: Any = ess(xr.Dataset({"x": (("chain", "draw", "number"), part)}), method="mean")
            values.append(found["x"].to_numpy())
    return float(np.concatenate(values).mean() / (chains * draws))


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


def _pointwise(quantities, design: Design, prepared: Prepared) -> jax.Array:
    return _pointwise_jitted(quantities, design, prepared.spec.family, prepared.spec.layout)


@partial(jax.jit, static_argnums=(2, 3))
def _pointwise_jitted(quantities, design: Design, family, layout):
    return jax.vmap(lambda draw: log_likelihood(family, layout, design, draw))(quantities)
