"""Sphinx configuration: MyST-NB pages that are executed at build time, PyData theme, numpydoc.

uv run --group docs sphinx-build -W -b html docs docs/_build/html
"""

import importlib.metadata
import os
import shutil
from pathlib import Path

# For the kernels that execute the pages: no progress bars, and no word from tqdm on ipywidgets.
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")

# The notebooks of examples/ are pages too, with the outputs that they are committed with.
here = Path(__file__).parent
shutil.rmtree(here / "_examples", ignore_errors=True)
(here / "_examples").mkdir()
for notebook in (here.parent / "examples").glob("*.ipynb"):
    shutil.copy2(notebook, here / "_examples")

project = "bayesmm"
author = "The bayesmm developers"
copyright = "The bayesmm developers"  # noqa: A001
release = version = importlib.metadata.version("bayesmm")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
default_role = "py:obj"
highlight_language = "none"

# Pages are executed where their cells changed, which says nothing of the package: delete
# docs/_build after changing that. An error in a cell fails the build.
nb_execution_mode = "cache"
nb_execution_excludepatterns = ["_examples/*"]
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_show_tb = True
nb_merge_streams = True

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = "bayesmm"
html_static_path = ["_static"]
html_css_files = ["bayesmm.css"]
html_show_sourcelink = False
html_sidebars = {"**": []}  # the pages are one level deep, and the header has them all
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
