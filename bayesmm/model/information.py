"""The normal distribution of the group effects given everything else.

In a Gaussian model it is exact, in any other an approximation around a pilot fit. Either way it is
made of cross-products over the rows, which are formed once: with W_i the information of row i on
its linear predictors, s_i their score, and d the population-level parameters less their
reference,

    log p(rows | b, d) = const + b' (c - H d) - b' G b / 2 + ...,
    G = Z' W Z,   c = Z' s,   H = Z' W X.

With b = Lambda u, u ~ N(0, I), it follows that u has precision A = I + Lambda' G Lambda = C C' and
mean C^{-T} w, w = C^{-1} Lambda' (c - H d). Nothing here costs anything for each row once the sums
are there: `collect` makes them in NumPy, `conditional` uses them in JAX.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.design import Design, PredictorDesign
from bayesmm.layout import PredictorLayout
from bayesmm.model import blocks
from bayesmm.model.elimination import Factorised, factorise
from bayesmm.model.plan import Plan


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Information:
    """Sums over rows. Shapes have q effects and J levels of a factor, P population parameters.

    Attributes
    ----------
    G : tuple of array
        For each factor, shape (q, q, J): the diagonal blocks of Z' W Z.
    cross : dict
        Its blocks for each pair of factors, shape (q of one, q of the other, pairs).
    c : tuple of array
        For each factor, shape (q, J).
    H : tuple of array
        For each factor, shape (q, J, P).
    reference : array
        Shape (P,): where d = 0.
    """

    G: tuple[np.ndarray, ...]
    cross: dict[tuple[int, int], np.ndarray]
    c: tuple[np.ndarray, ...]
    H: tuple[np.ndarray, ...]
    reference: np.ndarray


@dataclass(frozen=True)
class Conditional:
    """The distribution of the group effects given all else.

    Attributes
    ----------
    C : Factorised
        Of the precision of u.
    w : list of array
        By factor, shape (effects, levels): the mean of u is C^{-T} w.
    Lambda : list of array
        By factor, shape (effects, effects): b = Lambda u.
    """

    C: Factorised
    w: list[jax.Array]
    Lambda: list[jax.Array]

    def standardised(self, z: jax.Array) -> list[jax.Array]:
        """Return u = C^{-T} (w + z), by factor, for a flat z of all effects."""
        parts, start = [], 0
        for w in self.w:
            parts.append(w + z[start : start + w.size].reshape(w.shape))
            start += w.size
        return self.C.backward(parts)

    def effects(self, u: Sequence[jax.Array]) -> dict[str, jax.Array]:
        """Return b = Lambda u by variable, each of shape (levels, effects)."""
        found = {}
        for factor, Lambda, own in zip(self.C.plan.factors, self.Lambda, u, strict=True):
            b, start = (Lambda @ own).T, 0
            for member in factor.members:
                stop = start + len(member.names.effects)
                found[member.names.variable("r")] = b[:, start:stop]
                start = stop
        return found


def conditional(
    plan: Plan,
    information: Information | None,
    covariances: Mapping[str, jax.Array],
    population: jax.Array,
    precision: Any = 1.0,
) -> Conditional:
    """Return the normal distribution of the effects given population and covariances.

    Parameters
    ----------
    plan : Plan
        How they are eliminated.
    information : Information or None
        Sums over rows; None where there are no group effects.
    covariances : mapping of str to array
        By variable of effects: Lambda of its group, shape (effects, effects).
    population : array
        Shape (P,): `Program.population`, raveled.
    precision : float
        A factor on the information of all rows: 1/sigma^2 in a Gaussian model.
    """
    if information is None or not plan.factors:
        return Conditional(factorise(plan, [], {}), [], [])
    d = population - information.reference
    root = jnp.sqrt(precision)
    Lambda = roots_by_factor(plan, covariances)
    scaled = [own * root for own in Lambda]
    # (c - H d) is divided by sigma^2, of which Lambda brings one half.
    v = [
        own.T @ (c - H @ d) * root
        for own, c, H in zip(scaled, information.c, information.H, strict=True)
    ]
    C = factorise_precision(plan, scaled, information.G, information.cross)
    return Conditional(C, C.forward(v), Lambda)


def roots_by_factor(plan: Plan, roots: Mapping[str, jax.Array]) -> list[jax.Array]:
    """Return by factor a root of the covariance of all effects of a level, (effects, effects).

    Parameters
    ----------
    plan : Plan
        The factors.
    roots : mapping of str to array
        The same by variable of effects: those of different predictors are independent.
    """
    return [
        jax.scipy.linalg.block_diag(*(roots[m.names.variable("r")] for m in factor.members))
        for factor in plan.factors
    ]


def factorise_precision(
    plan: Plan, Lambda: Sequence[jax.Array], G: Sequence[Any], cross: Mapping[tuple[int, int], Any]
) -> Factorised:
    """Return C of A = I + Lambda' G Lambda, given the blocks of G as `Information` has them."""
    diagonal = [
        blocks.identity(len(root), factor.levels) + blocks.congruence(root, jnp.asarray(own), root)
        for root, own, factor in zip(Lambda, G, plan.factors, strict=True)
    ]
    between = {
        (f, g): blocks.congruence(Lambda[f], jnp.asarray(own), Lambda[g])
        for (f, g), own in cross.items()
    }
    return factorise(plan, diagonal, between)


def carriers(layout: Sequence[PredictorLayout]) -> tuple[int, ...]:
    """Return the places of the predictors that have group effects."""
    return tuple(k for k, names in enumerate(layout) if names.groups)


def centred(rows: PredictorDesign) -> np.ndarray:
    """Return the columns of the population part as they are sampled: less their centre."""
    return rows.X - rows.centre


