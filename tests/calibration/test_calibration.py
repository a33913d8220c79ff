"""Ranks of true values are uniform, whatever coordinates and engine "auto" chooses."""

import json

import pytest
from calibrate import RECORD, TABLE, calibrated, markdown
from models import CASES

#: The chance that any test fails although everything is right; each model has its share of it, and
#: each of the model's parameters its share of that.
LEVEL = 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_ranks_are_uniform(name):
    found = calibrated(name, n=200, seed=7)
    p = [test["p_value"] for test in found["parameters"].values()]
    assert min(p) * len(p) > LEVEL / len(CASES), found
    # Under these priors all responses are data, and all of them can be fitted.
    assert found["ranked"] == 200


def test_what_the_docs_show_is_what_was_found():
    record = json.loads(RECORD.read_text())
    assert list(record) == list(CASES)
    assert TABLE.read_text() == markdown(record)
    p = [test["p_value"] for found in record.values() for test in found["parameters"].values()]
    assert min(p) > LEVEL / len(p)
    assert all(found["ranked"] == found["simulations"] for found in record.values())
