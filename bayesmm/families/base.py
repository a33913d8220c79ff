"""The records that a family is made of: `Parameter` and `Family`.

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

from bayesmm.errors import FamilyError, did_you_mean, listing
from bayesmm.families.response import ResponseKind
from bayesmm.families.values import Values
from bayesmm.links import LINKS, SUPPORTS, Link, get_link

#: From the categories of the response to the labels of a parameter that is a vector.
type Labels = Callable[[tuple[str, ...]], tuple[str, ...]]

#: A default prior as plain data: the name of a distribution (NumPyro's, or one of
#: `bayesmm.distributions`) and its arguments in order, each a number or one of `PRIOR_WORDS`.
type PriorRecord = tuple[str, tuple[float | str, ...]]

#: What a default prior may leave open until the data are known: ``"scale"``, the scale s of the
#: response; ``"link(sd)"``, the standard deviation of the response put through the link of the
#: parameter that the prior belongs to; ``"min"``, the smallest response, and ``"link(min/2)"``,
#: half of it put through that link; ``"sqrt(scale)"``.
PRIOR_WORDS = ("scale", "link(sd)", "min", "link(min/2)", "sqrt(scale)")

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

    Examples
    --------
    >>> import bayesmm as bm
    >>> bm.families.resolve_prior(("HalfStudentT", (3.0, "scale")), {"scale": 59.3})
    ('HalfStudentT', (3.0, 59.3))
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
        The links that it may have; the first is the default. Without any it takes no formula.
    support : str
        The natural values that make sense, one of ``"real"``, ``"positive"``, ``"unit"``,
        ``"above_one"``, ``"one_two"`` (between 1 and 2).
    prior : tuple, optional
        The default prior of the parameter itself, on the natural scale, where it has no formula:
        ``(distribution name, arguments)``, see `PriorRecord`. Not needed for the first parameter
        of a family, which always has a formula, nor for one with a fixed value.
    intercept_prior : tuple
        The default prior of the intercept, on the link scale, where the parameter has a formula.
        The first parameter of a family does not use it: its intercept prior follows the response.
    fixed : float, optional
        The value that it has unless it is given another, or a formula: it is not estimated.
    labels : callable, optional
        For a vector: from the categories of the response to the labels of its elements.
    ordered : bool
        Whether the elements of a vector increase.
    equidistant : bool
        Whether the elements of a vector are an arithmetic sequence.
    intercept : bool
        Whether its linear predictor has an intercept; False where another parameter holds it.
    each_category : bool
        Whether there is one linear predictor for each category of the response but the first.

    Raises
    ------
    FamilyError
        If a link or the support is not known, or a prior is not of that form.

    Examples
    --------
    >>> import bayesmm as bm
    >>> gamma = ("Gamma", (2.0, 0.1))
    >>> rate = bm.Parameter("rate", links=("log", "softplus"), support="positive", prior=gamma)
    >>> rate.links[0]
    'log'
    >>> bm.families.negbinomial.parameter("shape").prior
    ('InverseGamma', (0.4, 0.3))
    """

    name: str
    links: tuple[str, ...] = ("identity",)
    support: str = "real"
    prior: PriorRecord | None = None
    intercept_prior: PriorRecord = INTERCEPT_PRIOR
    fixed: float | None = None
    labels: Labels | None = field(default=None, repr=False)
    ordered: bool = False
    equidistant: bool = False
    intercept: bool = True
    each_category: bool = False

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise FamilyError(
                f"Parameter: name must be an identifier such as 'shape'; got {self.name!r}."
            )
        if hasattr(Values, self.name) or self.name.startswith("_"):
            raise FamilyError(
                f"Parameter: name {self.name!r} is taken by a method of Values; choose another."
            )
        if not isinstance(self.links, tuple):
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
    log_cdf, log_sf : callable, optional
        ``log_cdf(values, y)``: log P(Y <= y), and log P(Y > y), both accurate in their tails and
        differentiable. With them a response may be `censored` or `truncated`. `y` may be infinite.
    known_error : str, optional
        The parameter that ``se(y, s)`` gives: the scale of the residuals.
    normal_sd : str, optional
        The parameter that is the standard deviation where the response (through `location`) is
        normal around mu: group effects of mu are then integrated out exactly.
    linear_in_response : bool
        Whether the log-likelihood is linear in the response, up to what does not depend on the
        parameters: rows that are alike in all else are then sampled as one, with their mean.
    base : Family, optional
        For a mixture with extra zeros (or ones): the family without them.
    structural_zero : callable, optional
        ``structural_zero(values)``: log P(the zero is structural | y = 0), for a zero inflation.
    width : int
        How many numbers the density of one row holds while it is computed, where that is more than
        a few tens: work over many draws and rows is cut into accordingly smaller chunks.
    about : str
        What the parameters mean, for the table in the documentation.
    elsewhere : tuple of (str, str)
        Package and what it calls this family: ``(("brms", "negbinomial"), ...)``.
    links : tuple of (str, str)
        The link in force for each parameter. Left out, each has its default; `with_links`
        makes a family with others.
    fixed : tuple of (str, float)
        Parameters that are held at a number; `with_fixed` makes a family with others.
    categories : tuple of str
        The categories of the response, once the data are known: see `bound`.

    Raises
    ------
    FamilyError
        If the record contradicts itself.

    Notes
    -----
    A family is immutable, and equal to another with equal fields. Calling it, as in
    ``bm.families.bernoulli(link="probit")``, is `with_links`.

    Examples
    --------
    The Gumbel distribution has a long right tail, as reaction times have:

    >>> import bayesmm as bm
    >>> import numpyro.distributions as dist
    >>> sigma = bm.Parameter(
    ...     "sigma", links=("log",), support="positive", prior=("HalfStudentT", (3.0, "scale"))
    ... )
    >>> gumbel = bm.Family(
    ...     name="gumbel",
    ...     parameters=(bm.Parameter("mu"), sigma),
    ...     response=bm.families.REAL,
    ...     distribution=lambda v: dist.Gumbel(v.mu, v.sigma),
    ...     mean=lambda v: v.mu + 0.5772156649 * v.sigma,
    ... )
    >>> data = bm.datasets.load("sleepstudy")
    >>> bm.Model("Reaction ~ Days + (1 | Subject)", data, family=gumbel).priors
                                               prior   source
    parameter
    Intercept              StudentT(3, 288.7, 59.34)  default
    b[Days]                         Normal(0, 48.89)  default
    sd_Subject[Intercept]     HalfStudentT(3, 59.34)  default
    sigma                     HalfStudentT(3, 59.34)  default
    """

    name: str
    parameters: tuple[Parameter, ...]
    response: ResponseKind
    distribution: Callable[[Values], Any] = field(repr=False)
    mean: Callable[[Values], Any] = field(repr=False)
    variance: Callable[[Values], Any] | None = field(default=None, repr=False)
    location: str = "identity"
    log_cdf: Callable[[Values, Any], Any] | None = field(default=None, repr=False)
    log_sf: Callable[[Values, Any], Any] | None = field(default=None, repr=False)
    known_error: str | None = field(default=None, repr=False)
    normal_sd: str | None = field(default=None, repr=False)
    linear_in_response: bool = field(default=False, repr=False)
    base: "Family | None" = field(default=None, repr=False)
    structural_zero: Callable[[Values], Any] | None = field(default=None, repr=False)
    width: int = field(default=1, repr=False)
    about: str = field(default="", repr=False)
    elsewhere: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    links: tuple[tuple[str, str], ...] = ()
    fixed: tuple[tuple[str, float], ...] = ()
    categories: tuple[str, ...] = ()

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
            if p.prior is None and p.fixed is None:
                raise FamilyError(
                    f"{where}: parameter {p.name!r} needs a default prior for when it has no "
                    "formula, such as prior=('Gamma', (2.0, 0.1)); got None."
                )
        if not isinstance(self.response, ResponseKind):
            raise FamilyError(
                f"{where}: response must be a ResponseKind such as bm.families.COUNT; "
                f"got {self.response!r}."
            )
        for argument in ("distribution", "mean", "variance", "log_cdf", "log_sf"):
            function = getattr(self, argument)
            needed = argument in ("distribution", "mean")
            if not callable(function) and (needed or function is not None):
                raise FamilyError(
                    f"{where}: {argument} must be a function of the values; got {function!r}."
                )
        if (self.log_cdf is None) != (self.log_sf is None):
            raise FamilyError(f"{where}: log_cdf and log_sf go together; only one was given.")
        get_link(self.location)
        if self.normal_sd is not None:
            self.parameter(self.normal_sd)
        asked = dict(self.links)
        for name in asked:
            self.parameter(name)
        # Defaults are filled in, so that a family with a default link spelt out is the same one.
        resolved = tuple(
            (p.name, self._allowed(p, asked.get(p.name))) for p in self.parameters if p.links
        )
        object.__setattr__(self, "links", resolved)
        given = dict(self.fixed)
        values = {p.name: given.get(p.name, p.fixed) for p in self.parameters}
        held = tuple((name, float(v)) for name, v in values.items() if v is not None)
        object.__setattr__(self, "fixed", held)

    def __call__(
        self,
        link: str | Mapping[str, str] | None = None,
        *,
        thresholds: str | None = None,
        **fixed: float,
    ) -> "Family":
        """Return this family with other links, fixed values, or thresholds.

        Parameters
        ----------
        link : str or mapping, optional
            See `with_links`.
        thresholds : {"flexible", "equidistant"}, optional
            See `with_thresholds`.
        **fixed : float
            See `with_fixed`: ``student(nu=4)``, ``asymmetric_laplace(quantile=0.9)``.
        """
        family = self.with_links(link).with_fixed(**fixed)
        return family if thresholds is None else family.with_thresholds(thresholds)

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
            if p.name == name or name in self.predictors_of(p):
                return p
        raise FamilyError(
            f"family {self.name!r} has no parameter {name!r}."
            f"{did_you_mean(name, self.parameter_names)} "
            f"It has {listing(self.parameter_names)}."
        )

    @property
    def plain(self) -> "Family":
        """The family as its record has it: default links, nothing held, no categories."""
        parameters = tuple(replace(p, equidistant=False) for p in self.parameters)
        return replace(self, parameters=parameters, links=(), fixed=(), categories=())

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen beside the record, as arguments of a call that chooses it again."""
        chosen: dict[str, Any] = {"link": dict(self.links)}
        if any(p.equidistant for p in self.parameters):
            chosen["thresholds"] = "equidistant"
        return chosen | {n: v for n, v in self.fixed if v != self.parameter(n).fixed}

    def predictors_of(self, parameter: Parameter) -> tuple[str, ...]:
        """Return the names of the linear predictors that a formula for a parameter stands for.

        One of its own name, or, for a parameter of each category, one for each category but the
        first, which is the reference: ``mu_b``, ``mu_c``.
        """
        if parameter.each_category and self.categories:
            return tuple(f"{parameter.name}_{category}" for category in self.categories[1:])
        return (parameter.name,)

    @property
    def intercept_holder(self) -> Parameter | None:
        """The vector that holds the intercept of mu (cutpoints), where mu has none of its own."""
        if self.parameters[0].intercept:
            return None
        return next(p for p in self.parameters if p.labels and p.prior)

    def labels(self, parameter: Parameter) -> tuple[str, ...]:
        """Return the labels of a parameter's elements; none for a parameter of one number."""
        return parameter.labels(self.categories) if parameter.labels else ()

    def link(self, name: str) -> Link:
        """Return the link in force for the parameter of that name.

        Raises
        ------
        FamilyError
            If the family has no such parameter.
        """
        return LINKS[dict(self.links)[self.parameter(name).name]]

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

        Examples
        --------
        >>> import bayesmm as bm
        >>> bm.families.bernoulli.with_links("probit").links
        (('mu', 'probit'),)
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

    def with_fixed(self, **fixed: float) -> "Family":
        """Return this family with parameters held at numbers.

        Parameters
        ----------
        **fixed : float
            Values by parameter: ``with_fixed(nu=4)``.

        Raises
        ------
        FamilyError
            If there is no such parameter, it is the main one, or the value is impossible.

        Examples
        --------
        >>> import bayesmm as bm
        >>> bm.families.student.with_fixed(nu=4).fixed
        (('nu', 4.0),)
        """
        if not fixed:
            return self
        for name, value in fixed.items():
            parameter = self.parameter(name)
            if parameter is self.parameters[0] or parameter.labels:
                raise FamilyError(
                    f"family {self.name!r}: {name!r} is not a single number that can be held at "
                    f"{value!r}. Give it a tight prior, or an offset in its formula."
                )
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise FamilyError(f"family {self.name!r}: {name}={value!r} is not a number.")
            low, high = SUPPORTS[parameter.support]
            if not low < value < high:
                raise FamilyError(
                    f"family {self.name!r}: {name}={value!r} is impossible; it lies between "
                    f"{low:g} and {high:g}."
                )
        return replace(self, fixed=tuple({**dict(self.fixed), **fixed}.items()))

    def with_thresholds(self, spacing: str) -> "Family":
        """Return this family with flexible or equidistant thresholds.

        Parameters
        ----------
        spacing : {"flexible", "equidistant"}
            Equidistant ones are first, first + delta, first + 2 delta ...

        Raises
        ------
        FamilyError
            If there is no such spacing, or the family has no thresholds.

        Examples
        --------
        >>> import bayesmm as bm
        >>> data = bm.datasets.load("inhaler")
        >>> family = bm.families.cumulative.with_thresholds("equidistant")
        >>> bm.Model("rating ~ treat + (1 | subject)", data, family=family).priors.index.tolist()
        ['b[treat]', 'sd_subject[Intercept]', 'cutpoints', 'delta']
        """
        if spacing not in ("flexible", "equidistant"):
            raise FamilyError(
                f"thresholds={spacing!r} is not a choice: write 'flexible' or 'equidistant'."
            )
        holder = self.intercept_holder
        if holder is None:
            raise FamilyError(
                f"family {self.name!r} has no thresholds; ordinal families such as 'cumulative' do."
            )
        changed = tuple(
            replace(p, equidistant=spacing == "equidistant") if p is holder else p
            for p in self.parameters
        )
        return replace(self, parameters=changed)

    def bound(self, categories: tuple[str, ...]) -> "Family":
        """Return this family for a response with these categories."""
        return replace(self, categories=tuple(categories))

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
