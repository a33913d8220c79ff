"""The ranks of a simulation-based calibration, against the band in which uniform ranks stay."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmm.errors import BayesmmError
from bayesmm.plots.canvas import COLUMNS, panels, short
from bayesmm.results.ranks import Calibration

#: The colours of the band and of ranks within it, and of ranks that leave it.
COLOUR, OUTSIDE = "C0", "C3"


def plot_sbc(
    calibration: Calibration,
    *,
    prob: float = 0.95,
    ax: Axes | np.ndarray | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw how far ranks are from uniform: a panel for each variable, a line for each element.

    A line is the distribution function of an element's ranks less that of the uniform distribution.
    Above 0 on the left, below on the right: the posterior is too narrow; the other way round, too
    wide. Above 0 throughout: the posterior is too high; below: too low.

    Parameters
    ----------
    calibration : Calibration
        What `bm.sbc` returned.
    prob : float
        The probability with which the line of an element with uniform ranks stays within the band
        everywhere. Of many lines some may leave it: `Calibration.p_value` is for all of them.
    ax : Axes, or array of Axes, optional
        Where to draw, one for each variable; a new figure if left out.
    figsize : tuple of float, optional
        Width and height of a new figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The figure that was drawn on; a new one is not pyplot's, see `plot_caterpillar`.

    Raises
    ------
    BayesmmError
        For something else than a calibration, another number of axes than of variables, or a `prob`
        that is no probability.

    Examples
    --------
    >>> import bayesmm as bm
    >>> import numpyro.distributions as dist
    >>> data = bm.datasets.load("dyestuff")
    >>> priors = {"Intercept": dist.Normal(1500, 50), "sd": bm.HalfStudentT(10, 50)}
    >>> model = bm.Model("Yield ~ 1 + (1 | Batch)", data, priors=priors)
    >>> figure = bm.plot_sbc(bm.sbc(model, n=20, draws=100, seed=1))
    >>> [axis.get_title() for axis in figure.axes]
    ['b', 'Intercept', 'sd_Batch', 'r_Batch', 'sigma', 'log_likelihood']
    """
    if not isinstance(calibration, Calibration):
        raise BayesmmError(
            f"calibration is a {type(calibration).__name__}: give what bm.sbc() returned."
        )
    at, lower, upper = calibration.band(prob)
    lines: dict[str, list[tuple[str, np.ndarray]]] = {}
    for variable, label, reached in calibration.distribution_functions():
        lines.setdefault(variable, []).append((label, reached - at))
    columns = min(len(lines), COLUMNS)
    size = figsize or (2.6 * columns + 0.4, 2.1 * -(-len(lines) // columns) + 0.4)
    figure, axes = panels(len(lines), ax, size)
    for axis, (variable, elements) in zip(axes, lines.items(), strict=True):
        axis.fill_between(
            at, lower - at, upper - at, color=COLOUR, alpha=0.2, linewidth=0, step="mid"
        )
        axis.axhline(0, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
        for label, line in elements:
            outside = bool(((line < lower - at) | (line > upper - at)).any())
            axis.plot(
                at,
                line,
                color=OUTSIDE if outside else COLOUR,
                linewidth=1.2 if len(elements) < 5 else 0.7,
                zorder=3 if outside else 2,
                label=short(label) if outside else None,
            )
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="x-small", frameon=False, loc="upper right")
        axis.set_title(variable, parse_math=False)
        axis.set_xlabel("rank / draws")
    axes[0].set_ylabel("ECDF - uniform")
    return figure
