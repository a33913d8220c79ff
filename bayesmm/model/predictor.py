"""The linear predictor, written once, for one draw.

The model, the pointwise log-likelihood and prediction all come through here; whoever has many
draws maps over them with `jax.vmap`, in chunks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmm.design import Design, PredictorDesign, PredictorLayout
from bayesmm.families import Family, Values


def linear_predictor(
    design: PredictorDesign, b: jax.Array, effects: Sequence[jax.Array]
) -> jax.Array:
    """Return eta = X b + offset + sum over groups of z_i' r_{g(i)}.

    Parameters
    ----------
    design : PredictorDesign
        With rows n and p coefficients.
    b : array
        Shape (p,): coefficients for the predictors as given.
    effects : sequence of array
        One for each group, shape (levels, effects).

    Returns
    -------
    array
        Shape (n,).
    """
    eta = jnp.asarray(design.X) @ b + design.offset
    for group, r in zip(design.groups, effects, strict=True):
        # A column at a time: XLA turns each into a gather and a multiply-add over rows, where a
        # gather of (rows, effects) followed by a reduction would write the whole block to memory.
        for k in range(group.columns.shape[1]):
            eta = eta + group.columns[:, k] * r[group.index, k]
    return eta


def predictor_values(
    family: Family,
    layout: Sequence[PredictorLayout],
    design: Design,
    quantities: Mapping[str, Any],
) -> Values:
    """Return the family's parameters for one draw of the posterior's variables.

    Parameters
    ----------
    family : Family
        The response distribution.
    layout : sequence of PredictorLayout
        The names of each predictor's variables.
    design : Design
        The rows to compute for.
    quantities : mapping of str to array
        One draw of ``b``, ``r_<group>``, ``sigma`` and so on, by their posterior names.
    """
    linear = {}
    for names, rows in zip(layout, design.predictors, strict=True):
        b = quantities[names.variable("b")] if names.coefs else jnp.zeros(0)
        effects = [quantities[group.variable("r")] for group in names.groups]
        linear[names.parameter] = linear_predictor(rows, b, effects)
    natural = {p.name: quantities[p.name] for p in family.parameters if p.name not in linear}
    data = {} if design.trials is None else {"trials": design.trials}
    return Values(family, linear=linear, natural=natural, data=data)


def distribution(
    family: Family,
    layout: Sequence[PredictorLayout],
    design: Design,
    quantities: Mapping[str, Any],
) -> dist.Distribution:
    """Return the distribution of the response for one draw, batch shape (rows,)."""
    rows = design.predictors[0].X.shape[0]
    found = family.distribution(predictor_values(family, layout, design, quantities))
    return found if found.batch_shape == (rows,) else found.expand((rows,))


def log_likelihood(
    family: Family,
    layout: Sequence[PredictorLayout],
    design: Design,
    quantities: Mapping[str, Any],
) -> jax.Array:
    """Return the log-likelihood of every row for one draw, times its weight; shape (rows,)."""
    y = jnp.asarray(design.y)
    log_prob = jnp.asarray(distribution(family, layout, design, quantities).log_prob(y))
    if design.weights is None:
        return log_prob
    # 0 * -inf is NaN: a row of weight 0 says nothing, whatever its density.
    return jnp.where(design.weights > 0, design.weights * log_prob, 0.0)
