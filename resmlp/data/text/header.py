"""The columns of a table of parallel text, by the names in its header."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from resmlp.data.images.tree_files import short_list
from resmlp.data.text.languages import LANGUAGES, language_of
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, did_you_mean

SOURCES = ("source", "src", "source_text", "source_sentence", "input", "sentence1", "text", "original")
TARGETS = ("target", "tgt", "trg", "target_text", "target_sentence", "output", "sentence2", "translation", "reference")
"""names of the columns of sentences and of their translations, in lower case"""
SPLITS = ("split", "subset", "partition", "fold")
CODES = {name: code for code, (name, _) in LANGUAGES.items()}


class Columns(NamedTuple):
    """The numbers of the columns, from 0."""

    source: int
    target: int
    split: int | None = None


def is_header(line: str) -> bool:
    """Whether a line has names of columns alone, such as `source`, `en` or `en,de`."""
    return all(_canonical(cell) in {*SOURCES, *TARGETS, *LANGUAGES} for cell in re.split("[,;\t]", line))


def find_header(cells: Sequence[str], languages: tuple[str, str]) -> Columns | None:
    """The columns if a first row is a header with names of both languages, or words such as source and target."""
    names = [_canonical(cell) for cell in cells]
    found = [_position(names, [_canonical(language), *words]) for language, words in zip(languages, (SOURCES, TARGETS))]
    if None in found or found[0] == found[1]:
        return None
    return Columns(found[0], found[1], _position(names, SPLITS))  # type: ignore[arg-type]


def guess_header(cells: Sequence[str]) -> tuple[tuple[str, str], Columns | None]:
    """The languages and the columns of a first row without knowing the languages; None if it is no header."""
    names = [_canonical(cell) for cell in cells]
    codes = [name for name in names if name in LANGUAGES]
    languages = (codes[0], codes[1]) if len(codes) == 2 else ("source", "target")
    return languages, find_header(cells, languages)


def named_columns(cells: Sequence[str], languages: tuple[str, str], chosen: Mapping[str, str], where: str) -> Columns:
    """The columns of a table with the header `cells`: those of --data.columns, the known names, or the only two.

    Raises `UserError`, which begins with `where`.
    """
    names = [cell.strip().strip('"') for cell in cells]
    listed = f"it has {short_list(names, limit=8) or 'no column of text'}"
    for role, name in chosen.items():
        what = f"{where} has no column {name!r}, which --data.columns {role}={name} names"
        near = did_you_mean(name, names)
        demand(name in names, what, near if near.startswith("choose") else f"{near}; {listed}")
    same = chosen.get("source", "") == chosen.get("target")
    demand(not same, f"--data.columns names {chosen.get('source')} as source and as target", listed)
    known = find_header(names, languages)
    split = names.index(chosen["split"]) if "split" in chosen else _position([n.casefold() for n in names], SPLITS)
    rest = [i for i in range(len(names)) if i != split]
    usual = known[:2] if known else tuple(rest) if len(rest) == 2 else (None, None)
    sides = [names.index(chosen[role]) if role in chosen else usual[i] for i, role in enumerate(("source", "target"))]
    if None in sides or sides[0] == sides[1]:
        hint = f"--data.columns source=NAME target=NAME; {listed}"
        raise UserError(f"{where}: which columns have the sentences and their translations is not known", hint)
    return Columns(sides[0], sides[1], split)  # type: ignore[arg-type]


def _canonical(cell: str) -> str:
    """A name in lower case; of a language its code: en of English, eng and en-US."""
    name = cell.strip().strip('"').casefold()
    return language_of(name) or CODES.get(name, name)


def _position(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)
