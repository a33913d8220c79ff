"""Densities and distribution functions of successes and proportions, in mpmath."""

import mpmath as mp
import scipy.stats as st

from densities.continuous import log_betainc

TRIALS = 12


def _choose(n, k):
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def _log_beta(a, b):
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def _bernoulli(y, mu, one_minus_mu, **_):
    return mp.log(mu if y else one_minus_mu)


def _binomial(y, mu, one_minus_mu, trials, **_):
    return _choose(trials, y) + y * mp.log(mu) + (trials - y) * mp.log(one_minus_mu)


def _beta_binomial(y, mu, one_minus_mu, phi, trials, **_):
    a, b = mu * phi, one_minus_mu * phi
    with mp.workdps(mp.mp.dps + 40):
        return _choose(trials, y) + _log_beta(y + a, trials - y + b) - _log_beta(a, b)


def _beta(y, mu, one_minus_mu, phi, **_):
    a, b = mu * phi, one_minus_mu * phi
    return (a - 1) * mp.log(y) + (b - 1) * mp.log1p(-y) - _log_beta(a, b)


DENSITIES = {
    "bernoulli": _bernoulli,
    "binomial": _binomial,
    "beta_binomial": _beta_binomial,
    "beta": _beta,
}
SCIPY = {
    "bernoulli": lambda y, mu: st.bernoulli.logpmf(y, mu),
    "binomial": lambda y, mu: st.binom.logpmf(y, TRIALS, mu),
    "beta_binomial": lambda y, mu, phi: st.betabinom.logpmf(y, TRIALS, mu * phi, (1 - mu) * phi),
    "beta": lambda y, mu, phi: st.beta.logpdf(y, mu * phi, (1 - mu) * phi),
}


def _bernoulli_cdf(y, one_minus_mu, **_):
    return mp.log(one_minus_mu) if y < 1 else mp.mpf(0)


def _bernoulli_sf(y, mu, **_):
    return mp.log(mu) if y < 1 else -mp.inf


def _log_sum(density, counts, natural):
    terms = [mp.exp(density(mp.mpf(k), **natural)) for k in counts]
    return mp.log(mp.fsum(terms)) if terms else -mp.inf


def _up_to(density):
    def log_cdf(y, trials, **natural):
        if y >= trials:
            return mp.mpf(0)
        return _log_sum(density, range(int(y) + 1), {**natural, "trials": trials})

    return log_cdf


def _above(density):
    def log_sf(y, trials, **natural):
        return _log_sum(density, range(int(y) + 1, int(trials) + 1), {**natural, "trials": trials})

    return log_sf


def _beta_cdf(y, mu, one_minus_mu, phi, **_):
    return log_betainc(mu * phi, one_minus_mu * phi, y)


def _beta_sf(y, mu, one_minus_mu, phi, **_):
    return log_betainc(one_minus_mu * phi, mu * phi, 1 - y, y)


LOG_CDF = {
    "bernoulli": _bernoulli_cdf,
    "binomial": _up_to(_binomial),
    "beta_binomial": _up_to(_beta_binomial),
    "beta": _beta_cdf,
}
LOG_SF = {
    "bernoulli": _bernoulli_sf,
    "binomial": _above(_binomial),
    "beta_binomial": _above(_beta_binomial),
    "beta": _beta_sf,
}
