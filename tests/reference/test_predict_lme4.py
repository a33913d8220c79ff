"""Predictions against those of lme4, for the population (re.form = NA) and for known clusters.

lme4 plugs in estimates: X beta, and X beta + Z b with the conditional modes b (re.form = NULL). A
posterior mean is not that, and how far it may be off is derived below for each model: from the
priors, from how uncertain the variances are, and from Monte Carlo error. No bound was chosen to fit
what is found, and the last test shows that they are narrow enough to tell.

The priors of the sds are left out: at the estimates their gradient is at most 0.06 per posterior sd
(half-t of scale 60 at 25 with a posterior sd of 6; of scale 2.5 at 0.64 with one of 0.2: 0.03).
"""

import json
from functools import partial

import numpy as np
import pytest
import scipy.stats as st
from arviz_stats import mcse
from scipy.special import expit
from test_reference import DATA, SIGMAS, fitted

import bayesmm as bm

ESTIMATES, MODES = (
    json.loads((DATA / name).read_text()) for name in ("lme4.json", "lme4_ranef.json")
)
RESPONSES = ["Reaction", "incidence"]
WHERE = pytest.mark.parametrize("where", ["training data", "new data"])


def predicted(fit, data, where, kind, **arguments):
    """Draws, shape (chain, draw, row), of the rows of `data`: the training data, or as new data."""
    if where == "training data":
        return fit.predict(kind=kind, **arguments)["predictions"][kind].to_numpy()
    # In another order and without the response.
    order = np.random.default_rng(1).permutation(len(data))
    new = data.iloc[order].drop(columns=RESPONSES, errors="ignore")
    found = fit.predict(new, kind=kind, **arguments)["predictions"][kind].to_numpy()
    assert found.shape[-1] == len(data)
    return found[..., np.argsort(order)]


def wrong(draws, expected, allowed, note=None):
    """Rows whose posterior mean is off by more than is allowed and four Monte Carlo errors."""
    error = np.array([float(mcse(x, method="mean")) for x in np.moveaxis(draws, -1, 0)])
    off, sd = np.abs(draws.mean((0, 1)) - expected), draws.std((0, 1))
    bound = allowed + SIGMAS * error
    if note:
        size = {"numbers": off.size, "off": (off / sd).max(), "largest_bound": (bound / sd).max()}
        note(**size, of_bound=(off / bound).max())
    return np.flatnonzero(off > bound)


def outside(draws, expected):
    """Rows whose expected number is not in the central 95% of the draws.

    There should be none: with bounds of half an sd or so it is far from the tails.
    """
    low, high = np.quantile(draws, [0.025, 0.975], axis=(0, 1))
    return np.flatnonzero((expected < low) | (expected > high))


def flat(fit, name):
    values = fit.posterior[name].to_numpy()
    return values.reshape(-1, *values.shape[2:])


def codes(data, group):
    """The number of each row's level, levels in order of their labels."""
    return data[group].astype("category").cat.codes.to_numpy()


def modes_of_lme4(data, group, given):
    """lme4's effects in the order of the labels, shape (levels, effects)."""
    return np.array([given[str(label)] for label in data[group].astype("category").cat.categories])


def moved_by_priors(fit, score):
    """How far priors move the coefficients (of centred predictors) from where the data have them.

    By V s to first order, V the posterior covariance and s the gradient of the log prior.
    """
    own = np.concatenate([flat(fit, "Intercept")[:, None], flat(fit, "b")[:, 1:]], axis=1)
    return np.cov(own.T) @ score


def student_score(x, scale):
    """The gradient of the log density of Student's t with 3 degrees of freedom."""
    return -4 * x / (3 * scale**2 + x**2)


# --- sleepstudy: normal, and balanced ---


def lines(data):
    return np.stack([np.ones(len(data)), data["Days"]], axis=1)


@pytest.fixture(scope="module")
def sleepstudy():
    return bm.datasets.load("sleepstudy")


def lme4_of_sleepstudy(method):
    """Beta; the sds, their correlation and the residual sd."""
    found = ESTIMATES["sleepstudy"][method]
    sd = np.array([found["sd_Subject[Intercept]"], found["sd_Subject[Days]"]])
    beta = np.array([found["b[Intercept]"], found["b[Days]"]])
    return beta, sd, np.array(found["cor_Subject[Intercept, Days]"]), np.array(found["sigma"])


