"""Figure of accuracy against throughput: as published in Table 1, and as measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from resmlp.analysis.style import BLUE, BOTH, FAINT, GREEN, INK, ORANGE, SMALL, new_figure, shorten
from resmlp.analysis.text_labels import Mark, label_marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = {"feedforward": (BLUE, "o"), "transformer": (ORANGE, "s"), "convolutional": (GREEN, "^"), "other": (INK, "D")}
"""color and mark of a family"""
TICK = 0.1  # height of the tick of a network without accuracy, as a share of the panel
MOST = 4  # names in the list of networks without a label
MARK = 7.0  # width of a mark in points


class Point(NamedTuple):
    """A network in the figure."""

    name: str
    family: str
    """a key of `STYLES`"""
    images_per_s: float
    top1: float | None
    """a fraction, on ImageNet-1k; None if it is not published"""
    quartiles: tuple[float, float] | None = None
    """of images per second"""


def tradeoff(published: Sequence[Point], measured: Sequence[Point], machine: str, path: Path) -> None:
    """Draw both panels to `path` (PNG and SVG), each with its own throughput axis."""
    heights = (4.4, 3.4 if any(point.top1 is not None for point in measured) else 1.2)
    with new_figure(path, sum(heights) + 0.6, BOTH) as figure:
        above, below = figure.subplots(2, height_ratios=heights)
        _panel(above, published, "As published: one V100, batch 32, fp32")
        _panel(below, measured, f"As measured: {shorten(machine, 42)}")
        below.set_xlabel("images per second")
        _add_legend(above, published)
        figure.draw_without_rendering()  # the layout needs a first pass
        panels = ((above, published), (below, measured))
        unlabeled = [name for axes, points in panels for name in _label(axes, points)]
        if unlabeled:
            note = f"no room for the labels of {', '.join(shorten(name, 30) for name in unlabeled[:MOST])}"
            more = f" and {len(unlabeled) - MOST} more" if len(unlabeled) > MOST else ""
            figure.supxlabel(note + more, color=FAINT, size=SMALL, x=0.01, ha="left")


def _panel(axes: "Axes", points: Sequence[Point], title: str) -> None:
    """Draw marks by family, with the quartiles as bars; a network of unknown accuracy is a tick on the x axis."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_title(title)
    axes.set(xscale="log", ylabel="top-1 on ImageNet, published")
    for point in points:
        color, mark = STYLES[point.family]
        if point.top1 is None:
            axes.axvline(point.images_per_s, 0, TICK, color=color)
        else:
            axes.plot(point.images_per_s, point.top1, mark, color=color, markersize=MARK)
            axes.hlines(point.top1, *(point.quartiles or (point.images_per_s,) * 2), color=color)
    heights = [point.top1 for point in points if point.top1 is not None]
    speeds = [point.images_per_s for point in points]
    axes.set_xlim(min(speeds) / 2, max(speeds) * 2)
    if heights:
        axes.set_ylim(min(heights) - 0.015, max(heights) + 0.015)
    else:
        axes.set(ylabel="", yticks=[])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_locator(NullLocator())


def _add_legend(axes: "Axes", points: Sequence[Point]) -> None:
    """Add a legend of the families."""
    for family, (color, mark) in STYLES.items():
        if any(point.family == family for point in points):
            axes.plot([], [], mark, color=color, markersize=MARK, label=family)
    axes.legend(frameon=False, fontsize=SMALL, labelcolor="linecolor", loc="lower left", handletextpad=0.2)


def _label(axes: "Axes", points: Sequence[Point]) -> list[str]:
    """Label each mark without overlap, and return the names without a free place."""
    from matplotlib.transforms import Bbox

    bars = []
    for point in points:
        if point.quartiles and point.top1 is not None:
            (low, y), (high, _) = axes.transData.transform([(speed, point.top1) for speed in point.quartiles])
            bars.append(Bbox.from_extents(low, y - 1, high, y + 1))
    marks = [
        Mark(point.name, point.images_per_s, TICK, STYLES[point.family][0], "axes fraction")
        if point.top1 is None
        else Mark(point.name, point.images_per_s, point.top1, STYLES[point.family][0])
        for point in points
    ]
    legend = axes.get_legend()
    return label_marks(axes, marks, MARK, [*bars, *([legend.get_window_extent()] if legend else [])])
