"""Densities and distribution functions of counts, and of amounts with zeros, in mpmath.

Textbook formulae; sums of all terms that matter where there is no formula.
"""

from functools import cache, lru_cache

import mpmath as mp
import scipy.stats as st

from densities.continuous import log_betainc

# --- log densities ---


def _poisson(y, mu, **_):
    return y * mp.log(mu) - mu - mp.loggamma(y + 1)


def _negbinomial(y, mu, shape, **_):
    ways = mp.loggamma(y + shape) - mp.loggamma(shape) - mp.loggamma(y + 1)
    return ways - shape * mp.log1p(mu / shape) - y * mp.log1p(shape / mu)


def _generalized_poisson(y, mu, phi, **_):
    # Consul and Jain (1973)
    theta, proportion = mu / mp.sqrt(phi), 1 - 1 / mp.sqrt(phi)
    rate = theta + proportion * y
    return mp.log(theta) + (y - 1) * mp.log(rate) - rate - mp.loggamma(y + 1)


def _powers(nu, digits):
    """Return k**nu by k, each computed once."""

    @cache
    def power(k):
        with mp.workdps(digits):
            return mp.mpf(k) ** nu

    return power


_powers = lru_cache(maxsize=64)(_powers)


@lru_cache(maxsize=256)
def _com_poisson_constants(mu, nu, digits):
    """Return log(rate) and log(Z): Newton's method on E[max(y - mu, 0)] = E[max(mu - y, 0)]."""
    power = _powers(nu, digits)
    log_rate = nu * mp.log(mu) - (1 - nu) * (1 + nu * mu) / (1 + 2 * nu * mu) * mp.log1p(1 / mu)
    for _ in range(60):
        rate, k, term = mp.exp(log_rate), 0, mp.mpf(1)
        total = above = below = above_slope = below_slope = mp.mpf(0)
        while k <= mu + 1 or rate >= power(k) or term * (k - mu) > mp.eps * 1e-8 * above:
            total += term
            excess = term * (k - mu)
            if k > mu:
                above, above_slope = above + excess, above_slope + k * excess
            else:
                below, below_slope = below - excess, below_slope - k * excess
            k += 1
            term *= rate / power(k)
        move = mp.log(above / below) / (above_slope / above - below_slope / below)
        log_rate -= move
        if abs(move) < mp.sqrt(mp.eps) * 1e-3:
            # The sum belongs to the rate before the move, which the first order makes up for.
            mean = mu + (above - below) / total
            return log_rate, mp.log(total) - move * mean
    raise ArithmeticError("no rate found")


def _com_poisson(y, mu, nu, **_):
    with mp.workdps(mp.mp.dps + 15):
        log_rate, log_total = _com_poisson_constants(mu, nu, mp.mp.dps)
        return y * log_rate - nu * mp.loggamma(y + 1) - log_total


def _tweedie(y, mu, phi, power, **_):
    """A Poisson number of gamma amounts: the sum over their number."""
    rate = mu ** (2 - power) / (phi * (2 - power))
    if y == 0:
        return -rate
    shape, scale = (2 - power) / (power - 1), phi * (power - 1) * mu ** (power - 1)
    log_ratio = mp.log(rate) + shape * mp.log(y / scale)
    centre = y ** (2 - power) / (phi * (2 - power))
    spread = mp.sqrt(centre * (power - 1))
    # A sum of values of a function as smooth as that is its integral, to all digits.
    step = mp.mpf(1) if spread < 40 else spread / 7

    def log_term(j):
        return j * log_ratio - mp.loggamma(j + 1) - mp.loggamma(j * shape)

    first = max(mp.mpf(1), mp.nint(centre))
    top, total = log_term(first), mp.mpf(0)
    for sign in (1, -1):
        j = first if sign == 1 else first - step
        while j >= 1:
            term = mp.exp(log_term(j) - top)
            total += term
            if term < 1e-40 and sign * (j - centre) > 0:
                break
            j += sign * step
    return top + mp.log(step * total) - rate - y / scale - mp.log(y)


