"""Text labels of the points in a plot, placed without overlap."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from resmlp.analysis.style import DPI, SMALL, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

GAP = 6.0  # points from the center of a mark to its label
DISTANCES = (1, 1.5, 2, 3, 4)  # in gaps, tried in this order
LONGEST = 40  # characters of a label
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
"""direction of a label (across, up) -> the alignment of its text, best first"""


class Mark(NamedTuple):
    """A mark in a plot, with its label."""

    name: str
    x: float
    y: float
    """x and y in data coordinates"""
    color: str
    unit: str = "data"
    """unit of y: `data` or `axes fraction`"""


def label_marks(
    axes: "Axes", marks: Sequence[Mark], width: float, occupied: Iterable["Bbox"] = (), size: float = SMALL
) -> list[str]:
    """Write the label of each mark (`width` points wide) next to it, and return the names without a free place.

    A label overlaps no mark, no other label, none of the `occupied` boxes (in pixels), and stays inside the panel. A
    distant label has a line to its mark. Call `figure.draw_without_rendering()` first: the panel must have its size.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    panel, half = axes.get_window_extent(), width / 2 * DPI / 72
    covered = [*occupied, *(Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in centers(axes, marks))]
    unplaced = []
    for mark in marks:
        text = axes.annotate(
            shorten(mark.name, LONGEST),
            (mark.x, mark.y),
            xytext=(0, 0),
            xycoords=("data", mark.unit),
            textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": mark.color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": width / 2},
            size=size,
            color=mark.color,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )
        for (x, y), (across, down), far in ((*side, far) for far in DISTANCES for side in SIDES.items()):
            text.set(position=(x * GAP * far, y * GAP * far), ha=across, va=down)
            text.update_positions(renderer)
            box = Text.get_window_extent(text)
            inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
            if inside and not box.count_overlaps(covered):
                covered.append(box)
                cast(Any, text.arrow_patch).set_visible(far > 1)
                break
        else:
            text.remove()
            unplaced.append(mark.name)
    return unplaced


def centers(axes: "Axes", marks: Sequence[Mark]) -> list[tuple[float, float]]:
    """(x, y) of the center of each mark, in pixels."""
    pixels = []
    for mark in marks:
        x, y = axes.transData.transform((mark.x, mark.y if mark.unit == "data" else 0.5 * sum(axes.get_ylim())))
        pixels.append((x, y if mark.unit == "data" else axes.transAxes.transform((0, mark.y))[1]))
    return pixels
