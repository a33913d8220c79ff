"""What a fit means: predictions averaged and compared, hypotheses, and where variance comes from.

Functions here take a `Fit` and return tidy tables, or the draws behind them. Everything that they
say of rows comes from `Fit.predict`'s own path; a further function is a file here.
"""

from bayesmm.interpret.comparisons import comparisons
from bayesmm.interpret.grid import datagrid
from bayesmm.interpret.hypothesis import hypothesis
from bayesmm.interpret.predictions import predictions
from bayesmm.interpret.r2 import r2
from bayesmm.interpret.slopes import slopes
from bayesmm.interpret.variance import icc, variance_partition

__all__ = [
    "comparisons",
    "datagrid",
    "hypothesis",
    "icc",
    "predictions",
    "r2",
    "slopes",
    "variance_partition",
]
