"""Predictions of every family, through the fit: one path for old rows and new, kinds that agree."""

import numpy as np
import pytest
from family_data import example, left
from nearby import nearby

import bayesmm as bm
from bayesmm.families import FAMILIES

ROWS = 48
#: So skewed near its prior that the average of 48 responses is far below their mean, nearly always.
SKEWED = {"inverse_gaussian"}


def values(tree, name):
    found = tree["predictions"][name].to_numpy()
    return found.reshape(-1, *found.shape[2:])


def residuals(family, drawn, mean):
    """How far responses are from their mean: of categories whether each it is, of angles around."""
    if family.response.categories:
        return (drawn[..., None] == np.arange(mean.shape[-1]) + 1) - mean
    apart = drawn - mean
    return (apart + np.pi) % (2 * np.pi) - np.pi if family.response.name == "angle" else apart


@pytest.mark.filterwarnings("ignore:The response:bayesmm.errors.BayesmmWarning")
@pytest.mark.parametrize("name", FAMILIES)
def test_predictions(name):
    family = FAMILIES[name]
    data = example(family, ROWS, seed=2)
    fit = nearby(bm.Model(f"{left(family)} ~ x + (1 | g)", data, family))
    mean = values(fit.predict(), "mean")
    assert np.array_equal(mean, values(fit.predict(data), "mean"))
    if not family.response.categories:
        summary = fit.predict(summary=True)["predictions"]["mean"]
        assert np.allclose(summary[0], mean.mean(axis=0))
    # Of clusters that nobody has seen the mean is that of the responses.
    new = data.assign(g=data["g"] + 100)
    how = {"new_levels": "sample", "seed": 6}
    mean = values(fit.predict(new, **how), "mean")
    drawn = values(fit.predict(new, kind="response", **how), fit.spec.response)
    apart = residuals(fit.spec.family, drawn, mean)
    assert apart.shape == mean.shape
    spread = apart.std(axis=1)
    z = apart.mean(axis=1) / (spread / np.sqrt(ROWS) + 1e-12)
    told = spread > 1e-6
    assert told.any()
    # The median over draws of parameters, since some have tails so heavy that averages tell little.
    # Of n numbers with an sd of 1 it has one of 1.25 / sqrt(n); that of averages of few skewed
    # responses lies a little below their mean.
    assert abs(np.median(z[told])) < 4.0 * 1.25 / np.sqrt(told.sum()) + 0.3 or name in SKEWED
