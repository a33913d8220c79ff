"""The hierarchical model as a NumPyro program, and what can be computed from its draws."""

from bayesmm.model.predictor import (
    distribution,
    linear_predictor,
    log_likelihood,
    predictor_values,
)
from bayesmm.model.program import Inputs, Program, Summary

__all__ = [
    "Inputs",
    "Program",
    "Summary",
    "distribution",
    "linear_predictor",
    "log_likelihood",
    "predictor_values",
]
