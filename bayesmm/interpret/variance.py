"""Where the variance of a response comes from: `bm.variance_partition` and `bm.icc`.

Both are of the response that the model predicts, over the rows of a table and over clusters drawn
from their estimated distribution; `moments` finds what each posterior draw says of each row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.errors import BayesmmError, DataError, did_you_mean, listing
from bayesmm.families import Family
from bayesmm.interpret.latent import is_threshold, latent_family
from bayesmm.interpret.moments import Moments, Reduce, moments
from bayesmm.interpret.tables import summary, table_of
from bayesmm.interpret.variables import check_conf_level, check_fit, rows_of
from bayesmm.predict import Asked, Known, Scope, ask
from bayesmm.prepare import Prepared
from bayesmm.results import Fit
from bayesmm.results.posterior import flat, thinned
from bayesmm.spec import ModelSpec

SCALES = ("response", "latent")
#: What a partition has beside groupings, in the order of its table.
FIXED, SHARED, RESIDUAL = "fixed", "shared", "residual"


def variance_partition(
    fit: Fit,
    newdata: Any = None,
    *,
    conf_level: float = 0.95,
    draws: bool = False,
    ndraws: int | None = None,
) -> pd.DataFrame | xr.DataArray:
    """Split the variance of the response into what predictors, clusters and chance contribute.

    All on the scale of the response, and of a response whose row is any of the given ones, each as
    likely as any other, and whose clusters are any.

    Parameters
    ----------
    fit : Fit
        The fit.
    newdata : dataframe, optional
        The rows; those of the training data if left out. Grouping columns need not be there.
    conf_level : float
        Probability of the equal-tailed intervals.
    draws : bool
        Whether to return the variances in every draw instead of a table.
    ndraws : int, optional
        How many posterior draws to use, spread evenly; all of them if left out. The time goes with
        rows times draws: of 100,000 rows a few hundred draws say enough.

    Returns
    -------
    pandas.DataFrame
        A row for each ``component``: the variance (``estimate``, the posterior median,
        ``std_error``, the posterior sd, ``conf_low``, ``conf_high``) and its share of the total
        (``share``, the median, ``share_low``, ``share_high``). Medians do not add up exactly.
    xarray.DataArray
        With ``draws=True``: dims chain, draw, component. They add up to the total; shares
        are ``found / found.sum("component")``.

    Raises
    ------
    BayesmmError
        For categories or several columns as a response, a family that declares no variance, a
        variance that is infinite, a link under which clusters have no mean, or an argument that
        makes no sense.
    DataError
        For rows that the model cannot be asked about.

    Notes
    -----
    With m the mean of the response given its clusters b, for every posterior draw:

    - ``fixed``: the variance over rows of E_b[m];
    - one component for each grouping g: the mean over rows of Var(E[m | effects of g]), all other
      clusters being averaged over (a first-order Sobol index). Effects of g on any parameter of the
      family belong to it;
    - ``shared``: the mean over rows of what is left of Var_b(m): the groupings explain it only
      together. It is 0 for one grouping and for identity links, and never below 0;
    - ``residual``: the mean over rows of E_b[Var(y | b)].

    For a Gaussian response the component of g is the mean of z' Sigma z [4]_, and ``residual`` is
    E[sigma**2]. For a log link and a Poisson response they are those of [3]_; for others of [1]_,
    averaged over rows. Variances over rows are divided by the number of rows. Of ``prop(y, n)`` the
    response is the count, so that rows of different n differ for that too. Censoring and truncation
    are left out.

    Clusters are averaged over by Gauss-Hermite quadrature in one dimension for each linear
    predictor with group effects, whatever the number of groupings: 64 nodes, 20 each for two that
    matter to the response in a curved way, 14 for three. It is exact to rounding under identity,
    log and sqrt links. Of probabilities with an sd of 1.5 over clusters (logit, probit, cloglog,
    cauchit), 64 nodes leave an error of 1e-12, 1e-12, 1e-8 and 1e-6; with an sd of 4, of 6e-6,
    5e-5, 6e-4 and 1e-3. Beyond three it is 4,096 quasi-random points, good to a few percent. See
    `bayesmm.interpret.moments`. Where a mean is infinite (a lognormal response with group effects
    on sigma), no number means anything.

    References
    ----------
    .. [1] Goldstein, H., Browne, W. and Rasbash, J. (2002). Partitioning variation in multilevel
       models. Understanding Statistics 1, 223-231.
    .. [2] Sobol, I. M. (2001). Global sensitivity indices for nonlinear mathematical models and
       their Monte Carlo estimates. Mathematics and Computers in Simulation 55, 271-280.
    .. [3] Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017). The coefficient of
       determination R2 and intra-class correlation coefficient from generalized linear
       mixed-effects models revisited and expanded. J. R. Soc. Interface 14, 20170213.
    .. [4] Johnson, P. C. D. (2014). Extension of Nakagawa & Schielzeth's R2GLMM to random slopes
       models. Methods in Ecology and Evolution 5, 944-946.

    Examples
    --------
    On day 0 subjects differ from each other about as much as one does from time to time; on day 9
    they differ much more:

    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> for day in [0, 9]:
    ...     found = bm.variance_partition(fit, bm.datagrid(fit, Days=day))
    ...     print(found.set_index("component")["share"].round(1).to_dict())
    {'fixed': 0.0, 'Subject': 0.5, 'shared': 0.0, 'residual': 0.5}
    {'fixed': 0.0, 'Subject': 0.9, 'shared': 0.0, 'residual': 0.1}
    """
    asked = asking(fit, newdata, conf_level, draws, ndraws)
    check_variance(asked.prepared.spec)
    taken = [name for name in asked.groups if name in (FIXED, SHARED, RESIDUAL)]
    if taken:
        raise DataError(f"The column {listing(taken)} is also a component's name: rename it.")
    values = asked.found(asked.rows(Scope(averaged=asked.groups)), _components)
    names = (FIXED, *asked.groups, SHARED, RESIDUAL)
    if not asked.groups:
        names, values = (FIXED, RESIDUAL), values[:, [0, -1]]
    found = asked.answer(values, "component", names, "variance" if draws else None)
    if isinstance(found, pd.DataFrame):
        share = summary(_shares(values), conf_level)
        return found.assign(share=share[0], share_low=share[2], share_high=share[3])
    return found


def icc(
    fit: Fit,
    newdata: Any = None,
    *,
    scale: Literal["response", "latent"] = "response",
    conf_level: float = 0.95,
    draws: bool = False,
    ndraws: int | None = None,
) -> pd.DataFrame | xr.DataArray:
    """Return the intraclass correlation of every grouping.

    That is the correlation, given the predictors, of two responses of one cluster whose other
    clusters differ.

    Parameters
    ----------
    fit : Fit
        The fit.
    newdata : dataframe, optional
        The rows over which variances are averaged; those of the training data if left out.
        Grouping columns need not be there. With random slopes, or on the scale of a response whose
        link is curved, the correlation depends on the predictors: ask for rows that are all alike
        to have it there.
    scale : {"response", "latent"}
        Of the response itself, or of the continuous one that it is thought to be made of. The
        latter is known for normal residuals under an identity link, for 0 and 1 or successes of
        trials, and for ordered categories (``cumulative``), with the links logit (residual variance
        pi**2 / 3), probit (1) and cloglog (pi**2 / 6).
    conf_level : float
        Probability of the equal-tailed intervals.
    draws : bool
        Whether to return the correlation in every draw instead of a table.
    ndraws : int, optional
        How many posterior draws to use, spread evenly; all of them if left out.

    Returns
    -------
    pandas.DataFrame
        A row for each ``group``: ``estimate`` (the posterior median), ``std_error`` (the posterior
        sd), ``conf_low``, ``conf_high``.
    xarray.DataArray
        With ``draws=True``: dims chain, draw, group.

    Raises
    ------
    BayesmmError
        For a model without groups, a scale that the model has not, or as for `variance_partition`.

    Notes
    -----
    Component of g / (all groupings + shared + residual), with the components of
    `variance_partition`: of it, what predictors explain is left out. Of groupings within each
    other, ``(1 | school) + (1 | school:class)``, each is for what it adds: two pupils of one class
    share both, and the correlation of theirs is the sum (on the response scale of a curved link,
    and more: what the two explain together). See Nakagawa, Johnson and Schielzeth (2017), J. R.
    Soc. Interface 14, 20170213.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("cbpp")
    >>> formula = "prop(incidence, size) ~ period + (1 | herd)"
    >>> fit = bm.fit(formula, data, family="binomial", seed=1)
    >>> bm.icc(fit, bm.datagrid(fit, period="1")).round(1)  # two animals of a herd: ill or not
      group  estimate  std_error  conf_low  conf_high
    0  herd       0.1        0.0       0.0        0.2
    >>> bm.icc(fit, scale="latent").round(1)
      group  estimate  std_error  conf_low  conf_high
    0  herd       0.1        0.1       0.0        0.3
    """
    if scale not in SCALES:
        raise BayesmmError(
            f"scale={scale!r}: write one of {listing(SCALES)}.{did_you_mean(str(scale), SCALES)}"
        )
    asked = asking(fit, newdata, conf_level, draws, ndraws)
    spec = asked.prepared.spec
    if not asked.groups:
        raise BayesmmError(
            "The model has no group effects, so no clusters whose responses correlate. Add a term "
            "such as (1 | g) to the formula."
        )
    latent = scale == "latent"
    if not latent:
        check_variance(spec)
    family = latent_family(spec) if latent else None
    rows = asked.rows(Scope(averaged=asked.groups))
    parts = asked.found(rows, _components, family)[:, 1:]
    values = _shares(parts)[:, : len(asked.groups)]
    found = asked.answer(values, "group", asked.groups, "icc" if draws else None)
    found.attrs["scale"] = scale
    return found


@dataclass(frozen=True)
class Asking:
    """What is asked of which fit: the arguments that `r2` has too.

    Attributes
    ----------
    prepared : Prepared
        The model.
    posterior : xarray.Dataset
        As many of its draws as are used.
    newdata : pandas.DataFrame or None
        The rows, as the caller gave them; None for those of the training data.
    conf_level : float
        The probability of intervals.
    """

    prepared: Prepared
    posterior: xr.Dataset
    newdata: pd.DataFrame | None
    conf_level: float

    @property
    def groups(self) -> tuple[str, ...]:
        """The groupings that have effects."""
        return self.prepared.spec.groups

    def rows(self, scope: Scope) -> Asked:
        """Read the rows; see `ask` for what is refused."""
        return ask(self.prepared, Known(flat(self.posterior)), self.newdata, scope)

    def found(self, rows: Asked, reduce: Reduce, family: Family | None = None) -> np.ndarray:
        """Return what `reduce` makes of the moments of every draw, draws first.

        Parameters
        ----------
        rows : Asked
            With all groupings kept, or averaged over.
        reduce : callable
            See `moments`.
        family : Family, optional
            With another mean and variance than the model's.

        Raises
        ------
        BayesmmError
            If the variance is infinite in some draw.
        """
        spec, averaged = self.prepared.spec, sorted(rows.effects.averaged, key=self.groups.index)
        found = moments(
            family or spec.family,
            spec.layout,
            rows.design,
            rows.effects.quantities,
            averaged,
            reduce,
        )
        broken = int((~np.isfinite(found)).any(axis=1).sum())
        if broken:
            raise BayesmmError(
                f"In {broken:,} of {len(found):,} posterior draws the response has no finite "
                "variance. Hold the parameter that makes its tails so heavy, as in "
                "bm.families.student(nu=4), or give it a prior that keeps it away from there."
            )
        return found

    def answer(
        self, values: np.ndarray, column: str, names: Sequence[str], name: str | None
    ) -> pd.DataFrame | xr.DataArray:
        """Return draws (draws, names) with coordinates, or a table where they have no `name`."""
        if name is None:
            table = pd.DataFrame({column: list(names)})
            attrs = {"conf_level": self.conf_level}
            return table_of(table, summary(values, self.conf_level), attrs)
        coords = {key: self.posterior[key].to_numpy() for key in ("chain", "draw")}
        return xr.DataArray(
            values.reshape(*(len(x) for x in coords.values()), len(names)),
            dims=("chain", "draw", column),
            coords={**coords, column: list(names)},
            name=name,
        )


def asking(fit: Any, newdata: Any, conf_level: Any, draws: Any, ndraws: Any) -> Asking:
    """Check the arguments that the functions here and `r2` share.

    Raises
    ------
    BayesmmError
        For one that makes no sense.
    """
    prepared = check_fit(fit)
    if not isinstance(draws, bool):
        raise BayesmmError(
            f"draws={draws!r}: write True or False. How many posterior draws are used is ndraws=."
        )
    conf_level = check_conf_level(conf_level)
    rows = None if newdata is None else rows_of(prepared, newdata)
    posterior = thinned(fit.whole_posterior(), ndraws, "ndraws")
    return Asking(prepared, posterior, rows, conf_level)


def check_variance(spec: ModelSpec) -> None:
    """Refuse a family whose responses have no variance to speak of.

    Raises
    ------
    BayesmmError
        For categories, several columns, and a family that does not declare it.
    """
    family = spec.family
    if family.response.categories or family.response.columns:
        latent = ' Of an ordered one, icc(fit, scale="latent") is known.' * is_threshold(family)
        raise BayesmmError(
            f"The response takes {family.response.description}, which has no single variance."
            f"{latent} Fit a family of numbers, such as bernoulli for one category against others."
        )
    if family.variance is None:
        raise BayesmmError(
            f"family {family.name!r} does not say what its variance is. Of a family of your own, "
            "give bm.Family(..., variance=lambda v: ...)."
        )


def _components(found: Moments) -> np.ndarray:
    """Fixed, every grouping, shared and residual, shape (draws, components)."""
    alone = found.alone.mean(axis=2)
    # Below 0 by rounding, or by the error of a quasi-random sequence.
    shared = np.maximum(found.explained.mean(axis=1) - alone.sum(axis=1), 0.0)
    return np.stack([found.mean.var(axis=1), *alone.T, shared, found.residual.mean(axis=1)], axis=1)


def _shares(values: np.ndarray) -> np.ndarray:
    """Each part of the sum along the last axis; of nothing, nothing."""
    total = values.sum(axis=1, keepdims=True)
    return values / np.where(total > 0.0, total, 1.0)
