"""What tests noted for docs/right.md: the committed list, and how a run changes it."""

import re
from pathlib import Path

import numpy as np
import pytest
from evidence import COMMITTED, compared, merged, plain, read, write

ROOT = Path(__file__).parents[2]


def row(test, row="one", *, slow=False, run=0):
    return {"table": "t", "row": row, "values": {"z": 1}, "test": test, "slow": slow, "run": run}


def note(row="one"):
    return {"table": "t", "row": row, "values": {"z": 2}}


LISTED = {"runs": ["old"], "rows": [row("a.py::x"), row("a.py::y", slow=True), row("b.py::z")]}


def test_every_listed_row_is_of_a_test_that_exists():
    """A run of the file says the same of parameters and rows; this is quick."""
    content = read()
    assert content["rows"]
    for test in {row["test"].partition("[")[0] for row in content["rows"]}:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(), f"{test} is gone: see tests/evidence.py"


def test_the_committed_file_is_as_a_run_writes_it(tmp_path):
    write(tmp_path / "new" / "evidence.json", read())
    assert (tmp_path / "new" / "evidence.json").read_text() == COMMITTED.read_text()


def test_a_run_replaces_what_it_measured_and_keeps_the_rest():
    content, wrong = merged(LISTED, {"a.py::x": [note()]}, {"a.py::x": False}, "new")
    assert wrong == []
    assert content["runs"] == ["old", "new"]
    assert [(r["test"], r["values"]["z"], r["run"]) for r in content["rows"]] == [
        ("a.py::x", 2, 1),
        ("a.py::y", 1, 0),
        ("b.py::z", 1, 0),
    ]


@pytest.mark.parametrize(
    ("found", "ran", "words"),
    [
        ({"a.py::x": [note("two")]}, {"a.py::x": False}, "a.py::x noted .*two.* listed are .*one"),
        ({"a.py::x": [note(), note("two")]}, {"a.py::x": False}, "a.py::x noted"),
        ({"c.py::n": [note()]}, {"c.py::n": False}, r"c.py::n noted .*, and listed are \[\]"),
        ({}, {"b.py::other": False}, "b.py::z is listed, and there is no such test"),
    ],
)
def test_rows_that_are_not_those_of_the_list_are_said(found, ran, words):
    content, (message,) = merged(LISTED, found, ran, "new")
    assert re.search(words, message)
    # Copied over the list, it is right.
    assert merged(content, found, ran, "new")[1] == []


def test_slow_tests_run_without_the_others_of_their_file():
    content, wrong = merged(LISTED, {"a.py::y": [note()]}, {"a.py::y": True}, "new")
    assert wrong == []
    assert [(r["test"], r["values"]["z"]) for r in content["rows"]] == [
        ("a.py::x", 1),
        ("a.py::y", 2),
        ("b.py::z", 1),
    ]
    # A slow test that is gone is missed by a run of the slow ones.
    _, (message,) = merged(LISTED, {}, {"a.py::other": True}, "new")
    assert "a.py::y is listed, and there is no such test" in message


def test_tests_that_failed_or_were_skipped_keep_their_rows():
    ran = {"a.py::x": False, "b.py::z": False}
    content, wrong = merged(LISTED, {"b.py::z": [note()]}, ran, "new")
    assert wrong == []
    assert content["rows"][0]["values"] == {"z": 1}


def test_numbers_are_plain_and_compared_relatively_where_large():
    assert plain(np.float64(1.23456e-9)) == 1.23e-9
    assert type(plain(np.int64(3))) is float
    assert plain("words") == "words"
    found = compared([1e6 + 1, 0.5, np.inf, np.nan], [1e6, 0.25, np.inf, np.nan])
    assert found == {"numbers": 4, "error": 0.25}
