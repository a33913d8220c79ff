"""The examples in the package's docstrings are tests too.

An example sees what it imports itself and nothing else. It runs in an empty directory, so that it
may write files.
"""

from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "bayesmm"


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path):
    """Look for examples in the package alone: `--doctest-modules` would import all of tests/."""
    found = yield
    if file_path.is_relative_to(PACKAGE):
        return found
    return [collector for collector in found if type(collector) is pytest.Module]


def pytest_itemcollected(item):
    """Let ArviZ warn of single rows, as the tests that call it do."""
    if isinstance(item, pytest.DoctestItem):
        item.add_marker(pytest.mark.filterwarnings("ignore:Estimated shape parameter"))


@pytest.fixture(autouse=True)
def _example(request):
    """Prepare an example; any other test is left alone."""
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("_as_a_reader")


@pytest.fixture
def _as_a_reader(request, monkeypatch, tmp_path):
    """No names but the example's own, no windows, no bars, tables 80 characters wide."""
    import matplotlib
    import matplotlib.pyplot as plt
    import pandas as pd

    request.node.dtest.globs.clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with (
        matplotlib.rc_context(),
        pd.option_context("display.width", 80, "display.max_columns", 20),
    ):
        matplotlib.use("Agg")
        yield
    plt.close("all")
