"""Densities and distribution functions of continuous families, in mpmath and as in textbooks.

Everything takes the response and the natural values of the parameters as mpmath numbers.
"""

import mpmath as mp
import numpy as np
import scipy.stats as st
from scipy.special import gamma as scipy_gamma

HALF = mp.mpf("0.5")


def log_normal_density(z):
    return -(z**2) / 2 - mp.log(2 * mp.pi) / 2


def log_normal_cdf(z):
    if z > 0:
        return mp.log1p(-mp.erfc(z / mp.sqrt(2)) / 2)
    return mp.log(mp.erfc(-z / mp.sqrt(2)) / 2)


def _complement(log_p):
    """Return log(1 - p)."""
    return mp.log(-mp.expm1(log_p)) if log_p > -1 else mp.log1p(-mp.exp(log_p))


def _with_digits(function):
    """Let a function work with enough digits for differences of nearly equal numbers."""

    def wrapped(y, **natural):
        with mp.workdps(400):
            return function(y, **natural)

    return wrapped


# --- on the real line ---


def _student(y, mu, sigma, nu, **_):
    kernel = -(nu + 1) / 2 * mp.log1p(((y - mu) / sigma) ** 2 / nu)
    constant = mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2)
    return kernel + constant - mp.log(nu * mp.pi) / 2 - mp.log(sigma)


def _student_tail(y, mu, sigma, nu, **_):
    """Return log P(Y <= y), by a transformation that always converges for y below mu."""
    z = (y - mu) / sigma
    if z > 0:
        return _complement(_student_tail(2 * mu - y, mu, sigma, nu))
    return log_betainc(nu / 2, mp.mpf(1) / 2, nu / (nu + z**2), z**2 / (nu + z**2)) - mp.log(2)


def log_betainc(a, b, x, y=None):
    """Return log I_x(a, b), y being 1 - x, by the continued fraction of NIST 8.17.22."""
    y = 1 - x if y is None else y
    if x > (a + 1) / (a + b + 2):
        return _complement(log_betainc(b, a, y, x)) if y else mp.mpf(0)
    if not x:
        return -mp.inf
    c, d, fraction, m = mp.mpf(1), 1 / (1 - (a + b) * x / (a + 1)), None, 0
    fraction, factor = d, 0
    while abs(factor - 1) > mp.eps * 100:
        m += 1
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + step * d), 1 + step / c
            factor = d * c
            fraction *= factor
            if not step:  # b is whole: the fraction ends
                break
        if not step:
            break
    beta = mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)
    return a * mp.log(x) + b * mp.log(y) - mp.log(a) - beta + mp.log(fraction)


def _skew_normal_z(y, mu, sigma, alpha):
    m = mp.sqrt(2 / mp.pi) * alpha / mp.sqrt(1 + alpha**2)
    omega = sigma / mp.sqrt(1 - m**2)
    return (y - mu + omega * m) / omega, omega


def _skew_normal(y, mu, sigma, alpha, **_):
    z, omega = _skew_normal_z(y, mu, sigma, alpha)
    return mp.log(2) + log_normal_density(z) + log_normal_cdf(alpha * z) - mp.log(omega)


def _skew_normal_tail(sign):
    """Return the logarithm of one tail, from Owen's T function as an integral over an angle."""

    def log_tail(y, mu, sigma, alpha, **_):
        z, _ = _skew_normal_z(y, mu, sigma, alpha)
        # As the lower tail of the distribution or of its mirror image.
        return _owen_lower(sign * z, sign * alpha)

    return log_tail


def _owen_lower(z, alpha):
    """Return log(Phi(z) - 2 T(z, alpha))."""
    if alpha < 0:
        return _complement(_owen_lower(-z, -alpha))
    if z > 0:
        above = 2 * mp.exp(log_normal_cdf(-z)) - mp.exp(_owen_lower(-z, alpha))
        return mp.log1p(-above)
    # 2 T(z, infinity) is Phi(z), so what is left is the integral from atan(alpha) to pi / 2.
    low, high = mp.atan(alpha), mp.pi / 2
    peak = -(z**2) * (1 + alpha**2) / 2
    width = 1 / (1 + z**2 * (1 + alpha**2) * (1 + abs(alpha)))
    ends = [low + width * k for k in (1, 5, 20, 60, 200) if low + width * k < high]
    total = mp.quad(lambda t: mp.exp(-(z**2) / (2 * mp.cos(t) ** 2) - peak), [low, *ends, high])
    return peak + mp.log(total / mp.pi)


def _exgaussian_parts(y, mu, sigma, beta):
    z, r = (y - mu + beta) / sigma, sigma / beta
    return z, r**2 / 2 - r * z + log_normal_cdf(z - r)


