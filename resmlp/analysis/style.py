"""The style of every figure: one width, one font family, few colors, no decoration."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from resmlp.analysis.fonts import BASE, fit_fonts, no_font_log
from resmlp.utils.errors import printable
from resmlp.utils.files import write_together

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

WIDTH, DPI = 7.0, 200  # inches, dots per inch
SMALL, TEXT, LARGE = 9.0, 10.0, 11.5  # points

INK, FAINT, RULE = "#1b2530", "#66737f", "#e3e7eb"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#c9500a", "#00805c", "#a4508b"
"""dark enough for text on white, and distinct for color-blind readers (after Okabe and Ito)"""

STYLE = {
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is not math
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
    "svg.hashsalt": "resmlp",  # the same figure gives the same bytes
}

PNG, BOTH = ("png",), ("png", "svg")
"""file formats of a figure"""


@contextmanager
def new_figure(path: Path, height: float, formats: Sequence[str] = PNG) -> Iterator["Figure"]:
    """Yield an empty figure of WIDTH x `height` inches, and write it to `path` when the block ends.

    The suffix of `path` is the first of `formats`. Each further format is written to `path` with its own suffix. Raises
    `UserError` if a file cannot be written.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with style.context(["default", STYLE | {"font.family": [BASE]}]), warnings.catch_warnings(), no_font_log():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")  # a script, such as Arabic
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.07))
        FigureCanvasAgg(figure)
        yield figure
        fit_fonts(figure)
        paths = [path, *(path.with_suffix(f".{kind}") for kind in formats[1:])]
        metadata = {"svg": {"Date": None}}
        write_together(
            {
                file: partial(figure.savefig, format=kind, metadata=metadata.get(kind))
                for file, kind in zip(paths, formats)
            }
        )


def diverging() -> "Colormap":
    """Colormap from orange (negative) over white (zero) to blue (positive); NaN is white as well."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("diverging", [ORANGE, "white", BLUE], bad="white")


def shorten(text: object, length: int) -> str:
    """Make `text` printable, one line, and at most `length` characters long; both of its ends are kept."""
    text = printable(" ".join(str(text).split()))
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def spread(positions: Sequence[float], gap: float, top: float = 1.0) -> list[float]:
    """Move `positions` as little as necessary so that they are `gap` apart and at most `top`; keeps their order."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    moved = list(positions)
    for below, above in zip(order, order[1:]):
        moved[above] = max(moved[above], moved[below] + gap)
    for i in reversed(order):
        moved[i] = min(moved[i], top)
        top = moved[i] - gap
    return moved
