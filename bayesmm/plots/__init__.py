"""Plots of what only a mixed model has; what ArviZ draws is left to ArviZ (`fit.idata` is its own).

One plot, one file. To add one, write ``bayesmm/plots/<name>.py`` with a function ``plot_<name>``
that takes a fit first, computes what it draws by the fit's public methods, and returns the
matplotlib figure; then name it here and in ``bayesmm/__init__.py``. `canvas` holds what plots
share: the figure to draw on (or the axes that the caller gave), and labels, which come from the
data and must be shown as they are. Plots over values of predictors share more: what is asked
(`effects`, `effect_facets`) and how it is drawn (`effect_axes`, `effect_labels`). Plots of a
group's levels share `levels`, `level_marks` and `link_axis`, and `shrinkage` is a door to several
kinds. This package alone imports matplotlib, and `import bayesmm` does not import this package.
Test a new plot in ``tests/unit/test_plots.py``, and look at it: with one panel and with many, with
1,000 levels, with long labels.
"""

from bayesmm.plots.caterpillar import plot_caterpillar
from bayesmm.plots.comparisons import plot_comparisons
from bayesmm.plots.pooling import plot_pooling
from bayesmm.plots.predictions import plot_predictions
from bayesmm.plots.ranks import plot_sbc
from bayesmm.plots.ridge import plot_ridge
from bayesmm.plots.shrinkage import plot_shrinkage
from bayesmm.plots.slopes import plot_slopes

__all__ = [
    "plot_caterpillar",
    "plot_comparisons",
    "plot_pooling",
    "plot_predictions",
    "plot_ridge",
    "plot_sbc",
    "plot_shrinkage",
    "plot_slopes",
]
