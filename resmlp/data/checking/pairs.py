"""The issues of pairs of sentences: copies, empty sides, lengths and scripts."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from unicodedata import normalize

import numpy as np

from resmlp.data.checking.findings import Findings
from resmlp.data.checking.text_files import Part
from resmlp.data.text.languages import LATIN, script, scripts_of

SMOOTHING = 10  # characters that are added to both sides of a ratio: short sentences vary more
MAX_RATIO = 4  # of the lengths of the two sides, relative to the median of all pairs
MEDIAN_FROM = 20  # pairs; below, the ratio is relative to 1
MAIN_SHARE = 0.8  # of the lines of a column whose language is not known, in one script


def check_copies(parts: Sequence[Part], found: Findings) -> None:
    """Equal pairs in a part and in two parts, equal sources in two parts, and pairs with equal sides."""
    pairs: dict[tuple[str, str], tuple[int, int]] = {}
    sources: dict[str, tuple[int, int]] = {}
    for number, part in enumerate(parts):
        for i, source, target in _filled(part):
            if source == target and any(map(str.isalpha, source)):
                found.add("equal-sides", part.where(i))
            first, other = pairs.setdefault((source, target), (number, i)), sources.setdefault(source, (number, i))
            if first != (number, i):
                kind = "pair-duplicate" if first[0] == number else "pair-leak"
                found.add(kind, f"{part.where(i)} = {parts[first[0]].where(first[1])}")
            elif other[0] != number:
                found.add("source-leak", f"{part.where(i)} = {parts[other[0]].where(other[1])}")


def check_empty(part: Part, found: Findings) -> None:
    """Pairs with an empty side."""
    for i, sides in enumerate(zip(part.sources, part.targets)):
        empty = [name for name, side in zip(part.languages, sides) if not side.strip()]
        if empty:
            found.add("empty-side", part.where(i), "both" if len(empty) == 2 else empty[0])


def check_lengths(part: Part, found: Findings) -> None:
    """Pairs with a side that is much longer than the other, relative to the median."""
    rows = [(i, len(source), len(target)) for i, source, target in _filled(part)]
    if not rows:
        return
    _, sources, targets = np.array(rows).T
    ratios = np.log((sources + SMOOTHING) / (targets + SMOOTHING))
    usual = float(np.median(ratios)) if len(rows) >= MEDIAN_FROM else 0.0
    for row in np.flatnonzero(np.abs(ratios - usual) > math.log(MAX_RATIO)).tolist():
        i, source, target = rows[row]
        found.add("length-ratio", part.where(i), f"{source:,} and {target:,} characters")


def check_scripts(part: Part, found: Findings) -> None:
    """Lines of which most letters are of another script than that of the language, or than that of most lines."""
    for language, lines in zip(part.languages, (part.sources, part.targets)):
        expected = scripts_of(language) or _usual([main_script(line) for line in lines])
        for i, line in enumerate(lines):
            letters = count_scripts(line)
            if expected and 2 * sum(letters[name] for name in expected) < letters.total():
                found.add("wrong-script", part.where(i), f"{language} in {main_script(line)}")


def count_scripts(line: str) -> Counter[str]:
    """The number of letters of each known script."""
    if line.isascii():
        return Counter({LATIN: sum(map(str.isalpha, line))})
    counts: Counter[str] = Counter()
    for char, count in Counter(line).items():
        counts[script(char)] += count
    del counts[""]
    return counts


def main_script(line: str) -> str:
    """The script of most letters of a line, Latin of several; empty without letters of a known script."""
    counts = +count_scripts(line)
    return max(counts, key=lambda name: (counts[name], name == LATIN), default="")


def _usual(scripts: Sequence[str]) -> tuple[str, ...]:
    """The script of most lines, if it is that of nearly all."""
    counts = Counter(filter(None, scripts))
    return tuple(name for name, count in counts.most_common(1) if count >= MAIN_SHARE * counts.total())


def _filled(part: Part) -> Iterator[tuple[int, str, str]]:
    """The pairs with text on both sides, with their number, without outer spaces and in the Unicode form NFC."""
    for i, (source, target) in enumerate(zip(part.sources, part.targets)):
        source, target = (normalize("NFC", side.strip()) for side in (source, target))
        if source and target:
            yield i, source, target
