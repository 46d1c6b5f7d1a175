"""The curves of a run, one panel above the other over a common time axis."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from resmlp.analysis.style import BLUE, DPI, FAINT, GREEN, INK, ORANGE, PNG, PURPLE, SMALL, sheet, shorten, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Entry = dict[str, Any]

NO_METRIC = {"kind", "step", "epoch", "weights", "lr", "samples_per_s"}
WEIGHTS = {"raw": BLUE, "ema": ORANGE}
HEIGHTS = {"score": 2.6, "loss": 2.2, "rate": 0.7, "curve": 2.6}  # inches
MOST = 6  # metrics or losses that are drawn


class Line(NamedTuple):
    """A curve and its name; the panel's main ones are strong."""

    name: str
    x: np.ndarray
    y: np.ndarray
    color: str
    strong: bool
    dashes: tuple[float, tuple[float, ...]] = (0.0, ())
    """Matplotlib's offset and dashes, which let a line be seen that lies below; default solid"""


class Panel(NamedTuple):
    """Curves that share a y axis."""

    title: str
    kind: Literal["score", "loss", "rate", "curve"]
    """a curve's last value says nothing; of it and of a loss, the y axis is logarithmic where that shows more"""
    lines: list[Line]


def is_number(value: Any) -> bool:
    """Whether `value`, read from JSON, is a finite number, and one that a float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def metric_names(entries: Iterable[Entry]) -> list[str]:
    """The names of the numbers that lines of the log hold, the main metric first."""
    return list(dict.fromkeys(k for e in entries for k, v in e.items() if k not in NO_METRIC and is_number(v)))


def curves(metrics: Sequence[Entry], path: Path) -> None:
    """Draw the lines of `read_metrics` to `path`: evaluations, training loss and learning rate against the epoch.

    Fractions share a panel with the main metric, the first one; other metrics have a panel each. Any of them may be
    missing; where no evaluation says how long an epoch is, time counts in steps.
    """
    train = [entry for entry in metrics if entry.get("kind") == "train" and is_number(entry.get("step"))]
    evals = [entry for entry in metrics if entry.get("kind") == "eval" and is_number(entry.get("step"))]
    ends = [e["step"] / e["epoch"] for e in evals if is_number(e.get("epoch")) and e["epoch"] > 0 and e["step"] > 0]
    per_epoch = ends[-1] if ends else 1.0  # an evaluation follows the last step of its epoch
    panels = [*_score_panels(evals, per_epoch), *_train_panels(train, per_epoch)]
    draw_panels(panels, path, "epoch" if ends else "step")


def draw_panels(panels: Sequence[Panel], path: Path, xlabel: str, formats: Sequence[str] = PNG) -> None:
    """Draw panels of lines, one above the other over a common x axis that begins at 0, to `path` (see `sheet`)."""
    from matplotlib.ticker import MaxNLocator

    heights = [HEIGHTS[panel.kind] for panel in panels]
    with sheet(path, sum(heights) + 0.55 * len(heights) + 0.3 if panels else 1.5, formats) as figure:
        if not panels:
            figure.text(0.5, 0.5, "no numbers yet", color=FAINT, ha="center", va="center")
            return
        rows = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, panel in zip(rows, panels):
            _draw(axes, panel)
        end = max(line.x.max() for panel in panels for line in panel.lines)
        rows[-1].set(xlim=(0, end or 1), xlabel=xlabel)
        rows[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
        figure.draw_without_rendering()  # gives the panels their places
        for axes, panel in zip(rows, panels):
            _name_ends(axes, panel)


def _score_panels(evals: list[Entry], per_epoch: float) -> Iterable[Panel]:
    """The main metric with the other fractions, then each of the rest."""
    names = metric_names(evals)[:MOST]
    kinds = list(dict.fromkeys(str(entry.get("weights", "")) for entry in evals))
    colors = dict(zip(kinds, (GREEN, PURPLE, INK, BLUE, ORANGE))) | WEIGHTS
    lines: dict[str, list[Line]] = {name: [] for name in names}
    for name in names:
        for kind in kinds:
            own = [entry for entry in evals if str(entry.get("weights", "")) == kind]
            lines[name] += _line(own, name, per_epoch, kind if len(kinds) > 1 else "", colors.get(kind, FAINT))
    together = [name for name in names if all(line.y.min() >= 0 and line.y.max() <= 1 for line in lines[name])]
    if names[:1] == together[:1] and together:
        many = len(together) > 1
        shared = [
            line._replace(name=f"{line.name} {name}".strip() if many else line.name, strong=name == names[0])
            for name in together
            for line in lines[name]
        ]
        yield Panel(f"{', '.join(together)} on held-out data", "score", shared)
        names = [name for name in names if name not in together]
    for name in names:
        yield Panel(f"{name} on held-out data", "score", lines[name])


def _train_panels(train: list[Entry], per_epoch: float) -> Iterable[Panel]:
    """All losses, then the learning rate."""
    colors = (INK, BLUE, GREEN, PURPLE, ORANGE, FAINT)
    names = sorted(metric_names(train), key=lambda name: name != "loss")[:MOST]
    losses = [line for name, color in zip(names, colors) for line in _line(train, name, per_epoch, name, color)]
    if losses:
        rest = [line._replace(strong=False) for line in losses[1:]]
        yield Panel("training loss", "loss", [losses[0]._replace(name="loss" if rest else ""), *rest])
    if rate := _line(train, "lr", per_epoch, "", FAINT):
        yield Panel("learning rate", "rate", rate)


def _line(entries: list[Entry], name: str, per_epoch: float, label: str, color: str) -> list[Line]:
    """The finite values of a metric as one line, or none where there are none."""
    points = [(entry["step"] / per_epoch, entry[name]) for entry in entries if is_number(entry.get(name))]
    if not points:
        return []
    x, y = np.array(points, float).T
    return [Line(label, x, y, color, strong=True)]


def _smooth(y: np.ndarray) -> np.ndarray:
    """The running mean of a long line; a short one as it is."""
    window = np.ones(len(y) // 40 if len(y) > 200 else 1)
    return np.convolve(y, window, "same") / np.convolve(np.ones(len(y)), window, "same")


def _draw(axes: "Axes", panel: Panel) -> None:
    """Draw a panel; a long line is drawn faintly, with its running mean over it."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes.set_title(shorten(panel.title, 60))
    for line in panel.lines:
        width, fade = (1.9, 1.0) if line.strong else (1.0, 0.55)
        if len(line.x) > 200:
            axes.plot(line.x, line.y, color=line.color, linewidth=0.6, alpha=0.25)
        look = axes.plot(line.x, _smooth(line.y), color=line.color, linewidth=width, alpha=fade, clip_on=False)[0]
        look.set_linestyle(line.dashes if line.dashes[1] else "-")
        if len(line.x) <= 12:
            look.set(marker="o", markersize=(1.4 if line.dashes[1] else 2.4) * width)
    values = np.concatenate([line.y for line in panel.lines])
    low, high = values.min(), values.max()
    if panel.kind == "rate":
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
        if low >= 0 and high <= 1:  # fractions end at 0 and 1
            axes.set_ylim(max(bottom, 0), min(top, 1))


def _name_ends(axes: "Axes", panel: Panel) -> None:
    """Write the name and the last value of each line beside its end, clear of one another."""
    box = axes.get_window_extent()
    last = [_smooth(line.y)[-1] for line in panel.lines]
    ends = [axes.transData.transform((line.x[-1], y))[1] for line, y in zip(panel.lines, last)]
    places = spread([(end - box.y0) / box.height for end in ends], 1.35 * SMALL * DPI / 72 / box.height)
    for place, line, y in zip(places, panel.lines, last) if panel.kind != "rate" else ():
        value = "" if panel.kind == "curve" else f"{y:.4g}"
        text = axes.text(1.02, place, f"{shorten(line.name, 18)} {value}".strip(), transform=axes.transAxes)
        text.set(color=line.color, size=SMALL, weight="bold" if line.strong else "normal", va="center")
