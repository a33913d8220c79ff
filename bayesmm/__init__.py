"""bayesmm: Bayesian mixed models. A formula becomes a NumPyro hierarchical model.

    import bayesmm as bm
    fit = bm.fit("Reaction ~ 1 + Days + (1 + Days | Subject)", bm.datasets.load("sleepstudy"))
    fit.summary()

Names are imported at first use, because JAX takes seconds to import.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bayesmm.errors import (
    BayesmmError,
    BayesmmWarning,
    DataError,
    FamilyError,
    FormulaError,
    NewLevelsError,
    PriorError,
    SamplerError,
)

if TYPE_CHECKING:
    from bayesmm import datasets, families
    from bayesmm.api import Model, fit
    from bayesmm.distributions import HalfStudentT
    from bayesmm.engines import IMH, NUTS
    from bayesmm.families import Family, Parameter
    from bayesmm.interpret import (
        comparisons,
        datagrid,
        hypothesis,
        icc,
        predictions,
        r2,
        slopes,
        variance_partition,
    )
    from bayesmm.page import export_shrinkage, shrinkage_widget
    from bayesmm.plots import (
        plot_caterpillar,
        plot_comparisons,
        plot_pooling,
        plot_predictions,
        plot_ridge,
        plot_sbc,
        plot_shrinkage,
        plot_slopes,
    )
    from bayesmm.priors import LKJ
    from bayesmm.results import Fit, load, loo_group, marginal_mean, sbc, structural_zeros
    from bayesmm.shrinkage import pooling
    from bayesmm.simulation import parametric_bootstrap, power, simulate

_HOMES = {
    "Model": "bayesmm.api",
    "fit": "bayesmm.api",
    "HalfStudentT": "bayesmm.distributions",
    "IMH": "bayesmm.engines",
    "NUTS": "bayesmm.engines",
    "Family": "bayesmm.families",
    "Parameter": "bayesmm.families",
    "comparisons": "bayesmm.interpret",
    "datagrid": "bayesmm.interpret",
    "hypothesis": "bayesmm.interpret",
    "icc": "bayesmm.interpret",
    "predictions": "bayesmm.interpret",
    "r2": "bayesmm.interpret",
    "slopes": "bayesmm.interpret",
    "variance_partition": "bayesmm.interpret",
    "export_shrinkage": "bayesmm.page",
    "shrinkage_widget": "bayesmm.page",
    "plot_caterpillar": "bayesmm.plots",
    "plot_comparisons": "bayesmm.plots",
    "plot_pooling": "bayesmm.plots",
    "plot_predictions": "bayesmm.plots",
    "plot_ridge": "bayesmm.plots",
    "plot_sbc": "bayesmm.plots",
    "plot_shrinkage": "bayesmm.plots",
    "plot_slopes": "bayesmm.plots",
    "LKJ": "bayesmm.priors",
    "Fit": "bayesmm.results",
    "load": "bayesmm.results",
    "loo_group": "bayesmm.results",
    "marginal_mean": "bayesmm.results",
    "sbc": "bayesmm.results",
    "structural_zeros": "bayesmm.results",
    "pooling": "bayesmm.shrinkage",
    "parametric_bootstrap": "bayesmm.simulation",
    "power": "bayesmm.simulation",
    "simulate": "bayesmm.simulation",
}
_MODULES = ("datasets", "families")

__all__ = [
    "LKJ",
    "IMH",
    "NUTS",
    "BayesmmError",
    "BayesmmWarning",
    "DataError",
    "Family",
    "FamilyError",
    "Fit",
    "FormulaError",
    "HalfStudentT",
    "Model",
    "NewLevelsError",
    "Parameter",
    "PriorError",
    "SamplerError",
    "comparisons",
    "datagrid",
    "datasets",
    "export_shrinkage",
    "families",
    "fit",
    "hypothesis",
    "icc",
    "load",
    "loo_group",
    "marginal_mean",
    "parametric_bootstrap",
    "plot_caterpillar",
    "plot_comparisons",
    "plot_pooling",
    "plot_predictions",
    "plot_ridge",
    "plot_sbc",
    "plot_shrinkage",
    "plot_slopes",
    "pooling",
    "power",
    "predictions",
    "r2",
    "sbc",
    "shrinkage_widget",
    "simulate",
    "slopes",
    "structural_zeros",
    "variance_partition",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # the number itself is in pyproject.toml, and nowhere else
        from importlib.metadata import version

        return version("bayesmm")
    if name in _MODULES:
        return importlib.import_module(f"bayesmm.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'bayesmm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
