"""Data simulated from every family give its parameters back.

The whole way is walked: formula, default priors, density of the program. The mode of the posterior
is found and compared with the truth by the curvature there, which takes a second where sampling
takes ten; that the sampler finds the same posterior is for the reference tests.
"""

import jax
import numpy as np
import pytest
from family_data import example, left, with_response
from scipy.optimize import minimize

import bayesmm as bm
from bayesmm.families import FAMILIES
from bayesmm.model import distribution

ROWS = 500
#: Natural values of what has no formula, by support; `sigma` small, so that means are precise.
TRUTH = {"real": 0.7, "positive": 1.4, "unit": 0.3, "above_one": 4.0, "one_two": 1.5}
BY_NAME = {"sigma": 0.6, "shift": 0.4, "phi": 3.0, "kappa": 4.0, "alpha": 4.0}
COEFFICIENTS = [0.4, -0.5]


def truth(model):
    """One draw of every variable, as the program would return it."""
    spec, quantities = model.spec, {}
    for layout in spec.layout:
        # Categories differ in their coefficients, in order that they can be told apart.
        sign = -1.0 if layout.parameter.endswith("_c") else 1.0
        first = 0 if layout.has_intercept else 1
        quantities[layout.variable("b")] = sign * np.asarray(COEFFICIENTS[first:])
    for parameter in spec.numbers:
        labels = spec.family.labels(parameter)
        value = np.asarray(BY_NAME.get(parameter.name, TRUTH[parameter.support]))
        quantities[parameter.name] = np.linspace(-1.2, 1.5, len(labels)) if labels else value
    return quantities


def curvature(gradient, at):
    """The Hessian by central differences of the gradient, wide enough for kinks to average out."""
    step = 0.03
    rows = [
        (gradient(at + step * unit) - gradient(at - step * unit)) / (2 * step)
        for unit in np.eye(len(at))
    ]
    return (np.asarray(rows) + np.asarray(rows).T) / 2


@pytest.mark.parametrize("name", FAMILIES)
def test_simulated_data_give_the_parameters_back(name):
    family = FAMILIES[name]
    formula = f"{left(family)} ~ x"
    frame = example(family, ROWS, seed=1)
    with jax.enable_x64(True):
        model = bm.Model(formula, frame, family)
        true = truth(model)
        design = model._prepared.design
        spec = model.spec
        drawn = distribution(spec.family, spec.layout, design, true).sample(jax.random.key(7))
        y = np.asarray(drawn)
        if family.response.columns and not family.response.integer:
            y = y / y.sum(axis=-1, keepdims=True)
        model = bm.Model(formula, with_response(frame, family, y), family)
        program, inputs = model._prepared.program(), model._prepared.inputs
        centre, _ = program.starting_region(inputs)
        start, unravel = jax.flatten_util.ravel_pytree(centre)

        @jax.jit
        def loss(u):
            value, slope = jax.value_and_grad(lambda v: -program.log_density(unravel(v), inputs))(u)
            return value, slope

        @jax.jit
        def variables(u):
            found = program.summarise(unravel(u), inputs, jax.random.key(0)).quantities
            return {key: found[key] for key in true}

        # A skewness of exactly 0 is a stationary point of any data.
        found = minimize(lambda u: jax.tree.map(np.asarray, loss(u)), start + 0.1, jac=True)
        assert np.isfinite(found.fun)
        covariance = np.linalg.inv(curvature(lambda u: np.asarray(loss(u)[1]), found.x))
        jacobian = jax.jacfwd(variables)(found.x)
        estimate = variables(found.x)
    for key, value in true.items():
        J = np.asarray(jacobian[key]).reshape(-1, len(found.x))
        sd = np.sqrt(np.einsum("ij,jk,ik->i", J, covariance, J))
        z = (np.ravel(estimate[key]) - np.ravel(value)) / sd
        assert (np.abs(z) < 4.5).all(), (key, value, estimate[key], sd)
        # The truth is told from nothing: the data say more than a prior of this width would.
        assert (sd < 1.5).all(), (key, sd)
