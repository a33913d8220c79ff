"""What the plots share: where to draw, and how to write labels that come from the data.

A new figure does not belong to pyplot: pyplot would keep it alive until it is closed, and a
notebook would show it twice, once as the value of the cell and once as an open figure. So it is a
plain `matplotlib.figure.Figure` that a notebook shows by itself. Who wants a window gives pyplot's
axes.
"""

import io
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmm.errors import BayesmmError

#: Panels beside each other, at the most.
COLUMNS = 4
#: The longest label that is written out.
LABEL_LENGTH = 28


@final
class Picture(Figure):
    """A figure that a notebook shows, whether or not pyplot was ever imported."""

    def _repr_png_(self) -> bytes:
        target = io.BytesIO()
        self.savefig(target, format="png", bbox_inches="tight")
        return target.getvalue()


def panels(
    count: int, ax: Axes | Sequence[Axes] | np.ndarray | None, size: tuple[float, float]
) -> tuple[Figure, list[Axes]]:
    """Return a figure and as many of its axes, row by row: the caller's, or new ones.

    Parameters
    ----------
    count : int
        How many panels the plot has.
    ax : Axes, or sequence or array of Axes, or None
        What the caller gave.
    size : tuple of float
        Width and height of a new figure in inches.

    Raises
    ------
    BayesmmError
        If `ax` is something else, or has another number of axes, or `size` is no size.
    """
    if ax is None:
        check_size(size)
        figure = Picture(figsize=size, layout="constrained")
        columns = min(count, COLUMNS)
        grid = figure.subplots(-(-count // columns), columns, squeeze=False).ravel()
        for unused in grid[count:]:
            unused.remove()
        return figure, list(grid[:count])
    given: list[Any] = list(np.ravel(np.asarray(ax, dtype=object)))
    wrong = [item for item in given if not isinstance(item, Axes)]
    if wrong:
        raise BayesmmError(
            f"ax={wrong[0]!r} is not matplotlib Axes: give {count} of them, such as "
            f"plt.subplots(1, {count})[1]."
        )
    if len(given) != count:
        raise BayesmmError(
            f"ax has {len(given)} axes, and the plot has {count} panels: give {count}, such as "
            f"plt.subplots(1, {count})[1]."
        )
    figure = given[0].get_figure(root=True)
    if figure is None:
        raise BayesmmError("ax does not belong to a figure (it was removed): give axes of one.")
    return figure, given


def check_size(figsize: Any) -> None:
    """Refuse what is no size of a figure.

    Raises
    ------
    BayesmmError
        It says what is.
    """
    if figsize is None:
        return
    try:
        size = np.asarray(figsize, dtype=float)
    except (TypeError, ValueError):
        size = np.zeros(0)
    if size.shape != (2,) or not (np.isfinite(size) & (size > 0)).all():
        raise BayesmmError(
            f"figsize={figsize!r}: write width and height in inches, such as (6, 4)."
        )


def short(label: object) -> str:
    """Return a label on one line, cut in its middle where it is long.

    The middle goes because the ends tell labels apart: those of ``a:b`` begin alike, names of
    places end alike.
    """
    text = " ".join(str(label).split())
    if len(text) <= LABEL_LENGTH:
        return text
    head = LABEL_LENGTH // 2
    return f"{text[:head]}…{text[head + 1 - LABEL_LENGTH :]}"


def height(axes: Axes) -> float:
    """Return the height of axes in inches, as far as it is known before the figure is drawn."""
    figure = axes.get_figure(root=True)
    return axes.get_window_extent().height / figure.dpi if figure is not None else 1.0
