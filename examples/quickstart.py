"""From a formula to a posterior: reaction times over days of sleep deprivation, 18 subjects.

    uv run examples/quickstart.py

Prints the summary and the report of the fit, and writes two pictures into ./quickstart-output/.
"""

from pathlib import Path

import arviz as az
import matplotlib

import bayesmm as bm

# Pictures go to files: no window is needed, and none is there on a server.
matplotlib.use("Agg")


def main() -> None:
    data = bm.datasets.load("sleepstudy")
    model = bm.Model("Reaction ~ 1 + Days + (1 + Days | Subject)", data)
    print(model, "\n")

    fit = model.fit(seed=1)
    print(fit.summary(), "\n")
    print(fit.report(), "\n")

    output = Path("quickstart-output")
    output.mkdir(exist_ok=True)

    # What every subject adds to the average intercept and slope.
    caterpillar = bm.plot_caterpillar(fit)
    caterpillar.savefig(output / "caterpillar.png", dpi=150)

    # Does the model make data like those that were seen? ArviZ draws it from the fit as it is.
    predictive = fit.posterior_predictive(draws=100, seed=1)
    az.plot_ppc_dist(predictive).savefig(output / "posterior_predictive.png")

    for picture in sorted(output.glob("*.png")):
        print(f"wrote {picture.resolve()}")


if __name__ == "__main__":
    main()
