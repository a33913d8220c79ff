"""The pilot fit: from a program to one in coordinates that are easy to sample.

`settle` decides how the group effects of a model are sampled when the user leaves it open
(``parameterization="auto"``):

* integrated out, where the response is Gaussian (`bayesmm.model.marginal`);
* whitened otherwise (`bayesmm.model.whiten`), around a mode that is found in a few rounds: given a
  quadratic of the log-likelihood, the parameters are moved to the mode of their density with all
  effects at their means (z = 0: the Laplace approximation, up to the quadratic), and the quadratic
  is made anew there.

Then the parameters are put into coordinates in which the curvature at the mode is the identity,
and a few densities farther out tell whether they are nearly normal: NUTS then makes longer steps.
Nothing here affects what is sampled, only how fast: a pilot fit that fails is no error, the
model is then sampled as it stands (non-centred), and the result says so.
"""

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from bayesmm.engines import imh
from bayesmm.engines.cache import use_compilation_cache
from bayesmm.engines.compiled import executable
from bayesmm.engines.crew import one_blas_thread
from bayesmm.engines.densities import Densities
from bayesmm.model import (
    Coordinates,
    Inputs,
    Marginal,
    Program,
    Transformed,
    TransformedInputs,
    Whitened,
    aggregate,
    collect,
    cross_products,
    find_factors,
    is_gaussian,
    make_plan,
    starting_region,
)

#: Rounds of the pilot fit; most models need three or four.
ROUNDS = 10
#: The pilot has converged when the linear predictors move by less than this, in sds of a row.
CONVERGED = 0.05
#: The largest dense matrix of crossed factors that is factorised for every gradient, and for every
#: density where no gradients are needed.
MOST_COLUMNS, MOST_COLUMNS_WITHOUT_GRADIENTS = 300, 3000
#: Where a search that failed starts again: within so many widths of the prior.
NEARER = 3.0
#: With more parameters than this the search's own estimate of their curvature is used.
MOST_PARAMETERS = 500
#: Curvatures below this, in the units of the search, are taken to be flat.
FLAT = 0.05
#: How far from the mode normality is looked at, in sds, and how far the log density may be there
#: from that of a normal distribution. An acceptance below 0.65 for 0.8 brought divergences where
#: that is 0.9 (machines) and 3.8 (salamanders), made little difference at 0.7 (grouseticks), and
#: halved the gradients for an effective draw at 0.6 (contraception) and 0.3 (verbagg).
OUTSIDE, NEARLY = 2.0, 0.65


#: The log density of the parameters and its gradient, as a function of x.
type Density = Callable[[np.ndarray], tuple[float, np.ndarray]]


class PilotFailure(Exception):
    """The pilot fit did not end at a mode; its text says why."""


@dataclass(frozen=True)
class Settled:
    """What is sampled, and what its draws are summarised with.

    Attributes
    ----------
    program : Program or Transformed
        What the engine gets.
    inputs : Inputs or TransformedInputs
        Its numbers.
    whole : Inputs
        The model's own numbers, with every row.
    note : str
        Why the model is not sampled as it was to be; otherwise empty.
    """

    program: Any
    inputs: Any
    whole: Inputs
    note: str = ""

    @property
    def transformed(self) -> bool:
        """Whether the group effects are integrated out or whitened."""
        return isinstance(self.program, Transformed)

    @property
    def of_all_rows(self) -> Any:
        """The inputs with every row, for what is computed of the draws."""
        return self.inputs.of(self.whole) if self.transformed else self.whole

    @property
    def numbers_per_draw(self) -> int:
        """How many numbers a density holds beside those of the rows, within a factor of a few."""
        if not self.transformed:
            return 0
        plan = self.inputs.plan
        widest = max((factor.effects for factor in plan.factors), default=0)
        return 4 * (plan.size * widest + plan.dense**2 + plan.products)


