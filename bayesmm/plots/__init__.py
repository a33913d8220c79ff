"""Plots of what only a mixed model has; what ArviZ draws is left to ArviZ (`fit.idata` is its own).

One plot, one file. To add one, write ``bayesmm/plots/<name>.py`` with a function ``plot_<name>``
that takes a fit first, computes what it draws by the fit's public methods, and returns the
matplotlib figure; then name it here and in ``bayesmm/__init__.py``. `canvas` holds what plots
share: the figure to draw on (or the axes that the caller gave), and labels, which come from the
data and must be shown as they are. This package alone imports matplotlib, and `import bayesmm` does
not import this package. Test a new plot in ``tests/unit/test_plots.py``, and look at it: with one
panel and with many, with 1,000 levels, with long labels.
"""

from bayesmm.plots.caterpillar import plot_caterpillar
from bayesmm.plots.ranks import plot_sbc

__all__ = ["plot_caterpillar", "plot_sbc"]
