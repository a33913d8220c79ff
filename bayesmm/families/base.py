"""The records that a family is made of: `Parameter`, `Family`, and the `Values` it is given.

A family says how a response is distributed given the values of its parameters, and nothing else:
it knows no formula, no data and no sampler. Built-in families are records in the modules beside
this one; a user's family is a record too and is passed as an instance, for there is no register:

    import bayesmm as bm
    import numpyro.distributions as dist

    gumbel = bm.Family(
        name="gumbel",
        parameters=(
            bm.Parameter("mu", links=("identity",)),
            bm.Parameter("sigma", links=("log", "softplus"), support="positive",
                         prior=("HalfStudentT", (3.0, "scale")),
                         intercept_prior=("StudentT", (3.0, "link(sd)", 2.5))),
        ),
        response=bm.families.REAL,
        distribution=lambda v: dist.Gumbel(v.mu, v.sigma),
        mean=lambda v: v.mu + 0.5772156649015329 * v.sigma,
    )

Records are compared and hashed by their fields, and functions by identity, so a family's
functions should be defined once (at the top of a module), not anew for each fit: a compiled
sampler is found again by its family.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp

from bayesmm.errors import FamilyError, did_you_mean, listing
from bayesmm.families.response import ResponseKind
from bayesmm.links import LINKS, SUPPORTS, Link, get_link

#: A default prior as plain data: the name of a distribution (NumPyro's, or one of
#: `bayesmm.distributions`) and its arguments in order, each a number or one of `PRIOR_WORDS`.
type PriorRecord = tuple[str, tuple[float | str, ...]]

#: What a default prior may leave open until the data are known: ``"scale"``, the scale s of the
#: response; ``"link(sd)"``, the standard deviation of the response put through the link of the
#: parameter that the prior belongs to.
PRIOR_WORDS = ("scale", "link(sd)")

#: The default for the intercept of a parameter that has a formula, on the link scale.
INTERCEPT_PRIOR: PriorRecord = ("StudentT", (3.0, 0.0, 2.5))


def resolve_prior(
    prior: PriorRecord, numbers: Mapping[str, float]
) -> tuple[str, tuple[float, ...]]:
    """Replace the words in a default prior by numbers.

    Parameters
    ----------
    prior : tuple
        Name and arguments, as in `Parameter.prior`.
    numbers : mapping
        A number for each of `PRIOR_WORDS` that the prior uses.

    Returns
    -------
    tuple
        The name and its arguments, all floats.

    Raises
    ------
    FamilyError
        If the prior uses a word that `numbers` has not.
    """
    name, args = prior
    for arg in args:
        if isinstance(arg, str) and arg not in numbers:
            raise FamilyError(
                f"default prior {name}{args}: {arg!r} is not known here; an argument is a number "
                f"or one of {listing(numbers)}."
            )
    return name, tuple(float(numbers[a]) if isinstance(a, str) else float(a) for a in args)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a family, which may have a formula of its own.

    Parameters
    ----------
    name : str
        As in formulas and in the posterior: ``"mu"``, ``"sigma"``, ``"zi"``.
    links : tuple of str
        The links that it may have; the first is the default.
    support : str
        The natural values that make sense, one of ``"real"``, ``"positive"``, ``"unit"``,
        ``"above_one"``.
    prior : tuple, optional
        The default prior of the parameter itself, on the natural scale, where it has no formula:
        ``(distribution name, arguments)``, see `PriorRecord`. Not needed for the first parameter
        of a family, which always has a formula.
    intercept_prior : tuple
        The default prior of the intercept, on the link scale, where the parameter has a formula.
        The first parameter of a family does not use it: its intercept prior follows the response.

    Raises
    ------
    FamilyError
        If a link or the support is not known, or a prior is not of that form.
    """

    name: str
    links: tuple[str, ...] = ("identity",)
    support: str = "real"
    prior: PriorRecord | None = None
    intercept_prior: PriorRecord = INTERCEPT_PRIOR

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise FamilyError(
                f"Parameter: name must be an identifier such as 'shape'; got {self.name!r}."
            )
        if hasattr(Values, self.name) or self.name.startswith("_"):
            raise FamilyError(
                f"Parameter: name {self.name!r} is taken by a method of Values; choose another."
            )
        if not isinstance(self.links, tuple) or not self.links:
            raise FamilyError(
                f"parameter {self.name!r}: links must be a tuple of names such as ('log',), the "
                f"default first; got {self.links!r}."
            )
        for link in self.links:
            get_link(link)
        if self.support not in SUPPORTS:
            raise FamilyError(
                f"parameter {self.name!r}: support must be one of {listing(SUPPORTS)}; "
                f"got {self.support!r}."
            )
        for argument in ("prior", "intercept_prior"):
            _check_prior(getattr(self, argument), f"parameter {self.name!r}: {argument}")


