"""The density of rows of new clusters, their effects integrated out, in every posterior draw.

Of clusters that are new the model knows the distribution of their effects, b ~ N(0, Sigma), so that
rows of new clusters have, for a posterior draw theta, the density

    p(y | theta) = integral of p(y | b, theta) N(b | 0, Sigma) db.

With b = R u, u ~ N(0, I), every linear predictor is eta = base + Z u. The integrand is unimodal for
most responses; its mode is found by Newton's method, of the derivatives of each row's density by
its own eta, and with u = mode + L t, where L L' is the inverse curvature there, what is left is
nearly a normal density of t. Three ways go on from there (`Method`):

- Gaussian responses: it is one, and the integral is known;
- adaptive Gauss-Hermite quadrature (Naylor and Smith 1982; Pinheiro and Bates 1995), which is exact
  to many digits, in up to three dimensions;
- importance sampling from Student's t (Geweke 1989), without bias, in any dimension and where a
  draw of u is wanted: one of the samples, picked by their weights.

A `Component` is padded to powers of 2: few programs are compiled for many clusters. To add a
method, write another end of `_integrals`.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, logsumexp

from bayesmm.chunks import at_once, power_of_two
from bayesmm.design import Design, GroupDesign, take
from bayesmm.families import Family
from bayesmm.layout import GroupLayout, PredictorLayout
from bayesmm.model.predictor import linear_predictors, log_likelihood_at
from bayesmm.predict.effects import covariance_root
from bayesmm.prepare import Prepared

#: Degrees of freedom of what samples of u are drawn from.
DF = 5.0
#: Chunks are that much smaller than memory allows: in the cache, they take a third of the time.
SMALLER = 32
#: Nodes of Gauss-Hermite quadrature in each dimension, by the number of dimensions.
NODES = {1: 41, 2: 21, 3: 15}
#: Newton's method: how many steps there are, how far one goes at most (u has an sd of 1 in the
#: prior) and which part of it at least: a count of hundreds overshoots by many powers of 2.
STEPS, FARTHEST, SHORTEST = 100, 4.0, 0.5**40
#: Newton's decrements from which on a step is not measured by the height of the density, which is
#: rounded, and after which the mode is found: the next decrement would be the square of it.
SURE, ENOUGH = 1e-6, 1e-10
#: Curvatures below this are taken for it: the prior of u alone has 1.
LEAST_CURVATURE = 0.2


@dataclass(frozen=True)
class Method:
    """How integrals are found.

    Attributes
    ----------
    kind : {"exact", "quadrature", "sampling"}
        See the module's docstring.
    samples : int
        How many samples of u there are for each posterior draw.
    """

    kind: Literal["exact", "quadrature", "sampling"]
    samples: int = 1


class Integrals(NamedTuple):
    """What is found for each posterior draw.

    Attributes
    ----------
    log_p : numpy.ndarray
        Shape (draws,): log p(y | theta).
    noise : numpy.ndarray
        Shape (draws,): the variance of p(y | theta), relative to its square; 0 where it is not an
        estimate.
    u : numpy.ndarray or None
        Shape (draws, size): a draw of u given theta and the rows; none of quadrature, nor where no
        cluster is new.
    """

    log_p: np.ndarray
    noise: np.ndarray
    u: np.ndarray | None


@dataclass(frozen=True)
class Component:
    """Rows with their clusters numbered anew: known ones first, in tables of padded size.

    Attributes
    ----------
    design : Design
        Padded with rows of weight 0.
    known : dict of str to numpy.ndarray
        By grouping: the known clusters in the table.
    count : dict of str to int
        By grouping: how many new clusters the table has.
    new : dict of str to numpy.ndarray
        By grouping: the numbers of the new clusters, from the number of known ones on.
    """

    design: Design
    known: dict[str, np.ndarray]
    count: dict[str, int]
    new: dict[str, np.ndarray]

    def size(self, groups: Sequence[GroupLayout]) -> int:
        """Return the dimension of u."""
        return sum(self.count[group.name] * len(group.effects) for group in groups)


def component(
    design: Design,
    layout: Sequence[PredictorLayout],
    index: Mapping[str, np.ndarray],
    known: Mapping[str, int],
    rows: np.ndarray,
) -> Component:
    """Return some rows as a component.

    Parameters
    ----------
    design : Design
        Of all rows.
    layout : sequence of PredictorLayout
        Its names.
    index : mapping of str to numpy.ndarray
        By grouping: the cluster of each of these rows; those from `known` on are new.
    known : mapping of str to int
        By grouping: how many clusters are known.
    rows : numpy.ndarray
        Which rows.
    """
    size = power_of_two(len(rows))
    padding = np.concatenate([np.arange(len(rows)), np.zeros(size - len(rows), dtype=np.int64)])
    part = take(design, rows[padding])
    weights = np.ones(size) if part.weights is None else part.weights.copy()
    weights[len(rows) :] = 0.0
    tables, count, new, local = {}, {}, {}, {}
    for name, clusters in index.items():
        old = np.unique(clusters[clusters < known[name]])
        new[name] = np.unique(clusters[clusters >= known[name]])
        tables[name] = np.concatenate([old, np.zeros(power_of_two(len(old)) - len(old), int)])
        # Every new cluster adds to the dimensions, and those of quadrature are few.
        extra = len(new[name])
        count[name] = extra if extra <= max(NODES) else power_of_two(extra)
        place = np.where(
            clusters < known[name],
            np.searchsorted(old, clusters),
            len(tables[name]) + np.searchsorted(new[name], clusters),
        )
        local[name] = place[padding].astype(np.int32)
    levels = {name: len(table) + count[name] for name, table in tables.items()}
    predictors = [
        replace(
            predictor,
            groups=tuple(
                GroupDesign(local[group.name], columns.columns, levels[group.name])
                for group, columns in zip(names.groups, predictor.groups, strict=True)
            ),
        )
        for names, predictor in zip(layout, part.predictors, strict=True)
    ]
    return Component(
        replace(part, predictors=tuple(predictors), weights=weights), tables, count, new
    )


class Integrator:
    """Finds the integrals of components in every draw of a posterior; in the scope of float64.

    Parameters
    ----------
    prepared : Prepared
        The model.
    quantities : mapping of str to numpy.ndarray
        The posterior's variables, draws first.

    Attributes
    ----------
    groups : tuple of GroupLayout
        All groups, in the order of u.
    roots : dict of str to numpy.ndarray
        By variable of effects: R, shape (draws, effects, effects).
    """

    def __init__(self, prepared: Prepared, quantities: Mapping[str, np.ndarray]):
        self._spec = prepared.spec
        self._width = prepared.numbers_per_draw // len(prepared.response.values)
        self.groups = tuple(g for predictor in self._spec.layout for g in predictor.groups)
        variables = [group.variable("r") for group in self.groups]
        self._effects = {name: np.asarray(quantities[name]) for name in variables}
        self.roots = {g.variable("r"): covariance_root(quantities, g) for g in self.groups}
        population = {k: v for k, v in quantities.items() if k not in self._effects}
        self.draws = len(next(iter(quantities.values())))
        self._population = jax.tree.map(jnp.asarray, population)
        self._roots = jax.tree.map(jnp.asarray, self.roots)

    def __call__(self, part: Component, method: Method, key: jax.Array) -> Integrals:
        """Return the integrals of a component.

        Parameters
        ----------
        part : Component
            Rows and their clusters.
        method : Method
            How to find them; quadrature in as many dimensions as `NODES` has.
        key : jax.Array
            For samples.
        """
        tables = {
            group.variable("r"): self._effects[group.variable("r")][:, part.known[group.name]]
            for group in self.groups
        }
        size = part.size(self.groups)
        points = NODES[size] ** size if method.kind == "quadrature" and size else method.samples
        # Derivatives by eta and by pairs of them, and the density at all points.
        numbers = part.design.rows * self._width * (points + 8) + part.design.rows * size + size**2
        log_p, noise, u = _integrals(
            (self._population, tables, self._roots, jax.random.split(key, self.draws)),
            part.design,
            self._spec.family,
            self._spec.layout,
            tuple((group, part.count[group.name]) for group in self.groups),
            method,
            min(at_once(SMALLER * numbers), self.draws),
        )
        return Integrals(np.asarray(log_p), np.asarray(noise), None if u is None else np.asarray(u))


@partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
def _integrals(
    draws: Any,
    design: Design,
    family: Family,
    layout: tuple[PredictorLayout, ...],
    shapes: tuple[tuple[GroupLayout, int], ...],
    method: Method,
    batch: int,
):
    size = sum(count * len(group.effects) for group, count in shapes)
    constant = -0.5 * size * math.log(2.0 * math.pi)

    def one(draw):
        population, tables, roots, key = draw
        quantities, base, Z = _linear(population, tables, roots, design, layout, shapes)

        def rows_at(linear):
            return log_likelihood_at(family, design, {**base, **linear}, quantities).sum()

        def log_joint(u):
            moved = {name: base[name] + _product(columns, u) for name, columns in Z.items()}
            return rows_at(moved) - 0.5 * u @ u + constant

        def expand(u):
            moved = {name: base[name] + _product(columns, u) for name, columns in Z.items()}
            height, slopes = jax.value_and_grad(rows_at)(moved)
            gradient, curvature = -u, jnp.eye(size)
            for name, columns in Z.items():
                gradient = gradient + columns.T @ slopes[name]
                # Row i depends on the elements i alone: one pass gives the derivatives of all rows.
                tangent = {other: jnp.full(design.rows, float(other == name)) for other in Z}
                second = jax.jvp(jax.grad(rows_at), (moved,), (tangent,))[1]
                for other, others in Z.items():
                    curvature = curvature - columns.T @ (second[other][:, None] * others)
            return height - 0.5 * u @ u + constant, gradient, curvature

        if size == 0:
            return rows_at({}), 0.0, None
        mode, root, log_det = find_mode(expand, size)
        if method.kind == "exact":
            u = mode + root @ jax.random.normal(key, (size,))
            return log_joint(mode) + log_det - constant, 0.0, u
        if method.kind == "quadrature":
            nodes, log_weights = _nodes(size)
            heights = jax.vmap(log_joint)(mode + nodes @ root.T)
            return logsumexp(_finite(heights + log_weights)) + log_det, 0.0, None
        normal = jax.random.normal(key, (method.samples, size))
        heavy = jax.random.fold_in(key, 1)
        heavy = jax.random.chisquare(heavy, DF, shape=(method.samples, 1)) / DF
        t = normal / jnp.sqrt(heavy)
        u = mode + t @ root.T
        log_weights = _finite(jax.vmap(log_joint)(u) - log_t(t) + log_det)
        picked = u[jax.random.categorical(jax.random.fold_in(key, 2), log_weights)]
        total = logsumexp(log_weights)
        noise = jnp.exp(logsumexp(2.0 * log_weights) - 2.0 * total) - 1.0 / method.samples
        return total - math.log(method.samples), noise, picked

    return jax.lax.map(one, draws, batch_size=batch)


def _linear(population, tables, roots, design: Design, layout, shapes):
    """The posterior's variables, the linear predictors without new effects, and Z by parameter."""
    quantities = dict(population)
    count_of = {group: count for group, count in shapes}
    for group, count in shapes:
        known = tables[group.variable("r")]
        absent = jnp.zeros((count, len(group.effects)))
        quantities[group.variable("r")] = jnp.concatenate([known, absent])
    blocks = []
    for names, predictor in zip(layout, design.predictors, strict=True):
        for group, rows in zip(names.groups, predictor.groups, strict=True):
            variable, count = group.variable("r"), count_of[group]
            own = rows.index[:, None] == tables[variable].shape[0] + np.arange(count)
            block = own[:, :, None] * (rows.columns @ roots[variable])[:, None, :]
            blocks.append((names.parameter, block.reshape(design.rows, -1)))
    Z = {
        name: jnp.concatenate([block * (owner == name) for owner, block in blocks], axis=1)
        for name, _ in blocks
    }
    return quantities, linear_predictors(layout, design, quantities), Z


