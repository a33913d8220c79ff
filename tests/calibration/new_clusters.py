"""Calibrate predictions for new clusters, and write what the docs show.

    python tests/calibration/new_clusters.py [name ...]

writes ``new_clusters.json`` and ``new_clusters.md`` beside this file. With names, the other models
keep what they have there.

In every data set the parameters are drawn from the prior, and from them a response and the effects
of one more cluster, which has rows and responses of its own. What is predicted for a row of that
cluster is a draw from the distribution that its true value has, given the data; so the rank of the
true value among draws is uniform, as that of a parameter is.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats as st
import xarray as xr
from models import CASES, Case, rows
from scipy.special import expit

import bayesmm as bm
from bayesmm.results import Calibration

RECORD = Path(__file__).with_name("new_clusters.json")
TABLE = Path(__file__).with_name("new_clusters.md")
NAMES = ("gaussian, slopes", "bernoulli", "poisson")
#: Data sets for each model, and the seed of every one.
N, SEED = 1000, 20261
#: As `bm.sbc` has it by default: ranks among 99 of 2 chains of 500 draws, spread evenly.
SAMPLING = {"draws": 500, "chains": 2, "progress": False, "log_likelihood": False, "effects": False}
RANKED_AMONG = 99
#: x in the rows of the new cluster: the last is predicted, with the responses of the others or
#: without. It lies beyond them, where an error of the slope shows.
X = (-0.5, 0.5, 1.0, 2.0)
#: Above this Pareto k there is a warning that only a refit can tell.
LARGEST_K = 0.7

#: What is ranked, as the docs call it.
QUANTITIES = {
    "linpred": "linear predictor",
    "difference": "linear predictor, less that of another row of the cluster",
    "pit": "response, by the distribution function",
    "response": "response, among drawn ones",
    "given_linpred": "linear predictor, given 3 responses of the cluster",
    "given_response": "response, given 3 others",
    "given_fit": "likelihood of the 3 responses, given them",
}
#: Predictions that are wrong in what is ranked: the test has to say so.
CONTROLS = {
    "population_linpred": 'linear predictor, `new_levels="population"`',
    "population_pit": 'response, `new_levels="population"`',
    "ignored_fit": "likelihood of the 3 responses, not given them",
}


@dataclass(frozen=True)
class Kind:
    """How responses follow from linear predictors; `scale` is the residual sd, or nothing.

    Attributes
    ----------
    draw : callable
        ``draw(rng, eta, scale)``: responses.
    cdf : callable
        ``cdf(y, eta, scale)``: P(Y <= y).
    fit : callable
        ``fit(y, eta)``: an increasing function of the likelihood of a row, given the scale.
    discrete : bool
        Whether responses are whole numbers.
    """

    draw: Callable
    cdf: Callable
    fit: Callable
    discrete: bool = True


KINDS = {
    "gaussian": Kind(
        lambda rng, eta, scale: rng.normal(eta, scale),
        st.norm.cdf,
        lambda y, eta: -((y - eta) ** 2),
        discrete=False,
    ),
    "bernoulli": Kind(
        lambda rng, eta, scale: rng.binomial(1, expit(eta)),
        lambda y, eta, scale: st.bernoulli.cdf(y, expit(eta)),
        lambda y, eta: np.where(y == 1, -np.logaddexp(0.0, -eta), -np.logaddexp(0.0, eta)),
    ),
    "poisson": Kind(
        lambda rng, eta, scale: rng.poisson(np.exp(eta)),
        lambda y, eta, scale: st.poisson.cdf(y, np.exp(eta)),
        lambda y, eta: y * eta - np.exp(eta),
    ),
}


@dataclass(frozen=True)
class DataSet:
    """The response of the rows of a model, and a further cluster with responses and true values."""

    y: np.ndarray
    new: pd.DataFrame
    eta: np.ndarray


def simulated(case: Case, n: int, seed: int) -> Iterator[DataSet]:
    """Yield n data sets, parameters and all else drawn anew for each."""
    tree = case.model().prior_predictive(draws=n, seed=seed)
    prior = tree["prior"].to_dataset().isel(chain=0)
    responses = tree["prior_predictive"]["y"].to_numpy()[0]
    kind, effects = KINDS[case.family], prior.sizes["g_effect"]
    design = np.stack([np.ones(len(X)), X], axis=1)
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        one = prior.isel(draw=i)
        cor = one["cor_g"].to_numpy() if effects > 1 else np.eye(1)
        b = one["sd_g"].to_numpy() * (np.linalg.cholesky(cor) @ rng.standard_normal(effects))
        eta = design @ one["b"].to_numpy() + design[:, :effects] @ b
        y = kind.draw(rng, eta, float(one["sigma"]) if "sigma" in one else 1.0)
        # 12 is the label of no fitted cluster.
        yield DataSet(responses[i], pd.DataFrame({"x": X, "g": 12, "y": y}), eta)


def rank(truth: float, draws: np.ndarray, rng: np.random.Generator) -> int:
    """How many of 99 draws, spread evenly, lie below the truth; ties are broken at random."""
    picked = np.linspace(0, len(draws) - 1, RANKED_AMONG).round().astype(int)
    some = draws[picked]
    return int((some < truth).sum() + rng.integers(0, (some == truth).sum() + 1))


def pit(kind: Kind, y: float, eta: np.ndarray, scale, rng: np.random.Generator) -> int:
    """P(Y < y) + U P(Y = y), averaged over posterior draws: which of 100 equal parts it is in."""
    at_most = np.mean(kind.cdf(y, eta, scale))
    below = np.mean(kind.cdf(y - 1, eta, scale)) if kind.discrete else at_most
    u = below + rng.uniform() * (at_most - below)
    return int(min(u * (RANKED_AMONG + 1), RANKED_AMONG))


def ranks_of(case: Case, data: DataSet, seed: int, number: int) -> tuple[dict[str, int], float]:
    """Fit the model to a data set; return the ranks, and the Pareto k of the weights."""
    training = rows()
    training["y"] = data.y
    # A new cluster of the same label and seed has the same random numbers: none is used twice.
    state = np.random.SeedSequence([seed, number, 1]).generate_state(3)
    of_fit, of_predict, own = (int(s) >> 1 for s in state)
    fit = bm.Model(case.formula, training, case.family, case.priors).fit(seed=of_fit, **SAMPLING)
    rng, kind = np.random.default_rng(own), KINDS[case.family]
    scale = fit.posterior["sigma"].to_numpy().ravel() if "sigma" in fit.posterior else 1.0
    given = data.new.iloc[:-1]
    y, eta = data.new["y"].to_numpy(), data.eta

    def predicted(what: str, **arguments) -> tuple[np.ndarray, float | None]:
        rows_of_new = data.new[["x", "g"]]
        tree = fit.predict(rows_of_new, kind=what, seed=of_predict, **arguments)["predictions"]
        found = tree["linpred" if what == "linpred" else "y"]
        return found.to_numpy().reshape(-1, len(X)), tree.attrs.get("pareto_k")

    def likelihood(of: np.ndarray) -> np.ndarray:
        return kind.fit(y[:-1], of[..., :-1]).sum(axis=-1)

    sampled, _ = predicted("linpred", new_levels="sample")
    drawn, _ = predicted("response", new_levels="sample")
    typical, _ = predicted("linpred", new_levels="population")
    with warnings.catch_warnings():
        # They are counted.
        warnings.filterwarnings("ignore", message=".*Pareto k", category=bm.BayesmmWarning)
        after, k = predicted("linpred", condition_on=given)
        drawn_after, _ = predicted("response", condition_on=given)
    found = {
        "linpred": rank(eta[-1], sampled[:, -1], rng),
        "difference": rank(eta[-1] - eta[0], sampled[:, -1] - sampled[:, 0], rng),
        "pit": pit(kind, y[-1], sampled[:, -1], scale, rng),
        "response": rank(y[-1], drawn[:, -1], rng),
        "given_linpred": rank(eta[-1], after[:, -1], rng),
        "given_response": rank(y[-1], drawn_after[:, -1], rng),
        # Of the ranks before, those of predictions that look at no response are uniform too; here
        # they are not.
        "given_fit": rank(likelihood(eta), likelihood(after), rng),
        "population_linpred": rank(eta[-1], typical[:, -1], rng),
        "population_pit": pit(kind, y[-1], typical[:, -1], scale, rng),
        "ignored_fit": rank(likelihood(eta), likelihood(sampled), rng),
    }
    return found, k


def calibrated(name: str, n: int = N, seed: int = SEED) -> dict:
    """Calibrate the predictions of one model, and return what is kept of it."""
    case, ranks, k = CASES[name], [], []
    start = time.perf_counter()
    for number, data in enumerate(simulated(case, n, seed)):
        found, of_weights = ranks_of(case, data, seed, number)
        ranks.append(found)
        k.append(of_weights)
    seconds = time.perf_counter() - start
    table = pd.DataFrame(ranks)
    dataset = xr.Dataset({q: ("simulation", table[q].to_numpy()) for q in table})
    tests = Calibration(dataset, RANKED_AMONG, n, pd.DataFrame(), seed).table()

    def kept(names) -> dict[str, dict[str, float]]:
        columns = ["p_value", "deviation"]
        return {q: {c: float(f"{tests.loc[q, c]:.3g}") for c in columns} for q in names}

    return {
        "formula": str(case.formula),
        "family": case.family,
        "simulations": n,
        "draws": RANKED_AMONG,
        "seed": seed,
        "seconds_each": round(seconds / n, 3),
        "pareto_k_above": sum(not value <= LARGEST_K for value in k),
        "quantities": kept(QUANTITIES),
        "controls": kept(CONTROLS),
    }


def markdown(record: dict) -> str:
    """The record as the table of the docs."""

    def p_values(part: str, names: dict[str, str]) -> list[str]:
        cells = {q: [found[part][q]["p_value"] for found in record.values()] for q in names}
        return [
            f"| {label} | {' | '.join(f'{p:.2g}' if p > 1e-9 else '< 1e-9' for p in cells[q])} |"
            for q, label in names.items()
        ]

    def row(label: str, value: Callable[[dict], str]) -> str:
        return f"| {label} | {' | '.join(map(value, record.values()))} |"

    lines = [
        f"| p-value of the ranks of | {' | '.join(record)} |",
        "|---" * (len(record) + 1) + "|",
        *p_values("quantities", QUANTITIES),
        *(line.replace("| ", "| *wrong:* ", 1) for line in p_values("controls", CONTROLS)),
        row("formula", lambda found: "`" + found["formula"].replace("|", r"\|") + "`"),
        row("data sets", lambda found: str(found["simulations"])),
        row(f"of them with Pareto k > {LARGEST_K}", lambda found: str(found["pareto_k_above"])),
        row("s/data set", lambda found: f"{found['seconds_each']:.2g}"),
    ]
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> None:
    """Calibrate the predictions of the models of these names, or all."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name in names or NAMES:
        record[name] = calibrated(name)
        print(name, json.dumps(record[name]), flush=True)
        record = {known: record[known] for known in NAMES if known in record}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        TABLE.write_text(markdown(record))


if __name__ == "__main__":
    main(sys.argv[1:])
