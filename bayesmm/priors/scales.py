"""The scale of a response, from which default priors are made."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scale:
    """Location and scale of a response on its link scale, from which defaults are made.

    Attributes
    ----------
    location : float
        Median of link(y), or 0 where the link has no use for it.
    s : float
        Robust scale of link(y): 1.4826 mad (see `response_scale`).
    spread : float
        The standard deviation of y under the identity link, else 1.
    residual, sd : float
        Robust scale and standard deviation of y itself, in its own units: those of sigma.
    """

    location: float
    s: float
    spread: float
    residual: float
    sd: float


def normal_mad(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation: the sd, where values are normal."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def robust_scale(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation, or the sd where that is 0."""
    return normal_mad(values) or float(np.std(values, ddof=min(1, len(values) - 1)))