def _check_prior(prior: Any, where: str) -> None:
    """Raise FamilyError unless `prior` is None or a hashable (name, arguments)."""
    if prior is None:
        return
    match prior:
        case (str(), tuple(args)) if isinstance(prior, tuple):
            wrong = [
                a
                for a in args
                if isinstance(a, bool)
                or not (isinstance(a, int | float) or (isinstance(a, str) and a in PRIOR_WORDS))
            ]
            if not wrong:
                return
            raise FamilyError(
                f"{where}: an argument is a number or one of {listing(PRIOR_WORDS)}; "
                f"got {wrong[0]!r}."
            )
    raise FamilyError(
        f"{where} must be a tuple of a distribution's name and its arguments, such as "
        f"('Gamma', (2.0, 0.1)); got {prior!r}."
    )


@dataclass(frozen=True)
class Family:
    """A distribution for the response, with the links of its parameters.

    Parameters
    ----------
    name : str
        What the user types.
    parameters : tuple of Parameter
        The parameter of the main formula first; it is called ``mu``.
    response : ResponseKind
        What the response may be.
    distribution : callable
        ``distribution(values)``: the NumPyro distribution of the response, one element a row.
        `values` is a `Values`.
    mean : callable
        ``mean(values)``: the expected response.
    variance : callable, optional
        ``variance(values)``: its variance.
    location : str
        The name of the link between the response and what mu is a location of: ``"identity"``,
        or ``"log"`` where mu belongs to log(y), so that default priors are scaled to log(y).
    links : tuple of (str, str)
        The link in force for each parameter. Left out, each has its default; `with_links`
        makes a family with others.

    Raises
    ------
    FamilyError
        If the record contradicts itself.

    Notes
    -----
    A family is immutable, and equal to another with equal fields. Calling it, as in
    ``bm.families.bernoulli(link="probit")``, is `with_links`.
    """

    name: str
    parameters: tuple[Parameter, ...]
    response: ResponseKind
    distribution: Callable[["Values"], Any] = field(repr=False)
    mean: Callable[["Values"], Any] = field(repr=False)
    variance: Callable[["Values"], Any] | None = field(default=None, repr=False)
    location: str = "identity"
    links: tuple[tuple[str, str], ...] = ()

    def __post_init__(self):
        where = f"family {self.name!r}"
        if not isinstance(self.parameters, tuple) or not all(
            isinstance(p, Parameter) for p in self.parameters
        ):
            raise FamilyError(
                f"{where}: parameters must be a tuple of bm.Parameter; got {self.parameters!r}."
            )
        if not self.parameters or self.parameters[0].name != "mu":
            raise FamilyError(
                f"{where}: the first parameter must be called 'mu'; got "
                f"{listing(p.name for p in self.parameters) or 'none'}."
            )
        if len(set(self.parameter_names)) < len(self.parameters):
            raise FamilyError(f"{where}: a name is used twice in {listing(self.parameter_names)}.")
        for p in self.parameters[1:]:
            if p.prior is None:
                raise FamilyError(
                    f"{where}: parameter {p.name!r} needs a default prior for when it has no "
                    "formula, such as prior=('Gamma', (2.0, 0.1)); got None."
                )
        if not isinstance(self.response, ResponseKind):
            raise FamilyError(
                f"{where}: response must be a ResponseKind such as bm.families.COUNT; "
                f"got {self.response!r}."
            )
        for argument in ("distribution", "mean", "variance"):
            function = getattr(self, argument)
            if not callable(function) and not (argument == "variance" and function is None):
                raise FamilyError(
                    f"{where}: {argument} must be a function of the values; got {function!r}."
                )
        get_link(self.location)
        asked = dict(self.links)
        for name in asked:
            self.parameter(name)
        # Defaults are filled in, so that a family with a default link spelt out is the same one.
        resolved = tuple((p.name, self._allowed(p, asked.get(p.name))) for p in self.parameters)
        object.__setattr__(self, "links", resolved)

    def __call__(self, link: str | Mapping[str, str] | None = None) -> "Family":
        """Return this family with other links; see `with_links`."""
        return self.with_links(link)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The names of the parameters, mu first."""
        return tuple(p.name for p in self.parameters)

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of that name.

        Raises
        ------
        FamilyError
            If the family has none; the message lists those it has.
        """
        for p in self.parameters:
            if p.name == name:
                return p
        raise FamilyError(
            f"family {self.name!r} has no parameter {name!r}."
            f"{did_you_mean(name, self.parameter_names)} "
            f"It has {listing(self.parameter_names)}."
        )

    def link(self, name: str) -> Link:
        """Return the link in force for the parameter of that name.

        Raises
        ------
        FamilyError
            If the family has no such parameter.
        """
        self.parameter(name)
        return LINKS[dict(self.links)[name]]

    def with_links(self, link: str | Mapping[str, str] | None = None) -> "Family":
        """Return this family with other links.

        Parameters
        ----------
        link : str or mapping, optional
            The name of a link for mu, or a mapping from parameters to names of links. Parameters
            that are not mentioned keep theirs.

        Raises
        ------
        FamilyError
            If there is no such parameter, or it does not allow that link; the message lists
            those that are allowed.
        """
        if link is None:
            return self
        if isinstance(link, str):
            link = {"mu": link}
        if not isinstance(link, Mapping):
            raise FamilyError(
                f"link must be a name such as 'log', or a mapping such as {{'mu': 'log'}}; "
                f"got {link!r} ({type(link).__name__})."
            )
        for name, chosen in link.items():
            self._allowed(self.parameter(name), chosen)
        return replace(self, links=tuple({**dict(self.links), **link}.items()))

    def _allowed(self, parameter: Parameter, link: str | None) -> str:
        """Return the link's name (the default for None) if the parameter allows it."""
        if link is None:
            return parameter.links[0]
        if link not in parameter.links:
            raise FamilyError(
                f"family {self.name!r}: link {link!r} is not one for {parameter.name!r}."
                f"{did_you_mean(str(link), parameter.links)} "
                f"It takes {listing(parameter.links)}."
            )
        return link


