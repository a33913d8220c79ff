"""How the plots of a group's levels look: colours, limits, labels and legends.

Marks mean the same in every plot of shrinkage, in colours that colour-blind readers tell apart:
small and dark is a level's own estimate, `PARTIAL` the partially pooled one, `COMPLETE` the
completely pooled one, grey the estimated distribution of the effects.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from bayesmm.plots.canvas import height

#: The colours of a level's own estimate, the partially and the completely pooled one, and of the
#: estimated distribution.
OWN, PARTIAL, COMPLETE, SPREAD = "black", "#CC3311", "#0072B2", "0.82"
#: Own estimates are shown up to this many widths of all else beyond it, but for these tails.
BEYOND, TAIL = 1.0, 0.01


def frame(core: np.ndarray, wide: np.ndarray) -> tuple[float, float]:
    """Return limits that hold all of `core`, and of `wide` what is not far away from it.

    Parameters
    ----------
    core : numpy.ndarray
        What has to be seen.
    wide : numpy.ndarray
        What may be left out, such as own estimates from two rows: it would squash all else. Of 100
        or more the outermost percents are. NaN where there is none.
    """
    low, high = float(np.min(core)), float(np.max(core))
    room = BEYOND * (high - low)
    kept = wide[np.isfinite(wide)]
    if kept.size:
        first = np.quantile(kept, TAIL, method="lower")
        last = np.quantile(kept, 1 - TAIL, method="higher")
        kept = kept[(kept >= max(low - room, first)) & (kept <= min(high + room, last))]
    low, high = min([low, *kept]), max([high, *kept])
    edge = 0.04 * (high - low) or 1.0
    return low - edge, high + edge


def label_rows(axis: Axes, labels: list[str] | None) -> None:
    """Write the levels beside their lines, or as many of them as are legible, evenly spread."""
    if labels is None:
        axis.set_yticks([])
        return
    room = max(1.0, 72 * height(axis) / (1.2 * _points("small")))
    # An even step: a few left out here and there would look like levels that are not there.
    step = math.ceil(len(labels) / room)
    kept = range(len(labels) - 1, -1, -step)[::-1]
    axis.set_yticks(list(kept), [labels[i] for i in kept], parse_math=False, fontsize="small")


def label_columns(axis: Axes, labels: list[str]) -> None:
    """Write the levels below their places 0, 1, ...: upright where they fit, else turned.

    Where even turned ones are not legible, at an even step. The limits of x have to be there.
    """
    low, high = axis.get_xlim()
    each = 72 * _width(axis) / (high - low)
    size = _points("small")
    turned = max(map(len, labels)) * 0.62 * size > each
    step = math.ceil(1.15 * size / each) if turned else 1
    kept = range(0, len(labels), step)
    how: dict[str, Any] = {"rotation": 90} if turned else {}
    axis.set_xticks(
        list(kept), [labels[i] for i in kept], parse_math=False, fontsize="small", **how
    )


def legend(
    figure: Figure, axis: Axes, entries: Sequence[tuple[Any, str]], *, own: bool, **how: Any
) -> None:
    """Say what the marks are: below a new figure, or within an axis of the caller.

    Parameters
    ----------
    figure, axis : Figure, Axes
        Where.
    entries : sequence of (handle, str)
        The marks and what they are.
    own : bool
        Whether the figure is new.
    **how
        For matplotlib's legend.
    """
    marks, texts = [mark for mark, _ in entries], [text for _, text in entries]
    if own:
        columns = max(1, int(15 * figure.get_figwidth() / (max(map(len, texts)) + 8)))
        columns = -(-len(texts) // -(-len(texts) // columns))  # rows of the same length
        place = {"loc": "outside lower center", "ncols": columns, "fontsize": "small"}
        made = figure.legend(marks, texts, frameon=False, **place, **how)
    else:
        made = axis.legend(marks, texts, fontsize="x-small", **how)
    for text in made.get_texts():
        text.set_parse_math(False)


def _points(size: str) -> float:
    return FontProperties(size=size).get_size_in_points()


def _width(axis: Axes) -> float:
    figure = axis.get_figure(root=True)
    return axis.get_window_extent().width / figure.dpi if figure is not None else 1.0
