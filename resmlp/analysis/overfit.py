"""Figure 4: overfitting to the validation set. Top-1 on ImageNet-V2 against top-1 on ImageNet val."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resmlp.analysis.style import BLUE, BOTH, GREEN, ORANGE, PURPLE, SMALL, new_figure
from resmlp.analysis.text_labels import Mark, label_marks
from resmlp.metrics import bootstrap

VAL, V2 = 50_000, 10_000  # images in ImageNet val and in ImageNet-V2
LOWEST = 0.75  # top-1 on val; lower points are left out to keep the scale readable
COLORS, MARKS = (BLUE, ORANGE, GREEN, PURPLE), "os^D"
FEWEST = 3  # points for a regression line
SIDE = 5.1  # width of a mark in points


class Point(NamedTuple):
    """Top-1 of one network on both sets, as fractions."""

    name: str
    val: float
    v2: float
    val_interval: tuple[float, float] | None = None
    """95 % interval; None: binomial, for the number of images in the set"""
    v2_interval: tuple[float, float] | None = None

    def bars(self) -> tuple[np.ndarray, np.ndarray]:
        """Error bars of val and V2: distances down and up to the ends of the 95 % interval, 2 1 each."""
        val = self.val_interval or bootstrap(round(self.val * VAL), VAL) or (self.val, self.val)
        v2 = self.v2_interval or bootstrap(round(self.v2 * V2), V2) or (self.v2, self.v2)
        return tuple(
            np.array([[max(0.0, at - low)], [max(0.0, high - at)]])
            for at, (low, high) in ((self.val, val), (self.v2, v2))
        )  # type: ignore[return-value]


def regression_line(points: Sequence[Point]) -> tuple[float, float] | None:
    """(slope, intercept) of the least-squares line of V2 over val; None for less than three points or equal val."""
    x, y = np.array([(point.val, point.v2) for point in points]).reshape(-1, 2).T
    if len(x) < FEWEST or not np.ptp(x):
        return None
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)


def draw_overfit(groups: Mapping[str, Sequence[Point]], path: Path) -> tuple[list[str], list[str]]:
    """Draw V2 over val to `path` (PNG and SVG), with a color and a regression line for each group.

    Points with intervals have error bars (bootstrap). In the first group, points without intervals have binomial error
    bars. At equal val, a lower group overfits more to val. Points below 0.75 on val and labels without a free place are
    left out. Returns (names of points not drawn, names of points not labeled).
    """
    shown = {name: [point for point in points if point.val >= LOWEST] for name, points in groups.items()}
    unlabeled: list[str] = []
    with new_figure(path, 5.6, BOTH) as figure:
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
            if fit := regression_line(points):
                ends = np.array([min(x), max(x)])
                axes.plot(ends, fit[0] * ends + fit[1], color=color, linewidth=1.0, alpha=0.6, zorder=0)
        axes.set(xlabel="top-1 on ImageNet val", ylabel="top-1 on ImageNet-V2")
        axes.set_title("At equal val, a lower point overfits more to val")
        if any(shown.values()):
            legend = axes.legend(loc="upper left", frameon=False, fontsize=SMALL)
            figure.draw_without_rendering()  # the axes have their size after the first layout
            unlabeled = label_marks(
                axes, marks[::-1], SIDE, [legend.get_window_extent()], size=7.0
            )  # the last group first
    return [point.name for points in groups.values() for point in points if point.val < LOWEST], unlabeled[::-1]


def bars_of(points: Sequence[Point], is_first: bool) -> tuple[Sequence[Point], str]:
    """The points of a group that have error bars, and the suffix of its entry in the legend."""
    measured = [point for point in points if point.val_interval and point.v2_interval]
    if measured:
        return measured, "; bars: bootstrap, 95 %"
    return (points, "; bars: binomial, 95 %") if is_first and points else ((), "")
