"""The public door: `Model` and `fit`."""

import importlib.metadata
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.chunks import at_once
from bayesmm.engines import (
    IMH,
    NUTS,
    make_key,
    resolve_seed,
    sample,
    use_compilation_cache,
    whole_number,
)
from bayesmm.errors import SamplerError, did_you_mean, listing
from bayesmm.families import Family
from bayesmm.model import Inputs, Program
from bayesmm.prepare import prepare
from bayesmm.results import Fit
from bayesmm.results.convert import (
    LOG_LIKELIHOOD_LIMIT,
    creation_attrs,
    dimensions,
    observed_groups,
    response_dataset,
    to_datatree,
)
from bayesmm.results.display import model_html, model_text, prior_table
from bayesmm.schema import Missing

PARAMETERIZATIONS = ("auto", "noncentered", "centered")


class Model:
    """A hierarchical model: formula, data, family and priors, checked and not yet compiled.

    Parameters
    ----------
    formula : str or sequence of str
        ``"y ~ x + (1 + x | g)"``; further strings are formulas of further parameters
        (``"sigma ~ x + (1 | g)"``).
    data : dataframe
        Any eager dataframe that narwhals reads (pandas, polars, pyarrow). It is not changed.
    family : str or Family
        The distribution of the response; `bayesmm.families.names()` lists them.
    priors : mapping of str to NumPyro distribution, optional
        Priors by key, the most specific key wins; `Model.priors` shows what is in force.
    link : str or mapping, optional
        The link of mu, or links by parameter.
    functions : mapping of str to callable, optional
        Functions that the formula may call beside the built-in transforms.
    missing : {"drop", "error"}
        What to do with rows that have a missing value in a used column.

    Raises
    ------
    BayesmmError
        Of the subclass that fits: `FormulaError`, `DataError`, `FamilyError`, `PriorError`.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> bm.Model("Reaction ~ Days + (Days | Subject)", data)
    bayesmm model
      formula             Reaction ~ 1 + Days + (1 + Days | Subject)
      family              gaussian; links mu identity
      response            Reaction
      rows                180
      coefficients of mu  Intercept, Days
      group Subject       18 levels: Intercept, Days (correlated)
    <BLANKLINE>
                                                 prior   source
      Intercept              StudentT(3, 288.7, 59.34)  default
      b[Days]                         Normal(0, 48.89)  default
      sd_Subject[Intercept]     HalfStudentT(3, 59.34)  default
      sd_Subject[Days]           HalfStudentT(3, 20.6)  default
      cor_Subject                               LKJ(1)  default
      sigma                     HalfStudentT(3, 59.34)  default
    """

    def __init__(
        self,
        formula: str | Sequence[str],
        data: Any,
        family: str | Family = "gaussian",
        priors: Mapping[str, Any] | None = None,
        *,
        link: str | Mapping[str, str] | None = None,
        functions: Mapping[str, Callable] | None = None,
        missing: Missing = "drop",
    ):
        self._prepared = prepare(
            formula,
            data,
            family=family,
            priors=priors,
            link=link,
            functions=functions,
            missing=missing,
        )

    def __repr__(self) -> str:
        return model_text(self.spec, self._prepared.response, self._prepared.frame.dropped)

    def _repr_html_(self) -> str:
        return model_html(self.spec, self._prepared.response, self._prepared.frame.dropped)

    @property
    def _rows(self) -> int:
        return len(self._prepared.response.values)

    @property
    def spec(self):
        """What the model is: frozen, compared by value."""
        return self._prepared.spec

    @property
    def priors(self) -> pd.DataFrame:
        """Every prior in force, and where it came from.

        Examples
        --------
        >>> import bayesmm as bm
        >>> import numpyro.distributions as dist
        >>> data = bm.datasets.load("sleepstudy")
        >>> mine = {"b[Days]": dist.Normal(0, 20), "cor": bm.LKJ(2)}
        >>> bm.Model("Reaction ~ Days + (Days | Subject)", data, priors=mine).priors
                                                   prior             source
        parameter
        Intercept              StudentT(3, 288.7, 59.34)            default
        b[Days]                            Normal(0, 20)  priors['b[Days]']
        sd_Subject[Intercept]     HalfStudentT(3, 59.34)            default
        sd_Subject[Days]           HalfStudentT(3, 20.6)            default
        cor_Subject                               LKJ(2)      priors['cor']
        sigma                     HalfStudentT(3, 59.34)            default
        """
        return prior_table(self.spec)

    @property
    def numpyro_model(self) -> Callable[..., dict[str, jax.Array]]:
        """The NumPyro model: a plain function without required arguments.

        `numpyro.render_model`, handlers, SVI or a hand-written MCMC accept it. It returns the
        posterior's variables for its draw. With ``observed=False`` the response is simulated. It
        computes in float32 unless the caller enables float64.

        Examples
        --------
        >>> import bayesmm as bm
        >>> from numpyro import handlers
        >>> data = bm.datasets.load("sleepstudy")
        >>> model = bm.Model("Reaction ~ Days + (1 | Subject)", data)
        >>> sites = handlers.trace(handlers.seed(model.numpyro_model, 0)).get_trace()
        >>> [name for name, site in sites.items() if site["type"] == "sample"]
        ['Intercept', 'b', 'sd_Subject', 'sigma', 'z_Subject', 'Reaction']
        """
        return partial(self._prepared.program().model, self._prepared.inputs)

    def fit(
        self,
        draws: int = 1000,
        warmup: int | None = None,
        chains: int = 4,
        seed: int | None = None,
        parameterization: Literal["auto", "noncentered", "centered"] = "auto",
        engine: NUTS | IMH | None = None,
        log_likelihood: bool | Literal["auto"] = "auto",
        effects: bool = True,
        progress: bool = True,
    ) -> Fit:
        """Draw from the posterior.

        Parameters
        ----------
        draws : int
            Kept draws a chain.
        warmup : int, optional
            Warm-up draws a chain. Left out, what the coordinates need: 300 or 600 for `NUTS` (100
            times a few proposals for `IMH`), 1,000 where the model is sampled as it stands.
        chains : int
            Independent chains.
        seed : int, optional
            The same seed gives the same draws; without one a fresh seed is taken and recorded.
        parameterization : {"auto", "noncentered", "centered"}
            How group effects are sampled; all give the same posterior. ``"auto"`` integrates them
            out where that is exact (a Gaussian response), and whitens them elsewhere.
        engine : NUTS or IMH, optional
            The sampler and its settings. Left out, `IMH()` where up to 20 parameters and no group
            effects are to be sampled, and `NUTS()` elsewhere and where `IMH` gives up.
        log_likelihood : bool or "auto"
            Whether to store the pointwise log-likelihood; ``"auto"`` stores up to 2e7 values.
        effects : bool
            Whether the posterior holds the group effects (`r_` variables). Without them results are
            small, and effects are made on demand, as long as the fit is in memory.
        progress : bool
            Whether to show a bar, where somebody watches.

        Returns
        -------
        Fit

        Raises
        ------
        SamplerError
            For an argument that makes no sense, where no starting point is found, or where `IMH`
            was asked for and does not suit the model.

        Examples
        --------
        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> model = bm.Model("Reaction ~ Days + (Days | Subject)", data)
        >>> fit = model.fit(seed=1)
        >>> dict(fit.posterior["r_Subject"].sizes)
        {'chain': 4, 'draw': 1000, 'Subject': 18, 'Subject_effect': 2}
        >>> fit.posterior.attrs["engine"]
        'IMH(df=10.0, widen=1.1, thin=None, least_accept=0.4)'
        """
        draws = whole_number("draws", draws, 1)
        chains = whole_number("chains", chains, 1)
        warmup = None if warmup is None else whole_number("warmup", warmup, 1)
        seed = resolve_seed(seed)
        if parameterization not in PARAMETERIZATIONS:
            raise SamplerError(
                f"parameterization={parameterization!r} is not one of {PARAMETERIZATIONS}."
            )
        if not isinstance(log_likelihood, bool) and log_likelihood != "auto":
            raise SamplerError(f"log_likelihood={log_likelihood!r}: write True, False or 'auto'.")
        if not isinstance(effects, bool):
            raise SamplerError(f"effects={effects!r}: write True or False.")
        if engine is not None and (isinstance(engine, type) or not hasattr(engine, "run")):
            raise SamplerError(f"engine={engine!r}: write an engine, such as bm.NUTS().")
        store = log_likelihood
        if store == "auto":
            store = draws * chains * self._rows <= LOG_LIKELIHOOD_LIMIT
        with jax.enable_x64(True):
            # Chains use the numbers from 0 on of this key.
            key = jax.random.fold_in(make_key(seed), 2**32 - 1)
            run = sample(
                self._prepared.program(),
                self._prepared.inputs,
                parameterization=parameterization,
                engine=engine,
                draws=draws,
                warmup=warmup,
                chains=chains,
                key=make_key(seed),
                progress=progress,
            )
        settled, found = run.settled, run.draws
        attrs = {
            "tuning_steps": found.warmup,
            "interrupted": int(found.interrupted),
            "sampler_note": settled.note,
            "seed": seed,
            "engine": repr(run.engine),
            "parameterization": settled.program.parameterization,
            "formula": "\n".join(self.spec.formula.texts),
            "family": self.spec.family.name,
            "priors": "\n".join(f"{a.slot.label} ~ {a.prior}" for a in self.spec.priors),
            "data_fingerprint": self._prepared.fingerprint,
            "bayesmm_version": importlib.metadata.version("bayesmm"),
        }
        convert = partial(to_datatree, self._prepared, settled, found, key=key, attrs=attrs)
        idata = convert(log_likelihood=bool(store), effects=effects)
        # Effects follow from the positions, or from the same random numbers: what is asked for
        # later is what would have been kept.
        recover = None if effects else partial(convert, log_likelihood=False)
        return Fit(self._prepared, idata, recover)

    def prior_predictive(self, draws: int = 500, seed: int | None = None) -> xr.DataTree:
        """Draw parameters from the prior, and responses from them.

        Parameters
        ----------
        draws : int
            How many.
        seed : int, optional
            The same seed gives the same draws.

        Returns
        -------
        xarray.DataTree
            With the groups ``prior``, ``prior_predictive`` (dims chain, draw, obs_id) and
            ``observed_data``.

        Raises
        ------
        SamplerError
            For a number of draws or a seed that makes no sense.

        Examples
        --------
        The default priors expect six of ten reaction times between 100 and 500 ms:

        >>> import bayesmm as bm
        >>> data = bm.datasets.load("sleepstudy")
        >>> model = bm.Model("Reaction ~ Days + (Days | Subject)", data)
        >>> prior = model.prior_predictive(draws=500, seed=1)["prior_predictive"]
        >>> prior["Reaction"].quantile([0.2, 0.5, 0.8]).to_series().round(-2)
        quantile
        0.2    100.0
        0.5    300.0
        0.8    500.0
        Name: Reaction, dtype: float64
        """
        draws = whole_number("draws", draws, 1)
        key = make_key(seed)
        batch = min(draws, at_once(self._prepared.numbers_per_draw))
        use_compilation_cache()
        with jax.enable_x64(True):
            keys = jax.random.split(key, draws)
            found = _prior_draws(keys, self._prepared.inputs, self._prepared.program(), batch)
        quantities, response = jax.tree.map(lambda x: np.asarray(x)[None], found)
        dims, coords = dimensions(self.spec)
        sample = {"chain": np.zeros(1, dtype=np.int64), "draw": np.arange(draws)}
        prior = xr.Dataset(
            {n: (("chain", "draw", *dims[n]), quantities[n]) for n in dims if n in quantities},
            coords={**sample, **coords},
            attrs=creation_attrs(),
        )
        predictive = response_dataset(self._prepared, response, sample)
        predictive.attrs.update(creation_attrs())
        observed = observed_groups(self._prepared)
        return xr.DataTree.from_dict({"prior": prior, "prior_predictive": predictive, **observed})