def modes_of_lines(data, beta, sd, correlation, sigma):
    """E(b | y) = Sigma Z' (Z Sigma Z' + sigma^2 I)^-1 (y - X beta), shape (..., subjects, 2).

    Leading axes of sds, correlation and sigma are draws.
    """
    cor = np.ones((*sd.shape[:-1], 2, 2))
    cor[..., 0, 1] = cor[..., 1, 0] = correlation
    Sigma = sd[..., :, None] * cor * sd[..., None, :]
    # All subjects have the same ten days.
    wide = data.pivot(index="Subject", columns="Days", values="Reaction")
    Z = np.stack([np.ones(wide.shape[1]), wide.columns], axis=1)
    V = Z @ Sigma @ Z.T + sigma[..., None, None] ** 2 * np.eye(len(Z))
    gain = Sigma @ Z.T @ np.linalg.inv(V)
    return np.einsum("...ij,sj->...si", gain, wide.to_numpy() - beta @ Z.T)


def subjects(rows, beta, b):
    """X beta + Z b of rows."""
    return lines(rows) @ beta + (lines(rows) * b[..., codes(rows, "Subject"), :]).sum(axis=-1)


def moved_beta(fit, data):
    """How far the priors move intercept and slope (of Days as they are)."""
    beta, centre = lme4_of_sleepstudy("ML")[0], data["Days"].mean()
    score = [student_score(beta[0] + centre * beta[1] - 288.0, 60.0), -beta[1] / 50.0**2]
    intercept, slope = moved_by_priors(fit, np.array(score))
    return np.array([intercept - centre * slope, slope])


def allowed_for_population(fit, data):
    """How far X beta may be off lme4's: only priors move it.

    In balanced data the generalised least squares estimate is the same whatever the variances are,
    and given these the likelihood of beta is normal: symmetric. Twice the first order of what the
    priors do leaves room for the second.
    """
    return 2 * np.abs(lines(data) @ moved_beta(fit, data))


def allowed_for_subjects(fit, data, rows):
    """How far means of known subjects may be off lme4's.

    The posterior mean is the mean, over the posterior of the variances, of the formula that lme4
    computes at their maximum. Mean and mode of a unimodal distribution are at most sqrt(3) sds
    apart (Johnson and Rogers 1951): sds of the formula over that posterior. On top comes what the
    priors do to beta, and through it to the effects.
    """
    beta, *at_maximum = lme4_of_sleepstudy("ML")
    draws = flat(fit, "sd_Subject"), flat(fit, "cor_Subject")[:, 0, 1], flat(fit, "sigma")
    spread = subjects(rows, beta, modes_of_lines(data, beta, *draws)).std(axis=0)
    other = beta + moved_beta(fit, data)
    moved = subjects(rows, other, modes_of_lines(data, other, *at_maximum))
    moved -= subjects(rows, beta, modes_of_lines(data, beta, *at_maximum))
    return np.sqrt(3) * spread + 2 * np.abs(moved)


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_modes_of_lines_are_those_of_lme4(sleepstudy, method):
    found = modes_of_lines(sleepstudy, *lme4_of_sleepstudy(method))
    expected = modes_of_lme4(sleepstudy, "Subject", MODES["sleepstudy"][method])
    # Estimates and modes are written with ten decimals.
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@WHERE
@pytest.mark.parametrize("method", ["ML", "REML"])
def test_population_of_sleepstudy(sleepstudy_fit, sleepstudy, method, where, evidence):
    draws = predicted(sleepstudy_fit, sleepstudy, where, "mean", group_effects=())
    expected = lines(sleepstudy) @ lme4_of_sleepstudy(method)[0]
    allowed = allowed_for_population(sleepstudy_fit, sleepstudy)
    note = partial(evidence, "lme4", f"sleepstudy, population, {method}, {where}")
    assert wrong(draws, expected, allowed, note).size == 0
    assert outside(draws, expected).size == 0


