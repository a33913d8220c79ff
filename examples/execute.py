"""Run the notebooks of this folder from top to bottom and keep what they show.

    uv run --extra docs examples/execute.py                  # all of them: about six minutes
    uv run --extra docs examples/execute.py shrinkage        # one

The site shows notebooks as they are committed. So that every output belongs to the code above it,
a notebook says which code made its outputs: a digest of its code cells, which a test compares with
the cells.
"""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
#: What a cell says of itself to the site: whether it is folded, and what its picture shows.
KEPT = {"tags", "mystnb"}


def digest(notebook):
    """The digest of a notebook's code, of the notebook as JSON or as nbformat has it."""
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()


def execute(path):
    """Run one notebook in place; a cell that fails stops it, and the file stays as it was."""
    import nbformat  # of the extra "docs", which whoever needs `digest` alone may not have
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": HERE}}
    )
    client.execute()
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02}"  # not random, so that a second run changes nothing
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in KEPT}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        "executed": digest(notebook),
    }
    nbformat.write(notebook, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="stems of notebooks; all when left out")
    names = parser.parse_args().names or sorted(path.stem for path in HERE.glob("*.ipynb"))
    missing = [name for name in names if not (HERE / f"{name}.ipynb").exists()]
    if missing:
        sys.exit(f"no such notebook in {HERE}: {', '.join(missing)}")
    # For the kernels: no progress bars, and no word from tqdm on ipywidgets.
    os.environ.update(TQDM_DISABLE="1", PYTHONWARNINGS="ignore:IProgress not found")
    os.environ.pop("BAYESMM_DRAWS", None)  # what is kept has all draws
    for name in names:
        started = time.perf_counter()
        execute(HERE / f"{name}.ipynb")
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
