"""Mixtures with zeros and ones, from textbook definitions of their parts, in mpmath.

Nothing is taken from the other modules here: a mistake in a base is not to be made twice.
"""

import mpmath as mp

TRIALS = 12

# --- the parts: log densities, and probabilities below and above ---


def _poisson(y, mu, **_):
    return y * mp.log(mu) - mu - mp.loggamma(y + 1)


def _poisson_below(y, mu, **_):
    return mp.gammainc(y + 1, mu, regularized=True)


def _poisson_above(y, mu, **_):
    return mp.gammainc(y + 1, 0, mu, regularized=True)


def _negbinomial(y, mu, shape, **_):
    ways = mp.loggamma(y + shape) - mp.loggamma(shape) - mp.loggamma(y + 1)
    return ways + shape * mp.log(shape / (mu + shape)) + y * mp.log(mu / (mu + shape))


def _negbinomial_above(y, mu, shape, **_):
    """Sum from y + 1 on, by the ratio of one probability to the one before."""
    p, k = mu / (mu + shape), y + 1
    term = total = mp.exp(_negbinomial(k, mu, shape))
    while term > total * mp.eps:
        term *= p * (k + shape) / (k + 1)
        k, total = k + 1, total + term
    return total


def _negbinomial_below(y, mu, shape, **_):
    if y > 100:
        return 1 - _negbinomial_above(y, mu, shape)
    return mp.fsum(mp.exp(_negbinomial(mp.mpf(k), mu, shape)) for k in range(int(y) + 1))


def _choose(n, k):
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def _binomial(y, mu, one_minus_mu, **_):
    return _choose(TRIALS, y) + y * mp.log(mu) + (TRIALS - y) * mp.log(one_minus_mu)


def _beta_binomial(y, mu, one_minus_mu, phi, **_):
    a, b = mu * phi, one_minus_mu * phi

    def log_beta(x, z):
        return mp.loggamma(x) + mp.loggamma(z) - mp.loggamma(x + z)

    return _choose(TRIALS, y) + log_beta(y + a, TRIALS - y + b) - log_beta(a, b)


def _summed(log_probability):
    """Return the sum of the probabilities up to y, or of those above it."""

    def below(y, **natural):
        return mp.fsum(mp.exp(log_probability(mp.mpf(k), **natural)) for k in range(int(y) + 1))

    def above(y, **natural):
        counts = range(int(y) + 1, TRIALS + 1)
        return mp.fsum(mp.exp(log_probability(mp.mpf(k), **natural)) for k in counts)

    return below, above


def _beta(y, mu, one_minus_mu, phi, **_):
    a, b = mu * phi, one_minus_mu * phi
    constant = mp.loggamma(a + b) - mp.loggamma(a) - mp.loggamma(b)
    return (a - 1) * mp.log(y) + (b - 1) * mp.log1p(-y) + constant


def _beta_below(y, mu, one_minus_mu, phi, **_):
    return mp.betainc(mu * phi, one_minus_mu * phi, 0, y, regularized=True)


def _beta_above(y, mu, one_minus_mu, phi, **_):
    return mp.betainc(one_minus_mu * phi, mu * phi, 0, 1 - y, regularized=True)


def _gamma(y, mu, shape, **_):
    rate = shape / mu
    return shape * mp.log(rate) + (shape - 1) * mp.log(y) - rate * y - mp.loggamma(shape)


def _gamma_below(y, mu, shape, **_):
    return mp.gammainc(shape, 0, y * shape / mu, regularized=True)


def _gamma_above(y, mu, shape, **_):
    return mp.gammainc(shape, y * shape / mu, regularized=True)


def _lognormal(y, mu, sigma, **_):
    z = (mp.log(y) - mu) / sigma
    return -(z**2) / 2 - mp.log(2 * mp.pi) / 2 - mp.log(sigma) - mp.log(y)


def _lognormal_below(y, mu, sigma, **_):
    return mp.erfc(-(mp.log(y) - mu) / sigma / mp.sqrt(2)) / 2


def _lognormal_above(y, mu, sigma, **_):
    return mp.erfc((mp.log(y) - mu) / sigma / mp.sqrt(2)) / 2


# --- the mixtures ---


def _zero_inflated(part):
    def log_density(y, zi, **natural):
        probability = (1 - zi) * mp.exp(part(y, **natural))
        return mp.log(zi + probability if y == 0 else probability)

    return log_density


def _zero_inflated_below(below):
    return lambda y, zi, **natural: mp.log(zi + (1 - zi) * below(y, **natural))


def _zero_inflated_above(above):
    return lambda y, zi, **natural: mp.log((1 - zi) * above(y, **natural))


def _hurdle(part):
    def log_density(y, hu, **natural):
        if y == 0:
            return mp.log(hu)
        truncated = part(y, **natural) - mp.log1p(-mp.exp(part(mp.mpf(0), **natural)))
        return mp.log(1 - hu) + truncated

    return log_density


