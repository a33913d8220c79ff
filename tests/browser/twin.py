"""The mathematics of the shrinkage page once more, from rows and with dense matrices.

The page works with a quadratic for each level that Python sums for it, in forms that need no
inverse. This does the same from the rows themselves, as textbooks write it (Laird and Ware, 1982):
with V = Z t Sigma Z' + R for the rows of a level,

    beta = (sum Z'V^-1 Z)^-1 sum Z'V^-1 y,    theta = beta + t Sigma Z'V^-1 (y - Z beta),

so that the two share no formula. No pooling is the limit of t to infinity, by extrapolation.
"""

from dataclasses import dataclass, field

import numpy as np

#: The factor on Sigma from which the limit of no pooling is extrapolated; the rest is O(t^-3).
LARGE = 300.0


@dataclass(frozen=True)
class Rows:
    """What a page pools.

    Attributes
    ----------
    y : numpy.ndarray
        (Working) responses less everything but the effects, shape (rows,).
    z : numpy.ndarray
        Columns of the effects, shape (rows, effects).
    level : numpy.ndarray
        The level of each row, shape (rows,).
    w : numpy.ndarray
        The precision of each row, in units of 1 / sigma^2, shape (rows,).
    """

    y: np.ndarray
    z: np.ndarray
    level: np.ndarray
    w: np.ndarray

    @property
    def levels(self) -> int:
        return int(self.level.max()) + 1


@dataclass(frozen=True)
class Setting:
    """What a reader sets, as in the state of the page; `n` are rows of single levels."""

    sd: tuple[float, ...]
    sigma: float = 1.0
    cor: float = 0.0
    pool: float = 0.5
    multiplier: float = 1.0
    n: dict[int, float] = field(default_factory=dict)
    shift: dict[int, tuple[float, ...]] = field(default_factory=dict)
    outlier: dict[int, float] = field(default_factory=dict)
    out: frozenset[int] = frozenset()

    @property
    def Sigma(self) -> np.ndarray:
        cor = np.full((len(self.sd), len(self.sd)), self.cor)
        np.fill_diagonal(cor, 1.0)
        return np.outer(self.sd, self.sd) * cor

    @property
    def factor(self) -> float:
        """The factor on Sigma: infinite without pooling, 0 for complete pooling."""
        return np.inf if self.pool == 0 else ((1 - self.pool) / self.pool) ** 2


def pooled(rows: Rows, setting: Setting) -> dict[str, np.ndarray]:
    """Pool. Returns beta, and theta, sd, omega, unpooled and unpooledSd with the effect first."""
    changed, precision = _changed(rows, setting)
    t = setting.factor
    if np.isfinite(t):
        found = _solve(changed, precision, t * setting.Sigma)
    else:
        near, middle, far = (
            _solve(changed, precision, t * setting.Sigma) for t in (LARGE, 2 * LARGE, 4 * LARGE)
        )
        # Richardson: f(t) = f + a/t + b/t^2 + O(t^-3). What grows with t has no limit.
        found = {name: (8 * far[name] - 6 * middle[name] + near[name]) / 3 for name in near}
        found["sd"][far["sd"] > 1.2 * near["sd"]] = np.inf
    found["unpooled"], found["unpooledSd"] = _alone(changed, precision)
    return found


def outlier_column(rows: Rows, level: int) -> np.ndarray:
    """The columns of the row that the page adds: the mean row, or that with the last column's most.

    With one effect the mean, with two the row with the largest last column.
    """
    own = rows.z[rows.level == level]
    return own.mean(axis=0) if own.shape[1] == 1 else own[own[:, -1].argmax()]


def _changed(rows: Rows, setting: Setting) -> tuple[Rows, np.ndarray]:
    counts = np.bincount(rows.level)
    share = np.full(rows.levels, setting.multiplier)
    y = rows.y.copy()
    for j, n in setting.n.items():
        share[j] = n / counts[j]
    for j, shift in setting.shift.items():
        y[rows.level == j] += rows.z[rows.level == j] @ np.asarray(shift)
    w, z, level = rows.w * share[rows.level], rows.z, rows.level
    for j, value in setting.outlier.items():
        y, level = np.append(y, value), np.append(level, j)
        z = np.vstack([z, outlier_column(rows, j)])
        w = np.append(w, rows.w[rows.level == j].mean())
    w = np.where(np.isin(level, list(setting.out)), 0.0, w)
    return Rows(y, z, level, w), w / setting.sigma**2


def _solve(rows: Rows, precision: np.ndarray, S: np.ndarray) -> dict[str, np.ndarray]:
    K = rows.z.shape[1]
    lifted, right = [], []
    for j in range(rows.levels):
        here = (rows.level == j) & (precision > 0)
        Z = rows.z[here]
        V = Z @ S @ Z.T + np.diag(1 / precision[here])
        lifted.append(Z.T @ np.linalg.solve(V, Z))
        right.append(Z.T @ np.linalg.solve(V, rows.y[here]))
    spread = np.linalg.inv(np.sum(lifted, axis=0))
    beta = spread @ np.sum(right, axis=0)
    theta, sd, omega = (np.zeros((K, rows.levels)) for _ in range(3))
    for j in range(rows.levels):
        theta[:, j] = beta + S @ (right[j] - lifted[j] @ beta)
        keep = np.eye(K) - S @ lifted[j]
        left = S - S @ lifted[j] @ S
        sd[:, j] = np.sqrt(np.diag(left + keep @ spread @ keep.T))
        # Data leave all of a variance that is none.
        prior = np.diag(S)
        omega[:, j] = np.divide(np.diag(left), prior, out=np.ones(K), where=prior > 0)
    return {"beta": beta, "theta": theta, "sd": sd, "omega": omega}


def _alone(rows: Rows, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares of each level by itself, NaN where that has no solution."""
    K = rows.z.shape[1]
    estimate, sd = np.full((2, K, rows.levels), np.nan)
    for j in range(rows.levels):
        here = (rows.level == j) & (precision > 0)
        root = np.sqrt(precision[here])
        X = rows.z[here] * root[:, None]
        if np.linalg.matrix_rank(X) == K:
            estimate[:, j] = np.linalg.lstsq(X, rows.y[here] * root)[0]
            sd[:, j] = np.sqrt(np.diag(np.linalg.inv(X.T @ X)))
    return estimate, sd
