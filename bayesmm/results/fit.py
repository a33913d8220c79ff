"""The result of a fit: an ArviZ `DataTree` and the questions that people ask of it."""

from collections.abc import Callable, Collection, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.chunks import at_once
from bayesmm.design import Design
from bayesmm.engines import make_key, resolve_seed, use_compilation_cache
from bayesmm.errors import BayesmmError, listing
from bayesmm.families import Family
from bayesmm.model import distribution
from bayesmm.prepare import Prepared
from bayesmm.results import tables
from bayesmm.results.convert import creation_attrs, effect_variables, response_dataset
from bayesmm.results.display import fit_html, fit_text
from bayesmm.results.loo import loo
from bayesmm.results.posterior import flat, thinned
from bayesmm.results.predictions import predictions
from bayesmm.results.report import Report, make_report
from bayesmm.results.store import read, save


class Fit:
    """A fitted model; `bayesmm.fit` and `Model.fit` make it, nothing changes it.

    Attributes
    ----------
    idata : xarray.DataTree
        Posterior, sample statistics, log-likelihood, log-prior and data in the ArviZ schema.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> print(fit)
    bayesmm fit of Reaction ~ 1 + Days + (1 + Days | Subject)
    gaussian; links mu identity, sampled in ... s
    The draws can be trusted. 4 chains of 1000 draws, 0 divergences, largest R-hat ...,
    smallest bulk ESS ...
    See .summary(), .fixef(), .ranef(), .coef(), .var_corr(), .loo(), .idata
    >>> list(fit.posterior)
    ['b', 'Intercept', 'sd_Subject', 'cor_Subject', 'r_Subject', 'sigma']
    """

    def __init__(
        self,
        prepared: Prepared,
        idata: xr.DataTree,
        recover: Callable[[], xr.DataTree] | None = None,
    ):
        self._prepared = prepared
        self._recover = recover
        self.idata = idata

    def __repr__(self) -> str:
        return fit_text(self._prepared.spec, self.idata, self.report())

    def _repr_html_(self) -> str:
        return fit_html(self._prepared.spec, self.idata, self.report(), self.summary())

    @property
    def spec(self):
        """What the model is."""
        return self._prepared.spec

    @property
    def posterior(self) -> xr.Dataset:
        """The posterior's variables, dims chain, draw and their own."""
        return self.idata["posterior"].to_dataset()

    def whole_posterior(self) -> xr.Dataset:
        """Return the posterior with the group effects, which `fit(effects=False)` leaves out.

        Raises
        ------
        BayesmmError
            If they were left out of the file that this fit was loaded from.

        Examples
        --------
        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1, effects=False)
        >>> "r_Subject" in fit.posterior, "r_Subject" in fit.whole_posterior()
        (False, True)
        """
        return self._whole

    @cached_property
    def _whole(self) -> xr.Dataset:
        """The posterior with the group effects, made now where they were left out."""
        missing = effect_variables(self.spec).difference(map(str, self.posterior.data_vars))
        if not missing:
            return self.posterior
        if self._recover is None:
            raise BayesmmError(
                f"The group effects ({listing(sorted(missing))}) were left out of this file by "
                "fit(effects=False). Fit again to have them."
            )
        return self._recover()["posterior"].to_dataset()

    def summary(self, *, effects: bool = False) -> pd.DataFrame:
        """Return mean, sd, interval and diagnostics of every parameter.

        Parameters
        ----------
        effects : bool
            Whether the group effects (`r_` variables) are in it.

        Returns
        -------
        pandas.DataFrame
            A row for each number, each correlation once, with ArviZ's columns: mean, sd, interval
            (its probability is ArviZ's ``stats.ci_prob``), ess_bulk, ess_tail, r_hat, mcse.

        Examples
        --------
        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> table = fit.summary()
        >>> table.loc[["b[Days]", "sigma"], ["mean", "sd"]]
                 mean   sd
        b[Days]  10.4  1.7
        sigma    25.9  1.6
        >>> bool((table["r_hat"] < 1.01).all())
        True
        """
        from arviz_stats import summary

        posterior = self._whole if effects else self.posterior
        variables = tables.summary_variables(self.spec, posterior, effects=effects)
        found: Any = summary(variables)
        return found

    def fixef(self, *, draws: bool = False) -> pd.DataFrame | xr.Dataset:
        """Return the population-level coefficients (for the predictors as given).

        Parameters
        ----------
        draws : bool
            Whether to return the draws, labelled, instead of their summary.

        Examples
        --------
        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> fit.fixef()[["mean"]].round()
                              mean
        parameter coef
        mu        Intercept  251.0
                  Days        10.0
        >>> slope = fit.fixef(draws=True)["b"].sel(coef="Days")
        >>> float((slope > 5).mean().round(2))  # the posterior probability of more than 5 ms a day
        1.0
        """
        found = tables.fixef(self.spec, self.posterior)
        return found if draws else tables.fixef_table(self.spec, found)

    def ranef(self, group: str | None = None, *, draws: bool = False) -> pd.DataFrame | xr.Dataset:
        """Return the group effects: each level's deviation from the population.

        Parameters
        ----------
        group : str, optional
            The group, such as ``"Subject"``; all of them if left out.
        draws : bool
            Whether to return the draws, labelled, instead of their summary.

        Raises
        ------
        BayesmmError
            For a group that the model does not have.

        Examples
        --------
        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> fit.ranef("Subject")["mean"].unstack().head(2).round()
        effect                   Days  Intercept
        parameter group   level
        mu        Subject 308     9.0        3.0
                          309    -9.0      -40.0

        Subject 309 is 40 ms faster than the average one on day 0, and loses 9 ms less each day.
        """
        found = tables.ranef(self.spec, self._whole, group)
        return found if draws else tables.level_table(self.spec, found, group, "r", "effect")

    def coef(self, group: str | None = None, *, draws: bool = False) -> pd.DataFrame | xr.Dataset:
        """Return population plus group effects: every coefficient as each level has it.

        Parameters
        ----------
        group : str, optional
            The group; all of them if left out.
        draws : bool
            Whether to return the draws, labelled, instead of their summary.

        Raises
        ------
        BayesmmError
            For a group that the model does not have.

        Examples
        --------
        Subject 308 loses 20 ms each day, and 309 hardly any:

        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> fit.coef("Subject")["mean"].unstack()["Days"].head(3).round()
        parameter  group    level
        mu         Subject  308      20.0
                            309       2.0
                            310       5.0
        Name: Days, dtype: float64
        """
        found = tables.coef(self.spec, self._whole, group)
        return found if draws else tables.level_table(self.spec, found, group, "coef", "coef")

    def var_corr(self, *, draws: bool = False) -> pd.DataFrame | xr.Dataset:
        """Return the sds and correlations of the group effects, and the residual sd.

        Parameters
        ----------
        draws : bool
            Whether to return the draws, labelled, instead of their summary.

        Examples
        --------
        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> fit.var_corr()["mean"].round(1)
        parameter
        sd_Subject[Intercept]           26.8
        sd_Subject[Days]                 6.5
        cor_Subject[Intercept, Days]     0.1
        sigma                           25.9
        Name: mean, dtype: float64
        """
        found = tables.var_corr(self.spec, self.posterior)
        return found if draws else tables.var_corr_table(self.spec, found)

    def report(self) -> Report:
        """Return the verdict: `.ok`, and `.problems` with what each means and what to do next.

        Examples
        --------
        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> fit.report()
        The draws can be trusted. 4 chains of 1000 draws, 0 divergences, largest R-hat ...,
        smallest bulk ESS ...
        >>> fit.report().ok
        True
        """
        return self._report

    @cached_property
    def _report(self) -> Report:
        return make_report(self._prepared, self.idata)

    def loo(self, **kwargs):
        """Return PSIS-LOO over rows (Vehtari, Gelman and Gabry 2017), through ArviZ.

        The pointwise log-likelihood is computed anew, in chunks of rows, where it is not stored.

        Parameters
        ----------
        **kwargs
            For `arviz.loo`, such as ``pointwise=True``.

        Returns
        -------
        arviz.ELPDData

        Examples
        --------
        Lines of their own predict the subjects' reactions far better than one line for all, however
        rough the estimate is for four reactions, of which ArviZ warns:

        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> one_line = bm.fit("Reaction ~ Days", data, seed=1)
        >>> float(round(fit.loo().elpd - one_line.loo().elpd, -1))
        90.0
        """
        stored = "log_likelihood" in self.idata.children
        posterior = self.posterior if stored else self._whole
        return loo(self._prepared, self.idata, posterior, **kwargs)

    def posterior_predictive(
        self, draws: int | None = None, seed: int | None = None
    ) -> xr.DataTree:
        """Draw responses for the training rows, as ArviZ's predictive plots want them.

        Parameters
        ----------
        draws : int, optional
            How many posterior draws to use, spread evenly; all of them if left out.
        seed : int, optional
            The same seed gives the same draws.

        Returns
        -------
        xarray.DataTree
            With the groups ``posterior_predictive`` (dims chain, draw, obs_id) and
            ``observed_data``. With fewer draws than the posterior has, they are on one chain.

        Raises
        ------
        SamplerError
            For a number of draws or a seed that makes no sense.

        Examples
        --------
        Data that the model makes spread as much as the real ones:

        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> made = fit.posterior_predictive(draws=200, seed=1)["posterior_predictive"]["Reaction"]
        >>> dict(made.sizes)
        {'chain': 1, 'draw': 200, 'obs_id': 180}
        >>> made.std("obs_id").quantile([0.05, 0.95]).round(-1).values.tolist()
        [50.0, 60.0]
        >>> float(data["Reaction"].std().round())
        56.0
        """
        posterior = thinned(self._whole, draws)
        quantities = flat(posterior)
        family, layout = self.spec.family, self.spec.layout
        design = self._prepared.design
        batch = at_once(self._prepared.numbers_per_draw)
        use_compilation_cache()
        with jax.enable_x64(True):
            keys = jax.random.split(
                make_key(seed), posterior.sizes["chain"] * posterior.sizes["draw"]
            )
            values = _simulate(keys, quantities, design, family, layout, batch)
            values = np.asarray(values)
        shape = (posterior.sizes["chain"], posterior.sizes["draw"])
        sample = {"chain": posterior.chain.to_numpy(), "draw": posterior.draw.to_numpy()}
        predictive = response_dataset(
            self._prepared, values.reshape(*shape, *values.shape[1:]), sample
        )
        predictive.attrs.update(creation_attrs())
        observed = self.idata["observed_data"].to_dataset()
        return xr.DataTree.from_dict(
            {"posterior_predictive": predictive, "observed_data": observed}
        )

    def predict(
        self,
        newdata: Any = None,
        *,
        kind: Literal["mean", "linpred", "response"] = "mean",
        group_effects: Collection[str] | None = None,
        new_levels: Literal["error", "population", "sample", "existing"] = "error",
        condition_on: Any = None,
        summary: bool = False,
        draws: int | None = None,
        seed: int | None = None,
    ) -> xr.DataTree:
        """Predict for the training data, or for new rows, of known clusters and of new ones.

        Parameters
        ----------
        newdata : dataframe, optional
            Rows with the columns of the predictors, and those of trials, bounds and known errors;
            the training data if left out. Transforms (`scale`, `poly`, `bs`) remember what they
            have learnt from the training data.
        kind : {"mean", "linpred", "response"}
            The expected response (variable ``mean``; before truncation and censoring), the linear
            predictors (``linpred``, and ``linpred_sigma`` and so on), or draws of new responses
            (named after the response).
        group_effects : collection of str, optional
            The groups whose effects count: all of them if left out; ``()`` for none, so that the
            population-level coefficients remain and group columns need not be there.
        new_levels : {"error", "population", "sample", "existing"}
            What becomes of a cluster that the model has not seen: it is refused; it is the typical
            one, with effects of 0; it is drawn from N(0, Sigma), once for each posterior draw, for
            all its rows, and independently of other clusters; or it is a fitted cluster, picked for
            each posterior draw. With any but the first, a row without a label is a new cluster of
            its own.
        condition_on : dataframe, optional
            A few rows with responses, of clusters that are new: predictions are those that a refit
            with these rows would make, without it. Posterior draws are resampled with
            Pareto-smoothed weights p(y_new | theta), and the effects of those clusters are drawn
            given the rows. The Pareto k of the weights, and how many draws they are
            worth, are in the attributes of ``predictions``; above 0.7 there is a warning.
        summary : bool
            Whether to return mean, sd and an equal-tailed interval (its probability is ArviZ's
            ``stats.ci_prob``) instead of draws; memory then does not grow with the draws.
        draws : int, optional
            How many posterior draws to use, spread evenly; all of them if left out.
        seed : int, optional
            The same seed gives the same predictions, and the same effect to a new cluster of the
            same name.

        Returns
        -------
        xarray.DataTree
            With the groups ``predictions`` (dims chain, draw, obs_id; or statistic, obs_id) and
            ``predictions_constant_data`` (the used columns). With fewer draws than the posterior
            has, they are on one chain.

        Raises
        ------
        NewLevelsError
            For clusters that the model has not seen, with ``new_levels="error"``.
        DataError
            For a column or value that is missing, of another kind than in the training data, or an
            unseen level of a population-level factor.
        BayesmmError
            For an argument that makes no sense, or two that contradict each other.

        Examples
        --------
        >>> import bayesmm as bm
        >>> import pandas as pd
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> new = pd.DataFrame({"Days": [0, 4], "Subject": "somebody"})
        >>> found = fit.predict(new, new_levels="sample", summary=True, seed=1)
        >>> found["predictions"]["mean"].sel(statistic=["mean", "sd"]).to_pandas().round(-1)
        obs_id         0      1
        statistic
        mean       250.0  290.0
        sd          30.0   40.0

        The same given two fast reactions of that person, without a refit:

        >>> seen = pd.DataFrame({"Days": [0, 1], "Subject": "somebody", "Reaction": [200, 205]})
        >>> found = fit.predict(new, condition_on=seen, summary=True, seed=1)
        >>> found["predictions"]["mean"].sel(statistic=["mean", "sd"]).to_pandas().round(-1)
        obs_id         0      1
        statistic
        mean       210.0  250.0
        sd          20.0   30.0
        """
        return predictions(
            self._prepared,
            thinned(self._whole, draws),
            newdata,
            kind=kind,
            group_effects=group_effects,
            new_levels=new_levels,
            condition_on=condition_on,
            summary=summary,
            seed=resolve_seed(seed),
        )

    def save(self, path: str | Path) -> None:
        """Write the fit to a file: netCDF for ``.nc``, zarr for ``.zarr``; no pickle.

        Parameters
        ----------
        path : str or path
            Where; the suffix decides the format. A file that is there is replaced.

        Raises
        ------
        DataError
            For a suffix that is neither, or a model whose formula or family cannot be kept.

        Examples
        --------
        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
        >>> fit.save("sleep.nc")
        >>> bm.load("sleep.nc").fixef().equals(fit.fixef())
        True
        """
        save(self.idata, path)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _simulate(keys, quantities, design: Design, family: Family, layout, batch: int):
    def one(args):
        key, draw = args
        return distribution(family, layout, design, draw).sample(key)

    return jax.lax.map(one, (keys, quantities), batch_size=batch)


def load(
    path: str | Path,
    *,
    functions: Mapping[str, Callable] | None = None,
    family: Family | None = None,
) -> Fit:
    """Read a fit that `Fit.save` wrote.

    Parameters
    ----------
    path : str or path
        The file (``.nc``) or directory (``.zarr``).
    functions : mapping of str to callable, optional
        The functions that the formula calls beside the built-in ones; a file cannot hold them.
    family : Family, optional
        The family, where it is not one of the package's; a file cannot hold it.

    Returns
    -------
    Fit

    Raises
    ------
    DataError
        If there is no such file, or it is not one of bayesmm's.
    FormulaError
        If the formula needs a function that was not given.
    FamilyError
        If the family is not one of the package's and was not given.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1).save("sleep.nc")
    >>> fit = bm.load("sleep.nc")
    >>> fit.predict(data.head(1), summary=True)["predictions"]["mean"].dims
    ('statistic', 'obs_id')
    """
    return Fit(*read(path, functions, family))
