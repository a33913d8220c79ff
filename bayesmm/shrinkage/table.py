"""The table of partial pooling: three estimates of each effect of a level, and how it shrinks."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.design import group_design
from bayesmm.errors import BayesmmError, did_you_mean, listing, warn
from bayesmm.interpret.variables import check_fit
from bayesmm.layout import GroupLayout, PredictorLayout
from bayesmm.results import Fit
from bayesmm.results.posterior import joined, means
from bayesmm.results.tables import groups
from bayesmm.shrinkage.factors import pooling_factors
from bayesmm.shrinkage.unpooled import unpooled_effects
from bayesmm.spec import ModelSpec

#: The share of draws with a mode below which there is a warning.
SURE = 0.99


def pooling(
    fit: Fit, group: str | None = None, *, parameter: str | None = None, ndraws: int | None = None
) -> pd.DataFrame:
    r"""Return what each level of a group says by itself, and how far it is pooled with the others.

    Parameters
    ----------
    fit : Fit
        The fit.
    group : str, optional
        The group, such as ``"Subject"``; may be left out where the model has only one.
    parameter : str, optional
        The distributional parameter, such as ``"mu"``, whose effects are looked at; all that have
        effects of the group if left out.
    ndraws : int, optional
        Over how many posterior draws the pooling factors are averaged; 1,000 if left out, fewer
        where these would take more than about a minute. Everything else is of all draws.

    Returns
    -------
    pandas.DataFrame
        A row for each ``parameter``, ``level`` and ``effect`` (its index). Estimates are the
        coefficients of the level, population and group effect together, on the scale of the link:

        - ``n``: rows of the level;
        - ``unpooled``, ``unpooled_se``: its own estimate and standard error, which maximise the
          likelihood of its rows with all else held at the posterior means. Where the block has
          every coefficient, it is the estimate of a separate fit (if it does not depend on a shape
          or another parameter that levels share; the standard error has the shared ones);
        - ``complete``: what all levels would share if the effects had no variance and all else
          stayed as it is: the posterior mean of the population's coefficient (0 where the effect
          has none). Where levels have different numbers of rows, a model without the group has
          another estimate, which counts rows where this one counts levels;
        - ``partial``, ``partial_sd``: posterior mean and sd of the level's coefficient. The sd has
          the uncertainty of everything in it, that of the population and of other groups too, and
          can be larger than ``unpooled_se``, which takes them as known;
        - ``pooling``: the pooling factor omega, from 0 (no pooling) to 1 (complete);
        - ``flag``: why there is no unpooled estimate: ``"infinite"`` (only zeros, say, on the log
          scale), ``"not identified"`` (the rows of the level do not tell its effects apart), or
          ``"not found"`` (no clear maximum). Empty where there is one.

        Its ``attrs`` have the ``group``, the ``link`` of each parameter, and ``lambda``: by
        parameter and effect, the one pooling factor of all levels of Gelman and Pardoe.

    Raises
    ------
    BayesmmError
        For a group or parameter that the model does not have, a model without group effects, or one
        with too many crossed effects.
    SamplerError
        For a number of draws that makes no sense.

    Warns
    -----
    BayesmmWarning
        If the effects' mode is not found for some draws (families such as ``laplace``, whose
        density has a corner).

    Notes
    -----
    The pooling factor of effect k of level j is the part of its prior variance that is left,

    .. math:: \omega_{jk} = E[ Var(b_{jk} | \theta, y) / \Sigma_{kk} ],

    over the posterior of the parameters. With one effect, one group and a Gaussian response that is
    the weight which the level's mean does not get. With several effects it is no weight: what the
    rows say of one effect moves the others, and an estimate can lie beyond both the level's own and
    the population's. Off the Gaussian family the variance is that of the Laplace
    approximation.

    That of Gelman and Pardoe is of all levels together: one minus the variance over levels of the
    effects' posterior means, divided by the posterior mean of their variance over levels. It is
    above 0.5 where the data say less of the levels than the population does.

    References
    ----------
    Gelman and Pardoe (2006), Bayesian measures of explained variance and pooling in multilevel
    (hierarchical) models, Technometrics 48, 241-251.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> found = bm.pooling(fit, "Subject").loc[("mu", "308")]
    >>> found[["unpooled", "complete", "partial"]].round()
               unpooled  complete  partial
    effect
    Intercept     244.0     251.0    254.0
    Days           22.0      10.0     20.0
    >>> found["pooling"].round(1).to_dict()
    {'Intercept': 0.2, 'Days': 0.1}
    """
    table = estimates(fit, group, parameter=parameter)
    posterior = fit.whole_posterior()
    found = pooling_factors(check_fit(fit), posterior, means(posterior), ndraws)
    if found.share < SURE:
        enough = found.share > 0.5
        warn(
            f"The pooling factors {'are of fewer draws' if enough else 'are missing'}: for "
            f"{100 * (1 - found.share):.3g}% of {found.draws} posterior draws Newton's method "
            "found no mode of the effects. The likelihood of this family is not smooth enough for "
            "the Laplace approximation there."
        )
        if not enough:
            found = found._replace(omega={k: x * np.nan for k, x in found.omega.items()})
    parts = choose(fit.spec, group, parameter)
    columns = [found.omega[part.variable("r")].ravel() for _, part in parts]
    table.insert(list(table.columns).index("flag"), "pooling", np.concatenate(columns))
    table.attrs["lambda"] = {
        predictor.parameter: dict(
            zip(part.effects, _gelman_pardoe(posterior[part.variable("r")], part), strict=True)
        )
        for predictor, part in parts
    }
    return table


def estimates(fit: Fit, group: str | None = None, *, parameter: str | None = None) -> pd.DataFrame:
    """Return the table of `pooling` without the pooling factors, which take longer.

    Parameters
    ----------
    fit, group, parameter
        As for `pooling`.

    Raises
    ------
    BayesmmError
        As `pooling` does.
    """
    spec = check_fit(fit).spec
    chosen = choose(spec, group, parameter)
    posterior = fit.whole_posterior()
    at = means(posterior)
    table: pd.DataFrame = pd.concat(
        {
            predictor.parameter: _estimates(fit, posterior, predictor, part, at)
            for predictor, part in chosen
        },
        names=["parameter"],
    )
    table.attrs = {
        "group": chosen[0][1].name,
        "link": {p.parameter: spec.family.link(p.parameter).name for p, _ in chosen},
    }
    return table


def choose(
    spec: ModelSpec, group: str | None, parameter: str | None = None
) -> list[tuple[PredictorLayout, GroupLayout]]:
    """Return the effects of a group, with the predictors that they are in.

    Raises
    ------
    BayesmmError
        For a group or parameter that the model does not have, or none where it has several groups.
    """
    found = list(groups(spec, group))
    if not found:
        raise BayesmmError(
            "fit: its model has no group effects, such as (1 | g): nothing is pooled."
        )
    if parameter is not None:
        known = list(dict.fromkeys(predictor.parameter for predictor, _ in found))
        found = [pair for pair in found if pair[0].parameter == parameter]
        if not found:
            of = "" if group is None else f" of the group {group!r}"
            raise BayesmmError(
                f"parameter={parameter!r} has no effects{of}.{did_you_mean(parameter, known)} "
                f"Write one of {listing(known)}."
            )
    names = list(dict.fromkeys(part.name for _, part in found))
    if len(names) > 1:
        raise BayesmmError(
            f"group=None: the model has several groups. Write one of {listing(names)}."
        )
    return found


def _estimates(
    fit: Fit,
    posterior: xr.Dataset,
    predictor: PredictorLayout,
    part: GroupLayout,
    at: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """The rows of one parameter, by level and effect."""
    prepared = fit._prepared
    rows = group_design(prepared.spec.layout, prepared.design, part)
    effects = posterior[part.variable("r")]
    levels = effects[part.name].to_numpy()
    alone = unpooled_effects(prepared, at, part)
    counts = np.bincount(np.asarray(rows.index), minlength=len(levels))
    index = pd.MultiIndex.from_product([levels, part.effects], names=["level", "effect"])
    columns: dict[str, list[np.ndarray]] = {}
    for k, effect in enumerate(part.effects):
        shared = 0.0
        if effect in predictor.coefs:
            shared = posterior[predictor.variable("b")][..., predictor.coefs.index(effect)]
            shared = shared.to_numpy()[..., None]
        own = effects.transpose("chain", "draw", part.name, ...).to_numpy()[..., k] + shared
        own = own.reshape(-1, len(levels))
        complete = np.full(len(levels), np.mean(shared))
        for name, column in {
            "n": counts,
            "unpooled": complete + alone.b[:, k],
            "unpooled_se": alone.se[:, k],
            "complete": complete,
            "partial": own.mean(axis=0),
            "partial_sd": own.std(axis=0, ddof=1),
            "flag": alone.flag[:, k],
        }.items():
            columns.setdefault(name, []).append(column)
    stacked = {name: np.stack(values, axis=1).ravel() for name, values in columns.items()}
    return pd.DataFrame(stacked, index=index)


def _gelman_pardoe(draws: xr.DataArray, part: GroupLayout) -> list[float]:
    """1 - V(E[b_j]) / E[V(b_j)] for each effect."""
    r = joined(draws.transpose("chain", "draw", part.name, ...))
    if r.shape[1] < 2:
        return [float("nan")] * r.shape[2]
    between = r.mean(axis=0).var(axis=0, ddof=1)
    total = r.var(axis=1, ddof=1).mean(axis=0)
    return (1.0 - between / np.where(total > 0, total, np.nan)).tolist()
