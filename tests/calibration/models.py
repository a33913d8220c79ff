"""What is calibrated: one record for each model.

To add one, add a `Case` to `CASES`, with priors under which simulated data look like data, and run
``python tests/calibration/calibrate.py <name>``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpyro.distributions as dist
import pandas as pd

import bayesmm as bm


@dataclass(frozen=True)
class Case:
    """A model of rows that `rows` makes; its response only has to be possible.

    Attributes
    ----------
    formula : str or tuple of str
        With the response ``y``.
    family : str
        Of the response.
    priors : mapping
        As `bm.Model` takes them.
    response : str
        The column of `rows` that stands in for the response.
    """

    formula: str | tuple[str, ...]
    family: str = "gaussian"
    priors: Mapping[str, Any] = field(default_factory=dict)
    response: str = "measure"

    def model(self) -> bm.Model:
        """The model, which is not fitted to these responses."""
        data = rows()
        data["y"] = data[self.response]
        return bm.Model(self.formula, data, self.family, self.priors)


def rows() -> pd.DataFrame:
    """96 rows: 12 groups g of 8 rows in 4 of a, 8 of h that cross them; a number x."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(12), 8)
    return pd.DataFrame(
        {
            "x": rng.normal(0.5, 1.0, 96),
            "g": g,
            "a": g // 3,
            "h": rng.permutation(np.resize(np.arange(8), 96)),
            "measure": rng.normal(size=96),
            "count": np.resize(np.arange(6), 96),
            "yes": np.resize([0, 1], 96),
            "grade": np.resize(np.arange(4), 96),
        }
    )


GAUSSIAN = {
    "Intercept": dist.Normal(0.0, 2.0),
    "b": dist.Normal(0.0, 1.0),
    "sd": dist.HalfNormal(1.0),
    "sigma": dist.LogNormal(0.0, 0.5),
}
#: On the log and the logit scale.
OTHERS = {
    "Intercept": dist.Normal(0.5, 0.7),
    "b": dist.Normal(0.0, 0.5),
    "sd": dist.HalfNormal(0.5),
}

CASES = {
    "gaussian, slopes": Case("y ~ x + (1 + x | g)", priors=GAUSSIAN | {"cor_g": bm.LKJ(1.0)}),
    "gaussian, nested": Case("y ~ x + (1 | a/g)", priors=GAUSSIAN),
    "gaussian, crossed": Case("y ~ x + (1 | g) + (1 | h)", priors=GAUSSIAN),
    "bernoulli": Case("y ~ x + (1 | g)", "bernoulli", OTHERS | {"sd": dist.HalfNormal(1.0)}, "yes"),
    "bernoulli, crossed": Case("y ~ x + (1 | g) + (1 | h)", "bernoulli", OTHERS, "yes"),
    "poisson": Case("y ~ x + (1 + x | g)", "poisson", OTHERS | {"cor_g": bm.LKJ(2.0)}, "count"),
    "poisson, nested": Case("y ~ x + (1 | a/g)", "poisson", OTHERS, "count"),
    "negative binomial": Case(
        "y ~ x + (1 | g)", "negbinomial", OTHERS | {"shape": dist.LogNormal(0.7, 0.7)}, "count"
    ),
    "zero-inflated poisson": Case(
        ("y ~ x + (1 | g)", "zi ~ x"),
        "zero_inflated_poisson",
        OTHERS | {"Intercept_zi": dist.Normal(-1.0, 1.0), "b_zi": dist.Normal(0.0, 1.0)},
        "count",
    ),
    "cumulative": Case(
        "y ~ x + (1 | g)",
        "cumulative",
        {"b": dist.Normal(0.0, 1.0), "sd": dist.HalfNormal(1.0), "cutpoints": dist.Normal(0, 1.5)},
        "grade",
    ),
}
