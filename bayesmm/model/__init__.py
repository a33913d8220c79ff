"""The hierarchical model as a NumPyro program, its transforms, and what is computed from draws."""

from bayesmm.model.information import Information, collect
from bayesmm.model.marginal import Marginal, cross_products, is_gaussian
from bayesmm.model.plan import Plan, find_factors, make_plan
from bayesmm.model.predictor import (
    distribution,
    family_values,
    linear_predictor,
    linear_predictors,
    log_likelihood,
    predictor_values,
)
from bayesmm.model.program import Inputs, Program, Summary
from bayesmm.model.rows import aggregate
from bayesmm.model.start import starting_region
from bayesmm.model.transformed import Coordinates, Transformed, TransformedInputs
from bayesmm.model.whiten import Whitened

__all__ = [
    "Coordinates",
    "Information",
    "Inputs",
    "Marginal",
    "Plan",
    "Program",
    "Summary",
    "Transformed",
    "TransformedInputs",
    "Whitened",
    "aggregate",
    "collect",
    "cross_products",
    "distribution",
    "family_values",
    "find_factors",
    "is_gaussian",
    "linear_predictor",
    "linear_predictors",
    "log_likelihood",
    "make_plan",
    "predictor_values",
    "starting_region",
]
