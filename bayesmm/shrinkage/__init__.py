"""Partial pooling as numbers: what each level says by itself, and how far it is shrunk.

`table` puts together `bm.pooling`; `factors` has the pooling factors, `unpooled` the estimates of
each level by itself, and `alone` an effect without the others of its group. All ask the same of
the model, with the covariance of the effects as it is, with one of infinity, and with sds of 0:
what are the effects of a level, all else being given?
"""

from bayesmm.shrinkage.alone import effects_alone
from bayesmm.shrinkage.scale import mean_is_mu
from bayesmm.shrinkage.table import choose, estimates, pooling

__all__ = ["choose", "effects_alone", "estimates", "mean_is_mu", "pooling"]
