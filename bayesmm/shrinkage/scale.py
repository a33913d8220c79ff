"""What the estimates of a level mean on the scale of the response."""

from typing import Any

import jax
import numpy as np

from bayesmm.model import predictor_values
from bayesmm.results import Fit
from bayesmm.results.posterior import means


def mean_is_mu(fit: Fit) -> bool:
    """Return whether the expected response is mu (times trials), tried at the posterior means.

    Then the inverse link of a level's coefficient is the mean response of the level.

    Parameters
    ----------
    fit : Fit
        The fit.
    """
    spec, design = fit.spec, fit._prepared.design
    if spec.family.response.categories or spec.family.response.columns:
        return False
    with jax.enable_x64(True):
        values = predictor_values(spec.family, spec.layout, design, means(fit.whole_posterior()))
        expected: Any = np.asarray(spec.family.mean(values))
        return np.allclose(expected, np.asarray(values.mu) * design.data.get("trials", 1.0))
