"""A y axis on the scale of a link, labelled on the scale of the parameter, with breaks at infinity.

On the scale of the link effects add up, and shrinkage is towards one number; numbers that readers
know are on the other side of the link. Values that the link sends to infinity (a mean count of 0, a
proportion of 1) sit beyond a break. To give a link ticks of its own, add a function to `_TICKS`.
"""

import math
from collections.abc import Callable, Mapping

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bayesmm.links import get_link

#: Beyond this a value on the link scale counts as infinite: 1 / 0 is a large number there.
INFINITE = 1e50
#: The least distance of ticks, and how far beyond all others infinity is, as parts of the height.
APART, ROOM = 0.085, 0.11

_CHANCES = (0.5, 0.1, 0.9, 0.01, 0.99, 0.001, 0.999, 0.2, 0.8, 0.3, 0.7, 0.05, 0.95, 0.4, 0.6)


def to_link(link: str, values: np.ndarray) -> np.ndarray:
    """Return values on the scale of a link, infinite where they are at its end."""
    with jax.enable_x64(True):
        found = np.array(get_link(link).forward(np.asarray(values, dtype=float)))
    found[np.abs(found) > INFINITE] = np.copysign(np.inf, found[np.abs(found) > INFINITE])
    return found


def from_link(link: str, values: np.ndarray) -> np.ndarray:
    """Return values of the parameter where its linear predictor has these."""
    with jax.enable_x64(True):
        return np.asarray(get_link(link).inverse(np.asarray(values, dtype=float)))


def ticks(link: str, low: float, high: float, most: float | None = None) -> dict[float, str]:
    """Return where an axis from `low` to `high` has ticks, and what is written there.

    Parameters
    ----------
    link : str
        The link.
    low, high : float
        Limits, on the scale of the link.
    most : float, optional
        The largest observed value, on the scale of the parameter: a logarithmic axis has it,
        rounded down to 1, 2 or 5 times a power of 10, or its upper end would be hard to read.
    """
    own = _TICKS.get(link)
    found = _placed(link, own(low, high, most), low, high) if own else {}
    if len(found) < 3:
        inside = np.linspace(low, high, 41)[1:-1]
        natural = from_link(link, inside)
        even = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(natural.min(), natural.max())
        # Beyond what the axis reaches there may be no such value at all, such as a negative count.
        values = [v for v in even if natural.min() <= v <= natural.max()]
        found = _placed(link, values, low, high)
    return dict(sorted(found.items()))


def _placed(link: str, values: list[float], low: float, high: float) -> dict[float, str]:
    """Where values are, and what they are called: those of them, in order, that are apart."""
    found: dict[float, str] = {}
    for at, value in zip(to_link(link, np.asarray(values)), values, strict=True):
        far = all(abs(at - other) >= APART * (high - low) for other in found)
        if low <= at <= high and far:
            found[float(at)] = f"{value:,.6g}"
    return found


def _log_ticks(low: float, high: float, most: float | None) -> list[float]:
    first, last = math.floor(low / math.log(10)), math.ceil(high / math.log(10))
    decades = [k for k in range(first, last + 1) if low <= k * math.log(10) <= high]
    if len(decades) < 3:
        return [digit * 10.0**k for k in range(first, last + 1) for digit in (1, 2, 5)]
    step = math.ceil(len(decades) / 6)
    found = [10.0**k for k in decades[::step]]
    if most is None or most <= 0:
        return found
    power = 10.0 ** math.floor(math.log10(most))
    return [*found, max(d for d in (1, 2, 5) if d * power <= most) * power]


def _unit_ticks(low: float, high: float, most: float | None) -> list[float]:
    del low, high, most  # the first of these that are on the axis, and far enough apart
    return list(_CHANCES)


_TICKS: Mapping[str, Callable[[float, float, float | None], list[float]]] = {
    "log": _log_ticks,
    **dict.fromkeys(("logit", "probit", "cloglog", "cauchit"), _unit_ticks),
}


def label_axis(
    axis: Axes,
    link: str,
    low: float,
    high: float,
    *,
    below: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> tuple[float, float]:
    """Set the limits of y, write ticks there, and break the axis before infinity.

    Parameters
    ----------
    axis : Axes
        The axis.
    link : str
        The link.
    low, high : float
        What has to be seen, on the scale of the link.
    below, above : float, optional
        The values of the parameter that sit below and above a break; None where there are none.
    most : float, optional
        See `ticks`.

    Returns
    -------
    tuple of float
        Where -infinity and infinity are.
    """
    room = ROOM * (high - low)
    ends = low - room, high + room
    found = {} if link == "identity" else ticks(link, low, high, most)
    bottom, top = low, high
    if below is not None:
        bottom = ends[0] - 0.6 * room
        found = {ends[0]: f"{below:g}", **found}
        _break(axis, low - 0.35 * room, 0.13 * room)
    if above is not None:
        top = ends[1] + 0.6 * room
        found[ends[1]] = f"{above:g}"
        _break(axis, high + 0.35 * room, 0.13 * room)
    axis.set_ylim(bottom, top)
    if found:
        axis.set_yticks(list(found), list(found.values()))
    return ends


def _break(axis: Axes, at: float, half: float) -> None:
    """Cut the axis: a gap in its line between two strokes, and a line of dots across."""
    axis.axhline(at, color="0.6", linewidth=0.8, linestyle=(0, (1, 3)), zorder=0.5)
    where = axis.get_yaxis_transform()
    # On top of the axis line, and beyond the frame.
    over = {"transform": where, "clip_on": False, "scalex": False, "scaley": False}
    axis.plot(
        [0, 0], [at - half, at + half], color=axis.get_facecolor(), linewidth=3, zorder=5, **over
    )
    for edge in (at - half, at + half):
        strokes = [edge - half / 2, edge + half / 2]
        axis.plot([-0.012, 0.012], strokes, color="0.15", linewidth=1, zorder=6, **over)
