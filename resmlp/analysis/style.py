"""The look that all figures share: one width, one face, few colors, no more lines than the numbers need."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from resmlp.utils.files import write_together

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

WIDTH, DPI = 7.0, 200  # inches; dots per inch
SMALL, TEXT, LARGE = 9.0, 10.0, 11.5  # points

INK, FAINT, RULE = "#1b2530", "#66737f", "#e3e7eb"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#c9500a", "#00805c", "#a4508b"
"""dark enough for text on white, and told apart by color-blind eyes (after Okabe and Ito)"""

STYLE = {
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,  # names are text, whatever dollars they hold
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": LARGE,
    "axes.titleweight": "bold",
    "axes.titlepad": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "svg.hashsalt": "resmlp",  # the same figure is the same file
}

PNG, BOTH = ("png",), ("png", "svg")
"""what a figure is written as"""

FACES = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans", "Noto Sans Arabic", "Arial Unicode MS")
"""the first is Matplotlib's own; the others, where installed, have the letters that it lacks"""


@contextmanager
def sheet(path: Path, height: float, formats: Sequence[str] = PNG) -> Iterator["Figure"]:
    """A white figure WIDTH x `height` inches to draw on; it is written to `path` at the end.

    `path` ends in the first of `formats`; for any other its ending is replaced.
    """
    from matplotlib import font_manager, style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    installed = set(font_manager.get_font_names())
    faces = {"font.family": [face for face in FACES if face in installed]}
    with style.context(["default", STYLE | faces]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.07))
        FigureCanvasAgg(figure)
        yield figure
        paths = [path, *(path.with_suffix(f".{kind}") for kind in formats[1:])]
        undated = {"svg": {"Date": None}}
        write_together(
            {
                file: partial(figure.savefig, format=kind, metadata=undated.get(kind))
                for file, kind in zip(paths, formats)
            }
        )


def diverging() -> "Colormap":
    """Orange below zero, white at it, blue above; white as the page where there is no number: frame what has some."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("diverging", [ORANGE, "white", BLUE], bad="white")


def printable(text: object) -> str:
    """`text` without control characters, overrides of the writing direction, and bytes that are no letters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))


def shorten(text: object, length: int) -> str:
    """`text`, printable, on one line and at most `length` letters long; both of its ends are kept."""
    text = printable(" ".join(str(text).split()))
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def spread(places: Sequence[float], gap: float, top: float = 1.0) -> list[float]:
    """`places` moved as little as need be to lie `gap` apart and below `top`, in their order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for below, above in zip(order, order[1:]):
        moved[above] = max(moved[above], moved[below] + gap)
    for i in reversed(order):
        moved[i] = min(moved[i], top)
        top = moved[i] - gap
    return moved
