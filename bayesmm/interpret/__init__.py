"""What a fit means: predictions averaged and compared, hypotheses, and where variance comes from.

Functions here take a `Fit` and return tidy tables, or the draws behind them. Everything that they
say of rows comes from `Fit.predict`'s own path; a further function is a file here.
"""

from bayesmm.interpret.comparisons import comparisons
from bayesmm.interpret.grid import datagrid
from bayesmm.interpret.hypothesis import hypothesis
from bayesmm.interpret.predictions import predictions
from bayesmm.interpret.slopes import slopes

__all__ = ["comparisons", "datagrid", "hypothesis", "predictions", "slopes"]
