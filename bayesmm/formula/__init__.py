"""Formulas: text that is read safely, and the columns that it makes of data.

`parse` reads ``"y ~ x + (1 | g)"`` into a `Formula`: records of canonical text, compared by value,
with no arrays in them. `Terms` turns one of those texts into columns of numbers, and `evaluate` a
response.

The way of a text through the package, one module for each step:

======================  ==========================================================================
`text`                  tokens and a syntax tree (formulae's scanner and parser), all of it read
`safety`, `functions`   the walk that lets through only columns, arithmetic, and listed functions
`expression`            what came through: expressions that can be evaluated
`algebra`, `parts`      ``a*b + (x | g)`` as a plain list of terms and group terms
`parse`                 both sides together: `parse`, `Formula`
`derivative`            how fast an expression changes with a column, for slopes
`coding`, `terms`       the columns of a matrix: contrasts of factors, remembered transforms
======================  ==========================================================================

To let formulas call another function, see `functions`.
"""

from bayesmm.formula.functions import CATEGORY_SPECIFIC
from bayesmm.formula.parse import (
    Formula,
    addition_texts,
    columns_of,
    columns_of_expression,
    optional_columns,
    parse,
    predictor_columns,
    response_columns,
)
from bayesmm.formula.parts import GroupTerm, Predictor, Response
from bayesmm.formula.terms import Columns, Terms, evaluate

__all__ = [
    "CATEGORY_SPECIFIC",
    "Columns",
    "Formula",
    "GroupTerm",
    "Predictor",
    "Response",
    "Terms",
    "addition_texts",
    "columns_of",
    "columns_of_expression",
    "evaluate",
    "optional_columns",
    "parse",
    "predictor_columns",
    "response_columns",
]
