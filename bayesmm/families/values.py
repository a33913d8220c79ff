"""What the functions of a family are given: the values of its parameters, one draw at a time.

`Values` reads a parameter on its natural scale, and the logarithms that densities are made of
straight from the linear predictor. Only what is asked for is computed.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from bayesmm.errors import FamilyError, did_you_mean, listing
from bayesmm.links import Link

if TYPE_CHECKING:
    from bayesmm.families.base import Family


class _NoSuchValue(FamilyError, AttributeError):
    """A value that a family's function asked for and that is not there.

    An AttributeError too, because Python's own protocols (hasattr, copy) expect one.
    """


class Values:
    """The values of a family's parameters, for its functions to read.

    ``v.mu`` is the value on the natural scale, ``v.log("mu")`` its logarithm and
    ``v.log1m("mu")`` the logarithm of one minus it. The logarithms are computed from the linear
    predictor where there is one, and so stay accurate where the value itself rounds to 0 or 1:
    densities should be written with them. ``v.linear("mu")`` is the linear predictor itself, and
    ``v.link("mu")`` its link. ``v.trials`` and the like are data. Where mu
    has a linear predictor for each category, ``v.mu`` has shape (n, categories), 0 for the first.

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

    Examples
    --------
    >>> import bayesmm as bm
    >>> values = bm.families.Values(bm.families.poisson, linear={"mu": 0.0})
    >>> float(values.mu), values.linear("mu")
    (1.0, 0.0)
    """

    def __init__(
        self,
        family: "Family",
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
        if name == "mu" and self._each_category:
            return self._categories()
        if name in self._natural:
            return self._natural[name]
        if name in self._data:
            return self._data[name]
        known = [*self._linear, *self._natural, *self._data]
        raise _NoSuchValue(
            f"family {self._family.name!r} asked for the value {name!r}, which is not given."
            f"{did_you_mean(name, known)} Given are {listing(known)}."
        )

    def get(self, name: str) -> Any:
        """Return the value of that name, or None where it is not given."""
        try:
            return getattr(self, name)
        except AttributeError:
            return None

    def replace(self, name: str, value: Any) -> "Values":
        """Return the same values, with another on the natural scale for one parameter."""
        linear = {key: eta for key, eta in self._linear.items() if key != name}
        natural = {**self._natural, name: value}
        return Values(self._family, linear=linear, natural=natural, data=self._data)

    @property
    def _each_category(self) -> bool:
        return self._family.parameters[0].each_category

    def _categories(self) -> Any:
        """Linear predictors of all categories, shape (n, categories): 0 for the reference."""
        names = self._family.predictors_of(self._family.parameters[0])
        linear = jnp.broadcast_arrays(*[jnp.asarray(self._linear[name]) for name in names])
        return jnp.stack([jnp.zeros_like(linear[0]), *linear], axis=-1)

    def link(self, name: str) -> Link:
        """Return the link in force for a parameter: a distribution function, for ordinal ones."""
        return self._family.link(name)

    def linear(self, name: str) -> Any:
        """Return a parameter's linear predictor, also where only its natural value is given."""
        if name in self._linear:
            return self._linear[name]
        if name == "mu" and self._each_category:
            return self._categories()
        return self.link(name).forward(getattr(self, name))

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
