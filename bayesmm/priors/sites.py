"""Priors in a NumPyro model: the coordinates of a variable, grouped into sites.

`pack` groups the priors of a vector by distribution, so that each group is one site with arrays of
parameters; `sample_vector` is the NumPyro side of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from bayesmm.distributions import Ordered
from bayesmm.priors.records import Prior, PriorStructure


@dataclass(frozen=True)
class Site:
    """One NumPyro site: the coordinates of a variable whose priors are of one structure."""

    name: str
    structure: PriorStructure
    positions: tuple[int, ...]


@dataclass(frozen=True)
class VectorPrior:
    """The sites of one variable.

    Attributes
    ----------
    variable : str
        Its name.
    shape : tuple of int
        Its shape; () for a scalar.
    sites : tuple of Site
        The sites that its elements, in C order, are sampled at.
    ordered : bool
        Whether it increases along its last axis; all of it is then one site, `variable`.
    alike : bool
        Whether all elements have the same prior.
    """

    variable: str
    shape: tuple[int, ...]
    sites: tuple[Site, ...]
    ordered: bool = False
    alike: bool = True


def pack(
    variable: str,
    priors: Sequence[Prior],
    *,
    shape: tuple[int, ...] | None = None,
    ordered: bool = False,
):
    """Group the priors of one variable by structure, so that each group is one site.

    Parameters
    ----------
    variable : str
        The name of the variable, and of its site where there is one.
    priors : sequence of Prior
        One for each element.
    shape : tuple of int, optional
        Of the variable: () for a scalar; a vector with an element for each prior if left out.
    ordered : bool
        Whether it increases along its last axis.

    Returns
    -------
    structure : VectorPrior
        What decides the program.
    numbers : tuple of dict
        The parameters of each site as arrays, in order.
    """
    shape = (len(priors),) if shape is None else shape
    groups: dict[PriorStructure, list[int]] = {}
    for i, prior in enumerate(priors):
        groups.setdefault(prior.structure, []).append(i)
    sites, numbers = [], []
    for structure, positions in groups.items():
        name = variable if len(groups) == 1 else f"{variable}:{structure.name}:{positions[0]}"
        sites.append(Site(name, structure, tuple(positions)))
        chosen = [priors[i].numbers() for i in positions]
        numbers.append(_stack(chosen) if shape else chosen[0])
    if ordered:
        sites = [replace(site, name=variable) for site in sites]
    alike = not ordered or len(set(priors)) == 1
    return VectorPrior(variable, shape, tuple(sites), ordered, alike), tuple(numbers)


def sample_vector(prior: VectorPrior, numbers: Sequence[Mapping[str, Any]]) -> jax.Array:
    """Sample a variable in a NumPyro model; it has the shape that `prior` says."""
    if not prior.shape:
        site = prior.sites[0]
        return jnp.asarray(numpyro.sample(site.name, site.structure.distribution(numbers[0])))
    # Arrays of distinct shape () and (k,) meet here; expand says how many there are.
    parts = [
        site.structure.distribution(values).expand((len(site.positions),))
        for site, values in zip(prior.sites, numbers, strict=True)
    ]
    if prior.ordered:
        positions = [site.positions for site in prior.sites]
        joint = Ordered(parts, positions, prior.shape, alike=prior.alike)
        return jnp.asarray(numpyro.sample(prior.variable, joint.to_event(len(prior.shape) - 1)))
    drawn = [
        jnp.asarray(numpyro.sample(site.name, part.to_event(1)))
        for site, part in zip(prior.sites, parts, strict=True)
    ]
    if len(drawn) == 1:
        return drawn[0].reshape(prior.shape)
    order = [position for site in prior.sites for position in site.positions]
    return jnp.concatenate(drawn)[np.argsort(order)].reshape(prior.shape)


def _stack(numbers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: _stack([n[name] for n in numbers])
        if name == "base"
        else np.asarray([n[name] for n in numbers], dtype=np.float64)
        for name in numbers[0]
    }