def settle(program: Program, inputs: Inputs, *, gradients: bool = True) -> Settled:
    """Return the program in the coordinates in which it is sampled best.

    Parameters
    ----------
    program : Program
        The model, non-centred.
    inputs : Inputs
        Its numbers.
    gradients : bool
        Whether the engine needs gradients; densities alone may be of larger crossed designs.
    """
    use_compilation_cache()
    try:
        with np.errstate(all="ignore"), one_blas_thread():
            return transform(program, inputs, gradients=gradients)
    except (PilotFailure, np.linalg.LinAlgError) as failure:
        return Settled(program, inputs, inputs, f"The pilot fit failed: {failure}")


def transform(program: Program, inputs: Inputs, *, gradients: bool = True) -> Settled:
    """Return the transformed program, around its mode.

    Raises
    ------
    PilotFailure
        If no mode is found.
    """
    made, begun = _begin(program, inputs, gradients)
    x = np.zeros(made.size)
    if imh.suits(made):
        with closing(Densities(made, begun)) as densities:
            return Settled(made, _around_mode(densities.value_and_gradient, begun, x), inputs)
    if isinstance(made, Whitened) and begun.plan.factors:
        begun, x = _rounds(made, begun)
    density = _Steps.of(made).gradient_of(x, begun)
    found = _around_mode(density, begun, x)
    nearly = _is_nearly_normal(density, begun, found)
    return Settled(replace(made, nearly_normal=nearly), found, inputs)


def _begin(
    program: Program, inputs: Inputs, gradients: bool
) -> tuple[Transformed, TransformedInputs]:
    """Return the transformed program and its numbers, in coordinates that the priors suggest."""
    design = inputs.design
    gaussian = is_gaussian(program, design)
    if not gaussian:
        design = aggregate(design, program.family)
        inputs = replace(inputs, design=design)
    factors = find_factors(program.layout, design)
    centre, width = _start(program, inputs)
    sites = tuple((name, np.shape(centre[name])) for name in sorted(centre))
    coordinates = Coordinates(_flat(centre, sites), np.diag(_flat(width, sites)))
    large = gaussian and not gradients and len(coordinates.centre) <= imh.MOST_PARAMETERS
    most_columns = MOST_COLUMNS_WITHOUT_GRADIENTS if large else MOST_COLUMNS
    plan = make_plan(factors, design, most_columns=most_columns)
    made: Transformed
    if gaussian and plan is not None:
        information, sums = cross_products(program, plan, design)
        made = Marginal(program, sites)
    else:
        plan = plan or make_plan(factors, design, most_columns=0, diagonal=True)
        information, sums = None, {}
        made = Whitened(program, sites)
    # Given to JAX once, not at every evaluation.
    return made, jax.device_put(TransformedInputs(inputs, plan, information, coordinates, sums))


def _rounds(program: Whitened, inputs: TransformedInputs) -> tuple[TransformedInputs, np.ndarray]:
    """Linearise and move to the mode in turn, until neither changes."""
    steps = _Steps.of(program)
    x = np.zeros(program.size)
    eta = np.asarray(steps.run("smooth", x, inputs))
    for _ in range(ROUNDS):
        found = jax.tree.map(np.asarray, steps.run("linearise", x, eta, inputs))
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)):
            raise PilotFailure("It met a log-likelihood without a finite curvature.")
        information = collect(inputs.plan, program.program.layout, inputs.model.design, **found)
        inputs = replace(inputs, information=jax.device_put(information))
        x, _ = _maximise(steps.gradient_of(x, inputs), x)
        moved = np.asarray(steps.run("linear", x, inputs))
        change = np.einsum("kn,kmn,mn->n", moved - eta, found["W"], moved - eta)
        eta = moved
        if not np.isfinite(eta).all():
            raise PilotFailure("It did not stay finite.")
        if np.sqrt(change.mean()) < CONVERGED:
            return inputs, x
    raise PilotFailure(f"It did not converge in {ROUNDS} rounds.")


def _start(program: Program, inputs: Inputs) -> tuple[dict, dict]:
    """Centre and width of the prior, by latent site of the parameters."""
    run = executable(_prior_region(program), inputs)
    return jax.tree.map(np.asarray, run(inputs))


@lru_cache(maxsize=32)
def _prior_region(program: Program):
    return jax.jit(lambda inputs: starting_region(program.parameters, inputs))


def _flat(values: dict[str, np.ndarray], sites: tuple) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(values[name].ravel() for name, _ in sites)])


