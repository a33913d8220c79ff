"""Results: the fit and its accessors, tables, verdict, and files."""

from bayesmm.results.fit import Fit, load
from bayesmm.results.report import Problem, Report

__all__ = ["Fit", "Problem", "Report", "load"]
