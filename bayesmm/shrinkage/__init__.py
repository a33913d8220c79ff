"""Partial pooling as numbers: what each level says by itself, and how far it is shrunk.

`table` puts together `bm.pooling`; `factors` has the pooling factors and `unpooled` the estimates
of each level by itself. Both ask the same question of the model, with the covariance of the effects
as it is and with one of infinity: what are the effects of a level, all else being given?
"""

from bayesmm.shrinkage.scale import mean_is_mu
from bayesmm.shrinkage.table import choose, estimates, pooling

__all__ = ["choose", "estimates", "mean_is_mu", "pooling"]
