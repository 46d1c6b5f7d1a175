"""Curves of a training run: panels stacked over a common time axis."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from resmlp.analysis.style import BLUE, DPI, FAINT, GREEN, INK, ORANGE, PNG, PURPLE, SMALL, new_figure, shorten, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Entry = dict[str, Any]

NOT_METRICS = {"kind", "step", "epoch", "weights", "lr", "samples_per_s"}
WEIGHTS = {"raw": BLUE, "ema": ORANGE}
HEIGHTS = {"score": 2.6, "loss": 2.2, "lr": 0.7, "curve": 2.6}  # inches
MOST = 6  # metrics, or losses, in a figure


class Line(NamedTuple):
    """A curve with its name; the main curves of a panel are strong."""

    name: str
    x: np.ndarray
    y: np.ndarray
    color: str
    strong: bool
    dashes: tuple[float, tuple[float, ...]] = (0.0, ())
    """Matplotlib's (offset, dashes); () is solid. A dashed line leaves the line below it visible"""


class Panel(NamedTuple):
    """Curves with a common y axis."""

    title: str
    kind: Literal["score", "loss", "lr", "curve"]
    """the y axis of a loss or a curve is logarithmic if its range is large; the last value of a curve is not printed"""
    lines: list[Line]


def is_number(value: Any) -> bool:
    """Whether `value`, read from JSON, is a finite number within the range of a float; False for a bool."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def metric_names(entries: Iterable[Entry]) -> list[str]:
    """Names of the metrics in log entries, the main metric first."""
    return list(dict.fromkeys(k for e in entries for k, v in e.items() if k not in NOT_METRICS and is_number(v)))


def curves(metrics: Sequence[Entry], path: Path) -> None:
    """Draw evaluations, training losses and the learning rate over the epochs to `path` (PNG).

    `metrics` are the entries of `read_metrics`; any kind may be missing. Metrics in [0, 1] share a panel with the main
    (first) metric; each other metric has its own panel. The x axis counts steps if no evaluation gives the length of an
    epoch.
    """
    train = [entry for entry in metrics if entry.get("kind") == "train" and is_number(entry.get("step"))]
    evals = [entry for entry in metrics if entry.get("kind") == "eval" and is_number(entry.get("step"))]
    ends = [e["step"] / e["epoch"] for e in evals if is_number(e.get("epoch")) and e["epoch"] > 0 and e["step"] > 0]
    per_epoch = ends[-1] if ends else 1.0  # an evaluation follows the last step of its epoch
    panels = [*_score_panels(evals, per_epoch), *_train_panels(train, per_epoch)]
    draw_panels(panels, path, "epoch" if ends else "step")


def draw_panels(panels: Sequence[Panel], path: Path, xlabel: str, formats: Sequence[str] = PNG) -> None:
    """Draw panels, stacked over a common x axis that starts at 0, to `path` (see `new_figure`)."""
    from matplotlib.ticker import MaxNLocator

    heights = [HEIGHTS[panel.kind] for panel in panels]
    with new_figure(path, sum(heights) + 0.55 * len(heights) + 0.3 if panels else 1.5, formats) as figure:
        if not panels:
            figure.text(0.5, 0.5, "no numbers yet", color=FAINT, ha="center", va="center")
            return
        rows = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, panel in zip(rows, panels):
            _draw(axes, panel)
        end = max(line.x.max() for panel in panels for line in panel.lines)
        rows[-1].set(xlim=(0, end or 1), xlabel=xlabel)
        rows[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
        figure.draw_without_rendering()  # the layout needs a first pass
        for axes, panel in zip(rows, panels):
            _name_ends(axes, panel)


def _score_panels(evals: list[Entry], per_epoch: float) -> Iterable[Panel]:
    """The panel of the main metric and all fractions, then one panel for each other metric."""
    names = metric_names(evals)[:MOST]
    kinds = list(dict.fromkeys(str(entry.get("weights", "")) for entry in evals))
    colors = dict(zip(kinds, (GREEN, PURPLE, INK, BLUE, ORANGE))) | WEIGHTS
    lines: dict[str, list[Line]] = {name: [] for name in names}
    for name in names:
        for kind in kinds:
            entries = [entry for entry in evals if str(entry.get("weights", "")) == kind]
            lines[name] += _line(entries, name, per_epoch, kind if len(kinds) > 1 else "", colors.get(kind, FAINT))
    together = [name for name in names if all(line.y.min() >= 0 and line.y.max() <= 1 for line in lines[name])]
    if names[:1] == together[:1] and together:
        many = len(together) > 1
        shared = [
            line._replace(name=f"{line.name} {name}".strip() if many else line.name, strong=name == names[0])
            for name in together
            for line in lines[name]
        ]
        yield Panel(f"{', '.join(together)} on the validation set", "score", shared)
        names = [name for name in names if name not in together]
    for name in names:
        yield Panel(f"{name} on the validation set", "score", lines[name])


def _train_panels(train: list[Entry], per_epoch: float) -> Iterable[Panel]:
    """The panel of all losses, then the panel of the learning rate."""
    colors = (INK, BLUE, GREEN, PURPLE, ORANGE, FAINT)
    names = sorted(metric_names(train), key=lambda name: name != "loss")[:MOST]
    losses = [line for name, color in zip(names, colors) for line in _line(train, name, per_epoch, name, color)]
    if losses:
        rest = [line._replace(strong=False) for line in losses[1:]]
        yield Panel("training loss", "loss", [losses[0]._replace(name="loss" if rest else ""), *rest])
    if lr := _line(train, "lr", per_epoch, "", FAINT):
        yield Panel("learning rate", "lr", lr)


def _line(entries: list[Entry], name: str, per_epoch: float, label: str, color: str) -> list[Line]:
    """The finite values of a metric as one line; [] if there are none."""
    points = [(entry["step"] / per_epoch, entry[name]) for entry in entries if is_number(entry.get(name))]
    if not points:
        return []
    x, y = np.array(points, float).T
    return [Line(label, x, y, color, strong=True)]


def _smooth(y: np.ndarray) -> np.ndarray:
    """The running mean of more than 200 values; fewer are returned unchanged."""
    window = np.ones(len(y) // 40 if len(y) > 200 else 1)
    return np.convolve(y, window, "same") / np.convolve(np.ones(len(y)), window, "same")


def _draw(axes: "Axes", panel: Panel) -> None:
    """Draw a panel; a line of more than 200 points is faint, with its running mean over it."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes.set_title(shorten(panel.title, 60))
    for line in panel.lines:
        width, fade = (1.9, 1.0) if line.strong else (1.0, 0.55)
        if len(line.x) > 200:
            axes.plot(line.x, line.y, color=line.color, linewidth=0.6, alpha=0.25)
        curve = axes.plot(line.x, _smooth(line.y), color=line.color, linewidth=width, alpha=fade, clip_on=False)[0]
        curve.set_linestyle(line.dashes if line.dashes[1] else "-")
        if len(line.x) <= 12:
            curve.set(marker="o", markersize=(1.4 if line.dashes[1] else 2.4) * width)
    values = np.concatenate([line.y for line in panel.lines])
    low, high = values.min(), values.max()
    if panel.kind == "lr":
        axes.set(ylim=(0, 1.15 * high or 1), yticks=[0, high] if high else [0])
        axes.yaxis.set_major_formatter("{x:.3g}")
        axes.fill_between(panel.lines[0].x, panel.lines[0].y, color=FAINT, alpha=0.12, linewidth=0)
    elif panel.kind in ("loss", "curve") and 0 < 4 * low < high:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter("{x:g}")
        bottom, top = axes.get_ylim()
        if low >= 0 and high <= 1:  # the axis of fractions ends at 0 and 1
            axes.set_ylim(max(bottom, 0), min(top, 1))


def _name_ends(axes: "Axes", panel: Panel) -> None:
    """Write the name and the last value of each line beside its end, without overlap."""
    box = axes.get_window_extent()
    last = [_smooth(line.y)[-1] for line in panel.lines]
    ends = [axes.transData.transform((line.x[-1], y))[1] for line, y in zip(panel.lines, last)]
    heights = spread([(end - box.y0) / box.height for end in ends], 1.35 * SMALL * DPI / 72 / box.height)
    for height, line, y in zip(heights, panel.lines, last) if panel.kind != "lr" else ():
        value = "" if panel.kind == "curve" else f"{y:.4g}"
        text = axes.text(1.02, height, f"{shorten(line.name, 18)} {value}".strip(), transform=axes.transAxes)
        text.set(color=line.color, size=SMALL, weight="bold" if line.strong else "normal", va="center")
