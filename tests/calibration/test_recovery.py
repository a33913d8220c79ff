"""What is simulated from parameters gives them back when it is fitted.

Every parameter of a model, its true value 4 posterior sds or less from the posterior mean: of 11
normal numbers none is beyond with a probability of 0.9993. Group effects are checked by how often
their intervals hold the truth.
"""

import numpy as np
import pandas as pd
import pytest

import bayesmm as bm
from bayesmm.simulation import simulate

SAMPLING = {"draws": 300, "chains": 2, "seed": 1, "progress": False}


def slopes():
    data = pd.DataFrame({"g": np.repeat(np.arange(40), 8), "x": np.tile(np.linspace(-1, 1, 8), 40)})
    params = {
        "b": {"Intercept": 10.0, "x": 2.0},
        "sd_g": {"Intercept": 2.0, "x": 1.0},
        "cor_g": -0.4,
        "sigma": 1.5,
    }
    return "y ~ x + (x | g)", data, "gaussian", params


def crossed():
    rng = np.random.default_rng(1)
    person, item = (grid.ravel() for grid in np.meshgrid(np.arange(40), np.arange(20)))
    data = pd.DataFrame({"person": person, "item": item, "x": rng.normal(size=800)})
    params = {"b": {"Intercept": 0.4, "x": 0.7}, "sd_person": 0.8, "sd_item": 1.2}
    return "y ~ x + (1 | person) + (1 | item)", data, "bernoulli", params


def inflated():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.repeat(np.arange(30), 20), "x": rng.normal(size=600)})
    params = {
        "b": {"Intercept": 1.5, "x": 0.4},
        "sd_g": 0.5,
        "shape": 3.0,
        "b_zi": {"Intercept": -1.0, "x": 0.9},
    }
    return ["y ~ x + (1 | g)", "zi ~ x"], data, "zero_inflated_negbinomial", params


def flat(params):
    """The true values by the labels of a summary."""
    found = {}
    for name, value in params.items():
        if isinstance(value, dict):
            found |= {f"{name}[{label}]": x for label, x in value.items()}
        elif name.startswith("cor"):
            found[f"{name}[Intercept, x]"] = value
        else:
            found[f"{name}[Intercept]" if name.startswith("sd") else name] = value
    return found


@pytest.mark.parametrize("case", [slopes, crossed, inflated])
def test_a_fit_gives_the_parameters_back(case, evidence):
    formula, data, family, params = case()
    made = simulate(formula, data, params, family, seed=5)
    fit = bm.fit(formula, made, family, **SAMPLING)
    truth = pd.Series(flat(params))
    draws = {name: x.to_numpy() for name, x in labelled(fit).items()}
    z = pd.Series({k: (draws[k].mean() - v) / draws[k].std() for k, v in truth.items()})
    assert z.abs().max() < 4, z
    # An interval holds its effect with the probability that it says, 0.9: 4 sds of a binomial.
    held = []
    for variable, levels in made.attrs["effects"].items():
        r = fit.whole_posterior()[variable].to_numpy()
        low, high = np.quantile(r.reshape(-1, *r.shape[2:]), [0.05, 0.95], axis=0)
        true = np.array([list(effects.values()) for effects in levels.values()])
        held += ((low < true) & (true < high)).ravel().tolist()
    assert np.mean(held) > 0.9 - 4 * np.sqrt(0.09 / len(held))
    evidence(
        "recovery",
        case.__name__,
        formula="; ".join(np.atleast_1d(formula)),
        family=family,
        numbers=len(z),
        off=z.abs().max(),
        effects=len(held),
        held=np.mean(held),
    )


def labelled(fit):
    """The posterior's numbers by the labels of the summary."""
    found = {}
    for name, values in fit.posterior.data_vars.items():
        own = [dim for dim in values.dims if dim not in ("chain", "draw")]
        if not own:
            found[name] = values
        elif name.startswith("cor"):
            found[f"{name}[Intercept, x]"] = values[:, :, 0, 1]
        elif len(own) == 1:
            for label in values[own[0]].to_numpy():
                found[f"{name}[{label}]"] = values.sel({own[0]: label})
    return found
