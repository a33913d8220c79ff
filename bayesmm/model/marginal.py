"""Gaussian models with their group effects integrated out.

For y | b ~ N(X beta + Z b, sigma^2 W^{-1}) and b ~ N(0, Sigma), with r = y - X beta,

    log p(y | beta, Sigma, sigma) = -n/2 log(2 pi) - n log sigma + constant - log det C
                                    - (r'W r / sigma^2 - w'w) / 2,

where C and w belong to the effects given all else (`information.py`) and n is the sum of the
weights. Only cross-products of the rows enter: a gradient costs nothing for each row. They are
formed from residuals e = y - X beta_hat, since those of y itself lose all digits when its mean is
large: with d = beta - beta_hat, r'Wr = e'We - 2 d'X'We + d'X'WX d.

What is sampled are the parameters alone; `Marginal.summarise` draws the effects from their
exact conditional distribution. W holds the weights of the likelihood, divided by the squares of
known standard errors where they take the place of sigma.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.design import Design
from bayesmm.links import get_link
from bayesmm.model.information import Information, centred, collect
from bayesmm.model.plan import Plan
from bayesmm.model.program import Evaluated, Program, Summary
from bayesmm.model.transformed import Transformed, TransformedInputs


@dataclass(frozen=True)
class Marginal(Transformed):
    """A Gaussian model without its group effects."""

    parameterization: ClassVar[str] = "marginal"
    integrated: ClassVar[bool] = True

    def starting_region(self, inputs: TransformedInputs) -> tuple[dict, dict]:
        """Return centre and half-width of where chains start."""
        del inputs
        return self.start_x()

    def log_density(
        self, position: Mapping[str, jax.Array], inputs: TransformedInputs
    ) -> jax.Array:
        """Return the log density of one position: of the parameters and y together."""
        found = self.evaluate(position["x"], inputs)
        sigma, sums = self._sigma(found), inputs.rest
        given = self.conditional(found, inputs, 1.0 / sigma**2)
        d = self.population(found, inputs) - sums["beta"]
        residual = sums["ee"] - 2.0 * d @ sums["Xe"] + d @ sums["XX"] @ d
        explained = sum((jnp.sum(w**2) for w in given.w), jnp.zeros(()))
        log_likelihood = (
            sums["constant"]
            - sums["n"] * jnp.log(sigma)
            - given.C.half_log_det()
            - 0.5 * (residual / sigma**2 - explained)
        )
        return found.log_density + log_likelihood

    def summarise(
        self, position: Mapping[str, jax.Array], inputs: TransformedInputs, key: jax.Array
    ) -> Summary:
        """Return what a result keeps of one position, with a draw of the group effects."""
        found = self.evaluate(position["x"], inputs)
        given = self.conditional(found, inputs, 1.0 / self._sigma(found) ** 2)
        z = jax.random.normal(key, (inputs.plan.size,))
        return self.finish(found, given.effects(given.standardised(z)), inputs)

    def population(self, found: Evaluated, inputs: TransformedInputs) -> jax.Array:
        """Return the coefficients as they are sampled, shape (P,)."""
        variable = self.program.layout[0].variable("b")
        values = self.program.population(found.quantities, inputs.model)
        return values.get(variable, jnp.zeros(0))

    def _sigma(self, found: Evaluated) -> Any:
        """The residual sd; 1 where known errors, which are in W, take its place."""
        name = str(self.program.family.normal_sd)
        return {**dict(self.program.family.fixed), **found.quantities}.get(name, 1.0)


def is_gaussian(program: Program, design: Design) -> bool:
    """Whether the effects of a model can be integrated out: see the module's docstring."""
    family = program.family
    estimated = any(parameter.name == family.normal_sd for parameter in program.numbers)
    return (
        family.normal_sd is not None
        and len(program.layout) == 1
        and family.link("mu").is_identity
        and not design.data.keys() - {"se"}
        # One of the two: an error that is added to sigma makes the weights depend on sigma.
        and ("se" in design.data) != (estimated or family.normal_sd in dict(family.fixed))
    )


def cross_products(
    program: Program, plan: Plan, design: Design
) -> tuple[Information, dict[str, Any]]:
    """Return the sums over rows that the marginal density is made of.

    Parameters
    ----------
    program : Program
        A model for which `is_gaussian`.
    plan : Plan
        How its effects are eliminated.
    design : Design
        Its rows.

    Returns
    -------
    information : Information
    sums : dict
        ``n``, ``beta`` (beta_hat), ``ee``, ``Xe``, ``XX`` and ``constant``, as in the module's
        docstring.
    """
    (layout,), (rows,) = program.layout, design.predictors
    location = get_link(program.family.location).forward
    weights = np.ones(design.rows) if design.weights is None else np.asarray(design.weights)
    y = np.asarray(design.y)
    # NumPy's arrays: JAX compiles whatever it is to do by itself, even an array of ones.
    normal, slope = jax.jvp(location, (y,), (np.ones_like(y),))
    constant = weights @ (np.log(np.abs(np.asarray(slope))) - 0.5 * math.log(2.0 * math.pi))
    W = weights
    if "se" in design.data:
        se = np.asarray(design.data["se"])
        constant, W = constant - weights @ np.log(se), weights / se**2
    X = centred(rows)
    e, beta = _residuals(X, np.asarray(normal) - rows.offset, W)
    reference = {layout.variable("b"): beta} if layout.coefs else {}
    information = collect(plan, program.layout, design, reference, W[None, None], (W * e)[None], {})
    sums = {
        "n": weights.sum(),
        "beta": beta,
        "ee": e @ (W * e),
        "Xe": X.T @ (W * e),
        "XX": X.T @ (W[:, None] * X),
        "constant": constant,
    }
    return information, sums


def _residuals(X: np.ndarray, y: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return y - X beta and beta, by least squares; the second round mends what the first lost."""
    beta, e = np.zeros(X.shape[1]), y
    if X.shape[1] == 0:
        return e, beta
    XX = X.T @ (W[:, None] * X)
    for _ in range(2):
        beta = beta + np.linalg.lstsq(XX, X.T @ (W * e), rcond=None)[0]
        e = y - X @ beta
    return e, beta
