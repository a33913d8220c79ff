"""The Cholesky factor of the precision of all group effects, by blocks: A = C C'.

A has a diagonal block for each level of each factor, and one for each pair of levels that occur
together; `plan.py` found in which order they are eliminated. One elimination serves the marginal
density of Gaussian models (log det A and C^{-1} v), exact draws of their effects (C^{-T} x), and
the coordinates of all other models.

With A_fg the blocks of factors f and g, eliminating f leaves of the others

    A_gh - A_gf A_ff^{-1} A_fh,    A_ff = L_f L_f',    T_fg = L_f^{-1} A_fg,

where A_ff is block-diagonal, so that everything is done level by level. If f is nested in g and h,
T_fg' T_fh of its levels are summed into the pairs of g and h that they lie in. Of crossed factors
what is left is dense (Bates, Alday, Kleinschmidt and colleagues' blocked Cholesky factorisation
of MixedModels.jl has the same form).

Blocks have the levels last, see `blocks.py`; effects of a factor are an array (effects, levels).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from bayesmm.model import blocks
from bayesmm.model.plan import Core, Plan

#: By pairs of factors, blocks of shape (effects of one, effects of the other, pairs).
type Cross = Mapping[tuple[int, int], jax.Array]


@dataclass(frozen=True)
class Factorised:
    """C, with A = C C'.

    Attributes
    ----------
    plan : Plan
        The order of elimination.
    L : dict
        By factor that is eliminated level by level: the Cholesky factors of its blocks.
    T : dict
        T_fg of the nested factors, shape (effects of f, effects of g, levels of f).
    entries : array or None
        T of the crossed factor: a column for each entry of the core, shape (effects, entries), or
        dense, shape (effects * levels, columns).
    S : array or None
        The Cholesky factor of the dense matrix that is left.
    """

    plan: Plan
    L: dict[int, jax.Array]
    T: dict[tuple[int, int], jax.Array]
    entries: Any = None
    S: Any = None

    def half_log_det(self) -> jax.Array:
        """Return log det C = log(det A) / 2."""
        total = jnp.zeros(())
        for L in self.L.values():
            total = total + sum(jnp.log(L[i, i]).sum() for i in range(L.shape[0]))
        if self.S is not None:
            total = total + jnp.log(jnp.diagonal(self.S)).sum()
        return total

    def forward(self, v: Sequence[jax.Array]) -> list[jax.Array]:
        """Return C^{-1} v, by factor; arrays of shape (effects, levels)."""
        left, w = list(v), {}
        for step in self.plan.steps:
            f = step.factor
            w[f] = blocks.solve(self.L[f], left[f])
            for g, parent in zip(step.others, step.parents, strict=True):
                down = blocks.gram(self.T[f, g], w[f])
                left[g] = left[g] - blocks.sum_into(down, parent, left[g].shape[-1])
        core = self.plan.core
        if core is not None:
            e = core.factor
            w[e] = blocks.solve(self.L[e], left[e])
            rest = jnp.concatenate([left[g].ravel() for g in core.others])
            if core.sparse:
                down = (self.entries * w[e][:, core.level]).sum(axis=0)
                rest = rest - blocks.sum_into(down, core.column, core.columns)
            else:
                rest = rest - w[e].ravel() @ self.entries
            w |= self._apart(core, solve_triangular(self.S, rest, lower=True))
        return [w[f] for f in range(len(v))]

    def backward(self, x: Sequence[jax.Array]) -> list[jax.Array]:
        """Return C^{-T} x, by factor; arrays of shape (effects, levels)."""
        y: dict[int, jax.Array] = {}
        core = self.plan.core
        if core is not None:
            e = core.factor
            rest = jnp.concatenate([x[g].ravel() for g in core.others])
            rest = solve_triangular(self.S, rest, lower=True, trans="T")
            if core.sparse:
                up = self.entries * rest[core.column]
                up = blocks.sum_into(up, core.level, x[e].shape[-1])
            else:
                up = (self.entries @ rest).reshape(x[e].shape)
            y[e] = blocks.solve_transposed(self.L[e], x[e] - up)
            y |= self._apart(core, rest)
        for step in reversed(self.plan.steps):
            f, total = step.factor, x[step.factor]
            for g, parent in zip(step.others, step.parents, strict=True):
                total = total - blocks.times(self.T[f, g], y[g][:, parent])
            y[f] = blocks.solve_transposed(self.L[f], total)
        return [y[f] for f in range(len(x))]

    def _apart(self, core: Core, flat: jax.Array) -> dict[int, jax.Array]:
        """The columns of the dense matrix, by factor."""
        found = {}
        for g, offset in zip(core.others, core.offsets, strict=True):
            factor = self.plan.factors[g]
            part = flat[offset : offset + factor.effects * factor.levels]
            found[g] = part.reshape(factor.effects, factor.levels)
        return found


def factorise(plan: Plan, diagonal: Sequence[jax.Array], cross: Cross) -> Factorised:
    """Return C of the matrix with these blocks.

    Parameters
    ----------
    plan : Plan
        The order of elimination.
    diagonal : sequence of array
        For each factor, shape (effects, effects, levels).
    cross : mapping
        For each pair of factors in `Plan.pairs`, shape (effects, effects, pairs).
    """
    A, B = list(diagonal), dict(cross)
    L: dict[int, jax.Array] = {}
    T: dict[tuple[int, int], jax.Array] = {}
    for step in plan.steps:
        f = step.factor
        L[f] = blocks.cholesky(A[f])
        parent_in = dict(zip(step.others, step.parents, strict=True))
        for g in step.others:
            T[f, g] = blocks.solve(L[f], B[f, g])
        for g, parent in parent_in.items():
            own = blocks.gram(T[f, g], T[f, g])
            A[g] = A[g] - blocks.sum_into(own, parent, A[g].shape[-1])
        for (g, h), pair in step.into.items():
            both = blocks.gram(T[f, g], T[f, h])
            B[g, h] = B[g, h] - blocks.sum_into(both, pair, B[g, h].shape[-1])
    core = plan.core
    if core is None:
        return Factorised(plan, L, T)
    e = core.factor
    L[e] = blocks.cholesky(A[e])
    T_core = [blocks.solve(of_pairs(L[e], plan, e, g), B[e, g]) for g in core.others]
    if core.sparse:
        entries = jnp.concatenate([t.reshape(t.shape[0], -1) for t in T_core], axis=-1)
    else:
        entries = jnp.concatenate([_as_matrix(t, A[e].shape[-1]) for t in T_core], axis=-1)
    remaining = _dense(plan, core, A, B) - _products(core, entries)
    S = jnp.linalg.cholesky(remaining, symmetrize_input=False)
    return Factorised(plan, L, T, entries, S)


def of_pairs(L: jax.Array, plan: Plan, e: int, g: int) -> jax.Array:
    """The factor of the first level of each pair; all pairs are in order."""
    pairs = plan.pairs[e, g].first.shape[0]
    if pairs == L.shape[-1] * plan.factors[g].levels:
        return jnp.repeat(L, plan.factors[g].levels, axis=-1)
    return L[..., plan.pairs[e, g].first]


def _as_matrix(T: jax.Array, levels: int) -> jax.Array:
    """From (q, r, all pairs) to (q * levels, r * other levels)."""
    q, r = T.shape[:2]
    return jnp.swapaxes(T.reshape(q, r, levels, -1), 1, 2).reshape(q * levels, -1)


def _dense(plan: Plan, core: Core, A: Sequence[jax.Array], B: Cross) -> jax.Array:
    """The lower triangle of the blocks that are left, as a dense matrix."""
    matrix = jnp.zeros((core.columns, core.columns))
    offset = dict(zip(core.others, core.offsets, strict=True))
    for g in core.others:
        factor = plan.factors[g]
        place = offset[g] + jnp.arange(factor.levels)
        for i in range(factor.effects):
            for j in range(i + 1):
                row, column = place + i * factor.levels, place + j * factor.levels
                matrix = matrix.at[row, column].set(A[g][i, j], unique_indices=True)
    for g in core.others:
        for h in core.others:
            if (g, h) not in plan.pairs:
                continue
            pair = plan.pairs[g, h]
            for i in range(plan.factors[g].effects):
                for j in range(plan.factors[h].effects):
                    # The first factor of a pair has the smaller columns: below the diagonal.
                    column = offset[g] + i * plan.factors[g].levels + pair.first
                    row = offset[h] + j * plan.factors[h].levels + pair.second
                    matrix = matrix.at[row, column].set(B[g, h][i, j], unique_indices=True)
    return matrix


def _products(core: Core, entries: jax.Array) -> jax.Array:
    """Sum over the levels of the eliminated factor of T' T, at least its lower triangle."""
    if not core.sparse:
        return entries.T @ entries
    M = core.columns
    values = (entries[:, core.left] * entries[:, core.right]).sum(axis=0)
    sums = blocks.sum_into(values, core.target, core.elements.shape[0])
    return jnp.zeros(M * M).at[core.elements].set(sums, unique_indices=True).reshape(M, M)
