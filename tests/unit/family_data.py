"""A data frame and a formula for any family, from the traits of its record alone."""

import numpy as np
import pandas as pd

from bayesmm.families import Family

LEFT = {
    "successes": "prop(y, trials)",
    "counts": "c(y1, y2, y3)",
    "shares": "c(y1, y2, y3)",
}
TRIALS = 15
CATEGORIES = 4

#: A few hundred responses of each kind, all of them possible and not all the same.
VALUES = {
    "real": lambda rng, n: rng.normal(0.4, 1.0, n),
    "positive": lambda rng, n: rng.gamma(3.0, 0.5, n) + 0.6,
    "nonnegative": lambda rng, n: rng.gamma(3.0, 0.5, n) * rng.integers(0, 2, n),
    "angle": lambda rng, n: rng.uniform(-3.0, 3.0, n),
    "unit_open": lambda rng, n: rng.uniform(0.05, 0.95, n),
    "unit_from_zero": lambda rng, n: rng.uniform(0.05, 0.95, n) * rng.integers(0, 2, n),
    "unit_closed": lambda rng, n: np.clip(rng.uniform(-0.5, 1.5, n), 0.0, 1.0),
    "count": lambda rng, n: rng.poisson(2.0, n),
    "binary": lambda rng, n: rng.integers(0, 2, n),
    "successes": lambda rng, n: rng.integers(0, TRIALS + 1, n),
    "ordinal": lambda rng, n: np.resize(np.arange(CATEGORIES), n),
    "nominal": lambda rng, n: np.resize(np.arange(CATEGORIES), n),
    "counts": lambda rng, n: rng.multinomial(12, [0.2, 0.3, 0.5], n),
    "shares": lambda rng, n: rng.dirichlet([2.0, 3.0, 4.0], n),
}


def left(family: Family) -> str:
    """The left-hand side of a formula."""
    return LEFT.get(family.response.name, "y")


def with_response(frame: pd.DataFrame, family: Family, y: np.ndarray) -> pd.DataFrame:
    """The frame with a response; categories are given by their positions."""
    if family.response.columns:
        return frame.assign(**{f"y{k + 1}": y[:, k] for k in range(y.shape[1])})
    if family.response.categories:
        labels = np.asarray(list("abcd"))[y.astype(int)]
        return frame.assign(y=pd.Categorical(labels, categories=list("abcd"), ordered=True))
    return frame.assign(y=y)


def example(family: Family, n: int, seed: int) -> pd.DataFrame:
    """A response of the family's kind, a predictor x, a group g."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": np.resize(np.arange(8), n)})
    frame["trials"] = TRIALS
    return with_response(frame, family, VALUES[family.response.name](rng, n))