class _NoSuchValue(FamilyError, AttributeError):
    """A value that a family's function asked for and that is not there.

    An AttributeError too, because Python's own protocols (hasattr, copy) expect one.
    """


class Values:
    """The values of a family's parameters, for its functions to read.

    ``v.mu`` is the value on the natural scale, ``v.log("mu")`` its logarithm and
    ``v.log1m("mu")`` the logarithm of one minus it. The logarithms are computed from the linear
    predictor where there is one, and so stay accurate where the value itself rounds to 0 or 1:
    densities should be written with them. ``v.trials`` and the like are data.

    Parameters
    ----------
    family : Family
        Whose links are in force.
    linear : mapping, optional
        Linear predictors by parameter name; arrays of shape (n,) or scalars.
    natural : mapping, optional
        Values on the natural scale, of parameters without a linear predictor.
    data : mapping, optional
        Data that the distribution needs, such as ``trials``.

    Notes
    -----
    Nothing is computed before it is asked for, and nothing is kept: the compiler shares equal
    expressions, and a kept value could leak out of a JAX transformation.
    """

    def __init__(
        self,
        family: Family,
        *,
        linear: Mapping[str, Any] | None = None,
        natural: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ):
        self._family = family
        self._linear = linear or {}
        self._natural = natural or {}
        self._data = data or {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._linear:
            return self._family.link(name).inverse(self._linear[name])
        if name in self._natural:
            return self._natural[name]
        if name in self._data:
            return self._data[name]
        known = [*self._linear, *self._natural, *self._data]
        raise _NoSuchValue(
            f"family {self._family.name!r} asked for the value {name!r}, which is not given."
            f"{did_you_mean(name, known)} Given are {listing(known)}."
        )

    def log(self, name: str) -> Any:
        """Return the logarithm of a parameter's value, NaN where the value is negative."""
        if name in self._linear:
            direct = self._family.link(name).log_inverse
            if direct is not None:
                return direct(self._linear[name])
        return jnp.log(getattr(self, name))

    def log1m(self, name: str) -> Any:
        """Return the logarithm of one minus a parameter's value."""
        if name in self._linear:
            direct = self._family.link(name).log1m_inverse
            if direct is not None:
                return direct(self._linear[name])
        return jnp.log1p(-getattr(self, name))
