"""Families with more zeros (or ones) than a plain distribution has, made out of other families.

`zero_inflated` and `hurdle` make a record out of a record, also out of a user's:

    zero_inflated_gumbel_counts = bm.families.zero_inflated(my_counts)

In a zero-inflated family the counts of the base have zeros of their own and some are added to
them; in a hurdle family all zeros are of one kind, and the base describes what is above 0. The
mean parameter mu stays what it is in the base. To add one to the package, put it in `FAMILIES` at
the end; a mixture that neither builder makes is a record like `ordered_beta`.
"""

from functools import cache

import jax.numpy as jnp

from bayesmm.errors import FamilyError
from bayesmm.families.base import Family, Parameter
from bayesmm.families.counts import negbinomial, poisson
from bayesmm.families.numerics import log1mexp
from bayesmm.families.positive import gamma, lognormal
from bayesmm.families.proportions import beta, beta_binomial, binomial
from bayesmm.families.response import (
    COUNT,
    NONNEGATIVE,
    POSITIVE,
    SUCCESSES,
    UNIT_CLOSED,
    UNIT_FROM_ZERO,
    UNIT_OPEN,
)
from bayesmm.families.zeros import (
    Hurdle,
    ZeroInflated,
    ZerosBetaOnes,
    ZeroTruncated,
    log_prob_some,
    log_prob_zero,
    thinned_variance,
)
from bayesmm.links import clipped_exp, log1pexp

# --- distribution functions ---


def _functions(inner, log_zero, log_rest, log_one=None, *, inside, top=jnp.inf, closed=False):
    """Return log_cdf and log_sf of a mixture of zeros, an inner distribution and perhaps ones.

    Parameters
    ----------
    inner : tuple of callable, or None
        log_cdf and log_sf of the inner distribution; without them there are none of the mixture.
    log_zero, log_rest, log_one : callable
        From the values to the logarithms of the weights.
    inside : float
        A value that `inner` can take, where the function asked for does not need it.
    top : float
        The end of the support: 1, or infinity.
    closed : bool
        Whether the inner distribution has zeros too.
    """
    if inner[0] is None:
        return {}

    def within(y):
        y = jnp.asarray(y)
        is_within = ((y >= 0) if closed else (y > 0)) & (y < top)
        return is_within, jnp.where(is_within, y, jnp.asarray(inside, y.dtype))

    def log_cdf(v, y):
        is_within, at = within(y)
        between = jnp.logaddexp(log_zero(v), log_rest(v) + inner[0](v, at))
        outside = jnp.where(y >= top, 0.0, jnp.where(y >= 0, log_zero(v), -jnp.inf))
        return jnp.where(is_within, between, outside)

    def log_sf(v, y):
        is_within, at = within(y)
        between, some = log_rest(v) + inner[1](v, at), log_rest(v)
        if log_one is not None:
            between, some = (jnp.logaddexp(x, log_one(v)) for x in (between, some))
        outside = jnp.where(y >= top, -jnp.inf, jnp.where(y >= 0, some, 0.0))
        return jnp.where(is_within, between, outside)

    return {"log_cdf": log_cdf, "log_sf": log_sf}


def _truncated_functions(base):
    """Return log_cdf and log_sf of the counts of `base` that are not 0, from 1."""
    if base.log_cdf is None:
        return None, None

    def log_cdf(v, y):
        below, above = base.log_cdf(v, y), base.log_sf(v, y)
        none = log_prob_zero(base.distribution(v))
        some = log_prob_some(base.distribution(v))
        # (F(y) - f(0)) / (1 - f(0)), or 1 - S(y) / (1 - f(0)): what is subtracted is the smaller.
        upper = above < below
        by_sf = log1mexp(jnp.where(upper, above - some, -1.0))
        by_cdf = log1mexp(jnp.where(upper, -1.0, none - below)) + below - some
        return jnp.where(upper, by_sf, by_cdf)

    def log_sf(v, y):
        return base.log_sf(v, y) - log_prob_some(base.distribution(v))

    return log_cdf, log_sf


