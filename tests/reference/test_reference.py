"""Whole posteriors against brms (Stan), on real data with the same priors.

The rule: |mean - reference| < 4 sqrt(mcse^2 + mcse_reference^2), for the mean and the standard
deviation of every parameter and every group effect. Each row of `MODELS` is one model; to add one,
put its csv files into ``data/`` (see the README there) and say here how it is written. Where a
chain mixes slowly, more draws are the remedy: the bound follows the Monte Carlo error.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.stats as st
from arviz_stats import loo, mcse, rhat

import bayesmm as bm

DATA = Path(__file__).parent / "data"
SIGMAS = 4.0


@dataclass(frozen=True)
class Reference:
    """A model of the reference suite, and how much of it is drawn here."""

    formula: str | list[str]
    family: str
    priors: dict
    data: str = ""
    prepare: Callable[[pd.DataFrame], pd.DataFrame] = lambda data: data
    sampling: dict = field(default_factory=dict)
    fixture: str | None = None
    slow: bool = False


def _grouseticks(data):
    return data.assign(
        YEAR=data["YEAR"].astype("category"),
        cHEIGHT=data["cHEIGHT"] / 100,
        **{name: data[name].astype("category") for name in ("INDEX", "BROOD", "LOCATION")},
    )


def _verbagg(data):
    anger = data["Anger"]
    return data.assign(
        r2=(data["r2"] == "Y").astype(int), Anger=(anger - anger.mean()) / anger.std(ddof=1)
    )


LOGIT_PRIORS = {
    "b": dist.Normal(0, 2.5),
    "Intercept": dist.StudentT(3, 0, 2.5),
    "sd": bm.HalfStudentT(3, 2.5),
}
ZEROS_PRIORS = {
    "b": dist.Normal(0, 2.5),
    "Intercept": dist.StudentT(3, 0, 2.5),
    "sd": bm.HalfStudentT(3, 2.5),
    **{f"b_{p}": dist.Normal(0, 2.5) for p in ("zi", "hu")},
    **{f"Intercept_{p}": dist.Logistic(0, 1) for p in ("zi", "hu")},
}
MODELS = {
    # The shared fit: its priors are in the conftest.
    "sleepstudy": Reference(
        "Reaction ~ Days + (Days | Subject)", "gaussian", {}, fixture="sleepstudy_fit"
    ),
    "penicillin": Reference(
        "diameter ~ 1 + (1 | plate) + (1 | sample)",
        "gaussian",
        {
            "Intercept": dist.StudentT(3, 23, 3),
            "sd": bm.HalfStudentT(3, 3),
            "sigma": bm.HalfStudentT(3, 3),
        },
        sampling={"draws": 2000, "engine": bm.NUTS(target_accept=0.95)},
    ),
    "oats": Reference(
        "yield ~ nitro + (1 | Block/Variety)",
        "gaussian",
        {
            "b[nitro]": dist.Normal(0, 100),
            "Intercept": dist.StudentT(3, 102, 30),
            "sd": bm.HalfStudentT(3, 30),
            "sigma": bm.HalfStudentT(3, 30),
        },
        sampling={"draws": 2000, "engine": bm.NUTS(target_accept=0.95)},
    ),
    "cbpp": Reference(
        "prop(incidence, size) ~ period + (1 | herd)",
        "binomial",
        LOGIT_PRIORS,
        prepare=lambda data: data.assign(period=data["period"].astype("category")),
    ),
    "inhaler": Reference(
        "rating ~ treat + period + carry + (1 | subject)",
        "cumulative",
        {
            "b": dist.Normal(0, 2.5),
            "cutpoints": dist.StudentT(3, 0, 2.5),
            "sd": bm.HalfStudentT(3, 2.5),
        },
        sampling={"draws": 2000},
    ),
    "salamanders": Reference(
        ["count ~ mined + spp + (1 | site)", "zi ~ mined"],
        "zero_inflated_negbinomial",
        ZEROS_PRIORS | {"shape": dist.Gamma(0.01, 0.01)},
        sampling={"draws": 2000, "engine": bm.NUTS(target_accept=0.95)},
    ),
    "salamanders_hurdle": Reference(
        ["count ~ mined + spp + (1 | site)", "hu ~ mined + (1 | site)"],
        "hurdle_poisson",
        ZEROS_PRIORS,
        data="salamanders",
    ),
    "grouseticks": Reference(
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        "poisson",
        LOGIT_PRIORS,
        prepare=_grouseticks,
        # LOCATION has little but what BROOD and INDEX leave: small steps, and more draws.
        sampling={"draws": 2000, "engine": bm.NUTS(target_accept=0.95)},
        slow=True,
    ),
    "verbagg": Reference(
        "r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
        "bernoulli",
        LOGIT_PRIORS,
        prepare=_verbagg,
        slow=True,
    ),
}


def fitted(name, **sampling):
    """The fit of a reference model."""
    model = MODELS[name]
    data = model.prepare(bm.datasets.load(model.data or name))
    texts = str(model.formula)
    # Priors are shared by models, which have some of the parameters each.
    priors = {
        key: prior
        for key, prior in model.priors.items()
        if key[-3:] not in ("_zi", "_hu") or f"{key[-2:]} ~" in texts
    }
    return bm.fit(model.formula, data, model.family, priors, **{**model.sampling, **sampling})


def models(*names):
    """Parametrize a test by the fits of these models."""
    slow = pytest.mark.slow
    params = [pytest.param(name, marks=[slow] * MODELS[name].slow) for name in names]
    return pytest.mark.parametrize("posterior_of", params, indirect=True)


@pytest.fixture(scope="session")
def posterior_of(request):
    """The name and the fit of a reference model."""
    model = MODELS[request.param]
    if model.fixture:
        return request.param, request.getfixturevalue(model.fixture)
    # Two fits would differ by the seed alone; any seed has to do.
    return request.param, fitted(request.param, seed=1)


def draws_of(fit):
    """Every number of the posterior by its label, as an array (chain, draw)."""
    found = {}
    for variable, values in fit.posterior.data_vars.items():
        array = values.to_numpy()
        labels = [values[d].to_numpy().tolist() for d in values.dims[2:]]
        if not labels:
            found[variable] = array
        for index in np.ndindex(*array.shape[2:]):
            if variable.startswith("cor_") and index[0] >= index[1]:
                continue
            if labels:
                inside = ", ".join(str(names[i]) for names, i in zip(labels, index, strict=True))
                found[f"{variable}[{inside}]"] = array[(slice(None), slice(None), *index)]
    return found


def brms_name(label):
    """What brms calls a number of the posterior."""
    variable, _, inside = label.partition("[")
    inside = inside[:-1]
    kind, *rest = variable.split("_", 1)
    parameter, _, group = rest[0].partition("_") if rest else ("", "", "")
    if parameter not in ("zi", "hu", "sigma"):
        parameter, group = "", "".join(rest)
    of = f"__{parameter}" if parameter else ""
    if kind == "b":
        plain = inside.replace("[", "").replace("]", "").replace("-", "M")
        return f"b_{parameter}_{plain}" if parameter else f"b_{plain}"
    if kind in ("sd", "cor"):
        return f"{kind}_{group}_{of or '_'}_{inside.replace(', ', '__')}".replace("___", "__")
    if kind == "r":
        level, _, effect = inside.rpartition(", ")
        return f"r_{group}{of}[{level.replace(':', '_').replace(' ', '.')},{effect}]"
    if kind == "cutpoints":
        return f"b_Intercept[{inside.partition('|')[0]}]"  # of categories 1, 2, ...
    return label


def comparison(name, fit):
    """A row for every number, with z-scores of its mean and its sd against the reference."""
    found = draws_of(fit)
    # Of the centred predictors: brms does not report them.
    found = {k: v for k, v in found.items() if not k.startswith("Intercept")}
    rows = {brms_name(label): draws for label, draws in found.items()}
    assert len(rows) == len(found)
    files = [pd.read_csv(DATA / f"{name}{part}.csv", index_col="variable") for part in ("", "_r")]
    expected = pd.concat(files)[["mean", "sd", "mcse_mean", "mcse_sd"]]
    expected = expected[expected["sd"] > 0]  # brms lists what it holds constant
    assert set(rows) == set(expected.index)
    table = expected.add_prefix("ref_").loc[list(rows)]
    for kind in ("mean", "sd"):
        table[kind] = [x.mean() if kind == "mean" else x.std() for x in rows.values()]
        table[f"mcse_{kind}"] = [float(mcse(x, method=kind)) for x in rows.values()]
        error = np.hypot(table[f"mcse_{kind}"], table[f"ref_mcse_{kind}"])
        table[f"z_{kind}"] = (table[kind] - table[f"ref_{kind}"]) / error
    return table


@models(*MODELS)
def test_posterior_is_that_of_brms(posterior_of, evidence):
    name, fit = posterior_of
    table = comparison(name, fit)
    scores = table[["z_mean", "z_sd"]]
    print(f"\n{name}: {len(table)} numbers, worst z {scores.abs().max().to_dict()}")
    assert np.isfinite(scores.to_numpy()).all()
    wrong = table[(scores.abs() >= SIGMAS).any(axis=1)]
    assert wrong.empty, wrong.to_string()
    evidence(
        "brms",
        name,
        formula="; ".join(np.atleast_1d(MODELS[name].formula)),
        family=MODELS[name].family,
        numbers=scores.size,
        z_mean=scores["z_mean"].abs().max(),
        z_sd=scores["z_sd"].abs().max(),
        z_rms=np.sqrt((scores**2).to_numpy().mean()),
        off=((table["mean"] - table["ref_mean"]) / table["ref_sd"]).abs().max(),
        off_sd=(table["sd"] / table["ref_sd"] - 1).abs().max(),
        bound=SIGMAS,
    )


@models(*MODELS)
def test_chains_agree(posterior_of):
    _, fit = posterior_of
    worst = max(float(rhat(draws)) for draws in draws_of(fit).values())
    assert worst < 1.02


@models("oats", "inhaler", "salamanders_hurdle")
def test_loo_is_that_of_brms(posterior_of, evidence):
    name, fit = posterior_of
    expected = pd.read_csv(DATA / f"{name}_loo.csv", index_col=0)["Estimate"]
    found = fit.loo()
    # Monte Carlo error by the delete-a-block jackknife over 20 stretches of draws: it sees
    # autocorrelation, and that all rows share their draws. The reference has as many draws or more.
    blocks, draws = 20, fit.idata["posterior"].sizes["draw"]
    stretch = np.arange(draws) * blocks // draws
    left_out = [loo(fit.idata.isel(draw=np.flatnonzero(stretch != b))) for b in range(blocks)]
    for estimate, reference in [("elpd", "elpd_loo"), ("p", "p_loo")]:
        values = np.array([getattr(x, estimate) for x in left_out])
        error = np.sqrt((blocks - 1) * values.var()) * np.sqrt(2)
        difference = getattr(found, estimate) - expected[reference]
        z = difference / error
        print(f"\n{name} {reference}: z {z:.2f}, Monte Carlo error {error:.3f}")
        assert abs(z) < SIGMAS
        there = f"{expected[reference]:.1f}"
        row = f"{name}, {reference}"
        evidence("loo", row, brms=there, difference=difference, error=error, z=z)


def penicillin_by_quadrature(points=30):
    """Exact means and sds of the penicillin model, by a grid over its four parameters.

    Plates and samples are crossed and complete, one observation in each cell. So the covariance of
    y has four eigenspaces (grand mean, plates, samples, residuals), and the effects given the
    parameters are normal with moments in closed form.
    """
    data = bm.datasets.load("penicillin")
    y = data.pivot(index="plate", columns="sample", values="diameter").to_numpy()
    rows, columns = y.shape
    grand = y.mean()
    plate, sample = y.mean(axis=1) - grand, y.mean(axis=0) - grand
    squares = ((y - grand - plate[:, None] - sample) ** 2).sum()
    # Logarithms of the sds, and the intercept: ten sds or more around the posterior.
    edges = [(0.3, 3), (0.4, 30), (0.38, 0.8)]
    axes = [np.linspace(np.log(low), np.log(high), points) for low, high in edges]
    grid = np.meshgrid(*axes, np.linspace(grand - 14, grand + 14, 2 * points), indexing="ij")
    (tau, omega, sigma), mu = map(np.exp, grid[:3]), grid[3]
    of_plates = sigma**2 + columns * tau**2
    of_samples = sigma**2 + rows * omega**2
    of_mean = of_plates + rows * omega**2
    log_density = sum(st.t.logpdf(x, 3, 0, 3) + np.log(x) for x in (tau, omega, sigma))
    log_density += st.t.logpdf(mu, 3, 23, 3)
    spaces = [
        (rows * columns * (grand - mu) ** 2, of_mean, 1),
        (columns * (plate**2).sum(), of_plates, rows - 1),
        (rows * (sample**2).sum(), of_samples, columns - 1),
        (squares, sigma**2, (rows - 1) * (columns - 1)),
    ]
    for sum_of_squares, variance, dimension in spaces:
        log_density -= 0.5 * (sum_of_squares / variance + dimension * np.log(variance))
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()

    def moments(mean, variance=0.0):
        first = (weight * mean).sum()
        return first, np.sqrt((weight * (variance + (mean - first) ** 2)).sum())

    found = {
        "b[Intercept]": moments(mu),
        "sd_plate[Intercept]": moments(tau),
        "sd_sample[Intercept]": moments(omega),
        "sigma": moments(sigma),
    }
    for group, deviations, sd, own, n, others in [
        ("plate", plate, tau, of_plates, rows, columns),
        ("sample", sample, omega, of_samples, columns, rows),
    ]:
        precision = others * (1 - 1 / n) / own + others / (n * of_mean)
        labels = data[group].cat.categories
        for label, deviation in zip(labels, deviations, strict=True):
            mean = sd**2 * others * (deviation / own + (grand - mu) / of_mean)
            found[f"r_{group}[{label}, Intercept]"] = moments(mean, sd**2 - sd**4 * precision)
    return found


@models("penicillin")
def test_posterior_is_that_of_quadrature(posterior_of, evidence):
    _, fit = posterior_of
    draws = draws_of(fit)
    worst, exact = 0.0, penicillin_by_quadrature()
    for label, (mean, sd) in exact.items():
        x = draws[label]
        scores = (x.mean() - mean) / mcse(x, method="mean"), (x.std() - sd) / mcse(x, method="sd")
        worst = max(worst, *np.abs(scores))
    assert worst < SIGMAS
    evidence("draws", "penicillin, by quadrature", numbers=2 * len(exact), z=worst, bound=SIGMAS)


@models("sleepstudy", "penicillin", "cbpp")
def test_estimates_of_lme4_are_in_the_central_95_percent(posterior_of, evidence):
    name, fit = posterior_of
    found = draws_of(fit)
    for method, estimates in json.loads((DATA / "lme4.json").read_text())[name].items():
        off = central(found, estimates)
        row = f"{name}, {method}"
        evidence("estimates", row, package="lme4", numbers=len(off), off=max(off))


@models("salamanders")
def test_estimates_of_glmmtmb_for_salamanders_are_in_the_central_95_percent(posterior_of, evidence):
    _, fit = posterior_of
    inside_of_posterior("salamanders", fit, evidence)


@pytest.mark.parametrize(
    ("name", "family"),
    [("owls_zip", "zero_inflated_poisson"), ("owls", "zero_inflated_negbinomial")],
)
def test_estimates_of_glmmtmb_for_owls_are_in_the_central_95_percent(name, family, evidence):
    formula = "SiblingNegotiation ~ FoodTreatment * SexParent + offset(logBroodSize) + (1 | Nest)"
    fit = bm.fit(formula, bm.datasets.load("owls"), family, seed=2, draws=500)
    inside_of_posterior(name, fit, evidence)


def test_estimates_of_glmmtmb_for_a_hurdle_are_in_the_central_95_percent(evidence):
    formula = ["count ~ mined + spp + (1 | site)", "hu ~ mined"]
    data = bm.datasets.load("salamanders")
    fit = bm.fit(formula, data, "hurdle_negbinomial", seed=3, draws=1000)
    inside_of_posterior("salamanders_hurdle_nb2", fit, evidence)


def inside_of_posterior(name, fit, evidence):
    found = draws_of(fit)
    linked = {"logit(zi)": ("zi", lambda p: np.log(p / (1 - p))), "log(shape)": ("shape", np.log)}
    for label, (variable, link) in linked.items():
        if variable in found:
            found[label] = link(found[variable])
    off = central(found, json.loads((DATA / "glmmtmb.json").read_text())[name])
    evidence("estimates", f"{name}, Laplace", package="glmmTMB", numbers=len(off), off=max(off))


def central(found, estimates):
    """How many posterior sds each estimate is off the posterior mean; all are central."""
    for label, value in estimates.items():
        low, high = np.quantile(found[label], [0.025, 0.975])
        assert low < value < high, label
    return [abs(found[k].mean() - value) / found[k].std() for k, value in estimates.items()]
