"""The density at a point, from draws: local likelihood, as a Bayes factor at a point needs it.

A grid as wide as the draws, which `arviz_stats.bayes_factor` lays, is too coarse under a heavy
tail, and a kernel of fixed width is biased in tails and where the density is not level at a bound.
Another estimator takes the place of `density_at_zero`, and has to say the same of its own limits:
how many draws it rests on, and whether there is a density to estimate.
"""

import numpy as np
from scipy import optimize

#: With fewer draws around the point, the density there is an extrapolation.
FEW = 20
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)


def density_at_zero(draws: np.ndarray) -> tuple[float, int, bool]:
    """Return the density of some draws at 0, by local likelihood (Loader 1996).

    The log density around 0 is taken to be quadratic, which is exact for a normal of any width, and
    fitted with Gaussian weights of sd h = s n**(-1/7), s the smaller of sd and IQR / 1.349; less
    where a quarter of h gives another density, and as much as it takes to have some draws. The
    density is taken to end where the draws do: at 0, if that is beyond them.

    Parameters
    ----------
    draws : numpy.ndarray
        Shape (n,), finite, not all equal.

    Returns
    -------
    density : float
        Its value.
    near : int
        How many draws are within h.
    smooth : bool
        Whether a quarter of h gives the same, as far as can be told: not at a singularity.

    References
    ----------
    .. [1] C. R. Loader (1996). Local likelihood density estimation. Annals of Statistics 24.
    """
    quarter = np.subtract(*np.quantile(draws, [0.75, 0.25])) / 1.349
    sd = float(np.std(draws))
    h = (min(sd, quarter) if quarter > 0 else sd) * len(draws) ** (-1 / 7)
    distance = np.abs(draws)
    near = int(np.sum(distance <= h))
    if near < FEW:  # an extrapolation, in which a bound would be of no use
        least = min(FEW, len(draws)) - 1
        far = float(np.partition(distance, least)[least])
        return _local_density(draws, max(h, far), -np.inf, np.inf), near, True
    low, high = min(0.0, float(draws.min())), max(0.0, float(draws.max()))
    density = _local_density(draws, h, low, high)
    smooth = True
    while (nearer := int(np.sum(distance <= h / 4))) >= 10 * FEW:
        narrow = _local_density(draws, h / 4, low, high)
        # The Monte Carlo error of the logarithm is about 1 / sqrt(nearer), thrice that at a bound.
        smooth = bool(
            abs(np.log(narrow / density)) < 0.05 + (9 if 0 in (low, high) else 3) / np.sqrt(nearer)
        )
        if smooth:
            break
        h, density, near = h / 4, narrow, nearer
    return density, near, smooth


def _local_density(draws: np.ndarray, h: float, low: float, high: float) -> float:
    """The density at 0 of a normal curve on [low, high], fitted to draws around 0.

    Curve times kernel, exp(b1 t + b2 t**2) K(u), has the weighted draws' mean and variance; t is u
    less its mean over its sd. Without bounds it is a normal density, and there is nothing to solve.
    """
    u = draws / h
    kernel = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    mass, weights = kernel.mean() / h, kernel / kernel.sum()
    mean = weights @ u
    sd = float(np.sqrt(weights @ (u - mean) ** 2))
    start, stop = max(low / h, mean - 12 * sd), min(high / h, mean + 12 * sd)
    if low / h < start and stop < high / h:
        return float(mass / sd * np.exp(-((mean / sd) ** 2) / 2))
    x = start + (stop - start) * (_NODES + 1) / 2
    log_kernel = np.log(_WEIGHTS * (stop - start) / 2) - x**2 / 2 - np.log(2 * np.pi) / 2
    t = (x - mean) / sd
    powers = np.stack([t, t**2])

    def curve(b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        log_curve = log_kernel + b @ powers
        total = np.log(np.sum(np.exp(log_curve - log_curve.max()))) + log_curve.max()
        share = np.exp(log_curve - total)
        moments = powers @ share
        return total, moments, (powers * share) @ powers.T - np.outer(moments, moments)

    wanted = np.array([0.0, 1.0])
    best = optimize.minimize(
        lambda b: curve(b)[0] - b @ wanted,
        np.zeros(2),
        jac=lambda b: curve(b)[1] - wanted,
        hess=lambda b: curve(b)[2],
        method="trust-exact",
    ).x
    at_zero = -mean / sd
    return float(mass * np.exp(best @ [at_zero, at_zero**2] - curve(best)[0]))
