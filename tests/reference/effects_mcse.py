"""Give the files of the group effects (``data/*_r.csv``) the Monte Carlo errors that they lack.

    PYTHONPATH=tests python tests/reference/effects_mcse.py [model ...]

brms's summaries of the group effects have effective sample sizes (ess_bulk, ess_tail) only. The
error of a mean is sd / sqrt(ess_bulk). That of an sd is sd sqrt((kurtosis - 1) / (4 ess)), the
delta method for the root of a mean of squares, with the ess of squared deviations. It is the
smallest of ess_bulk, ess_tail, and ess_bulk times the ratio of the two in draws of the same
posterior by the same kind of sampler (NUTS on non-centred effects, as in brms), from which the
kurtosis is taken too. The ratio matters where NUTS makes means antithetic and squares not: in
verbagg it is a third.
"""

import sys

import numpy as np
import pandas as pd
from arviz_stats import ess
from scipy.stats import kurtosis
from test_reference import DATA, MODELS, brms_name, draws_of, fitted

import bayesmm as bm
from conftest import SLEEPSTUDY_FORMULA, sleepstudy_priors


def sd_error(draws):
    """sqrt((kurtosis - 1) / 4) and the ratio of the ess of squares to ess_bulk."""
    squares = (draws - draws.mean()) ** 2
    ratio = float(ess(squares, method="mean")) / float(ess(draws, method="bulk"))
    return np.sqrt((kurtosis(draws.ravel(), fisher=False) - 1) / 4), ratio


def main(names):
    for name in names:
        model = MODELS[name]
        sampling = {"draws": 2000 if model.slow else 8000, "seed": 101}
        sampling["parameterization"] = "noncentered"
        if model.fixture:
            data = bm.datasets.load(name)
            fit = bm.fit(SLEEPSTUDY_FORMULA, data, priors=sleepstudy_priors(), **sampling)
        else:
            fit = fitted(name, **sampling)
        path = DATA / f"{name}_r.csv"
        table = pd.read_csv(path, index_col="variable")
        table["mcse_mean"] = table["sd"] / np.sqrt(table["ess_bulk"])
        for label, draws in draws_of(fit).items():
            if label.startswith("r_"):
                row = brms_name(label)
                factor, ratio = sd_error(draws)
                bulk, tail = table.loc[row, ["ess_bulk", "ess_tail"]]
                error = table.loc[row, "sd"] * factor / np.sqrt(min(bulk, tail, ratio * bulk))
                table.loc[row, "mcse_sd"] = float(f"{error:.4g}")
        table["mcse_mean"] = [float(f"{x:.4g}") for x in table["mcse_mean"]]
        table.to_csv(path)
        print(name, "done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or MODELS)
