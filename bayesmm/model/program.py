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
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.distributions import biject_to
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
    #: Warm-up draws a chain when the user does not say.
    warmup: ClassVar[int] = 1000
    #: The acceptance that NUTS is tuned to when the user does not say.
    target_accept: ClassVar[float] = 0.8
    #: Whether the group effects are integrated out: not in the model itself.
    integrated: ClassVar[bool] = False

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
        quantities, covariances = self.parameters(inputs)
        plates: dict[str, numpyro.plate] = {}
        for layout, rows in zip(self.layout, design.predictors, strict=True):
            for group, columns in zip(layout.groups, rows.groups, strict=True):
                if group.name not in plates:
                    plates[group.name] = numpyro.plate(group.name, columns.levels)
                r = group.variable("r")
                with plates[group.name]:
                    quantities[r] = self._effects(group, covariances[r])
        y_given = distribution(self.family, self.layout, design, quantities)
        y = jnp.asarray(design.y) if observed else None
        with numpyro.plate("obs_id", design.rows), _weighted(design):
            numpyro.sample(self.response, y_given, obs=y)
        return quantities

    def parameters(self, inputs: Inputs) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Run the part of the NumPyro model that the group effects and the response depend on.

        Returns
        -------
        quantities : dict of str to array
            The population-level coefficients, sds, correlations and parameters of the family.
        covariances : dict of str to array
            By variable of group effects: Lambda, the lower Cholesky factor of the covariance of a
            level's effects, shape (effects, effects).
        """
        quantities: dict[str, jax.Array] = {}
        covariances: dict[str, jax.Array] = {}
        for layout, rows in zip(self.layout, inputs.design.predictors, strict=True):
            quantities |= self._population(layout, rows, inputs)
            for group in layout.groups:
                found, covariances[group.variable("r")] = self._covariance(group, inputs)
                quantities |= found
        for parameter in self.numbers:
            quantities |= self._number(parameter, quantities, inputs)
        return quantities, covariances

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

    def summarise(
        self, unconstrained: Mapping[str, jax.Array], inputs: Inputs, key: jax.Array
    ) -> "Summary":
        """Return what a result keeps of one position of the sampler.

        Parameters
        ----------
        unconstrained : mapping of str to array
            One value for each latent site, on the sampler's unconstrained scale.
        inputs : Inputs
            Design and prior parameters.
        key : jax.Array
            For what is drawn given the position: nothing here, the group effects in a transform
            that has integrated them out.
        """
        del key
        sites = constrain_fn(self.model, (inputs,), {}, unconstrained)
        with handlers.trace() as trace:
            quantities: Any = handlers.substitute(self.model, data=sites)(inputs)
        pointwise = log_likelihood(self.family, self.layout, inputs.design, quantities)
        return Summary(quantities, self._log_prior(trace), pointwise)

    def evaluate(self, unconstrained: Mapping[str, jax.Array], inputs: Inputs) -> "Evaluated":
        """Return `parameters` at an unconstrained position, with their prior density there.

        Parameters
        ----------
        unconstrained : mapping of str to array
            A value for each latent site of `parameters`.
        inputs : Inputs
            Design and prior parameters.
        """
        jacobian: list[Any] = []

        def constrain(site):
            if site["type"] != "sample":
                return None
            transform = biject_to(site["fn"].support)
            u = unconstrained[site["name"]]
            value = transform(u)
            jacobian.append(jnp.sum(transform.log_abs_det_jacobian(u, value)))
            return value

        with handlers.trace() as trace, handlers.substitute(substitute_fn=constrain):
            quantities, covariances = self.parameters(inputs)
        log_prior = self._log_prior(trace)
        log_density = sum(log_prior.values(), sum(jacobian, jnp.zeros(())))
        return Evaluated(quantities, covariances, log_prior, log_density)

    def population(
        self, quantities: Mapping[str, jax.Array], inputs: Inputs
    ) -> dict[str, jax.Array]:
        """Return the population-level parameters as they are sampled: for centred predictors.

        Parameters
        ----------
        quantities : mapping of str to array
            As `parameters` returns them.
        inputs : Inputs
            For what the predictors are centred by.

        Returns
        -------
        dict of str to array
            By predictor (its variable ``b``), and by parameter without a formula.
        """
        found: dict[str, jax.Array] = {}
        moved: dict[str, Any] = {}
        for layout, rows in zip(self.layout, inputs.design.predictors, strict=True):
            if not layout.coefs:
                continue
            b = quantities[layout.variable("b")]
            if layout.has_intercept:
                b = b.at[0].set(quantities[layout.variable("Intercept")])
            elif layout.intercept_in:
                holder = layout.intercept_in
                moved[holder] = moved.get(holder, 0.0) + rows.centre @ b
            found[layout.variable("b")] = b
        for parameter in self.numbers:
            value = quantities[parameter.name]
            found[parameter.name] = value - moved.get(parameter.name, 0.0)
        # Sorted, as JAX has them when a dict comes out of a compiled function.
        return dict(sorted(found.items()))

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

    def _covariance(
        self, group: GroupLayout, inputs: Inputs
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """Standard deviations and correlations of one group, and Lambda."""
        sd = self._sample(group.variable("sd"), inputs)
        eta = inputs.priors[group.variable("cor")][0]["eta"] if group.correlated else 1.0
        factors = []
        for i, (columns, correlated) in enumerate(group.blocks):
            site = _cholesky_site(group, i)
            factors.append(structure_for(correlated).cholesky(site, len(columns), eta))
        L = jax.scipy.linalg.block_diag(*factors)
        found = {group.variable("sd"): sd}
        if group.correlated:
            found[group.variable("cor")] = L @ L.T
        return found, sd[:, None] * L

    def _effects(self, group: GroupLayout, Lambda: jax.Array) -> jax.Array:
        """The effects of every level, shape (levels, effects)."""
        q = len(group.effects)
        if self.parameterization == "centered":
            effects = dist.MultivariateNormal(jnp.zeros(q), scale_tril=Lambda)
            return jnp.asarray(numpyro.sample(group.variable("r"), effects))
        standard = dist.Normal(0.0, 1.0).expand((q,)).to_event(1)
        z = jnp.asarray(numpyro.sample(group.variable("z"), standard))
        return z @ Lambda.T

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


@dataclass(frozen=True)
class Evaluated:
    """The parameters at one unconstrained position, without the group effects.

    Attributes
    ----------
    quantities, covariances : dict of str to array
        As `Program.parameters` returns them.
    log_prior : dict of str to array
        The log prior density of each variable, shape ().
    log_density : array
        The log prior density of the unconstrained position.
    """

    quantities: dict[str, jax.Array]
    covariances: dict[str, jax.Array]
    log_prior: dict[str, jax.Array]
    log_density: jax.Array


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
