"""Priors: plain records, the keys that address them, and their sites in the model.

======================  ==========================================================================
`records`               a prior as a name and numbers; `LKJ`
`addressing`            which prior belongs to which number, the most specific key first
`scales`                the scale of a response, from which defaults are made
`sites`                 the priors of a variable as sites of a NumPyro model
======================  ==========================================================================
"""

from bayesmm.priors.addressing import Assigned, Slot, as_prior, resolve
from bayesmm.priors.records import (
    LKJ,
    Prior,
    PriorStructure,
    half_student_t,
    normal,
    student_t,
)
from bayesmm.priors.scales import Scale, normal_mad, robust_scale
from bayesmm.priors.sites import Site, VectorPrior, pack, sample_vector

__all__ = [
    "LKJ",
    "Assigned",
    "Prior",
    "PriorStructure",
    "Scale",
    "Site",
    "Slot",
    "VectorPrior",
    "as_prior",
    "half_student_t",
    "normal",
    "normal_mad",
    "pack",
    "resolve",
    "robust_scale",
    "sample_vector",
    "student_t",
]