def _product(Z: jax.Array, u: jax.Array) -> jax.Array:
    """Z u; column by column where they are few, which XLA fuses with what it is for."""
    if Z.shape[1] > max(NODES):
        return Z @ u
    return sum((Z[:, k] * u[k] for k in range(1, Z.shape[1])), Z[:, 0] * u[0])


def _finite(log_weights: jax.Array) -> jax.Array:
    return jnp.where(jnp.isfinite(log_weights), log_weights, -jnp.inf)


def find_mode(expand, size: int):
    """Return the mode of u, a root of the inverse curvature there, and the log of its determinant.

    Newton's method; a step that does not lead uphill is halved until it does.

    Parameters
    ----------
    expand : callable
        From u to the log density, its gradient, and its curvature (minus the Hessian).
    size : int
        The dimension of u.
    """

    def look(u):
        height, gradient, curvature = expand(u)
        values, vectors = _eigen(curvature)
        move = vectors @ ((vectors.T @ gradient) / values)
        decrement = gradient @ move
        cut = jnp.minimum(1.0, FARTHEST / (jnp.linalg.norm(move) + 1e-300))
        return u, height, move * cut, decrement

    def unfinished(state):
        step, length, last, (*_, decrement) = state
        # Where nothing is finite the decrement is NaN, and there is nowhere to go.
        return (step < STEPS) & (length > SHORTEST) & (last > ENOUGH) & (decrement > 0)

    def advance(state):
        step, length, last, here = state
        u, height, move, decrement = here
        there = look(u + length * move)
        better = (there[1] >= height) | (decrement < SURE) & jnp.isfinite(there[1])
        here = tuple(jnp.where(better, new, old) for new, old in zip(there, here, strict=True))
        length = jnp.where(better, 1.0, 0.5 * length)
        return step + 1, length, jnp.where(better, decrement, last), here

    state = (0, jnp.ones(()), jnp.full((), jnp.inf), look(jnp.zeros(size)))
    mode = jax.lax.while_loop(unfinished, advance, state)[3][0]
    values, vectors = _eigen(expand(mode)[2])
    return mode, vectors / jnp.sqrt(values), -0.5 * jnp.log(values).sum()


def _eigen(curvature: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues, none too small, and eigenvectors."""
    if curvature.shape == (1, 1):  # LAPACK is called matrix by matrix, which costs more than all
        values, vectors = curvature[0], jnp.ones((1, 1))
    else:
        values, vectors = jnp.linalg.eigh(curvature)
    return jnp.where(values > LEAST_CURVATURE, values, LEAST_CURVATURE), vectors


def _nodes(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (points, size), and log weights for an integrand that is not divided by the normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES[size])
    points = np.array(list(itertools.product(nodes, repeat=size)))
    log_weights = np.log(list(itertools.product(weights, repeat=size))).sum(axis=1)
    return points, log_weights + 0.5 * (points**2).sum(axis=1)


def log_t(t: jax.Array) -> jax.Array:
    """Return the log density of Student's t in several dimensions, shape (samples,)."""
    size = t.shape[1]
    constant = gammaln((DF + size) / 2) - gammaln(DF / 2) - size / 2 * math.log(DF * math.pi)
    return constant - (DF + size) / 2 * jnp.log1p((t**2).sum(axis=1) / DF)