# --- builders ---


def _names(brms: str, **others: str) -> tuple[tuple[str, str], ...]:
    return ("brms", brms), *others.items()


# What a continuous response may be once zeros are added, and a value inside its support.
_WITH_ZEROS = {POSITIVE: (NONNEGATIVE, 1.0), UNIT_OPEN: (UNIT_FROM_ZERO, 0.5)}

# For the documentation: what other packages call mixtures that they have.
_ELSEWHERE = {
    "zero_inflated_poisson": _names(
        "zero_inflated_poisson",
        glmmTMB="poisson with ziformula",
        Bambi="zero_inflated_poisson",
    ),
    "zero_inflated_negbinomial": _names(
        "zero_inflated_negbinomial",
        glmmTMB="nbinom2 with ziformula",
        Bambi="zero_inflated_negativebinomial",
    ),
    "zero_inflated_binomial": _names(
        "zero_inflated_binomial",
        glmmTMB="binomial with ziformula",
        Bambi="zero_inflated_binomial",
    ),
    "zero_inflated_beta_binomial": _names(
        "zero_inflated_beta_binomial", glmmTMB="betabinomial with ziformula"
    ),
    "zero_inflated_beta": _names("zero_inflated_beta", glmmTMB="beta_family with ziformula"),
    "hurdle_poisson": _names(
        "hurdle_poisson", glmmTMB="truncated_poisson with ziformula", Bambi="hurdle_poisson"
    ),
    "hurdle_negbinomial": _names(
        "hurdle_negbinomial",
        glmmTMB="truncated_nbinom2 with ziformula",
        Bambi="hurdle_negativebinomial",
    ),
    "hurdle_gamma": _names("hurdle_gamma", glmmTMB="ziGamma", Bambi="hurdle_gamma"),
    "hurdle_lognormal": _names("hurdle_lognormal", Bambi="hurdle_lognormal"),
}


def _probability(name):
    """Return the parameter for a probability that is not of the base's."""
    return Parameter(
        name,
        links=("logit", "probit", "cloglog"),
        support="unit",
        prior=("Beta", (1.0, 1.0)),
        intercept_prior=("Logistic", (0.0, 1.0)),
    )


def _variance(base, log_weight):
    if base.variance is None:
        return None
    return lambda v: thinned_variance(base.mean(v), base.variance(v), log_weight(v))


def _record(prefix, name, base, **fields):
    """Return a record that has what every mixture takes from its base."""
    return Family(
        name=f"{prefix}_{base.name}",
        parameters=(*base.parameters, _probability(name)),
        location=base.location,
        base=base,
        width=base.width,
        elsewhere=_ELSEWHERE.get(f"{prefix}_{base.name}", ()),
        links=base.links,
        fixed=base.fixed,
        **fields,
    )


def _continuous(prefix, name, base):
    """Return zeros with the probability `name`, and the continuous `base`."""
    response, inside = _WITH_ZEROS[base.response]

    def log_weight(v):
        return v.log1m(name)

    return _record(
        prefix,
        name,
        base,
        response=response,
        distribution=lambda v: Hurdle(base.distribution(v), v.log(name), v.log1m(name), inside),
        mean=lambda v: jnp.exp(v.log1m(name)) * base.mean(v),
        variance=_variance(base, log_weight),
        about=f"zero with probability {name}, otherwise {base.name}: {base.about}",
        **_functions(
            (base.log_cdf, base.log_sf),
            lambda v: v.log(name),
            log_weight,
            inside=inside,
            top=1.0 if response is UNIT_FROM_ZERO else jnp.inf,
        ),
    )


def _check_base(base, where):
    if not isinstance(base, Family):
        raise FamilyError(
            f"{where}: base must be a family such as bm.families.poisson; got {base!r}."
        )


