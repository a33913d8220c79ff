"""What tests measured, kept for the page docs/right.md.

A test notes it by the fixture `evidence`. A run with ``--evidence PATH`` collects the notes of the
tests that passed and writes them to PATH, beside those of ``evidence.json`` whose tests it did not
run (the slow ones, as a rule): the page shows PATH of the default run in ``docs/_build``, or else
``evidence.json``, which is committed. Without the option nothing happens.

The numbers in ``evidence.json`` may be those of an older run; what is listed there may not. A run
fails in which a test noted other rows than are listed for it, or which ran a file without a test
that is listed: run whole files. To make the list right again, copy what the run wrote over it::

    uv run pytest --evidence /tmp/evidence.json tests/unit/test_marginal.py
    cp /tmp/evidence.json tests/evidence.json
"""

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path

import numpy as np
import pytest

COMMITTED = Path(__file__).with_name("evidence.json")
PACKAGES = ("bayesmm", "jax", "numpyro", "numpy", "scipy")
MOST_LINES = 10
ADVICE = "If that is meant, copy what this run has written over tests/evidence.json."


def plain(value):
    """A value as JSON has it; numbers with three digits."""
    if isinstance(value, str | int):
        return value
    return float(f"{float(value):.3g}")


def compared(found, expected):
    """How many numbers there are, and the largest difference, relative where they are above 1."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        error = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
    return {"numbers": error.size, "error": np.where(same, 0.0, error).max()}


@pytest.fixture
def evidence(record_property):
    """Note what a test measured: `evidence(table, row, **values)`, with numbers or words.

    `found` and `expected` are kept as what `compared` says of them.
    """

    def note(table, row, found=None, expected=None, **values):
        if found is not None:
            values = compared(found, expected) | values
        values = {name: plain(value) for name, value in values.items()}
        record_property("evidence", {"table": table, "row": row, "values": values})

    return note


def this_run():
    """The day, the machine and the versions, as the page shows them."""
    cpu = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        lines = listing.read_text().splitlines()
        cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), cpu)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{datetime.date.today()}: {cpu}, {os.cpu_count()} cores, {platform.system()}; "
        f"Python {platform.python_version()}, {versions}"
    )


def merged(committed, found, ran, run):
    """Return what is to be written, and what does not fit together.

    Parameters
    ----------
    committed : dict
        What `read` returns.
    found : dict
        Of each test that passed, its notes.
    ran : dict
        Whether each test that ran is slow.
    run : str
        This run, see `this_run`.
    """
    rows, wrong = [], []
    # A file's slow tests and the others run apart, so each kind is missed on its own.
    kinds = {(test.partition("::")[0], slow) for test, slow in ran.items()}
    of_test = {}
    for row in committed["rows"]:
        of_test.setdefault(row["test"], []).append(row)
    for test, old in of_test.items():
        if test in found:
            continue
        kind = (test.partition("::")[0], old[0]["slow"])
        if kind in kinds and test not in ran:
            wrong.append(f"{test} is listed, and there is no such test")
            continue
        rows += [row | {"run": committed["runs"][row["run"]]} for row in old]
    for test, notes in found.items():
        new = [note | {"test": test, "slow": ran[test], "run": run} for note in notes]
        rows += new
        listed, noted = (
            {(row["table"], row["row"]) for row in some} for some in (of_test.get(test, []), new)
        )
        if listed != noted:
            wrong.append(f"{test} noted {sorted(noted)}, and listed are {sorted(listed)}")
    rows.sort(key=lambda row: (row["table"], row["test"], row["row"]))
    runs = sorted({row["run"] for row in rows}, reverse=True)
    return {"runs": runs, "rows": [row | {"run": runs.index(row["run"])} for row in rows]}, wrong


def read(path=COMMITTED):
    """The runs, and the rows with the run, the test and the values of each."""
    return json.loads(path.read_text()) if path.exists() else {"runs": [], "rows": []}


def write(path, content):
    """One row a line, so that changes can be read."""
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in content["rows"])
    runs = json.dumps(content["runs"], ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{\n "runs": {runs},\n "rows": [\n{rows}\n ]\n}}\n', encoding="utf-8")


class Collector:
    """Takes the notes from the reports of the tests, under pytest-xdist too."""

    def __init__(self, path):
        self.path, self.found, self.ran = path, {}, {}

    def pytest_runtest_logreport(self, report):
        if report.when == "setup":
            self.ran[report.nodeid] = "slow" in report.keywords
        if report.when == "call" and report.passed:
            notes = [value for name, value in report.user_properties if name == "evidence"]
            if notes:
                self.found[report.nodeid] = notes

    def pytest_sessionfinish(self, session):
        content, wrong = merged(read(), self.found, self.ran, this_run())
        write(self.path, content)
        self.wrong = wrong
        if wrong and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section("evidence")
        terminalreporter.line(f"{len(self.found)} tests noted evidence, see {self.path}")
        for line in self.wrong[:MOST_LINES]:
            terminalreporter.line(f"evidence.json: {line}", red=True)
        if more := self.wrong[MOST_LINES:]:
            terminalreporter.line(f"evidence.json: and {len(more)} more tests", red=True)
        if self.wrong:
            terminalreporter.line(ADVICE, red=True)


def pytest_addoption(parser):
    parser.addoption("--evidence", metavar="PATH", type=Path, help="write what tests measured")


def pytest_configure(config):
    # Under xdist the workers' reports come to the controller.
    if config.getoption("--evidence") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector(config.getoption("--evidence")))
