"""Figure 4: how much of what a network reaches on the set that everyone tunes on holds on one that nobody has seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resmlp.analysis.style import BLUE, BOTH, GREEN, ORANGE, PURPLE, SMALL, sheet
from resmlp.analysis.text_labels import Mark, name_marks
from resmlp.metrics import bootstrap

VAL, V2 = 50_000, 10_000  # images of ImageNet's val, and of ImageNet-V2
LOWEST = 0.75  # top-1 on val; below it a point would push all others into a corner
COLORS, MARKS = (BLUE, ORANGE, GREEN, PURPLE), "os^D"
FEWEST = 3  # points of a line
SIDE = 5.1  # points: a mark's width


class Point(NamedTuple):
    """A network on both sets; accuracies are fractions."""

    name: str
    val: float
    v2: float
    val_interval: tuple[float, float] | None = None
    """None: that of as many images as ImageNet's val has"""
    v2_interval: tuple[float, float] | None = None

    def bars(self) -> tuple[np.ndarray, np.ndarray]:
        """How far down and up each accuracy may be off, 2 1 each, in 95 % of the resampled sets of images."""
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


def draw_overfit(groups: Mapping[str, Sequence[Point]], path: Path) -> tuple[list[str], list[str]]:
    """Draw V2 over val to `path`, PNG and SVG: a color and a line for each group.

    The points that were measured here have the bars of their bootstrap; those of the first group, where they have
    none, the binomial's. A group that lies lower than another at the same val has overfitted more to val. Points below
    75 % on val are left out, and so are names for which there is no room; returns who is not drawn, and who not named.
    """
    shown = {name: [point for point in points if point.val >= LOWEST] for name, points in groups.items()}
    left: list[str] = []
    with sheet(path, 5.6, BOTH) as figure:
        axes = figure.subplots()
        marks = []
        for number, (name, points) in enumerate(shown.items()):
            color, mark = COLORS[number % len(COLORS)], MARKS[number % len(MARKS)]
            bars, kind = bars_of(points, number == 0)
            for point in bars:
                across, up = point.bars()
                axes.errorbar(point.val, point.v2, up, across, color=color, linewidth=0.7, alpha=0.45, zorder=1)
            x, y = [point.val for point in points], [point.v2 for point in points]
            axes.scatter(x, y, s=SIDE**2, c=color, marker=mark, label=name + kind)
            marks += [Mark(point.name, point.val, point.v2, color) for point in points]
            if fit := line(points):
                ends = np.array([min(x), max(x)])
                axes.plot(ends, fit[0] * ends + fit[1], color=color, linewidth=1.0, alpha=0.6, zorder=0)
        axes.set(xlabel="top-1 on ImageNet val", ylabel="top-1 on ImageNet-V2")
        axes.set_title("Lower at the same val is more overfitted to val")
        if any(shown.values()):
            legend = axes.legend(loc="upper left", frameon=False, fontsize=SMALL)
            figure.draw_without_rendering()  # gives the axes their size
            left = name_marks(axes, marks[::-1], SIDE, [legend.get_window_extent()], size=7.0)  # ours first
    return [point.name for points in groups.values() for point in points if point.val < LOWEST], left[::-1]


def bars_of(points: Sequence[Point], is_first: bool) -> tuple[Sequence[Point], str]:
    """Of a group: the points with bars, and what the legend says of them."""
    measured = [point for point in points if point.val_interval and point.v2_interval]
    if measured:
        return measured, "; bars: bootstrap, 95 %"
    return (points, "; bars: binomial, 95 %") if is_first and points else ((), "")
