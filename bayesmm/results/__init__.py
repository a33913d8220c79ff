"""Results: the fit and its accessors, tables, verdict, and files."""

from bayesmm.results.fit import Fit, load
from bayesmm.results.loo_group import loo_group
from bayesmm.results.marginal import marginal_mean
from bayesmm.results.ranks import Calibration
from bayesmm.results.report import Problem, Report
from bayesmm.results.sbc import sbc
from bayesmm.results.structural import structural_zeros

__all__ = [
    "Calibration",
    "Fit",
    "Problem",
    "Report",
    "load",
    "loo_group",
    "marginal_mean",
    "sbc",
    "structural_zeros",
]
