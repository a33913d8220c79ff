"""Data from a formula and parameters: what the model says before anything was measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmm.engines import make_key, resolve_seed, whole_number
from bayesmm.errors import BayesmmError, DataError
from bayesmm.families import Family
from bayesmm.simulation.blueprint import Blueprint, blueprint
from bayesmm.simulation.parameters import read_parameters
from bayesmm.simulation.source import Source, checked

#: The column that numbers the data sets, where there are several.
NUMBER = "simulation"


class Drawn(dict):
    """The effects that data were made with, shared between the copies of the data.

    Pandas copies attributes deeply in most of what it does: with 100,000 levels a mean by group
    took 8.5 s, and takes 0.01 s.
    """

    def __deepcopy__(self, memo: Any) -> "Drawn":
        return self


def simulate(
    formula: str | Sequence[str],
    data: Any,
    params: Mapping[str, Any],
    family: str | Family = "gaussian",
    *,
    seed: int | None = None,
    n: int = 1,
    link: str | Mapping[str, str] | None = None,
    functions: Mapping[str, Callable] | None = None,
) -> pd.DataFrame:
    """Draw responses from a formula and parameters; nothing is fitted.

    Parameters
    ----------
    formula : str or sequence of str
        As for `Model`. The response may be left out, ``"~ 1 + (1 | f)"``; it is called ``y`` then.
    data : dataframe
        The predictors and groups of every row (pandas, polars, pyarrow), and the columns of trials,
        bounds and known errors. A column of the response need not be there; if it is, it says what
        kind of column is wanted (its categories, its labels), and is replaced in what is returned.
    params : mapping of str to number, sequence, mapping or matrix
        The parameters by their names in the posterior of such a model: ``"b"`` and ``"b_sigma"``
        with a number for each coefficient, for the predictors as given; ``"sd_f"`` with a number
        for each effect of the group f, and ``"cor_f"`` with a matrix, or a number for each pair of
        effects; ``"sigma"``, ``"shape"``, ``"zi"``, ``"cutpoints"`` and so on on their natural
        scale, where they have no formula. Several numbers are a mapping by label,
        ``{"Intercept": 0.0, "x": 1.0}``, thresholds also a sequence; a single one can be given as
        it is. An empty mapping gets an error with a template to paste.
    family : str or Family
        The distribution of the response; `bayesmm.families.names()` lists them.
    seed : int, optional
        The same seed gives the same data. Several data sets start with the one that ``n=1`` gives.
    n : int
        How many data sets.
    link : str or mapping, optional
        The link of mu, or links by parameter.
    functions : mapping of str to callable, optional
        Functions that the formula may call beside the built-in transforms.

    Returns
    -------
    pandas.DataFrame
        The data with responses. With ``n > 1`` a long table of all data sets, one below the other,
        whose first column ``simulation`` numbers them from 0. The seed is in ``.attrs["seed"]``;
        with ``n=1`` ``.attrs["effects"]`` has the group effects that were drawn, by variable,
        level and effect.

    Raises
    ------
    BayesmmError
        For parameters that are missing (all are listed), unknown, impossible or of another shape;
        for responses that are no data, because parameters are extreme; and as `Model` does.

    Examples
    --------
    >>> import bayesmm as bm
    >>> import numpy as np
    >>> import pandas as pd
    >>> design = pd.DataFrame({"f": np.repeat(["a", "b", "c", "d", "e"], 5)})
    >>> params = {"b": {"Intercept": 0.0}, "sd_f": {"Intercept": 1.0}, "sigma": 1.0}
    >>> data = bm.simulate("~ 1 + (1 | f)", design, params, seed=101)
    >>> truth = pd.DataFrame(data.attrs["effects"]["r_f"]).T["Intercept"]
    >>> pd.DataFrame({"effect": truth, "mean": data.groupby("f")["y"].mean()}).round(1)
       effect  mean
    a    -2.7  -2.6
    b    -0.2  -0.5
    c    -1.0  -0.6
    d    -0.9  -1.6
    e     0.2   0.1
    """
    n = whole_number("n", n, 1)
    seed = resolve_seed(seed)
    plan = blueprint(formula, data, params, family=family, link=link, functions=functions)
    if n > 1 and NUMBER in plan.data.columns:
        raise DataError(
            f"data has a column {NUMBER!r}, which is to number the data sets. Rename it."
        )
    source = source_of(plan, params)
    made = list(source.blocks(make_key(seed), n))
    y = np.concatenate([block.y for block in made])
    responses = [_numbered(plan, i, own, n) for i, own in enumerate(y)]
    if n == 1:
        found = plan.filled(responses[0])
        drawn = {name: x[0] for name, x in made[0].effects.items()}
        found.attrs["effects"] = Drawn(_labelled(plan, drawn))
    else:
        rows = np.tile(np.arange(len(plan.data)), n)
        found = plan.empty.iloc[rows].reset_index(drop=True)
        plan.responses.into(found, np.concatenate(responses))
        found.insert(0, NUMBER, np.repeat(np.arange(n), len(plan.data)))
    found.attrs["seed"] = seed
    return found


def source_of(plan: Blueprint, params: Mapping[str, Any]) -> Source:
    """Return what draws responses for parameters, which are checked."""
    found = read_parameters(params, plan.spec)
    return Source(plan, {name: values[None] for name, values in found.items()})


def _numbered(plan: Blueprint, number: int, y: np.ndarray, n: int) -> np.ndarray:
    try:
        return checked(plan.responses, plan.trials, y)
    except BayesmmError as error:
        if n == 1:
            raise
        raise BayesmmError(f"Simulation {number}: {error}") from None


def _labelled(plan: Blueprint, effects: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The drawn effects as plain values: by variable, level and effect."""
    found = {}
    for layout in plan.spec.layout:
        for group in layout.groups:
            levels = plan.spec.schema.grouping(group.name).labels
            values = effects[group.variable("r")].tolist()
            found[group.variable("r")] = {
                level: dict(zip(group.effects, row, strict=True))
                for level, row in zip(levels, values, strict=True)
            }
    return found
