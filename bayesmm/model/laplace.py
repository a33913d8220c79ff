"""The group effects given everything else: their mode, and the normal distribution around it.

For given parameters theta the density of the effects, with b = Lambda u and u ~ N(0, I), is

    log p(u | theta, y) = sum of l_i(eta_i) - u'u / 2 + ...,    eta = base + Z Lambda u.

With s_i and W_i the slope and curvature of l_i at eta, Newton's method solves again and again

    A u = Lambda' Z' (s + W (eta - base)),    A = I + Lambda' Z' W Z Lambda = C C'

by the blocked factorisation that the sampler uses (`elimination.py`). Around the mode u has the
covariance A^{-1}, A of the observed information: the Laplace approximation, as in lme4 and glmmTMB.
Steps take a positive one in its place (`curvature.py`). For Gaussian responses the
first step is exact, whatever the weights, and so is the covariance.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bayesmm.design import Design
from bayesmm.families import Family
from bayesmm.layout import PredictorLayout
from bayesmm.model.curvature import RowLikelihood
from bayesmm.model.elimination import Factorised
from bayesmm.model.information import Incidence, carriers, factorise_precision
from bayesmm.model.plan import Plan
from bayesmm.model.predictor import linear_predictors

#: Newton steps at most, and halvings of one that leads downhill.
STEPS, HALVINGS = 200, 30
#: Newton's decrement, in units of the log density, after which one more step is at the mode.
ENOUGH = 1e-10
#: How much lower a step may lead, relative to the log density.
ROUNDING = 1e-13


class Mode(NamedTuple):
    """The normal distribution around the mode of the effects.

    Attributes
    ----------
    u : list of array
        By factor, shape (effects, levels).
    C : Factorised
        Of the precision of u.
    found : array
        Whether Newton's method came to a maximum, shape ().
    """

    u: list[jax.Array]
    C: Factorised
    found: jax.Array


def effects_given(
    plan: Plan,
    family: Family,
    layout: Sequence[PredictorLayout],
    design: Design,
    quantities: Mapping[str, Any],
    Lambda: Sequence[jax.Array],
    start: jax.Array,
) -> Mode:
    """Return the mode of the effects for one draw of the parameters.

    Parameters
    ----------
    plan : Plan
        How the effects are eliminated.
    family, layout, design
        The model and its rows; m predictors carry group effects.
    quantities : mapping of str to array
        A draw of the posterior's variables; effects in it are not used.
    Lambda : sequence of array
        By factor: a root of the covariance of the effects of a level, shape (effects, effects).
    start : array
        Shape (m, rows): linear predictors near the mode, such as those of the posterior mean.
    """
    carrying = [layout[k] for k in carriers(layout)]
    names = tuple(predictor.parameter for predictor in carrying)
    none = {
        group.variable("r"): jnp.zeros((rows.levels, len(group.effects)))
        for predictor, own in zip(layout, design.predictors, strict=True)
        for group, rows in zip(predictor.groups, own.groups, strict=True)
    }
    linear = linear_predictors(layout, design, {**quantities, **none})
    base = jnp.stack([linear[name] for name in names])
    rows = RowLikelihood(family, design, names, linear, quantities)
    Z = Incidence.of(plan, layout, design, jnp)

    def moved(u):
        """Z Lambda u."""
        return Z.times([root @ own for root, own in zip(Lambda, u, strict=True)], len(names))

    def height(u, eta):
        return rows(eta).sum() - 0.5 * _dot(u, u)

    def precision(W):
        return factorise_precision(plan, Lambda, *Z.products(W))

    def target(eta):
        """Where the quadratic around eta has its mode, and the slopes there."""
        score, W = rows.score_and_information(eta)
        working = score + jnp.einsum("kmi,mi->ki", W, eta - base)
        C = precision(W)
        return C.backward(C.forward(_effects(Z, Lambda, working))), score

    def advance(state):
        count, u, eta, _ = state
        goal, score = target(eta)
        change = [b - a for a, b in zip(u, goal, strict=True)]
        slope = [g - own for g, own in zip(_effects(Z, Lambda, score), u, strict=True)]
        along, here = moved(change), height(u, eta)
        # Where the density is rounded, a step is not measured by its height.
        least = here - ROUNDING * jnp.abs(here)

        def downhill(trial):
            halved, length = trial
            there = height(_plus(u, length, change), eta + length * along)
            return (halved < HALVINGS) & ~(there >= least)

        start = (0, jnp.ones(()))
        _, length = jax.lax.while_loop(downhill, lambda at: (at[0] + 1, 0.5 * at[1]), start)
        return count + 1, _plus(u, length, change), eta + length * along, _dot(slope, change)

    def unfinished(state):
        # Where nothing is finite the decrement is NaN, and there is nowhere to go.
        count, _, _, decrement = state
        return (count < STEPS) & (decrement > ENOUGH)

    first, _ = target(start)
    nothing = [jnp.zeros_like(own) for own in first]
    eta = base + moved(first)
    better = height(first, eta) >= height(nothing, base)
    u = [jnp.where(better, own, 0.0) for own in first]
    state = (0, u, jnp.where(better, eta, base), jnp.asarray(jnp.inf))
    _, u, eta, decrement = jax.lax.while_loop(unfinished, advance, state)
    _, observed = rows.observed(eta)
    exact = precision(observed)
    # Rows need not be concave one by one; where all of them are not together, this is no mode.
    found = jnp.isfinite(exact.half_log_det()) & (decrement <= ENOUGH)
    return Mode(u, exact, found)


def _effects(Z: Incidence, Lambda: Sequence[jax.Array], values: jax.Array) -> list[jax.Array]:
    """Lambda' Z' values, by factor."""
    return [root.T @ Z.summed(f, values) for f, root in enumerate(Lambda)]


def _plus(u: Sequence[jax.Array], length: jax.Array, change: Sequence[jax.Array]):
    return [own + length * move for own, move in zip(u, change, strict=True)]


def _dot(left: Sequence[jax.Array], right: Sequence[jax.Array]) -> jax.Array:
    return sum((jnp.sum(a * b) for a, b in zip(left, right, strict=True)), jnp.zeros(()))
