"""Accuracy against throughput: as the paper published it, and as it is here."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from resmlp.analysis.sheet import BLUE, BOTH, DPI, GREEN, INK, ORANGE, SMALL, sheet, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {"feedforward": (BLUE, "o"), "transformer": (ORANGE, "s"), "convolutional": (GREEN, "^"), "other": (INK, "D")}
"""colour and mark of a family"""
STROKE = 0.1  # height of the stroke of a network without accuracy, as a share of its panel's
MARK, GAP = 7.0, 6.0  # points: a mark's width, and from its middle to its name
INKED = 0.7  # share of a line's height that letters take
SIDES = {
    (1, 0): ("left", "center"),
    (-1, 0): ("right", "center"),
    (0, 1): ("center", "bottom"),
    (0, -1): ("center", "top"),
    (0.8, 0.8): ("left", "bottom"),
    (0.8, -0.8): ("left", "top"),
    (-0.8, 0.8): ("right", "bottom"),
    (-0.8, -0.8): ("right", "top"),
}
"""where a name may stand, best first: the direction, and what of the text is there"""


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
        below.set_xlabel("pictures per second")
        _explain(above, published)
        figure.draw_without_rendering()  # gives the panels their places
        for axes, points in ((above, published), (below, measured)):
            _name(axes, points)


def _panel(axes: "Axes", points: Sequence[Point], title: str) -> None:
    """Marks by family, quartiles as bars; a network of unknown accuracy is a stroke on the ground."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_title(title)
    axes.set(xscale="log", ylabel="top-1 on ImageNet, published")
    for point in points:
        colour, mark = LOOKS[point.family]
        if point.top1 is None:
            axes.axvline(point.images_per_s, 0, STROKE, color=colour)
        else:
            axes.plot(point.images_per_s, point.top1, mark, color=colour, markersize=MARK)
            axes.hlines(point.top1, *(point.quartiles or (point.images_per_s,) * 2), color=colour)
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
    for family, (colour, mark) in LOOKS.items():
        if any(point.family == family for point in points):
            axes.plot([], [], mark, color=colour, markersize=MARK, label=family)
    axes.legend(frameon=False, fontsize=SMALL, labelcolor="linecolor", loc="lower left", handletextpad=0.2)


def _name(axes: "Axes", points: Sequence[Point]) -> None:
    """Write each name beside its mark, where it covers no mark, no bar and no other name, or else to its right."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    panel, half = axes.get_window_extent(), MARK / 2 * DPI / 72
    ground = panel.y0 + STROKE * panel.height
    drawn = [axes.transData.transform((point.images_per_s, point.top1 or 0)) for point in points]
    places = [(x, ground if point.top1 is None else y) for point, (x, y) in zip(points, drawn)]
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in places]
    for point, (_, y) in zip(points, places):
        if point.quartiles:
            low, high = (axes.transData.transform((speed, point.top1 or 0))[0] for speed in point.quartiles)
            taken.append(Bbox.from_extents(low, y - 1, high, y + 1))
    for point in points:
        height, unit = (STROKE, "axes fraction") if point.top1 is None else (point.top1, "data")
        colour = LOOKS[point.family][0]
        text = axes.annotate(
            shorten(point.name, 40),
            (point.images_per_s, height),
            (GAP, 0),
            xycoords=("data", unit),
            textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0},
            size=SMALL,
            color=colour,
        )
        sides = [(side, anchor, far) for far in (1, 1.5, 2, 3, 4) for side, anchor in SIDES.items()]
        for (x, y), anchor, far in [*sides, sides[0]]:
            text.set(position=(x * GAP * far, y * GAP * far), ha=anchor[0], va=anchor[1])
            text.update_positions(renderer)
            box = Text.get_window_extent(text).expanded(1, INKED)
            inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
            if inside and not box.count_overlaps(taken):
                break
        taken.append(box)