@pytest.mark.parametrize("where", ["training data", "new data", "later days"])
@pytest.mark.parametrize("method", ["ML", "REML"])
def test_subjects_of_sleepstudy(sleepstudy_fit, sleepstudy, method, where, evidence):
    later = where == "later days"
    rows = sleepstudy.assign(Days=sleepstudy["Days"] + 10) if later else sleepstudy
    draws = predicted(sleepstudy_fit, rows, where, "mean")
    b = modes_of_lme4(sleepstudy, "Subject", MODES["sleepstudy"][method])
    expected = subjects(rows, lme4_of_sleepstudy(method)[0], b)
    allowed = allowed_for_subjects(sleepstudy_fit, sleepstudy, rows)
    note = partial(evidence, "lme4", f"sleepstudy, subjects, {method}, {where}")
    assert wrong(draws, expected, allowed, note).size == 0
    assert outside(draws, expected).size == 0


# --- cbpp: successes among trials, by herd and period ---


@pytest.fixture(scope="module")
def cbpp():
    return bm.datasets.load("cbpp")


@pytest.fixture(scope="module")
def cbpp_fit():
    """With the priors of the reference posterior, and another seed."""
    return fitted("cbpp", seed=4, progress=False)


def periods(data):
    period = data["period"].astype(str).to_numpy()
    return np.stack([np.ones(len(data)), *(period == p for p in "234")], axis=1).astype(float)


def lme4_of_cbpp(method):
    """X beta's coefficients, and the sd of herds."""
    found = ESTIMATES["cbpp"][method]
    names = ["Intercept", "period[2]", "period[3]", "period[4]"]
    return np.array([found[f"b[{name}]"] for name in names]), found["sd_herd[Intercept]"]


def modes_of_herds(data, beta, sd):
    """The modes of binomial(y; trials, p) N(u; 0, sd^2) in u, by Newton's method."""
    y, trials = data["incidence"].to_numpy(), data["size"].to_numpy()
    herd, eta = codes(data, "herd"), periods(data) @ beta
    u = np.zeros(herd.max() + 1)
    for _ in range(50):
        p = expit(eta + u[herd])
        gradient = np.bincount(herd, y - trials * p) - u / sd**2
        u = u + gradient / (np.bincount(herd, trials * p * (1 - p)) + 1 / sd**2)
    assert np.abs(gradient).max() < 1e-10
    return u


def means_of_herds(data, beta, sd):
    """E(u | y) at these estimates: an integral over a fine grid, 10 sds to each side."""
    y, trials = data["incidence"].to_numpy(), data["size"].to_numpy()
    grid = np.linspace(-10 * sd, 10 * sd, 4001)
    rows = st.binom.logpmf(
        y[:, None], trials[:, None], expit((periods(data) @ beta)[:, None] + grid)
    )
    herd = codes(data, "herd")
    log_density = (
        np.stack([np.bincount(herd, row) for row in rows.T], axis=1) - 0.5 * (grid / sd) ** 2
    )
    weight = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    return (weight * grid).sum(axis=1) / weight.sum(axis=1)


def allowed_for_cbpp(fit, data, sd, *, effects):
    """How far linear predictors may be off lme4's, whose row sds over the posterior are `sd`.

    A skewed posterior has its mean off its mode. Of a gamma distribution of shape a it is by
    1/sqrt(a) sds; of the log-odds of a proportion with k successes (few among many trials, so
    nearly the log of a gamma variate of shape k) by 1/(2 sqrt(k)). What is known of the variance of
    J = 15 herds is nearly such a gamma distribution of shape J/2, and what is known of a period's
    level rests on its k successes. Both are sds of a part of what varies, and taken as if of all.
    The priors move the coefficients too. The effects of herds have posterior means where lme4 has
    modes: by how much these differ at its estimates is an integral.
    """
    beta, tau = lme4_of_cbpp("adaptive quadrature, 25 points")
    X, herds = periods(data), data["herd"].nunique()
    successes = data.groupby("period", observed=True)["incidence"].transform("sum").to_numpy()
    skewed = np.sqrt(2 / herds) + 0.5 / np.sqrt(successes)
    centre = X.mean(axis=0)
    score = np.append(student_score(centre @ beta, 2.5), -beta[1:] / 2.5**2)
    moved = moved_by_priors(fit, score)
    X_own = np.column_stack([X[:, :1], X[:, 1:] - centre[1:]])
    allowed = skewed * sd + 2 * np.abs(X_own @ moved)
    if effects:
        off = means_of_herds(data, beta, tau) - modes_of_herds(data, beta, tau)
        allowed += np.abs(off)[codes(data, "herd")]
    return allowed