def _exgaussian(y, mu, sigma, beta, **_):
    return _exgaussian_parts(y, mu, sigma, beta)[1] - mp.log(beta)


@_with_digits
def _exgaussian_cdf(y, mu, sigma, beta, **_):
    z, log_second = _exgaussian_parts(y, mu, sigma, beta)
    return mp.log(mp.exp(log_normal_cdf(z)) - mp.exp(log_second))


@_with_digits
def _exgaussian_sf(y, mu, sigma, beta, **_):
    z, log_second = _exgaussian_parts(y, mu, sigma, beta)
    return mp.log(mp.exp(log_normal_cdf(-z)) + mp.exp(log_second))


def _laplace_tail(sign):
    def log_tail(y, mu, sigma, **_):
        z = sign * (y - mu) / sigma
        return z - mp.log(2) if z < 0 else mp.log1p(-mp.exp(-z) / 2)

    return log_tail


def _asymmetric_laplace(y, mu, sigma, quantile=HALF, **_):
    z = (y - mu) / sigma
    check = z * (quantile - (1 if z < 0 else 0))
    return mp.log(quantile * (1 - quantile) / sigma) - check


def _asymmetric_laplace_cdf(y, mu, sigma, quantile=HALF, **_):
    z, q = (y - mu) / sigma, quantile
    return mp.log(q) + (1 - q) * z if z < 0 else mp.log1p(-(1 - q) * mp.exp(-q * z))


def _asymmetric_laplace_sf(y, mu, sigma, quantile=HALF, **_):
    z, q = (y - mu) / sigma, quantile
    return mp.log1p(-q * mp.exp((1 - q) * z)) if z < 0 else mp.log(1 - q) - q * z


# --- positive ---


def _lognormal_z(y, mu, sigma):
    return (mp.log(y) - mu) / sigma


def _shifted_lognormal(y, mu, sigma, shift, **_):
    if y <= shift:
        return -mp.inf
    z = _lognormal_z(y - shift, mu, sigma)
    return log_normal_density(z) - mp.log(sigma) - mp.log(y - shift)


def _shifted_lognormal_cdf(y, mu, sigma, shift, **_):
    return log_normal_cdf(_lognormal_z(y - shift, mu, sigma)) if y > shift else -mp.inf


def _shifted_lognormal_sf(y, mu, sigma, shift, **_):
    return log_normal_cdf(-_lognormal_z(y - shift, mu, sigma)) if y > shift else mp.mpf(0)


def _gamma(y, mu, shape, **_):
    rate = shape / mu
    return shape * mp.log(rate) + (shape - 1) * mp.log(y) - rate * y - mp.loggamma(shape)


def log_gammainc(a, x):
    """Return log P(a, x), by the series of NIST 8.7.1 or from the other tail."""
    if x > a + 1:
        return _complement(log_gammaincc(a, x))
    term = total = 1 / a
    n = 0
    while term > mp.eps * total / 100:
        n += 1
        term *= x / (a + n)
        total += term
    return a * mp.log(x) - x - mp.loggamma(a) + mp.log(total)


def log_gammaincc(a, x):
    """Return log Q(a, x), by the continued fraction of NIST 8.9.2 or from the other tail."""
    if x <= a + 1:
        return _complement(log_gammainc(a, x))
    b, n, factor = x + 1 - a, 0, 0
    c, d = mp.inf, 1 / b
    fraction = d
    while abs(factor - 1) > mp.eps * 100:
        n += 1
        step = -n * (n - a)
        b += 2
        d, c = 1 / (b + step * d), b + step / c
        factor = c * d
        fraction *= factor
    return a * mp.log(x) - x - mp.loggamma(a) + mp.log(fraction)


def _weibull_power(y, mu, shape):
    return (y * mp.gamma(1 + 1 / shape) / mu) ** shape


def _weibull(y, mu, shape, **_):
    power = _weibull_power(y, mu, shape)
    return mp.log(shape) + mp.log(power) - mp.log(y) - power


def _inverse_gaussian(y, mu, shape, **_):
    return mp.log(shape / (2 * mp.pi * y**3)) / 2 - shape * (y - mu) ** 2 / (2 * mu**2 * y)


def _inverse_gaussian_terms(y, mu, shape, sign):
    root = mp.sqrt(shape / y)
    first = mp.exp(log_normal_cdf(sign * root * (y / mu - 1)))
    return first, mp.exp(2 * shape / mu + log_normal_cdf(-root * (y / mu + 1)))


@_with_digits
def _inverse_gaussian_cdf(y, mu, shape, **_):
    first, second = _inverse_gaussian_terms(y, mu, shape, 1)
    return mp.log(first + second)


