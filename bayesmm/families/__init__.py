"""Families of distributions for the response.

`names()` lists them, `get(name, link=...)` returns one, and each is an attribute of this module:
``bm.families.bernoulli`` is the record, and calling it, ``bm.families.bernoulli(link="probit")``,
gives it with another link.

To add a family to the package, write its record in the module of its kind of response
(`continuous`, `counts`, `proportions`) and put it in that module's ``FAMILIES``; nothing else
needs to change. A user's own family is a `Family` passed as it is (see `base`).
"""

from collections.abc import Mapping
from types import MappingProxyType

from bayesmm.errors import FamilyError, did_you_mean, listing
from bayesmm.families import (
    circular,
    continuous,
    counts,
    dispersed,
    mixtures,
    nominal,
    ordinal,
    positive,
    proportions,
    semicontinuous,
)
from bayesmm.families.base import (
    INTERCEPT_PRIOR,
    PRIOR_WORDS,
    Family,
    Parameter,
    PriorRecord,
    resolve_prior,
)
from bayesmm.families.mixtures import hurdle, zero_inflated
from bayesmm.families.response import (
    ANGLE,
    BINARY,
    COUNT,
    COUNTS,
    NOMINAL,
    NONNEGATIVE,
    ORDINAL,
    POSITIVE,
    REAL,
    SHARES,
    SUCCESSES,
    UNIT_CLOSED,
    UNIT_FROM_ZERO,
    UNIT_OPEN,
    ResponseKind,
)
from bayesmm.families.values import Values

__all__ = [
    "ANGLE",
    "BINARY",
    "COUNT",
    "COUNTS",
    "FAMILIES",
    "INTERCEPT_PRIOR",
    "NOMINAL",
    "NONNEGATIVE",
    "ORDINAL",
    "POSITIVE",
    "PRIOR_WORDS",
    "REAL",
    "SHARES",
    "SUCCESSES",
    "UNIT_CLOSED",
    "UNIT_FROM_ZERO",
    "UNIT_OPEN",
    "Family",
    "Parameter",
    "PriorRecord",
    "ResponseKind",
    "Values",
    "get",
    "hurdle",
    "names",
    "resolve_prior",
    "zero_inflated",
]

#: Every family of the package, by name.
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for module in (
            continuous,
            positive,
            circular,
            counts,
            dispersed,
            proportions,
            semicontinuous,
            nominal,
            ordinal,
            mixtures,
        )
        for family in module.FAMILIES
    }
)


#: What else they are called, beside the names in `Family.elsewhere`.
OTHER_NAMES: Mapping[str, str] = {
    "normal": "gaussian",
    "student_t": "student",
    "studentt": "student",
    "quantile": "asymmetric_laplace",
    "exgauss": "exgaussian",
    "ex_gaussian": "exgaussian",
    "inversegaussian": "inverse_gaussian",
    "log_normal": "lognormal",
    "logistic": "bernoulli",
    "nb": "negbinomial",
    "nb2": "negbinomial",
    "negative_binomial": "negbinomial",
    "nb1": "negbinomial1",
    "betabinom": "beta_binomial",
    "zip": "zero_inflated_poisson",
    "zinb": "zero_inflated_negbinomial",
    "nominal": "categorical",
    "ordinal": "cumulative",
    "ordered": "cumulative",
    "clm": "cumulative",
    "clmm": "cumulative",
    "polr": "cumulative",
    "softmax": "categorical",
    "multinom": "categorical",
}


def names() -> list[str]:
    """Return the names of the families of the package.

    Examples
    --------
    >>> import bayesmm as bm
    >>> len(bm.families.names()), bm.families.names()[:4]
    (42, ['gaussian', 'student', 'skew_normal', 'exgaussian'])
    """
    return list(FAMILIES)


def get(family: str | Family, link: str | Mapping[str, str] | None = None) -> Family:
    """Return a family, with the links asked for.

    Parameters
    ----------
    family : str or Family
        The name of a family of the package, or a family.
    link : str or mapping, optional
        See `Family.with_links`.

    Raises
    ------
    FamilyError
        If there is no such family, or it does not take that link.

    Examples
    --------
    >>> import bayesmm as bm
    >>> bm.families.get("bernoulli", link="probit").links
    (('mu', 'probit'),)
    """
    if isinstance(family, str):
        if family not in FAMILIES:
            called = {name: f.name for f in FAMILIES.values() for _, name in f.elsewhere}
            meant = {**called, **OTHER_NAMES}.get(family)
            hint = f" Write {meant!r}." if meant else did_you_mean(family, FAMILIES)
            raise FamilyError(
                f"family {family!r} is not known.{hint} "
                f"The families are {listing(FAMILIES, 100)}; for your own pass a bm.Family."
            )
        family = FAMILIES[family]
    if not isinstance(family, Family):
        raise FamilyError(
            "family must be the name of a family, such as 'poisson', or a bm.Family; "
            f"got {family!r} ({type(family).__name__})."
        )
    return family.with_links(link)


# The families as attributes, from the same table: a new record needs no line here.
def __getattr__(name: str) -> Family:
    if name in FAMILIES:
        return FAMILIES[name]
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}.{did_you_mean(name, FAMILIES)}"
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *FAMILIES})