@cache
def zero_inflated(base: Family) -> Family:
    """Return a family with zeros added to those of another.

    Parameters
    ----------
    base : Family
        Of counts, of successes, of positive numbers or of proportions without 0 and 1.

    Returns
    -------
    Family
        It is called ``"zero_inflated_" + base.name`` and has one parameter more, ``zi``: P(0) =
        zi + (1 - zi) f(0) and P(y) = (1 - zi) f(y), with f the base's probability, 0 at 0 where
        the base is continuous.

    Raises
    ------
    FamilyError
        If zeros cannot be added to the base.

    Examples
    --------
    >>> import bayesmm as bm
    >>> family = bm.families.zero_inflated(bm.families.geometric)
    >>> family.name, family.parameter_names
    ('zero_inflated_geometric', ('mu', 'zi'))
    """
    _check_base(base, "zero_inflated")
    if base.response in _WITH_ZEROS:
        return _continuous("zero_inflated", "zi", base)
    if base.response not in (COUNT, SUCCESSES):
        raise FamilyError(
            f"zero_inflated: family {base.name!r} takes {base.response.description}; zeros can be "
            "added to counts, to successes of trials, to numbers above 0 and to numbers strictly "
            "between 0 and 1."
        )

    def log_weight(v):
        return v.log1m("zi")

    def structural_zero(v):
        sampled = v.log1m("zi") + log_prob_zero(base.distribution(v))
        return v.log("zi") - jnp.logaddexp(v.log("zi"), sampled)

    return _record(
        "zero_inflated",
        "zi",
        base,
        response=base.response,
        distribution=lambda v: ZeroInflated(base.distribution(v), v.log("zi"), v.log1m("zi")),
        mean=lambda v: jnp.exp(v.log1m("zi")) * base.mean(v),
        variance=_variance(base, log_weight),
        structural_zero=structural_zero,
        about=f"an added zero with probability zi, otherwise {base.name}: {base.about}",
        **_functions(
            (base.log_cdf, base.log_sf), lambda v: v.log("zi"), log_weight, inside=0, closed=True
        ),
    )


@cache
def hurdle(base: Family) -> Family:
    """Return a family whose zeros are apart from the other values.

    Parameters
    ----------
    base : Family
        Of counts, of positive numbers or of proportions without 0 and 1.

    Returns
    -------
    Family
        It is called ``"hurdle_" + base.name`` and has one parameter more, ``hu``: P(0) = hu and
        P(y) = (1 - hu) f(y) / (1 - f(0)), with f the base's probability, 0 at 0 where the base is
        continuous. mu is the mean of the base with its zeros.

    Raises
    ------
    FamilyError
        If the base has another kind of response.

    Examples
    --------
    >>> import bayesmm as bm
    >>> family = bm.families.hurdle(bm.families.geometric)
    >>> family.name, family.parameter_names
    ('hurdle_geometric', ('mu', 'hu'))
    """
    _check_base(base, "hurdle")
    if base.response in _WITH_ZEROS:
        return _continuous("hurdle", "hu", base)
    if base.response != COUNT:
        raise FamilyError(
            f"hurdle: family {base.name!r} takes {base.response.description}; a hurdle can be put "
            "before counts, numbers above 0 and numbers strictly between 0 and 1."
        )

    def log_weight(v):
        return v.log1m("hu") - log_prob_some(base.distribution(v))

    return _record(
        "hurdle",
        "hu",
        base,
        response=COUNT,
        distribution=lambda v: Hurdle(
            ZeroTruncated(base.distribution(v)), v.log("hu"), v.log1m("hu")
        ),
        mean=lambda v: jnp.exp(log_weight(v)) * base.mean(v),
        variance=_variance(base, log_weight),
        about=f"zero with probability hu, otherwise {base.name} without its zeros: {base.about}",
        **_functions(
            _truncated_functions(base),
            lambda v: v.log("hu"),
            lambda v: v.log1m("hu"),
            inside=1,
        ),
    )


