"""Names beside the marks of a plot, clear of the marks and of one another."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from resmlp.analysis.style import DPI, SMALL, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

GAP = 6.0  # points from a mark's middle to its name
FARTHER = (1, 1.5, 2, 3, 4)  # times the gap, nearest first
LONGEST = 40  # letters of a name
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


class Mark(NamedTuple):
    """A mark of a plot, and what it is called."""

    name: str
    x: float
    y: float
    """in the data's units"""
    color: str
    unit: str = "data"
    """of y; or `axes fraction`"""


def name_marks(
    axes: "Axes", marks: Sequence[Mark], width: float, taken: Iterable["Bbox"] = (), size: float = SMALL
) -> list[str]:
    """Write each name beside its mark (`width` points wide) where it covers nothing; returns those without room.

    Nothing: no mark, no other name, none of the boxes `taken` (in pixels), and not the panel's edge. A name that stands
    farther off has a line to its mark. The panel must have its size already (`draw_without_rendering`).
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    panel, half = axes.get_window_extent(), width / 2 * DPI / 72
    covered = [*taken, *(Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in places(axes, marks))]
    left = []
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
        for (x, y), (across, down), far in ((*side, far) for far in FARTHER for side in SIDES.items()):
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
            left.append(mark.name)
    return left


def places(axes: "Axes", marks: Sequence[Mark]) -> list[tuple[float, float]]:
    """The middles of marks, in pixels."""
    found = []
    for mark in marks:
        x, y = axes.transData.transform((mark.x, mark.y if mark.unit == "data" else 0.5 * sum(axes.get_ylim())))
        found.append((x, y if mark.unit == "data" else axes.transAxes.transform((0, mark.y))[1]))
    return found
