"""The covariances of the group effects of each level, from the factor of their joint precision.

The inverse of A = C C' is dense wherever factors are crossed, and only a few of its elements are
wanted: the blocks of single levels. They are found from the blocks that the elimination went
through (Takahashi, Fagan and Chin 1973), in the reverse of its order. What C^{-T} does to a level
of a factor f is

    u_f = L_f^{-T} (x_f - sum over g of T_fg u_g),

with x_f ~ N(0, I) independent of all u_g, so that with Y_g = sum over h of T_fh Cov(u_h, u_g)

    Var(u_f) = L_f^{-T} (I + sum over g of Y_g T_fg') L_f^{-1},    Cov(u_f, u_g) = -L_f^{-T} Y_g.
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from bayesmm.model import blocks
from bayesmm.model.elimination import Factorised, of_pairs
from bayesmm.model.plan import Core, Step


def level_covariances(C: Factorised) -> list[jax.Array]:
    """Return the diagonal blocks of A^{-1}: by factor, shape (effects, effects, levels).

    Parameters
    ----------
    C : Factorised
        With A = C C'.
    """
    V: dict[int, jax.Array] = {}
    X: dict[tuple[int, int], jax.Array] = {}
    core = C.plan.core
    if core is not None:
        left = solve_triangular(C.S, jnp.eye(core.columns), lower=True)
        dense = left.T @ left
        V, X = _of_dense(C, core, dense)
        e = core.factor
        inner, Y = _listed(C, core, dense) if core.sparse else _full(C, core, dense)
        V[e] = _variance(C.L[e], inner)
        # Nested factors look up how the effects that they lie in vary together.
        if C.plan.steps:
            for g, y in Y.items():
                X[e, g] = -blocks.solve_transposed(of_pairs(C.L[e], C.plan, e, g), y)
    for step in reversed(C.plan.steps):
        _step(C, step, V, X)
    return [V[f] for f in range(len(C.plan.factors))]


def _variance(L: jax.Array, inner: jax.Array) -> jax.Array:
    """L^{-T} (I + inner) L^{-1}."""
    half = blocks.solve_transposed(L, inner + jnp.eye(L.shape[0])[:, :, None])
    return blocks.solve_transposed(L, jnp.swapaxes(half, 0, 1))


def _step(C: Factorised, step: Step, V: dict[int, jax.Array], X: dict) -> None:
    """Add the factor that a step eliminates to the variances V and covariances X."""
    f = step.factor
    inner = jnp.zeros_like(C.L[f])
    for g, parent in zip(step.others, step.parents, strict=True):
        Y = _product(C.T[f, g], V[g][..., parent])
        for h in step.others:
            if (h, g) in step.into:
                Y = Y + _product(C.T[f, h], X[h, g][..., step.into[h, g]])
            elif (g, h) in step.into:
                Y = Y + blocks.outer(C.T[f, h], X[g, h][..., step.into[g, h]])
        inner = inner + blocks.outer(Y, C.T[f, g])
        X[f, g] = -blocks.solve_transposed(C.L[f], Y)
    V[f] = _variance(C.L[f], inner)


def _product(A: jax.Array, B: jax.Array) -> jax.Array:
    """A B for each level."""
    return blocks.outer(A, jnp.swapaxes(B, 0, 1))


def _of_dense(C: Factorised, core: Core, dense: jax.Array) -> tuple[dict, dict]:
    """The variances of the factors that are left to the end, and the covariances of their pairs."""
    V, X = {}, {}
    factors = C.plan.factors
    start = dict(zip(core.others, core.offsets, strict=True))

    def columns(g: int) -> jax.Array:
        """Where effects (rows) and levels (columns) of a factor stand."""
        own = factors[g]
        return start[g] + jnp.arange(own.effects * own.levels).reshape(own.effects, own.levels)

    for g in core.others:
        own = columns(g)
        V[g] = dense[own[:, None], own[None, :]]
        for h in core.others:
            if (g, h) in C.plan.pairs:
                pair = C.plan.pairs[g, h]
                X[g, h] = dense[own[:, None, pair.first], columns(h)[None, :, pair.second]]
    return V, X


def _listed(C: Factorised, core: Core, dense: jax.Array) -> tuple[jax.Array, dict[int, jax.Array]]:
    """Sum of Y T' of each level of the crossed factor, and Y by the other factor of a pair."""
    e, T = core.factor, C.entries
    between = dense.ravel()[core.elements][core.target]
    Y = blocks.sum_into(T[:, core.left] * between, core.right, T.shape[1])
    # Products are listed once for two entries: what the other one adds, but for its own square.
    twice = jnp.where(core.left == core.right, 0.0, between)
    Y = Y + blocks.sum_into(T[:, core.right] * twice, core.left, T.shape[1])
    inner = blocks.sum_into(Y[:, None] * T[None, :], core.level, C.L[e].shape[-1])
    apart, begin = {}, 0
    for g in core.others:
        effects, pairs = C.plan.factors[g].effects, C.plan.pairs[e, g].first.shape[0]
        stop = begin + effects * pairs
        apart[g] = Y[:, begin:stop].reshape(-1, effects, pairs)
        begin = stop
    return inner, apart


def _full(C: Factorised, core: Core, dense: jax.Array) -> tuple[jax.Array, dict[int, jax.Array]]:
    """The same where the crossed factor's entries are a dense matrix, and all pairs are there."""
    own = C.plan.factors[core.factor]
    Y = C.entries @ dense
    shape = (own.effects, own.levels, core.columns)
    inner = jnp.einsum("alm,blm->abl", Y.reshape(shape), C.entries.reshape(shape))
    apart = {}
    for g, offset in zip(core.others, core.offsets, strict=True):
        other = C.plan.factors[g]
        stop = offset + other.effects * other.levels
        part = Y[:, offset:stop].reshape(own.effects, own.levels, other.effects, other.levels)
        apart[g] = jnp.swapaxes(part, 1, 2).reshape(own.effects, other.effects, -1)
    return inner, apart
