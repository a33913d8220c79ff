"""What each level says by itself: the limit of its effects as their covariance goes to infinity.

All else is held at its posterior mean: the population-level coefficients, the effects of other
groups, the other parameters. Then the effects of a level are those that maximise the likelihood of
its own rows, with the standard errors of the observed information. Where the block has every
coefficient of its predictor, these are the estimates of separate fits, as far as they do not
depend on parameters that all levels share, such as a shape; standard errors take those as known. Of
several maxima (Student's t) it is the one to which the pooled estimate leads.

Some estimates do not exist. Where the columns of the effects do not vary enough within a level
(two effects and one row), no estimate is better than others; of an effect whose column is 0 in all
rows of the level (a treatment that it did not get) that is so, and not of its other effects. Where
the likelihood grows without end (a group of zeros, on the log scale), it is at infinity. A prior
for the effects, which is what pooling is, gives an answer to both.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.design import Design, group_design
from bayesmm.engines import use_compilation_cache
from bayesmm.families import Family
from bayesmm.layout import GroupLayout
from bayesmm.model import aggregate, linear_predictors
from bayesmm.model.curvature import RowLikelihood, positive_information
from bayesmm.prepare import Prepared

#: Newton steps at most, and how far one goes: in units of 1 / sqrt(information of a row), which is
#: the residual sd of a Gaussian model, and about 1 for small counts on the log scale.
STEPS, FARTHEST = 200, 10.0
#: Halvings of a step that leads downhill.
HALVINGS = 30
#: The maximum is found where Newton's next step moves no linear predictor by more than this, in the
#: same units. On the way to infinity every step is about as long as the last.
ENOUGH = 1e-7
#: Columns are taken to depend on each other where the least eigenvalue of their correlations is
#: below this, and an estimate to be infinite where the information in some direction has fallen to
#: this part of what it was: each Newton step towards infinity takes a factor of about e.
DEPENDENT, LOST = 1e-9, 1e-13
NOT_IDENTIFIED, INFINITE, NOT_FOUND = "not identified", "infinite", "not found"


class Unpooled(NamedTuple):
    """The estimates without pooling.

    Attributes
    ----------
    b, se : numpy.ndarray
        Shape (levels, effects): deviations from the population and their standard errors, NaN where
        they do not exist.
    flag : numpy.ndarray
        Shape (levels, effects): why not, or an empty text.
    """

    b: np.ndarray
    se: np.ndarray
    flag: np.ndarray


def unpooled_effects(
    prepared: Prepared, means: Mapping[str, np.ndarray], group: GroupLayout
) -> Unpooled:
    """Return the estimates of a group's effects without pooling, for one parameter.

    Parameters
    ----------
    prepared : Prepared
        The model.
    means : mapping of str to numpy.ndarray
        The posterior means of its variables.
    group : GroupLayout
        Group and parameter.
    """
    spec = prepared.spec
    use_compilation_cache()
    with jax.enable_x64(True):
        design = aggregate(prepared.design, spec.family)
        rows = group_design(spec.layout, design, group)
        look = partial(
            _look, design=design, family=spec.family, layout=spec.layout, means=dict(means)
        )
        weights = np.ones(design.rows) if design.weights is None else np.asarray(design.weights)
        search = _Search(
            np.asarray(rows.columns),
            np.asarray(rows.index),
            rows.levels,
            weights > 0,
            lambda added: map(np.asarray, look(jnp.asarray(added), parameter=group.parameter)),
        )
        start = np.asarray(means[group.variable("r")])
        return search.run(start)


@partial(jax.jit, static_argnames=("family", "layout", "parameter"))
def _look(
    added: jax.Array,
    *,
    design: Design,
    family: Family,
    layout: Any,
    means: Mapping[str, jax.Array],
    parameter: str,
):
    """Log-likelihood and derivatives of rows whose linear predictor is so far off the mean."""
    linear = linear_predictors(layout, design, means)
    rows = RowLikelihood(family, design, (parameter,), linear, means)
    eta = (linear[parameter] + added)[None]
    score, observed = rows.observed(eta)
    W = positive_information(observed, score, design.weights)
    return rows(eta), score[0], W[0, 0], observed[0, 0]


class _Search:
    """Newton's method for all levels at once, each going its own way.

    Parameters
    ----------
    columns : numpy.ndarray
        Shape (rows, effects).
    index : numpy.ndarray
        Shape (rows,): the level of each row.
    levels : int
        How many there are.
    counted : numpy.ndarray
        Shape (rows,): whether a row has a weight.
    look : callable
        From what is added to the linear predictors, shape (rows,), to log-likelihood, score,
        information for steps, and observed information of each row.
    """

    def __init__(
        self,
        columns: np.ndarray,
        index: np.ndarray,
        levels: int,
        counted: np.ndarray,
        look: Callable[[np.ndarray], Any],
    ):
        self._Z, self._index, self._levels, self._look = columns, index, levels, look
        self._identified = self._told_apart(counted)
        #: Of the linear predictor, by level: known once its rows were looked at.
        self._unit: Any = None

    def run(self, start: np.ndarray) -> Unpooled:
        """Search from some effects, shape (levels, effects), where the likelihood is finite."""
        b = start.copy()
        height, slope, G, observed = self._at(b - start)
        scale = np.sqrt(np.maximum(np.einsum("jkk->jk", G), 1e-300))
        searching, found = self._identified.copy(), np.zeros(self._levels, dtype=bool)
        infinite, initial = np.zeros(self._levels, dtype=bool), None
        for _ in range(STEPS):
            # In units in which the information at the start has a diagonal of 1.
            values, vectors = np.linalg.eigh(G / scale[:, :, None] / scale[:, None, :])
            initial = values[:, 0] if initial is None else initial
            infinite |= searching & (values[:, 0] < LOST * initial)
            along = np.einsum("jka,jk->ja", vectors, slope / scale)
            along = along / np.maximum(values, 1e-300)
            move = np.einsum("jka,ja->jk", vectors, along) / scale
            farthest = self._farthest(move) / self._unit
            last = searching & ~infinite & (farthest <= ENOUGH)
            b, found = np.where(last[:, None], b + move, b), found | last
            searching &= ~found & ~infinite & np.isfinite(farthest)
            if not searching.any():
                break
            length = np.where(
                searching, np.minimum(1.0, FARTHEST / np.maximum(farthest, 1e-300)), 0
            )
            move = np.where(searching[:, None], move, 0.0) * length[:, None]
            b, (height, slope, G, observed) = self._uphill(b, start, move, height)
        why = np.where(found, "", NOT_FOUND).astype(object)
        why[infinite], why[~self._identified] = INFINITE, NOT_IDENTIFIED
        flag = np.where(self._present, why[:, None], NOT_IDENTIFIED)
        se = np.full_like(b, np.nan)
        there = found & (np.linalg.eigvalsh(observed)[:, 0] > 0)
        se[there] = np.sqrt(np.einsum("jkk->jk", np.linalg.inv(observed[there])))
        return Unpooled(np.where(flag == "", b, np.nan), np.where(flag == "", se, np.nan), flag)

    def _uphill(self, b: np.ndarray, start: np.ndarray, move: np.ndarray, height: np.ndarray):
        """Go along, by half as much in levels where that led downhill, until none is lower."""
        length = np.ones(self._levels)
        least = height - 1e-12 * (1.0 + np.abs(height))
        for _ in range(HALVINGS):
            there = b + length[:, None] * move
            found = self._at(there - start)
            down = ~(found[0] >= least)  # NaN is down as well
            if not down.any():
                break
            length = np.where(down, 0.5 * length, length)
        return there, found

    def _at(self, added: np.ndarray) -> tuple[np.ndarray, ...]:
        """Log-likelihood, slope and both informations of the levels, that much beyond the start."""
        eta = (self._Z * added[self._index]).sum(axis=1)
        log_p, score, W, observed = self._look(eta)
        if self._unit is None:
            rows = np.maximum(self._sum(np.ones_like(W)), 1.0)
            self._unit = 1.0 / np.sqrt(np.maximum(self._sum(W) / rows, 1e-300))
        slope = np.stack([self._sum(z * score) for z in self._Z.T], axis=1)
        # An effect that is not there stays where it is.
        absent = np.eye(slope.shape[1]) * ~self._present[:, :, None]
        both = self._products(W) + absent, self._products(observed) + absent
        return self._sum(log_p), slope, *both

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self._index, values, self._levels)

    def _products(self, W: np.ndarray) -> np.ndarray:
        """Z_j' W Z_j, shape (levels, effects, effects)."""
        Z = self._Z.T
        return np.stack([[self._sum(W * a * b) for b in Z] for a in Z]).transpose(2, 0, 1)

    def _farthest(self, move: np.ndarray) -> np.ndarray:
        """How far a step moves the linear predictors of each level at most."""
        farthest = np.zeros(self._levels)
        np.maximum.at(farthest, self._index, np.abs((self._Z * move[self._index]).sum(axis=1)))
        return farthest

    def _told_apart(self, counted: np.ndarray) -> np.ndarray:
        """Whether the rows of a level tell its effects apart."""
        products = self._products(counted.astype(float))
        norm = np.sqrt(np.einsum("jkk->jk", products))
        self._present = norm > 0
        norm = np.where(self._present, norm, 1.0)
        products = products + np.eye(norm.shape[1]) * ~self._present[:, :, None]
        values = np.linalg.eigvalsh(products / norm[:, :, None] / norm[:, None, :])
        return self._present.any(axis=1) & (values[:, 0] > DEPENDENT)