def collect(
    plan: Plan,
    layout: Sequence[PredictorLayout],
    design: Design,
    reference: Mapping[str, np.ndarray],
    W: np.ndarray,
    score: np.ndarray,
    other: Mapping[str, np.ndarray],
) -> Information:
    """Sum over the rows.

    Parameters
    ----------
    plan : Plan
        The factors and their pairs.
    layout : sequence of PredictorLayout
        The predictors; the m that carry group effects are meant below.
    design : Design
        The rows.
    reference : mapping of str to array
        The population-level parameters where d = 0, in order.
    W : numpy.ndarray
        Shape (m, m, rows): the information of each row.
    score : numpy.ndarray
        Shape (m, rows): the score of each row at its reference, less what the effects there
        explain of it.
    other : mapping of str to numpy.ndarray
        For the population parameters of other predictors, and numbers: less the derivative of the
        score by each element, shape (elements, m, rows).
    """
    carrying, factors = carriers(layout), range(len(plan.factors))
    Z = Incidence.of(plan, layout, design)
    predictors = {names.variable("b"): k for k, names in enumerate(layout)}
    H: list[list[np.ndarray]] = [[] for _ in factors]
    for name in reference:
        if name in other:
            slopes = iter(other[name])
        else:
            k = predictors[name]
            of_predictor = W[:, carrying.index(k)] if k in carrying else W[:0]
            slopes = (of_predictor * column for column in centred(design.predictors[k]).T)
        for values in slopes:
            for f in factors:
                H[f].append(Z.summed(f, values))
    none = [np.zeros((factor.effects, factor.levels, 0)) for factor in plan.factors]
    G, cross = Z.products(W)
    return Information(
        G=G,
        cross=cross,
        c=tuple(Z.summed(f, score) for f in factors),
        H=tuple(np.stack(h, axis=-1) if h else none[f] for f, h in enumerate(H)),
        reference=np.concatenate([np.zeros(0), *(np.ravel(r) for r in reference.values())]),
    )


@dataclass(frozen=True)
class Incidence:
    """Z, by factor: which level each row is of, and what multiplies its effects there.

    It sums in NumPy, or in JAX where `xp` is `jax.numpy`.

    Attributes
    ----------
    plan : Plan
        The factors and their pairs.
    columns : tuple of tuple of array
        By factor and effect: what multiplies the effect, shape (rows,).
    place : tuple of tuple of int
        By factor and effect: which of the m predictors it is of.
    index : tuple of array
        By factor: the level of each row.
    xp : module
        NumPy or `jax.numpy`.
    """

    plan: Plan
    columns: tuple[tuple[Any, ...], ...]
    place: tuple[tuple[int, ...], ...]
    index: tuple[Any, ...]
    xp: Any

    @classmethod
    def of(
        cls, plan: Plan, layout: Sequence[PredictorLayout], design: Design, xp: Any = np
    ) -> "Incidence":
        """Return Z of these rows."""
        carrying = carriers(layout)
        columns, place, index = [], [], []
        for factor in plan.factors:
            own, of = [], []
            for member in factor.members:
                group = design.predictors[member.predictor].groups[member.group]
                own += list(group.columns.T)
                of += [carrying.index(member.predictor)] * group.columns.shape[1]
            member = factor.members[0]
            columns.append(tuple(own))
            place.append(tuple(of))
            index.append(design.predictors[member.predictor].groups[member.group].index)
        return cls(plan, tuple(columns), tuple(place), tuple(index), xp)

    def summed(self, f: int, values: Any) -> Any:
        """Return Z_f' values, shape (effects, levels), for values of shape (m, rows)."""
        at, levels = self.index[f], self.plan.factors[f].levels
        return self.xp.stack(
            [
                self._total(z * values[k], at, levels)
                for z, k in zip(self.columns[f], self.place[f], strict=True)
            ]
        )

    def times(self, effects: Sequence[Any], m: int) -> Any:
        """Return Z b, shape (m, rows), for the effects of each factor, shape (effects, levels)."""
        total = [self.xp.zeros(len(self.index[0]))] * m
        for columns, place, index, b in zip(
            self.columns, self.place, self.index, effects, strict=True
        ):
            for z, k, own in zip(columns, place, b, strict=True):
                total[k] = total[k] + z * own[index]
        return self.xp.stack(total)

    def products(self, W: Any) -> tuple[tuple[Any, ...], dict[tuple[int, int], Any]]:
        """Return the blocks of Z' W Z, of factors and of pairs, for W of shape (m, m, rows)."""
        factors = self.plan.factors
        own = tuple(
            self._product(f, f, W, self.index[f], factor.levels) for f, factor in enumerate(factors)
        )
        cross = {
            (f, g): self._product(f, g, W, pairs.rows, len(pairs.first))
            for (f, g), pairs in self.plan.pairs.items()
        }
        return own, cross

    def _product(self, f: int, g: int, W: Any, at: Any, count: int) -> Any:
        """Z_f' W Z_g, the rows summed where `at` says, shape (effects, effects, count)."""
        return self.xp.stack(
            [
                self.xp.stack(
                    [
                        self._total(z * W[k, m] * other, at, count)
                        for other, m in zip(self.columns[g], self.place[g], strict=True)
                    ]
                )
                for z, k in zip(self.columns[f], self.place[f], strict=True)
            ]
        )

    def _total(self, values: Any, at: Any, count: int) -> Any:
        # NumPy's is the faster one; JAX's is differentiable, and can be mapped.
        if self.xp is np:
            return np.bincount(at, values, count)
        return blocks.sum_into(values, at, count)
