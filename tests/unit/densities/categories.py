"""Independent log densities of the families for categories, in mpmath.

What the functions take, all by keyword but `y`; numbers are mpmath's, or anything mpf takes:

* ordinal (cumulative, sratio, cratio, acat): ``y`` the code of the category, 0 to K - 1 (any kind
  of number); ``mu`` the LINEAR PREDICTOR (not the inverse link of it); ``cutpoints`` a list of
  K - 1 numbers; ``disc`` a number (1 if left out); ``cs`` a list of K - 1 numbers, or 0 (0 if left
  out; cumulative has none); ``link`` the name of the link of mu, that is of the latent
  distribution function ("logit" if left out).
* categorical: ``y`` the code; ``mu`` the linear predictors of the categories after the first, as a
  list, or in their place ``mu_b=..., mu_c=...``, in the order of the keywords.
* multinomial: ``y`` a list of K counts; ``mu`` or ``mu_b``, ``mu_c`` as above; ``trials``, if
  given, must be their sum.
* dirichlet: ``y`` a list of K shares, taken as they are; ``mu`` or ``mu_b``, ``mu_c``; ``phi``.

`TYPICAL` has linear predictors for draws; the cutpoints have none and get their values here.
"""

import mpmath as mp

# F and 1 - F, each with its own formula: one minus the other would need hundreds of digits.
LATENT = {
    "logit": (lambda z: 1 / (1 + mp.exp(-z)), lambda z: 1 / (1 + mp.exp(z))),
    "probit": (lambda z: mp.erfc(-z / mp.sqrt(2)) / 2, lambda z: mp.erfc(z / mp.sqrt(2)) / 2),
    "cloglog": (lambda z: -mp.expm1(-mp.exp(z)), lambda z: mp.exp(-mp.exp(z))),
    "cauchit": (lambda z: mp.atan2(1, -z) / mp.pi, lambda z: mp.atan2(1, z) / mp.pi),
}


def _latent(mu, cutpoints, disc=1, cs=0, link="logit"):
    """Return F, 1 - F and disc (c_k - mu - cs_k) for each threshold."""
    cs = cs if isinstance(cs, list | tuple) else [cs] * len(cutpoints)
    pairs = zip(cutpoints, cs, strict=True)
    return *LATENT[link], [mp.mpf(disc) * (mp.mpf(c) - mp.mpf(mu) - mp.mpf(e)) for c, e in pairs]


def _cumulative(y, mu, cutpoints, disc=1, link="logit", **_):
    below, above, z = _latent(mu, cutpoints, disc, 0, link)
    k = int(y)
    if k == 0:
        return mp.log(below(z[0]))
    if k == len(z):
        return mp.log(above(z[-1]))
    if below(z[k]) < mp.mpf(1) / 2:
        return mp.log(below(z[k]) - below(z[k - 1]))
    return mp.log(above(z[k - 1]) - above(z[k]))


def _sratio(y, mu, cutpoints, disc=1, cs=0, link="logit", **_):
    below, above, z = _latent(mu, cutpoints, disc, cs, link)
    k = int(y)
    stop = mp.log(below(z[k])) if k < len(z) else mp.mpf(0)
    return stop + mp.fsum(mp.log(above(each)) for each in z[:k])


def _cratio(y, mu, cutpoints, disc=1, cs=0, link="logit", **_):
    below, above, z = _latent(mu, cutpoints, disc, cs, link)
    k = int(y)
    stop = mp.log(above(-z[k])) if k < len(z) else mp.mpf(0)
    return stop + mp.fsum(mp.log(below(-each)) for each in z[:k])


def _acat(y, mu, cutpoints, disc=1, cs=0, link="logit", **_):
    below, above, z = _latent(mu, cutpoints, disc, cs, link)
    weights = [
        mp.fprod(below(-each) for each in z[:k]) * mp.fprod(above(-each) for each in z[k:])
        for k in range(len(z) + 1)
    ]
    return mp.log(weights[int(y)] / mp.fsum(weights))


def _shares(mu, named):
    """Return the logarithms of the softmax of 0 and the linear predictors."""
    rest = mu if mu is not None else [v for k, v in named.items() if k.startswith("mu_")]
    eta = [mp.mpf(0), *map(mp.mpf, rest)]
    whole = mp.log(mp.fsum(map(mp.exp, eta)))
    return [each - whole for each in eta]


def _categorical(y, mu=None, **named):
    return _shares(mu, named)[int(y)]


def _multinomial(y, mu=None, trials=None, **named):
    total = mp.fsum(y)
    if trials is not None and total != trials:
        return mp.ninf
    terms = [n * p - mp.loggamma(n + 1) for n, p in zip(y, _shares(mu, named), strict=True)]
    return mp.loggamma(total + 1) + mp.fsum(terms)


def _dirichlet(y, phi, mu=None, **named):
    alpha = [phi * mp.exp(p) for p in _shares(mu, named)]
    terms = [(a - 1) * mp.log(x) - mp.loggamma(a) for a, x in zip(alpha, y, strict=True)]
    return mp.loggamma(phi) + mp.fsum(terms)


DENSITIES = {
    "cumulative": _cumulative,
    "sratio": _sratio,
    "cratio": _cratio,
    "acat": _acat,
    "categorical": _categorical,
    "multinomial": _multinomial,
    "dirichlet": _dirichlet,
}
LOG_CDF = {}
LOG_SF = {}
SCIPY = {}
TYPICAL = {"phi": 2.0}
