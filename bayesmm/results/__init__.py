"""Results: the fit and its accessors, tables, verdict, and files."""

from bayesmm.results.fit import Fit, load
from bayesmm.results.report import Problem, Report
from bayesmm.results.structural import structural_zeros

__all__ = ["Fit", "Problem", "Report", "load", "structural_zeros"]
