"""`bm.r2`: how much of the variance of a response the model explains."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.errors import BayesmmError
from bayesmm.interpret.moments import Moments
from bayesmm.interpret.variance import asking, check_variance
from bayesmm.predict import Scope
from bayesmm.results import Fit

KINDS = ("conditional", "marginal")
#: What to do about clusters that the model has not seen.
KNOWN = (
    "The conditional R2 is of clusters that it knows. Leave those rows out; variance_partition() "
    "needs no clusters, and its share of 'fixed' is the marginal R2."
)


def r2(
    fit: Fit,
    newdata: Any = None,
    *,
    conf_level: float = 0.95,
    draws: bool = False,
    ndraws: int | None = None,
) -> pd.DataFrame | xr.DataArray:
    """Return the Bayesian R2 of Gelman, Goodrich, Gabry and Vehtari (2019), through ArviZ.

    Parameters
    ----------
    fit : Fit
        The fit.
    newdata : dataframe, optional
        Rows of clusters that the model knows; those of the training data if left out.
    conf_level : float
        Probability of the equal-tailed intervals.
    draws : bool
        Whether to return R2 in every draw instead of a table.
    ndraws : int, optional
        How many posterior draws to use, spread evenly; all of them if left out.

    Returns
    -------
    pandas.DataFrame
        Two rows, named in ``kind``: ``estimate`` (the posterior median), ``std_error`` (the
        posterior sd), ``conf_low``, ``conf_high``.
    xarray.DataArray
        With ``draws=True``: dims chain, draw, kind.

    Raises
    ------
    NewLevelsError
        For clusters that the model has not seen.
    BayesmmError
        As for `variance_partition`, and for a single row.

    Notes
    -----
    In every draw, R2 = V / (V + E), V being the variance over rows of what is expected of them and
    E the mean over rows of the variance that the model leaves them, `Family.variance`; no response
    is looked at.

    - ``conditional``: of the rows' own clusters. V is of the mean given the clusters' effects, E
      the mean of Var(y | b).
    - ``marginal``: of predictors alone. V is of the mean averaged over clusters, and what clusters
      add to the variance is in E. It is the share of ``fixed`` in `variance_partition` (up to a
      divisor of rows - 1).

    `bayes_R2(re_formula = NA)` of brms takes, for the latter, the mean of the typical cluster (the
    same under an identity link) and the variance of the residuals y - mean; that of rstanarm leaves
    the clusters out of E too, and so can be much larger. Without groups both rows are the same.

    References
    ----------
    .. [1] Gelman, A., Goodrich, B., Gabry, J. and Vehtari, A. (2019). R-squared for Bayesian
       regression models. The American Statistician 73, 307-309.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> bm.r2(fit).round(1)
              kind  estimate  std_error  conf_low  conf_high
    0  conditional       0.8        0.0       0.7        0.8
    1     marginal       0.3        0.1       0.1        0.4
    """
    asked = asking(fit, newdata, conf_level, draws, ndraws)
    check_variance(asked.prepared.spec)
    own = asked.rows(Scope(kept=asked.groups, remedy=KNOWN))
    any_cluster = asked.rows(Scope(averaged=asked.groups))
    if own.design.rows < 2:
        raise BayesmmError("newdata has one row, and R2 is of differences between rows: give more.")
    given = asked.found(own, _r2)
    average = asked.found(any_cluster, _r2) if asked.groups else given
    values = np.concatenate([given, average], axis=1)
    return asked.answer(values, "kind", KINDS, "r2" if draws else None)


def _r2(found: Moments) -> np.ndarray:
    """R2 of some draws, shape (draws, 1)."""
    import arviz_stats

    posterior = xr.Dataset(
        {
            "mean": (("chain", "draw", "row"), found.mean[None]),
            "variance": (("chain", "draw"), (found.explained + found.residual).mean(axis=1)[None]),
        }
    )
    tree: Any = xr.DataTree.from_dict({"posterior": posterior})
    values = arviz_stats.bayesian_r2(
        tree, "mean", "variance", scale_kind="var", summary=False, round_to="none"
    )
    return np.asarray(values, dtype=float)[:, None]
