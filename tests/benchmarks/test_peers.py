"""The table of the peer benchmark: medians, ratios and verdicts of canned results."""

import math
from typing import Any

import numpy as np
import pytest
from cases import BENCHMARKS, Benchmark, Fit, Table, Target, compared
from measured import Measured, with_ess
from report import as_data, markdown, number, verdicts
from worker_bambi import place

ABOUT = {
    "machine": {"cpu": "a CPU", "cores": 2, "memory_gb": 25.0, "os": "an OS"},
    "versions": {"python": "3.13.0"},
    "settings": {"chains": 4, "draws": 1000, "warmup": 1000, "runs": 3, "date": "today"},
}
TABLE = Table("none", lambda: pytest.fail("no data are needed"))
TOY = compared("toy", TABLE, ("y ~ x",), faster=5, sooner=0.5)


def record(fit, run, *, cache="cold", rhat=1.0, mean=0.0, **figures):
    parameter = {"mean": mean, "sd": 2.0, "2.5%": mean - 4, "97.5%": mean + 4}
    return {
        "benchmark": "toy",
        "fit": fit,
        "side": fit,
        "run": run,
        "cache": cache,
        "max_rhat": rhat,
        "parameters": {"b[x]": parameter},
        **figures,
    }


def run(ours, peer, **more):
    """Three runs of both sides: ESS per second and seconds of a process."""
    return [
        record(
            fit,
            i,
            ess_per_sampling_second=ess,
            process_seconds=seconds,
            divergences=i,
            **more,
        )
        for fit, figures in (("ours", ours), ("peer", peer))
        for i, (ess, seconds) in enumerate(figures)
    ]


CANNED = run([(900, 4), (1050, 5), (5000, 9)], [(100, 8), (90, 100), (110, 20)])


def test_ratios_of_medians_and_verdicts():
    fast, soon = verdicts(TOY, Measured(CANNED))
    assert (fast.value, fast.met, fast.bound) == (pytest.approx(10.5), True, "> 5")
    assert (soon.value, soon.met, soon.bound) == (pytest.approx(0.25), True, "< 0.5")
    slow = run([(100, 18)] * 3, [(100, 20)] * 3)
    assert [v.met for v in verdicts(TOY, Measured(slow))] == [False, False]


def test_table_shows_ratios_and_verdicts():
    text = markdown([TOY], CANNED, ABOUT)
    ratios = next(row for row in text.splitlines() if "ours / peer*" in row)
    assert "*0.250*" in ratios
    assert "*10.5*" in ratios
    assert "| toy | ESS per sampling second, ours / peer | 10.5 | > 5 | met |" in text
    missed = markdown([TOY], run([(100, 18)] * 3, [(100, 20)] * 3), ABOUT)
    assert "| 0.900 | < 0.5 | **missed** |" in missed


def test_divergences_are_those_of_the_worst_run():
    assert Measured(CANNED).median("ours", "divergences") == 2


def test_a_peer_that_did_not_converge_is_not_beaten():
    records = run([(900, 3)], [(100, 8)], rhat=2.5)
    fast, soon = verdicts(TOY, Measured(records))
    assert fast.met is None
    assert soon.met is True
    assert "did not converge (R-hat 2.50)" in markdown([TOY], records, ABOUT)


def test_one_side_alone_has_no_ratio():
    alone = [r for r in CANNED if r["side"] == "peer"]
    assert [v.met for v in verdicts(TOY, Measured(alone))] == [None, None]
    assert "not measured" in markdown([TOY], alone, ABOUT)


def test_a_failed_process_is_named_and_counts_for_nothing():
    failed = {k: CANNED[0][k] for k in ("benchmark", "fit", "side", "run", "cache")}
    records = [failed | {"error": "no luck"}, *CANNED[1:]]
    assert Measured(records).values("ours", "process_seconds") == [5, 9]
    assert "toy, ours, run 0, cold: failed" in markdown([TOY], records, ABOUT)


def test_difference_of_posterior_means_is_in_sds():
    records = [record("ours", 1, mean=1.0), record("peer", 1, mean=0.0)]
    assert Measured(records).disagreement() == pytest.approx(0.5)


def test_estimates_outside_the_interval_are_counted():
    measured = Measured([record("ours", 1, mean=1.0)])
    assert measured.outside("ours", {"b[x]": 4.9}) == 0
    assert measured.outside("ours", {"b[x]": 5.1}) == 1
    assert math.isnan(measured.outside("peer", {"b[x]": 0.0}))


def test_ess_of_draws_is_the_smallest_of_bulk_and_tail(tmp_path):
    rng = np.random.default_rng(1)
    draws: dict[str, Any] = {
        "good": rng.normal(size=(4, 500)),
        "bad": rng.normal(size=(4, 500)).cumsum(axis=1),
    }
    draws["constant"] = np.zeros((4, 500))
    np.savez(tmp_path / "draws.npz", **draws)
    seconds = {"sampling_seconds": 2.0, "fit_seconds": 3.0, "process_seconds": 4.0}
    found = with_ess(seconds, tmp_path / "draws.npz")
    assert found["min_ess_of"] == "bad"
    assert found["min_ess"] < 50 < 1500 < found["parameters"]["good"]["ess_bulk"]
    assert found["ess_per_sampling_second"] == found["min_ess"] / 2
    assert found["other_seconds"] == 1.0
    assert "constant" not in found["parameters"]


@pytest.mark.parametrize(
    ("label", "variable", "level"),
    [
        ("Intercept", "Intercept", None),
        ("Intercept_zi", "psi_Intercept", None),
        ("b[I(age ** 2)]", "I(age ** 2)", None),
        ("b[livch[3+]]", "livch", "3+"),
        ("b[spp[EC-A]:mined[yes]]", "spp:mined", "EC-A, yes"),
        ("b_zi[mined[yes]]", "psi_mined", "yes"),
        ("sd_district[Intercept]", "1|district_sigma", None),
        ("sd_district[urban[Y]]", "urban|district_sigma", "Y"),
        ("shape", "alpha", None),
    ],
)
def test_our_labels_are_found_in_bambi(label, variable, level):
    where = place(label)
    assert where is not None
    assert (where.variable, where.level) == (variable, level)


def test_correlations_are_not_in_bambi():
    assert place("cor_Subject") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (8.0, "8"),
        (0.0123, "0.0123"),
        (9.876, "9.88"),
        (12.34, "12.3"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text
    assert number(None) == number(math.nan) == "–"


def test_targets_name_fits_that_there_are():
    for benchmark in BENCHMARKS:
        assert all(v.met is None for v in verdicts(benchmark, Measured([])))
        assert len({b.name for b in BENCHMARKS}) == len(BENCHMARKS)


def test_every_figure_is_in_the_data():
    target = Target("a number", ">", 1, lambda m: m.median("ours", "process_seconds"))
    benchmark = Benchmark("toy", {"ours": Fit("ours", TABLE, ("y ~ x",))}, (target,), ("a note",))
    data = as_data([benchmark], CANNED, ABOUT)
    assert data["notes"] == {"toy": ["a note"]}
    assert data["targets"][0]["value"] == 5
    assert data["records"] == CANNED
