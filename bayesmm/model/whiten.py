"""Models of any response, with group effects in coordinates in which they are nearly normal.

Around a pilot fit the log-likelihood is replaced by a quadratic of its linear predictors. For
given parameters theta the effects then have a normal distribution: b = Lambda u with precision
C C' and mean C^{-T} w of u (`information.py`). Sampled is z instead of b:

    u = C(theta)^{-T} (w(theta) + z),      log|du/dz| = -log det C(theta).

The density is the exact one of the model with this Jacobian; the quadratic only chooses
coordinates. For weak data they are the non-centred ones, for strong data the centred ones, for each
level and smoothly between, and the correlation of effects with each other, with coefficients
and thresholds, and the funnels are gone.

`Whitened.smooth` and `Whitened.linearise` are the two steps of the pilot fit that look at rows;
`pilot.py` of the engines drives them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from bayesmm.model.curvature import RowLikelihood
from bayesmm.model.information import carriers, centred
from bayesmm.model.predictor import log_likelihood
from bayesmm.model.program import Evaluated, Summary
from bayesmm.model.transformed import Transformed, TransformedInputs

#: Chains start with each of z uniform up to this: as wide as their posterior.
START_WIDTH_OF_EFFECTS = 1.7
#: Newton steps that fit each row by itself before the first round of the pilot.
SMOOTHING_STEPS = 6


@dataclass(frozen=True)
class Whitened(Transformed):
    """A model with whitened group effects."""

    parameterization: ClassVar[str] = "whitened"

    def starting_region(self, inputs: TransformedInputs) -> tuple[dict, dict]:
        """Return centre and half-width of where chains start."""
        centre, width = self.start_x()
        size = inputs.plan.size
        return (
            centre | {"z": jnp.zeros(size)},
            width | {"z": jnp.full(size, START_WIDTH_OF_EFFECTS)},
        )

    def log_density(
        self, position: Mapping[str, jax.Array], inputs: TransformedInputs
    ) -> jax.Array:
        """Return the log density of one position: of parameters, effects and y together."""
        found = self.evaluate(position["x"], inputs)
        given = self.conditional(found, inputs)
        u = given.standardised(position["z"])
        program, design = self.program, inputs.model.design
        quantities = {**found.quantities, **given.effects(u)}
        rows = log_likelihood(program.family, program.layout, design, quantities)
        squares = sum((jnp.sum(x**2) for x in u), jnp.zeros(()))
        log_effects = -0.5 * squares - 0.5 * inputs.plan.size * math.log(2.0 * math.pi)
        return found.log_density + rows.sum() + log_effects - given.C.half_log_det()

    def summarise(
        self, position: Mapping[str, jax.Array], inputs: TransformedInputs, key: jax.Array
    ) -> Summary:
        """Return what a result keeps of one position."""
        del key
        found = self.evaluate(position["x"], inputs)
        given = self.conditional(found, inputs)
        return self.finish(found, given.effects(given.standardised(position["z"])), inputs)

    def linear(self, x: jax.Array, inputs: TransformedInputs) -> jax.Array:
        """Return the linear predictors with effects at their means (z = 0), shape (m, rows)."""
        found = self.evaluate(x, inputs)
        given = self.conditional(found, inputs)
        effects = given.effects(given.standardised(jnp.zeros(inputs.plan.size)))
        base = self._base(found, inputs)
        eta = []
        for k in carriers(self.program.layout):
            names, rows = self.program.layout[k], inputs.model.design.predictors[k]
            total = base[names.parameter]
            for group, columns in zip(names.groups, rows.groups, strict=True):
                r = effects[group.variable("r")]
                total = total + (columns.columns * r[columns.index]).sum(axis=1)
            eta.append(total)
        return jnp.stack(eta)

    def smooth(self, x: jax.Array, inputs: TransformedInputs) -> jax.Array:
        """Return linear predictors between what each row says and what the prior expects.

        Each row is fitted by itself, with the prior variance of its group effects at x: a start
        from which the first quadratic is sensible for rows far off, such as large counts.
        """
        found = self.evaluate(x, inputs)
        base = self._base(found, inputs)
        expected, variance = [], []
        for k in carriers(self.program.layout):
            names, rows = self.program.layout[k], inputs.model.design.predictors[k]
            total = jnp.zeros(inputs.model.design.rows)
            for group, columns in zip(names.groups, rows.groups, strict=True):
                spread = columns.columns @ found.covariances[group.variable("r")]
                total = total + (spread**2).sum(axis=1)
            variance.append(total)
            expected.append(base[names.parameter])
        eta0, v = jnp.stack(expected), jnp.stack(variance)
        v = jnp.maximum(v, 1e-6 * jnp.max(v, axis=1, keepdims=True))
        farthest = jnp.sqrt(v)

        def step(_, eta):
            score, W = self._curvature(eta, base, found, inputs)
            m = len(eta)
            precision = jnp.moveaxis(W, -1, 0) + jnp.eye(m) / jnp.moveaxis(v, -1, 0)[:, None, :]
            gradient = jnp.moveaxis(score - (eta - eta0) / v, -1, 0)
            change = jnp.linalg.solve(precision, gradient[..., None])[..., 0].T
            return eta + jnp.clip(change, -farthest, farthest)

        return jax.lax.fori_loop(0, SMOOTHING_STEPS, step, eta0)

    def linearise(self, x: jax.Array, eta: jax.Array, inputs: TransformedInputs) -> dict[str, Any]:
        """Return what the quadratic of the log-likelihood is made of, for m predictors with groups.

        Parameters
        ----------
        x : array
            The parameters, shape (size,).
        eta : array
            Shape (m, rows): where the rows are linearised.
        inputs : TransformedInputs
            The rows.

        Returns
        -------
        dict
            ``reference`` (population parameters by name), ``score`` (m, rows), ``W``
            (m, m, rows), and ``other``: by name, derivatives as `information.collect` wants them.
        """
        found = self.evaluate(x, inputs)
        base = self._base(found, inputs)
        score, W = self._curvature(eta, base, found, inputs)
        here = jnp.stack([base[names.parameter] for names in self._carrying])
        # At the reference without effects, by the quadratic.
        score0 = score + jnp.einsum("kmi,mi->ki", W, eta - here)
        reference = self.program.population(found.quantities, inputs.model)
        own = {names.variable("b") for names in self._carrying}
        other = {}
        for name, value in reference.items():
            if name in own:
                continue

            def moved(direction, name=name, value=value):
                def scores(change):
                    return self._scores(eta, self._rebased(reference, name, change, inputs), inputs)

                _, slope = jax.jvp(scores, (value,), (direction.reshape(value.shape),))
                return -slope

            other[name] = jax.lax.map(moved, jnp.eye(value.size))
        return {"reference": reference, "score": score0, "W": W, "other": other}

    @property
    def _carrying(self):
        return [self.program.layout[k] for k in carriers(self.program.layout)]

    def _base(self, found: Evaluated, inputs: TransformedInputs) -> dict[str, jax.Array]:
        """The linear predictors without group effects."""
        return self._linear(self.program.population(found.quantities, inputs.model), inputs)

    def _linear(self, population: Mapping[str, jax.Array], inputs: TransformedInputs):
        linear = {}
        for names, rows in zip(self.program.layout, inputs.model.design.predictors, strict=True):
            b = population.get(names.variable("b"), jnp.zeros(0))
            linear[names.parameter] = centred(rows) @ b + rows.offset
        return linear

    def _rebased(self, reference, name, value, inputs):
        """Linear predictors and numbers where one population parameter has another value."""
        population = {**reference, name: value}
        return self._linear(population, inputs), population

    def _scores(self, eta, rebased, inputs: TransformedInputs) -> jax.Array:
        """The derivative of each row's log-likelihood by its m linear predictors, (m, rows)."""
        base, numbers = rebased
        return self._rows(base, numbers, inputs).score(eta)

    def _curvature(self, eta, base, found: Evaluated, inputs: TransformedInputs):
        """Score (m, rows) and information (m, m, rows), positive semidefinite, of each row."""
        numbers = self.program.population(found.quantities, inputs.model)
        return self._rows(base, numbers, inputs).score_and_information(eta)

    def _rows(self, base, numbers, inputs: TransformedInputs) -> RowLikelihood:
        names = tuple(layout.parameter for layout in self._carrying)
        return RowLikelihood(self.program.family, inputs.model.design, names, base, numbers)
