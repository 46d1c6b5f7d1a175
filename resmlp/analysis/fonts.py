"""Fonts for the names in figures: one that has the characters, where it is installed, else the number of the class."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from unicodedata import category

from resmlp.utils.errors import notice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASE = "DejaVu Sans"
"""the font of every figure, which comes with Matplotlib"""
PREFERRED = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans", "Noto Sans Arabic", "Noto Sans Thai", "Noto Emoji")
"""of several other fonts that have a character, these come first"""
PLACEHOLDERS = ("Last Resort", ".LastResort", "Adobe Blank", "Noto Sans Symbols Blank")
"""beginnings of the names of fonts that have a box or nothing for every character"""
NAMED = 3  # class names in the note

Covering = tuple[tuple[str, ...], frozenset[str]]
"""font families in order, of which each character takes the first that has it; and the characters that none has"""


def covering(text: str, weight: str = "normal") -> Covering:
    """The installed font families that draw `text`, and its printable characters that no installed font has."""
    if text.isascii():
        return (BASE,), frozenset()
    return _covering(frozenset(char for char in text if char.isprintable() and not char.isspace()), weight)


def class_labels(names: Sequence[str]) -> list[str]:
    """The text for each class in a figure: its name, or `class K` (from 0) where no installed font has the name.

    Prints a note, once for the same names.
    """
    missing = unnamed(names)
    if missing:
        _note(len(names), tuple(missing.items()))
    return [f"class {i}" if i in missing else name for i, name in enumerate(names)]


def unnamed(names: Sequence[str]) -> dict[int, str]:
    """From number to name, of the classes that figures show by their numbers."""
    return {i: name for i, name in enumerate(names) if covering(name)[1]}


def fit_fonts(figure: "Figure") -> None:
    """Give each text of a figure the fonts that have its characters; a bold text that no bold font has is normal."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        families, missing = covering(text.get_text(), "bold" if _is_bold(text.get_fontweight()) else "normal")
        if missing and _is_bold(text.get_fontweight()) and not covering(text.get_text())[1]:
            families = covering(text.get_text())[0]
            text.set_fontweight("normal")
        if len(families) > 1:
            text.set_fontfamily(families)


@contextmanager
def no_font_log() -> Iterator[None]:
    """Within it, Matplotlib does not log that it takes a font of another weight."""
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def font_file(text: str) -> str:
    """The file of an installed font that has all characters of `text`; without one, that of Matplotlib's font."""
    chars = [char for char in text if not char.isspace()]
    families = covering(text)[0]
    complete = (name for name in (*families, *_families()) if all(_has(_open(name, "normal"), char) for char in chars))
    return _path(next(complete, BASE), "normal")


def _is_bold(weight: Any) -> bool:
    return weight in ("bold", "semibold", "heavy", "black") or (isinstance(weight, int) and weight >= 600)


@cache
def _covering(chars: frozenset[str], weight: str) -> Covering:
    missing, chosen = chars, [BASE]
    for name in (BASE, *_families()):
        if not missing:
            break
        font = _open(name, weight)
        found = frozenset(char for char in missing if _has(font, char))
        if found and name != BASE:
            chosen.append(name)
        missing -= found
    return tuple(chosen), missing


@cache
def _families() -> tuple[str, ...]:
    """The other families that are installed and that Matplotlib can draw, the preferred ones first."""
    from matplotlib import font_manager

    names = {name for name in font_manager.get_font_names() if not name.startswith((BASE, *PLACEHOLDERS))}
    order = {name: i for i, name in enumerate(PREFERRED)}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


@cache
def _path(family: str, weight: str) -> str:
    from matplotlib import font_manager

    wanted = font_manager.FontProperties(family=[family], weight=weight)
    with no_font_log():
        return str(font_manager.findfont(wanted, fallback_to_default=False))


@cache
def _open(family: str, weight: str) -> Any:
    """The opened font, or None if it is damaged or of fixed size, as color emoji are."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(_path(family, weight))
        font.set_size(12, 72)
    except (RuntimeError, OSError, ValueError):
        return None
    return font


def _has(font: Any, char: str) -> bool:
    """Whether a font has a glyph with an outline for a character; some fonts of color emoji have empty ones."""
    if font is None or not font.get_char_index(ord(char)):
        return False
    glyph = font.load_char(ord(char))
    return bool(glyph.width and glyph.height) or category(char)[0] not in "LNS"  # letters, numbers, symbols


@cache
def _note(classes: int, missing: tuple[tuple[int, str], ...]) -> None:
    shown = ", ".join(f"{i} is {name[:20]}" for i, name in missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
    what = f"no installed font has {len(missing)} of the {classes} class names, so figures show numbers"
    notice(f"{what}: {shown} (model.json has all in this order; or install a font, such as Noto Sans CJK)")
