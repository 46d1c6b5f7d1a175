"""Where parallel text comes from: `SOURCES` maps a --data.source to what opens it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from resmlp.config import Text
from resmlp.data.images.trees import short_list
from resmlp.data.text.numbers import numbers_pairs
from resmlp.data.text.pairs import Pairs, joined, names_in, read_lines, read_pairs
from resmlp.utils.errors import UserError, did_you_mean, lookup

__all__ = ["Pairs", "open_pairs", "open_val", "read_lines"]


class Source(NamedTuple):
    """The two ways to open a kind of text."""

    both: Callable[[Text], tuple[Pairs, Pairs]]
    held_out: Callable[[Text], Pairs]


def open_pairs(data: Text) -> tuple[Pairs, Pairs]:
    """The pairs to learn from, and those held out.

    Of the first, pairs with an empty side are left out (`Pairs.left_out`); of the second, none is. Raises
    `UserError` for a root or files that are missing, broken, empty, or not as many lines.
    """
    return _source(data).both(data)


def open_val(data: Text) -> Pairs:
    """The held-out pairs alone: for a network that is only evaluated. Raises as `open_pairs` does."""
    return _source(data).held_out(data)


def _source(data: Text) -> Source:
    return lookup("--data.source", data.source, SOURCES)


def _files_pairs(data: Text) -> tuple[Pairs, Pairs]:
    val = _files_val(data)  # first: it is quickly read, and a wrong name in it quickly told
    train = joined(read_pairs(_root(data), name, data.source_language, data.target_language) for name in data.train)
    filled = train.filled()
    if not filled.sources:
        raise UserError(f"all {len(train)} pairs of {train.where} have an empty side", "look at the files")
    return filled, val


def _files_val(data: Text) -> Pairs:
    root, languages = _root(data), (data.source_language, data.target_language)
    others = [name for name in names_in(root, *languages) if name not in data.train]
    instead = f"--data.val takes the name of other files, such as {short_list(others, limit=3)}" if others else ""
    return read_pairs(root, data.val, *languages, instead)


def _root(data: Text) -> Path:
    """The folder of the files."""
    names = (*data.train, data.val)
    files = [f"{name}.{language}" for name in names for language in (data.source_language, data.target_language)]
    place = f"a folder with {', '.join(files)} (or .gz of each; or {', '.join(f'{name}.tsv' for name in names)})"
    if data.root is None:
        raise UserError(f"--data.root is not given, and --data.source {data.source} needs it", place)
    root = Path(data.root)
    if root.is_file():
        raise UserError(f"--data.root {root} is a file", f"give {place}")
    if not root.is_dir():
        near = did_you_mean(root.name, [path.name for path in root.parent.iterdir()]) if root.parent.is_dir() else ""
        raise UserError(f"--data.root {root}: no such folder", f"{near}; give {place}".removeprefix("; "))
    return root


SOURCES = {
    "files": Source(_files_pairs, _files_val),
    "numbers": Source(numbers_pairs, lambda data: numbers_pairs(data)[1]),
}