def test_modes_of_herds_are_those_of_lme4(cbpp):
    found = modes_of_herds(cbpp, *lme4_of_cbpp("Laplace"))
    expected = modes_of_lme4(cbpp, "herd", MODES["cbpp"]["Laplace"])[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def expected_of_cbpp(data, method, effects):
    beta, tau = lme4_of_cbpp(method)
    if not effects:
        return periods(data) @ beta
    if method in MODES["cbpp"]:
        u = modes_of_lme4(data, "herd", MODES["cbpp"][method])[:, 0]
    else:
        u = modes_of_herds(data, beta, tau)
    return periods(data) @ beta + u[codes(data, "herd")]


@WHERE
@pytest.mark.parametrize("effects", [False, True], ids=["population", "herds"])
@pytest.mark.parametrize("method", ["Laplace", "adaptive quadrature, 25 points"])
def test_cbpp(cbpp_fit, cbpp, method, effects, where, evidence):
    arguments = {} if effects else {"group_effects": ()}
    eta = expected_of_cbpp(cbpp, method, effects)
    draws = predicted(cbpp_fit, cbpp, where, "linpred", **arguments)
    sd = draws.std((0, 1))
    allowed = allowed_for_cbpp(cbpp_fit, cbpp, sd, effects=effects)
    of = "herds" if effects else "population"
    note = partial(evidence, "lme4", f"cbpp, {of}, {method}, {where}")
    assert wrong(draws, eta, allowed, note).size == 0
    assert outside(draws, eta).size == 0
    # The mean of a binomial response is that of the number of successes.
    trials, p = cbpp["size"].to_numpy(), expit(draws)
    means = predicted(cbpp_fit, cbpp, where, "mean", **arguments)
    np.testing.assert_allclose(means, trials * p, rtol=1e-10)
    # What is allowed for the predictor carries over, and the mean of p is not p at the mean.
    ends = expit(eta + np.array([[-1.0], [1.0]]) * allowed)
    largest = np.abs(ends - expit(eta)).max(axis=0)
    curved = np.abs(p.mean((0, 1)) - expit(draws.mean((0, 1))))
    assert wrong(means, trials * expit(eta), trials * (largest + curved)).size == 0
    assert outside(means, trials * expit(eta)).size == 0


# --- the bounds can fail ---


def test_predictions_of_another_kind_are_found_out(sleepstudy_fit, sleepstudy, cbpp_fit, cbpp):
    """Effects left out, put in where there are none, or those of the next cluster."""
    beta, *_ = lme4_of_sleepstudy("REML")
    b = modes_of_lme4(sleepstudy, "Subject", MODES["sleepstudy"]["REML"])
    of_subjects = allowed_for_subjects(sleepstudy_fit, sleepstudy, sleepstudy)
    population = predicted(sleepstudy_fit, sleepstudy, "new data", "mean", group_effects=())
    known = predicted(sleepstudy_fit, sleepstudy, "new data", "mean")
    X_beta = lines(sleepstudy) @ beta
    for draws, expected in [
        (population, subjects(sleepstudy, beta, b)),
        (known, X_beta),
        (known, subjects(sleepstudy, beta, np.roll(b, 1, axis=0))),
    ]:
        assert wrong(draws, expected, of_subjects).size > 90
    # Of 15 herds most differ from the population by less than what is known of them.
    population = predicted(cbpp_fit, cbpp, "new data", "linpred", group_effects=())
    known = predicted(cbpp_fit, cbpp, "new data", "linpred")
    allowed = allowed_for_cbpp(cbpp_fit, cbpp, known.std((0, 1)), effects=True)
    X_beta = expected_of_cbpp(cbpp, "Laplace", effects=False)
    Z_u = expected_of_cbpp(cbpp, "Laplace", effects=True) - X_beta
    u = modes_of_lme4(cbpp, "herd", MODES["cbpp"]["Laplace"])[:, 0]
    for draws, expected in [
        (population, X_beta + Z_u),
        (known, X_beta),
        (known, X_beta + np.roll(u, 1)[codes(cbpp, "herd")]),
    ]:
        assert wrong(draws, expected, allowed).size > 10