def _hurdle_below(part, below):
    def log_cdf(y, hu, **natural):
        none = mp.exp(part(mp.mpf(0), **natural))
        return mp.log(hu + (1 - hu) * (below(y, **natural) - none) / (1 - none))

    return log_cdf


def _hurdle_above(part, above):
    def log_sf(y, hu, **natural):
        none = mp.exp(part(mp.mpf(0), **natural))
        return mp.log((1 - hu) * above(y, **natural) / (1 - none))

    return log_sf


def _with_masses(part, weights):
    """Zeros, ones where there are any, and a continuous part: `weights` gives P(0) and P(1)."""

    def log_density(y, **natural):
        zero, one = weights(**natural)
        if y in (0, 1) and not (y == 1 and one is None):
            return mp.log(one if y else zero)
        return mp.log(1 - zero - (one or 0)) + part(y, **natural)

    return log_density


def _masses_below(below, weights):
    def log_cdf(y, **natural):
        zero, one = weights(**natural)
        if one is not None and y >= 1:
            return mp.mpf(0)
        rest = 1 - zero - (one or 0)
        return mp.log(zero + rest * (below(y, **natural) if y > 0 else 0))

    return log_cdf


def _masses_above(above, weights):
    def log_sf(y, **natural):
        zero, one = weights(**natural)
        if one is not None and y >= 1:
            return -mp.inf
        rest = 1 - zero - (one or 0)
        return mp.log((one or 0) + rest * (above(y, **natural) if y > 0 else 1))

    return log_sf


def _by_zi(zi, **_):
    return zi, None


def _by_hu(hu, **_):
    return hu, None


def _by_zoi(zoi, coi, **_):
    return zoi * (1 - coi), zoi * coi


def _by_cutpoints(mu, one_minus_mu, cutpoints, **_):
    odds = mu / one_minus_mu
    first, second = (mp.exp(c) for c in cutpoints)
    return first / (first + odds), odds / (second + odds)


_binomial_below, _binomial_above = _summed(_binomial)
_beta_binomial_below, _beta_binomial_above = _summed(_beta_binomial)

DENSITIES = {
    "zero_inflated_poisson": _zero_inflated(_poisson),
    "zero_inflated_negbinomial": _zero_inflated(_negbinomial),
    "zero_inflated_binomial": _zero_inflated(_binomial),
    "zero_inflated_beta_binomial": _zero_inflated(_beta_binomial),
    "zero_inflated_beta": _with_masses(_beta, _by_zi),
    "hurdle_poisson": _hurdle(_poisson),
    "hurdle_negbinomial": _hurdle(_negbinomial),
    "hurdle_gamma": _with_masses(_gamma, _by_hu),
    "hurdle_lognormal": _with_masses(_lognormal, _by_hu),
    "zero_one_inflated_beta": _with_masses(_beta, _by_zoi),
    "ordered_beta": _with_masses(_beta, _by_cutpoints),
}
LOG_CDF = {
    "zero_inflated_poisson": _zero_inflated_below(_poisson_below),
    "zero_inflated_negbinomial": _zero_inflated_below(_negbinomial_below),
    "zero_inflated_binomial": _zero_inflated_below(_binomial_below),
    "zero_inflated_beta_binomial": _zero_inflated_below(_beta_binomial_below),
    "zero_inflated_beta": _masses_below(_beta_below, _by_zi),
    "hurdle_poisson": _hurdle_below(_poisson, _poisson_below),
    "hurdle_negbinomial": _hurdle_below(_negbinomial, _negbinomial_below),
    "hurdle_gamma": _masses_below(_gamma_below, _by_hu),
    "hurdle_lognormal": _masses_below(_lognormal_below, _by_hu),
    "zero_one_inflated_beta": _masses_below(_beta_below, _by_zoi),
    "ordered_beta": _masses_below(_beta_below, _by_cutpoints),
}
LOG_SF = {
    "zero_inflated_poisson": _zero_inflated_above(_poisson_above),
    "zero_inflated_negbinomial": _zero_inflated_above(_negbinomial_above),
    "zero_inflated_binomial": _zero_inflated_above(_binomial_above),
    "zero_inflated_beta_binomial": _zero_inflated_above(_beta_binomial_above),
    "zero_inflated_beta": _masses_above(_beta_above, _by_zi),
    "hurdle_poisson": _hurdle_above(_poisson, _poisson_above),
    "hurdle_negbinomial": _hurdle_above(_negbinomial, _negbinomial_above),
    "hurdle_gamma": _masses_above(_gamma_above, _by_hu),
    "hurdle_lognormal": _masses_above(_lognormal_above, _by_hu),
    "zero_one_inflated_beta": _masses_above(_beta_above, _by_zoi),
    "ordered_beta": _masses_above(_beta_above, _by_cutpoints),
}
TYPICAL = {"zi": -0.8, "hu": -0.5, "zoi": -0.9, "coi": 0.3}