# --- zeros, ones and what is in between ---


def _zoib_weights(v):
    """Return the logarithms of the probabilities of 0, of what is between, and of 1."""
    return v.log("zoi") + v.log1m("coi"), v.log1m("zoi"), v.log("zoi") + v.log("coi")


def _ordered_weights(v):
    """Return the same for ordered beta regression, where cutpoints on logit(mu) make them.

    The probability between is the difference of two logistic functions a and b of
    eta - cutpoint: exp(-b) (1 - exp(-(a - b))) logistic(a) logistic(b).
    """
    eta = v.log("mu") - v.log1m("mu")
    cutpoints = jnp.asarray(v.cutpoints)
    above_first, above_second = eta - cutpoints[..., 0], eta - cutpoints[..., 1]
    # Cutpoints that rounding made equal are read as very close; those out of order have no density.
    gap = cutpoints[..., 1] - cutpoints[..., 0]
    floor = clipped_exp(jnp.full_like(gap, -jnp.inf))
    gap = log1mexp(-jnp.where(gap < 0.0, jnp.nan, jnp.where(gap < floor, floor, gap)))
    return (
        -log1pexp(above_first),
        gap - log1pexp(-above_first) - log1pexp(above_second),
        -log1pexp(-above_second),
    )


def _zeros_and_ones(weights):
    """Return the functions of a family whose `weights` are those of zeros, betas and ones."""

    def distribution(v):
        return ZerosBetaOnes(beta.distribution(v), *weights(v))

    functions = _functions(
        (beta.log_cdf, beta.log_sf),
        *(lambda v, i=i: weights(v)[i] for i in range(3)),
        inside=0.5,
        top=1.0,
    )
    return {
        "distribution": distribution,
        "mean": lambda v: distribution(v).mean,
        "variance": lambda v: distribution(v).variance,
        **functions,
    }


def _cutpoint_labels(categories: tuple[str, ...]) -> tuple[str, ...]:
    return ("zero", "one")


zero_one_inflated_beta = Family(
    name="zero_one_inflated_beta",
    parameters=(*beta.parameters, _probability("zoi"), _probability("coi")),
    response=UNIT_CLOSED,
    base=beta,
    about="zero or one with probability zoi, then one with probability coi; otherwise beta: "
    f"{beta.about}",
    elsewhere=(("brms", "zero_one_inflated_beta"),),
    **_zeros_and_ones(_zoib_weights),
)

# Kubinec (2022), Ordered beta regression, Political Analysis 31. The prior of the cutpoints is
# made for both: given their order they are at -1.7 and 1.7, give or take 2.5, so that at
# mu = 1/2 the probability of a 0 (or a 1) is mostly between 0.2% and 70%.
ordered_beta = Family(
    name="ordered_beta",
    parameters=(
        *beta.parameters,
        Parameter(
            "cutpoints",
            links=(),
            prior=("Normal", (0.0, 3.0)),
            labels=_cutpoint_labels,
            ordered=True,
        ),
    ),
    response=UNIT_CLOSED,
    base=beta,
    about="zero with probability 1 - logistic(logit(mu) - cutpoint 1), one with probability "
    f"logistic(logit(mu) - cutpoint 2); otherwise beta: {beta.about}",
    elsewhere=(("glmmTMB", "ordbeta"), ("ordbetareg", "ordbetareg")),
    **_zeros_and_ones(_ordered_weights),
)


FAMILIES = (
    zero_inflated(poisson),
    zero_inflated(negbinomial),
    zero_inflated(binomial),
    zero_inflated(beta_binomial),
    zero_inflated(beta),
    hurdle(poisson),
    hurdle(negbinomial),
    hurdle(gamma),
    hurdle(lognormal),
    zero_one_inflated_beta,
    ordered_beta,
)
