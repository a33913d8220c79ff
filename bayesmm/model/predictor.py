"""The linear predictor, written once, for one draw.

The model, the pointwise log-likelihood and prediction all come through here; whoever has many
draws maps over them with `jax.vmap`, in chunks.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from bayesmm.design import Design, PredictorDesign
from bayesmm.families import Family, Values
from bayesmm.layout import PredictorLayout
from bayesmm.model.observation import observed


def linear_predictor(
    design: PredictorDesign, b: jax.Array, effects: Sequence[jax.Array]
) -> jax.Array:
    """Return eta = X b + offset + sum over groups of z_i' r_{g(i)}.

    Parameters
    ----------
    design : PredictorDesign
        With rows n and p coefficients.
    b : array
        Shape (p,): coefficients for the predictors as given; (p, m) for a vector of m elements,
        which has neither offset nor groups.
    effects : sequence of array
        One for each group, shape (levels, effects).

    Returns
    -------
    array
        Shape (n,) or (n, m).
    """
    eta = jnp.asarray(design.X) @ b + design.offset
    for group, r in zip(design.groups, effects, strict=True):
        # A column at a time: XLA turns each into a gather and a multiply-add over rows, where a
        # gather of (rows, effects) followed by a reduction would write the whole block to memory.
        for k in range(group.columns.shape[1]):
            eta = eta + group.columns[:, k] * r[group.index, k]
    return eta


def linear_predictors(
    layout: Sequence[PredictorLayout], design: Design, quantities: Mapping[str, Any]
) -> dict[str, jax.Array]:
    """Return every linear predictor for one draw of the posterior's variables, by parameter.

    Parameters
    ----------
    layout : sequence of PredictorLayout
        The names of each predictor's variables.
    design : Design
        The rows to compute for.
    quantities : mapping of str to array
        One draw of ``b``, ``r_<group>`` and so on, by their posterior names.
    """
    linear = {}
    for names, rows in zip(layout, design.predictors, strict=True):
        b = quantities[names.variable("b")] if names.coefs else jnp.zeros(0)
        effects = [quantities[group.variable("r")] for group in names.groups]
        linear[names.parameter] = linear_predictor(rows, b, effects)
    # Without the barrier XLA computes a density anew for everything that its gradient goes into (b,
    # each r, each parameter): a zero-inflated negative binomial takes half as long again.
    return jax.lax.optimization_barrier(linear)


def family_values(
    family: Family,
    design: Design,
    linear: Mapping[str, jax.Array],
    quantities: Mapping[str, Any],
) -> Values:
    """Return the family's parameters, of linear predictors and of those without a formula.

    Parameters
    ----------
    family : Family
        The response distribution.
    design : Design
        The rows.
    linear : mapping of str to array
        The linear predictors, by parameter.
    quantities : mapping of str to array
        One draw of ``sigma`` and so on, by their posterior names.
    """
    natural: dict[str, Any] = dict(family.fixed)
    for parameter in family.parameters:
        if parameter.name in quantities and parameter.name not in linear:
            natural[parameter.name] = quantities[parameter.name]
    data = dict(design.data)
    holder = family.intercept_holder
    if "by" in data and holder is not None:
        natural[holder.name] = natural[holder.name][data.pop("by")]
    values = Values(family, linear=linear, natural=natural, data=data)
    if "se" not in data or family.known_error is None:
        return values
    return _with_known_error(values, family.known_error, data["se"])


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
    linear = linear_predictors(layout, design, quantities)
    return family_values(family, design, linear, quantities)


def _with_known_error(values: Values, name: str, se: Any) -> Values:
    """Give the scale of the residuals: the known errors, with the estimated one on top if any."""
    own = values.get(name)
    return values.replace(name, se if own is None else jnp.hypot(own, se))


def distribution(
    family: Family,
    layout: Sequence[PredictorLayout],
    design: Design,
    quantities: Mapping[str, Any],
) -> dist.Distribution:
    """Return the distribution of the response for one draw, batch shape (rows,).

    Where rows are censored or truncated, its log density is that of what was seen.
    """
    return _of_rows(family, design, predictor_values(family, layout, design, quantities))


def log_likelihood(
    family: Family,
    layout: Sequence[PredictorLayout],
    design: Design,
    quantities: Mapping[str, Any],
) -> jax.Array:
    """Return the log-likelihood of every row for one draw, times its weight; shape (rows,)."""
    linear = linear_predictors(layout, design, quantities)
    return log_likelihood_at(family, design, linear, quantities)


def log_likelihood_at(
    family: Family,
    design: Design,
    linear: Mapping[str, jax.Array],
    quantities: Mapping[str, Any],
) -> jax.Array:
    """Return the same, given the linear predictors: row i depends on their element i alone."""
    y = jnp.asarray(design.y)
    given = _of_rows(family, design, family_values(family, design, linear, quantities))
    # The mean of several rows (`rows.py`) need not be a value that one row can have.
    averaged = family.linear_in_response
    with numpyro.validation_enabled(False) if averaged else nullcontext():
        log_prob = jnp.asarray(given.log_prob(y))
    if design.weights is None:
        return log_prob
    # 0 * -inf is NaN: a row of weight 0 says nothing, whatever its density.
    return jnp.where(design.weights > 0, design.weights * log_prob, 0.0)


def _of_rows(family: Family, design: Design, values: Values) -> dist.Distribution:
    found = family.distribution(values)
    if found.batch_shape != (design.rows,):
        found = found.expand((design.rows,))
    return observed(found, family, values, design.data)
