"""The notebooks of `examples/`: each runs, and is committed with the outputs of a whole run.

They run in this process with few draws, which is enough to see that every call still works; what
their text says of the results is for whoever runs them in full.
"""

import json
from pathlib import Path
from runpy import run_path

import matplotlib
import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def quickly(monkeypatch, tmp_path):
    """Few draws, no windows, no bars, no files left behind."""
    monkeypatch.setenv("BAYESMM_DRAWS", "60")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        matplotlib.use("Agg")
        yield
    plt.close("all")


def test_there_are_notebooks():
    assert NOTEBOOKS


@every_notebook
def test_notebook_runs(path, quickly, few_compiled_programs):
    namespace = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(path), start=1):
        program = compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec")
        exec(program, namespace)
        plt.close("all")


@every_notebook
def test_notebook_is_committed_with_its_outputs(path):
    cells = code_cells(path)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@every_notebook
def test_outputs_are_those_of_the_code_above_them(path):
    digest, notebook = run_path(str(EXAMPLES / "execute.py"))["digest"], read(path)
    assert notebook["metadata"].get("executed") == digest(notebook), (
        f"the code of {path.name} has changed since it ran: `examples/execute.py {path.stem}`"
    )
