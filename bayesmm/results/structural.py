"""Which zeros are structural: what a zero inflation says of each row that is zero.

A zero-inflated response is a finite mixture: with probability zi a row is zero whatever its mean
(a structural zero: no salamander can live there), otherwise it is a draw of the base family, which
may be zero too (a sampling zero: none was seen this time).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayesmm.chunks import at_once
from bayesmm.design import Design, take
from bayesmm.engines import use_compilation_cache
from bayesmm.errors import DataError, FamilyError, listing
from bayesmm.families import FAMILIES, Family
from bayesmm.model import predictor_values
from bayesmm.results.fit import Fit
from bayesmm.results.posterior import flat


def structural_zeros(fit: Fit, newdata: Any = None, *, draws: bool = False) -> xr.DataArray:
    """Return for every zero the posterior probability that it is structural.

    Parameters
    ----------
    fit : Fit
        Of a zero-inflated family.
    newdata : dataframe, optional
        Rows to answer for instead of the training data, with the columns of the predictors.
        Rows whose response is not zero are left out; without the response's column, every row is
        taken to be zero.
    draws : bool
        Whether to return the probability in each posterior draw, instead of their mean.

    Returns
    -------
    xarray.DataArray
        P(Z = 1 | y = 0), named ``structural``, with dim ``obs_id`` (the labels of the rows), after
        chain and draw where draws are asked for.

    Raises
    ------
    FamilyError
        If the family has no structural zeros beside sampling zeros.
    DataError
        If no row is zero, or new data lack a column or have a missing value.
    NewLevelsError
        If new data have a level of a group that the model has not seen.

    Notes
    -----
    With zi the inflation and f the probability of the base family, for a draw theta
    P(Z = 1 | y = 0, theta) = zi / (zi + (1 - zi) f(0)), and the mean over draws is P(Z = 1 | y = 0)
    given all data, by the law of total probability.
    """
    prepared, family = fit._prepared, fit.spec.family
    if family.structural_zero is None:
        able = [f.name for f in FAMILIES.values() if f.structural_zero]
        why = " (of a hurdle every zero is of one kind)" if family.base else ""
        raise FamilyError(
            f"family={family.name!r} does not tell structural from sampling zeros{why}. Those that "
            f"do are {listing(able, 20)}."
        )
    if newdata is None:
        design, index, y = prepared.design, prepared.frame.index, prepared.response.values
    else:
        design, frame, y = prepared.design_of(newdata)
        index = frame.index
    rows = np.arange(design.rows) if y is None else np.flatnonzero(y == 0)
    for censored in ("right", "interval"):  # above 0, although a 0 was recorded
        if censored in design.data:
            rows = rows[~design.data[censored][rows]]
    if rows.size == 0:
        raise DataError(f"No row has a response ({fit.spec.response}) of zero.")
    posterior = fit.whole_posterior()
    sample = (posterior.sizes["chain"], posterior.sizes["draw"])
    use_compilation_cache()
    parts = []
    with jax.enable_x64(True):
        quantities = jax.tree.map(jnp.asarray, flat(posterior))
        step = at_once(sample[0] * sample[1] * family.width)
        for start in range(0, len(rows), step):
            chosen = take(design, rows[start : start + step])
            found = np.asarray(
                _probabilities(quantities, chosen, family, family.structural_zero, fit.spec.layout)
            )
            parts.append(found if draws else found.mean(axis=0))
    values = np.concatenate(parts, axis=-1)
    coords = {"obs_id": index[rows]}
    dims: tuple[str, ...] = ("obs_id",)
    if draws:
        values = values.reshape(*sample, -1)
        coords = {"chain": posterior.chain, "draw": posterior.draw, **coords}
        dims = ("chain", "draw", "obs_id")
    return xr.DataArray(values, dims=dims, coords=coords, name="structural")


@partial(jax.jit, static_argnums=(2, 3, 4))
def _probabilities(quantities, design: Design, family: Family, structural, layout) -> jax.Array:
    def one(draw):
        log_probability = structural(predictor_values(family, layout, design, draw))
        return jnp.broadcast_to(jnp.exp(log_probability), (design.rows,))

    return jax.vmap(one)(quantities)
