"""Figure 4: how much of what a network reaches on the set that everyone tunes on holds on one that nobody has seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from resmlp.analysis.sheet import BLUE, BOTH, FAINT, GREEN, ORANGE, PURPLE, SMALL, sheet
from resmlp.evaluate import bootstrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VAL, V2 = 50_000, 10_000  # pictures of ImageNet's val, and of ImageNet-V2
LOWEST = 0.75  # top-1 on val; below it a point would push all others into a corner
COLOURS, MARKS = (BLUE, ORANGE, GREEN, PURPLE), "os^D"
FEWEST = 3  # points of a line
LETTER = (4.3, 8.5)  # points of a small letter, roughly


class Point(NamedTuple):
    """A network on both sets; accuracies are fractions."""

    name: str
    val: float
    v2: float
    val_interval: tuple[float, float] | None = None
    """None: that of as many pictures as ImageNet's val has"""
    v2_interval: tuple[float, float] | None = None

    def bars(self) -> tuple[np.ndarray, np.ndarray]:
        """How far down and up each accuracy may be off, 2 1 each, in 95 % of the resampled sets of pictures."""
        val = self.val_interval or bootstrap(round(self.val * VAL), VAL) or (self.val, self.val)
        v2 = self.v2_interval or bootstrap(round(self.v2 * V2), V2) or (self.v2, self.v2)
        return tuple(
            np.array([[max(0.0, at - low)], [max(0.0, high - at)]])
            for at, (low, high) in ((self.val, val), (self.v2, v2))
        )  # type: ignore[return-value]


def line(points: Sequence[Point]) -> tuple[float, float] | None:
    """(slope, intercept) of the least-squares line of V2 over val; None for fewer than three, or a single val."""
    x, y = np.array([(point.val, point.v2) for point in points]).reshape(-1, 2).T
    if len(x) < FEWEST or not np.ptp(x):
        return None
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)


def draw_overfit(groups: Mapping[str, Sequence[Point]], path: Path) -> list[str]:
    """Draw V2 over val to `path`, PNG and SVG: a colour and a line for each group; returns who is left out.

    The first group has the bootstrap's bars. A group that lies lower than another at the same val has overfitted more
    to val. Points below 75 % on val are left out, and so are the names that would cover others.
    """
    shown = {name: [point for point in points if point.val >= LOWEST] for name, points in groups.items()}
    with sheet(path, 5.6, BOTH) as figure:
        axes = figure.subplots()
        for number, (name, points) in enumerate(shown.items()):
            colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
            for point in points if number == 0 else ():
                across, up = point.bars()
                axes.errorbar(point.val, point.v2, up, across, color=colour, linewidth=0.7, alpha=0.45, zorder=1)
            axes.scatter([p.val for p in points], [p.v2 for p in points], s=26, c=colour, marker=mark, label=name)
            if fit := line(points):
                ends = np.array([min(p.val for p in points), max(p.val for p in points)])
                axes.plot(ends, fit[0] * ends + fit[1], color=colour, linewidth=1.0, alpha=0.6, zorder=0)
        axes.set(xlabel="top-1 on ImageNet val", ylabel="top-1 on ImageNet-V2")
        axes.set_title("Lower at the same val is more overfitted to val")
        if any(shown.values()):
            axes.legend(loc="upper left", frameon=False, fontsize=SMALL)
            figure.draw_without_rendering()  # gives the axes their size
            _name(axes, [point for points in shown.values() for point in points])
    return [point.name for points in groups.values() for point in points if point.val < LOWEST]


def _name(axes: "Axes", points: Sequence[Point]) -> None:
    """Write a point's name beside it, at the right, the left or below, where no other name or point is in its way."""
    scale = 72 / axes.figure.dpi
    places = axes.transData.transform([(point.val, point.v2) for point in points]) * scale
    left, right = (axes.get_window_extent().x0 * scale, axes.get_window_extent().x1 * scale)
    taken = [(x - 2.5, y - 2.5, x + 2.5, y + 2.5) for x, y in places]
    for point, (x, y) in zip(points, places):
        wide, high = LETTER[0] * len(point.name), LETTER[1]
        for dx, dy in ((6, -3), (-6 - wide, -3), (-wide / 2, -13), (-wide / 2, 6)):
            box = (x + dx, y + dy, x + dx + wide, y + dy + high)
            free = all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in taken)
            if free and left < box[0] and box[2] < right:
                axes.annotate(
                    point.name, (point.val, point.v2), (dx, dy), textcoords="offset points", size=7, color=FAINT
                )
                taken.append(box)
                break
