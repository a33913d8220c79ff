"""Results: the fit and its accessors, tables, verdict, and files."""

from bayesmm.results.fit import Fit, load
from bayesmm.results.ranks import Calibration
from bayesmm.results.report import Problem, Report
from bayesmm.results.sbc import sbc
from bayesmm.results.structural import structural_zeros

__all__ = ["Calibration", "Fit", "Problem", "Report", "load", "sbc", "structural_zeros"]
