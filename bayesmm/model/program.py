"""The hierarchical model as a NumPyro program.

A `Program` is the structure of a model without its numbers: hashable, so that a compiled sampler
can be kept for it, and the arrays (`Inputs`) go in as an argument. `Program.model` is the NumPyro
model; it returns every variable of the posterior under its posterior name, so that the same
function samples, simulates from the prior, and turns draws into results (`Program.summarise`).

Group effects are b = Lambda z with Lambda = diag(sd) L, L the Cholesky factor of the correlations
(non-centred), or sampled directly (centred). A transform of the model (integrating effects out,
whitening them) is another program with the same three methods.
"""

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer.util import constrain_fn, potential_energy

from bayesmm.covariance import structure_for
from bayesmm.design import Design, PredictorDesign
from bayesmm.families import Family, Parameter
from bayesmm.layout import GroupLayout, PredictorLayout
from bayesmm.model.predictor import distribution, log_likelihood
from bayesmm.model.start import starting_region
from bayesmm.priors import VectorPrior, sample_vector

Parameterization = Literal["noncentered", "centered"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Inputs:
    """The numbers of a model: its design and, by variable, the parameters of its priors."""

    design: Design
    priors: dict[str, tuple[dict[str, Any], ...]]


@dataclass(frozen=True)
class Program:
    """The structure of a model.

    Attributes
    ----------
    response : str
        The name of the response, and of its site.
    family : Family
        The distribution of the response.
    layout : tuple of PredictorLayout
        The predictors and their groups.
    priors : tuple of VectorPrior
        The sites of every variable that has a prior.
    numbers : tuple of Parameter
        The parameters of the family that are estimated without a formula.
    parameterization : {"noncentered", "centered"}
        How group effects are sampled. Both have the same posterior.
    """

    response: str
    family: Family
    layout: tuple[PredictorLayout, ...]
    priors: tuple[VectorPrior, ...]
    numbers: tuple[Parameter, ...]
    parameterization: Parameterization = "noncentered"

    def model(self, inputs: Inputs, *, observed: bool = True) -> dict[str, jax.Array]:
        """Run the NumPyro model.

        Parameters
        ----------
        inputs : Inputs
            Design and prior parameters.
        observed : bool
            Whether the response is conditioned on; if not, it is simulated.

        Returns
        -------
        dict of str to array
            Each variable of the posterior for this one draw.
        """
        design = inputs.design
        plates: dict[str, numpyro.plate] = {}
        quantities: dict[str, jax.Array] = {}
        for layout, rows in zip(self.layout, design.predictors, strict=True):
            quantities |= self._population(layout, rows, inputs)
            for group, columns in zip(layout.groups, rows.groups, strict=True):
                if group.name not in plates:
                    plates[group.name] = numpyro.plate(group.name, columns.levels)
                plate = plates[group.name]
                quantities |= self._group(group, plate, inputs)
        for parameter in self.numbers:
            quantities |= self._number(parameter, quantities, inputs)
        y_given = distribution(self.family, self.layout, design, quantities)
        y = jnp.asarray(design.y) if observed else None
        with numpyro.plate("obs_id", design.rows), _weighted(design):
            numpyro.sample(self.response, y_given, obs=y)
        return quantities

    def prior_draw(self, key: jax.Array, inputs: Inputs) -> tuple[dict, jax.Array]:
        """Return one draw of the variables from the prior, and a response simulated from it."""
        seeded = handlers.seed(partial(self.model, observed=False), key)
        with handlers.trace() as trace:
            quantities: Any = seeded(inputs)
        return quantities, trace[self.response]["value"]

    def starting_region(self, inputs: Inputs) -> tuple[dict, dict]:
        """Return centre and half-width of where chains start, unconstrained, by site."""
        return starting_region(self.model, inputs)

    def log_density(self, unconstrained: Mapping[str, jax.Array], inputs: Inputs) -> jax.Array:
        """Return the log density in the sampler's unconstrained coordinates, for one position."""
        return -jnp.asarray(potential_energy(self.model, (inputs,), {}, dict(unconstrained)))

    def summarise(self, unconstrained: Mapping[str, jax.Array], inputs: Inputs) -> "Summary":
        """Return what a result keeps of one position of the sampler.

        Parameters
        ----------
        unconstrained : mapping of str to array
            One value for each latent site, on the sampler's unconstrained scale.
        inputs : Inputs
            Design and prior parameters.
        """
        sites = constrain_fn(self.model, (inputs,), {}, unconstrained)
        with handlers.trace() as trace:
            quantities: Any = handlers.substitute(self.model, data=sites)(inputs)
        pointwise = log_likelihood(self.family, self.layout, inputs.design, quantities)
        return Summary(quantities, self._log_prior(trace), pointwise)

    def _population(
        self, layout: PredictorLayout, rows: PredictorDesign, inputs: Inputs
    ) -> dict[str, jax.Array]:
        """Coefficients: sampled for centred predictors, returned for those as given."""
        b_name, intercept = layout.variable("b"), layout.variable("Intercept")
        slopes = len(layout.coefs) - layout.has_intercept
        found: dict[str, jax.Array] = {}
        if layout.has_intercept:
            found[intercept] = self._sample(intercept, inputs)
        b = self._sample(b_name, inputs) if slopes else jnp.zeros(0)
        if layout.has_intercept:
            b0 = found[intercept] - rows.centre[1:] @ b
            b = jnp.concatenate([b0[None], b])
        if layout.coefs:
            found[b_name] = b
        return found

    def _number(
        self, parameter: Parameter, quantities: Mapping[str, jax.Array], inputs: Inputs
    ) -> dict[str, jax.Array]:
        """A parameter without a formula; what holds an intercept is sampled for centred predictors.

        P(Y <= k) = F(c_k - x'b) = F(c'_k - (x - centre)'b), so c = c' + centre'b.
        """
        found: dict[str, jax.Array] = {}
        value = self._sample(parameter.name, inputs)
        if parameter.equidistant:
            delta = found["delta"] = self._sample("delta", inputs)
            steps = jnp.arange(len(self.family.labels(parameter)))
            value = value[..., None] + delta[..., None] * steps
        for layout, rows in zip(self.layout, inputs.design.predictors, strict=True):
            if layout.intercept_in == parameter.name and layout.coefs:
                value = value + rows.centre @ quantities[layout.variable("b")]
        return {parameter.name: value, **found}

    def _group(
        self, group: GroupLayout, plate: numpyro.plate, inputs: Inputs
    ) -> dict[str, jax.Array]:
        """Standard deviations, correlations and effects of one group."""
        sd = self._sample(group.variable("sd"), inputs)
        eta = inputs.priors[group.variable("cor")][0]["eta"] if group.correlated else 1.0
        factors = []
        for i, (columns, correlated) in enumerate(group.blocks):
            site = _cholesky_site(group, i)
            factors.append(structure_for(correlated).cholesky(site, len(columns), eta))
        L = jax.scipy.linalg.block_diag(*factors)
        Lambda = sd[:, None] * L
        found = {group.variable("sd"): sd}
        if group.correlated:
            found[group.variable("cor")] = L @ L.T
        q = len(group.effects)
        with plate:
            if self.parameterization == "centered":
                effects = dist.MultivariateNormal(jnp.zeros(q), scale_tril=Lambda)
                r = jnp.asarray(numpyro.sample(group.variable("r"), effects))
            else:
                z = numpyro.sample(
                    group.variable("z"), dist.Normal(0.0, 1.0).expand((q,)).to_event(1)
                )
                r = z @ Lambda.T
        found[group.variable("r")] = r
        return found

    def _sample(self, variable: str, inputs: Inputs) -> jax.Array:
        prior = next(p for p in self.priors if p.variable == variable)
        return sample_vector(prior, inputs.priors[variable])

    def _log_prior(self, trace: Mapping[str, Any]) -> dict[str, jax.Array]:
        """Log prior of each variable that has one of its own: not of the effects given them."""
        variable_of = {site.name: p.variable for p in self.priors for site in p.sites}
        for layout in self.layout:
            for group in layout.groups:
                for i in range(len(group.blocks)):
                    variable_of[_cholesky_site(group, i)] = group.variable("cor")
        total: dict[str, jax.Array] = {}
        for name, site in trace.items():
            if name in variable_of and site["type"] == "sample":
                log_prob = jnp.sum(site["fn"].log_prob(site["value"]))
                total[variable_of[name]] = total.get(variable_of[name], 0.0) + log_prob
        return total


def _cholesky_site(group: GroupLayout, block: int) -> str:
    """Return the site of a block's correlations; numbered where a group has several blocks."""
    site = group.variable("L")
    return site if len(group.blocks) == 1 else f"{site}[{block}]"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Summary:
    """What a result keeps of one draw.

    Attributes
    ----------
    quantities : dict of str to array
        The variables of the posterior.
    log_prior : dict of str to array
        The log prior density of each, shape ().
    log_likelihood : array
        Shape (rows,).
    """

    quantities: dict[str, jax.Array]
    log_prior: dict[str, jax.Array]
    log_likelihood: jax.Array


@contextmanager
def _weighted(design: Design):
    """Multiply the log-likelihood by the rows' weights; a row of weight 0 is not looked at."""
    if design.weights is None:
        yield
        return
    # NumPyro wants positive scales, and 0 * -inf is NaN: rows of weight 0 are masked instead.
    counted = design.weights > 0
    with (
        handlers.mask(mask=counted),
        handlers.scale(scale=jnp.where(counted, design.weights, 1.0)),
    ):
        yield
