"""The marginal mean: what is expected of a row when its cluster may be any."""

from collections.abc import Collection
from typing import Any

import xarray as xr

from bayesmm.errors import BayesmmError
from bayesmm.predict import Known, Scope, ask
from bayesmm.results.fit import Fit
from bayesmm.results.posterior import flat, thinned
from bayesmm.results.predictions import check_groups, labelled


def marginal_mean(
    fit: Fit,
    newdata: Any = None,
    *,
    over: Collection[str] | None = None,
    summary: bool = False,
    draws: int | None = None,
) -> xr.DataTree:
    """Return the expected response, averaged over the estimated distribution of clusters.

    Under a curved link the typical cluster, with effects of 0, has another mean than clusters have
    on average: `predict(group_effects=())` is the one, this is the other.

    Parameters
    ----------
    fit : Fit
        The fit.
    newdata : dataframe, optional
        Rows with the columns of the predictors; the training data if left out. Columns of groups
        that are averaged over need not be there.
    over : collection of str, optional
        The groups to average over; all of them if left out. Of any other group each row has its own
        cluster, which the model knows.
    summary : bool
        Whether to return mean, sd and an equal-tailed interval instead of draws.
    draws : int, optional
        How many posterior draws to use, spread evenly; all of them if left out.

    Returns
    -------
    xarray.DataTree
        As `Fit.predict` returns it, with the variable ``mean``.

    Raises
    ------
    DataError, NewLevelsError
        As for `Fit.predict`.
    BayesmmError
        For a group that the model does not have, a model without groups, or a link under which
        there is no such mean (``inverse``).

    Notes
    -----
    For a draw theta, E[y | x, theta] = E[mean(eta + z'b)] with z'b ~ N(0, z' Sigma z): a normal
    number for each linear predictor with group effects. A parameter in which the response's mean is
    affine is replaced by its own mean: eta (identity), exp(eta + v/2) (log),
    Phi(eta / sqrt(1 + v)) (probit), and Gauss-Hermite quadrature with 64 nodes for other links.
    Others are integrated over together, by a product rule in up to three dimensions and a
    quasi-random sequence of 4,096 points beyond. Where the mean is infinite (a lognormal response
    with group effects on sigma), no number means anything. See Zeger, Liang and Albert (1988),
    Biometrics 44:1049, and McCulloch, Searle and Neuhaus (2008), *Generalized, Linear, and Mixed
    Models*.

    Examples
    --------
    The risk in herds on average is higher than that in the typical herd:

    >>> import bayesmm as bm
    >>> data = bm.datasets.load("cbpp")
    >>> formula = "prop(incidence, size) ~ period + (1 | herd)"
    >>> fit = bm.fit(formula, data, family="binomial", seed=1)
    >>> first = bm.datagrid(fit, period="1")
    >>> average = bm.marginal_mean(fit, first)["predictions"]["mean"]
    >>> typical = fit.predict(first, group_effects=())["predictions"]["mean"]
    >>> float((average.mean() / typical.mean()).round(1))
    1.1
    """
    if not isinstance(fit, Fit):
        raise BayesmmError(f"fit is a {type(fit).__name__}: give what bm.fit() returned.")
    if not isinstance(summary, bool):
        raise BayesmmError(f"summary={summary!r}: write True or False.")
    groups = check_groups(fit.spec, "over", None)
    averaged = check_groups(fit.spec, "over", over)
    if not averaged:
        what = "over=() averages over nothing" if groups else "The model has no group effects"
        raise BayesmmError(f"{what}: fit.predict(newdata) gives the expected response.")
    posterior = thinned(fit.whole_posterior(), draws)
    scope = Scope(tuple(g for g in groups if g not in averaged), averaged)
    asked = ask(fit._prepared, Known(flat(posterior)), newdata, scope)
    return labelled(
        fit._prepared,
        posterior,
        asked,
        kind="mean",
        summary=summary,
        attrs={"over": ", ".join(averaged)},
    )
