"""Predictions for rows of clusters that the model knows, and of clusters that it has not seen.

Functions here work on a `Prepared` model and the arrays of its posterior; `Fit.predict` labels
what they return. `asked` reads the rows. `condition` adds a few responses to what is known,
`clusters` says which cluster each row is of, `effects` what its effects are in every posterior
draw, and `rows` what follows for the rows; `marginal` averages over the distribution of clusters,
and `integrals` integrates the effects of new clusters out of the density of their rows.
"""

from bayesmm.predict.asked import Asked, Known, Scope, ask
from bayesmm.predict.clusters import Clusters, find_clusters, refuse_new
from bayesmm.predict.condition import Conditioned, condition
from bayesmm.predict.effects import NEW_LEVELS, Effects, covariance_root
from bayesmm.predict.rows import KINDS, name_of_linear, predict_rows, summarised

__all__ = [
    "KINDS",
    "NEW_LEVELS",
    "Asked",
    "Clusters",
    "Conditioned",
    "Effects",
    "Known",
    "Scope",
    "ask",
    "condition",
    "covariance_root",
    "find_clusters",
    "name_of_linear",
    "predict_rows",
    "refuse_new",
    "summarised",
]
