"""Where simulated responses come from: group effects and responses of many data sets at once.

A data set is one draw of every group's effects, b = R z with R R' = Sigma, and one of the response
given them. `Source` draws blocks of data sets in one compiled program, and each has random numbers
of its own number: what is drawn for number 7 does not depend on how many are drawn.

Sigma is made of the variables of the posterior, `sd_` and `cor_`, so that nothing here knows which
structure a covariance has.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from bayesmm.chunks import at_once, power_of_two
from bayesmm.design import Design
from bayesmm.engines import executable, use_compilation_cache
from bayesmm.errors import BayesmmError, FamilyError
from bayesmm.layout import GroupLayout
from bayesmm.model import distribution
from bayesmm.predict.effects import covariance_root
from bayesmm.simulation.blueprint import Blueprint
from bayesmm.simulation.responses import LARGEST, Responses

#: Data sets that are drawn at once; more are no faster, and the last block is not full.
MOST_AT_ONCE = 256
#: What is said of a data set in a compiled program whose responses are no data.
UNSOUND = "simulated responses are not finite, or too large. The parameters are too extreme."


@dataclass(frozen=True)
class Block:
    """Some data sets, those with the numbers from `first` on.

    Attributes
    ----------
    first : int
        The number of the first.
    y : numpy.ndarray
        Shape (data sets, rows) or (data sets, rows, columns).
    effects : dict of str to numpy.ndarray
        By variable: the effects that were drawn, shape (data sets, levels, effects).
    """

    first: int
    y: np.ndarray
    effects: dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """Draws responses.

    Attributes
    ----------
    blueprint : Blueprint
        The model.
    quantities : mapping of str to numpy.ndarray
        The variables of the posterior, draws first; without the effects of groups whose effects
        are to be drawn.
    picked : callable
        ``picked(number)``: which draw of the quantities a data set is made of, for an array of
        numbers.
    """

    blueprint: Blueprint
    quantities: Mapping[str, np.ndarray]
    picked: Callable[[np.ndarray], np.ndarray] = field(default=np.zeros_like)

    @property
    def drawn(self) -> tuple[GroupLayout, ...]:
        """The groups whose effects are drawn anew for each data set."""
        groups = [g for layout in self.blueprint.spec.layout for g in layout.groups]
        return tuple(g for g in groups if g.variable("r") not in self.quantities)

    def blocks(self, key: jax.Array, n: int) -> Iterator[Block]:
        """Draw data sets, a block at a time.

        Raises
        ------
        FamilyError
            If the family's distribution cannot be drawn from.
        """
        spec = self.blueprint.spec
        for first, count, (y, effects) in self._calls(
            _plain(spec.family, spec.layout, self.drawn), key, n
        ):
            kept = {name: x[:count] for name, x in effects.items()}
            yield Block(first, y[:count], kept)

    def compiled(
        self, key: jax.Array, n: int, function: Callable[[dict[str, Any]], Any]
    ) -> Iterator[tuple[int, np.ndarray, Any]]:
        """Draw data sets and apply a JAX function to the columns of each, in one program.

        Yields
        ------
        tuple
            The first number; for each data set whether its responses are finite, and whole numbers
            small enough to be told apart; and the function's values, data sets first.
        """
        spec, responses = self.blueprint.spec, self.blueprint.responses
        columns = plain_columns(self.blueprint)
        draw = _drawing(spec.family, spec.layout, self.drawn)

        def one(key, quantities, roots, design, columns):
            y, _ = draw(key, design, quantities, roots)
            most = LARGEST if spec.family.response.integer else np.inf
            sound = (jnp.isfinite(y) & (jnp.abs(y) <= most)).all()
            return sound, function({**columns, **responses.arrays(y)})

        for first, count, found in self._calls(_blocked(one), key, n, columns):
            sound, values = jax.tree.map(lambda x, count=count: x[:count], found)
            yield first, sound, values

    def _calls(
        self, jitted: Any, key: jax.Array, n: int, *more: Any
    ) -> Iterator[tuple[int, int, Any]]:
        use_compilation_cache()
        size = self.block_size(n)
        with jax.enable_x64(True):
            for first in range(0, n, size):
                numbers = np.arange(first, first + size, dtype=np.uint32)
                values = self._values(numbers)
                arguments = key, numbers, *values, self.blueprint.design, *more
                try:
                    run = executable(jitted, *arguments)
                except NotImplementedError:
                    family = self.blueprint.spec.family.name
                    raise FamilyError(
                        f"The distribution of family={family!r} cannot be drawn from."
                    ) from None
                found = jax.tree.map(np.asarray, run(*arguments))
                yield first, min(size, n - first), found

    def block_size(self, n: int) -> int:
        """Return how many data sets are drawn at once."""
        levels = sum(
            rows.groups[k].columns.shape[1] * rows.groups[k].levels
            for rows in self.blueprint.design.predictors
            for k in range(len(rows.groups))
        )
        most = at_once(self.blueprint.prepared.numbers_per_draw + levels)
        # A power of 2, so that few different n are few different programs.
        return min(power_of_two(n), MOST_AT_ONCE, 1 << (most.bit_length() - 1))

    def _values(self, numbers: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
        """The quantities of each data set and the roots of its covariances.

        All data sets share the first axis where there is one draw: nothing is computed twice then.
        """
        draws = len(next(iter(self.quantities.values()))) if self.quantities else 1
        at = slice(0, 1) if draws == 1 else self.picked(numbers)
        values = {name: np.asarray(x)[at] for name, x in self.quantities.items()}
        roots = {g.variable("r"): covariance_root(values, g) for g in self.drawn}
        return values, roots


def plain_columns(blueprint: Blueprint) -> dict[str, np.ndarray]:
    """Return the columns of the data as numbers: categories and texts are codes 0, 1, ...

    Columns of other things, such as dates, are left out.
    """
    found = {}
    for name, column in blueprint.data.items():
        if name in blueprint.responses.target.columns:
            continue
        if column.dtype.kind in "iufb":
            lacking = column.isna().any()
            values = column.to_numpy(np.float64, na_value=np.nan) if lacking else column.to_numpy()
            found[str(name)] = np.asarray(values)
        elif isinstance(column.dtype, pd.CategoricalDtype):
            found[str(name)] = column.cat.codes.to_numpy(np.int64)
        elif column.dropna().map(lambda x: isinstance(x, str)).all():
            found[str(name)] = column.astype("category").cat.codes.to_numpy(np.int64)
    return found


def checked(responses: Responses, trials: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    """Return the responses of one data set, or refuse those that are no data.

    Raises
    ------
    BayesmmError
        It says how many, and what the first is.
    """
    y, bad = responses.possible(y, trials)
    if bad.any():
        value = y[bad][0]
        links = ", ".join(f"{name}: {link}" for name, link in dict(responses.family.links).items())
        raise BayesmmError(
            f"{int(bad.sum())} of {len(y)} simulated responses are no "
            f"{responses.family.response.description} (the first is {value}). The parameters are "
            f"too extreme: those with a formula are on the scale of their link ({links})."
        )
    return y


def _drawing(family: Any, layout: Any, drawn: tuple[GroupLayout, ...]) -> Callable:
    """Return the function that draws one data set: its response, and the effects it has."""

    def draw(key, design: Design, quantities, roots):
        for_effects, for_response = jax.random.split(key)
        levels = {
            group.variable("r"): rows.levels
            for names, predictor in zip(layout, design.predictors, strict=True)
            for group, rows in zip(names.groups, predictor.groups, strict=True)
        }
        effects = {}
        for number, group in enumerate(drawn):
            r = group.variable("r")
            own = jax.random.fold_in(for_effects, number)
            z = jax.random.normal(own, (levels[r], len(group.effects)))
            effects[r] = z @ roots[r].T
        given = distribution(family, layout, design, {**quantities, **effects})
        return given.sample(for_response), effects

    return draw


def _blocked(one: Callable) -> Any:
    """Jit a function of one data set for a block of them, each with the key of its number."""

    def block(key, numbers, quantities, roots, *same):
        given = quantities, roots
        shared = all(x.shape[0] == 1 for x in jax.tree.leaves(given))
        if shared:
            given = jax.tree.map(lambda x: x[0], given)

        def numbered(number, given):
            return one(jax.random.fold_in(key, number), *given, *same)

        return jax.vmap(numbered, in_axes=(0, None if shared else 0))(numbers, given)

    return jax.jit(block)


@lru_cache(maxsize=32)
def _plain(family: Any, layout: Any, drawn: tuple[GroupLayout, ...]) -> Any:
    draw = _drawing(family, layout, drawn)
    return _blocked(lambda key, quantities, roots, design: draw(key, design, quantities, roots))