@_with_digits
def _inverse_gaussian_sf(y, mu, shape, **_):
    first, second = _inverse_gaussian_terms(y, mu, shape, -1)
    return mp.log(first - second)


DENSITIES = {
    "gaussian": lambda y, mu, sigma, **_: log_normal_density((y - mu) / sigma) - mp.log(sigma),
    "student": _student,
    "skew_normal": _skew_normal,
    "exgaussian": _exgaussian,
    "laplace": lambda y, mu, sigma, **_: -abs(y - mu) / sigma - mp.log(2 * sigma),
    "asymmetric_laplace": _asymmetric_laplace,
    "lognormal": lambda y, mu, sigma, **_: (
        log_normal_density(_lognormal_z(y, mu, sigma)) - mp.log(sigma) - mp.log(y)
    ),
    "shifted_lognormal": _shifted_lognormal,
    "gamma": _gamma,
    "exponential": lambda y, mu, **_: -mp.log(mu) - y / mu,
    "weibull": _weibull,
    "inverse_gaussian": _inverse_gaussian,
    "von_mises": lambda y, mu, kappa, **_: (
        kappa * mp.cos(y - mu) - mp.log(2 * mp.pi) - mp.log(mp.besseli(0, kappa))
    ),
}

LOG_CDF = {
    "gaussian": lambda y, mu, sigma, **_: log_normal_cdf((y - mu) / sigma),
    "student": _student_tail,
    "skew_normal": _skew_normal_tail(1),
    "exgaussian": _exgaussian_cdf,
    "laplace": _laplace_tail(1),
    "asymmetric_laplace": _asymmetric_laplace_cdf,
    "lognormal": lambda y, mu, sigma, **_: log_normal_cdf(_lognormal_z(y, mu, sigma)),
    "shifted_lognormal": _shifted_lognormal_cdf,
    "gamma": lambda y, mu, shape, **_: log_gammainc(shape, y * shape / mu),
    "exponential": lambda y, mu, **_: _complement(-y / mu),
    "weibull": lambda y, mu, shape, **_: _complement(-_weibull_power(y, mu, shape)),
    "inverse_gaussian": _inverse_gaussian_cdf,
}

LOG_SF = {
    "gaussian": lambda y, mu, sigma, **_: log_normal_cdf((mu - y) / sigma),
    "student": lambda y, mu, **natural: _student_tail(2 * mu - y, mu, **natural),
    "skew_normal": _skew_normal_tail(-1),
    "exgaussian": _exgaussian_sf,
    "laplace": _laplace_tail(-1),
    "asymmetric_laplace": _asymmetric_laplace_sf,
    "lognormal": lambda y, mu, sigma, **_: log_normal_cdf(-_lognormal_z(y, mu, sigma)),
    "shifted_lognormal": _shifted_lognormal_sf,
    "gamma": lambda y, mu, shape, **_: log_gammaincc(shape, y * shape / mu),
    "exponential": lambda y, mu, **_: -y / mu,
    "weibull": lambda y, mu, shape, **_: -_weibull_power(y, mu, shape),
    "inverse_gaussian": _inverse_gaussian_sf,
}


def _weibull_scipy(y, mu, shape):
    return st.weibull_min.logpdf(y, shape, scale=mu / scipy_gamma(1 + 1 / shape))


SCIPY = {
    "gaussian": lambda y, mu, sigma: st.norm.logpdf(y, mu, sigma),
    "student": lambda y, mu, sigma, nu: st.t.logpdf(y, nu, mu, sigma),
    "laplace": lambda y, mu, sigma: st.laplace.logpdf(y, mu, sigma),
    "asymmetric_laplace": lambda y, mu, sigma, **_: st.laplace.logpdf(y, mu, 2 * sigma),
    "lognormal": lambda y, mu, sigma: st.lognorm.logpdf(y, sigma, scale=np.exp(mu)),
    "shifted_lognormal": lambda y, mu, sigma, shift: st.lognorm.logpdf(
        y, sigma, loc=shift, scale=np.exp(mu)
    ),
    "gamma": lambda y, mu, shape: st.gamma.logpdf(y, shape, scale=mu / shape),
    "exponential": lambda y, mu: st.expon.logpdf(y, scale=mu),
    "weibull": _weibull_scipy,
    "inverse_gaussian": lambda y, mu, shape: st.invgauss.logpdf(y, mu / shape, scale=shape),
    "von_mises": lambda y, mu, kappa: st.vonmises.logpdf(y, kappa, mu),
}

# Values of the linear predictor for draws: light enough tails for a test of mean and variance.
TYPICAL = {
    "sigma": -1.0,
    "nu": 3.0,
    "shape": 1.2,
    "alpha": 2.0,
    "beta": -0.5,
    "shift": -1.5,
    "kappa": 1.0,
}
