"""What the transforms of a program share: coordinates for the parameters beside the effects.

A transform is another program with the same posterior: it has the methods that engines and
results ask of a `Program` (`log_density`, `starting_region`, `summarise`), with other latent
variables. Those of a transform are

* ``x``: all parameters but the group effects, in coordinates in which their posterior is nearly
  standard normal: unconstrained = centre + scale x;
* ``z``: for a whitened model, the group effects, nearly standard normal as well.

To add one, write a subclass of `Transformed` that says what the log density is and what the group
effects are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.model.information import Conditional, Information, conditional
from bayesmm.model.plan import Plan
from bayesmm.model.predictor import log_likelihood
from bayesmm.model.program import Evaluated, Inputs, Program, Summary

#: Chains start with each of x uniform up to this many posterior sds from the mode: an sd of 1.4.
START_WIDTH = 2.5


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Coordinates:
    """An affine map from x to the unconstrained parameters.

    Attributes
    ----------
    centre : numpy.ndarray
        Shape (size,).
    scale : numpy.ndarray
        Shape (size, size).
    """

    centre: np.ndarray
    scale: np.ndarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TransformedInputs:
    """The numbers of a transformed program.

    Attributes
    ----------
    model : Inputs
        Those of the model itself.
    plan : Plan
        How the group effects are eliminated.
    information : Information
        Sums over rows; None where there are no group effects.
    coordinates : Coordinates
        Of the parameters.
    rest : dict of str to array
        What else a transform needs.
    """

    model: Inputs
    plan: Plan
    information: Information | None
    coordinates: Coordinates
    rest: dict[str, Any]

    def of(self, model: Inputs) -> "TransformedInputs":
        """Return the same coordinates for other rows of the model."""
        return replace(self, model=model)


@dataclass(frozen=True)
class Transformed:
    """A program in other coordinates.

    Attributes
    ----------
    program : Program
        The model.
    sites : tuple of (str, tuple of int)
        Name and unconstrained shape of each latent site of its parameters, in the order of x.
    nearly_normal : bool
        Whether the parameters are known to be nearly normal around the mode.
    """

    program: Program
    sites: tuple[tuple[str, tuple[int, ...]], ...]
    nearly_normal: bool = False
    #: Whether nothing is sampled but x, in the coordinates of a mode.
    integrated: ClassVar[bool] = False

    @property
    def warmup(self) -> int:
        """Warm-up draws a chain when the user does not say: few where there is little to adapt."""
        return 300 if self.nearly_normal else 600

    @property
    def target_accept(self) -> float:
        """The acceptance that NUTS is tuned to when the user does not say.

        For a normal density theory has 0.65 (Beskos et al. 2013), with trajectories of the best
        length. Those of NUTS are 2^k - 1 steps long: a little less makes 7 steps out of 15.
        """
        return 0.55 if self.nearly_normal else 0.8

    @property
    def size(self) -> int:
        """How many parameters there are beside the group effects."""
        return sum(math.prod(shape) for _, shape in self.sites)

    def evaluate(self, x: jax.Array, inputs: TransformedInputs) -> Evaluated:
        """Return the parameters at x, with their log prior in these coordinates."""
        coordinates = inputs.coordinates
        flat = coordinates.centre + coordinates.scale @ x
        found = self.program.evaluate(self._apart(flat), inputs.model)
        # The scale is triangular.
        jacobian = jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(coordinates.scale)))).sum()
        return replace(found, log_density=found.log_density + jacobian)

    def population(self, found: Evaluated, inputs: TransformedInputs) -> jax.Array:
        """Return the population-level parameters that the effects depend on, shape (P,)."""
        values = self.program.population(found.quantities, inputs.model).values()
        return jnp.concatenate([jnp.zeros(0), *(jnp.ravel(v) for v in values)])

    def conditional(
        self, found: Evaluated, inputs: TransformedInputs, precision: Any = 1.0
    ) -> Conditional:
        """Return the normal distribution of the effects."""
        flat = self.population(found, inputs)
        return conditional(inputs.plan, inputs.information, found.covariances, flat, precision)

    def profile(self, x: jax.Array, inputs: TransformedInputs) -> jax.Array:
        """Return the log density at x with all effects, if they are sampled, at their means."""
        centre, _ = self.starting_region(inputs)
        return self.log_density({**centre, "x": x}, inputs)

    def starting_region(self, inputs: TransformedInputs) -> tuple[dict, dict]:
        """Return centre and half-width of where chains start, by latent site."""
        raise NotImplementedError

    def log_density(
        self, position: Mapping[str, jax.Array], inputs: TransformedInputs
    ) -> jax.Array:
        """Return the log density of one position, shape ()."""
        raise NotImplementedError

    def summarise(
        self, position: Mapping[str, jax.Array], inputs: TransformedInputs, key: jax.Array
    ) -> Summary:
        """Return what a result keeps of one position."""
        raise NotImplementedError

    def start_x(self) -> tuple[dict, dict]:
        """Return centre and half-width of where chains start, for x."""
        return {"x": jnp.zeros(self.size)}, {"x": jnp.full(self.size, START_WIDTH)}

    def finish(
        self, found: Evaluated, effects: Mapping[str, jax.Array], inputs: TransformedInputs
    ) -> Summary:
        """Return what a result keeps, given the group effects."""
        program = self.program
        quantities = {**found.quantities, **effects}
        pointwise = log_likelihood(program.family, program.layout, inputs.model.design, quantities)
        return Summary(quantities, found.log_prior, pointwise)

    def _apart(self, flat: Any) -> dict[str, jax.Array]:
        found, start = {}, 0
        for name, shape in self.sites:
            stop = start + math.prod(shape)
            found[name] = flat[start:stop].reshape(shape)
            start = stop
        return found