def fit(
    formula: str | Sequence[str],
    data: Any,
    family: str | Family = "gaussian",
    priors: Mapping[str, Any] | None = None,
    *,
    link: str | Mapping[str, str] | None = None,
    functions: Mapping[str, Callable] | None = None,
    missing: Missing = "drop",
    **sampling: Any,
) -> Fit:
    """Check a model and draw from its posterior: `Model` and `Model.fit` in one call.

    Parameters
    ----------
    formula, data, family, priors, link, functions, missing
        As for `Model`.
    **sampling
        As for `Model.fit`: draws, warmup, chains, seed, parameterization, engine, log_likelihood,
        effects, progress.

    Returns
    -------
    Fit

    Raises
    ------
    BayesmmError
        As `Model` and `Model.fit` do.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> fit.fixef()["mean"].round()
    parameter  coef
    mu         Intercept    251.0
               Days          10.0
    Name: mean, dtype: float64

    A reaction takes about 251 ms on day 0, and 10 ms longer with each day of the study.
    """
    known = list(inspect.signature(Model.fit).parameters)[1:]
    for name in sampling:
        if name not in known:
            engine = [f.name for f in fields(NUTS)]
            where = (
                f"Write engine=bm.NUTS({name}=...)."
                if name in engine
                else did_you_mean(name, known)
            )
            raise SamplerError(
                f"fit() takes no argument {name!r}. {where.strip() or f'It takes {listing(known)}'}"
            )
    model = Model(formula, data, family, priors, link=link, functions=functions, missing=missing)
    return model.fit(**sampling)


@partial(jax.jit, static_argnums=(2, 3))
def _prior_draws(keys: jax.Array, inputs: Inputs, program: Program, batch: int):
    return jax.lax.map(lambda key: program.prior_draw(key, inputs), keys, batch_size=batch)
