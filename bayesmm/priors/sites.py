"""Priors in a NumPyro model: the coordinates of a variable, grouped into sites.

`pack` groups the priors of a vector by distribution, so that each group is one site with arrays of
parameters; `sample_vector` is the NumPyro side of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from bayesmm.priors.records import Prior, PriorStructure


@dataclass(frozen=True)
class Site:
    """One NumPyro site: the coordinates of a variable whose priors are of one structure."""

    name: str
    structure: PriorStructure
    positions: tuple[int, ...]


@dataclass(frozen=True)
class VectorPrior:
    """The sites of one variable; `size` is None for a scalar."""

    variable: str
    size: int | None
    sites: tuple[Site, ...]


def pack(variable: str, priors: Sequence[Prior], *, scalar: bool = False):
    """Group the priors of one variable by structure, so that each group is one site.

    Parameters
    ----------
    variable : str
        The name of the variable, and of its site where there is one.
    priors : sequence of Prior
        One for each coordinate.
    scalar : bool
        Whether the variable has no dimension.

    Returns
    -------
    structure : VectorPrior
        What decides the program.
    numbers : tuple of dict
        The parameters of each site as arrays, in order.
    """
    groups: dict[PriorStructure, list[int]] = {}
    for i, prior in enumerate(priors):
        groups.setdefault(prior.structure, []).append(i)
    sites, numbers = [], []
    for structure, positions in groups.items():
        name = variable if len(groups) == 1 else f"{variable}:{structure.name}:{positions[0]}"
        sites.append(Site(name, structure, tuple(positions)))
        chosen = [priors[i].numbers() for i in positions]
        numbers.append(chosen[0] if scalar else _stack(chosen))
    return VectorPrior(variable, None if scalar else len(priors), tuple(sites)), tuple(numbers)


def sample_vector(prior: VectorPrior, numbers: Sequence[Mapping[str, Any]]) -> jax.Array:
    """Sample a variable in a NumPyro model, shape () or (size,)."""
    if prior.size is None:
        site = prior.sites[0]
        return jnp.asarray(numpyro.sample(site.name, site.structure.distribution(numbers[0])))
    parts, order = [], []
    for site, values in zip(prior.sites, numbers, strict=True):
        # Arrays of distinct shape () and (k,) meet here; expand says how many there are.
        each = site.structure.distribution(values).expand((len(site.positions),)).to_event(1)
        parts.append(jnp.asarray(numpyro.sample(site.name, each)))
        order.extend(site.positions)
    if len(parts) == 1:
        return parts[0]
    return jnp.concatenate(parts)[np.argsort(order)]


def _stack(numbers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: _stack([n[name] for n in numbers])
        if name == "base"
        else np.asarray([n[name] for n in numbers], dtype=np.float64)
        for name in numbers[0]
    }
