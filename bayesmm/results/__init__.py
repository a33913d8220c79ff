"""Results: the fit and its accessors, tables, verdict, and files."""

from bayesmm.results.fit import Fit
from bayesmm.results.report import Problem, Report
from bayesmm.results.store import load

__all__ = ["Fit", "Problem", "Report", "load"]
