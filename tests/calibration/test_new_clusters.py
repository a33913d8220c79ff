"""Predictions for new clusters are calibrated, and wrong ones are found out."""

import json

import pytest
from new_clusters import CONTROLS, NAMES, QUANTITIES, RECORD, TABLE, N, calibrated, markdown

#: The chance that a test fails although everything is right; each p-value has its share of it.
LEVEL = 0.01
#: Wrong predictions that every model here tells from right ones, with few data sets too. A single
#: response of the typical cluster is not among them: 0 or 1 has a mean and no spread.
TELLING = ("population_linpred", "ignored_fit")


def p_values(found, part):
    return {name: test["p_value"] for name, test in found[part].items()}


@pytest.fixture(scope="module")
def few():
    """40 data sets: of a Gaussian response, which says most of its cluster."""
    return calibrated("gaussian, slopes", n=40, seed=8)


def test_ranks_of_few_data_sets_are_uniform(few):
    p = p_values(few, "quantities")
    assert min(p.values()) > LEVEL / len(p), few


def test_few_data_sets_tell_wrong_predictions(few):
    """Typical clusters for new ones, and responses that were not conditioned on."""
    p = p_values(few, "controls")
    assert all(p[name] < LEVEL / len(QUANTITIES) for name in TELLING), few


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_ranks_are_uniform(name):
    found = calibrated(name, n=300, seed=9)
    p = p_values(found, "quantities")
    assert min(p.values()) > LEVEL / len(p) / len(NAMES), found
    p = p_values(found, "controls")
    assert all(p[name] < LEVEL / len(QUANTITIES) / len(NAMES) for name in TELLING), found


def test_what_the_docs_show_is_what_was_found():
    record = json.loads(RECORD.read_text())
    assert list(record) == list(NAMES)
    assert TABLE.read_text() == markdown(record)
    p = [x for found in record.values() for x in p_values(found, "quantities").values()]
    assert len(p) == len(NAMES) * len(QUANTITIES)
    assert min(p) > LEVEL / len(p)
    assert all(found["simulations"] == N for found in record.values())
    for found in record.values():
        wrong = p_values(found, "controls")
        assert set(wrong) == set(CONTROLS)
        assert max(wrong[name] for name in TELLING) < LEVEL / len(p)
    for name in ("gaussian, slopes", "poisson"):
        assert p_values(record[name], "controls")["population_pit"] < LEVEL / len(p)