DENSITIES = {
    "poisson": _poisson,
    "negbinomial": _negbinomial,
    "negbinomial1": lambda y, mu, phi, **_: _negbinomial(y, mu, mu / phi),
    "geometric": lambda y, mu, **_: y * mp.log(mu) - (y + 1) * mp.log1p(mu),
    "generalized_poisson": _generalized_poisson,
    "com_poisson": _com_poisson,
    "tweedie": _tweedie,
}
SCIPY = {
    "poisson": lambda y, mu: st.poisson.logpmf(y, mu),
    "negbinomial": lambda y, mu, shape: st.nbinom.logpmf(y, shape, shape / (shape + mu)),
    "negbinomial1": lambda y, mu, phi: st.nbinom.logpmf(y, mu / phi, 1 / (1 + phi)),
    "geometric": lambda y, mu: st.geom.logpmf(y + 1, 1 / (1 + mu)),
}
# The sums of com_poisson have to end: up to 400 for the mean and 1 / nu.
TAILS = {"com_poisson": [-6.0, -2.5, 4.0, 6.0]}

# --- distribution functions ---


def _complement(log_p):
    return mp.log(-mp.expm1(log_p)) if log_p > -1 else mp.log1p(-mp.exp(log_p))


def _poisson_sf(y, mu, **_):
    """Term y + 1 times the sum of what follows relative to it."""
    k, term, total = y + 1, mp.mpf(1), mp.mpf(0)
    while term > mp.eps * total or k < mu:
        total += term
        k += 1
        term *= mu / k
    return _poisson(y + 1, mu) + mp.log(total)


def _poisson_cdf(y, mu, **_):
    if y > mu:
        return _complement(_poisson_sf(y, mu))
    return mp.log(mp.fsum(mp.exp(_poisson(mp.mpf(k), mu)) for k in range(int(y) + 1)))


def _negbinomial_cdf(y, mu, shape, **_):
    return log_betainc(shape, y + 1, shape / (mu + shape), mu / (mu + shape))


def _negbinomial_sf(y, mu, shape, **_):
    return log_betainc(y + 1, shape, mu / (mu + shape), shape / (mu + shape))


def _geometric_sf(y, mu, **_):
    return -(y + 1) * mp.log1p(1 / mu)


def _summed_sf(density):
    """Add up what is above y, until nothing more comes."""

    def log_sf(y, mu, **natural):
        k, total, term = y + 1, mp.mpf(0), mp.mpf(1)
        while k < mu or term > 1e-25 * total:
            term = mp.exp(density(k, mu=mu, **natural))
            total += term
            k += 1
        return mp.log(total)

    return log_sf


def _summed_cdf(density):
    def log_cdf(y, mu, **natural):
        if y > mu:
            return _complement(_summed_sf(density)(y, mu, **natural))
        terms = (density(mp.mpf(k), mu=mu, **natural) for k in range(int(y) + 1))
        return mp.log(mp.fsum(mp.exp(term) for term in terms))

    return log_cdf


LOG_CDF = {
    "poisson": _poisson_cdf,
    "negbinomial": _negbinomial_cdf,
    "negbinomial1": lambda y, mu, phi, **_: _negbinomial_cdf(y, mu, mu / phi),
    "geometric": lambda y, mu, **_: _complement(_geometric_sf(y, mu)),
    "generalized_poisson": _summed_cdf(_generalized_poisson),
    "com_poisson": _summed_cdf(_com_poisson),
}
LOG_SF = {
    "poisson": _poisson_sf,
    "negbinomial": _negbinomial_sf,
    "negbinomial1": lambda y, mu, phi, **_: _negbinomial_sf(y, mu, mu / phi),
    "geometric": _geometric_sf,
    "generalized_poisson": _summed_sf(_generalized_poisson),
    "com_poisson": _summed_sf(_com_poisson),
}
