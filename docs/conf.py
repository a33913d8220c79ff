"""Sphinx configuration: MyST pages, of which those with code cells are executed.

Nothing here needs a network: inventories of other projects' pages and MathJax come with the sources
or from PyPI.
"""

import importlib.metadata
import os
import shutil
from pathlib import Path

import numpydoc.xref

# For the kernels that execute the pages: no progress bars, and no word from tqdm on ipywidgets.
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")
here = Path(__file__).parent
# They find tables.py here.
paths = [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(paths)

# The notebooks of examples/ are pages too, with the outputs that they are committed with.
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
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
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
nb_ipywidgets_js = {}  # no page has a Jupyter widget, and their scripts would come from a network

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # of the words in a type, only names with a dot are looked up
# ... and not Python's glossary, which numpydoc would link to.
numpydoc_xref_aliases = {word: word for word in numpydoc.xref.DEFAULT_LINKS}

# Types in the API reference link to the pages of their projects. Each inventory lists the few names
# that we use, in the plain-text format, so that the build is the same with and without a network.
intersphinx_mapping = {
    name: (address, f"inventories/{name}.inv")
    for name, address in {
        "python": "https://docs.python.org/3/",
        "numpy": "https://numpy.org/doc/stable/",
        "pandas": "https://pandas.pydata.org/docs/",
        "xarray": "https://docs.xarray.dev/en/stable/",
        "matplotlib": "https://matplotlib.org/stable/",
        "jax": "https://docs.jax.dev/en/latest/",
        "numpyro": "https://num.pyro.ai/en/stable/",
    }.items()
}

html_theme = "pydata_sphinx_theme"
html_title = "bayesmm"
html_static_path = ["_static"]
html_css_files = ["bayesmm.css"]
html_show_sourcelink = False
html_sidebars = {"index": [], "start": [], "coming": [], "gallery": [], "api": []}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_depth": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