@dataclass(frozen=True)
class _Steps:
    """The compiled pieces of the pilot fit of one program."""

    functions: dict[str, Any]

    @staticmethod
    @lru_cache(maxsize=32)
    def of(program: Transformed) -> "_Steps":
        functions: dict[str, Callable] = {"density": jax.value_and_grad(program.profile)}
        if isinstance(program, Whitened):
            functions |= {
                "smooth": program.smooth,
                "linearise": program.linearise,
                "linear": program.linear,
            }
        return _Steps({name: jax.jit(function) for name, function in functions.items()})

    def gradient_of(self, x: np.ndarray, inputs: TransformedInputs) -> Density:
        """The density and its gradient as a function of x, compiled."""
        run = executable(self.functions["density"], x, inputs)

        def density(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = run(x, inputs)
            return float(value), np.asarray(gradient)

        return density

    def run(self, name: str, *arguments: Any) -> Any:
        return executable(self.functions[name], *arguments)(*arguments)


def _maximise(density: Density, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mode of the parameters with effects at their means, and a root of its covariance.

    The root is BFGS's estimate of it.
    """
    from scipy.optimize import minimize

    def negative(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = density(x)
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            return 1e300, np.zeros_like(gradient)
        return -value, -gradient

    if negative(x)[0] >= 1e300:
        raise PilotFailure("It met a log density that is not finite.")

    def search(x: np.ndarray) -> Any:
        options = {"gtol": 1e-2, "maxiter": 200}
        return minimize(negative, x, jac=True, method="BFGS", options=options)

    found = search(x)
    nearer = np.clip(found.x, -NEARER, NEARER)
    if not found.success and (nearer != found.x).any():
        # A long step may end where rounding makes the density too rough to climb, at a correlation
        # of 1 - 1e-12 say. What is found from nearer counts if it is better.
        found = min(found, search(nearer), key=lambda end: end.fun)
    covariance = 0.5 * (found.hess_inv + found.hess_inv.T)
    values, vectors = np.linalg.eigh(covariance)
    return found.x, vectors * np.sqrt(np.clip(values, 1e-12, None))


def _around_mode(density: Density, inputs: TransformedInputs, x: np.ndarray) -> TransformedInputs:
    """Return the inputs in coordinates in which the curvature at the mode is the identity."""
    if len(x) == 0:
        return inputs
    x, root = _maximise(density, x)
    step = 1e-2  # of about a posterior sd, along the directions that BFGS found
    if len(x) <= MOST_PARAMETERS:
        differences = [density(x + step * d)[1] - density(x - step * d)[1] for d in root.T]
        curvature = -np.stack(differences) @ root / (2.0 * step)
        if not np.isfinite(curvature).all():
            raise PilotFailure("It met a curvature that is not finite.")
        values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
        root = root @ (vectors / np.sqrt(np.clip(values, FLAT, None)))
    # The triangular root by QR: a covariance would have the square of its condition.
    old = jax.tree.map(np.asarray, inputs.coordinates)
    scale = np.linalg.qr((old.scale @ root).T, mode="r").T
    centre = old.centre + old.scale @ x
    if not (np.isfinite(scale).all() and np.isfinite(centre).all() and np.diag(scale).all()):
        raise PilotFailure("The curvature at its mode is not finite.")
    return replace(inputs, coordinates=Coordinates(centre, scale))


def _is_nearly_normal(density: Density, old: TransformedInputs, new: TransformedInputs) -> bool:
    """Whether the log density falls like that of a normal along each new axis, either way.

    `density` is in the old coordinates; the new ones are those around the mode.
    """
    before, after = (jax.tree.map(np.asarray, inputs.coordinates) for inputs in (old, new))
    mode = np.linalg.solve(before.scale, after.centre - before.centre)
    sds = np.linalg.solve(before.scale, after.scale).T
    top = density(mode)[0]
    fall = [density(mode + side * OUTSIDE * sd)[0] - top for sd in sds for side in (-1.0, 1.0)]
    return bool((np.abs(np.array(fall) + OUTSIDE**2 / 2.0) < NEARLY).all())
