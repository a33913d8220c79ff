"""What is written on the plots of predictions, comparisons and slopes: labels, titles, legends.

All of it comes from the data, so none of it is read as mathematics. The colours that legends
explain are here too: those of Okabe and Ito, which colour-blind readers tell apart, less yellow,
which is hard to see on white. Line styles and markers say the same without colour.
"""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayesmm.plots.canvas import height, short
from bayesmm.plots.effect_facets import Facet
from bayesmm.plots.effects import Panel, Request

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Their numbers have no divisor in common with that of colours, so that pairs do not come again.
LINES = ("-", "--", "-.", (0, (1, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P")
#: Opacity of bands: of what the line is the median of, and of a new cluster behind it.
BAND, BEHIND = 0.28, 0.13
#: What the clusters of a question are called.
CLUSTERS = {
    "given": "given clusters",
    "typical": "typical cluster",
    "average": "average over clusters",
    "new": "new cluster",
}
#: Inches for a letter.
LETTER = 0.078
#: Colours that a legend has in one column, on axes of the caller.
COLUMN = 6


def style(i: int, *, line: bool) -> dict[str, Any]:
    """Return how the medians of the i-th colour are drawn: as a line, or as points."""
    shade = COLOURS[i % len(COLOURS)]
    if line:
        return {"color": shade, "linestyle": LINES[i % len(LINES)], "linewidth": 1.6}
    # White inside, or they would look like data.
    marker = {"marker": MARKERS[i % len(MARKERS)], "markersize": 5.5, "markerfacecolor": "white"}
    return {"color": shade, "linestyle": "none", "markeredgewidth": 1.4, **marker}


def label(axis: Axes, x: Facet, quantity: str, panel: Panel, *, first: bool, last: bool) -> None:
    """Write beside a panel what is on its axes, and above it what it shows.

    Parameters
    ----------
    axis : Axes
        The panel.
    x : Facet
        What is on x.
    quantity : str
        What is on y.
    panel : Panel
        What it shows.
    first, last : bool
        Whether it is the leftmost of its row, and the lowest of its column.
    """
    width = axis.get_window_extent().width / _dpi(axis)
    lines = [facet.named(value) for facet, value in panel]
    axis.set_title(
        "\n".join(_wrapped(line, int(width / LETTER)) for line in lines),
        parse_math=False,
        fontsize="medium",
    )
    if x.few and x.spaced:
        _label_numbers(axis, x, width)
    elif not x.spaced:
        _label_levels(axis, x.labels, width)
    axis.tick_params(labelbottom=last)
    if last:
        axis.set_xlabel(short(x.title), parse_math=False)
    if first:
        axis.set_ylabel(_wrapped(quantity, int(height(axis) / LETTER)), parse_math=False)


def _wrapped(text: str, letters: int) -> str:
    """Break a text where it is too long, but not between a name and its value."""
    lines = textwrap.wrap(text.replace(" = ", "\0=\0"), max(20, letters))
    return "\n".join(lines).replace("\0", " ")


def _dpi(axis: Axes) -> float:
    figure = axis.get_figure(root=True)
    return figure.dpi if figure is not None else 72.0


def _label_levels(axis: Axes, labels: list[str], width: float) -> None:
    """Write the levels below a panel: upright where they fit, else turned, and evenly thinned."""
    count = len(labels)
    axis.set_xlim(-0.6, count - 0.4)
    size = FontProperties(size="small").get_size_in_points()
    turned = sum(len(text) + 2 for text in labels) * 0.55 * size > 72 * width
    step = math.ceil(count * 1.15 * size / (72 * width)) if turned else 1
    kept = np.arange(0, count, step)
    how: dict[str, Any] = {"fontsize": "small", "parse_math": False}
    if turned:
        few = count * 4.0 * size < 72 * width
        how |= {"rotation": 30 if few else 90, "ha": "right" if few else "center"}
        how |= {"rotation_mode": "anchor"} if few else {}
    axis.set_xticks(kept, [labels[i] for i in kept], **how)


def _label_numbers(axis: Axes, x: Facet, width: float) -> None:
    """Write few numbers below a panel, where they are far enough apart."""
    axis.margins(x=0.12)
    numbers, labels = np.asarray(x.values, dtype=float), x.labels
    apart = np.diff(numbers).min() / (1.24 * np.ptp(numbers)) * width
    if apart > LETTER * (1 + max(map(len, labels))):
        axis.set_xticks(numbers, labels, parse_math=False)


def subtitle(request: Request) -> str:
    """Return what the marks are, in a line above the figure."""
    asked = request.asked
    text = f"Posterior median and {100 * asked.conf_level:g}% interval"
    if request.by:
        text += ", averaged over the data"
    if request.behind or not asked.clusters:
        return text
    return f"{text}, {_whose(asked.clusters)}"


def _whose(clusters: Mapping[str, str]) -> str:
    """Return what the clusters are called, by group where they differ."""
    words = set(clusters.values())
    if len(words) == 1:
        return CLUSTERS[words.pop()]
    return ", ".join(f"{short(name)}: {own}" for name, own in clusters.items())


def legends(figure: Figure, last: Axes, request: Request, *, own: bool) -> None:
    """Say what the colours are, and which band is of a new cluster.

    Parameters
    ----------
    figure : Figure
        The figure.
    last : Axes
        The last panel, where the legend goes on axes of the caller.
    request : Request
        What was drawn.
    own : bool
        Whether the figure is new: then legends stand outside of its panels.
    """
    line, colour = request.x.line, request.colour
    marks, bands = [], []
    if colour is not None:
        for i, text in enumerate(colour.labels):
            marks.append((Line2D([], [], **style(i, line=line)), text))
    if request.behind:
        shade = COLOURS[0] if colour is None else "0.3"
        own_style = {**style(0, line=line), "color": shade}
        bar = Patch(color=shade, alpha=BAND, linewidth=0) if line else _bar(shade)
        light = Patch(color=shade, alpha=BEHIND if line else 2 * BEHIND, linewidth=0)
        bands = [
            ((bar, Line2D([], [], **own_style)), _whose(request.asked.clusters)),
            (light, _whose(request.behind)),
        ]
    title = None if colour is None else short(colour.title)
    if not own:
        if entries := [*marks, *bands]:
            columns = 1 if len(entries) <= COLUMN else 2
            made = last.legend(*_apart(entries), title=title, fontsize="x-small", ncols=columns)
            _plain(made, frame=True)
        return
    if marks:
        where = "outside right upper"
        _plain(figure.legend(*_apart(marks), title=title, loc=where, fontsize="small"))
    if bands:
        where = "outside lower center"
        _plain(figure.legend(*_apart(bands), loc=where, fontsize="small", ncols=2))


def _bar(shade: str) -> Line2D:
    return Line2D([], [], color=shade, linewidth=1.4)


def _apart(entries: list[tuple[Any, str]]) -> tuple[list[Any], list[str]]:
    return [mark for mark, _ in entries], [text for _, text in entries]


def _plain(legend: Legend, *, frame: bool = False) -> None:
    legend.set_frame_on(frame)
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)
    legend.get_title().set_fontsize("small")
    legend.get_title().set_color(rcParams["text.color"])
