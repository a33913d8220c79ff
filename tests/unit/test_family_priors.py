"""What the default priors of every family predict, before any data."""

import numpy as np
import pytest
from family_data import example, left

import bayesmm as bm
from bayesmm.families import FAMILIES


@pytest.mark.parametrize("name", FAMILIES)
def test_default_priors_predict_finite_responses(name):
    family = FAMILIES[name]
    model = bm.Model(f"{left(family)} ~ x", example(family, 60, seed=2), family)
    found = model.prior_predictive(draws=40, seed=3)
    y = found["prior_predictive"][model.spec.response]
    assert np.isfinite(y).all()
    kind = model.spec.family.response
    values = y.to_numpy()[0]
    if kind.categories:
        values = values - 1  # categories without numbers are 1, 2, ...
    trials = model._prepared.response.data.get("trials")
    assert not any(kind.check(draw, trials).any() for draw in values)
    assert all(np.isfinite(v).all() for v in found["prior"].data_vars.values())
