"""Which zeros are structural: what a zero inflation says of each row that is zero.

A zero-inflated response is a finite mixture: with probability zi a row is zero whatever its mean
(a structural zero: no salamander can live there), otherwise it is a draw of the base family, which
may be zero too (a sampling zero: none was seen this time).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayesmm.design import Design
from bayesmm.errors import DataError, FamilyError, listing
from bayesmm.families import FAMILIES, Family
from bayesmm.model import predictor_values
from bayesmm.predict import Known, Scope, ask, predict_rows
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

    Examples
    --------
    How likely a zero is to be structural, if counts are Poisson otherwise:

    >>> import bayesmm as bm
    >>> data = bm.datasets.load("salamanders")
    >>> formulas = ["count ~ mined + (1 | site)", "zi ~ mined"]
    >>> fit = bm.fit(formulas, data, family="zero_inflated_poisson", seed=1)
    >>> found = bm.structural_zeros(fit).to_series()
    >>> found.groupby(data["mined"]).agg(["size", "mean"]).round(1)
           size  mean
    mined
    no      128   0.9
    yes     259   0.9
    """
    prepared, family = fit._prepared, fit.spec.family
    if family.structural_zero is None:
        able = [f.name for f in FAMILIES.values() if f.structural_zero]
        why = " (of a hurdle every zero is of one kind)" if family.base else ""
        raise FamilyError(
            f"family={family.name!r} does not tell structural from sampling zeros{why}. Those that "
            f"do are {listing(able, 20)}."
        )
    posterior = fit.whole_posterior()
    scope = Scope(prepared.spec.groups, remedy="Leave those rows out.")
    asked = ask(prepared, Known(flat(posterior)), newdata, scope)
    if newdata is None:
        y, seen = prepared.response.values, prepared.response.data
    else:
        y, seen = prepared.responses_of(newdata), {}
    rows = np.arange(asked.design.rows) if y is None else np.flatnonzero(y == 0)
    for censored in ("right", "interval"):  # above 0, although a 0 was recorded
        if censored in seen:
            rows = rows[~seen[censored][rows]]
    if rows.size == 0:
        raise DataError(f"No row has a response ({fit.spec.response}) of zero.")
    asked = asked.part(rows)
    found = predict_rows(
        family,
        prepared.spec.layout,
        asked.design,
        asked.effects,
        kind=_structural,
        seed=0,
        probability=None if draws else 0.5,
    )["structural"]
    coords: dict[str, Any] = {"obs_id": asked.frame.index}
    if not draws:
        return xr.DataArray(found[0], dims=("obs_id",), coords=coords, name="structural")
    coords = {"chain": posterior.chain, "draw": posterior.draw, **coords}
    values = found.reshape(posterior.sizes["chain"], posterior.sizes["draw"], -1)
    return xr.DataArray(values, dims=("chain", "draw", "obs_id"), coords=coords, name="structural")


def _structural(family: Family, layout, design: Design, draw, key, averaged) -> dict:
    """P(Z = 1 | y = 0) of every row, for one draw: a kind of prediction."""
    del key, averaged
    structural: Any = family.structural_zero
    log_probability = structural(predictor_values(family, layout, design, draw))
    return {"structural": jnp.broadcast_to(jnp.exp(log_probability), (design.rows,))}
