"""Accuracy against throughput: as the paper published it, and as it is here."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from resmlp.analysis.style import BLUE, BOTH, FAINT, GREEN, INK, ORANGE, SMALL, sheet, shorten
from resmlp.analysis.text_labels import Mark, name_marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {"feedforward": (BLUE, "o"), "transformer": (ORANGE, "s"), "convolutional": (GREEN, "^"), "other": (INK, "D")}
"""color and mark of a family"""
STROKE = 0.1  # height of the stroke of a network without accuracy, as a share of its panel's
MOST = 4  # names in the list of those left out
MARK = 7.0  # points: a mark's width


class Point(NamedTuple):
    """A network on the plane."""

    name: str
    family: str
    """a key of `LOOKS`"""
    images_per_s: float
    top1: float | None
    """a fraction, on ImageNet-1k; None where none is published"""
    quartiles: tuple[float, float] | None = None
    """of the throughput"""


def tradeoff(published: Sequence[Point], measured: Sequence[Point], machine: str, path: Path) -> None:
    """Draw both to `path` (PNG, and SVG beside it), one above the other, each over its own throughputs."""
    heights = (4.4, 3.4 if any(point.top1 is not None for point in measured) else 1.2)
    with sheet(path, sum(heights) + 0.6, BOTH) as figure:
        above, below = figure.subplots(2, height_ratios=heights)
        _panel(above, published, "As published: one V100, batch 32, fp32")
        _panel(below, measured, f"As measured: {shorten(machine, 42)}")
        below.set_xlabel("images per second")
        _explain(above, published)
        figure.draw_without_rendering()  # gives the panels their places
        left = [name for axes, points in ((above, published), (below, measured)) for name in _name(axes, points)]
        if left:
            note = f"without their names, for want of room: {', '.join(shorten(name, 30) for name in left[:MOST])}"
            more = f" and {len(left) - MOST} more" if len(left) > MOST else ""
            figure.supxlabel(note + more, color=FAINT, size=SMALL, x=0.01, ha="left")


def _panel(axes: "Axes", points: Sequence[Point], title: str) -> None:
    """Marks by family, quartiles as bars; a network of unknown accuracy is a stroke on the ground."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_title(title)
    axes.set(xscale="log", ylabel="top-1 on ImageNet, published")
    for point in points:
        color, mark = LOOKS[point.family]
        if point.top1 is None:
            axes.axvline(point.images_per_s, 0, STROKE, color=color)
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


def _explain(axes: "Axes", points: Sequence[Point]) -> None:
    """Which mark is of which family."""
    for family, (color, mark) in LOOKS.items():
        if any(point.family == family for point in points):
            axes.plot([], [], mark, color=color, markersize=MARK, label=family)
    axes.legend(frameon=False, fontsize=SMALL, labelcolor="linecolor", loc="lower left", handletextpad=0.2)


def _name(axes: "Axes", points: Sequence[Point]) -> list[str]:
    """Write each name beside its mark, where it covers no mark, bar or other name; returns those without room."""
    from matplotlib.transforms import Bbox

    bars = []
    for point in points:
        if point.quartiles and point.top1 is not None:
            (low, y), (high, _) = axes.transData.transform([(speed, point.top1) for speed in point.quartiles])
            bars.append(Bbox.from_extents(low, y - 1, high, y + 1))
    marks = [
        Mark(point.name, point.images_per_s, STROKE, LOOKS[point.family][0], "axes fraction")
        if point.top1 is None
        else Mark(point.name, point.images_per_s, point.top1, LOOKS[point.family][0])
        for point in points
    ]
    legend = axes.get_legend()
    return name_marks(axes, marks, MARK, [*bars, *([legend.get_window_extent()] if legend else [])])
